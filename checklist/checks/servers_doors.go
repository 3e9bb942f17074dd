package checks

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/stream"
)

// natsServers are the addresses of the servers, none of an embedded one.
func (a *serverArea) natsServers(ctx context.Context) (urls []string, embedded bool, err error) {
	if r := a.door(); len(r.Servers) > 0 {
		return r.Servers, false, nil
	}
	r, err := a.report(ctx)
	switch {
	case err != nil:
		return nil, false, err
	case r.NATS.Embedded:
		return nil, true, nil
	}
	return nil, false, &gap{"the addresses of the NATS servers are not known", "set NATS_SERVERS to the api's"}
}

// door is how the servers are reached.
func (a *serverArea) door() stream.Remote {
	if len(a.NATSSystem.Servers) > 0 {
		return a.NATSSystem
	}
	return a.NATS
}

// noPort is said of an embedded server, which is told by the program itself: it has
// been started without a listener.
func noPort() checklist.Finding {
	return checklist.Passed("the NATS server is within the program and listens on no port: no connection leads to it")
}

// natsTLS speaks plain text to each server, and wants no answer.
func (a *serverArea) natsTLS(ctx context.Context) checklist.Finding {
	urls, embedded, err := a.natsServers(ctx)
	switch {
	case err != nil:
		return blind(err, lookAtNATS)
	case embedded:
		return noPort()
	}
	var open, unknown []string
	for _, u := range urls {
		answered, err := a.plainText(ctx, u)
		switch {
		case err != nil:
			unknown = append(unknown, hostOf(u)+": "+err.Error())
		case answered:
			open = append(open, hostOf(u))
		}
	}
	switch {
	case len(open) > 0:
		return checklist.Failed(cut("plain text was answered by "+some(open), 200), "give the servers `tls` without allow_non_tls in nats.conf, and restart them one by one")
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), lookAtNATS)
	}
	return checklist.Passed("plain text was refused by %s, which want TLS", someHosts(urls))
}

// greeting is the part of a server's INFO line that is looked at.
type greeting struct {
	Name        string `json:"server_name"`
	TLSRequired bool   `json:"tls_required"`
	TLSOffered  bool   `json:"tls_available"`
}

// greet connects and reads INFO. A server whose handshake comes first says nothing.
func (a *serverArea) greet(ctx context.Context, address string) (conn net.Conn, g greeting, silent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	if conn, err = Dialer(a.door().Dial).dial(ctx, hostOf(address)); err != nil {
		return nil, g, false, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(time.Now().Add(time.Until(deadline) / 2))
	line, err := readLine(conn)
	_ = conn.SetDeadline(deadline)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && line == "" {
		return conn, g, true, nil
	}
	if text, ok := strings.CutPrefix(line, "INFO "); err == nil && ok && json.Unmarshal([]byte(text), &g) == nil {
		return conn, g, false, nil
	}
	conn.Close()
	if err == nil || errors.Is(err, io.EOF) {
		err = errors.New("who answers is no NATS server")
	}
	return nil, g, false, err
}

// readLine reads a line byte by byte: what follows belongs to TLS.
func readLine(conn net.Conn) (string, error) {
	const longest = 32 << 10
	var line []byte
	for b := make([]byte, 1); len(line) < longest; {
		if _, err := conn.Read(b); err != nil {
			return string(line), err
		}
		if b[0] == '\n' {
			return strings.TrimSpace(string(line)), nil
		}
		line = append(line, b[0])
	}
	return "", errors.New("the first line has no end")
}

// plainText says whether a server goes on without TLS. That it does not is proved
// by its wanting TLS and by its giving no answer that a client could use.
func (a *serverArea) plainText(ctx context.Context, address string) (answered bool, err error) {
	conn, g, silent, err := a.greet(ctx, address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "CONNECT {\"verbose\":true,\"pedantic\":false,\"protocol\":1,\"name\":\"kgents-checklist\"}\r\nPING\r\n"); err != nil {
		return false, nil //nolint:nilerr // it has hung up: refused
	}
	text, _ := bufio.NewReaderSize(conn, 512).ReadBytes('\n')
	for _, ours := range []string{"+OK", "PONG", "-ERR 'Authorization", "-ERR 'authorization", "-ERR 'Authentication"} {
		if bytes.HasPrefix(text, []byte(ours)) {
			return true, nil // it has read what we said in plain text
		}
	}
	if silent || g.TLSRequired {
		return false, nil
	}
	return false, fmt.Errorf("it neither wants TLS nor answers without")
}

// natsAnonymous connects to each server by TLS, as a client that has no key.
func (a *serverArea) natsAnonymous(ctx context.Context) checklist.Finding {
	urls, embedded, err := a.natsServers(ctx)
	switch {
	case err != nil:
		return blind(err, lookAtNATS)
	case embedded:
		return noPort()
	}
	var open, unknown []string
	for _, u := range urls {
		err := a.connectWithoutKey(u)
		switch {
		case err == nil:
			open = append(open, hostOf(u))
		case !errors.Is(err, nats.ErrAuthorization) && !strings.Contains(err.Error(), "tls: certificate required"):
			unknown = append(unknown, hostOf(u)+": "+err.Error())
		}
	}
	switch {
	case len(open) > 0:
		return checklist.Failed(cut("a client without a key was let in by "+some(open), 200), "give every account users with keys in nats.conf, no no_auth_user, and restart the servers one by one")
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), lookAtNATS)
	}
	return checklist.Passed("a client without a key was refused by %s", someHosts(urls))
}

