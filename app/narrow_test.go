package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

// as sends a request with another key.
func (p *program) as(key, method, path, body string) answer {
	p.t.Helper()
	req := p.request(method, path, body)
	req.Header.Set("Authorization", "Bearer "+key)
	if strings.HasPrefix(path, "/v1/") {
		req.Header.Set("Content-Type", "application/json")
	}
	return p.send(req)
}

// key makes a customer, if there is none, and a key of it.
func (p *program) key(customer string, scopes ...string) string {
	p.t.Helper()
	eventually(p.t, "customers can be made", func() bool {
		a := p.as(apiKey, http.MethodPost, "/v1/customers", fmt.Sprintf(`{"id":%q,"override":"teams"}`, customer)) // which may ask often
		return a.status == http.StatusCreated || a.status == http.StatusConflict
	})
	body, _ := json.Marshal(map[string]any{"customer": customer, "scopes": scopes})
	a := p.as(apiKey, http.MethodPost, "/v1/keys", string(body))
	var made struct{ Key string }
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != http.StatusCreated {
		p.t.Fatalf("a key of %s is answered %d %s", customer, a.status, a.body)
	}
	return made.Key
}

// TestMeterIsAskedAboutTheCustomer: whatever a customer's key asks, the meter is asked
// about that customer, and of what it answers nothing else gets through.
func TestMeterIsAskedAboutTheCustomer(t *testing.T) {
	var mu sync.Mutex
	var asked []*http.Request
	const listed = `[{"event":{"id":"1","subject":"acme"}},{"event":{"id":"2","subject":"acme-2"}},{"event":{"id":"3","subject":"other","Subject":"acme"}},` +
		`{"event":{"id":"4"}},{"Event":{"subject":"acme"},"event":{"id":"5","subject":"not acme"}},7,{"event":{"id":"6","subject":"acme","data":{"n":1}}}]`
	meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Traceparent") != "" {
			asked = append(asked, r.Clone(t.Context()))
		}
		_, _ = w.Write([]byte(listed))
	})
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": "om_key"}))
	reader, sender := p.key("acme", "read"), p.key("acme", "ingest")
	const query, events = "/api/v1/meters/agent_tokens/query", "/api/v1/events"
	for _, test := range []struct {
		path   string
		status int
		want   url.Values // what the meter gets
	}{
		{query, 200, url.Values{}},
		{query + "?subject=acme", 200, url.Values{}},
		{query + "?subject=acme&subject=acme&from=a&to=b&windowSize=DAY&groupBy=subject&groupBy=model", 200,
			url.Values{"from": {"a"}, "to": {"b"}, "windowSize": {"DAY"}, "groupBy": {"subject", "model"}}},
		{query + "?filterGroupBy[model]=x&filterGroupBy%5Bagent%5D=y", 200, url.Values{"filterGroupBy[model]": {"x"}, "filterGroupBy[agent]": {"y"}}},
		{query + "?subject=other", 403, nil},
		{query + "?subject=acme&subject=other", 403, nil},
		{query + "?subject=acme,other", 403, nil},
		{query + "?subject=acme&sub%6aect=other", 403, nil},
		{query + "?filterGroupBy[subject]=other", 400, nil},
		{query + "?filterGroupBy[model]x=other", 400, nil},
		{query + "?filterCustomerId=other", 400, nil},
		{query + "?Subject=other", 400, nil},
		{query + "?subject[]=other", 400, nil},
		{query + "?subject%00=other", 400, nil},
		{query + "?advancedMeterGroupByFilters=%7B%7D", 400, nil},
		{query + "?from=a;subject=other", 400, nil},
		{query + "?%zz", 400, nil},
		{events, 200, url.Values{}},
		{events + "?id=1&limit=5&from=a", 200, url.Values{"id": {"1"}, "limit": {"5"}, "from": {"a"}}},
		{events + "?subject=other", 403, nil},
		{events + "?customerId=01G65Z755AFWAKHE12NY0CQ9FH", 400, nil},
		{events + "?subject=", 200, url.Values{}},
		{"/api/v1/meters", 200, nil},
		{"/api/v1/meters/agent_tokens", 200, nil},
		{"/api/v1/meters?subject=other", 400, nil},
	} {
		asked = nil
		req := p.request(http.MethodGet, test.path, "")
		req.Header.Set("Authorization", "Bearer "+reader)
		req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		req.Header.Set("X-Customer", "other")
		req.Header.Set("Accept", "text/csv")
		a := p.send(req)
		if a.status != test.status {
			t.Errorf("%s is answered %d %s, want %d", test.path, a.status, a.body, test.status)
			continue
		}
		if test.status != 200 {
			if len(asked) != 0 {
				t.Errorf("%s: the meter was asked for %s", test.path, asked[0].URL)
			}
			continue
		}
		if len(asked) != 1 {
			t.Fatalf("%s: the meter was asked %d times", test.path, len(asked))
		}
		if asked[0].Header.Get("X-Customer") != "" {
			t.Errorf("%s: the meter got headers of the caller's: %v", test.path, asked[0].Header)
		}
		if test.want == nil {
			continue
		}
		test.want.Set("subject", "acme")
		if diff := cmp.Diff(test.want, asked[0].URL.Query()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.path, diff)
		}
		if strings.HasPrefix(test.path, events) && a.body != `[{"event":{"id":"1","subject":"acme"}},{"event":{"id":"6","subject":"acme","data":{"n":1}}}]` {
			t.Errorf("%s is answered %s", test.path, a.body)
		}
	}
	for _, path := range []string{query, events, "/api/v1/meters", "/api/v1/meters/agent_tokens"} {
		wantProblem(t, p.as(sender, http.MethodGet, path, ""), http.StatusForbidden) // it has no scope read
	}
	if a := p.get(events + "?subject=other"); a.status != 200 || a.body != listed {
		t.Errorf("an operator's key is answered %d %s", a.status, a.body)
	}
}

