package reconcile_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
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
		"until=now":          `there is no parameter \"until\"`,
	} {
		status, body := post(t, s, query)
		if status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s is answered %d: %s", query, status, body)
		}
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
