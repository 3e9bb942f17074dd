package invoice_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/receive"
)

// serve has customer c on a plan of 10 tokens, which used 15 by two agents, one of which
// has a formula for a name; b, which used other things; and payments of c.
func serve(t *testing.T) *httptest.Server {
	t.Helper()
	client := openMeter(t)
	at := utc(2025, 5, 10, 12, 0)
	ingest(t, client, []event{
		{"1.0", "1", "test", "agent.tokens", "c", at, map[string]any{"tokens": 5, "agent": "scout", "model": "m"}},
		{"1.0", "2", "test", "agent.tokens", "c", at.AddDate(0, 0, 1), map[string]any{"tokens": 7, "agent": `=cmd|"/c calc"!A1`, "model": "m"}},
		{"1.0", "3", "test", "agent.tokens", "c", at.AddDate(0, 0, 1), map[string]any{"tokens": 3.5, "model": "m"}},
		{"1.0", "4", "test", "api.request", "c", at, map[string]any{"route": "/r"}},
		{"1.0", "5", "test", "agent.tokens", "b", at, map[string]any{"tokens": 1000, "agent": "b's", "model": "m"}},
		{"1.0", "6", "test", "payment.success", "c", at, map[string]any{"amount": 1900, "currency": "usd"}},
		{"1.0", "7", "test", "payment.success", "c", at, map[string]any{"amount": 500, "currency": "jpy"}},
	})
	account := func(id string) invoice.Account {
		price := kgents.Price{Interval: "month", Amount: 1900}
		return invoice.Account{ID: id, Plan: kgents.Plan{ID: "pro", Name: "Pro", Prices: []kgents.Price{price}, Quotas: map[string]kgents.Quota{"tokens": soft, "calls": {Limit: kgents.NoLimit(), Per: kgents.PerDay}}},
			Price: price, Quantity: 1, PeriodStart: utc(2025, 5, 1, 0, 0), PeriodEnd: utc(2025, 6, 1, 0, 0)}
	}
	service := invoice.New(invoice.Config{
		Accounts: accounts{"c": account("c"), "b": account("b")},
		Catalog:  func() *kgents.Catalog { return &kgents.Catalog{Currency: "usd", Features: features} },
		Meter:    client,
	})
	mux := http.NewServeMux()
	keys := map[string]kgents.Principal{
		"op":     {Key: "API_KEYS 1", Scopes: kgents.Scopes()},
		"c":      {Key: "kg_c", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeRead}},
		"ingest": {Key: "kg_i", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeIngest}},
	}
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := keys[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
			if !ok {
				receive.WriteProblem(w, r, kgents.Errorf(kgents.CodeUnauthorized, "no key"))
				return
			}
			next.ServeHTTP(w, r.WithContext(receive.WithCaller(r.Context(), p)))
		})
	})
	service.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestUsageRows(t *testing.T) {
	server := serve(t)
	const may = "from=2025-05-01&to=2025-06-01"
	for _, test := range []struct{ name, key, query, want string }{
		{"of all that plans limit", "c", may, `agent_tokens token 05-01..06-01 =15.5; api_requests call 05-01..06-01 =1`},
		{"the same for the operator", "op", may + "&customer=c", `agent_tokens token 05-01..06-01 =15.5; api_requests call 05-01..06-01 =1`},
		{"of another customer", "op", may + "&customer=b", `agent_tokens token 05-01..06-01 =1000`},
		{"of one meter", "c", may + "&meter=api_requests", `api_requests call 05-01..06-01 =1`},
		{"by day", "c", may + "&by=day", `agent_tokens token 05-10..05-11 =5; agent_tokens token 05-11..05-12 =10.5; api_requests call 05-10..05-11 =1`},
		{"by day and agent: only what has agents", "c", may + "&by=day,agent", `agent_tokens token 05-10..05-11 agent=scout =5; agent_tokens token 05-11..05-12 agent=null =3.5; agent_tokens token 05-11..05-12 agent==cmd|"/c calc"!A1 =7`},
		{"by model and month", "c", may + "&by=model,month", `agent_tokens token 05-01..06-01 model=m =15.5`},
		{"a window is cut to what was asked for", "c", "from=2025-05-10T06:00:30Z&to=2025-05-10T18:00:00Z&by=day", `agent_tokens token 05-10..05-10 =5; api_requests call 05-10..05-10 =1`},
		{"without from: the period of to", "c", "to=2025-05-11", `agent_tokens token 05-01..05-11 =5; api_requests call 05-01..05-11 =1`},
		{"nothing used", "c", "from=2025-04-01&to=2025-05-01", ``},
		{"money of an operator's meter, by currency", "op", may + "&customer=c&meter=payments", `payments  05-01..06-01 currency=jpy =500; payments  05-01..06-01 currency=usd =1900`},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := get(t, server, "/v1/usage?"+test.query, test.key)
			var u invoice.Usage
			if err := json.Unmarshal([]byte(body), &u); err != nil || status != http.StatusOK || header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s (%v)", status, body, err)
			}
			var got []string
			for _, r := range u.Rows {
				line := fmt.Sprintf("%s %s %s..%s", r.Meter, r.Unit, r.From.Format("01-02"), r.To.Format("01-02"))
				for _, name := range []string{"agent", "model", "currency"} {
					if v, ok := r.Group[name]; ok {
						text := "null"
						if v != nil {
							text = *v
						}
						line += " " + name + "=" + text
					}
				}
				got = append(got, fmt.Sprint(line, " =", r.Value))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	server := serve(t)
	const may = "from=2025-05-01&to=2025-06-01"
	for _, test := range []struct {
		path, key string
		status    int
		says      string
	}{
		{"/v1/usage", "wrong", 401, ""},
		{"/v1/usage", "ingest", 403, "scope"},
		{"/v1/invoice", "ingest", 403, "scope"},
		{"/v1/usage?customer=b", "c", 403, "another customer"},
		{"/v1/invoice?customer=b", "c", 403, "another customer"},
		{"/v1/invoice?customer=nobody", "c", 403, "another customer"}, // as of one that exists
		{"/v1/usage", "op", 400, "name the customer"},
		{"/v1/invoice", "op", 400, "name the customer"},
		{"/v1/usage?customer=nobody", "op", 404, "no customer"},
		{"/v1/invoice?customer=nobody", "op", 404, "no customer"},
		{"/v1/invoice?customer=away", "op", 503, "not known yet"},
		{"/v1/usage?customer=away", "op", 503, "not known yet"},
		{"/v1/usage?plan=pro", "c", 400, ""},
		{"/v1/usage?from=yesterday", "c", 400, "from is no time"},
		{"/v1/usage?to=2025-13-01", "c", 400, "to is no time"},
		{"/v1/usage?from=0001-01-01", "c", 400, "from is no time"},
		{"/v1/usage?from=2025-05-02&to=2025-05-01", "c", 400, "from must be before to"},
		{"/v1/usage?from=2025-05-01&to=2025-05-01", "c", 400, "from must be before to"},
		{"/v1/usage?from=2020-05-01&to=2025-05-01", "c", 400, "1098 days"},
		{"/v1/usage?from=2024-01-01&to=2025-05-01&by=day", "c", 400, "366 days"},
		{"/v1/usage?from=2025-01-01&to=2025-05-01&by=hour", "c", 400, "32 days"},
		{"/v1/usage?" + may + "&by=day,hour", "c", 400, "choose one"},
		{"/v1/usage?" + may + "&by=agent,agent", "c", 400, "twice"},
		{"/v1/usage?" + may + "&by=subject", "c", 400, "says nothing"},
		{"/v1/usage?" + may + "&by=", "c", 200, ""},
		{"/v1/usage?" + may + "&by=day,", "c", 400, "empty name"},
		{"/v1/usage?" + may + "&by=colour", "c", 400, "agent, model"},
		{"/v1/usage?" + may + "&meter=api_requests&by=agent", "c", 400, "hour, day, month, route"},
		{"/v1/usage?" + may + "&by=a,b,c,d,e,f,g", "c", 400, ""},
		{"/v1/usage?" + may + "&meter=payments", "c", 404, "choose from agent_tokens, town_interactions, api_requests"}, // the operator's business
		{"/v1/usage?" + may + "&meter=nothing", "op", 400, "name the customer"},
		{"/v1/usage?" + may + "&meter=nothing&customer=c", "op", 404, "no meter"},
		{"/v1/usage?" + may + "&meter=" + url.QueryEscape("../events"), "c", 404, "no meter"},
		{"/v1/usage?" + may + "&format=xml", "c", 400, ""},
		{"/v1/invoice?at=2099-01-01", "c", 400, "future"},
		{"/v1/invoice?at=now", "c", 400, "at is no time"},
		{"/v1/invoice?at=2025-05-05&format=pdf", "c", 400, ""},
	} {
		status, header, body := get(t, server, test.path, test.key)
		if status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s with the key %s: %d %s, want %d with %q", test.path, test.key, status, body, test.status, test.says)
		}
		if status != 200 && header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: the problem comes as %s", test.path, header.Get("Content-Type"))
		}
	}
}

