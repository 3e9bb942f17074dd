package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	streamspdy "k8s.io/streaming/pkg/httpstream/spdy"
)

const (
	// maxTunnels bounds the tunnels that are open at a time. Past it a dial waits
	// until one is closed, or until its context ends.
	maxTunnels = 64

	// reasonPatience is how long after the end of a connection the API server may
	// take to say why it ended.
	reasonPatience = time.Second

	maxReason = 4 << 10 // bytes of that

	// tunneled is the protocol of a port-forward in a websocket.
	tunneled = "SPDY/3.1+" + portforward.PortForwardProtocolV1Name

	pingPeriod = 10 * time.Second // keeps balancers from ending what is idle
)

// tunnel is a connection to a port of a pod through the API server. Our end is that
// of a pipe, so that deadlines work on it, which those of the stream behind it don't.
type tunnel struct {
	net.Conn
	to      address
	session httpstream.Connection
	release func()
	once    sync.Once

	mu     sync.Mutex
	reason error // why the other side ended it; nil when it said nothing
}

// address is that of a pod's port, for messages.
type address struct {
	pod  string
	port int
}

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return a.pod + ":" + strconv.Itoa(a.port) }

// open makes a tunnel. Every tunnel has a session of its own with the API server:
// one that fails takes no other with it.
func (c *Client) open(ctx context.Context, namespace string, to address) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	type result struct {
		t   *tunnel
		err error
	}
	made := make(chan result, 1)
	go func() { // the libraries don't heed the context in every step
		t, err := c.connect(ctx, namespace, to)
		made <- result{t, err}
	}()
	select {
	case r := <-made:
		if r.err != nil {
			release()
			if errors.Is(r.err, os.ErrDeadlineExceeded) { // that of the context, by a library that has its own
				r.err = late(to)
			}
			return nil, r.err
		}
		if !c.keep(r.t, release) {
			return nil, net.ErrClosed
		}
		return r.t, nil
	case <-ctx.Done():
		go func() {
			if r := <-made; r.err == nil {
				r.t.end()
			}
			release()
		}()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, late(to)
		}
		return nil, ctx.Err()
	}
}

func late(to address) error {
	return fmt.Errorf("no tunnel to pod %s in time: %w", to.pod, context.DeadlineExceeded)
}

// slot waits until one of maxTunnels is free.
func (c *Client) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-c.slots }), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%d tunnels are open, which is the most: close some (%w)", maxTunnels, ctx.Err())
	}
}

// keep remembers a tunnel, so that Close ends it, unless Close came first.
func (c *Client) keep(t *tunnel, release func()) bool {
	t.release = func() {
		c.mu.Lock()
		delete(c.tunnels, t)
		c.mu.Unlock()
		release()
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.tunnels[t] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		t.end()
	}
	return !closed
}

// connect asks for a session and for a stream of data in it.
func (c *Client) connect(ctx context.Context, namespace string, to address) (*tunnel, error) {
	session, err := c.session(ctx, namespace, to.pod)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(to.port))
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	reasons, err := session.CreateStream(headers)
	if err == nil {
		err = reasons.Close() // nothing is written to it
	}
	var data httpstream.Stream
	if err == nil {
		headers.Set(corev1.StreamType, corev1.StreamTypeData)
		data, err = session.CreateStream(headers)
	}
	if err != nil {
		_ = session.Close()
		return nil, fmt.Errorf("pod %s, port %d: the API server opens no stream: %w", to.pod, to.port, err)
	}
	ours, theirs := net.Pipe()
	t := &tunnel{Conn: ours, to: to, session: session}
	go t.pump(theirs, data, reasons)
	return t, nil
}

// pump copies both ways until one side ends.
func (t *tunnel) pump(theirs net.Conn, data, reasons io.ReadWriteCloser) {
	said := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.LimitReader(reasons, maxReason))
		said <- string(text)
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(data, theirs)
		_ = data.Close() // nothing more comes from us
	}()
	_, _ = io.Copy(theirs, data)
	if d, ok := data.(httpstream.Stream); ok {
		_ = d.Reset() // what is unsent would keep the reason from coming
	}
	select {
	case text := <-said:
		t.ended(text)
	case <-time.After(reasonPatience):
	}
	_ = theirs.Close()
	_ = t.session.Close() // also ends the reader of reasons
	<-sent
}

