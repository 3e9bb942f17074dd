package town_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
	"github.com/kgents/kgents/town"
)

var (
	sizes   = []int{3, 7, 10, 25}
	founded = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
)

func found(t testing.TB, size int, seed uint64) *town.Town {
	t.Helper()
	tw, err := town.New("the-town", size, seed, founded)
	if err != nil {
		t.Fatal(err)
	}
	return tw
}

// moody is a gate that refuses at random.
type moody struct{ r *rand.Rand }

func (g moody) Allow(int64) (bool, string) { return g.r.IntN(4) > 0, "the month's tokens are used up" }

// whim is a decider that chooses at random, and at times fails, or answers what it
// may not.
type whim struct{ r *rand.Rand }

func (w whim) Bound(town.Situation) int64 { return 5000 }

func (w whim) Decide(_ context.Context, s town.Situation) (town.Decision, error) {
	d := town.Decision{Choice: w.r.IntN(len(s.Options)), Model: "whim-1", In: w.r.Int64N(900), Out: w.r.Int64N(7)}
	switch w.r.IntN(12) {
	case 0:
		return d, errors.New("no answer in 10 s")
	case 1:
		d.Choice = len(s.Options)
	case 2:
		d.Choice = -1
	case 3:
		d.Out = -5
	case 4:
		d.In, d.Out = 0, 0
	}
	return d, nil
}

// A town lives for thousands of days, of every size, with each kind of decider and
// gate, and at every moment all holds that a bill is made from.
func TestLife(t *testing.T) {
	const days = 45 // × 4 sizes × 4 ways × 3 seeds = 2,160
	for _, size := range sizes {
		for way, name := range []string{"rules", "rules and a gate", "a model", "a model and a gate"} {
			t.Run(fmt.Sprintf("%d citizens, %s", size, name), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(3) {
					r := rand.New(rand.NewPCG(seed, uint64(way)))
					var d town.Decider
					var g town.Gate
					if way >= 2 {
						d = whim{r}
					}
					if way%2 == 1 {
						g = moody{r}
					}
					live(t, found(t, size, seed), days, d, g)
				}
			})
		}
	}
}

func live(t *testing.T, tw *town.Town, days int, d town.Decider, g town.Gate) {
	t.Helper()
	w := watcher{t: t, asleep: map[string]bool{}}
	now := founded
	for range days * 4 {
		now = now.Add(time.Minute)
		day, phase := tw.Day(), tw.Phase()
		events := tw.Step(t.Context(), now, d, g)
		if len(events) > town.MaxStepEvents {
			t.Fatalf("a step of %d events", len(events))
		}
		for _, e := range events {
			w.event(e)
			if e.Town != tw.ID() || e.Day != day || e.Phase != phase || !e.Time.Equal(now) {
				t.Fatalf("%+v: not of day %d, %s, %s", e, day, phase, now)
			}
		}
		w.town(tw)
	}
	m := tw.Metrics()
	if w.tokens != m.Tokens || w.interactions != m.Interactions || w.failed != m.Failed || w.limited != m.Limited {
		t.Errorf("events have %d tokens in %d interactions, %d failed, %d limited; the town counts %+v",
			w.tokens, w.interactions, w.failed, w.limited, m)
	}
	if (g != nil) != (m.Limited > 0) || (d != nil) != (m.Decided > 0) || (d != nil) != (m.Fallbacks > 0) {
		t.Errorf("the test doesn't test what it says: %+v", m)
	}
}

// watcher checks what a town does.
type watcher struct {
	t      *testing.T
	seq    uint64
	asleep map[string]bool

	tokens, interactions, failed, limited int64
}

