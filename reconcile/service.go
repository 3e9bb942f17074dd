package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
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

// Service runs one run at a time, on a schedule and when asked over HTTP.
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stop, cancel)()
	report, err := Run(ctx, s.Config, o)
	s.metrics.mended.Add(float64(report.Total.Mended))
	if err == nil {
		s.metrics.missing.Set(float64(report.Total.Lost()))
		s.metrics.success.SetToCurrentTime()
	}
	if !report.Clean() {
		level := slog.LevelInfo
		if report.Total.Missing > 0 || report.Total.Different > 0 {
			level = slog.LevelWarn
		}
		s.Log.Log(ctx, level, "the meter and the stream differ", "since", report.Since, "until", report.Until,
			"in_stream", report.Total.InStream, "missing", report.Total.Missing, "mended", report.Total.Mended,
			"surplus", report.Total.Surplus, "different", report.Total.Different)
	}
	return report, err
}

// Schedule mends the day before settle ago every interval, from interval after
// now on, until Close. A run that takes longer than the interval ends there.
func (s *Service) Schedule(interval, settle time.Duration) {
	s.runs.Go(func() {
		for {
			// A tenth more or less keeps replicas from coming in step.
			select {
			case <-s.stop.Done():
				return
			case <-time.After(interval*9/10 + rand.N(interval/5+1)):
			}
			s.scheduled(interval, settle)
		}
	})
}

func (s *Service) scheduled(interval, settle time.Duration) {
	ctx, cancel := context.WithTimeout(s.stop, max(interval, time.Minute))
	defer cancel()
	until := time.Now().Add(-settle)
	_, err := s.Run(ctx, Options{Since: until.Add(-scheduledPeriod), Until: until, Fix: true, Pause: scheduledPause})
	switch {
	case err == nil || s.stop.Err() != nil || errors.Is(err, errBusy):
	case ctx.Err() != nil:
		s.Log.Warn("the reconciliation did not end within its interval: set RECONCILE_INTERVAL higher", "interval", interval)
	default:
		s.Log.Warn("the reconciliation did not come to its end, the next one will look again", "error", err)
	}
}

// ServeHTTP runs one run and answers with its Report. It reads the parameters
// `since` (a length of time, up to 30 days), `settle` (how long ago the period
// ends) and `fix`.
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

func parse(v url.Values, now time.Time) (o Options, err error) {
	length := func(name string, dflt, least time.Duration) time.Duration {
		text := v.Get(name)
		if text == "" {
			return dflt
		}
		d, bad := time.ParseDuration(text)
		if bad != nil || d < least || d > MaxPeriod {
			err = kgents.Errorf(kgents.CodeInvalid, "%s must be a length of time from %v to %v, for example 24h", name, least, MaxPeriod)
		}
		return d
	}
	since, settle := length("since", DefaultSince, time.Second), length("settle", DefaultSettle, 0)
	if err == nil && settle >= since {
		err = kgents.Errorf(kgents.CodeInvalid, "since (%v) must be more than settle (%v), or the period is empty", since, settle)
	}
	if text := v.Get("fix"); text != "" {
		fix, bad := strconv.ParseBool(text)
		if bad != nil {
			err = kgents.Errorf(kgents.CodeInvalid, "fix must be true or false")
		}
		o.Fix = fix
	}
	for name := range v {
		if name != "since" && name != "settle" && name != "fix" {
			err = kgents.Errorf(kgents.CodeInvalid, "there is no parameter %q: there are since, settle and fix", cut(name, 64))
		}
	}
	o.Since, o.Until = now.Add(-since), now.Add(-settle)
	return o, err
}

type metrics struct {
	missing, success prometheus.Gauge
	mended           prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_reconcile_missing_events",
			Help: "Events that the last complete reconciliation did not find in the meter and did not mend.",
		}),
		mended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_reconcile_mended_total",
			Help: "Events that the meter had forgotten, were sent to it again and are listed by it since.",
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_reconcile_last_success_timestamp_seconds",
			Help: "When a reconciliation last came to its end; 0 before the first.",
		}),
	}
	reg.MustRegister(m.missing, m.mended, m.success)
	return m
}
