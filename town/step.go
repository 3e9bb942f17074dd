package town

import (
	"context"
	"strconv"
	"time"
)

// Step lives through one phase of the day and returns what happened in it, in order,
// each event at the real time now. d decides what the citizens do, nil is by rules;
// g is asked before each operation, nil allows all.
func (t *Town) Step(ctx context.Context, now time.Time, d Decider, g Gate) []Event {
	now = now.UTC()
	p := &phases[t.phase]
	var out []Event
	for range p.least {
		e := t.event(now, Solo)
		c := &t.citizens[t.rng.IntN(len(t.citizens))]
		op := operations[Solo]
		e.Participants, e.Region, e.Drama = []string{c.name}, t.regions[c.region].name, op.drama
		if g != nil {
			if ok, why := g.Allow(op.tokens); !ok {
				e.Limited, e.Message, e.Drama = true, why, 0
				out = append(out, e)
				break
			}
		}
		e.Success, e.Tokens, e.Message = true, op.tokens, c.name+" reflects alone"
		e.Shares = []Share{{Citizen: c.name, Model: ModelRules, Out: op.tokens}}
		t.counters.Tokens += e.Tokens
		t.counters.Interactions++
		t.counters.ByOperation[Solo]++
		out = append(out, e)
	}
	if t.phase++; t.phase == len(phases) {
		t.phase = 0
		t.day++
	}
	return out
}

// event begins the next event of the town.
func (t *Town) event(now time.Time, op string) Event {
	t.seq++
	return Event{
		ID: t.id + "." + t.birth + "." + strconv.FormatUint(t.seq, 10), Seq: t.seq, Town: t.id,
		Day: t.day, Phase: phases[t.phase].name, Operation: op, Time: now,
	}
}
