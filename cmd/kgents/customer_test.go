package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	root "github.com/kgents/kgents"
	routes "github.com/kgents/kgents/api"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/plan"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
	"github.com/kgents/kgents/subscription"
)

// counter is where customers are made: a server with their routes.
func counter(t *testing.T) *customer.Store {
	t.Helper()
	alone(t)
	t.Setenv("API_KEYS", "the-key")
	js, _ := streamtest.Start(t)
	s := customer.Open(customer.Config{
		JetStream: js, Stream: stream.Config{Name: "events", Replicas: 1}, Catalog: plan.Default,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	t.Cleanup(s.Close)
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	keys := receive.NewKeys([]string{"the-key"}).With(s)
	a := routes.New(mux, "test", func(_ string, next http.Handler) http.Handler { return receive.RequireKey(keys, next) })
	s.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	t.Setenv("KGENTS_URL", web.URL)
	return s
}

// well runs a command line that has to go well.
func well(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := kgents(t, args...)
	if code != 0 {
		t.Fatalf("%q: code %d, stdout %q, stderr %q", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// has checks that text has each of parts.
func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q: %s", what, part, text)
		}
	}
}

func TestCustomerCommands(t *testing.T) {
	s := counter(t)
	out, _ := well(t, "customer", "list")
	has(t, "an empty list", out, "There are no customers")
	if out, _ = well(t, "customer", "list", "--output", "json"); out != "[]\n" {
		t.Errorf("an empty list as JSON: %q", out)
	}
	out, _ = well(t, "customer", "create", "acme", "--name", "Acme Inc.", "--stripe-customer", "cus_1")
	has(t, "create", out, "acme", "Acme Inc.", "free", "none", "cus_1")
	well(t, "customer", "create", "friend", "--plan", "pro")
	out, _ = well(t, "customer", "list")
	has(t, "list", out, "friend", "pro (set)")
	out, stderr := well(t, "customer", "list", "--limit", "1")
	has(t, "a part of the list", stderr, "more than these 1")
	if strings.Contains(out, "friend") {
		t.Errorf("a list of one has %s", out)
	}
	out, _ = well(t, "customer", "list", "--stripe-customer", "cus_1", "--output", "json")
	var list []customer.CustomerView
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 || list[0].ID != "acme" {
		t.Errorf("%v: %s", err, out)
	}

	now := time.Now().Unix()
	err := s.Apply(t.Context(), "cus_1", "", []subscription.Change{{
		ID: "evt_1", Kind: subscription.Created, Type: "customer.subscription.created", Created: now - 60, Subscription: "sub_1",
		Status: subscription.StatusActive, LookupKey: "teams_monthly", Quantity: 1, PeriodStart: now - 60, PeriodEnd: now + 30*24*3600,
	}})
	if err != nil {
		t.Fatal(err)
	}
	out, _ = well(t, "customer", "show", "acme")
	has(t, "show", out, "Acme Inc.", "teams", "active", "sub_1", "Why, event by event:", "evt_1")
	out, _ = well(t, "customer", "show", "acme", "--output", "json")
	var c customer.CustomerView
	if err := json.Unmarshal([]byte(out), &c); err != nil || c.Standing.Plan != "teams" || len(c.Standing.Why) == 0 {
		t.Errorf("%v: %s", err, out)
	}
	out, _ = well(t, "customer", "set", "acme", "--plan", "pro", "--revision", itoa(c.Revision))
	has(t, "set", out, "pro (set)")
	code, out, stderr := kgents(t, "customer", "set", "acme", "--name", "Other", "--revision", itoa(c.Revision))
	wantLine(t, code, out, stderr, "changed since")
	out, _ = well(t, "customer", "set", "acme", "--plan", "none", "--name", "")
	if strings.Contains(out, "Acme") || strings.Contains(out, "(set)") {
		t.Errorf("set to %s", out)
	}
	code, out, stderr = kgents(t, "customer", "delete", "acme", "--yes")
	wantLine(t, code, out, stderr, "has a subscription", "cancel it first")
	out, _ = well(t, "customer", "delete", "acme", "--yes", "--force")
	has(t, "delete", out, "acme is deleted.")
	for line, parts := range map[string][]string{
		"customer show acme":                              {"there is no such customer"},
		"customer show":                                   {"name one customer"},
		"customer show ../keys":                           {"there is no such customer"},
		"customer delete friend":                          {"add --yes"},
		"customer set friend":                             {"say what to change"},
		"customer set friend --plan gold":                 {"names no plan"},
		"customer create friend":                          {"already"},
		"customer create a.b":                             {"letters, digits, - and _"},
		"customer create cus_9":                           {"choose another"},
		"customer list --limit 0":                         {"--limit must be from 1 to 10000"},
		"customer list --output xml":                      {"use table or json"},
		"customer lst":                                    {"did you mean 'list'"},
		"key create --customer friend":                    {"--scope"},
		"key create --customer friend --scope all":        {"scopes"},
		"key create --scope read":                         {"name the customer"},
		"key create --customer x --operator --scope read": {"customer operator"},
		"key create --customer nobody --scope read":       {"no such customer"},
		"key list":                                 {"name the customer"},
		"key revoke aaaaaaaaaa":                    {"no such API key"},
		"key rotate kg_aaaaaaaaaa_hunter2":         {"by its prefix"},
		"key rotate aaaaaaaaaa --overlap tomorrow": {"90m, 24h or 7d"},
	} {
		code, out, stderr := kgents(t, strings.Fields(line)...)
		wantLine(t, code, out, stderr, parts...)
		if strings.Contains(stderr, "hunter2") {
			t.Errorf("%s shows the secret: %s", line, stderr)
		}
	}
	t.Setenv("API_KEYS", "hunter2")
	code, out, stderr = kgents(t, "customer", "list")
	wantLine(t, code, out, stderr, "does not know the API key from the environment (API_KEYS)")
}

func TestKeyCommands(t *testing.T) {
	s := counter(t)
	well(t, "customer", "create", "acme")
	out, stderr := well(t, "key", "create", "--customer", "acme", "--scope", "ingest,read", "--scope", "admin", "--name", "agent", "--expires", "90d")
	admin := strings.TrimSpace(out)
	if p, err := s.Find(admin); err != nil || p.Customer != "acme" || len(p.Scopes) != 3 || out != admin+"\n" {
		t.Errorf("stdout has %q: %+v %v", out, p, err)
	}
	has(t, "what is said beside", stderr, "acme", "ingest,read,admin", "agent", "only time")
	if strings.Contains(stderr, admin) {
		t.Error("stderr has the key")
	}
	// With the customer's own key nobody has to say whose keys are meant.
	t.Setenv("API_KEYS", admin)
	out, _ = well(t, "key", "create", "--scope", "read", "--output", "json")
	var k customer.KeyView
	if err := json.Unmarshal([]byte(out), &k); err != nil || k.Customer != "acme" || k.Key == "" {
		t.Fatalf("%v: %s", err, out)
	}
	out, _ = well(t, "key", "list")
	has(t, "list", out, admin[3:13], k.Prefix, "never")
	if strings.Contains(out, admin[14:]) || strings.Contains(out, k.Key[14:]) {
		t.Error("the list has a secret")
	}
	out, _ = well(t, "key", "rotate", k.Prefix, "--overlap", "1h")
	rotated := strings.TrimSpace(out)
	for _, token := range []string{k.Key, rotated} {
		if _, err := s.Find(token); err != nil {
			t.Errorf("in the overlap: %v", err)
		}
	}
	out, _ = well(t, "key", "revoke", k.Prefix)
	has(t, "revoke", out, k.Prefix+" is revoked.")
	for _, token := range []string{k.Key, rotated} {
		if _, err := s.Find(token); root.ErrorCode(err) != root.CodeUnauthorized {
			t.Errorf("a revoked key: %v", err)
		}
	}
	for line, part := range map[string]string{
		"customer list": "operator's keys only", "customer show other": "another customer", "key list --operator": "operator's keys only",
		"key create --customer other --scope read": "another customer",
	} {
		code, out, stderr := kgents(t, strings.Fields(line)...)
		wantLine(t, code, out, stderr, part)
	}
	out, _ = well(t, "customer", "show", "acme")
	has(t, "show with its own key", out, "acme", "free")
}

func TestPrintCustomers(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	pro := customer.CustomerView{
		ID: "acme", Name: "Acme\x1b[2J Inc.", Stripe: "cus_1", Created: at, Revision: 17,
		Standing: subscription.Standing{
			Plan: "pro", Status: "past_due", Subscription: "sub_1", Quantity: 2, PeriodStart: at, PeriodEnd: at.AddDate(0, 1, 0), GraceEnd: at.AddDate(0, 0, 7),
			Why: []subscription.Step{
				{At: at, Event: "evt_1", Type: "customer.subscription.created", Text: "subscribed to pro"},
				{At: at.Add(time.Hour), Event: "evt_2", Type: "invoice.payment_failed", Text: "a payment failed"},
				{At: at.Add(2 * time.Hour), Text: "so the plan stays until the grace is over"},
			},
		},
	}
	found := customer.CustomerView{ID: "cus_2", Stripe: "cus_2", Found: true, Override: "teams", Created: at, Standing: subscription.Standing{Plan: "teams", Status: "none"}}
	var out bytes.Buffer
	printCustomers(&out, []customer.CustomerView{pro, found})
	golden(t, "customer-list", out.Bytes())
	out.Reset()
	printCustomer(&out, pro)
	golden(t, "customer-show", out.Bytes())
	out.Reset()
	printKeys(&out, []customer.KeyView{
		{Prefix: "k3jq2m5xta", Customer: "acme", Scopes: []root.Scope{"ingest", "read"}, Name: "agent runner", LastUsed: at, Overlap: at.Add(time.Hour)},
		{Prefix: "z234567abc", Operator: true, Scopes: []root.Scope{"admin"}, Expires: at},
	})
	golden(t, "key-list", out.Bytes())
}

func itoa(n uint64) string { b, _ := json.Marshal(n); return string(b) }
