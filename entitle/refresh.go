package entitle

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
)

const (
	// tick is how often it is looked at what the meter is to be asked.
	tick = 250 * time.Millisecond

	// every is how often the meter is asked again for a customer who uses something or
	// is asked about, and idle when that is over. When an answer took long, the next
	// waits until it has been a twentieth of the time.
	every = time.Minute
	idle  = 10 * time.Minute
	share = 20

	// lull is how long after the first use that follows an exact refresh the meter is
	// asked again: what is quiet by then is exact again.
	lull = 15 * time.Second

	// soon is the first pause when a refresh wasn't exact, because messages were under
	// way, and when the meter is asked whether an alert is due. Each further one in turn
	// is twice as long, up to every.
	soon = time.Second

	// retry is the pause after the meter has failed, and old how long it may have failed
	// before its last word is called stale.
	retry = 5 * time.Second
	old   = 5 * time.Minute

	// Of the questions of one round each names up to named customers; for more, all of
	// the meter are asked for. A round has maxQuestions at most, asked questioners at a
	// time: the rest waits for the next.
	named        = 64
	maxQuestions = 64
	questioners  = 4
	answerIn     = 30 * time.Second

	// again is when a percent that was told is told again: whoever is told may have
	// been unable to keep it.
	again = time.Hour

	// preload is how often all accounts are looked through for new ones.
	preload = 30 * time.Second
)

