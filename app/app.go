// Package app puts the stages together and runs them as one of four roles: up
// (everything in one process), api, sink and meter.
//
// It promises an ordered life. Start acquires what the role needs and registers
// the release of each thing at once, so a start that fails half-way leaves
// nothing behind. Stop releases in reverse: the api lets its clients go to another
// replica, HTTP takes no new request and finishes those it has, then the publisher drains, the sink hands back what it
// has not delivered, and the stores close last. Stop takes 30 s at most.
//
// A role starts without the dependencies that live elsewhere: NATS and
// OpenMeter may come later. /readyz and /health/saas tell.
package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/fallback"
	"github.com/kgents/kgents/admit/memory"
	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/consume"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/customer/follow"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/publish/spool"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/telemetry"
	"github.com/kgents/kgents/town/host"
)

// The parts of the 30 s that a stop may take.
const (
	requestDrain = 15 * time.Second // requests under way
	sinkDrain    = 5 * time.Second  // flushes under way
)

// App is a running role.
type App struct {
	role   config.Role
	config config.Config
	local  config.Local // secrets that `up` made
	log    *slog.Logger
	began  time.Time
	reg    *prometheus.Registry
	tracer trace.Tracer // nil: no traces

	listener net.Listener
	stopping atomic.Bool
	failed   chan error // the HTTP server ended by itself
	release  []func()   // in order of acquisition

	nats       *nats.Conn
	js         jetstream.JetStream
	shown      atomic.Pointer[tls.ConnectionState] // by the NATS server of the last handshake; nil without TLS
	streams    stream.Config
	embedded   *stream.Embedded // nil with another server
	storeLimit int64            // of all streams of the embedded server; 0 with another
	ensuring   chan struct{}    // held while streams and consumer are made
	meter      *meter.Client
	meterURL   string
	meterKey   string
	meterWeb   http.Handler // of the meter role
	publisher  *publish.Publisher
	spool      *spool.Spool     // nil without one
	identities *fallback.Store  // nil without Redis
	redis      *redis.Store     // which identities closes; nil without Redis
	plans      *plan.Book       // nil in the meter role
	customers  *customer.Store  // nil in the meter role
	follower   *follow.Follower // of the roles with a sink
	entitle    *entitle.Engine  // nil without an edge
	rates      *entitle.Limiter
	towns      *host.Host // nil without an edge
	edge       *receive.Edge
	gate       *admit.Gate       // nil without an edge
	v1         []registrar       // what has routes under /v1, in the order of its start
	stripe     *billing.Client   // see stripeClient
	billing    *billing.Service  // nil without an edge
	overage    *billing.Reporter // of the roles with a sink; nil without a key of Stripe's
	sink       *consume.Sink
	reconciler *reconcile.Service // of the roles with a sink
	watch      *watch
	past       *history.Log    // nil in the meter role
	series     *history.Series // nil in the meter role
}

