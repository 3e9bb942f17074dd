// Package reconcile compares what was admitted with what the meter lists, and
// sends again what is missing. OpenMeter answers 204 before an event is on its
// disk, so an event that every stage has acknowledged can still be lost there.
//
// It promises that a run changes nothing but by sending missing events again
// under their own identity, which makes them count once. It never calls missing
// what is still on its way (messages beyond the one up to which the sinks have
// acknowledged everything), what is a dead letter, or what it could not look up.
//
// An event is looked for under its own `time`, which the stream and the meter
// both know and which does not change, whatever the clocks of client, stream and
// meter say; the period chooses messages by the time at which the stream stored
// them. Surplus is what the meter lists with a `time` in the period and what
// neither the period, nor the day before it, nor the time since holds.
//
// When NATS or the meter goes away, a run ends with an error and can be run
// again; requests to the meter are tried 4 times before that, and the stream is
// read on for as long as stream.Read does, which skips nothing. An event that the
// meter refuses when it is sent again stays missing; so does one whose dead letter
// somebody has dropped.
//
// Replicas share one schedule and its result in a key-value bucket beside the stream.
// When that can't be used, each makes the scheduled run itself.
//
// It is bounded: a window of the stream ends where it has MaxIdentities, of which
// it keeps about 100 bytes each and no bodies, and the next one begins there. The
// meter lists 100 events at a time and has no pages, so spans of time are chosen
// by what the stream holds and halved while an answer is full. A second with more
// than 100 is asked for by customer, then by id, of which a run does 20,000.
package reconcile

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

const (
	// DefaultIdentities is how many events a window holds.
	DefaultIdentities = 200_000

	// DefaultPatience is how long a run waits until the meter lists what was sent
	// again. OpenMeter's own sink writes every few seconds.
	DefaultPatience = 30 * time.Second

	// MaxPeriod is how far back a run may go: the stream keeps 30 days, and
	// OpenMeter lists 32.
	MaxPeriod = 30 * 24 * time.Hour

	// leadIn is how far before the period a surplus is searched for in the stream:
	// a client's clock may be ahead by a time zone.
	leadIn = 24 * time.Hour
)

// Config is what a run needs.
type Config struct {
	JetStream jetstream.JetStream
	Stream    stream.Config
	Meter     *meter.Client
	Log       *slog.Logger

	MaxIdentities int           // of a window; 0 = DefaultIdentities
	Patience      time.Duration // 0 = DefaultPatience

	// Found is told of each run of a Service that has found a difference, if it is not
	// nil. It must return at once.
	Found func(Report)
}

// Options say what to compare.
type Options struct {
	Since, Until time.Time // messages that the stream has stored from Since on and before Until
	Fix          bool      // send missing events again

	// Last is the sequence of the last message that is looked at, that of an earlier run's
	// report for what was looked at then; 0 = up to where sinks have acknowledged everything.
	Last uint64

	// Most is how many missing events Fix may send again; 0 = all of them. With more the run
	// ends with an error of kgents.CodeConflict before it sends those of the window that
	// has them; in a run of one window that is none.
	Most int64

	// Pause is the shortest time between two requests to the meter; with one, the
	// meter is also left alone for four times as long as its last answer took. 0 is
	// as fast as it answers.
	Pause time.Duration
}

