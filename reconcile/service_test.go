package reconcile_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/reconcile"
)

// service is one that is closed before the bed goes.
func (b *bed) service() (*reconcile.Service, *prometheus.Registry) {
	reg := prometheus.NewPedanticRegistry()
	s := reconcile.New(b.reconciler(), reg)
	b.Cleanup(s.Close)
	return s, reg
}

// post asks s and returns the status and the body.
func post(t *testing.T, s *reconcile.Service, query string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/reconcile?"+query, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func TestHTTP(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(id string) bool { return id < "evt-000003" }
	b.many(0, 10, 10*time.Minute)
	b.deliver()
	s, reg := b.service()
	for _, step := range []struct {
		query string
		want  reconcile.Counts
		gauge string
	}{
		{"since=1h&settle=0s", reconcile.Counts{InStream: 10, InMeter: 7, Missing: 3}, "3"},
		{"since=1h&settle=0s&fix=true", reconcile.Counts{InStream: 10, InMeter: 10, Missing: 3, Mended: 3}, "0"},
		{"since=1h&settle=0s&fix=false", reconcile.Counts{InStream: 10, InMeter: 10}, "0"},
		{"since=1h", reconcile.Counts{}, "0"}, // what came within the last minute is not looked at
	} {
		status, body := post(t, s, step.query)
		var got reconcile.Report
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d, %v: %s", step.query, status, err, body)
		}
		if diff := cmp.Diff(step.want, got.Total); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.query, diff)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(
			"# HELP kgents_reconcile_missing_events Events that the last complete reconciliation did not find in the meter and did not mend.\n"+
				"# TYPE kgents_reconcile_missing_events gauge\nkgents_reconcile_missing_events "+step.gauge+"\n"), "kgents_reconcile_missing_events"); err != nil {
			t.Errorf("%s: %v", step.query, err)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		values[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
	}
	last := time.Unix(int64(values["kgents_reconcile_last_success_timestamp_seconds"]), 0)
	if values["kgents_reconcile_mended_total"] != 3 || time.Since(last) > time.Minute {
		t.Errorf("metrics: %v", values)
	}
}

func TestHTTPRefuses(t *testing.T) {
	b := newBed(t)
	s, _ := b.service()
	for query, want := range map[string]string{
		"since=yesterday":    "since must be a length of time from 1s to 720h0m0s",
		"since=0s":           "since must be",
		"since=721h":         "since must be",
		"settle=-1s":         "settle must be",
		"since=1m&settle=1m": "must be more than settle",
		"fix=please":         "fix must be true or false",
		"until=now":          "until must be a length of time from 0s to 720h0m0s",
		"until=1h&settle=1h": "give until or settle",
		"since=1h&until=2h":  "must be more than until",
		"since=2025-01-01":   "since must be",
		"fix=true&last=0":    "last must be the sequence",
		"fix=true&most=0":    "most must be",
		"most=1":             "most must be",
		"since=1h&since=2h":  "since is given twice",
		"before=now":         `there is no parameter \"before\"`,
		"since=" + url.QueryEscape(time.Now().Add(-722*time.Hour).Format(time.RFC3339)): "since must be",
		"until=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)):      "until must be",
	} {
		status, body := post(t, s, query)
		if status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s is answered %d: %s", query, status, body)
		}
	}
}

// What a run has found can be sent by a later one, and nothing else: neither what was
// under way then, nor what came later, though it is missing by now.
func TestSendWhatWasFound(t *testing.T) {
	b := newBed(t)
	s, _ := b.service()
	found := func(query string) (r reconcile.Report) {
		t.Helper()
		status, body := post(t, s, query)
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d, %v: %s", query, status, err, body)
		}
		return r
	}
	later := func(r reconcile.Report, most int64) string {
		return url.Values{
			"since": {r.Since.Format(time.RFC3339Nano)}, "until": {r.Until.Format(time.RFC3339Nano)},
			"last": {fmt.Sprint(r.Last)}, "fix": {"true"}, "most": {fmt.Sprint(most)},
		}.Encode()
	}
	lose := func(ids ...string) { // the sinks are through with them, and the meter has none
		for _, id := range ids {
			b.publish(b.event(id, "agent.tokens", "acme", time.Minute, "{}"))
			b.acknowledge(1, true)
		}
	}
	sent := func() (ids []string) {
		b.door.mu.Lock()
		defer b.door.mu.Unlock()
		for id := range b.door.sent {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return ids
	}

	lose("a", "b")
	b.publish(b.event("under way", "agent.tokens", "acme", time.Minute, "{}"))
	first := found("since=1h&settle=0s")
	if first.Total.Missing != 2 || first.InFlight != 1 || first.Last != 2 {
		t.Fatalf("found %+v", first)
	}
	b.acknowledge(1, true)
	lose("came later")

	// More than was said: none is sent.
	if status, body := post(t, s, later(first, 1)); status != http.StatusConflict || !strings.Contains(body, "2 events or more are missing, and 1 may be sent again: 0 were") {
		t.Errorf("answered %d: %s", status, body)
	}
	if d := cmp.Diff([]string(nil), sent()); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	// One was counted meanwhile: the other alone is sent.
	b.ingest(b.event("a", "agent.tokens", "acme", time.Minute, "{}"))
	if d := cmp.Diff(reconcile.Counts{InStream: 2, InMeter: 2, Missing: 1, Mended: 1}, found(later(first, 2)).Total); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"b"}, sent()); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
	if left := found("since=1h&settle=0s"); left.Total.Missing != 2 || left.Last != 4 {
		t.Errorf("left %+v", left)
	}
	// The same again sends nothing.
	if d := cmp.Diff(reconcile.Counts{InStream: 2, InMeter: 2}, found(later(first, 2)).Total); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	// What was found of 30 days can be sent a while later.
	old := first
	old.Since = time.Now().Add(-reconcile.MaxPeriod - 10*time.Minute)
	found(later(old, 2))
}