func (w *watcher) event(e town.Event) {
	w.t.Helper()
	if w.seq++; e.Seq != w.seq {
		w.t.Fatalf("event %d follows %d", e.Seq, w.seq-1)
	}
	if e.Message == "" || len(e.Participants) == 0 {
		w.t.Fatalf("%+v: says nothing, or of nobody", e)
	}
	w.rest(e)
	var shares int64
	for i, s := range e.Shares {
		shares += s.In + s.Out
		if s.In < 0 || s.Out < 0 || s.Citizen != e.Participants[i] || s.Model == "" {
			w.t.Fatalf("%+v: share %d", e, i)
		}
	}
	quiet := e.Operation == town.Wake || e.Operation == town.Move || e.Operation == town.Rest
	switch {
	case shares != e.Tokens:
		w.t.Fatalf("%+v: shares of %d tokens", e, shares)
	case e.Success && !quiet && (e.Tokens == 0 || len(e.Shares) != len(e.Participants)):
		w.t.Fatalf("%+v: happened for nothing, or not everybody's share is known", e)
	case (!e.Success || quiet) && (e.Tokens != 0 || e.Drama != 0 || e.Shares != nil):
		w.t.Fatalf("%+v: cost something", e)
	case e.Limited && e.Success:
		w.t.Fatalf("%+v: limited and happened", e)
	}
	switch {
	case quiet:
	case e.Success:
		w.interactions++
		w.tokens += e.Tokens
	case e.Limited:
		w.limited++
	default:
		w.failed++
	}
	w.usage(e)
}

// rest checks the right to rest: from lying down to waking nothing happens with one.
func (w *watcher) rest(e town.Event) {
	w.t.Helper()
	for _, name := range e.Participants {
		if w.asleep[name] && e.Success && e.Operation != town.Wake {
			w.t.Fatalf("%+v: %s rests", e, name)
		}
		switch e.Operation {
		case town.Rest:
			w.asleep[name] = true
		case town.Wake:
			w.asleep[name] = false
		}
	}
}

func (w *watcher) usage(e town.Event) {
	w.t.Helper()
	usage := e.Usage("customer-1")
	if !e.Success || e.Tokens == 0 {
		if usage != nil {
			w.t.Fatalf("%+v: has usage", e)
		}
		return
	}
	if len(usage) != 1+len(e.Participants) {
		w.t.Fatalf("%+v: has %d usage events", e, len(usage))
	}
	var total, sum int64
	for i, u := range usage {
		got, err := cloudevents.Decode("application/cloudevents+json", bytes.Clone(u.Raw), time.Time{})
		if err != nil {
			w.t.Fatalf("%s: %v", u.Raw, err)
		}
		if len(got) != 1 || !same(got[0], u) { // go-cmp would take minutes over all of them
			w.t.Fatalf("not the event that it says (-made +read):\n%s", cmp.Diff([]kgents.Event{u}, got))
		}
		var data struct{ Tokens, Tokens_in, Tokens_out int64 }
		if err := json.Unmarshal(u.Data, &data); err != nil {
			w.t.Fatal(err)
		}
		if i == 0 {
			total = data.Tokens
			continue
		}
		sum += data.Tokens
		if data.Tokens != data.Tokens_in+data.Tokens_out {
			w.t.Fatalf("%s: in and out are not the sum", u.Raw)
		}
	}
	if total != e.Tokens || sum != total {
		w.t.Fatalf("%+v: metered %d, and %d over the citizens", e, total, sum)
	}
}

func same(a, b kgents.Event) bool {
	return a.Source == b.Source && a.ID == b.ID && a.Type == b.Type && a.Subject == b.Subject && a.Time.Equal(b.Time) &&
		bytes.Equal(a.Raw, b.Raw) && bytes.Equal(a.Data, b.Data)
}