// keep refreshes until ctx ends.
func (e *Engine) keep(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	var loaded time.Time
	for {
		if now := e.now(); now.Sub(loaded) >= preload {
			loaded = now
			n := 0
			e.c.Accounts.Each(func(a Account) { n++; e.touch(e.customer(a.ID)) })
			if n == 0 {
				loaded = now.Add(soon - preload) // they aren't read yet
			}
		}
		if e.epoch.Load() > 0 { // the tail has its place
			e.round(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// question is one query to the meter, for counters of one meter and period.
type question struct {
	meter    string
	from, to int64
	urgent   bool
	due      time.Time
	of       []asker
}

type asker struct {
	c *customer
	k *counter
}

// round asks the meter what is due.
func (e *Engine) round(ctx context.Context) {
	if err := e.learn(ctx); err != nil {
		e.failed(err)
		return
	}
	questions := e.due()
	if len(questions) == 0 && !e.sampling() {
		return
	}
	epoch, floor, err := e.floor(ctx)
	if err != nil {
		e.failed(err)
		e.later(questions)
		return
	}
	todo := make(chan question)
	var asking sync.WaitGroup
	for range min(questioners, len(questions)) {
		asking.Go(func() {
			for q := range todo {
				e.ask(ctx, q, epoch, floor)
			}
		})
	}
	for i, q := range questions[:min(len(questions), maxQuestions)] {
		if i >= questioners && e.failing.Load() { // the rest would fail as slowly
			e.later([]question{q})
			continue
		}
		todo <- q
	}
	close(todo)
	asking.Wait()
}

// due collects what is to be asked, the unknown first. Customers with nothing left to
// ask are let go until they are touched again.
func (e *Engine) due() []question {
	now := e.now()
	e.activeMu.Lock()
	active := e.active
	e.active = nil
	e.activeMu.Unlock()
	type period struct {
		meter    string
		from, to int64
	}
	asked := map[period]*question{}
	for _, c := range active {
		account, ok := e.c.Accounts.Account(c.id)
		if !ok {
			e.forget(c)
			continue
		}
		c.queued.Store(false) // before the look, so that a touch after it is not lost
		resting := true
		c.mu.Lock()
		e.fit(c)
		for _, k := range c.counters {
			quota := account.Plan.Quotas[k.feature]
			from, to := window(account, quota.Per, now)
			k.turn(from, to, e.reading.Load())
			if k.due.IsZero() || !now.Before(k.due) {
				p := period{k.meter, from, to}
				q := asked[p]
				if q == nil {
					q = &question{meter: p.meter, from: from, to: to, due: k.due}
					asked[p] = q
				}
				q.urgent = q.urgent || !k.known
				q.due = sooner(q.due, k.due)
				q.of = append(q.of, asker{c, k})
				resting = false
			} else if !k.known || k.pause > 0 || now.Sub(c.seen) < idle {
				resting = false
			}
		}
		c.mu.Unlock()
		if !resting {
			e.touch(c)
		}
	}
	var out []question
	for _, q := range asked {
		out = append(out, *q)
	}
	slices.SortFunc(out, func(a, b question) int {
		if a.urgent != b.urgent {
			if a.urgent {
				return -1
			}
			return 1
		}
		return cmp.Or(a.due.Compare(b.due), len(b.of)-len(a.of))
	})
	return out
}

// floor is the message up to which the meter has everything.
func (e *Engine) floor(ctx context.Context) (epoch, floor uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	epoch = e.epoch.Load()
	s, err := e.c.JetStream.Stream(ctx, e.c.Stream.Name)
	if err == nil {
		floor, err = ackFloor(ctx, s)
	}
	if err != nil || e.c.Settle <= 0 {
		return epoch, floor, err
	}
	return epoch, e.settled(floor, e.now()), nil
}

// place is where the sink was at a time.
type place struct {
	at    time.Time
	floor uint64
}

// maxPlaces bounds them. Past it a meter that counts later is believed to have
// counted sooner.
const maxPlaces = 256

// settled notes where the sink is and returns where it was Settle ago, or at the
// tail's beginning if that is nearer.
func (e *Engine) settled(floor uint64, now time.Time) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if last := len(e.places) - 1; last < 0 || now.Sub(e.places[last].at) >= soon {
		e.places = append(e.places, place{now, floor})
	}
	for len(e.places) > 1 && now.Sub(e.places[1].at) >= e.c.Settle || len(e.places) > maxPlaces {
		e.places = e.places[1:]
	}
	return e.places[0].floor
}

// certain is from when on the meter has everything that the tail has not read.
func (e *Engine) certain() time.Time {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.sure
}

// sampling says that the sink's place is to be noted though nothing is asked.
func (e *Engine) sampling() bool {
	if e.c.Settle <= 0 {
		return false
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	e.activeMu.Lock()
	defer e.activeMu.Unlock()
	return len(e.active) > 0 && (len(e.places) == 0 || e.now().Sub(e.places[len(e.places)-1].at) >= soon)
}

// ask asks the meter and takes its answer.
func (e *Engine) ask(ctx context.Context, q question, epoch, floor uint64) {
	start := e.now()
	sums, err := e.query(ctx, q)
	if err != nil {
		if ctx.Err() == nil {
			e.failed(err)
			e.later([]question{q})
		}
		return
	}
	e.recovered()
	now := e.now()
	rest := max(every, share*now.Sub(start))
	cat, sure := e.c.Catalog(), !start.Before(e.certain())
	for _, a := range q.of {
		account, ok := e.c.Accounts.Account(a.c.id)
		a.c.mu.Lock()
		if a.k.from != q.from || a.k.to != q.to || e.epoch.Load() != epoch {
			a.c.mu.Unlock()
			continue // it is due again already
		}
		if a.k.refresh(sums[a.c.id], floor, now) && sure {
			a.k.pause, a.k.due = 0, now.Add(rest)
		} else {
			a.k.pause = min(max(soon, 2*a.k.pause), every)
			a.k.due = now.Add(max(a.k.pause, share*now.Sub(start)))
		}
		var crossed Crossing
		if ok {
			crossed, ok = a.k.cross(cat, account, now)
		}
		a.c.mu.Unlock()
		if ok && e.c.Crossed != nil {
			e.c.Crossed(crossed)
		}
	}
}

// query returns the sums by customer.
func (e *Engine) query(ctx context.Context, q question) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	ask := meter.Query{Meter: q.meter, From: minuteTime(q.from), To: minuteTime(q.to), GroupBy: []string{"subject"}}
	if len(q.of) <= named {
		for _, a := range q.of {
			ask.Subjects = append(ask.Subjects, a.c.id)
		}
	}
	sums := map[string]float64{}
	take := func() error {
		r, err := e.c.Meter.Query(ctx, ask)
		for _, row := range r.Data {
			if row.Subject != nil {
				sums[*row.Subject] = bounded(sums[*row.Subject] + row.Value)
			}
		}
		return err
	}
	err := take()
	if err == nil || ask.Subjects != nil || meter.Classify(err) != meter.Refused {
		return sums, err
	}
	// More subjects than an answer may have: then by name.
	clear(sums)
	for of := range slices.Chunk(q.of, named) {
		ask.Subjects = ask.Subjects[:0]
		for _, a := range of {
			ask.Subjects = append(ask.Subjects, a.c.id)
		}
		if err := take(); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// later puts questions off.
func (e *Engine) later(questions []question) {
	due := e.now().Add(retry)
	for _, q := range questions {
		for _, a := range q.of {
			a.c.mu.Lock()
			a.k.due = due
			a.c.mu.Unlock()
		}
	}
}

func (e *Engine) failed(err error) {
	e.metrics.refreshes.WithLabelValues("failed").Inc()
	if !e.failing.Swap(true) {
		e.c.Log.Warn("the meter can't be asked what customers have used: entitlements are answered from what is known and what the stream shows", "error", err)
	}
}

func (e *Engine) recovered() {
	e.metrics.refreshes.WithLabelValues("ok").Inc()
	if e.failing.Swap(false) {
		e.c.Log.Info("the meter says again what customers have used")
	}
}

// cross says which percent of its limit the meter has counted, if that is news, and
// notes where the next is.
func (k *counter) cross(cat *kgents.Catalog, a Account, now time.Time) (Crossing, bool) {
	k.next = noAlert
	q, has := a.Plan.Quotas[k.feature]
	if !has || q.Limit.Unlimited() || q.Limit.N() == 0 {
		return Crossing{}, false
	}
	limit := q.Limit.N()
	if limit != k.toldLimit {
		k.told, k.toldLimit = 0, limit
	}
	reached := 0
	for _, percent := range cat.AlertAt {
		at := float64(limit) * float64(percent) / 100
		if k.base < at {
			k.next = at
			break
		}
		reached = percent
	}
	if reached == 0 || reached <= k.told && now.Sub(k.toldAt) < again {
		return Crossing{}, false
	}
	k.told, k.toldAt = reached, now
	f, _ := cat.Feature(k.feature)
	return Crossing{
		Customer: a.ID, Plan: a.Plan.ID, Feature: f, Percent: reached, Used: toInt(k.base), Limit: limit, Over: q.Over,
		PeriodStart: minuteTime(k.from), PeriodEnd: minuteTime(k.to),
	}, true
}
