package tree

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/term"
)

func rendered(t *testing.T, v Value, s term.Style, width int) string {
	t.Helper()
	var b strings.Builder
	if err := Render(&b, v, s, width, noon); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// everything is a value with all that there is.
func everything() Value {
	v := Value{Title: "NATS", State: Warn, Text: "# What it is\n\nA **broker**."}
	v.Add("messages", int64(1234567), "").Add("size", int64(3<<30), "bytes").Add("lag", 90*time.Second, "").Add("owner", nil, "")
	v.Fields[1].State, v.Fields[1].Note = Bad, "of 4 GiB"
	v.Table = &Table{
		Columns: []Column{{Name: "name"}, {Name: "state"}, {Name: "used", Unit: "percent"}, {Name: "price", Unit: "money:usd"}},
		Rows:    [][]any{{"acme", Well, 12.345, int64(1999)}, {"globex", "error", nil, int64(5)}, {"short"}},
		Total:   12,
	}
	v.Note("Two servers did not answer.")
	v.Then("world.nats.stream.manifest", "how full it is")
	v.Then("world.spool.manifest", "what waits")
	v.Laws = []Law{{"identity >> f = f", Held, ""}, {"f >> identity = f", Moved, "figures moved"}, {"associativity", Broken, "x"}}
	return v
}

func TestRender(t *testing.T) {
	for _, test := range []struct {
		what  string
		v     Value
		width int
		want  []string
	}{
		{"nothing", Value{}, 80, []string{"(nothing)"}},
		{"a path is not shown", Value{Path: "world.manifest"}, 80, []string{"(nothing)"}},
		{"everything", everything(), 80, []string{
			"NATS  ● degraded",
			"  messages  1,234,567",
			"  size      3 GiB  of 4 GiB",
			"  lag       1m 30s",
			"  owner     unknown",
			"",
			"  NAME    STATE       USED      PRICE",
			"  acme    ok        12.3 %  19.99 USD",
			"  globex  error    unknown   0.05 USD",
			"  short   unknown  unknown    unknown",
			"  … and 9 more, of 12",
			"",
			"What it is",
			"",
			"A broker.",
			"",
			"  ✓ identity >> f = f: held",
			"  · f >> identity = f: moved, figures moved",
			"  ✗ associativity: broken, x",
			"",
			"  Two servers did not answer.",
			"",
			"  → world.nats.stream.manifest  how full it is",
			"  → world.spool.manifest        what waits",
		}},
		{"a table alone", Value{Table: &Table{Columns: []Column{{Name: "n"}}, Rows: [][]any{{int64(7)}, {int64(1000)}}}}, 80, []string{
			"      N",
			"      7",
			"  1,000",
		}},
		{"no rows", Value{Title: "dead letters", Table: &Table{Columns: []Column{{Name: "n"}}}}, 80, []string{"dead letters", "", "  none"}},
		{"too narrow: the widest columns are cut first", Value{Table: &Table{
			Columns: []Column{{Name: "id"}, {Name: "what"}, {Name: "n"}},
			Rows:    [][]any{{"evt_1", "a long story of what has happened", int64(5)}, {"evt_2", "日本語の長い話", int64(50)}},
		}}, 30, []string{
			"  ID     WHAT                N",
			"  evt_1  a long story of …   5",
			"  evt_2  日本語の長い話     50",
		}},
		{"hopelessly narrow", Value{Title: "customers of the system", Table: &Table{
			Columns: []Column{{Name: "one"}, {Name: "two"}, {Name: "three"}},
			Rows:    [][]any{{"abcdefghijkl", "abcdefghijkl", "abcdefghijkl"}},
		}}, 20, []string{
			"customers of the",
			"system",
			"",
			"  ONE           TWO…",
			"  abcdefghijkl  abc…",
		}},
		{"names are never cut, a text at the end goes on below", Value{Table: &Table{
			Columns: []Column{{Name: "expression"}, {Name: "n"}, {Name: "what"}},
			Rows:    [][]any{{"world.deadletter.refine", int64(5), "a long story of what has happened here"}, {"world.nats", int64(50), "short"}},
		}}, 54, []string{
			"  EXPRESSION                N  WHAT",
			"  world.deadletter.refine   5  a long story of what",
			"                               has happened here",
			"  world.nats               50  short",
		}},
		{"times are short where there is little room", Value{Table: &Table{
			Columns: []Column{{Name: "key"}, {Name: "created"}, {Name: "expires"}, {Name: "used"}},
			Rows: [][]any{
				{"k1", noon.Add(-2*time.Hour - 5*time.Second), noon.AddDate(0, 1, 0), time.Time{}},
				{"k2", noon.AddDate(-1, 0, 0), nil, noon.Add(-time.Minute)},
			},
		}}, 50, []string{
			"  KEY  CREATED     EXPIRES      USED",
			"  k1   09:59:55    04-04 12:00  never",
			"  k2   2025-03-04  unknown      11:59:00",
		}},
		{"a figure and its note go on below", Value{Fields: []Field{
			{Name: "secret", Value: "kg_abcdefghijklmnopqrstuvwxyz"},
			{Name: "store", Value: "fallback", Note: "kept in memory until Redis is back"},
		}}, 30, []string{
			"  secret  kg_abcdefghijklmnopqrstuvwxyz",
			"  store   fallback",
			"          kept in memory until",
			"          Redis is back",
		}},
		{"a note where there is no room beside it", Value{Fields: []Field{{Name: "oldest waiting here", Value: time.Second, Note: "alert PipelineStalled past 5 minutes"}}}, 30, []string{
			"  oldest waiting…  1s",
			"      alert PipelineStalled",
			"      past 5 minutes",
		}},
		{"what is there to be typed is never cut", Value{Next: []Example{
			{"world.deadletter.refine[do=replay][reason=refused]", "replay what was refused"}, {"world.spool", "what waits"},
		}}, 40, []string{
			"  → world.deadletter.refine[do=replay][reason=refused]",
			"                 replay what was refused",
			"  → world.spool  what waits",
		}},
		{"a row of a text's table goes on below", Value{Text: "| reason | do |\n|---|---|\n| timestamp | a clock is wrong by more than 5 minutes |"}, 30, []string{
			"| reason | do |",
			"|---|---|",
			"| timestamp | a clock is",
			"  wrong by more than 5 minutes",
			"  |",
		}},
		{"no terminal: nothing is cut", Value{Title: strings.Repeat("x", 200)}, 0, []string{strings.Repeat("x", 200)}},
		{"hostile", Value{
			Title: "a\x1b[2Jb\nc\u202e", State: "\x07", Text: "x\x1b]0;t\x07\r\ny\x00", Notes: []string{"n\x1b\n\u2028"},
			Fields: []Field{{Name: "f\x1b", Value: "v\x9b\xff\tw", Unit: "\x1b", Note: "\x1b"}, {Name: "g", Value: int64(1), Unit: "\x1bu"}, {Name: "h", Value: Well, State: "\x1b"}},
			Table:  &Table{Columns: []Column{{Name: "c\x1b"}}, Rows: [][]any{{"r\x1b\n"}, {State("\x1b")}, {errors.New("e\x1b")}}},
			Next:   []Example{{"x\x1b", "\x1b"}}, Laws: []Law{{"\x1b", "\x1b", "\x1b"}},
		}, 0, []string{
			"a�[2Jb c�  ● �", "  f�  v�� w  �", "  g   1 �u", "  h   ok", "", "  C�", "  r�", "  �", "  e�", "", "x�]0;t� y�", "", "  · �: �, �", "", "  n� �", "", "  → x�  �",
		}},
	} {
		if d := cmp.Diff(strings.Join(test.want, "\n")+"\n", rendered(t, test.v, term.Plain(), test.width)); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, d)
		}
	}
}