// town checks what a town is between two steps.
func (w *watcher) town(tw *town.Town) {
	w.t.Helper()
	people := 0
	for _, p := range tw.Places() {
		people += len(p.Citizens)
		if len(p.Citizens) > p.Capacity {
			w.t.Fatalf("%+v is over its capacity", p)
		}
		for _, name := range p.Citizens {
			if slices.Contains(p.Resting, name) != w.asleep[name] {
				w.t.Fatalf("%s rests: %v", name, !w.asleep[name])
			}
		}
	}
	if people != tw.Size() {
		w.t.Fatalf("%d of %d are somewhere", people, tw.Size())
	}
	for _, name := range tw.Names() {
		v, err := tw.View(name, town.MaxDetail)
		if err != nil {
			w.t.Fatal(err)
		}
		for of, weight := range v.Relationships {
			if weight < -1 || weight > 1 || of == name {
				w.t.Fatalf("%s sees %s as %v", name, of, weight)
			}
		}
		tr := v.Traits
		for _, x := range []float64{tr.Warmth, tr.Curiosity, tr.Trust, tr.Creativity, tr.Patience, tr.Resilience, tr.Ambition, *v.Surplus} {
			if x < 0 || x > 1 && x != *v.Surplus {
				w.t.Fatalf("%s is %+v, with a surplus of %v", name, *tr, *v.Surplus)
			}
		}
	}
}

// A town that is written down and read back goes on as if nothing had been, in every
// phase, also in what a decider has spent.
func TestSnapshotGoesOnTheSame(t *testing.T) {
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			one, other := found(t, size, 7), found(t, size, 7)
			largest := 0
			for step := range 4 * 120 {
				now := founded.Add(time.Duration(step) * time.Hour)
				seed := func() town.Decider { return whim{rand.New(rand.NewPCG(uint64(step), 1))} }
				b, err := json.Marshal(other)
				if err != nil {
					t.Fatal(err)
				}
				largest = max(largest, len(b))
				other = new(town.Town)
				if err := json.Unmarshal(b, other); err != nil {
					t.Fatal(err)
				}
				if again, _ := json.Marshal(other); !bytes.Equal(again, b) {
					t.Fatalf("step %d: written down again it is another town:\n%s\n%s", step, b, again)
				}
				a, b2 := one.Step(t.Context(), now, seed(), nil), other.Step(t.Context(), now, seed(), nil)
				if diff := cmp.Diff(a, b2); diff != "" {
					t.Fatalf("step %d (-without +with a snapshot before):\n%s", step, diff)
				}
			}
			if largest > town.MaxSnapshotBytes/2 {
				t.Errorf("a snapshot of %d bytes", largest)
			}
		})
	}
}

// Bob, who is in the square, meets everybody: citizens move. So does everybody else.
func TestEverybodyMeets(t *testing.T) {
	for _, size := range sizes {
		tw := found(t, size, 1)
		met := map[[2]string]bool{}
		for range 4 * 365 * 3 {
			for _, e := range tw.Step(t.Context(), founded, nil, nil) {
				if !e.Success || e.Region == "" {
					continue
				}
				for _, a := range e.Participants {
					for _, b := range e.Participants {
						met[[2]string{a, b}] = true
					}
				}
			}
		}
		for _, a := range tw.Names() {
			for _, b := range tw.Names() {
				if !met[[2]string{a, b}] {
					t.Errorf("of %d: %s has never met %s in three years", size, a, b)
				}
			}
		}
	}
}

// Every operation happens; a town of years is neither frozen nor fallen apart.
func TestATownStaysAlive(t *testing.T) {
	all := []string{town.Greet, town.Gossip, town.Trade, town.Solo, town.Dispute, town.Celebrate, town.Mourn}
	for _, size := range sizes {
		for seed := range uint64(3) {
			tw := found(t, size, seed)
			for range 4 * 365 * 3 {
				tw.Step(t.Context(), founded, nil, nil)
			}
			m := tw.Metrics()
			for _, op := range all {
				if m.ByOperation[op] == 0 {
					t.Errorf("%d citizens, seed %d: no %s in three years", size, seed, op)
				}
			}
			if (m.ByOperation[town.Teach] > 0) != (size > 3) {
				t.Errorf("%d citizens, seed %d: %d lessons; a town of three has no sage", size, seed, m.ByOperation[town.Teach])
			}
			if most := float64(size * (size - 1)); m.Cooperation < most/10 || m.Failed == 0 || m.Surplus < 0 {
				t.Errorf("%d citizens, seed %d: %+v", size, seed, m)
			}
		}
	}
}
