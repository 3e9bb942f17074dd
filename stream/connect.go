package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Remote is how to reach NATS servers.
type Remote struct {
	Servers                []string
	Creds                  string // path of a credentials file, or of an NKey's seed
	TLSCA, TLSCert, TLSKey string // paths

	// Key and Roots take the place of Creds and TLSCA for who has what would be in
	// these files; see NewKey. Neither shows anything when it is printed.
	Key   nats.Option
	Roots *x509.CertPool

	// Dial makes the connections, for servers whose names and addresses mean nothing
	// here; nil for an ordinary one. TLS goes on top, with the name in Servers.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Shown is told of each handshake by TLS that went well, if it is not nil. It is
	// called from any goroutine and must return at once.
	Shown func(tls.ConnectionState)
}

// Connect returns a connection that is made in the background and kept for
// ever. While it is down, a publish fails at once instead of waiting in a buffer
// that would die with the process. One log line is written per change. Answers come
// to an inbox of the name's own, so that a server can keep others from reading it.
func Connect(r Remote, name string, log *slog.Logger) (*nats.Conn, error) {
	opts := append(connOptions(name, log), nats.CustomInboxPrefix("_INBOX."+name))
	told := &refusals{log: log}
	switch {
	case r.Key != nil:
		opts = append(opts, r.Key)
	case r.Creds != "":
		known, err := credentials(r.Creds)
		if err != nil {
			return nil, err
		}
		opts = append(opts, known)
	}
	switch {
	case r.Roots != nil:
		opts = append(opts, nats.Secure(&tls.Config{RootCAs: r.Roots, MinVersion: tls.VersionTLS12}))
	case r.TLSCA != "":
		opts = append(opts, nats.RootCAs(r.TLSCA))
	}
	if r.TLSCert != "" {
		opts = append(opts, nats.ClientCert(r.TLSCert, r.TLSKey))
	}
	if r.Dial != nil {
		opts = append(opts, nats.SetCustomDialer(dialer(r.Dial)), nats.SkipHostLookup())
	}
	if r.Shown != nil {
		opts = append(opts, func(o *nats.Options) error {
			if o.TLSConfig == nil {
				o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			o.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error { r.Shown(state); return nil }
			return nil
		})
	}
	var conn atomic.Pointer[nats.Conn]
	opts = append(opts, nats.CustomReconnectDelay(func(attempts int) time.Duration {
		if nc := conn.Load(); nc != nil {
			told.tell(attempts, nc.LastError())
		}
		return reconnectWait + rand.N(reconnectWait)
	}))
	nc, err := nats.Connect(strings.Join(r.Servers, ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	conn.Store(nc)
	if nc.Status() != nats.CONNECTED {
		log.Warn("NATS does not answer, trying until it does")
	}
	return nc, nil
}

// connectWait is how long one attempt at one server may take.
const connectWait = 5 * time.Second

// dialer is a nats.CustomDialer.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func (d dialer) Dial(network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectWait)
	defer cancel()
	return d(ctx, network, addr)
}

// reconnectWait is between two attempts at all servers, and up to as much again so
// that clients don't come all at once.
const reconnectWait = 500 * time.Millisecond

// refusals tells why servers don't let the program in, once for each reason of each
// time without a connection, since the library itself is silent then.
type refusals struct {
	log  *slog.Logger
	last string
}

// tell gets the count of attempts since the connection was lost and why the last of
// them failed, nil when no server answered.
func (r *refusals) tell(attempts int, err error) {
	if attempts == 1 {
		r.last = ""
	}
	if err == nil || err.Error() == r.last {
		return
	}
	switch {
	case refused(err):
		r.log.Error("NATS doesn't let this program in, trying until it does: NATS_CREDS must name a key that the servers know, and one that replaces another counts from the next start on", "error", err)
	case untrusted(err):
		r.log.Error("NATS can't be reached by TLS, trying until it can: check NATS_SERVERS, NATS_TLS_CA and NATS_TLS_CERT", "error", err)
	default:
		return // a server that starts or stops
	}
	r.last = err.Error()
}

// refused tells whether servers don't take the credentials.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) ||
		errors.Is(err, nats.ErrAccountAuthExpired)
}

// untrusted tells whether the two sides don't agree on TLS.
func untrusted(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // an alert of the server
		return true
	}
	_, bad := errors.AsType[*tls.CertificateVerificationError](err)
	return bad || errors.Is(err, nats.ErrSecureConnRequired) || errors.Is(err, nats.ErrSecureConnWanted)
}

func connOptions(name string, log *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a key that isn't known yet may be later, as in a rotation
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectBufSize(-1), // fail at once while disconnected
		nats.Timeout(connectWait),
		// A server that is cut off sends no goodbye: it is given up after 6 to 9 s, and
		// another is asked. With 20 to 30 s the circuit opened first, and stayed open.
		nats.PingInterval(3 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ConnectHandler(func(*nats.Conn) { log.Info("NATS connected") }),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS connected again") }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn("NATS connection lost, trying again until it is back", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrNoResponders) && !refused(err) { // refusals are told once
				log.Warn("NATS error", "error", err)
			}
		}),
	}
}
