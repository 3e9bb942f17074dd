package app_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

// tenants is a program with two customers: mallory, who has every kind of key, and
// beta, whose things all have a word in them that mallory must never read.
type tenants struct {
	*program
	keys   map[string]string // mallory's and others', by what they are
	victim map[string]string // beta's things, by the name of the parameter that names them
	words  []string          // that are in beta's things and nowhere else

	mu     sync.Mutex
	stripe []string // bodies and paths that reached Stripe
}

const (
	victim   = "beta-zq9x"
	attacker = "mallory"
)

func newTenants(t *testing.T) *tenants {
	t.Helper()
	b := &tenants{keys: map[string]string{}, victim: map[string]string{}, words: []string{"zq9x"}}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.stripe = append(b.stripe, r.URL.String()+" "+string(body))
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"type":"invalid_request_error","message":"no"}}`)
	}))
	t.Cleanup(api.Close)
	b.program = start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{
		"STRIPE_API_KEY": "sk_test_isolation", "STRIPE_API_BASE": api.URL, "BILLING_RETURN_URL": "https://app.example.com/billing",
		"USAGE_ALERT_URL": api.URL + "/alerts", "USAGE_ALERT_SECRET": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	}))
	for _, c := range []string{victim, attacker} {
		b.must("POST", "/v1/customers", apiKey, `{"id":"`+c+`","name":"name of `+c+`","stripe_customer":"cus_`+strings.ReplaceAll(c, "-", "")+`","override":"teams"}`)
	}
	key := func(customer, scopes, more string) (secret, prefix string) {
		var made struct{ Key, Prefix string }
		b.read(b.must("POST", "/v1/keys", apiKey, `{"customer":"`+customer+`","name":"key of `+customer+`","scopes":[`+scopes+`]`+more+`}`), &made)
		return made.Key, made.Prefix
	}
	b.keys["ingest"], _ = key(attacker, `"ingest"`, "")
	b.keys["read"], _ = key(attacker, `"read"`, "")
	b.keys["admin"], _ = key(attacker, `"admin"`, "")
	b.keys["all"], _ = key(attacker, `"ingest","read","admin"`, "")
	var revoked string
	b.keys["revoked"], revoked = key(attacker, `"admin"`, "")
	b.must("DELETE", "/v1/keys/"+revoked, apiKey, "")
	betas, prefix := key(victim, `"ingest","read","admin"`, "")
	b.victim["prefix"], b.victim["customer"] = prefix, victim
	b.words = append(b.words, prefix)

	var founded struct{ ID string }
	b.read(b.must("POST", "/v1/town", betas, `{"citizens":3,"name":"zq9x town"}`), &founded)
	b.victim["town"] = founded.ID
	b.words = append(b.words, founded.ID)
	b.must("POST", "/v1/town/"+founded.ID+"/step?cycles=4", betas, "")
	b.must("POST", "/api/v1/events", betas, `[{"specversion":"1.0","id":"zq9x-1","source":"s","type":"agent.tokens","data":{"tokens":77,"model":"zq9x","agent":"zq9x"}}]`)
	eventually(t, "beta's usage is metered", func() bool {
		return strings.Contains(b.as(apiKey, "GET", "/api/v1/events?id=zq9x-1", "").body, "zq9x-1")
	})
	return b
}

// as sends a request with a key; "" is none.
func (b *tenants) as(key, method, path, body string) answer {
	b.t.Helper()
	req := b.request(method, path, body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Del("Authorization")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return b.send(req)
}

func (b *tenants) must(method, path, key, body string) answer {
	b.t.Helper()
	a := b.as(key, method, path, body)
	if a.status/100 != 2 {
		b.t.Fatalf("%s %s is answered %d %s", method, path, a.status, a.body)
	}
	return a
}

func (b *tenants) read(a answer, out any) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(a.body), out); err != nil {
		b.t.Fatalf("%s: %v", a.body, err)
	}
}

// state is everything of beta's, as the operator sees it.
func (b *tenants) state() string {
	b.t.Helper()
	var all strings.Builder
	for _, path := range []string{
		"/v1/customers/" + victim, "/v1/keys?customer=" + victim, "/v1/town?customer=" + victim, "/v1/town/" + b.victim["town"] + "/metrics?customer=" + victim,
		"/api/v1/events?subject=" + victim + "&limit=100", "/v1/usage?customer=" + victim + "&from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z",
	} {
		a := b.as(apiKey, "GET", path, "")
		fmt.Fprintf(&all, "%s %d %s\n", path, a.status, a.body)
	}
	return moment.ReplaceAllString(all.String(), "")
}

// moment is what changes by itself: when something was looked at or used last.
var moment = regexp.MustCompile(`"(last_used|now|as_of|until|to)":"[^"]*",?`)