func TestAsCSV(t *testing.T) {
	server := serve(t)
	for _, test := range []struct {
		name, path, accept, file, want string
	}{
		{"usage by format", "/v1/usage?from=2025-05-01&to=2025-06-01&by=day,agent&format=csv", "", "usage-c-2025-05-01.csv", `
customer,meter,unit,from,to,agent,value
c,agent_tokens,token,2025-05-10T00:00:00Z,2025-05-11T00:00:00Z,scout,5
c,agent_tokens,token,2025-05-11T00:00:00Z,2025-05-12T00:00:00Z,,3.5
c,agent_tokens,token,2025-05-11T00:00:00Z,2025-05-12T00:00:00Z,"'=cmd|""/c calc""!A1",7
`},
		{"invoice by Accept", "/v1/invoice?at=2025-05-20", "text/csv, application/json;q=0.5", "invoice-c-2025-05-01.csv", `
customer,plan,kind,text,feature,from,to,quantity,unit,limit,limit_per,price,per,amount,currency
c,pro,plan,"Pro, a month",,2025-05-01T00:00:00Z,2025-06-01T00:00:00Z,1,seat,,,1900,1,1900,usd
c,pro,included,Tokens,tokens,2025-05-01T00:00:00Z,2025-06-01T00:00:00Z,10,token,10,period,0,1,0,usd
c,pro,overage,Tokens past the limit,tokens,2025-05-01T00:00:00Z,2025-06-01T00:00:00Z,5,token,,,1,1,5,usd
c,pro,included,API calls,calls,2025-05-01T00:00:00Z,2025-06-01T00:00:00Z,1,call,unlimited,day,0,1,0,usd
c,pro,total,Total without tax,,2025-05-01T00:00:00Z,2025-06-01T00:00:00Z,,,,,,,1905,usd
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, header, body := get(t, server, test.path, "c", "Accept", test.accept)
			want := strings.ReplaceAll(strings.TrimPrefix(test.want, "\n"), "\n", "\r\n")
			if status != http.StatusOK || header.Get("Content-Type") != "text/csv; charset=utf-8; header=present" ||
				header.Get("Content-Disposition") != `attachment; filename="`+test.file+`"` {
				t.Fatalf("%d %v %s", status, header, body)
			}
			if diff := cmp.Diff(want, body); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			rows, err := csv.NewReader(strings.NewReader(body)).ReadAll() // every row has as many cells
			if err != nil || len(rows) < 3 {
				t.Errorf("%d rows (%v)", len(rows), err)
			}
		})
	}
	// JSON is what comes to who doesn't mind, or asks for it by name.
	for _, path := range []string{"/v1/invoice?at=2025-05-20", "/v1/invoice?at=2025-05-20&format=json"} {
		for _, accept := range []string{"", "*/*", "application/json", "image/png", "text/csv;q=0.1, application/json"} {
			if _, header, body := get(t, server, path, "c", "Accept", accept); header.Get("Content-Type") != "application/json" {
				t.Errorf("%s with Accept %q: %s", path, accept, body)
			}
		}
	}
}
