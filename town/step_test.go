package town_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		id   string
		size int
		at   time.Time
	}{
		{"", 3, founded}, {"-a", 3, founded}, {"A", 3, founded}, {"a b", 3, founded}, {"a.b", 3, founded}, {"a\n", 3, founded},
		{strings.Repeat("a", town.MaxIDBytes+1), 3, founded},
		{"a", 0, founded}, {"a", 4, founded}, {"a", -3, founded}, {"a", 26, founded},
		{"a", 3, time.Time{}}, {"a", 3, founded.AddDate(1000, 0, 0)},
	} {
		if _, err := town.New(c.id, c.size, 1, c.at); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("%q of %d at %s: %v", c.id, c.size, c.at, err)
		}
	}
	if _, err := town.New(strings.Repeat("a", town.MaxIDBytes), 25, 0, founded); err != nil {
		t.Error(err)
	}
}

// The citizens that the facts name stand where they say.
func TestPlaces(t *testing.T) {
	capacity := map[string]int{"inn": 10, "square": 20, "garden": 8, "market": 15, "library": 6, "observatory": 6, "workshop": 10, "archive": 8}
	for size, regions := range map[int]int{3: 2, 7: 5, 10: 6, 25: 8} {
		tw := found(t, size, 1)
		places := tw.Places()
		if len(places) != regions || len(tw.Names()) != size {
			t.Errorf("%d citizens in %d regions", len(tw.Names()), len(places))
		}
		for _, p := range places {
			if p.Capacity != capacity[p.Name] {
				t.Errorf("%s holds %d", p.Name, p.Capacity)
			}
		}
		for name, want := range map[string][2]string{"Alice": {"innkeeper", "inn"}, "Bob": {"builder", "square"}, "Clara": {"explorer", "inn"}} {
			if v, err := tw.View(name, 1); err != nil || v.Archetype != want[0] || v.Region != want[1] {
				t.Errorf("%+v, %v", v, err)
			}
		}
	}
}