// Start runs a role and returns when it serves. A mistake of the user's, such as
// a port in use, is an error of one line that says what to do.
func Start(ctx context.Context, role config.Role, c config.Config, log *slog.Logger) (_ *App, err error) {
	a := &App{
		role: role, config: c, log: log, began: time.Now(), reg: telemetry.NewRegistry(),
		failed:   make(chan error, 1),
		ensuring: make(chan struct{}, 1),
		streams:  stream.Config{Name: c.StreamName, Replicas: c.Replicas, MaxBytes: c.StreamBytes},
	}
	defer func() {
		if err != nil {
			a.releaseAll()
		}
	}()
	a.startTracing(ctx)
	if role == config.RoleUp || role == config.RoleMeter {
		unlock, err := lockDir(c.DataDir)
		if err != nil {
			return nil, err
		}
		a.onStop(func() { _ = unlock() })
	}
	if role == config.RoleUp {
		if a.local, err = a.config.EnsureSecrets(c.DataDir); err != nil {
			return nil, err
		}
	}
	// The port comes first: it is what most often can't be had, and takes no time.
	if err := a.listen(); err != nil {
		return nil, err
	}
	steps := map[config.Role][]func(context.Context) error{
		config.RoleUp:    {a.startNATS, a.startHistory, a.startMeter, a.startCustomers, a.startFollow, a.startEntitlements, a.startSink, a.startAPI, a.startTowns},
		config.RoleAPI:   {a.startNATS, a.startHistory, a.useMeter, a.startCustomers, a.startEntitlements, a.startAPI, a.startTowns},
		config.RoleSink:  {a.startNATS, a.startHistory, a.useMeter, a.startCustomers, a.startFollow, a.startEntitlements, a.startSink},
		config.RoleMeter: {a.startMeterRole},
	}
	for _, step := range steps[role] {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	a.startWatch()
	a.startSeries()
	a.serve()
	a.remember(history.Start, string(a.role)+" serves", "version "+telemetry.ReadBuild().Version)
	if a.towns != nil {
		a.onStop(a.towns.EndStreams) // before HTTP drains, which would wait for them
	}
	if a.reconciler != nil {
		a.onStop(a.reconciler.Close) // before HTTP drains, which waits for a run that was asked for
	}
	if role == config.RoleUp {
		if err := config.WriteURL(c.DataDir, a.URL()); err != nil {
			return nil, fmt.Errorf("can't write to the data directory: %w", err)
		}
	}
	return a, nil
}

// URL is the base URL under which this machine reaches the program.
func (a *App) URL() string {
	host, port, _ := net.SplitHostPort(a.listener.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Config is the configuration in force, with the secrets that `up` made.
func (a *App) Config() config.Config { return a.config }

// Local holds the secrets that `up` made because none were configured.
func (a *App) Local() config.Local { return a.local }

// Failed yields an error when the program can't go on.
func (a *App) Failed() <-chan error { return a.failed }

// Stop drains and releases everything. It may be called once.
func (a *App) Stop() {
	a.stopping.Store(true)
	a.remember(history.Stop, string(a.role)+" was told to stop", "after "+time.Since(a.began).Round(time.Second).String())
	a.releaseAll()
}

func (a *App) onStop(f func()) { a.release = append(a.release, f) }

func (a *App) releaseAll() {
	for len(a.release) > 0 {
		last := len(a.release) - 1
		f := a.release[last]
		a.release = a.release[:last]
		f()
	}
}

func (a *App) listen() error {
	l, err := net.Listen("tcp", a.config.Addr())
	if err != nil {
		return listenError(a.config, err)
	}
	a.listener = l
	a.onStop(func() { l.Close() })
	return nil
}

func listenError(c config.Config, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d on %s is in use: stop what holds it, or choose another with --api-port (0 takes a free one)", c.APIPort, c.APIHost)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to listen on port %d: choose one above 1023 with --api-port", c.APIPort)
	default:
		return fmt.Errorf("can't listen on %s: %w; look at --api-host and --api-port", c.Addr(), err)
	}
}

// startNATS connects, to a server of our own or to the cluster.
func (a *App) startNATS(ctx context.Context) error {
	name := "kgents-" + string(a.role)
	if !a.config.EmbeddedNATS() {
		nc, err := stream.Connect(stream.Remote{
			Servers: a.config.NATSServers, Creds: a.config.NATSCreds,
			TLSCA: a.config.NATSTLSCA, TLSCert: a.config.NATSTLSCert, TLSKey: a.config.NATSTLSKey,
			Shown: func(state tls.ConnectionState) { a.shown.Store(&state) },
		}, name, a.log)
		if err != nil {
			return err
		}
		return a.useNATS(nc)
	}
	dir := filepath.Join(a.config.DataDir, "nats")
	server, err := stream.StartEmbedded(dir, a.log)
	if err != nil {
		return fmt.Errorf("%w; its data is in %s", err, dir)
	}
	a.onStop(server.Stop)
	a.embedded, a.storeLimit = server, server.MaxBytes()
	nc, err := server.Connect(name, a.log)
	if err != nil {
		return err
	}
	if err := a.useNATS(nc); err != nil {
		return err
	}
	_, err = a.ensure(ctx)
	return err
}

// ensure makes the streams.
func (a *App) ensure(ctx context.Context) (streams stream.Streams, err error) {
	if err := a.connected(); err != nil {
		return streams, err
	}
	err = a.alone(ctx, func() error {
		streams, err = stream.Ensure(ctx, a.js, a.streams)
		return err
	})
	return streams, err
}

// openConsumer makes the streams and the consumer.
func (a *App) openConsumer(ctx context.Context) (consumer jetstream.Consumer, err error) {
	if err := a.connected(); err != nil {
		return nil, err
	}
	err = a.alone(ctx, func() error {
		streams, err := stream.Ensure(ctx, a.js, a.streams)
		if err == nil {
			consumer, err = streams.Consumer(ctx)
		}
		return err
	})
	return consumer, err
}

// connected says in plain words what the client library says otherwise.
func (a *App) connected() error {
	if a.nats.Status() == nats.CONNECTED {
		return nil
	}
	return fmt.Errorf("NATS does not answer at %s", a.config.Public("NATS_SERVERS"))
}

// alone runs one f at a time: nats-server 2.15.2 reads a stream's settings
// without a lock while it makes a consumer, so a change of the one must not meet
// the making of the other.
func (a *App) alone(ctx context.Context, f func() error) error {
	select {
	case a.ensuring <- struct{}{}:
		defer func() { <-a.ensuring }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *App) useNATS(nc *nats.Conn) (err error) {
	a.nats = nc
	a.onStop(nc.Close)
	a.js, err = jetstream.New(nc)
	return err
}

// openMeter opens the embedded meter's store.
func (a *App) openMeter(ctx context.Context) (*local.Store, error) {
	meters, err := ReadMeters(a.config.MetersFile)
	if err != nil {
		return nil, err
	}
	store, err := local.Open(ctx, local.Config{
		Path: filepath.Join(a.config.DataDir, "meter.db"), Meters: meters, Log: a.log, Registerer: a.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded meter: %w", err)
	}
	a.onStop(func() {
		if err := store.Close(); err != nil {
			a.log.Error("the embedded meter did not close cleanly", "error", err)
		}
	})
	return store, nil
}

// startMeter runs the embedded meter behind a loopback port of its own, under a
// key that only this process knows: the pipeline speaks HTTP to it as to any
// OpenMeter.
func (a *App) startMeter(ctx context.Context) error {
	if !a.config.EmbeddedMeter() {
		return a.useMeter(ctx)
	}
	store, err := a.openMeter(ctx)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("embedded meter: %w", err)
	}
	a.meterURL, a.meterKey = "http://"+l.Addr().String(), rand.Text()
	guarded := receive.RequireKey(receive.NewKeys([]string{a.meterKey}), a.traceMeter(store.Handler()))
	server := newServer(guarded, a.log)
	go func() { _ = server.Serve(l) }()
	a.onStop(func() { _ = server.Close() })
	return a.connectMeter()
}

func (a *App) useMeter(context.Context) error {
	a.meterURL, a.meterKey = a.config.OpenMeterBaseURL, a.config.OpenMeterAPIKey
	return a.connectMeter()
}

func (a *App) connectMeter() (err error) {
	if a.meter, err = meter.NewClient(a.meterURL, a.meterKey); err != nil {
		return err
	}
	a.meter.Limit(meter.Limits{Rate: a.config.OpenMeterRate, Burst: a.config.OpenMeterBurst, Log: a.log, Registerer: a.reg})
	a.onStop(a.meter.Close)
	return nil
}

// startMeterRole serves the embedded meter on the main port.
func (a *App) startMeterRole(ctx context.Context) error {
	store, err := a.openMeter(ctx)
	if err != nil {
		return err
	}
	a.meterWeb = a.traceMeter(store.Handler())
	return nil
}

func (a *App) startSink(context.Context) error {
	a.sink = consume.New(consume.Config{
		Open:          a.openConsumer,
		Meter:         a.meter,
		Dead:          deadletter.NewStore(a.js, a.streams),
		BatchSize:     a.config.BatchSize,
		FlushInterval: a.config.FlushInterval,
		Log:           a.log,
		Registerer:    a.reg,
		Tracer:        a.tracer,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.sink.Run(ctx, sinkDrain)
	}()
	a.onStop(func() { cancel(); <-done })
	a.startReconciler()
	a.startOverage()
	return nil
}

// startReconciler compares the meter with the stream, where the sink is: what the
// sinks have acknowledged is what the meter must have.
func (a *App) startReconciler() {
	a.reconciler = reconcile.New(reconcile.Config{JetStream: a.js, Stream: a.streams, Meter: a.meter, Log: a.log, Found: a.rememberReconciliation}, a.reg)
	a.onStop(a.reconciler.Close)
	a.reconciler.Follow()
	if a.config.ReconcileInterval > 0 {
		a.reconciler.Schedule(a.config.ReconcileInterval, reconcile.ScheduledSettle)
	}
}

// openSpool opens the directory where events wait while NATS is away. It is nil
// when there is none.
func (a *App) openSpool() (*spool.Spool, error) {
	dir := a.config.SpoolDir
	if dir == "" && a.role == config.RoleUp {
		dir = filepath.Join(a.config.DataDir, "spool")
	}
	if dir == "" || a.config.SpoolBytes == 0 {
		return nil, nil
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("SPOOL_DIR: %w", err)
	}
	a.onStop(func() { _ = unlock() })
	a.spool, err = spool.Open(spool.Config{Dir: dir, MaxBytes: a.config.SpoolBytes, Log: a.log, Registerer: a.reg})
	if err != nil {
		return nil, err
	}
	a.onStop(func() { _ = a.spool.Close() })
	return a.spool, nil
}

// openIdentities opens the store of identities: Redis, with memory to fall back
// on, or memory alone.
func (a *App) openIdentities() (admit.Store, error) {
	if a.config.RedisURL == "" {
		return memory.New(memory.DefaultCapacity), nil
	}
	shared, err := redis.New(a.config.RedisURL, redis.DefaultTimeout)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	a.redis = shared
	a.identities = fallback.New(shared, a.log, a.reg)
	return a.identities, nil
}

func (a *App) startAPI(context.Context) error {
	disk, err := a.openSpool()
	if err != nil {
		return err
	}
	a.publisher = publish.New(publish.Config{
		Sender: a.js, Stream: a.streams.Name, MaxPayload: a.nats.MaxPayload, Spool: disk, Log: a.log, Registerer: a.reg, Tracer: a.tracer, Circuit: a.rememberCircuit,
	})
	a.onStop(a.publisher.Close)
	store, err := a.openIdentities()
	if err != nil {
		return err
	}
	a.onStop(func() { _ = store.Close() })
	a.gate = admit.New(store, a.publisher, a.log, a.reg)
	a.edge = receive.New(receive.Config{
		Admitter:       a.gate,
		Keys:           a.keys(),
		Limiter:        a.rates,
		Counted:        func(ctx context.Context) { a.entitle.CatchUp(ctx, a.publisher.Last()) },
		RateLimit:      receive.RateLimit{PerSecond: a.config.APIRateLimit, Burst: a.config.APIRateBurst},
		WebhookSecrets: a.config.WebhookSecrets,
		Log:            a.log,
		Registerer:     a.reg,
		Tracer:         a.tracer,
	})
	a.startBilling()
	a.startInvoices()
	return nil
}
