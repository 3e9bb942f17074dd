package town_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
	"github.com/kgents/kgents/town"
)

// The meters count what the town says that it has spent: by model and citizen, by
// town and operation, for the customer, and once however often it is sent.
func TestMeters(t *testing.T) {
	s, err := local.Open(t.Context(), local.Config{
		Path: filepath.Join(t.TempDir(), "meter.db"), Meters: local.DefaultMeters(),
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	tw := found(t, 7, 5)
	d := &fixed{dec: town.Decision{Choice: 0, Model: "large-2", In: 301, Out: 2}}
	byAgent, byOperation := map[string]float64{}, map[string]float64{}
	var raw [][]byte
	for step := range 4 * 10 {
		decider := town.Decider(nil)
		if step%2 == 1 {
			decider = d
		}
		for _, e := range tw.Step(t.Context(), founded.Add(time.Duration(step)*time.Minute), decider, nil) {
			if e.Tokens > 0 {
				byOperation["the-town/"+e.Operation]++
			}
			for _, share := range e.Shares {
				byAgent[share.Model+"/"+share.Citizen] += float64(share.In + share.Out)
			}
			for _, u := range e.Usage("acme") {
				raw = append(raw, u.Raw)
			}
		}
	}
	body := append(append([]byte("["), bytes.Join(raw, []byte(","))...), ']')
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/events", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/cloudevents-batch+json")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusNoContent {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	query := func(slug, first, second string) map[string]float64 {
		t.Helper()
		got, err := s.Query(t.Context(), meter.Query{
			Meter: slug, From: founded, To: founded.Add(time.Hour), Subjects: []string{"acme"}, GroupBy: []string{first, second},
		})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]float64{}
		for _, row := range got.Data {
			out[*row.GroupBy[first]+"/"+*row.GroupBy[second]] = row.Value
		}
		return out
	}
	if diff := cmp.Diff(byAgent, query("agent_tokens", "model", "agent")); diff != "" {
		t.Errorf("tokens (-town +meter):\n%s", diff)
	}
	if diff := cmp.Diff(byOperation, query("town_interactions", "town", "operation")); diff != "" {
		t.Errorf("interactions (-town +meter):\n%s", diff)
	}
}