// The same town lives the same life: on every machine, and until somebody changes
// the rules, which changes these sums and has to be said in the changelog.
func TestDeterministic(t *testing.T) {
	want := map[int]string{3: "e82a707633068107", 7: "406cb3421153645f", 10: "11ba07442f3ce3c1", 25: "2920d4c582a4a2be"}
	for _, size := range sizes {
		h := sha256.New()
		tw := found(t, size, 42)
		for range 4 * 365 {
			if err := json.NewEncoder(h).Encode(tw.Step(t.Context(), founded, nil, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != want[size] {
			t.Errorf("a year of %d citizens has the sum %s, it had %s", size, got, want[size])
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, b := found(t, 7, 1), found(t, 7, 2)
	var x, y []string
	for range 8 {
		for _, e := range a.Step(t.Context(), founded, nil, nil) {
			x = append(x, e.Message)
		}
		for _, e := range b.Step(t.Context(), founded, nil, nil) {
			y = append(y, e.Message)
		}
	}
	if slices.Equal(x, y) {
		t.Error("two seeds, one life")
	}
}

// strict allows so many tokens, and remembers what it was asked for.
type strict struct {
	left  int64
	asked []int64
}

func (s *strict) Allow(tokens int64) (bool, string) {
	s.asked = append(s.asked, tokens)
	if tokens > s.left {
		return false, "the plan's tokens are used up until 1 December"
	}
	s.left -= tokens
	return true, ""
}

// The gate is asked before each operation with just its tokens; past it nothing is
// spent, the reason is told, once a phase, and life goes on.
func TestGate(t *testing.T) {
	g := &strict{left: 10_000}
	tw := found(t, 7, 3)
	var spent int64
	var quiet []string
	limited := 0
	for step := range 4 * 30 {
		phase := 0
		for _, e := range tw.Step(t.Context(), founded, nil, g) {
			spent += e.Tokens
			switch {
			case e.Limited:
				phase++
				if e.Success || e.Message != "the plan's tokens are used up until 1 December" || e.Usage("c") != nil {
					t.Errorf("step %d: %+v", step, e)
				}
			case phase > 0 && e.Operation != town.Rest:
				t.Errorf("step %d: %+v after the limit", step, e)
			}
			if limited > 20 && e.Region == "" {
				quiet = append(quiet, e.Operation)
			}
		}
		if phase > 1 {
			t.Errorf("step %d: told the limit %d times", step, phase)
		}
		limited += phase
	}
	if spent != 10_000-g.left || spent == 0 || g.left >= 8000 {
		t.Errorf("spent %d, the gate has allowed %d", spent, 10_000-g.left)
	}
	slices.Sort(quiet)
	if got := slices.Compact(quiet); !slices.Equal(got, []string{town.Move, town.Rest, town.Wake}) {
		t.Errorf("over the limit they only %v", got)
	}
	if tw.Day() != 31 || limited < 60 {
		t.Errorf("day %d, limited %d times", tw.Day(), limited)
	}
	// What a failed precondition would have cost isn't asked for.
	g = &strict{left: 1 << 40}
	tw = found(t, 7, 3)
	var tokens []int64
	for range 4 * 30 {
		for _, e := range tw.Step(t.Context(), founded, nil, g) {
			if e.Tokens > 0 {
				tokens = append(tokens, e.Tokens)
			}
		}
	}
	if diff := cmp.Diff(tokens, g.asked); diff != "" || tw.Metrics().Failed == 0 {
		t.Errorf("spent and asked, with %d failures:\n%s", tw.Metrics().Failed, diff)
	}
}

// fixed is a decider of one answer.
type fixed struct {
	dec   town.Decision
	err   error
	bound int64
	seen  []town.Situation
}

func (f *fixed) Bound(town.Situation) int64 { return f.bound }

func (f *fixed) Decide(_ context.Context, s town.Situation) (town.Decision, error) {
	f.seen = append(f.seen, s)
	return f.dec, f.err
}

// What a model decides happens, and costs what the model has used: for each
// participant a share, odd counts included.
func TestDecider(t *testing.T) {
	d := &fixed{dec: town.Decision{Choice: 0, Model: "m-1", In: 301, Out: 2, Latency: 1234567 * time.Microsecond}, bound: 600}
	g := &strict{left: 1 << 40}
	tw := found(t, 7, 3)
	n := 0
	for range 4 * 60 {
		for _, e := range tw.Step(t.Context(), founded, d, g) {
			if e.Tokens == 0 {
				continue
			}
			s := d.seen[n]
			n++
			o := s.Options[0]
			if e.Operation != o.Operation || !slices.Equal(e.Participants, o.Participants) || e.Region != s.Region || e.Day != s.Day || e.Phase != s.Phase {
				t.Fatalf("chose %+v in %+v, and had %+v", o, s, e)
			}
			if e.Tokens != 303 || e.LatencyMS != 1234 || e.Metadata != nil {
				t.Fatalf("%+v", e)
			}
			share := town.Share{Citizen: e.Participants[0], Model: "m-1", In: (301 + int64(len(e.Participants)) - 1) / int64(len(e.Participants)), Out: 2}
			if len(e.Participants) > 1 {
				share.Out = 1
			}
			if e.Shares[0] != share {
				t.Fatalf("first share %+v, want %+v", e.Shares[0], share)
			}
		}
	}
	if n != len(d.seen) || n < 300 {
		t.Errorf("%d interactions by %d decisions", n, len(d.seen))
	}
	if m := tw.Metrics(); m.Decided != m.Interactions || m.Fallbacks != 0 || m.Tokens != 303*m.Interactions {
		t.Errorf("%+v", m)
	}
	if lowest := slices.Min(g.asked); lowest != 600 {
		t.Errorf("the gate was asked for %d, a decision may cost 600", lowest)
	}
}

// Only what is possible is an option, and nothing of a customer is told.
func TestSituation(t *testing.T) {
	d := &fixed{dec: town.Decision{Choice: 0, Model: "m", In: 1, Out: 1}}
	tw := found(t, 25, 3)
	ops := map[string]bool{}
	most := 0
	for range 4 * 200 {
		tw.Step(t.Context(), founded, d, nil)
		for _, s := range d.seen {
			here := []string{s.Actor.Name}
			for _, p := range s.Present {
				here = append(here, p.Name)
				if p.Mood == "at rest" || p.View < -1 || p.View > 1 || p.Archetype == "" {
					t.Fatalf("%+v is there", p)
				}
			}
			most = max(most, len(s.Options))
			for i, o := range s.Options {
				ops[o.Operation] = true
				if o.Participants[0] != s.Actor.Name && o.Operation != town.Celebrate && o.Operation != town.Mourn {
					t.Fatalf("%s can do %+v", s.Actor.Name, o)
				}
				for _, name := range o.Participants {
					if !slices.Contains(here, name) {
						t.Fatalf("%+v with %v there", o, here)
					}
				}
				if (o.Operation == town.Gossip) != (o.Subject != "") || slices.Contains(o.Participants, o.Subject) || o.Tokens == 0 {
					t.Fatalf("%+v", o)
				}
				if o.Operation == town.Teach && s.Actor.Archetype != town.Sage {
					t.Fatalf("%s teaches", s.Actor.Name)
				}
				for _, other := range s.Options[:i] {
					if cmp.Equal(o, other) {
						t.Fatalf("%+v twice", o)
					}
				}
			}
		}
		d.seen = nil
	}
	if most != town.MaxOptions || len(ops) != 8 {
		t.Errorf("at most %d options of %v", most, slices.Sorted(maps.Keys(ops)))
	}
}

// A decider that fails costs the customer nothing but what rules cost: why is in the
// event, what it cost counts against the budget, and it isn't asked again in the step.
func TestDeciderFails(t *testing.T) {
	for name, c := range map[string]struct {
		d    fixed
		meta map[string]string
		cost int64
	}{
		"an error":      {fixed{err: errors.New("429 from the model")}, map[string]string{town.MetaFallback: "429 from the model"}, 0},
		"a long one":    {fixed{err: errors.New(strings.Repeat("ä", 300))}, map[string]string{town.MetaFallback: strings.Repeat("ä", 100)}, 0},
		"a costly one":  {fixed{dec: town.Decision{In: 90, Out: 10}, err: errors.New("refused")}, map[string]string{town.MetaFallback: "refused", town.MetaWasted: "100"}, 100},
		"a time-out":    {fixed{dec: town.Decision{In: 50, Uncertain: true}, err: errors.New("slow")}, map[string]string{town.MetaFallback: "slow", town.MetaWasted: "50", town.MetaUncertain: "true"}, 50},
		"no option":     {fixed{dec: town.Decision{Choice: 99, In: 7}}, map[string]string{town.MetaFallback: "it chose what is no option", town.MetaWasted: "7"}, 7},
		"a negative":    {fixed{dec: town.Decision{Choice: -1}}, map[string]string{town.MetaFallback: "it chose what is no option"}, 0},
		"nonsense":      {fixed{dec: town.Decision{In: -7}}, map[string]string{town.MetaFallback: "it counted tokens that can't be"}, 0},
		"more nonsense": {fixed{dec: town.Decision{Out: 1 << 62}}, map[string]string{town.MetaFallback: "it counted tokens that can't be"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tw, rules := found(t, 7, 5), found(t, 7, 5)
			for step := range 40 {
				c.d.seen = nil
				events, plain := tw.Step(t.Context(), founded, &c.d, nil), rules.Step(t.Context(), founded, nil, nil)
				if len(c.d.seen) > 1 {
					t.Fatalf("asked %d times in one step", len(c.d.seen))
				}
				asked := 0
				for i, e := range events {
					if e.Metadata[town.MetaFallback] != "" {
						asked++
						if diff := cmp.Diff(c.meta, e.Metadata); diff != "" {
							t.Fatal(diff)
						}
						events[i].Metadata = nil
					}
				}
				if diff := cmp.Diff(plain, events); diff != "" || asked != len(c.d.seen) {
					t.Fatalf("step %d, asked %d times (-by rules +by a failed model):\n%s", step, asked, diff)
				}
			}
			if m := tw.Metrics(); m.Decided != 0 || m.Fallbacks == 0 || m.Wasted != m.Fallbacks*c.cost {
				t.Errorf("%+v", m)
			}
		})
	}
}

// A gate with room for rules but not for a model slows the town to rules, and it
// tells why.
func TestGateSlowsToRules(t *testing.T) {
	d := &fixed{bound: 1 << 50}
	tw := found(t, 7, 5)
	told := 0
	for range 40 {
		for _, e := range tw.Step(t.Context(), founded, d, &strict{left: 20_000}) {
			if why, ok := e.Metadata[town.MetaFallback]; ok && e.Success {
				told++
				if why != "no room for a model: the plan's tokens are used up until 1 December" || e.Shares[0].Model != town.ModelRules {
					t.Fatalf("%+v", e)
				}
			}
		}
	}
	if m := tw.Metrics(); int64(told) != m.Interactions || len(d.seen) != 0 || m.Limited != 0 {
		t.Errorf("told %d times: %+v", told, m)
	}
}

// What deciders have spent counts for the day of UTC, also after a restart; clocks
// that differ a little at midnight don't open the budget again.
func TestSpentByDay(t *testing.T) {
	d := &fixed{dec: town.Decision{Choice: 0, Model: "m", In: 10, Out: 1}}
	tw := found(t, 7, 5)
	at := func(now string) int64 {
		t.Helper()
		when, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		for {
			d.seen = nil
			before := tw.Metrics().Tokens
			tw.Step(t.Context(), when, d, nil)
			b, err := json.Marshal(tw)
			if err != nil {
				t.Fatal(err)
			}
			tw = new(town.Town)
			if err := json.Unmarshal(b, tw); err != nil {
				t.Fatal(err)
			}
			for i, s := range d.seen {
				if want := d.seen[0].Spent + 11*int64(i); s.Spent != want {
					t.Fatalf("spent %d, want %d", s.Spent, want)
				}
			}
			if n := len(d.seen); n > 0 {
				return tw.Metrics().Tokens - before - 11*int64(n) + d.seen[0].Spent
			}
		}
	}
	first := at("2026-11-28T23:00:00Z")
	second := at("2026-11-28T23:59:59Z")
	if first != 0 || second == 0 {
		t.Errorf("%d, then %d", first, second)
	}
	if got := at("2026-11-29T00:00:00Z"); got != 0 {
		t.Errorf("a new day begins with %d", got)
	}
	if got := at("2026-11-28T23:59:59Z"); got == 0 {
		t.Error("the day before opened again")
	}
	if got := at("2026-11-29T01:00:00+02:00"); got == 0 {
		t.Error("a day of UTC is one everywhere")
	}
	if got := at("2030-01-01T00:00:00Z"); got != 0 {
		t.Errorf("a clock that runs ahead begins with %d", got)
	}
	if got := at("2026-11-30T00:00:00Z"); got != 0 {
		t.Errorf("the clock set right, the day begins with %d", got)
	}
}

func TestView(t *testing.T) {
	tw := found(t, 7, 5)
	for range 40 {
		tw.Step(t.Context(), founded, nil, nil)
	}
	levels := [][]string{
		{"lod", "name", "region", "phase"}, {"archetype", "mood"}, {"philosophy", "metaphor"},
		{"traits", "relationships"}, {"surplus", "id"}, {"opaque"},
	}
	var want []string
	for lod, members := range levels {
		want = append(want, members...)
		v, err := tw.View("alice", lod)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("level %d:\n%s", lod, diff)
		}
		if got["name"] != "Alice" || got["lod"] != float64(lod) {
			t.Errorf("%s", b)
		}
	}
	if _, err := tw.View("Mallory", 0); kgents.ErrorCode(err) != kgents.CodeNotFound {
		t.Error(err)
	}
	for _, lod := range []int{-1, 6} {
		if _, err := tw.View("Alice", lod); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Error(err)
		}
	}
	v, _ := tw.View("Alice", 3)
	v.Traits.Warmth, v.Relationships["Bob"] = 99, 99
	if again, _ := tw.View("Alice", 3); again.Traits.Warmth == 99 || again.Relationships["Bob"] == 99 {
		t.Error("a view is the town's own")
	}
}

// No two events have one id, whatever towns there are and were: not the share of one
// and the event of another, and not a town and the deleted one whose name it has.
func TestIDs(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "a-1", "a-1-1", "1"} {
		for life := range 3 {
			tw, err := town.New(id, 3, uint64(life%2), founded.Add(time.Duration(life/2)*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			whose := id + " " + strconv.Itoa(life)
			for range 40 {
				for _, e := range tw.Step(t.Context(), founded, nil, nil) {
					ids := []string{e.ID}
					if usage := e.Usage("c"); usage != nil {
						for i, u := range usage {
							if (i == 0) != (u.ID == e.ID) {
								t.Fatalf("%s has usage %s", e.ID, u.ID)
							}
							ids = append(ids, u.ID)
						}
						ids = ids[1:]
					}
					for _, id := range ids {
						if other, ok := seen[id]; ok {
							t.Fatalf("%s is of %s and of %s", id, whose, other)
						}
						seen[id] = whose
					}
				}
			}
		}
	}
}