// An attempt is one request that tries to get at beta's things. Method and path are the
// operation's.
type attempt struct {
	query string // added
	body  string
}

// attempts are what could be tried with an operation besides its path's parameters,
// which always name beta's things. An operation that isn't here has no way to name a
// customer but its path and ?customer=, which are tried with all of them.
func (b *tenants) attempts() map[string][]attempt {
	events := func(subject string) string {
		return `{"specversion":"1.0","id":"theft-` + subject + `","source":"s","type":"agent.tokens","subject":"` + subject + `","data":{"tokens":1000000}}`
	}
	return map[string][]attempt{
		"ingest-events":      {{body: events(victim)}, {body: "[" + events(attacker) + "," + events(victim) + "]"}, {body: strings.Replace(events(victim), `"s"`, `"stripe"`, 1)}},
		"query-meter":        {{query: "subject=" + victim}, {query: "subject=" + attacker + "&subject=" + victim}, {query: "groupBy=subject"}, {query: "filterGroupBy[subject]=" + victim}, {query: "filterGroupBy%5Bsubject%5D=" + victim}, {query: "groupBy=agent&groupBy=subject"}, {query: "subject%00=" + victim}, {query: "groupBy=agent;subject=" + victim}},
		"list-events":        {{query: "subject=" + victim}, {query: "id=zq9x"}, {query: "subject=" + attacker + "&subject=" + victim}, {query: "clientId=zq9x"}, {query: "id=zq9x;subject=" + victim}},
		"create-customer":    {{body: `{"id":"` + victim + `"}`}, {body: `{"id":"mallory2","stripe_customer":"cus_betazq9x"}`}},
		"update-customer":    {{body: `{"override":"free"}`}, {body: `{"name":"mine"}`}, {body: `{"stripe_customer":"cus_mallory"}`}},
		"create-key":         {{body: `{"customer":"` + victim + `","scopes":["read"]}`}, {body: `{"operator":true,"scopes":["admin"]}`}, {body: `{"customer":"","operator":true,"scopes":["admin"]}`}},
		"list-keys":          {{query: "customer=" + victim}, {query: "operator=true"}, {query: "all=true"}, {query: "all=true&customer=" + victim}},
		"list-near-limits":   {{query: "percent=1"}, {query: "percent=1&customer=" + victim}},
		"rotate-key":         {{body: `{"overlap":"0s"}`}},
		"trace-event":        {{query: "source=" + victim + "%2Fs"}, {query: "since=1h"}},
		"get-history":        {{query: "since=1h"}, {query: "kind=change"}},
		"get-history-series": {{query: "name=kgents_customers"}},
		"list-towns":         {{query: "customer="}, {query: "after=" + victim}, {query: "customer=&after=" + victim + "%2F" + b.victim["town"]}},
		"create-town":        {{query: "customer=" + victim, body: `{"citizens":3,"name":"mine"}`}, {body: `{"citizens":3,"customer":"` + victim + `"}`}},
		"pace-town":          {{body: `{"pace":1}`}},
		"create-checkout":    {{body: `{"customer":"` + victim + `","plan":"pro","interval":"month"}`}},
		"create-portal":      {{body: `{"customer":"` + victim + `"}`}},
	}
}

