package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/trace"
)

func (p *program) history(query string) (a history.Answer) {
	p.t.Helper()
	got := p.get(history.Path + query)
	if err := json.Unmarshal([]byte(got.body), &a); got.status != http.StatusOK || err != nil {
		p.t.Fatalf("%s%s answers %d %s (%v)", history.Path, query, got.status, got.body, err)
	}
	return a
}

// What happened is told by the program, also after a restart.
func TestHistory(t *testing.T) {
	t.Parallel()
	c := settings(t, config.RoleUp, nil)
	p := start(t, config.RoleUp, c)
	if a := p.send(p.request(http.MethodPost, "/v1/customers", `{"id":"acme"}`)); a.status != http.StatusCreated {
		t.Fatalf("a customer is answered with %d %s", a.status, a.body)
	}
	p.stop()
	p = start(t, config.RoleUp, c)
	var kinds []history.Kind
	eventually(t, "both starts are there", func() bool {
		kinds = nil
		for _, e := range p.history("?since=1h").Entries {
			if e.Kind != history.Health {
				kinds = append(kinds, e.Kind)
			}
		}
		return len(kinds) >= 4
	})
	if want := []history.Kind{history.Start, history.Stop, history.Change, history.Start}; !slices.Equal(kinds, want) {
		t.Errorf("the entries are of the kinds %v, want %v", kinds, want)
	}
	if a := p.history("?kind=stop"); len(a.Entries) != 1 || !strings.HasPrefix(a.Entries[0].Replica, "up/") || a.KeptSince.IsZero() || a.Partial {
		t.Errorf("the stop is %+v", a)
	}
}

// The roles' history is one, and each has its own series.
func TestHistoryOfEachRole(t *testing.T) {
	t.Parallel()
	nats := natsServer(t, true)
	env := map[string]string{"NATS_SERVERS": "nats://" + nats, "OPENMETER_BASE_URL": "http://127.0.0.1:1"}
	api := start(t, config.RoleAPI, settings(t, config.RoleAPI, env))
	sink := start(t, config.RoleSink, settings(t, config.RoleSink, env))
	for _, p := range []*program{api, sink} {
		eventually(t, "both starts are there", func() bool { return len(p.history("?kind=start").Entries) == 2 })
		var s history.SeriesAnswer
		a := p.get(history.SeriesPath + "?name=kgents_nats_connected&name=go_goroutines")
		if err := json.Unmarshal([]byte(a.body), &s); err != nil || len(s.Series) != 2 || len(s.Series[0].Points) == 0 {
			t.Errorf("the series are %d %s", a.status, a.body)
		}
	}
}

// Every figure is of a metric that some role has.
func TestFiguresAreMetrics(t *testing.T) {
	t.Parallel()
	all := described(t, start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"REDIS_URL": "redis://127.0.0.1:1"})).Registry())
	for _, f := range history.Figures() {
		m, ok := all[f.Metric()]
		if !ok {
			t.Errorf("%s is kept and is no metric", f.Name)
		}
		for _, label := range []string{"code", "result", "stream", "class"} {
			if strings.Contains(f.Name, "{"+label+"=") && !strings.Contains(m.labels, label) {
				t.Errorf("%s has no label %s", f.Name, label)
			}
		}
	}
}

