package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

// guarded are the headers that every answer has, exactly once.
var guarded = map[string]string{
	"X-Content-Type-Options":       "nosniff",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

// hostileMeter answers with everything that must not reach our callers.
func hostileMeter(t *testing.T, status int) string {
	return remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/meters" && r.Header.Get("X-Attack") == "" { // the program's own look
			_, _ = io.WriteString(w, "[]")
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/html")
		h.Set("Set-Cookie", "session=stolen")
		h.Set("Server", "meter/1.2.3")
		h.Set("Location", "http://127.0.0.1:1/")
		h.Set("Strict-Transport-Security", "max-age=1")
		h.Set("Access-Control-Allow-Origin", "*")
		for name := range guarded {
			h.Set(name, "hostile")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<script>")
	})
}

// Every answer of every role has the headers of security: of each route, by each
// method, with and without a key, and of what there is not.
func TestSecurityHeaders(t *testing.T) {
	methods := []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}
	paths := []string{
		"/", "/nowhere", "/health", "/health/saas", "/livez", "/readyz", "/metrics",
		"/webhooks/stripe", "/webhooks/stripe/health",
		"/api/v1/events", "/api/v1/meters", "/api/v1/meters/town_interactions", "/api/v1/meters/town_interactions/query",
		"/api/v1/deadletters", "/api/v1/deadletters/1", "/api/v1/deadletters/1/replay", "/api/v1/reconcile", "/api/v1/system",
		"/v1/billing/checkout", "/v1/billing/checkout/x",
		"//api/v1/events", "/api/../metrics", // which the mux answers with a redirect
	}
	for _, test := range []struct {
		name string
		role config.Role
		env  map[string]string
	}{
		{"up", config.RoleUp, nil},
		{"up with other origins and a hostile meter", config.RoleUp, map[string]string{"CORS_ORIGINS": "https://app.example.com", "OPENMETER_BASE_URL": hostileMeter(t, 200)}},
		{"api with nothing there", config.RoleAPI, map[string]string{"NATS_SERVERS": "nats://" + newGate(t).l.Addr().String(), "OPENMETER_BASE_URL": "http://127.0.0.1:1"}},
		{"meter", config.RoleMeter, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, test.role, settings(t, test.role, test.env))
			statuses := map[int]bool{}
			for _, path := range paths {
				for _, method := range methods {
					for _, key := range []string{"", "wrong", apiKey} {
						if path == "/api/v1/reconcile" && key == apiKey { // a run takes its time
							continue
						}
						req := p.request(method, path, "")
						req.Header.Set("Authorization", "Bearer "+key)
						req.Header.Set("Origin", "https://app.example.com")
						req.Header.Set("X-Attack", "yes")
						if method == "OPTIONS" {
							req.Header.Set("Access-Control-Request-Method", "POST")
						}
						a := p.sendOnce(req)
						statuses[a.status] = true
						for name, want := range guarded {
							if diff := cmp.Diff([]string{want}, a.header.Values(name)); diff != "" {
								t.Errorf("%s %s answers %d: %s (-want +got):\n%s", method, path, a.status, name, diff)
							}
						}
						for _, name := range []string{"Server", "X-Powered-By", "Set-Cookie", "Via", "Strict-Transport-Security"} {
							if got := a.header.Get(name); got != "" {
								t.Errorf("%s %s shows %s: %s", method, path, name, got)
							}
						}
						if origin := a.header.Get("Access-Control-Allow-Origin"); test.env["CORS_ORIGINS"] == "" && origin != "" {
							t.Errorf("%s %s lets %s read it", method, path, origin)
						}
					}
				}
			}
			for _, status := range []int{200, 401, 404} {
				if !statuses[status] {
					t.Errorf("no answer was a %d: the test has not seen what it is for: %v", status, statuses)
				}
			}
		})
	}
}

// sendOnce follows no redirect.
func (p *program) sendOnce(req *http.Request) answer {
	p.t.Helper()
	resp, err := client.Transport.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// What is no HTTP is answered by net/http: plain text that repeats nothing of it.
func TestWhatIsNoHTTP(t *testing.T) {
	p := start(t, config.RoleMeter, settings(t, config.RoleMeter, nil))
	for name, test := range map[string]struct {
		request, want string
	}{
		"garbage":               {"<script>marker</script>\r\n\r\n", "400"},
		"another protocol":      {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", "505"},
		"no host":               {"GET / HTTP/1.1\r\n\r\n", "400"},
		"a header with a break": {"GET / HTTP/1.1\r\nHost: x\r\nX-A: marker\rSet-Cookie: x\r\n\r\n", "400"},
		"two lengths":           {"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
		"an unknown coding":     {"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: marker\r\n\r\n", "501"},
		"headers of 40 kB":      {"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("marker", 7_000) + "\r\n\r\n", "431"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, test.request) // the server may not read all of it
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if !strings.HasPrefix(resp.Status, test.want) || strings.Contains(string(body), "marker") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("got %s %s %s, want %s in plain text", resp.Status, resp.Header, body, test.want)
			}
		})
	}
}
