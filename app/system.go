package app

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/system"
	"github.com/kgents/kgents/telemetry"
)

// How long a report is given out again, how long one may take, and over how many
// messages, how often, events are measured.
const (
	systemFor     = 2 * time.Second
	systemTimeout = 4 * time.Second
	measureEvery  = time.Minute
	measured      = 20
)

// systemView answers GET /api/v1/system. Whoever asks, the servers are asked every
// systemFor at most, by one request at a time.
type systemView struct {
	app *App

	mu         sync.Mutex
	last       system.Report
	made       time.Time
	perEvent   float64
	perEventAt time.Time
}

func newSystemView(a *App) *systemView { return &systemView{app: a} }

func (v *systemView) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	report := v.report(r.Context())
	report.Now = time.Now().UTC()
	writeJSON(w, http.StatusOK, report)
}

// report is at most systemFor old.
func (v *systemView) report(ctx context.Context) system.Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.made) < systemFor {
		return v.last
	}
	// Not cut off with the client: the next ones get this answer too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), systemTimeout)
	defer cancel()
	a, build := v.app, telemetry.ReadBuild()
	r := system.Report{
		Version: build.Version, Revision: build.Revision, Role: string(a.role), Started: a.began.UTC(),
		Limits: system.Limits{
			APIPerSecond: a.config.APIRateLimit, APIBurst: a.config.APIRateBurst,
			OpenMeterPerSecond: a.config.OpenMeterRate, OpenMeterBurst: a.config.OpenMeterBurst,
		},
	}
	var looks sync.WaitGroup
	looks.Go(func() { v.lookAtNATS(ctx, &r) })
	looks.Go(func() { v.lookAtNotes(ctx, &r) })
	looks.Go(func() { v.lookAtIdentities(ctx, &r) })
	looks.Wait()
	v.lookInside(&r)
	v.last, v.made = r, time.Now()
	return r
}

// lookAtNATS asks the servers for what may have changed.
func (v *systemView) lookAtNATS(ctx context.Context, r *system.Report) {
	a, n := v.app, &r.NATS
	n.Embedded, n.Connected = a.embedded != nil, a.nats.Status() == nats.CONNECTED
	n.Servers, n.Streams = []stream.Server{}, []stream.Info{}
	if a.publisher != nil {
		n.Circuit = a.publisher.Breaker().State().String()
	}
	if a.embedded != nil {
		if s, err := a.embedded.Look(); err == nil {
			n.Servers = append(n.Servers, s)
		}
	} else if n.Connected {
		n.Servers = append(n.Servers, stream.ServerOf(a.nats))
	}
	if !n.Connected {
		return
	}
	state, err := stream.ReadState(ctx, a.js, a.streams)
	if state.Stream != nil {
		n.Streams = append(n.Streams, *state.Stream)
		v.measure(ctx, *state.Stream)
		n.BytesPerEvent = v.perEvent
	}
	if err == nil {
		n.Backlog = &system.Backlog{Messages: state.Backlog.Messages, OldestAge: state.Backlog.Age(time.Now()).Seconds(), Sink: state.Sink != nil}
		if state.Sink != nil {
			n.Backlog.Redelivered = state.Sink.Redelivered
		}
	}
	dead, err := stream.ReadInfo(ctx, a.js, a.streams.DeadName())
	if err != nil {
		return
	}
	n.Streams = append(n.Streams, dead)
	newest, err := stream.ReadNewestDead(ctx, a.js, a.streams)
	if err == nil {
		r.DeadLetters = &system.DeadLetters{Waiting: dead.Messages, Oldest: dead.Oldest, Newest: newest}
	}
}

// measure keeps what an event takes on disk. What could not be measured now stays.
func (v *systemView) measure(ctx context.Context, events stream.Info) {
	if events.Messages == 0 {
		v.perEvent = 0
		return
	}
	if v.perEvent > 0 && time.Since(v.perEventAt) < measureEvery {
		return
	}
	if size, err := stream.Measure(ctx, v.app.js, events, measured); err == nil {
		v.perEvent, v.perEventAt = size, time.Now()
	}
}

func (v *systemView) lookAtNotes(ctx context.Context, r *system.Report) {
	a := v.app
	if a.nats.Status() != nats.CONNECTED {
		return
	}
	at, err := backup.Last(ctx, a.js, a.streams)
	if err != nil {
		return
	}
	r.Backup = &system.Backup{Last: at}
	if d, err := backup.LastDrill(ctx, a.js, a.streams); err == nil && !d.At.IsZero() {
		r.Backup.Drill = &system.Drill{At: d.At, Backup: d.Backup, Messages: d.Messages, Events: d.Events, Took: d.Took}
	}
}

func (v *systemView) lookAtIdentities(ctx context.Context, r *system.Report) {
	a := v.app
	switch {
	case a.publisher == nil: // a sink claims nothing
		return
	case a.identities == nil:
		r.Identities.Store = system.StoreMemory
		return
	case a.identities.Status().Away:
		r.Identities.Store = system.StoreFallback
	default:
		r.Identities.Store = system.StoreRedis
	}
	if s, err := a.redis.LookAtServer(ctx); err == nil && s.Told {
		r.Identities.Redis = &system.Redis{
			Policy: s.Policy, UsedBytes: s.UsedBytes, MaxBytes: s.MaxBytes, EvictedKeys: s.EvictedKeys,
			AppendOnly: s.AppendOnly, LastWriteOK: s.LastWriteOK,
		}
	}
}

// lookInside adds what the program knows without asking anybody.
func (v *systemView) lookInside(r *system.Report) {
	a := v.app
	w := a.watch
	w.mu.Lock()
	r.Meter = system.Meter{Embedded: a.config.EmbeddedMeter(), Answers: w.meter == nil && !w.seen.IsZero()}
	w.mu.Unlock()
	w.jetstream.mu.Lock()
	if w.jetstream.limited {
		r.NATS.StoreLimit = w.jetstream.limit
	}
	w.jetstream.mu.Unlock()
	if u, err := url.Parse(a.config.OpenMeterBaseURL); err == nil && !r.Meter.Embedded {
		r.Meter.Host = u.Host // without a user, a path or a query
	}
	if s := a.spool; s != nil {
		st := s.Status()
		r.Spool = &system.Spool{Limit: a.config.SpoolBytes, Bytes: st.Bytes, Events: st.Events, OldestAge: age(st.Oldest, time.Now())}
	}
	if a.reconciler != nil {
		at, missing, known := a.reconciler.Last()
		r.Reconciliation = &system.Reconciliation{Interval: a.config.ReconcileInterval.Seconds(), Last: at}
		if known {
			r.Reconciliation.Missing = &missing
		}
	}
	if a.keepsData() {
		r.Disk = lookAtDisk(filepath.Clean(a.config.DataDir))
	}
}

// keepsData tells whether the data directory has what is stored.
func (a *App) keepsData() bool {
	return a.embedded != nil || a.meter != nil && a.config.EmbeddedMeter()
}

// lookAtDisk is nil when the filesystem doesn't say.
func lookAtDisk(dir string) *system.Disk {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return nil
	}
	size := int64(fs.Bsize)
	return &system.Disk{Free: int64(fs.Bavail) * size, Total: int64(fs.Blocks) * size}
}
