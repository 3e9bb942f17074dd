package receive_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// ring is a keyring whose keys are "kg_<customer>_<scopes>_<number>"; "-" is the
// operator. It can't tell about "kg_unsure".
type ring struct{}

func (ring) Find(token string) (kgents.Principal, error) {
	part := strings.Split(token, "_")
	switch {
	case token == "kg_unsure":
		return kgents.Principal{}, kgents.Unavailable(2*time.Second, "can't be told", nil)
	case len(part) != 4 || part[0] != "kg":
		return kgents.Principal{}, kgents.Errorf(kgents.CodeUnauthorized, "this API key is not known")
	}
	p := kgents.Principal{Key: part[1] + part[3], Customer: strings.TrimPrefix(part[1], "-")}
	for scope := range strings.SplitSeq(part[2], "+") {
		p.Scopes = append(p.Scopes, kgents.Scope(scope))
	}
	return p, nil
}

// ringEdge is an edge with one operator's key and a ring.
func ringEdge(a *admitter, limit receive.RateLimit) (http.Handler, *prometheus.Registry, *journal) {
	mux, reg, log := http.NewServeMux(), prometheus.NewRegistry(), &journal{}
	e := receive.New(receive.Config{
		Admitter: a, Keys: receive.NewKeys([]string{key}).With(ring{}), RateLimit: limit, Log: slog.New(slog.NewTextHandler(log, nil)), Registerer: reg,
	})
	e.Register(mux)
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(receive.Caller(r.Context()))
	})
	mux.Handle("/who", e.Authenticate(who))
	mux.Handle("/operators", e.Authenticate(receive.RequireOperator(who)))
	return mux, reg, log
}

func TestCaller(t *testing.T) {
	h, _, _ := ringEdge(&admitter{}, receive.RateLimit{})
	for _, test := range []struct {
		key, method, path string
		status            int
		want              kgents.Principal
	}{
		{key, "GET", "/who", 200, kgents.Principal{Key: "API_KEYS 1", Scopes: kgents.Scopes()}},
		{"kg_acme_read_1", "GET", "/who", 200, kgents.Principal{Key: "acme1", Customer: "acme", Scopes: []kgents.Scope{"read"}}},
		{"kg_unsure", "GET", "/who", 503, kgents.Principal{}},
		{"kg_nobody", "GET", "/who", 401, kgents.Principal{}},
		{key, "DELETE", "/operators", 200, kgents.Principal{Key: "API_KEYS 1", Scopes: kgents.Scopes()}},
		{"kg_-_read_1", "GET", "/operators", 200, kgents.Principal{Key: "-1", Scopes: []kgents.Scope{"read"}}},
		{"kg_-_read_1", "POST", "/operators", 403, kgents.Principal{}},
		{"kg_-_read+ingest_1", "POST", "/operators", 403, kgents.Principal{}},
		{"kg_-_admin_1", "POST", "/operators", 200, kgents.Principal{Key: "-1", Scopes: []kgents.Scope{"admin"}}},
		{"kg_acme_admin_1", "GET", "/operators", 403, kgents.Principal{}},
		{"kg_acme_admin_1", "POST", "/operators", 403, kgents.Principal{}},
	} {
		res := ask(h, bearer(httptest.NewRequest(test.method, test.path, nil), test.key))
		if res.StatusCode != test.status {
			t.Errorf("%s %s with %s is answered %s, want %d", test.method, test.path, test.key, res.Status, test.status)
			continue
		}
		if test.status != 200 {
			wantProblem(t, res, test.status)
			continue
		}
		var got kgents.Principal
		if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.key, diff)
		}
	}
}

