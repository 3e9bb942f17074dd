package town_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/town"
)

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
	// If the model fails the rules' own cost is due, which is more for a feast of two.
	if lowest, highest := slices.Min(g.asked), slices.Max(g.asked); lowest != 600 || highest < 800 {
		t.Errorf("the gate was asked for %d to %d, a decision may cost 600", lowest, highest)
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
