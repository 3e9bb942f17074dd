package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/verify"
)

// What POST /api/v1/canaries answers.
type pair struct {
	ID, Subject string
	Distinct    int
}

// The embedded meter is handed equal canaries, and counts each once.
func TestCanariesAreHandedToTheMeter(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	a := p.send(p.request(http.MethodPost, "/api/v1/canaries", "a body that nobody reads"))
	var told pair
	if err := json.Unmarshal([]byte(a.body), &told); a.status != http.StatusOK || err != nil || told.ID == "" || told.Distinct != 2 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	if !strings.HasPrefix(told.Subject, verify.Subject+"-") {
		t.Errorf("the subject %q is not that of a canary, somebody could pay for it", told.Subject)
	}
	var counted struct{ Data []struct{ Value float64 } }
	a = p.get("/api/v1/meters/" + verify.Meter + "/query?subject=" + url.QueryEscape(told.Subject))
	if err := json.Unmarshal([]byte(a.body), &counted); err != nil || len(counted.Data) != 1 || counted.Data[0].Value != 2 {
		t.Errorf("the meter counts %s", a.body)
	}
	if n := p.report().NATS.Streams; len(n) > 0 && n[0].Messages != 0 {
		t.Errorf("the stream has %d messages: they did not pass it by", n[0].Messages)
	}
	req := p.request(http.MethodPost, "/api/v1/canaries", "")
	req.Header.Set("Authorization", "Bearer wrong")
	if a := p.send(req); a.status != http.StatusUnauthorized {
		t.Errorf("a wrong key is answered %d %s", a.status, a.body)
	}
}

// The pair really is one: a meter that knows no event again gets the same one four
// times. What it doesn't take is the caller's to know.
func TestCanariesAtAnotherMeter(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got, status := map[string]int{}, http.StatusNoContent
	set := func(s int) {
		mu.Lock()
		defer mu.Unlock()
		status = s
	}
	meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			_, _ = w.Write([]byte("[]"))
			return
		}
		var batch []struct{ ID, Source, Type, Subject string }
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &batch); err != nil {
			t.Errorf("the batch %s: %v", body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, e := range batch {
			if e.Source != verify.Source || e.Type != verify.Type {
				t.Errorf("%+v is no canary", e)
			}
			got[e.ID]++
		}
		w.WriteHeader(status)
	})
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": "om_key"}))
	a := p.send(p.request(http.MethodPost, "/api/v1/canaries", ""))
	var told pair
	if err := json.Unmarshal([]byte(a.body), &told); a.status != http.StatusOK || err != nil {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	mu.Lock()
	if len(got) != told.Distinct || got[told.ID] != 4 {
		t.Errorf("the meter got %v, want %s four times and another", got, told.ID)
	}
	mu.Unlock()
	for s, want := range map[int]int{http.StatusUnauthorized: http.StatusInternalServerError, http.StatusBadGateway: http.StatusServiceUnavailable} {
		set(s)
		a := p.send(p.request(http.MethodPost, "/api/v1/canaries", ""))
		if a.status != want || a.header.Get("Content-Type") != "application/problem+json" || strings.Contains(a.body, "om_key") {
			t.Errorf("a meter that says %d makes %d %s", s, a.status, a.body)
		}
	}
}