// Whatever is in a value, and however narrow the terminal, no line is wider but for one
// word that can't be broken, and no character of it is obeyed.
func TestRenderFits(t *testing.T) {
	for width := 1; width < 100; width++ {
		for line := range strings.Lines(rendered(t, everything(), term.Plain(), width)) {
			line = strings.TrimSuffix(line, "\n")
			first := strings.TrimRight(line, " ")
			first = first[:strings.LastIndex(first, " ")+1] // what is before the last word
			alone := first == "" || strings.HasSuffix(first, "  ") || first == "  → "
			if w := term.Width(line); w > width && !alone {
				t.Errorf("%d columns of %d: %s", w, width, line)
			}
			if strings.ContainsFunc(line, unicode.IsControl) {
				t.Errorf("%q", line)
			}
		}
	}
}

// In a terminal, the state has its colour, and what matters less is faint.
func TestRenderColours(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("no terminal here: %v", err)
	}
	defer terminal.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	got := rendered(t, everything(), term.StyleFor(terminal), 80)
	for _, want := range []string{
		"\x1b[1mNATS\x1b[0m  \x1b[33m● degraded\x1b[0m\n",
		"  size      \x1b[31m3 GiB\x1b[0m  \x1b[2mof 4 GiB\x1b[0m\n",
		"  owner     \x1b[2munknown\x1b[0m\n",
		"acme    \x1b[32mok\x1b[0m ",
		"globex  \x1b[31merror\x1b[0m ",
		"\x1b[1mWhat it is\x1b[0m\n",
		"A \x1b[1mbroker\x1b[0m.\n",
		"\x1b[2mTwo servers did not answer.\x1b[0m\n",
		"  → world.spool.manifest        \x1b[2mwhat waits\x1b[0m\n",
		"\x1b[32m✓ \x1b[0m",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%q", want, got)
		}
	}
}

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestRenderFails(t *testing.T) {
	if err := Render(refusing{}, Value{Title: "x"}, term.Plain(), 80, noon); err == nil || err.Error() != "closed" {
		t.Errorf("%v", err)
	}
}

