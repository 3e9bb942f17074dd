package app

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/stream"
)

// How often the stream of events is looked at, every which time the meter, Redis, the
// dead letters and certificates too, and how long a look may take.
const (
	watchEvery   = time.Second
	othersEvery  = 5
	watchTimeout = 3 * time.Second
)

// watch looks at the dependencies from time to time, so that health and metrics
// answer from memory however slow a dependency is.
type watch struct {
	app *App

	jetstream    *jetstreamWatch
	certificates *certificateWatch
	redis        *redisWatch // nil without Redis

	statuses map[string]string // of components at the last look, which alone uses it

	mu      sync.Mutex
	seen    time.Time // of the last look
	ensured bool      // the streams are as they should be
	known   bool      // backlog is known
	backlog stream.Backlog
	age     time.Duration // of its oldest message at the time of the look
	meter   error         // of the last look; nil while it answers
	failing time.Time
}

func (a *App) startWatch() {
	w := &watch{app: a}
	a.watch = w
	a.reg.MustRegister(w)
	if a.js != nil {
		w.jetstream = &jetstreamWatch{app: a, limit: a.storeLimit, limited: a.storeLimit > 0}
		w.certificates = &certificateWatch{app: a}
		a.reg.MustRegister(w.jetstream, w.certificates)
	}
	if a.redis != nil {
		w.redis = &redisWatch{store: a.redis}
		a.reg.MustRegister(w.redis)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for n := 0; ; n++ {
			w.look(ctx, n)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	a.onStop(func() { cancel(); <-done })
}

// look is the n-th.
func (w *watch) look(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	var looks sync.WaitGroup
	others := n%othersEvery == 0
	if w.app.js != nil {
		looks.Go(func() { w.lookAtNATS(ctx) })
		if others {
			looks.Go(w.certificates.look)
		}
		if others || !w.jetstream.deadKnown() {
			looks.Go(func() { w.jetstream.lookAtDead(ctx) })
		}
		if n%noteEvery == 0 {
			looks.Go(func() { w.jetstream.lookAtBackup(ctx) })
			looks.Go(func() { w.jetstream.lookAtLimit(ctx, n) })
		}
	}
	if w.app.meter != nil && others {
		looks.Go(func() { w.lookAtMeter(ctx) })
	}
	if w.redis != nil && others {
		looks.Go(func() { w.redis.look(ctx) })
	}
	looks.Wait()
	now := time.Now()
	w.mu.Lock()
	w.seen = now
	w.mu.Unlock()
	w.app.rememberHealth(w.health(now))
}

func (w *watch) lookAtNATS(ctx context.Context) {
	w.mu.Lock()
	ensured := w.ensured
	w.mu.Unlock()
	if !ensured {
		_, err := w.app.ensure(ctx)
		ensured = err == nil
	}
	state, err := stream.ReadState(ctx, w.app.js, w.app.streams)
	w.jetstream.saw(state)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ensured, w.known = ensured, err == nil
	if w.known {
		w.backlog, w.age = *state.Backlog, state.Backlog.Age(time.Now())
	}
}

func (w *watch) lookAtMeter(ctx context.Context) {
	err := w.app.meter.Ping(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.meter = err
	switch {
	case err == nil:
		w.failing = time.Time{}
	case w.failing.IsZero():
		w.failing = time.Now()
	}
}

var (
	backlogMessages = prometheus.NewDesc("kgents_backlog_messages",
		"Messages in the stream whose events are not all metered yet.", nil, nil)
	backlogAge = prometheus.NewDesc("kgents_backlog_oldest_age_seconds",
		"Age of the oldest message whose events are not all metered; 0 with no backlog.", nil, nil)
	natsUp = prometheus.NewDesc("kgents_nats_connected",
		"1 while connected to NATS.", nil, nil)
	diskFree = prometheus.NewDesc("kgents_disk_free_bytes",
		"Free space of the data directory's filesystem, where the embedded NATS or meter has its data.", nil, nil)
	diskSize = prometheus.NewDesc("kgents_disk_size_bytes",
		"Size of the data directory's filesystem, where the embedded NATS or meter has its data.", nil, nil)
	meterUp = prometheus.NewDesc("kgents_openmeter_up",
		"1 while the meter answers.", nil, nil)
)

// Describe implements prometheus.Collector.
func (w *watch) Describe(out chan<- *prometheus.Desc) {
	if w.app.nats != nil {
		out <- backlogMessages
		out <- backlogAge
		out <- natsUp
	}
	if w.app.meter != nil {
		out <- meterUp
	}
	if w.app.keepsData() {
		out <- diskFree
		out <- diskSize
	}
}

// Collect implements prometheus.Collector. A backlog that isn't known is absent,
// not zero.
func (w *watch) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	if w.app.nats != nil {
		gauge(natsUp, one(w.app.nats.Status() == nats.CONNECTED))
		if w.known {
			gauge(backlogMessages, float64(w.backlog.Messages))
			gauge(backlogAge, w.age.Seconds())
		}
	}
	if w.app.meter != nil {
		gauge(meterUp, one(w.meter == nil && !w.seen.IsZero()))
	}
	if w.app.keepsData() {
		if d := lookAtDisk(w.app.config.DataDir); d != nil {
			gauge(diskFree, float64(d.Free))
			gauge(diskSize, float64(d.Total))
		}
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
