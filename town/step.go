package town

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Step lives through one phase of the day and returns what happened in it, in order,
// each event at the real time now. d decides what the citizens do, nil is by rules;
// g is asked before each operation, nil allows all.
//
// Step never fails. It waits for nothing but d, which is asked at most MaxOperations
// times, and no more in this step once it has failed: a model that is away costs one
// time-out, not five. When g refuses, the operation is an event with Limited, and
// nobody does anything more in this phase; they still wake, move and rest.
func (t *Town) Step(ctx context.Context, now time.Time, d Decider, g Gate) []Event {
	now = now.UTC()
	p := &phases[t.phase]
	out := t.begin(p, now)
	for range p.least + t.rng.IntN(p.most-p.least+1) {
		e, failed := t.operate(ctx, now, p, d, g)
		out = append(out, e)
		if e.Limited {
			break
		}
		if failed {
			d = nil
		}
	}
	out = append(out, t.end(p, now)...)
	if t.phase++; t.phase == len(phases) {
		t.phase = 0
		t.day++
	}
	return out
}

// operate lets one thing happen. failed tells that d couldn't decide.
func (t *Town) operate(ctx context.Context, now time.Time, p *phase, d Decider, g Gate) (e Event, failed bool) {
	a := t.choose(p)
	refusal := t.refusal(a)
	e = t.event(now, a.name)
	var cost int64 // by rules
	if refusal == "" {
		cost = a.cost()
	}
	if d != nil {
		if s, acts := t.situation(a, now); len(acts) > 0 {
			if ok, why := allow(g, max(cost, d.Bound(s))); !ok {
				e.note(MetaFallback, "no room for a model: "+why)
			} else {
				dec, why := t.ask(ctx, now, d, s)
				if why == "" {
					return t.happen(e, acts[dec.Choice], dec), false
				}
				t.waste(&e, dec, why)
				failed = true
				if cost > 0 { // which the gate has allowed
					return t.happen(e, a, Decision{}), failed
				}
			}
		}
	}
	if refusal != "" {
		t.counters.Failed++
		return t.not(e, a, refusal), failed
	}
	if ok, why := allow(g, cost); !ok {
		t.counters.Limited++
		e.Limited = true
		return t.not(e, a, why), failed
	}
	return t.happen(e, a, Decision{}), failed
}

func allow(g Gate, tokens int64) (bool, string) {
	if g == nil {
		return true, ""
	}
	return g.Allow(tokens)
}

// MetaFallback and MetaWasted are the metadata of an event that rules decided
// although a model was there: why, and how many of the model's tokens that cost,
// which nobody is billed for. MetaUncertain is "true" if the call failed in a way
// that leaves open whether it cost them.
const (
	MetaFallback  = "fallback"
	MetaWasted    = "wasted_tokens"
	MetaUncertain = "uncertain"
)

// maxReason bounds a reason that a Decider gives, in bytes, and maxModel the name of
// its model: what is longer is cut.
const (
	maxReason = 200
	maxModel  = 100
)

// maxDecisionTokens is the most that one decision can have cost: more is taken for a
// defect of whoever counted.
const maxDecisionTokens = 10_000_000

// ask lets d decide. The choice is good if why is empty.
func (t *Town) ask(ctx context.Context, now time.Time, d Decider, s Situation) (dec Decision, why string) {
	dec, err := d.Decide(ctx, s)
	if dec.In < 0 || dec.Out < 0 || dec.In > maxDecisionTokens || dec.Out > maxDecisionTokens {
		return Decision{}, "it counted tokens that can't be"
	}
	t.spent.add(now, dec.In+dec.Out)
	switch {
	case err != nil:
		return dec, cut(err.Error(), maxReason)
	case dec.Choice < 0 || dec.Choice >= len(s.Options):
		return dec, "it chose what is no option"
	}
	return dec, ""
}

// waste notes what a decision cost that wasn't made.
func (t *Town) waste(e *Event, dec Decision, why string) {
	t.counters.Fallbacks++
	e.note(MetaFallback, why)
	if spent := dec.In + dec.Out; spent > 0 {
		t.counters.Wasted += spent
		e.note(MetaWasted, strconv.FormatInt(spent, 10))
	}
	if dec.Uncertain {
		e.note(MetaUncertain, "true")
	}
}

// happen makes e the event of a, which was decided by dec; without tokens of its own
// that is by rules, and costs what the table says.
func (t *Town) happen(e Event, a act, dec Decision) Event {
	e.Operation = a.name
	e.Participants, e.Region = t.names(a.by), t.regions[t.citizens[a.by[0]].region].name
	e.Success = true
	e.LatencyMS = dec.Latency.Milliseconds()
	e.Drama, e.Message = t.do(a)
	model := cut(dec.Model, maxModel)
	if model == "" {
		model = ModelRules
	}
	if model != ModelRules {
		t.counters.Decided++
	}
	if dec.In+dec.Out == 0 {
		dec.Out = a.cost()
	}
	e.Tokens = dec.In + dec.Out
	e.Shares = split(e.Participants, model, dec.In, dec.Out)
	t.counters.Tokens += e.Tokens
	t.counters.Interactions++
	t.counters.ByOperation[a.name]++
	return e
}

// not makes e the event of an act that didn't happen.
func (t *Town) not(e Event, a act, why string) Event {
	e.Participants, e.Region = t.names(a.by), t.regions[t.citizens[a.by[0]].region].name
	e.Message = why
	return e
}

// split shares tokens out: evenly, and what can't be split goes to the first ones.
func split(participants []string, model string, in, out int64) []Share {
	n := int64(len(participants))
	part := func(of, i int64) int64 {
		if i < of%n {
			return of/n + 1
		}
		return of / n
	}
	shares := make([]Share, n)
	for i := range n {
		shares[i] = Share{Citizen: participants[i], Model: model, In: part(in, i), Out: part(out, i)}
	}
	return shares
}

// event begins the next event of the town.
func (t *Town) event(now time.Time, op string) Event {
	t.seq++
	return Event{
		ID: t.id + "." + t.birth + "." + strconv.FormatUint(t.seq, 10), Seq: t.seq, Town: t.id,
		Day: t.day, Phase: phases[t.phase].name, Operation: op, Time: now,
	}
}

func (e *Event) note(key, value string) {
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	e.Metadata[key] = value
}

// cut is s in at most n bytes of whole characters, with what isn't text taken out.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
