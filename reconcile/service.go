package reconcile

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/receive"
)

// What a scheduled run compares, and how slowly.
const (
	scheduledPeriod = 24 * time.Hour
	scheduledPause  = 20 * time.Millisecond

	// ScheduledSettle is how long before now the period of a scheduled run ends:
	// OpenMeter writes some seconds after its 204, or minutes after trouble of its
	// own.
	ScheduledSettle = 5 * time.Minute

	// DefaultSince and DefaultSettle are those of a run over HTTP: the period ends
	// DefaultSettle ago.
	DefaultSince  = 24 * time.Hour
	DefaultSettle = time.Minute
)

// How often a Service looks for what other replicas have found, and how long it
// goes by what it last saw while NATS doesn't answer.
const (
	followEvery = time.Minute
	followStale = 5 * time.Minute
)

// Service runs one run at a time, on a schedule and when asked over HTTP. The
// schedule is one for all replicas; who is asked over HTTP runs, whatever the
// others do.
type Service struct {
	Config
	metrics *metrics
	running sync.Mutex
	stop    context.Context
	end     context.CancelFunc
	runs    sync.WaitGroup
}

// New returns a Service. Close it to end what runs.
func New(c Config, reg prometheus.Registerer) *Service {
	s := &Service{Config: c, metrics: newMetrics(reg)}
	s.stop, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends the schedule and the run that is under way, and waits for them.
func (s *Service) Close() {
	s.end()
	s.runs.Wait()
	s.running.Lock() // no run is under way
	defer s.running.Unlock()
}

// errBusy is the error of a second run.
var errBusy = kgents.Errorf(kgents.CodeConflict, "a reconciliation is under way: wait until it has ended, or look at the log")

// Run is Run with metrics, a log line when it found something, and no other run
// beside it: that is an error with kgents.CodeConflict.
func (s *Service) Run(ctx context.Context, o Options) (Report, error) {
	if !s.running.TryLock() {
		return Report{}, errBusy
	}
	defer s.running.Unlock()
	return s.run(ctx, o)
}

// run is Run for who holds running.
func (s *Service) run(ctx context.Context, o Options) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	report, err := Run(ctx, s.Config, o)
	s.metrics.mended.Add(float64(report.Total.Mended))
	if err == nil {
		found := result{At: time.Now().UTC(), Missing: report.Total.Lost()}
		s.metrics.ran(found)
		if err := s.turns().publish(s.stop, found); err != nil && s.stop.Err() == nil {
			s.Log.Warn("the other replicas don't learn what the reconciliation found", "error", err)
		}
	}
	if !report.Clean() {
		level := slog.LevelInfo
		if report.Total.Missing > 0 || report.Total.Different > 0 {
			level = slog.LevelWarn
		}
		s.Log.Log(ctx, level, "the meter and the stream differ", "since", report.Since, "until", report.Until,
			"in_stream", report.Total.InStream, "missing", report.Total.Missing, "mended", report.Total.Mended,
			"surplus", report.Total.Surplus, "different", report.Total.Different)
		if s.Found != nil {
			s.Found(report)
		}
	}
	return report, err
}

// Follow keeps the metrics at what the last run of any replica has found, until
// Close. Without it they tell of this process's runs only.
func (s *Service) Follow() {
	s.runs.Go(func() {
		for {
			r, err := s.turns().result(s.stop)
			if err == nil {
				s.metrics.read(r)
			} else {
				s.metrics.unread()
			}
			if !s.wait(followEvery) {
				return
			}
		}
	})
}

// Last is when the last complete run of any replica ended, zero before the first, and
// how many events it missed; known is false when nobody can tell the number any more.
func (s *Service) Last() (at time.Time, missing int64, known bool) {
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	return s.metrics.last.At, s.metrics.last.Missing, s.metrics.known
}

// Schedule mends the day before settle ago every interval, until Close. Of all
// replicas that do so on one stream, one runs at a time: the first that asks when
// nobody's run has begun for an interval. The first run is made a tenth of an
// interval after the start at the earliest. A run that takes longer than the
// interval ends there.
//
// When NATS can't say whose turn it is, every replica runs: to look twice costs
// the meter some requests, not to look costs events.
func (s *Service) Schedule(interval, settle time.Duration) {
	s.runs.Go(func() {
		least := interval / 10
		for wait := least; s.wait(wait); {
			began := time.Now()
			mine, rest, err := s.turns().take(s.stop, interval)
			if err != nil && s.stop.Err() == nil {
				s.Log.Warn("can't tell whose turn the reconciliation is, so it is made here", "error", err)
			}
			if mine || err != nil {
				s.scheduled(interval, settle)
			}
			wait = min(interval, max(least, rest-time.Since(began)))
		}
	})
}