// Of every operation that the document has, with every kind of key: nobody without a
// good key gets in, no key does what its scopes don't say, and with none of mallory's
// keys something of beta's can be read or changed, whatever names it.
func TestTenantsAreIsolated(t *testing.T) {
	t.Parallel()
	b := newTenants(t)
	before := b.state()
	attempts := b.attempts()
	scope := regexp.MustCompile("scope `([a-z]+)`")
	var raw struct {
		Paths map[string]map[string]struct {
			OperationID, Description string
			Security                 []map[string][]string
			Parameters               []struct{ Name, In string }
		}
	}
	b.read(b.get("/openapi.json"), &raw)
	tried := 0
	for _, path := range slices.Sorted(maps.Keys(raw.Paths)) {
		for verb, op := range raw.Paths[path] {
			if len(op.Security) == 0 {
				continue
			}
			method := strings.ToUpper(verb)
			own, target, query := path, path, url.Values{}
			for _, p := range op.Parameters {
				switch {
				case p.In == "path":
					value, ok := b.names(path, p.Name)
					if !ok {
						t.Errorf("%s %s has the parameter %q: say in names what of beta's it could name", method, path, p.Name)
					}
					target = strings.ReplaceAll(target, "{"+p.Name+"}", value)
					own = strings.ReplaceAll(own, "{"+p.Name+"}", "nothing1")
				case p.In == "query" && p.Name == "customer":
					query.Set("customer", victim)
				}
			}
			for _, key := range []string{"", "kg_aaaaaaaaaa_" + strings.Repeat("a", 32), b.keys["revoked"], b.victim["prefix"]} {
				if a := b.as(key, method, target, ""); a.status != http.StatusUnauthorized {
					t.Errorf("%s %s without a good key is answered %d %s", method, path, a.status, a.body)
				}
				tried++
			}
			if m := scope.FindStringSubmatch(op.Description); m != nil {
				lacks := map[string]string{"ingest": "read", "read": "ingest", "admin": "read"}[m[1]]
				if a := b.as(b.keys[lacks], method, own, cmp.Or(first(attempts[op.OperationID]).body, "{}")); a.status != http.StatusForbidden && a.status != http.StatusBadRequest {
					t.Errorf("%s %s with a key of the scope %s alone is answered %d %s", method, path, lacks, a.status, a.body)
				}
				tried++
			}
			variants := append([]attempt{{query: query.Encode()}, {}, {query: "customer=" + victim}, {query: "customer=" + victim + "&customer=" + attacker}}, attempts[op.OperationID]...)
			for _, kind := range []string{"ingest", "read", "admin", "all"} {
				for _, v := range variants {
					body := v.body
					if body == "" && method != http.MethodGet && method != http.MethodDelete {
						body = "{}"
					}
					at := target
					if v.query != "" {
						at += "?" + v.query
					}
					a := b.as(b.keys[kind], method, at, body)
					tried++
					if a.status == http.StatusTooManyRequests {
						t.Fatal("mallory's rate is used up: what follows would be tried in vain")
					}
					if a.status >= 500 && a.status != http.StatusServiceUnavailable {
						t.Errorf("%s %s with mallory's %s key is answered %d %s", method, at, kind, a.status, a.body)
					}
					if a.status >= 300 {
						continue
					}
					if strings.Contains(path, "{") && !strings.Contains(path, "{slug}") && !strings.Contains(path, "{feature}") {
						t.Errorf("%s %s of beta's is answered %d to mallory's %s key: %s", method, at, a.status, kind, a.body)
					}
					for _, word := range b.words {
						if strings.Contains(a.body, word) {
							t.Errorf("%s %s tells mallory's %s key of beta: %s", method, at, kind, a.body)
						}
					}
				}
			}
		}
	}
	t.Logf("%d requests tried", tried)
	if tried < 500 {
		t.Errorf("only %d requests were tried", tried)
	}
	var after string
	eventually(t, "what is under way is metered", func() bool {
		was := after
		after = b.state()
		return after == was
	})
	if diff := gocmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); diff != "" {
		t.Errorf("beta's things have changed:\n%s", diff)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, request := range b.stripe {
		if strings.Contains(request, "zq9x") {
			t.Errorf("mallory's keys reached Stripe for beta: %s", request)
		}
	}
}

// names is what of beta's a path's parameter could name.
func (b *tenants) names(path, parameter string) (string, bool) {
	switch {
	case strings.HasPrefix(path, "/v1/customers/"):
		return victim, true
	case strings.HasPrefix(path, "/v1/town/") && parameter == "id":
		return b.victim["town"], true
	case strings.HasPrefix(path, "/api/v1/trace/"):
		return "zq9x-1", true
	case parameter == "prefix":
		return b.victim["prefix"], true
	case parameter == "slug":
		return "agent_tokens", true
	case strings.HasPrefix(path, "/v1/town/") && parameter == "name":
		return "Alice", true
	case strings.HasPrefix(path, "/v1/alerts/"), parameter == "seq":
		return "1", true
	}
	return "", false
}

func first(list []attempt) attempt {
	if len(list) == 0 {
		return attempt{}
	}
	return list[0]
}