// ended notes why the other side ended the connection.
func (t *tunnel) ended(text string) {
	if text == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if strings.Contains(text, "connection refused") {
		t.reason = fmt.Errorf("pod %s: nothing listens on port %d", t.to.pod, t.to.port)
		return
	}
	t.reason = fmt.Errorf("pod %s, port %d: %s", t.to.pod, t.to.port, strings.TrimSpace(text))
}

// why is the error for the end of the pipe.
func (t *tunnel) why(err error) error {
	if err == nil || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reason != nil {
		return t.reason
	}
	if errors.Is(err, io.ErrClosedPipe) {
		return net.ErrClosed
	}
	return err
}

func (t *tunnel) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	return n, t.why(err)
}

func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.Conn.Write(p)
	return n, t.why(err)
}

func (t *tunnel) RemoteAddr() net.Addr { return t.to }

func (t *tunnel) Close() error {
	t.end()
	return nil
}

func (t *tunnel) end() {
	t.once.Do(func() {
		_ = t.Conn.Close()
		_ = t.session.Close()
		if t.release != nil {
			t.release()
		}
	})
}

// session upgrades a request to a pod's port-forward: over a websocket, or by SPDY
// where a server or a proxy on the way knows no websockets.
func (c *Client) session(ctx context.Context, namespace, pod string) (httpstream.Connection, error) {
	what := "pods/portforward of " + pod + " in namespace " + namespace
	target := c.base.JoinPath("/api/v1/namespaces", namespace, "pods", pod, "portforward").String()
	s, err := c.overWebsocket(ctx, target)
	if err != nil && ctx.Err() == nil && status(err) != http.StatusNotFound && (httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)) {
		// A refusal may be of websockets alone: they are a GET, SPDY is a POST, and
		// roles tell the two apart. What SPDY says of a refusal has no status.
		var second error
		if s, second = c.bySPDY(ctx, target); second == nil || status(err) == 0 {
			err = second
		}
	}
	switch {
	case err == nil:
		return s, nil
	case status(err) == http.StatusNotFound:
		return nil, &NotFoundError{"pod " + pod + " in namespace " + namespace}
	case status(err) != 0:
		return nil, refusal(what, status(err), reason(err))
	}
	return nil, fmt.Errorf("no tunnel to pod %s: %w", pod, err)
}

func (c *Client) overWebsocket(ctx context.Context, target string) (httpstream.Connection, error) {
	transport, holder, err := websocket.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(transport, holder, req, tunneled)
	if err != nil {
		return nil, err
	}
	return streamspdy.NewClientConnectionWithPings(portforward.NewTunnelingConnection("tunnel", conn), pingPeriod)
}

func (c *Client) bySPDY(ctx context.Context, target string) (httpstream.Connection, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return nil, err
	}
	s, protocol, err := spdy.NegotiateStreaming(upgrader, &http.Client{Transport: transport, CheckRedirect: noRedirect}, req, portforward.PortForwardProtocolV1Name)
	if err == nil && protocol != portforward.PortForwardProtocolV1Name {
		_ = s.Close()
		return nil, fmt.Errorf("the API server speaks %q", protocol)
	}
	return s, err
}

// status is the API server's own status in an error of an upgrade, 0 if it has none.
func status(err error) int {
	if e, ok := errors.AsType[*httpstream.UpgradeFailureError](err); ok {
		err = e.Cause
	}
	if e, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return int(e.ErrStatus.Code)
	}
	return 0
}

// reason is what the API server says beside its status.
func reason(err error) string {
	if e, ok := errors.AsType[*httpstream.UpgradeFailureError](err); ok {
		err = e.Cause
	}
	if e, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return e.ErrStatus.Message
	}
	return ""
}