// TestListsThatAreNone: what the meter lists is passed on as far as it is a list.
func TestListsThatAreNone(t *testing.T) {
	var listed atomic.Pointer[string]
	meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		if l := listed.Load(); l != nil && r.Method == http.MethodGet && r.URL.Path == "/api/v1/events" {
			_, _ = w.Write([]byte(*l))
			return
		}
		_, _ = w.Write([]byte("[]"))
	})
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": "om_key"}))
	reader := p.key("acme", "read")
	const mine, others = `{"event":{"subject":"acme"}}`, `{"event":{"subject":"other"}}`
	for list, want := range map[string]string{
		"[]": "[]", " [ ] ": "[]", "[" + others + "]": "[]", "[" + others + "," + mine + "," + others + "," + mine + "]": "[" + mine + "," + mine + "]",
	} {
		listed.Store(&list)
		if a := p.as(reader, http.MethodGet, "/api/v1/events", ""); a.status != 200 || a.body != want {
			t.Errorf("%s becomes %d %s, want %s", list, a.status, a.body, want)
		}
	}
	for _, list := range []string{"", "{}", "null", `"x"`, mine} {
		listed.Store(&list)
		wantProblem(t, p.as(reader, http.MethodGet, "/api/v1/events", ""), http.StatusInternalServerError)
	}
	for _, list := range []string{"[" + mine, "[" + mine + ",{]", "[" + mine + mine} {
		listed.Store(&list)
		req := p.request(http.MethodGet, "/api/v1/events", "")
		req.Header.Set("Authorization", "Bearer "+reader)
		if a, err := do(req); err == nil {
			t.Errorf("%s is answered %d %s, as if it were whole", list, a.status, a.body)
		}
	}
}

// TestCustomersSeeTheirOwn: two customers send and read through the embedded meter, each
// its own alone; what is the operator's is closed to both.
func TestCustomersSeeTheirOwn(t *testing.T) {
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	keys := map[string]string{"acme": p.key("acme", "admin"), "acme-2": p.key("acme-2", "admin")}
	event := func(id, subject string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"agent","type":"town.interaction"%s,"data":{"town":"t","operation":"greet"}}`, id, subject)
	}
	sent := map[string]int{"acme": 3, "acme-2": 5}
	for customer, n := range sent {
		for i := range n {
			if a := p.as(keys[customer], http.MethodPost, "/api/v1/events", event(fmt.Sprint(customer, i), "")); a.status != http.StatusNoContent {
				t.Fatalf("an event is answered %d %s", a.status, a.body)
			}
		}
		other := map[string]string{"acme": "acme-2", "acme-2": "acme"}[customer]
		a := p.as(keys[customer], http.MethodPost, "/api/v1/events", event("x", `,"subject":"`+other+`"`))
		wantProblem(t, a, http.StatusForbidden)
	}
	eventually(t, "the meter has counted all", func() bool { return p.interactions() == 8 })
	for customer, n := range sent {
		var result struct {
			Data []struct {
				Subject *string
				Value   float64
			}
		}
		for _, path := range []string{"", "?groupBy=subject", "?windowSize=MONTH&groupBy=subject&groupBy=operation", "?subject=" + customer} {
			a := p.as(keys[customer], http.MethodGet, "/api/v1/meters/town_interactions/query"+path, "")
			if err := json.Unmarshal([]byte(a.body), &result); err != nil || a.status != 200 || len(result.Data) != 1 || int(result.Data[0].Value) != n {
				t.Errorf("%s asks %q and is answered %d %s", customer, path, a.status, a.body)
			}
		}
		var listed []struct {
			Event struct{ ID, Subject string }
		}
		a := p.as(keys[customer], http.MethodGet, "/api/v1/events", "")
		if err := json.Unmarshal([]byte(a.body), &listed); err != nil || a.status != 200 || len(listed) != n {
			t.Errorf("%s lists %d %s", customer, a.status, a.body)
		}
		for _, one := range listed {
			if one.Event.Subject != customer {
				t.Errorf("%s sees an event of %s", customer, one.Event.Subject)
			}
		}
		for _, route := range []string{
			"GET /api/v1/deadletters", "GET /api/v1/deadletters/1", "DELETE /api/v1/deadletters/1", "POST /api/v1/deadletters/1/replay",
			"POST /api/v1/reconcile", "POST /api/v1/canaries", "GET /api/v1/system",
		} {
			method, path, _ := strings.Cut(route, " ")
			if a := p.as(keys[customer], method, path, ""); a.status != http.StatusForbidden {
				t.Errorf("%s with a customer's key is answered %d %s", route, a.status, a.body)
			}
		}
	}
	for customer, key := range keys {
		if strings.Contains(p.log.String(), key[14:]) {
			t.Errorf("the log shows %s's key", customer)
		}
	}
}