// TestSubjectOfTheKey: an event counts for the customer of the key that sends it.
func TestSubjectOfTheKey(t *testing.T) {
	event := func(id, rest string) string {
		return `{"specversion":"1.0","id":"` + id + `","source":"agent","type":"t"` + rest + `}`
	}
	const at = `,"time":"2026-11-23T09:30:00Z"`
	for _, test := range []struct {
		name, key, body string
		status          int
		subjects        []string // of what was admitted
		named           []string // the pointers of a refusal
	}{
		{"its own", "kg_acme_ingest_1", event("1", `,"subject":"acme"`+at), 204, []string{"acme"}, nil},
		{"none", "kg_acme_ingest_1", event("1", at), 204, []string{"acme"}, nil},
		{"null", "kg_acme_ingest_1", event("1", `,"subject":null`+at), 204, []string{"acme"}, nil},
		{"neither subject nor time", "kg_acme_ingest_1", event("1", ""), 204, []string{"acme"}, nil},
		{"both null", "kg_acme_ingest_1", event("1", `,"time":null,"subject": null ,"data":{"n":1}`), 204, []string{"acme"}, nil},
		{"both null, the other way", "kg_acme_ingest_1", event("1", `,"subject":null,"time":null`), 204, []string{"acme"}, nil},
		{"a null and a missing one", "kg_acme_ingest_1", event("1", `,"subject":null,"data":{}`), 204, []string{"acme"}, nil},
		{"a batch with and without", "kg_acme_ingest_1", "[" + event("1", at) + "," + event("2", `,"subject":"acme"`+at) + "]", 204, []string{"acme", "acme"}, nil},
		{"another's", "kg_acme_ingest_1", event("1", `,"subject":"other"`+at), 403, nil, []string{"/subject"}},
		{"another's in capitals", "kg_acme_ingest_1", event("1", `,"subject":"ACME"`+at), 403, nil, []string{"/subject"}},
		{"another's, escaped", "kg_acme_ingest_1", event("1", `,"sub\u006aect":"other"`+at), 403, nil, []string{"/subject"}},
		{"its own, escaped", "kg_acme_ingest_1", event("1", `,"sub\u006aect":"acm\u0065"`+at), 204, []string{"acme"}, nil},
		{"some of a batch another's", "kg_acme_ingest_1", "[" + event("1", `,"subject":"other"`) + "," + event("2", "") + "," + event("3", `,"subject":"x"`) + "]", 403, nil, []string{"/0/subject", "/2/subject"}},
		{"two subjects", "kg_acme_ingest_1", event("1", `,"subject":"acme","subject":"other"`), 400, nil, []string{"/subject"}},
		{"a subject in capitals beside", "kg_acme_ingest_1", event("1", `,"subject":"acme","Subject":"other"`), 400, nil, []string{"/Subject"}},
		{"a subject with a long s", "kg_acme_ingest_1", event("1", `,"ſubject":"other"`), 400, nil, []string{"/ſubject"}},
		{"a subject in capitals", key, event("1", `,"subject":"acme","SUBJECT":"other"`), 400, nil, []string{"/SUBJECT"}},
		{"no string", "kg_acme_ingest_1", event("1", `,"subject":7`), 400, nil, []string{"/subject"}},
		{"an empty one", "kg_acme_ingest_1", event("1", `,"subject":""`), 400, nil, []string{"/subject"}},
		{"the operator's for anybody", key, event("1", `,"subject":"other"`+at), 204, []string{"other"}, nil},
		{"the operator's for nobody", key, event("1", at), 400, nil, []string{"/subject"}},
		{"the operator's for null", key, event("1", `,"subject":null`+at), 400, nil, []string{"/subject"}},
		{"another key of the operator's", "kg_-_ingest_1", event("1", `,"subject":"other"`+at), 204, []string{"other"}, nil},
		{"admin implies ingest", "kg_acme_admin_1", event("1", ""), 204, []string{"acme"}, nil},
		{"read doesn't", "kg_acme_read_1", event("1", ""), 403, nil, nil},
		{"nobody's", "kg_nobody", event("1", ""), 401, nil, nil},
		{"who can't be told", "kg_unsure", event("1", ""), 503, nil, nil},
		{"a town's", "kg_acme_ingest_1", strings.Replace(event("1", ""), `"agent"`, `"`+kgents.SourceTown+`"`, 1), 400, nil, []string{""}},
		{"Stripe's", "kg_acme_ingest_1", strings.Replace(event("1", ""), `"agent"`, `"stripe"`, 1), 400, nil, []string{""}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := &admitter{}
			h, _, log := ringEdge(a, receive.RateLimit{})
			res := ask(h, bearer(post("application/json", strings.NewReader(test.body)), test.key))
			if res.StatusCode != test.status {
				b, _ := io.ReadAll(res.Body)
				t.Fatalf("answered %s %s, want %d", res.Status, b, test.status)
			}
			var subjects []string
			for _, e := range a.got {
				subjects = append(subjects, e.Subject)
				// What travels says the same.
				var raw struct {
					Subject, Source string
					Time            time.Time
				}
				if err := json.Unmarshal(e.Raw, &raw); err != nil || raw.Subject != e.Subject || raw.Source != e.Source || !raw.Time.Equal(e.Time) || e.Time.IsZero() {
					t.Errorf("travels as %s (%v), for %q of %q at %s", e.Raw, err, e.Subject, e.Source, e.Time)
				}
			}
			if diff := cmp.Diff(test.subjects, subjects); diff != "" {
				t.Errorf("admitted for (-want +got):\n%s", diff)
			}
			if test.status == 204 {
				return
			}
			var problem struct{ Errors []struct{ Pointer string } }
			if err := json.NewDecoder(res.Body).Decode(&problem); err != nil {
				t.Fatal(err)
			}
			var named []string
			for _, e := range problem.Errors {
				named = append(named, e.Pointer)
			}
			if diff := cmp.Diff(test.named, named); diff != "" {
				t.Errorf("named (-want +got):\n%s", diff)
			}
			if strings.Contains(log.String(), test.key) {
				t.Errorf("the log shows a key: %s", log)
			}
		})
	}
}

