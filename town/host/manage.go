package host

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

const (
	maxNameBytes = 80

	// MinPace and MaxPace bound how fast a town lives by itself.
	MinPace = time.Second
	MaxPace = 24 * time.Hour

	// unfinished is how old a trace of a town that isn't there must be to be removed:
	// before that, somebody may be about to found it.
	unfinished = time.Minute
)

// Wish is what a new town shall be.
type Wish struct {
	Name     string
	Citizens int
	Seed     uint64 // of its random numbers; 0 = any
	Model    bool
	Pace     time.Duration // 0 = it lives only when told
}

// Town is a town as it is shown.
type Town struct {
	ID           string    `json:"id" doc:"Its id"`
	Customer     string    `json:"customer" doc:"Whose it is"`
	Name         string    `json:"name" doc:"Its name"`
	Citizens     int       `json:"citizens" doc:"How many live in it"`
	Seed         string    `json:"seed" doc:"The seed of its random numbers, of 64 bits"`
	Created      time.Time `json:"created" doc:"When it was founded"`
	Model        bool      `json:"model" doc:"Whether a language model decides, if the operator has one"`
	Pace         float64   `json:"pace" doc:"Seconds from phase to phase when it lives by itself; 0: only when told"`
	Stepped      time.Time `json:"stepped,omitzero" doc:"When it was last lived in"`
	Day          int       `json:"day" doc:"The day of its own calendar, from 1"`
	Phase        string    `json:"phase" doc:"The phase of the day that comes next"`
	Places       []Place   `json:"places" doc:"Its regions and who is where"`
	Events       uint64    `json:"events" doc:"The number of its last event"`
	Interactions int64     `json:"interactions" doc:"Interactions since it was founded; each was metered once"`
	Tokens       int64     `json:"tokens" doc:"Tokens since it was founded; each was metered once"`
	Tension      float64   `json:"tension" doc:"Variance of what citizens think of each other"`
	Cooperation  float64   `json:"cooperation" doc:"Sum of what they think well of each other"`
	Limited      string    `json:"limited" doc:"Why the plan didn't allow what was wanted last; empty if it did"`
}

// Place is a region of a town.
type Place struct {
	Name     string   `json:"name" doc:"Its name"`
	Capacity int      `json:"capacity" doc:"How many find room in it"`
	Citizens []string `json:"citizens" doc:"Who is there"`
	Resting  []string `json:"resting" doc:"Who of them rests"`
}

func view(id string, r record) Town {
	m := r.Town.Metrics()
	v := Town{
		ID: id, Customer: r.Customer, Name: r.Name, Citizens: r.Citizens, Seed: strconv.FormatUint(r.Seed, 10), Created: r.Created,
		Model: r.Model, Pace: r.Pace.Seconds(), Stepped: r.Stepped, Day: r.Town.Day(), Phase: r.Town.Phase(),
		Events: r.Town.Seq(), Interactions: m.Interactions, Tokens: m.Tokens,
		Tension: m.Tension, Cooperation: m.Cooperation, Limited: r.Limited,
	}
	for _, p := range r.Town.Places() {
		v.Places = append(v.Places, Place(p))
	}
	return v
}

// Found founds a town for the customer, if the plan allows one more of that size.
func (h *Host) Found(ctx context.Context, customer string, w Wish) (Town, error) {
	if err := w.check(); err != nil {
		return Town{}, err
	}
	if w.Seed == 0 {
		w.Seed = newSeed()
	}
	id := strings.ToLower(rand.Text()[:12])
	now := time.Now().UTC()
	t, err := town.New(id, w.Citizens, w.Seed, now)
	if err != nil {
		return Town{}, err
	}
	none := int64(0) // the limit is of citizens in one town
	if err := h.Limits.Require(customer, FeatureCitizens, int64(w.Citizens), &none); err != nil {
		return Town{}, err
	}
	if w.Name == "" {
		w.Name = "town " + id[:4]
	}
	epoch, err := h.epoch(customer)
	if err != nil {
		return Town{}, err
	}
	rec := record{Customer: customer, Epoch: epoch, Name: w.Name, Citizens: w.Citizens, Seed: w.Seed, Created: now, Model: w.Model, Pace: w.Pace, Town: t}

	// It is on the list before it is there: whoever comes at the same time counts it.
	if err := h.enlist(ctx, customer, listed{id, now}); err != nil {
		return Town{}, err
	}
	if w.Pace > 0 {
		if _, err = h.store.put(ctx, paceKey(id), pace{customer, w.Pace}, 0); err != nil {
			h.strike(ctx, customer, id)
			return Town{}, err
		}
	}
	if _, err = h.store.put(ctx, townKey(id), rec, 0); err != nil {
		h.strike(ctx, customer, id)
		return Town{}, err
	}
	h.metrics.founded.Inc()
	return view(id, rec), nil
}

