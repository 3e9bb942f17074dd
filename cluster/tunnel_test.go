package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/kgents/kgents/cluster"
)

// The library's own end of a session waits up to a second for somebody who asks
// how it went.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Connection).shutdown"))
}

// apiServer has pods whose ports are forwarded to listeners of the test, as the
// kubelet forwards them: by SPDY, over a websocket or alone.
type apiServer struct {
	*httptest.Server
	t       *testing.T
	objects map[string]string // by path

	mu       sync.Mutex
	ports    map[string]string // pod:port to the address it leads to
	sessions map[net.Conn]struct{}
	onlySPDY bool
	status   int // of a refusal of every tunnel
	used     []string
	stall    chan struct{} // tunnels wait for it
	selected []string
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{t: t, objects: map[string]string{}, ports: map[string]string{}, sessions: map[net.Conn]struct{}{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.mu.Lock()
		for c := range s.sessions {
			c.Close()
		}
		s.mu.Unlock()
		s.Close()
	})
	return s
}

func (s *apiServer) client() *cluster.Client {
	s.t.Helper()
	kubeconfig(s.t, s.URL, nil)
	c, err := cluster.Open(cluster.Options{Namespace: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) == 7 && parts[6] == "portforward" {
		s.forward(w, r, parts[5])
		return
	}
	s.mu.Lock()
	body, ok := s.objects[r.URL.Path]
	if selector := r.URL.Query().Get("labelSelector") + r.URL.Query().Get("fieldSelector"); selector != "" {
		s.selected = append(s.selected, selector)
	}
	s.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		body = `{"kind":"Status","apiVersion":"v1","message":"not found","code":404}`
	}
	if strings.HasPrefix(body, "403") {
		w.WriteHeader(http.StatusForbidden)
		body = body[3:]
	}
	fmt.Fprint(w, body)
}

func (s *apiServer) forward(w http.ResponseWriter, r *http.Request, pod string) {
	s.mu.Lock()
	status, stall, onlySPDY := s.status, s.stall, s.onlySPDY
	known := false
	for port := range s.ports {
		known = known || strings.HasPrefix(port, pod+":")
	}
	s.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-r.Context().Done():
		}
	}
	if !known {
		status = http.StatusNotFound
	}
	websocket := gorilla.IsWebSocketUpgrade(r)
	if status == 0 && websocket && onlySPDY {
		status = http.StatusBadRequest
	}
	if status != 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no tunnel for you","code":%d}`, status)
		return
	}
	streams := make(chan httpstream.Stream, 2)
	accept := func(stream httpstream.Stream, _ <-chan struct{}) error { streams <- stream; return nil }
	var session httpstream.Connection
	if websocket {
		s.note("websocket")
		up := gorilla.Upgrader{Subprotocols: []string{"SPDY/3.1+" + portforward.PortForwardProtocolV1Name}}
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.hold(conn.NetConn())
		if session, err = spdy.NewServerConnection(portforward.NewTunnelingConnection("test", conn), accept); err != nil {
			s.t.Error(err)
			return
		}
	} else {
		s.note("spdy")
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			s.t.Error(err)
			return
		}
		if session = spdy.NewResponseUpgrader().UpgradeResponse(w, r, accept); session == nil {
			return
		}
	}
	defer session.Close()
	var data, reasons httpstream.Stream
	for data == nil || reasons == nil {
		select {
		case stream := <-streams:
			if stream.Headers().Get("streamType") == "data" {
				data = stream
			} else {
				reasons = stream
			}
		case <-session.CloseChan():
			return
		}
	}
	port := pod + ":" + data.Headers().Get("port")
	s.mu.Lock()
	to := s.ports[port]
	s.mu.Unlock()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		fmt.Fprintf(reasons, "error forwarding port to pod: dial tcp4: connect: connection refused")
		reasons.Close()
		data.Close()
		<-session.CloseChan()
		return
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(conn, data); conn.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(data, conn)
	reasons.Close()
	data.Close()
	<-session.CloseChan()
	<-done
}

func (s *apiServer) note(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = append(s.used, how)
}

func (s *apiServer) hold(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[c] = struct{}{}
}