// TestSourceOfTheKey: equal ids of equal sources are other events if other customers
// send them; what one customer sends again, with whichever key, is the same.
func TestSourceOfTheKey(t *testing.T) {
	event := func(source string) string {
		return `{"specversion":"1.0","id":"1","source":"` + source + `","type":"t","subject":null}`
	}
	long := strings.Repeat("a", kgents.MaxSourceBytes)
	for _, test := range []struct {
		key, source string
		want        string // "" is a refusal
	}{
		{"kg_acme_ingest_1", "agent", "acme/agent"},
		{"kg_acme_admin_2", "agent", "acme/agent"},
		{"kg_other_ingest_1", "agent", "other/agent"},
		{"kg_acme_ingest_1", "acme/agent", "acme/agent"},
		{"kg_acme_ingest_1", "acme", "acme/acme"},
		{"kg_acme_ingest_1", "other/agent", "acme/other/agent"},
		{"kg_acme_ingest_1", "ac\u006de/agent", "acme/agent"},
		{"kg_acme_ingest_1", "https://example.com/agents?a=b", "acme/https://example.com/agents?a=b"},
		{"kg_acme_ingest_1", "/", "acme//"},
		{"kg_acme_ingest_1", "../other/agent", "acme/../other/agent"},
		{"kg_acme_ingest_1", long[5:], "acme/" + long[5:]},
		{"kg_acme_ingest_1", long[4:], ""},
		{"kg_acme_ingest_1", "stripe", ""},
		{"kg_acme_ingest_1", kgents.SourceTown, ""},
	} {
		a := &admitter{}
		h, _, _ := ringEdge(a, receive.RateLimit{})
		res := ask(h, bearer(post("application/json", strings.NewReader(event(test.source)+" ")), test.key))
		if test.want == "" {
			wantProblem(t, res, 400)
			continue
		}
		if res.StatusCode != 204 || len(a.got) != 1 {
			t.Errorf("%.20s is answered %s", test.source, res.Status)
			continue
		}
		var raw struct{ Source string }
		if err := json.Unmarshal(a.got[0].Raw, &raw); err != nil || a.got[0].Source != test.want || raw.Source != test.want {
			t.Errorf("%.20s with %s becomes %q, in %s, want %q", test.source, test.key, a.got[0].Source, a.got[0].Raw, test.want)
		}
	}
	a := &admitter{}
	h, _, _ := ringEdge(a, receive.RateLimit{})
	batch := "[" + event("x") + "," + event("x") + "," + event("y") + "," + event("x") + "]"
	ask(h, bearer(post("application/json", strings.NewReader(batch)), "kg_acme_ingest_1"))
	if diff := cmp.Diff([]string{"acme/x 1", "acme/x 1", "acme/y 1", "acme/x 1"}, a.identities()); diff != "" {
		t.Errorf("a batch (-want +got):\n%s", diff)
	}
}