func (w Wish) check() error {
	if len(w.Name) > maxNameBytes || !utf8.ValidString(w.Name) || strings.ContainsFunc(w.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return kgents.Errorf(kgents.CodeInvalid, "a town's name has %d bytes at most, of letters that can be printed", maxNameBytes)
	}
	return checkPace(w.Pace)
}

func checkPace(p time.Duration) error {
	if p != 0 && (p < MinPace || p > MaxPace) {
		return kgents.Errorf(kgents.CodeInvalid, "a town lives by itself with %s to %s from phase to phase; 0 is not at all", MinPace, MaxPace)
	}
	return nil
}

func newSeed() uint64 {
	var seed uint64
	for _, b := range []byte(rand.Text()[:13]) {
		seed = seed<<5 | uint64(b&31)
	}
	return max(1, seed)
}

// enlist adds a town to the customer's list if the plan allows one more. What is on the
// list and not there counts while it may still come.
func (h *Host) enlist(ctx context.Context, customer string, l listed) error {
	return change(ctx, &h.store, ownKey(customer), func(r *roster) (bool, error) {
		kept, err := h.kept(ctx, *r)
		if err != nil {
			return false, err
		}
		existing := int64(len(kept))
		if err := h.Limits.Require(customer, FeatureTowns, 1, &existing); err != nil {
			return false, err
		}
		if len(kept) >= MaxTowns {
			return false, kgents.Errorf(kgents.CodeInvalid, "a customer has %d towns at most: delete one first", MaxTowns)
		}
		r.Towns = append(kept, l)
		return true, nil
	})
}

// kept is the list without what is long gone: a crash while a town was founded or
// deleted leaves its name there.
func (h *Host) kept(ctx context.Context, r roster) ([]listed, error) {
	var kept []listed
	for _, l := range r.Towns {
		if time.Since(l.Created) > unfinished {
			var rec record
			revision, err := h.store.get(ctx, townKey(l.ID), &rec)
			if err != nil {
				return nil, err
			}
			if is, _, sure := h.orphan(&rec); revision == 0 || is && sure {
				continue
			}
		}
		kept = append(kept, l)
	}
	return kept, nil
}

// strike takes a town off the customer's list. Without success the list mends itself.
func (h *Host) strike(ctx context.Context, customer, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ioTimeout)
	defer cancel()
	err := change(ctx, &h.store, ownKey(customer), func(r *roster) (bool, error) {
		before := len(r.Towns)
		r.Towns = slices.DeleteFunc(r.Towns, func(l listed) bool { return l.ID == id })
		return len(r.Towns) < before, nil
	})
	if err != nil {
		h.Log.Warn("a town stays on its customer's list until the next is founded", "town", id, "error", err)
	}
}

// Get returns a town of the customer's.
func (h *Host) Get(ctx context.Context, customer, id string) (Town, error) {
	rec, _, err := h.load(ctx, customer, id)
	if err != nil {
		return Town{}, err
	}
	return view(id, rec), nil
}

// List returns at most limit of the customer's towns, the oldest first, behind the one
// with the id after.
func (h *Host) List(ctx context.Context, customer, after string, limit int) ([]Town, error) {
	var r roster
	if _, err := h.store.get(ctx, ownKey(customer), &r); err != nil {
		return nil, err
	}
	begin := 1 + slices.IndexFunc(r.Towns, func(l listed) bool { return l.ID == after })
	towns := []Town{}
	for _, l := range r.Towns[begin:] {
		if len(towns) >= limit {
			break
		}
		t, err := h.Get(ctx, customer, l.ID)
		if kgents.ErrorCode(err) == kgents.CodeNotFound {
			continue // it is being founded or deleted
		}
		if err != nil {
			return nil, err
		}
		towns = append(towns, t)
	}
	return towns, nil
}

// ListAll returns at most limit towns of all customers, by customer and each one's oldest
// first, behind the place after, and the place of the last if there may be more. A place
// is what an earlier call returned.
func (h *Host) ListAll(ctx context.Context, after string, limit int) (towns []Town, next string, err error) {
	owners, err := h.store.owners(ctx)
	if err != nil {
		return nil, "", err
	}
	last, id, _ := strings.Cut(after, "/")
	towns = []Town{}
	for _, customer := range owners {
		if customer < last {
			continue
		}
		if customer != last {
			id = ""
		}
		some, err := h.List(ctx, customer, id, limit-len(towns))
		if err != nil {
			return nil, "", err
		}
		if towns = append(towns, some...); len(towns) >= limit {
			return towns, customer + "/" + towns[len(towns)-1].ID, nil
		}
	}
	return towns, "", nil
}