// lead leads a pod's port to an address.
func (s *apiServer) lead(pod string, port int, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports[pod+":"+strconv.Itoa(port)] = to
}

// echo is a listener that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer conn.Close(); _, _ = io.Copy(conn, conn) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return l.Addr().String()
}

const (
	services = "/api/v1/namespaces/test/services"
	pods     = "/api/v1/namespaces/test/pods"

	readyPod = `{"metadata":{"name":"p-0"},"spec":{"containers":[{"ports":[{"name":"http","containerPort":8000}]}]},
"status":{"phase":"Running","podIP":"10.9.0.1","conditions":[{"type":"Ready","status":"True"}]}}`
	headless = `{"metadata":{"name":"h","namespace":"test"},"spec":{"clusterIP":"None","selector":{"app":"p"},"ports":[{"port":4222}]}}`
	service  = `{"metadata":{"name":"s","namespace":"test"},"spec":{"clusterIP":"10.96.0.9","selector":{"app":"p"},"ports":[{"port":80,"targetPort":"http"},{"port":81}]}}`
)

func testbed(t *testing.T) (*apiServer, *cluster.Client) {
	t.Helper()
	s := startAPIServer(t)
	// None of the others is to be sent to.
	s.objects[pods] = `{"items":[` + readyPod + `,
{"metadata":{"name":"unready"},"status":{"phase":"Running"}},
{"metadata":{"name":"ending","deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Running","podIP":"10.9.0.1","conditions":[{"type":"Ready","status":"True"}]}},
{"metadata":{"name":"done"},"status":{"phase":"Succeeded","conditions":[{"type":"Ready","status":"True"}]}}]}`
	s.objects[services] = `{"items":[` + service + `]}`
	s.objects[services+"/s"] = service
	s.objects[services+"/h"] = headless
	return s, s.client()
}

func talk(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	sent := strings.Repeat("over and over ", 20_000) // more than any buffer on the way
	go func() { _, _ = io.WriteString(conn, sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != sent {
		t.Errorf("what came back is not what was sent: %v", err)
	}
}

// What names a pod or a service, in every form, and where it leads.
func TestDial(t *testing.T) {
	s, c := testbed(t)
	at := echo(t)
	s.lead("p-0", 8000, at)
	s.lead("p-0", 81, at)
	s.lead("p-0", 4222, at)
	for _, addr := range []string{
		"s:80", "s:81", "s.test:80", "s.test.svc:80", "s.test.svc.cluster.local:80", "s.test.svc.cluster.local.:80", "S:80",
		"h:4222", "p-0.h:4222", "p-0.h.test.svc:4222", "10.9.0.1:4222", "10.96.0.9:80",
		at, // none of the cluster's: dialed from here
	} {
		conn, err := c.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		if addr != at && conn.RemoteAddr().Network() == "tcp" && !strings.HasPrefix(conn.RemoteAddr().String(), "p-0:") {
			t.Errorf("%s leads to %v", addr, conn.RemoteAddr())
		}
		talk(t, conn)
	}
	for _, how := range s.used {
		if how != "websocket" {
			t.Errorf("went by %s", how)
		}
	}
}

func TestDialErrors(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, "127.0.0.1:1")
	s.objects[services+"/none"] = `{"metadata":{"name":"none","namespace":"test"},"spec":{"clusterIP":"10.96.0.8","ports":[{"port":80}]}}`
	s.objects[services+"/named"] = `{"metadata":{"name":"named","namespace":"test"},"spec":{"clusterIP":"10.96.0.7","selector":{"a":"b"},"ports":[{"port":80,"targetPort":"other"}]}}`
	s.objects[services+"/denied"] = `403{"message":"may not"}`
	for addr, want := range map[string]string{
		"s:82":            "service s has no port 82",
		"nobody:80":       "service nobody in namespace test is not there",
		"s.test.svc:x":    "no port",
		"s.test.svc":      "missing port",
		"a.b.svc:80":      "service a in namespace b is not there",
		"no_name.svc:80":  "no name in the cluster",
		"none:80":         "selects no pods",
		"named:80":        "no pod of service named is ready",
		"denied:80":       "no permission to read service denied in namespace test: may not",
		"p-1.h:4222":      "pod p-1 in namespace test is not there",
		"p-0.s:80":        "not headless",
		"a.b.invalid.:80": "no such host",
	} {
		conn, err := c.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error is %v, want %q", addr, err, want)
		}
	}
	if _, err := c.DialContext(t.Context(), "udp", "s:80"); err == nil {
		t.Error("a tunnel that carries UDP")
	}
}

