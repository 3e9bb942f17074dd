package tree

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/agentese"
)

// Values of every kind: what is taken, in which form, and what is said of the rest.
func TestParams(t *testing.T) {
	tree, _ := small(t)
	for _, test := range []struct{ clause, want, wrong string }{
		{"[word=a b]", "a b", ""},
		{`[word=" a "]`, "a", ""},
		{`[word=""]`, "", ""},
		{"[word=true]", "true", ""},
		{"[word]", "", "[word=…]"}, // nobody means a name that is true
		{"[text]", "", "[text=…]"},
		{`[text=" a "]`, " a ", ""},
		{"[number=2]", "2", ""},
		{"[number=50]", "50", ""},
		{"[number=007]", "7", ""},
		{"[number=1]", "", "use 2 to 50"},
		{"[number=51]", "", "use 2 to 50"},
		{"[number=2.5]", "", "this is no number"},
		{"[number=-3]", "", "use 2 to 50"},
		{"[number=5%]", "", "this is no number"},
		{"[number=99999999999999999999]", "", "this number is too big"},
		{"[any=-1]", "", "use 0 or more"},
		{"[any=1000000]", "1000000", ""},
		{"[percent=80]", "80", ""},
		{"[percent=80%]", "80", ""},
		{"[percent=80 %]", "80", ""},
		{"[percent=1000]", "1000", ""},
		{"[percent=1001]", "", "use 0 to 1000"},
		{"[for=90m]", "90m", ""},
		{"[for=3h]", "", "use at most 2h"},
		{"[for=soon]", "", "use for example 90s, 15m, 6h or 2d, ten years at most"},
		{"[since=yesterday]", "yesterday", ""},
		{"[since=tomorrow]", "", "use how long ago (6h), yesterday, a date (2026-01-31) or a time (2026-01-31T08:00Z)"},
		{"[flag]", "true", ""},
		{"[flag=ON]", "true", ""},
		{"[flag=0]", "false", ""},
		{"[flag=maybe]", "", "use true or false"},
		{"[do=REPLAY]", "Replay", ""},
		{"[do=drop]", "drop", ""},
		{"[do=keep]", "", "use Replay or drop"},
		{"[phase=qa]", "QA", ""},
		{"[phase=x]", "", "use PLAN or QA"}, // the node's own
		{"[DO=drop]", "drop", ""},
	} {
		step := parse(t, "world.args.manifest"+test.clause).Steps[0]
		c, _, err := tree.Resolve(step, admin())
		if test.wrong != "" {
			if err == nil || !strings.HasSuffix(language(t, err).What, ": "+test.wrong) {
				t.Errorf("%s: %v, want %s", test.clause, err, test.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.clause, err)
			continue
		}
		key := strings.ToLower(step.Clauses[0].Key)
		if got := c.Args.Get(key); got != test.want || !c.Args.Has(key) {
			t.Errorf("%s is %q, want %q", test.clause, got, test.want)
		}
	}
}

func TestArgs(t *testing.T) {
	tree, _ := small(t)
	c, _, err := tree.Resolve(parse(t, "world.args.manifest[number=7][flag][since=6h]").Steps[0], admin())
	if err != nil {
		t.Fatal(err)
	}
	a := c.Args
	got := []any{a.Int("number"), a.Flag("flag"), a.Time("since"), a.Duration("for"), a.Has("for"), a.Get("word"), a.Int("any"), a.Time("none").IsZero(), a.Duration("none"), a.Flag("none")}
	want := []any{7, true, noon.Add(-6 * time.Hour), time.Hour, false, "", 0, true, time.Duration(0), false}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if d := cmp.Diff(map[string]string{"number": "7", "flag": "true", "since": "6h"}, a.Map()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What is missing is said with an expression that has it.
func TestRequired(t *testing.T) {
	tree, _ := small(t)
	_, _, err := tree.Resolve(parse(t, "world.args.lens@span=a").Steps[0], admin())
	if d := cmp.Diff([]string{"world.args.lens[by=reason]@span=a"}, language(t, err).Try); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, test := range []struct {
		p    Param
		want string
	}{
		{Param{Values: []string{"a", "b"}}, "a"}, {Param{Default: "x"}, "x"}, {Param{Kind: Duration}, "1h"},
		{Param{Kind: Number}, "1"}, {Param{Kind: Percent, Min: 5}, "5"}, {Param{}, "…"},
	} {
		if got := test.p.sample(); got != test.want {
			t.Errorf("a sample of %+v is %s, want %s", test.p, got, test.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "15m": 15 * time.Minute, "15min": 15 * time.Minute, "6h": 6 * time.Hour, "2d": 2 * day, "1w": 7 * day,
		"1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, "3650d": 3650 * day, "1d1d": 2 * day,
		// Nothing, nonsense, too much.
		"": 0, "0s": 0, "5": 0, "h": 0, "-5m": 0, "5 m": 0, "5M": 0, "5y": 0, "1h30": 0, ".h": 0, "1.2.3h": 0, "1e3s": 0, "+5m": 0, "∞h": 0, "0.0000001ms": 0,
		"3651d": 0, "3650d1s": 0, "999999999999999999999999999w": 0, strings.Repeat("3000d", 40): 0, strings.Repeat("9", 400) + "h": 0,
	} {
		got, err := ParseDuration(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%.40q is %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 4, 15, 16, 17, 0, time.FixedZone("", 3*3600))
	at := func(year int, month time.Month, day, hour, minute, second int) time.Time {
		return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
	}
	for text, want := range map[string]time.Time{
		"now": now, "NOW": now, "today": at(2026, 3, 4, 0, 0, 0), "Yesterday": at(2026, 3, 3, 0, 0, 0), "6h": now.Add(-6 * time.Hour), "1w": now.AddDate(0, 0, -7),
		"2026-01-31": at(2026, 1, 31, 0, 0, 0), "2026-01-31T08:00": at(2026, 1, 31, 8, 0, 0), "2026-01-31T08:00Z": at(2026, 1, 31, 8, 0, 0),
		"2026-01-31 08:00": at(2026, 1, 31, 8, 0, 0), "2026-01-31 08:00:05": at(2026, 1, 31, 8, 0, 5), "2026-01-31T08:00:05": at(2026, 1, 31, 8, 0, 5),
		"2026-01-31T08:00:05+02:00": at(2026, 1, 31, 6, 0, 5), "2026-01-31T08:00+02:00": at(2026, 1, 31, 6, 0, 0),
	} {
		if got, err := ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "2026-02-30", "31.1.2026", "08:00", "-6h"} {
		if got, err := ParseTime(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// What a node's own clauses are is told first; the common ones follow.
func TestParamsOf(t *testing.T) {
	common := []string{"where", "sort", "columns", "first", "law_check", "minimal_output", "entropy", "span", "phase"}
	for _, test := range []struct {
		a    Affordance
		want []string
	}{
		{Affordance{Aspect: agentese.Manifest}, common},
		{Affordance{Aspect: agentese.Lens, Params: []Param{{Key: "by"}, {Key: "phase"}}}, append([]string{"by", "phase"}, common[:len(common)-1]...)},
		{Affordance{Aspect: agentese.Tithe}, []string{"where", "sort", "columns", "first", "minimal_output", "entropy", "span", "phase"}},
		{Affordance{Aspect: agentese.Refine, Change: (&plant{}).nothing}, []string{"dry_run", "yes", "rollback", "minimal_output", "entropy", "span", "phase"}},
	} {
		if d := cmp.Diff(test.want, keys(ParamsOf(&test.a))); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.a.Aspect, d)
		}
	}
}