// TestManyStrangers: of a refusal with very many events, the first hundred are named.
func TestManyStrangers(t *testing.T) {
	h, _, _ := ringEdge(&admitter{}, receive.RateLimit{})
	var all []string
	for i := range 250 {
		all = append(all, fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"a","type":"t","subject":"other"}`, i))
	}
	res := ask(h, bearer(post("application/json", strings.NewReader("["+strings.Join(all, ",")+"]")), "kg_acme_ingest_1"))
	var problem struct {
		Detail string
		Errors []struct{ Index int }
	}
	if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || res.StatusCode != 403 || len(problem.Errors) != 100 || !strings.Contains(problem.Detail, "250 of 250") {
		t.Errorf("answered %s %+v (%v)", res.Status, problem, err)
	}
}

// TestRateLimitOfCustomers: all keys of a customer have one limit together, another
// customer and the operator's keys have theirs, and the metric has no customer's name.
func TestRateLimitOfCustomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, reg, _ := ringEdge(&admitter{}, receive.RateLimit{PerSecond: 10, Burst: 2})
		get := func(key string) int { return ask(h, bearer(httptest.NewRequest("GET", "/who", nil), key)).StatusCode }
		var got []int
		for _, key := range []string{"kg_acme_read_1", "kg_acme_admin_2", "kg_acme_read_1", "kg_acme_read_3", "kg_other_read_1", "kg_-_read_1", "kg_-_read_1", "kg_-_read_1", "kg_-_read_2", key} {
			got = append(got, get(key))
		}
		if diff := cmp.Diff([]int{200, 200, 429, 429, 200, 200, 200, 429, 200, 200}, got); diff != "" {
			t.Errorf("answered (-want +got):\n%s", diff)
		}
		want := `
# HELP kgents_api_rate_limited_total Requests answered 429 because their API key sends more often than API_RATE_LIMIT, by the key's position in API_KEYS.
# TYPE kgents_api_rate_limited_total counter
kgents_api_rate_limited_total{key="1"} 0
kgents_api_rate_limited_total{key="customer"} 2
kgents_api_rate_limited_total{key="operator"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kgents_api_rate_limited_total"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if status := get("kg_acme_read_1"); status != 200 {
			t.Errorf("a second later acme is answered %d", status)
		}
	})
}

// TestSendersAreBounded: nothing is kept of unknown keys, and of known ones a bounded
// number. Past it those who are idle are forgotten, else the rest share one limit.
func TestSendersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := receive.NewKeys(nil).With(ring{})
		e := receive.New(receive.Config{
			Admitter: &admitter{}, Keys: keys, RateLimit: receive.RateLimit{PerSecond: 1, Burst: 1}, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		h := e.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		req := httptest.NewRequest("GET", "/", nil)
		get := func(key string) int {
			req.Header.Set("Authorization", "Bearer "+key)
			w := silent{header: http.Header{}, status: 200}
			h.ServeHTTP(&w, req)
			return w.status
		}
		for i := range 1000 {
			get(fmt.Sprint("kg_stranger", i))
			get(fmt.Sprintf("%d_read_1", i))
		}
		if n := e.Senders(); n != 0 {
			t.Errorf("of strangers %d senders are kept", n)
		}
		for i := range receive.MaxSenders + 100 {
			get(fmt.Sprintf("kg_c%d_read_1", i))
		}
		if n := e.Senders(); n != receive.MaxSenders {
			t.Errorf("%d senders, want %d", n, receive.MaxSenders)
		}
		if first, second := get("kg_late1_read_1"), get("kg_late2_read_1"); first != 429 || second != 429 {
			t.Errorf("those who are too many are answered %d and %d", first, second)
		}
		time.Sleep(2 * time.Minute)
		if status := get("kg_late1_read_1"); status != 200 || e.Senders() != 1 {
			t.Errorf("later one is answered %d, and there are %d senders", status, e.Senders())
		}
	})
}

// BenchmarkCustomersKey is what a customer's key adds to an operator's.
func BenchmarkCustomersKey(b *testing.B) {
	h, _, _ := ringEdge(&admitter{}, receive.RateLimit{PerSecond: 1_000_000, Burst: 1_000_000_000})
	for name, key := range map[string]string{"operator": key, "customer": "kg_acme_read_1"} {
		b.Run(name, func(b *testing.B) {
			req := bearer(httptest.NewRequest(http.MethodGet, "/operators", nil), key)
			b.ReportAllocs()
			w := silent{header: http.Header{}}
			for b.Loop() {
				h.ServeHTTP(&w, req)
			}
		})
	}
}