// Count is how many towns the customer has.
func (h *Host) Count(ctx context.Context, customer string) (int64, error) {
	var r roster
	_, err := h.store.get(ctx, ownKey(customer), &r)
	return int64(len(r.Towns)), err
}

// SetPace lets a town live by itself with a phase every so often, or with 0 no more.
func (h *Host) SetPace(ctx context.Context, customer, id string, every time.Duration) (Town, error) {
	if err := checkPace(every); err != nil {
		return Town{}, err
	}
	rec, _, err := h.load(ctx, customer, id)
	if err != nil {
		return Town{}, err
	}
	if every > 0 { // the key first: one too many is found and removed, one too few isn't
		err = change(ctx, &h.store, paceKey(id), func(p *pace) (bool, error) { *p = pace{customer, every}; return true, nil })
		if err != nil {
			return Town{}, err
		}
	}
	for range conflicts {
		var revision uint64
		if rec, revision, err = h.load(ctx, customer, id); err != nil {
			return Town{}, err
		}
		if err := rec.busy(); err != nil { // what a model has decided would be lost
			return Town{}, err
		}
		settled := h.settled.is(id, revision)
		rec.Pace = every
		if revision, err = h.store.put(ctx, townKey(id), rec, revision); !errors.Is(err, errConflict) {
			if err == nil && settled {
				h.settled.put(id, revision)
			}
			break
		}
		if !sleep(ctx, 5*time.Millisecond) {
			break
		}
	}
	if err != nil {
		return Town{}, stillConflict(err)
	}
	if every == 0 {
		h.unpace(ctx, id)
	}
	return view(id, rec), nil
}

// stillConflict makes an answer of a conflict that didn't end.
func stillConflict(err error) error {
	if errors.Is(err, errConflict) {
		return kgents.Unavailable(time.Second, "others let this town live at this moment: try again", err)
	}
	return err
}

// unpace ends a town's living by itself. Without success it is found out by who would
// let it live.
func (h *Host) unpace(ctx context.Context, id string) {
	var p pace
	revision, err := h.store.get(ctx, paceKey(id), &p)
	if err == nil && revision > 0 {
		err = h.store.remove(ctx, paceKey(id), revision)
	}
	if err != nil {
		h.Log.Warn("a town's pace is still there; it does nothing", "town", id, "error", err)
	}
}

// Delete ends a town, with its history. What it used is counted before, and stays.
func (h *Host) Delete(ctx context.Context, customer, id string) error {
	for range conflicts {
		rec, revision, err := h.load(ctx, customer, id)
		if err != nil {
			return err
		}
		if len(rec.Outbox) > 0 && !h.settled.is(id, revision) {
			if err := h.send(ctx, id, rec, revision); err != nil {
				return err
			}
		}
		if err = h.store.remove(ctx, townKey(id), revision); err == nil {
			break
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return unavailable(ctx.Err())
		}
	}
	h.ended(ctx, customer, id)
	return nil
}

// ended removes what is left of a town that is no more. What can't be removed mends
// itself.
func (h *Host) ended(ctx context.Context, customer, id string) {
	h.settled.forget(id)
	h.clean.forget(id)
	h.strike(ctx, customer, id)
	h.unpace(ctx, id)
	if err := h.history.forget(ctx, id); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		h.Log.Warn("a deleted town's history stays until it is 30 days old", "town", id, "error", err)
	}
}

// Citizens returns all citizens of a town at a level of detail.
func (h *Host) Citizens(ctx context.Context, customer, id string, lod int) ([]town.View, error) {
	rec, _, err := h.load(ctx, customer, id)
	if err != nil {
		return nil, err
	}
	views := []town.View{}
	for _, name := range rec.Town.Names() {
		v, err := rec.Town.View(name, lod)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

// Citizen returns one of them, by name or id.
func (h *Host) Citizen(ctx context.Context, customer, id, name string, lod int) (town.View, error) {
	rec, _, err := h.load(ctx, customer, id)
	if err != nil {
		return town.View{}, err
	}
	return rec.Town.View(name, lod)
}

// Metrics returns a town's figures.
func (h *Host) Metrics(ctx context.Context, customer, id string) (town.Metrics, error) {
	rec, _, err := h.load(ctx, customer, id)
	if err != nil {
		return town.Metrics{}, err
	}
	return rec.Town.Metrics(), nil
}

// Events returns at most limit events of a town with numbers past after.
func (h *Host) Events(ctx context.Context, customer, id string, after uint64, limit int) ([]town.Event, error) {
	if _, _, err := h.load(ctx, customer, id); err != nil {
		return nil, err
	}
	r := reader{log: &h.history, id: id, after: after}
	events := []town.Event{}
	for len(events) < limit {
		more, err := r.next(ctx)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			break
		}
		events = append(events, more...)
	}
	return events[:min(len(events), limit)], nil
}