// What an operator's key changes is noted, with who asked for it in whose name, and
// without a secret. What it looks at or sends isn't, nor what a customer's key does.
func TestAudit(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	ask := func(key, method, path, body, observer, expression string) answer {
		req := p.request(method, path, body)
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		if observer != "" {
			req.Header["X-Kgents-Observer"], req.Header["X-Kgents-Expression"] = []string{observer}, []string{expression}
		}
		return p.send(req)
	}
	ask(apiKey, "POST", "/v1/customers", `{"id":"acme"}`, "architect", "world.customer.create[\"acme\"]"+strings.Repeat("x", 400))
	var made struct{ Key, Prefix string }
	a := ask(apiKey, "POST", "/v1/keys", `{"customer":"acme","name":"hidden words","scopes":["ingest","read"]}`, strings.Repeat("o", 40)+"\tnever", "")
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || made.Key == "" {
		t.Fatalf("a key is answered with %d %s", a.status, a.body)
	}
	ask(apiKey, "PATCH", "/v1/customers/acme", `{"name":"Acme"}`, "", "")
	ask(apiKey, "GET", "/v1/customers/acme?", "", "architect", "world.customer.manifest")
	ask(apiKey, "PATCH", "/v1/customers/nobody", `{"name":"Nobody"}`, "", "")
	ask(made.Key, "POST", "/v1/town", `{"citizens":3}`, "poet", "world.town.create")
	ask(apiKey, "POST", "/api/v1/events", `{"specversion":"1.0","id":"1","source":"s","type":"town.interaction","subject":"acme","data":{"town":"x","operation":"greet"}}`, "", "")
	ask("kg_nobody", "DELETE", "/v1/customers/acme", "", "", "")
	ask(apiKey, "POST", "/api/v1/reconcile?since=10m&settle=1s", "", "architect", "world.openmeter.reconciliation.manifest[since=10m]")
	ask(apiKey, "POST", "/api/v1/reconcile?since=10m&settle=1s&fix=true", "", "architect", "world.openmeter.reconciliation.refine")

	entries := p.history("?kind=change").Entries
	var got []string
	for _, e := range entries {
		got = append(got, e.What+" | "+e.Who)
	}
	want := []string{"POST /api/v1/reconcile | API_KEYS 1", "PATCH /v1/customers/acme | API_KEYS 1", "POST /v1/keys | API_KEYS 1", "POST /v1/customers | API_KEYS 1"}
	if !slices.Equal(got, want) {
		t.Fatalf("the changes are %q, want %q", got, want)
	}
	for i, detail := range []string{"OK (200), as architect, world.openmeter.reconciliation.refine", "OK (200), for acme", "Created (201), as " + strings.Repeat("o", 32), "Created (201), as architect, world.customer.create[\"acme\"]xxx"} {
		if !strings.HasPrefix(entries[i].Detail, detail) || len(entries[i].Detail) > 400 {
			t.Errorf("the detail of %s is %q, want %q", got[i], entries[i].Detail, detail)
		}
	}
	var lines []string
	for line := range strings.Lines(p.log.String()) {
		if strings.Contains(line, "msg=audit") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 5 { // the one that was refused too
		t.Fatalf("the log has\n%s", strings.Join(lines, ""))
	}
	for i, words := range [][]string{
		{"method=POST", `route="POST /v1/customers"`, "path=/v1/customers", `key="API_KEYS 1"`, "status=201", "duration=", "observer=architect", `expression="world.customer.create[`},
		{`route="POST /v1/keys"`, "status=201", "observer=" + strings.Repeat("o", 32) + "\n"},
		{"method=PATCH", `route="PATCH /v1/customers/{id}"`, "path=/v1/customers/acme", "customer=acme", "status=200"},
		{"path=/v1/customers/nobody", "status=404"},
		{"path=/api/v1/reconcile", "expression=world.openmeter.reconciliation.refine"},
	} {
		for _, word := range words {
			if !strings.Contains(lines[i], word) {
				t.Errorf("%q lacks %q", lines[i], word)
			}
		}
	}
	all := strings.Join(lines, "") + p.get(history.Path).body
	for _, secret := range []string{apiKey, made.Key, strings.TrimPrefix(made.Key, "kg_"+made.Prefix+"_"), "hidden words", "never\n"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is noted", secret)
		}
	}
	if a := p.send(mustRequest(t, made.Key, p.URL()+history.Path+"?"+url.Values{"kind": {"change"}}.Encode())); a.status != http.StatusForbidden {
		t.Errorf("a customer's key is answered with %d %s", a.status, a.body)
	}
}

func mustRequest(t *testing.T, key, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return req
}

// An event is followed through the running program, by its id alone.
func TestTrace(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	if a := p.send(p.interaction("it-1")); a.status != http.StatusNoContent {
		t.Fatalf("the event is answered with %d %s", a.status, a.body)
	}
	if a := p.send(p.webhook("evt_1", "invoice.paid")); a.status != http.StatusOK {
		t.Fatalf("the webhook is answered with %d %s", a.status, a.body)
	}
	for id, want := range map[string]struct{ source, typ string }{"it-1": {"smallville", "town.interaction"}, "evt_1": {"stripe", ""}} {
		var a trace.Answer
		eventually(t, id+" is metered", func() bool {
			got := p.get("/api/v1/trace/" + id + "?since=1h")
			if err := json.Unmarshal([]byte(got.body), &a); got.status != http.StatusOK || err != nil {
				t.Fatalf("it answers %d %s (%v)", got.status, got.body, err)
			}
			return a.Verdict == trace.IsMetered && a.Events[0].Stages[2].State == trace.Done
		})
		e := a.Events[0]
		if e.Source != want.source || want.typ != "" && e.Type != want.typ || !a.Looked.Whole {
			t.Errorf("%s is %+v", id, a)
		}
		for _, s := range e.Stages[:4] {
			if s.State != trace.Done || s.At.IsZero() && s.Name != trace.Delivered {
				t.Errorf("%s: %s is %s at %v", id, s.Name, s.State, s.At)
			}
		}
	}
}
