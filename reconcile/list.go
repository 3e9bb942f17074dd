package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kgents/kgents/meter"
)

const (
	// listLimit is the most that OpenMeter lists at once, and pageAim how many a
	// span of time is made to hold: what the stream doesn't know of comes on top.
	listLimit = 100
	pageAim   = 80

	// maxSpan is the widest span that is asked for to find scattered events.
	maxSpan = int64(time.Hour / time.Second)

	// maxLookups bounds the questions for a single id in a run.
	maxLookups = 20_000

	// rest is how many times as long as it took to answer the meter is left alone,
	// in a run with pauses: such a run is a fifth of one caller's load at most.
	rest = 4

	// A request that the meter could not answer is tried so often, after 0.5 s,
	// 1 s and 2 s, or what the meter asks for.
	tries     = 4
	firstWait = 500 * time.Millisecond
)

// list looks for every entry of the window, and for what the meter has besides.
// Each second of the period is in one window's own span and so is listed whole
// once; entries of other times are looked for where they are.
func (r *run) list(ctx context.Context, w *window) error {
	low, high := w.begin.Unix(), w.end.Unix()-1
	own := w.span(w.byTime, low, high)
	for low <= high {
		end := high
		if len(own) > pageAim {
			end = max(low, w.entries[own[pageAim]].at-1)
		}
		part := w.span(own, low, end)
		if err := r.walk(ctx, w, low, end, part, true); err != nil {
			return err
		}
		low, own = end+1, own[len(part):]
	}
	return r.scattered(ctx, w, w.byTime)
}

// scattered looks for those of entries, sorted by time, that are not found yet.
func (r *run) scattered(ctx context.Context, w *window, entries []int32) error {
	rest := w.open(entries)
	for len(rest) > 0 {
		low := w.entries[rest[0]].at
		end := low
		for n, i := range rest {
			at := w.entries[i].at
			if at > end && (n >= pageAim || at-low > maxSpan) {
				break
			}
			end = at
		}
		part := w.span(rest, low, end)
		if err := r.walk(ctx, w, low, end, part, false); err != nil {
			return err
		}
		rest = rest[len(part):]
	}
	return nil
}

// walk lists what has a time from low to high, in halves while an answer is full.
// With all it lists everything, else until the entries are found.
func (r *run) walk(ctx context.Context, w *window, low, high int64, entries []int32, all bool) error {
	entries = w.open(entries)
	if !all && len(entries) == 0 {
		return nil
	}
	full, err := r.ask(ctx, w, meter.EventFilter{}, low, high, all)
	switch {
	case refused(err):
		for _, i := range entries {
			w.entries[i].unchecked = true
		}
		return nil
	case err != nil || !full:
		return err
	case low == high:
		return r.crowded(ctx, w, low, entries, all)
	}
	middle := low + (high-low)/2
	if err := r.walk(ctx, w, low, middle, w.span(entries, low, middle), all); err != nil {
		return err
	}
	return r.walk(ctx, w, middle+1, high, w.span(entries, middle+1, high), all)
}

// crowded looks for the entries of a second of which the meter has more than it
// lists at once.
func (r *run) crowded(ctx context.Context, w *window, at int64, entries []int32, all bool) error {
	if all {
		r.report.CrowdedSeconds++
	}
	full := map[int32]bool{}
	for _, i := range entries {
		e := &w.entries[i]
		customer := r.tally.groups[e.group].customer
		if _, asked := full[e.group]; asked || !e.open() || customer == Others {
			continue
		}
		more, err := r.ask(ctx, w, meter.EventFilter{Subject: customer}, at, at, all)
		if err != nil && !refused(err) {
			return err
		}
		full[e.group] = more || err != nil
	}
	var single []int32
	for _, i := range w.open(entries) {
		if more, asked := full[w.entries[i].group]; more || !asked {
			single = append(single, i)
		}
	}
	return r.fetch(ctx, w, single, func(i int32, e element) error {
		if r.lookups >= maxLookups {
			w.entries[i].unchecked = true
			return nil
		}
		r.lookups++
		_, err := r.ask(ctx, w, meter.EventFilter{ID: e.ID}, at, at, false)
		if refused(err) {
			w.entries[i].unchecked = true
			return nil
		}
		return err
	})
}

