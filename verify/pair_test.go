package verify_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/verify"
)

// Of the batches one event is there four times, in a batch with itself too, and
// another comes last.
func TestPair(t *testing.T) {
	var ids [][]string
	distinct := map[string]bool{}
	for _, batch := range verify.Pair("1", "s") {
		var events []struct{ SpecVersion, ID, Source, Type, Subject, Time string }
		if err := json.Unmarshal(batch, &events); err != nil {
			t.Fatal(err)
		}
		var these []string
		for _, e := range events {
			if e.SpecVersion != "1.0" || e.Source != verify.Source || e.Type != verify.Type || e.Subject != "s" || e.Time == "" {
				t.Errorf("%+v is no canary", e)
			}
			these = append(these, e.ID)
			distinct[e.ID] = true
		}
		ids = append(ids, these)
	}
	if diff := cmp.Diff([][]string{{"1"}, {"1"}, {"1", "1"}, {"1-last"}}, ids); diff != "" {
		t.Errorf("ids, -want +got:\n%s", diff)
	}
	if len(distinct) != verify.Distinct {
		t.Errorf("%d distinct events, Distinct is %d", len(distinct), verify.Distinct)
	}
}

// The API is reached by the client that is given, the meter behind it too.
func TestGivenClient(t *testing.T) {
	f := newFake(t)
	client := f.Client()
	paths := &counting{next: client.Transport}
	client.Transport = paths
	r, err := verify.Run(t.Context(), verify.Target{URL: f.URL, Key: key, HTTP: client}, func(verify.Stage) {})
	if err != nil || !r.OK() {
		t.Fatalf("%+v %v", r, err)
	}
	for _, path := range []string{"/api/v1/events", "/api/v1/meters/canaries/query"} {
		if paths.n[path] == 0 {
			t.Errorf("%s was asked past the client: %v", path, paths.n)
		}
	}
}

// counting counts requests by path; verify makes one at a time.
type counting struct {
	next http.RoundTripper
	n    map[string]int
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[r.URL.Path]++
	return c.next.RoundTrip(r)
}
