package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/failpoint"
	"github.com/kgents/kgents/town"
)

// Stepped is what a step came to.
type Stepped struct {
	Town   Town         `json:"town" doc:"The town after it"`
	Phases int          `json:"phases" doc:"Phases of the day that were lived: fewer than asked for when time ran out"`
	Events []town.Event `json:"events" doc:"What happened, the oldest first"`
}

// Step lets a customer's town live for phases of its day, at most MaxPhases, until the
// step's time (20 s) is up. Nil means that everything that it used is durable.
//
// After CodeUnavailable it may have been lived or not: what was lived stands, and is
// billed once. It doesn't end with the caller's patience: ctx is cut off from that.
func (h *Host) Step(ctx context.Context, customer, id string, phases int) (Stepped, error) {
	if phases < 1 || phases > MaxPhases {
		return Stepped{}, kgents.Errorf(kgents.CodeInvalid, "a step is 1 to %d phases", MaxPhases)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepBudget+mindBudget+4*ioTimeout)
	defer cancel()
	out := Stepped{Events: []town.Event{}}
	for out.Phases < phases && (out.Phases == 0 || time.Since(began) < stepBudget) {
		part, err := h.advance(ctx, customer, id, phases-out.Phases, nil)
		if err != nil {
			if e, ok := errors.AsType[*kgents.Error](err); ok && out.Phases > 0 {
				told := *e
				told.Extra = map[string]any{"phases": out.Phases}
				err = &told
			}
			return out, err
		}
		out.Town, out.Phases, out.Events = part.Town, out.Phases+part.Phases, append(out.Events, part.Events...)
	}
	return out, nil
}

// advance lives, writes and sends at most phases, and begins again when another was
// faster. Due, if it isn't nil, tells from the record as it is whether to do anything.
func (h *Host) advance(ctx context.Context, customer, id string, phases int, due func(*record) bool) (Stepped, error) {
	for range conflicts {
		out, err := h.try(ctx, customer, id, phases, due)
		if !errors.Is(err, errConflict) {
			return out, err
		}
		h.metrics.conflicts.Inc()
		if !sleep(ctx, 5*time.Millisecond) {
			return Stepped{}, unavailable(ctx.Err())
		}
	}
	return Stepped{}, kgents.Unavailable(time.Second, "others let this town live at this moment: try again", errConflict)
}

func (h *Host) try(ctx context.Context, customer, id string, phases int, due func(*record) bool) (out Stepped, err error) {
	rec, revision, err := h.load(ctx, customer, id)
	if err != nil || due != nil && !due(&rec) {
		return out, err
	}
	if revision, err = h.ready(ctx, id, &rec, revision); err != nil {
		return out, err
	}
	var mind town.Decider
	if rec.Model {
		mind = h.Mind
	}
	g := &gate{limits: h.Limits, customer: customer}
	defer g.release()
	began := time.Now()
	thinking, cancel := context.WithTimeout(ctx, mindBudget)
	defer cancel()
	rec.Outbox, rec.Limited, rec.Lease = nil, "", time.Time{}
	for out.Phases < phases && len(rec.Outbox)+town.MaxStepEvents <= maxOutbox && (out.Phases == 0 || time.Since(began) < maxUnsent) {
		g.why = ""
		rec.Outbox = append(rec.Outbox, rec.Town.Step(thinking, time.Now(), mind, g)...)
		rec.Limited = g.why
		out.Phases++
	}
	rec.Stepped = time.Now().UTC()
	if err := h.at("town.stepped"); err != nil {
		return out, err
	}
	if revision, err = h.store.put(ctx, townKey(id), rec, revision); err != nil {
		return Stepped{}, err
	}
	h.metrics.lived(rec.Outbox)
	if err := h.at("town.saved"); err != nil {
		return out, err
	}
	out.Town, out.Events = view(id, rec), rec.Outbox
	return out, h.send(ctx, id, rec, revision)
}