// connectWithoutKey gives no certificate of ours either: a server may know clients by
// that alone.
func (a *serverArea) connectWithoutKey(address string) error {
	r := a.door()
	opts := []nats.Option{nats.Name("kgents-checklist"), nats.NoReconnect(), nats.Timeout(tryPatience), nats.SetCustomDialer(keyless{r.Dial}), nats.SkipHostLookup()}
	switch {
	case r.Roots != nil:
		opts = append(opts, nats.Secure(&tls.Config{RootCAs: r.Roots, MinVersion: tls.VersionTLS12}))
	case r.TLSCA != "":
		opts = append(opts, nats.RootCAs(r.TLSCA))
	}
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("NATS_SERVERS has no URL there")
	}
	u.User = nil // or it would be a key
	nc, err := nats.Connect(u.String(), opts...)
	if err == nil {
		nc.Close()
	}
	return err
}

// keyless is a Dialer for nats.go.
type keyless struct{ dial Dialer }

// Dial implements nats.CustomDialer.
func (k keyless) Dial(_, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
	defer cancel()
	return k.dial.dial(ctx, address)
}

// hostOf is the host and the port of a server's URL, without a user.
func hostOf(address string) string {
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is no URL"
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "4222")
	}
	return u.Host
}

func someHosts(urls []string) string {
	var hosts []string
	for _, u := range urls {
		hosts = append(hosts, hostOf(u))
	}
	return cut(some(hosts), 120)
}

// natsCertificates are those that a server shows in a handshake. There are none
// without TLS.
func (a *serverArea) natsCertificates(ctx context.Context, address string) (tls.ConnectionState, error) {
	conn, g, silent, err := a.greet(ctx, address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if !silent && !g.TLSRequired && !g.TLSOffered {
		return tls.ConnectionState{}, nil
	}
	return shake(ctx, conn, address)
}

// shake is a handshake in which dates alone are looked at: whether the certificate is
// to be trusted is found out by every client. One that asks for ours is looked at too.
func shake(ctx context.Context, conn net.Conn, address string) (state tls.ConnectionState, err error) {
	host, _, _ := net.SplitHostPort(hostOf(address))
	var seen tls.ConnectionState
	client := tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error { seen = s; return nil }})
	if err := client.HandshakeContext(ctx); err != nil && len(seen.PeerCertificates) == 0 {
		return state, err
	}
	return seen, nil
}