// That nothing listens shows with the first read, by name.
func TestNothingListens(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, "127.0.0.1:1")
	conn, err := c.DialContext(t.Context(), "tcp", "s:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const want = "pod p-0: nothing listens on port 8000"
	if _, err := conn.Read(make([]byte, 1)); err == nil || err.Error() != want {
		t.Errorf("the error of the read is %v", err)
	}
	if _, err := conn.Write([]byte("x")); err == nil || err.Error() != want {
		t.Errorf("the error of the write is %v", err)
	}
}

func TestRefusedTunnel(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	s.status = http.StatusForbidden
	_, err := c.DialContext(t.Context(), "tcp", "s:80")
	if _, ok := errors.AsType[*cluster.DeniedError](err); !ok || !strings.Contains(err.Error(), "pods/portforward of p-0 in namespace test: no tunnel for you") {
		t.Errorf("the error is %v", err)
	}
	s.status = http.StatusInternalServerError
	if _, err := c.DialContext(t.Context(), "tcp", "s:80"); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("the error is %v", err)
	}
}

// A server that knows no websockets is asked by SPDY.
func TestFallback(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	s.onlySPDY = true
	conn, err := c.DialContext(t.Context(), "tcp", "s:80")
	if err != nil {
		t.Fatal(err)
	}
	talk(t, conn)
	if got := strings.Join(s.used, " "); got != "spdy" {
		t.Errorf("went by %s", got)
	}
}

func TestDeadline(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	conn, err := c.DialContext(t.Context(), "tcp", "s:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	talk(t, conn) // and goes on
}

// A server that says nothing costs the time of the context, no more.
func TestContextEnds(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	s.stall = make(chan struct{})
	defer close(s.stall)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.DialContext(ctx, "tcp", "s:80"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}

// There is a most of tunnels; one that is closed makes room.
func TestMostTunnels(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	var open []net.Conn
	for range 64 {
		conn, err := c.DialContext(t.Context(), "tcp", "10.9.0.1:8000")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.DialContext(ctx, "tcp", "10.9.0.1:8000"); err == nil || !strings.Contains(err.Error(), "64 tunnels are open") {
		t.Errorf("the error is %v", err)
	}
	open[0].Close()
	open[0].Close() // gives no second place
	conn, err := c.DialContext(t.Context(), "tcp", "10.9.0.1:8000")
	if err != nil {
		t.Fatal(err)
	}
	talk(t, conn)
	for _, conn := range open {
		conn.Close()
	}
}

// Close ends what is open, and nothing is opened after it.
func TestCloseEndsTunnels(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	conn, err := c.DialContext(t.Context(), "tcp", "s:80")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the error of the read is %v", err)
	}
	if _, err := c.DialContext(t.Context(), "tcp", "s:80"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the error of the dial is %v", err)
	}
}

// The session breaks: the connection ends, and says so.
func TestSessionBreaks(t *testing.T) {
	s, c := testbed(t)
	s.lead("p-0", 8000, echo(t))
	conn, err := c.DialContext(t.Context(), "tcp", "s:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.mu.Lock()
	for session := range s.sessions {
		session.Close()
	}
	s.mu.Unlock()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a read from a session that broke")
	}
}

// An HTTP client goes through it.
func TestHTTPThrough(t *testing.T) {
	s, c := testbed(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	defer web.Close()
	s.lead("p-0", 8000, strings.TrimPrefix(web.URL, "http://"))
	transport := &http.Transport{DialContext: c.DialContext}
	defer transport.CloseIdleConnections()
	for range 3 {
		resp, err := (&http.Client{Transport: transport}).Get("http://s")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "s" {
			t.Errorf("the answer is %q", body)
		}
	}
	if len(s.used) != 1 {
		t.Errorf("%d tunnels for requests that follow each other", len(s.used))
	}
}