// ready makes rec one that may be stepped: its outbox is out, and if it has a model
// nobody else is at it.
func (h *Host) ready(ctx context.Context, id string, rec *record, revision uint64) (uint64, error) {
	if len(rec.Outbox) > 0 && !h.settled.is(id, revision) {
		if err := h.send(ctx, id, *rec, revision); err != nil {
			return 0, err
		}
	}
	if !rec.Model || h.Mind == nil {
		return revision, nil
	}
	if err := rec.busy(); err != nil {
		return 0, err
	}
	rec.Outbox, rec.Lease = nil, time.Now().Add(lease).UTC()
	return h.store.put(ctx, townKey(id), *rec, revision)
}

// busy is an error while somebody is at a step with a language model.
func (r *record) busy() error {
	wait := time.Until(r.Lease)
	if wait <= 0 {
		return nil
	}
	e := kgents.Errorf(kgents.CodeConflict, "somebody else lets this town live at this moment: try again")
	e.RetryAfter = wait
	return e
}

// send makes what is in the outbox durable as usage, and then tells what happened. Nil
// means that the usage is. History that can't be told now stays in the outbox.
func (h *Host) send(ctx context.Context, id string, rec record, revision uint64) error {
	var usage []kgents.Event
	for _, e := range rec.Outbox {
		usage = append(usage, e.Usage(rec.Customer)...)
	}
	if len(usage) > 0 {
		if _, err := h.Admitter.Admit(ctx, usage); err != nil {
			h.metrics.unsent.Inc()
			return kgents.Unavailable(time.Second,
				"what the town used can't be made durable at the moment: it is kept and counts once; the town goes on after that", err)
		}
	}
	if err := h.at("town.admitted"); err != nil {
		return err
	}
	if err := h.history.add(ctx, id, rec.Outbox); err != nil {
		h.metrics.untold.Inc()
		h.Log.Warn("what happened in a town can't be told at the moment: it is kept", "town", id, "error", err)
		return nil
	}
	if err := h.at("town.told"); err != nil {
		return err
	}
	h.settled.put(id, revision)
	return nil
}

// at is a place where a crash is tried.
func (h *Host) at(place string) error {
	failpoint.Hit(place)
	return h.crash(place)
}

// load reads a town of the customer's. A town of another's is none.
func (h *Host) load(ctx context.Context, customer, id string) (rec record, revision uint64, err error) {
	missing := kgents.Errorf(kgents.CodeNotFound, "there is no town of this id")
	if town.CheckID(id) != nil { // it would be another key
		return rec, 0, missing
	}
	revision, err = h.store.get(ctx, townKey(id), &rec)
	if err != nil {
		return rec, 0, err
	}
	if revision == 0 || rec.Customer != customer {
		return record{}, 0, missing
	}
	if is, _, sure := h.orphan(&rec); is && !sure {
		return record{}, 0, errOwner
	} else if is {
		return record{}, 0, missing
	}
	if rec.Town == nil {
		return rec, 0, fmt.Errorf("town %s has no state", id)
	}
	return rec, revision, nil
}

// gate asks before each operation, and holds what was allowed in reserve until release.
type gate struct {
	limits   Limits
	customer string
	held     []func()
	why      string // of the last refusal
}

// Allow implements town.Gate.
func (g *gate) Allow(tokens int64) (ok bool, why string) {
	free, why := g.take(FeatureTokens, tokens)
	if why != "" {
		return false, why
	}
	if _, why = g.take(FeatureInteractions, 1); why != "" {
		free() // at once: what is refused needs no room
		return false, why
	}
	return true, ""
}

// take holds n of a feature, or tells why not.
func (g *gate) take(feature string, n int64) (free func(), why string) {
	free, answer, err := g.limits.Take(g.customer, feature, n)
	switch {
	case err != nil:
		g.why = err.Error()
	case !answer.Allowed:
		g.why = answer.Explain()
	default:
		free = sync.OnceFunc(free)
		g.held = append(g.held, free)
		return free, ""
	}
	free()
	return free, g.why
}

func (g *gate) release() {
	for _, f := range g.held {
		f()
	}
	g.held = nil
}
