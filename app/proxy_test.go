package app_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kgents/kgents/config"
)

// A key of ours reaches the meter's reading routes and nothing else of it: no other
// path by dots or escapes, no body, no header that is ours, no raw connection.
func TestProxyReachesReadingRoutesOnly(t *testing.T) {
	var mu sync.Mutex
	var asked []*http.Request
	meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Attack") != "" {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.Clone(t.Context()))
		}
		_, _ = w.Write([]byte("[]"))
	})
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": "om_key"}))
	attack := func(path string) answer {
		req := p.request(http.MethodGet, "", "a body")
		req.URL.Opaque = "//" + req.URL.Host + path // as it is, nothing escaped or cleaned
		req.Header.Set("X-Attack", "yes")
		req.Header.Set("Cookie", "ours")
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "websocket")
		return p.sendOnce(req)
	}
	for _, path := range []string{
		"/api/v1/meters/..%2f..%2fadmin", "/api/v1/meters/%2e%2e%2fsubjects", "/api/v1/meters/..%2fsubjects/query",
		"/api/v1/meters/%2e%2e/query", "/api/v1/meters/a%3fb/query", "/api/v1/meters/a%00", "/api/v1/meters/../subjects",
		"/api/v1/subjects", "/api/v1/meters/a/../../../admin", "/api/v1/meters/a%0d%0aX-Header:b", "/api/v1/meters/" + strings.Repeat("a", 65),
	} {
		if a := attack(path); a.status != http.StatusNotFound && a.status/100 != 3 {
			t.Errorf("%s is answered %d %s, want 404 or a redirect to the clean path", path, a.status, a.body)
		}
	}
	if len(asked) != 0 {
		t.Errorf("the meter was asked for %s", asked[0].URL)
	}
	for _, path := range []string{"/api/v1/meters/town_interactions", "/api/v1/meters/01ARZ3NDEKTSV4RRFFQ69G5FAV/query?from=x", "/api/v1/events"} {
		if a := attack(path); a.status != http.StatusOK {
			t.Errorf("%s is answered %d %s", path, a.status, a.body)
		}
	}
	if len(asked) != 3 {
		t.Fatalf("the meter was asked %d times, want 3", len(asked))
	}
	for _, r := range asked {
		if r.Header.Get("Authorization") != "Bearer om_key" || r.Header.Get("Cookie") != "" || r.Header.Get("Upgrade") != "" || r.ContentLength != 0 {
			t.Errorf("the meter was asked with %v and %d bytes", r.Header, r.ContentLength)
		}
	}
}

// A meter that points elsewhere sends nobody there: neither our callers nor, with
// its key, the program.
func TestProxyFollowsNobody(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		elsewhere := remoteMeter(t, func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("the program went along, with %q", r.Header.Get("Authorization"))
		})
		meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere+r.URL.Path, status)
		})
		p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": "om_key"}))
		a := p.sendOnce(p.request(http.MethodGet, "/api/v1/meters/town_interactions", ""))
		wantProblem(t, a, http.StatusInternalServerError)
		if a.header.Get("Location") != "" || strings.Contains(a.body, "om_key") {
			t.Errorf("%d: the caller got %v %s", status, a.header, a.body)
		}
		p.stop()
	}
}
