package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Embedded is a NATS server inside the process, reachable from nowhere else. It
// syncs every write to disk before it acknowledges it, unless it is a scratch one.
type Embedded struct{ srv *server.Server }

// StartEmbedded runs a server that keeps its streams in dir. One process at a
// time may use dir: the caller holds a lock on it.
func StartEmbedded(dir string, log *slog.Logger) (*Embedded, error) {
	return startEmbedded(dir, true, log)
}

// StartScratch is StartEmbedded for streams that nobody will miss: it leaves syncing
// to the operating system.
func StartScratch(dir string, log *slog.Logger) (*Embedded, error) {
	return startEmbedded(dir, false, log)
}

func startEmbedded(dir string, syncAlways bool, log *slog.Logger) (*Embedded, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:             "kgents-embedded",
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true,
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             syncAlways,
		JetStreamMaxMemory:     64 << 20,
		DisableJetStreamBanner: true,
		MaxPayload:             1 << 20,
		NoSystemAccount:        true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	fatal := make(chan error, 1)
	srv.SetLoggerV2(serverLog{log, fatal}, false, false, false)
	srv.Start()
	for deadline := time.Now().Add(20 * time.Second); !srv.ReadyForConnections(100 * time.Millisecond); {
		err := errors.New("embedded NATS did not become ready within 20 s: look at the log above")
		select {
		case err = <-fatal:
		default:
			if time.Now().Before(deadline) {
				continue
			}
		}
		srv.Shutdown()
		return nil, err
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS could not use %s: look at the log above", dir)
	}
	return &Embedded{srv: srv}, nil
}

// Connect returns a connection within the process.
func (e *Embedded) Connect(name string, log *slog.Logger) (*nats.Conn, error) {
	quiet := slog.New(slog.DiscardHandler) // it goes away only when we stop it
	return nats.Connect("", append(connOptions(name, quiet),
		nats.InProcessServer(e.srv),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS error", "error", err) }),
	)...)
}

// MaxBytes is how much all streams together may take on disk. The server has
// chosen it by what was free when it started.
func (e *Embedded) MaxBytes() int64 {
	if c := e.srv.JetStreamConfig(); c != nil {
		return max(0, c.MaxStore)
	}
	return 0
}

// Stop ends the server and waits until its files are closed.
func (e *Embedded) Stop() {
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
}

// serverLog passes on what the server warns of. Its notices are about its own
// start and stop, which the program reports itself.
type serverLog struct {
	log   *slog.Logger
	fatal chan<- error // the first reason why the server can't run
}

func (l serverLog) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Warnf(f string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Errorf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l serverLog) Debugf(string, ...any)      {}
func (l serverLog) Tracef(string, ...any)      {}

func (l serverLog) Fatalf(f string, v ...any) {
	select {
	case l.fatal <- fmt.Errorf("embedded NATS: "+f, v...):
	default:
	}
}