func TestHuman(t *testing.T) {
	for _, test := range []struct {
		v    any
		unit string
		want string
	}{
		{nil, "", "unknown"}, {nil, "bytes", "unknown"}, {true, "", "yes"}, {false, "", "no"},
		{"a\tb\x1b", "", "a b�"}, {Well, "", "ok"}, {[]string{"a", "b"}, "", "[a b]"},
		{int64(1234567), "", "1,234,567"}, {1234, "events", "1,234 events"}, {uint64(7), "", "7"}, {2.5, "", "2.5"},
		{math.NaN(), "percent", "unknown"}, {math.Inf(1), "", "unknown"},
		{int64(0), "bytes", "0 B"}, {int64(1023), "bytes", "1,023 B"}, {int64(1024), "bytes", "1 KiB"}, {int64(1536), "bytes", "1.50 KiB"},
		{float64(5 << 40), "bytes", "5 TiB"}, {math.Pow(1024, 6), "bytes", "1,024 PiB"}, {-2048.0, "bytes", "-2 KiB"},
		{80, "percent", "80 %"}, {99.95, "percent", "100.0 %"}, {0.5, "percent", "0.50 %"}, {0.00012, "percent", "< 0.01 %"}, {0.0, "percent", "0 %"}, {0.00012, "1/s", "0.00012/s"}, {123.4, "percent", "123 %"},
		{12.0, "1/s", "12/s"}, {3.14159, "1/s", "3.14/s"}, {1234.5, "1/s", "1,235/s"},
		{int64(1234), "money:usd", "12.34 USD"}, {int64(1234), "money:jpy", "1,234 JPY"},
		{1.5, "seconds", "1.50s"}, {int64(90), "seconds", "1m 30s"}, {0.0123, "seconds", "12.3ms"}, {1e300, "seconds", "106751d 23h"}, {-1e300, "seconds", "-106751d 23h"},
		{time.Duration(0), "", "0s"}, {30 * time.Second, "", "30s"}, {-90 * time.Second, "", "-1m 30s"}, {59*time.Minute + 59900*time.Millisecond, "", "60m"},
		{26*time.Hour + 3*time.Minute, "", "26h 3m"}, {50 * time.Hour, "", "2d 2h"}, {72 * time.Hour, "", "3d"}, {time.Duration(math.MinInt64), "", "-106751d 23h"},
		{time.Time{}, "", "never"}, {noon, "", "2026-03-04 12:00:00 (now)"},
		{noon.Add(-90 * time.Second), "", "2026-03-04 11:58:30 (90s ago)"}, {noon.Add(-3 * time.Hour), "", "2026-03-04 09:00:00 (3h ago)"},
		{noon.Add(-30 * time.Minute), "", "2026-03-04 11:30:00 (30m ago)"}, {noon.Add(72 * time.Hour), "", "2026-03-07 12:00:00 (in 3d)"},
		{noon.AddDate(0, -1, 0), "", "2026-02-04 12:00:00"}, {noon.AddDate(1, 0, 0), "", "2027-03-04 12:00:00"},
		{noon.In(time.FixedZone("", 3600)), "", "2026-03-04 12:00:00 (now)"},
	} {
		if got := Human(test.v, test.unit, noon); got != test.want {
			t.Errorf("%v %s is %q, want %q", test.v, test.unit, got, test.want)
		}
	}
	if got := Human(noon, "", time.Time{}); got != "2026-03-04 12:00:00" {
		t.Errorf("without a now: %s", got)
	}
}

// Markdown can be read as it is written for.
func TestMarkdown(t *testing.T) {
	const text = "\n\n## Heading ##\nA paragraph that is broken\nin its source, and is **one bold text** here.\n\n\n\n- an item that is longer than the terminal is wide\n  and goes on\n- another `code`\n\n1. numbered\n\n```sh\nmake   run && echo a line of code that is never broken at all\n\n# no heading\n```\n| a | b |\n| - | - |\n> a quote\n    indented   code\nlast #1\n\n"
	want := []string{
		"Heading",
		"A paragraph that is broken in its",
		"source, and is one bold text here.",
		"",
		"- an item that is longer than the",
		"  terminal is wide and goes on",
		"- another `code`",
		"",
		"1. numbered",
		"",
		"    make   run && echo a line of code that is never broken at all",
		"",
		"    # no heading",
		"| a | b |",
		"| - | - |",
		"> a quote",
		"    indented   code",
		"last #1",
	}
	if d := cmp.Diff(strings.Join(want, "\n")+"\n", rendered(t, Value{Text: text}, term.Plain(), 40)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := rendered(t, Value{Text: " \n\n"}, term.Plain(), 40); got != "(nothing)\n" {
		t.Errorf("blanks give %q", got)
	}
}