// Run compares. With an error, the report holds what was found until then.
func Run(ctx context.Context, c Config, o Options) (Report, error) {
	if c.MaxIdentities == 0 {
		c.MaxIdentities = DefaultIdentities
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	began := time.Now()
	r := &run{Config: c, Options: o, tally: newTally(), surplus: map[identity]Finding{}}
	r.report = Report{Since: o.Since.UTC(), Until: o.Until.UTC(), Fix: o.Fix}
	err := r.all(ctx)
	r.tally.fill(&r.report)
	r.report.Seconds = time.Since(began).Seconds()
	return r.report, err
}

// run is one run.
type run struct {
	Config
	Options
	report  Report
	tally   *tally
	surplus map[identity]Finding // candidates: listed by the meter, not in the window of their time
	floor   uint64               // see extent
	sent    int64                // missing events that were sent again
	lookups int
	took    time.Duration // of the last request
}

func (r *run) all(ctx context.Context) error {
	if !r.Since.Before(r.Until) {
		return kgents.Errorf(kgents.CodeInvalid, "the period is empty: its begin must lie before its end")
	}
	ext, err := r.extent(ctx)
	if err != nil {
		return err
	}
	r.floor = ext.floor
	upTo := ext.floor
	if r.Last > 0 {
		upTo = min(upTo, r.Last)
	}
	r.report.Last = upTo
	if ext.first.After(r.Since) {
		r.Since = ext.first
		r.report.Since = ext.first.UTC()
	}
	if !r.Since.Before(r.Until) {
		return nil // the stream has forgotten all of it
	}
	if ext.last > ext.floor {
		r.report.InFlight = int64(ext.last - ext.floor)
	}
	from := position{at: r.Since}
	begin := r.Since
	for {
		w, next, err := r.window(ctx, from, upTo, begin)
		if err != nil {
			return err
		}
		if err := r.compare(ctx, w); err != nil {
			return err
		}
		if next.seq == 0 {
			break
		}
		from, begin = next, next.at
	}
	return r.settleSurplus(ctx)
}

// entry is what is kept of an event of the stream.
type entry struct {
	id      identity
	content [16]byte
	at      int64 // its time, Unix seconds: OpenMeter keeps no more
	seq     uint64
	group   int32

	found, different, dead, unchecked, missing bool
}

// open says whether an entry is still to be found.
func (e *entry) open() bool { return !e.found && !e.dead && !e.unchecked }

// window is a part of the stream.
type window struct {
	begin, end time.Time // of the stream's times; end is not in it
	entries    []entry
	index      map[identity]int32
	byTime     []int32
}

// window reads the stream from a position on until it has MaxIdentities, or up to
// the end of the period. A message that would not fit begins the next window,
// which is what next says.
func (r *run) window(ctx context.Context, from position, upTo uint64, begin time.Time) (w *window, next position, err error) {
	w = &window{begin: begin, end: r.Until, index: map[identity]int32{}}
	if upTo == 0 {
		return w, next, nil
	}
	err = stream.Read(ctx, r.JetStream, r.Stream.Name, stream.Range{From: from.seq, Since: from.at, Last: upTo}, func(seq uint64, at time.Time, msg jetstream.Msg) bool {
		if !at.Before(r.Until) {
			return false
		}
		elements := open(msg.Headers(), msg.Data())
		if len(w.entries) > 0 && len(w.entries)+len(elements) > r.MaxIdentities {
			next, w.end = position{seq, at}, at
			return false
		}
		for _, e := range elements {
			id := e.identity()
			if _, ok := w.index[id]; ok {
				continue // it came twice; the meter has the first
			}
			w.index[id] = int32(len(w.entries))
			g := r.tally.group(e.Type, e.Subject)
			w.entries = append(w.entries, entry{id: id, content: e.content(), at: e.Time.Unix(), seq: seq, group: g})
		}
		return true
	})
	w.byTime = make([]int32, len(w.entries))
	for i := range w.byTime {
		w.byTime[i] = int32(i)
	}
	slices.SortStableFunc(w.byTime, func(a, b int32) int { return cmp.Compare(w.entries[a].at, w.entries[b].at) })
	return w, next, err
}

// compare brings every entry of a window to its final state and counts it.
func (r *run) compare(ctx context.Context, w *window) error {
	if len(w.entries) > 0 {
		if err := r.markDead(ctx, w); err != nil {
			return err
		}
	}
	if err := r.list(ctx, w); err != nil {
		return err
	}
	if len(w.open(w.byTime)) > 0 {
		if err := r.markInFlight(ctx, w); err != nil {
			return err
		}
	}
	missing, err := r.confirm(ctx, w, w.open(w.byTime))
	if err != nil {
		return err
	}
	if r.Fix && len(missing) > 0 { // what was found is counted all the same
		if more := r.sent + int64(len(missing)); r.Most > 0 && more > r.Most {
			err = kgents.Errorf(kgents.CodeConflict, "%d events or more are missing, and %d may be sent again: %d were; look again", more, r.Most, r.sent)
		} else {
			r.sent = more
			err = r.mend(ctx, w, missing)
		}
	}
	for i := range w.entries {
		e := &w.entries[i]
		c := r.tally.at(e.group)
		c.InStream++
		switch {
		case e.missing:
			c.Missing++
			if e.found {
				c.Mended++
				c.InMeter++
			}
		case e.found:
			c.InMeter++
			if e.different {
				c.Different++
			}
		case e.dead:
			c.DeadLetters++
		default:
			c.Unchecked++
		}
	}
	return err
}

// open returns those of entries that are still to be found.
func (w *window) open(entries []int32) []int32 {
	var out []int32
	for _, i := range entries {
		if w.entries[i].open() {
			out = append(out, i)
		}
	}
	return out
}

// span returns those of entries, sorted by time, whose time lies from low to high.
func (w *window) span(entries []int32, low, high int64) []int32 {
	first, _ := slices.BinarySearchFunc(entries, low, func(i int32, t int64) int { return cmp.Compare(w.entries[i].at, t) })
	last, _ := slices.BinarySearchFunc(entries, high+1, func(i int32, t int64) int { return cmp.Compare(w.entries[i].at, t) })
	return entries[first:last]
}
