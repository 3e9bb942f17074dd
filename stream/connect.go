package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Remote is how to reach NATS servers.
type Remote struct {
	Servers                []string
	Creds                  string // path of a credentials file, or of an NKey's seed
	TLSCA, TLSCert, TLSKey string // paths
}

// Connect returns a connection that is made in the background and kept for
// ever. While it is down, a publish fails at once instead of waiting in a buffer
// that would die with the process. One log line is written per change. Answers come
// to an inbox of the name's own, so that a server can keep others from reading it.
func Connect(r Remote, name string, log *slog.Logger) (*nats.Conn, error) {
	opts := append(connOptions(name, log), nats.CustomInboxPrefix("_INBOX."+name))
	if r.Creds != "" {
		known, err := credentials(r.Creds)
		if err != nil {
			return nil, err
		}
		opts = append(opts, known)
	}
	if r.TLSCA != "" {
		opts = append(opts, nats.RootCAs(r.TLSCA))
	}
	if r.TLSCert != "" {
		opts = append(opts, nats.ClientCert(r.TLSCert, r.TLSKey))
	}
	nc, err := nats.Connect(strings.Join(r.Servers, ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	if nc.Status() != nats.CONNECTED {
		log.Warn("NATS does not answer, trying until it does")
	}
	return nc, nil
}

func connOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // fail at once while disconnected
		nats.Timeout(5 * time.Second),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(*nats.Conn) { log.Info("NATS connected") }),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS connected again") }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("NATS connection lost, trying again until it is back", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrNoResponders) {
				log.Warn("NATS error", "error", err)
			}
		}),
	}
}