// confirm says which of entries are missing: those that the meter doesn't list
// under any time. One that it lists under another is found, and different.
func (r *run) confirm(ctx context.Context, w *window, entries []int32) ([]int32, error) {
	err := r.fetch(ctx, w, entries, func(i int32, e element) error {
		entry := &w.entries[i]
		if r.lookups < maxLookups {
			r.lookups++
			rows, err := r.page(ctx, meter.EventFilter{ID: e.ID})
			if err != nil && !refused(err) {
				return err
			}
			for _, row := range rows {
				r.match(w, row, 0, -1)
			}
		}
		if !entry.open() {
			return nil
		}
		entry.missing = true
		r.tally.example(finding(Missing, e.event))
		return nil
	})
	var missing []int32
	for _, i := range entries {
		switch e := &w.entries[i]; {
		case e.missing:
			missing = append(missing, i)
		case e.open():
			e.unchecked = true // its message has aged out
		}
	}
	return missing, err
}

// ask lists what has a time from low to high. It says whether there may be more.
//
// OpenMeter's `to` was inclusive and is exclusive in later versions, against its
// own documentation. A second more is asked for, and left out here.
func (r *run) ask(ctx context.Context, w *window, f meter.EventFilter, low, high int64, all bool) (full bool, err error) {
	f.From, f.To, f.Limit = time.Unix(low, 0), time.Unix(high+1, 0), listLimit
	rows, err := r.page(ctx, f)
	if err != nil {
		return false, err
	}
	if !all {
		low, high = 0, -1 // nothing is surplus
	}
	for _, row := range rows {
		r.match(w, row, low, high)
		if len(r.surplus) >= r.MaxIdentities {
			if err := r.settleSurplus(ctx); err != nil {
				return false, err
			}
		}
	}
	return len(rows) >= listLimit, nil
}

// page makes one request, and again while the meter is away.
func (r *run) page(ctx context.Context, f meter.EventFilter) (rows []meter.StoredEvent, err error) {
	err = r.attempt(ctx, func() error {
		rows, err = r.Meter.Events(ctx, f)
		return err
	})
	return rows, err
}

// attempt makes a request after the pause, and again while the meter is away.
func (r *run) attempt(ctx context.Context, request func() error) error {
	wait := r.pause()
	for try := 1; ; try++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		r.report.Requests++
		began := time.Now()
		err := request()
		r.took = time.Since(began)
		if err == nil || meter.Classify(err) != meter.Retry || try == tries || ctx.Err() != nil {
			return err
		}
		wait = firstWait << (try - 1)
		if e, ok := errors.AsType[*meter.Error](err); ok {
			wait = max(wait, e.RetryAfter)
		}
	}
}

// pause is how long to leave the meter alone before the next request.
func (r *run) pause() time.Duration {
	if r.Pause == 0 {
		return 0
	}
	return max(r.Pause, rest*r.took)
}

// refused says whether the meter won't answer such a question at all: OpenMeter
// lists no time that lies more than 32 days back.
func refused(err error) bool {
	return err != nil && meter.Classify(err) == meter.Refused
}

// match finds the entry of a row. A row without one whose time lies from low to
// high may be surplus.
func (r *run) match(w *window, row meter.StoredEvent, low, high int64) {
	var e event
	if json.Unmarshal(row.Event, &e) != nil {
		return
	}
	id, at := e.identity(), e.Time.Unix()
	i, ok := w.index[id]
	if !ok {
		if low <= at && at <= high {
			r.surplus[id] = finding(Surplus, e)
		}
		return
	}
	entry := &w.entries[i]
	if entry.found || entry.dead {
		return
	}
	entry.found = true
	if !entry.missing && (entry.at != at || entry.content != e.content()) {
		entry.different = true
		r.tally.example(finding(Different, e))
	}
}