// A run of several windows stops at what it may send.
func TestSendNoMoreThanThat(t *testing.T) {
	b := newBed(t)
	b.many(0, 1_000, 10*time.Minute)
	b.acknowledge(10, true)
	c := b.reconciler()
	c.MaxIdentities = 300
	o := reconcile.Options{Since: time.Now().Add(-time.Hour), Until: time.Now(), Fix: true, Most: 650}
	r, err := reconcile.Run(t.Context(), c, o)
	if kgents.ErrorCode(err) != kgents.CodeConflict || !strings.Contains(fmt.Sprint(err), "900 events or more are missing, and 650 may be sent again: 600 were") {
		t.Errorf("the error is %v", err)
	}
	if r.Total.Mended != 600 || r.Total.Missing != 900 {
		t.Errorf("%+v", r.Total)
	}
}

// One run at a time: a second is told so. A run ends when the service closes.
func TestOneAtATime(t *testing.T) {
	b := newBed(t)
	b.many(0, 10, time.Minute)
	b.deliver()
	asked, release := make(chan struct{}), make(chan struct{})
	door := b.door.meter
	b.door.meter = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
			<-release
		default:
		}
		door.ServeHTTP(w, r)
	})
	s, _ := b.service()
	ended := make(chan error, 1)
	o := reconcile.Options{Since: time.Now().Add(-time.Hour), Until: time.Now()}
	go func() {
		_, err := s.Run(t.Context(), o)
		ended <- err
	}()
	<-asked
	if status, body := post(t, s, ""); status != http.StatusConflict || !strings.Contains(body, "under way") {
		t.Errorf("a second run is answered %d: %s", status, body)
	}
	if _, err := s.Run(t.Context(), o); kgents.ErrorCode(err) != kgents.CodeConflict {
		t.Errorf("a second run: %v", err)
	}
	s.Close()
	close(release)
	if err := <-ended; err == nil {
		t.Error("the run went on after Close")
	}
	if status, _ := post(t, s, ""); status != http.StatusServiceUnavailable {
		t.Errorf("after Close a run is answered %d", status)
	}
}

// Missing events are mended without anybody asking.
func TestSchedule(t *testing.T) {
	b := newBed(t)
	b.door.forget = func(id string) bool { return id == "evt-000004" }
	b.many(0, 10, time.Minute)
	b.deliver()
	s, reg := b.service()
	s.Schedule(50*time.Millisecond, 0)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		b.door.mu.Lock()
		times := b.door.sent["evt-000004"]
		b.door.mu.Unlock()
		if n, err := testutil.GatherAndCount(reg); times == 2 && n == 3 && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("after 30 s not mended")
		}
	}
	s.Close()
	if got := b.run(true, nil); !got.Clean() {
		t.Errorf("after the schedule's run: %+v", got.Total)
	}
}

// A run may take longer than the server gives other requests.
func TestLongerThanTheServersTimeouts(t *testing.T) {
	b := newBed(t)
	b.many(0, 10, time.Minute)
	b.deliver()
	door := b.door.meter
	b.door.meter = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(300 * time.Millisecond)
		door.ServeHTTP(w, r)
	})
	s, _ := b.service()
	web := httptest.NewUnstartedServer(s)
	web.Config.ReadTimeout, web.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	web.Start()
	t.Cleanup(web.Close)
	resp, err := web.Client().Post(web.URL+"?settle=0s", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"in_meter":10`) {
		t.Errorf("answered %d, %v: %s", resp.StatusCode, err, body)
	}
}