// wait returns false when the service closes before d has passed.
func (s *Service) wait(d time.Duration) bool {
	select {
	case <-s.stop.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// scheduled makes a run, after one that was asked for over HTTP if need be. It ends
// before the next turn is taken.
func (s *Service) scheduled(interval, settle time.Duration) {
	ctx, cancel := context.WithTimeout(s.stop, max(interval-interval/10, time.Minute))
	defer cancel()
	s.running.Lock()
	defer s.running.Unlock()
	until := time.Now().Add(-settle)
	_, err := s.run(ctx, Options{Since: until.Add(-scheduledPeriod), Until: until, Fix: true, Pause: scheduledPause})
	switch {
	case err == nil || s.stop.Err() != nil:
	case ctx.Err() != nil:
		s.Log.Warn("the reconciliation did not end within its interval: set RECONCILE_INTERVAL higher", "interval", interval)
	default:
		s.Log.Warn("the reconciliation did not come to its end, the next one will look again", "error", err)
	}
}

// ServeHTTP runs one run and answers with its Report. It reads the parameters
// `since` and `until`, each a time or how long ago that was, up to 30 days; `settle`, the
// older name of an `until` that is a length of time; `fix`; and, for a run that looks at
// what an earlier one has looked at and sends what that one has found, `last` and `most`.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o, err := parse(r.URL.Query(), time.Now())
	if err != nil {
		receive.WriteProblem(w, r, err)
		return
	}
	// A run takes as long as it takes; its bound is the period. A server that stops
	// reading would also think that the client has gone.
	control := http.NewResponseController(w)
	_, _ = control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})
	report, err := s.Run(r.Context(), o)
	if err != nil {
		if kgents.ErrorCode(err) == kgents.CodeInternal {
			if r.Context().Err() == nil {
				s.Log.Warn("the reconciliation did not come to its end", "error", err)
			}
			err = kgents.Unavailable(10*time.Second, "NATS or the meter went away during the run, or the program stops: nothing is lost, run it again; the log says more", err)
		}
		receive.WriteProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(report) // a client that has gone misses nothing
}

// lateness is how much longer ago than MaxPeriod a time may be, for it was perhaps
// MaxPeriod ago when it was looked at first.
const lateness = time.Hour

func parse(v url.Values, now time.Time) (o Options, err error) {
	wrong := func(format string, args ...any) {
		if err == nil {
			err = kgents.Errorf(kgents.CodeInvalid, format, args...)
		}
	}
	point := func(name string, dflt, least time.Duration) time.Time {
		text := v.Get(name)
		if text == "" {
			return now.Add(-dflt)
		}
		t, bad := deadletter.ParseTime(text, now)
		most := MaxPeriod
		if _, absolute := time.Parse(time.RFC3339, text); absolute == nil {
			most += lateness
		}
		if ago := now.Sub(t); bad != nil || ago < least || ago > most {
			wrong("%s must be a length of time from %v to %v, for example 24h, or a time so long ago as RFC 3339 has it", name, least, MaxPeriod)
		}
		return t
	}
	end := "settle"
	if v.Get("until") != "" {
		if end = "until"; v.Get("settle") != "" {
			wrong("give until or settle: both say when the period ends")
		}
	}
	o.Since, o.Until = point("since", DefaultSince, time.Second), point(end, DefaultSettle, 0)
	if !o.Since.Before(o.Until) {
		wrong("since must be more than %s, or the period is empty", end)
	}
	if text := v.Get("fix"); text != "" {
		var bad error
		if o.Fix, bad = strconv.ParseBool(text); bad != nil {
			wrong("fix must be true or false")
		}
	}
	if text := v.Get("last"); text != "" {
		var bad error
		if o.Last, bad = strconv.ParseUint(text, 10, 64); bad != nil || o.Last == 0 {
			wrong("last must be the sequence of a message, as a report has it")
		}
	}
	if text := v.Get("most"); text != "" {
		var bad error
		if o.Most, bad = strconv.ParseInt(text, 10, 64); bad != nil || o.Most < 1 || !o.Fix {
			wrong("most must be how many events fix may send again, 1 or more")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !slices.Contains(Parameters, name) {
			wrong("there is no parameter %q: there are %s", cut(name, 64), strings.Join(Parameters, ", "))
		} else if len(v[name]) > 1 {
			wrong("%s is given twice: give it once", name)
		}
	}
	return o, err
}

// Parameters are those that ServeHTTP reads.
var Parameters = []string{"since", "until", "settle", "fix", "last", "most"}
