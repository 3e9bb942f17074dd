package customer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/receive"
)

// web serves a store's routes to the operator's key and to those of its keyring.
type web struct {
	t   *testing.T
	url string
	s   *customer.Store
	b   *bed
}

func newWeb(t *testing.T) *web {
	t.Helper()
	b := newBed(t)
	s := b.store()
	mux := http.NewServeMux()
	keys := receive.NewKeys([]string{"operators-key"}).With(s)
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler { return receive.RequireKey(keys, next) })
	s.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &web{t, server.URL, s, b}
}

type reply struct {
	status int
	etag   string
	body   string
}

// do sends a request with a key; headers are name and value by turns.
func (w *web) do(key, method, path, body string, headers ...string) reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header.Get("ETag"), string(b)}
}

// want is do for an answer with a status, decoded.
func want[T any](w *web, status int, key, method, path, body string, headers ...string) (out T) {
	w.t.Helper()
	r := w.do(key, method, path, body, headers...)
	if r.status != status {
		w.t.Fatalf("%s %s with %s is answered %d %s, want %d", method, path, body, r.status, r.body, status)
	}
	if r.body != "" {
		if err := json.Unmarshal([]byte(r.body), &out); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, path, err, r.body)
		}
	}
	return out
}

const operator = "operators-key"

func TestCustomerRoutes(t *testing.T) {
	w := newWeb(t)
	acme := want[customer.CustomerView](w, 201, operator, "POST", "/v1/customers", `{"id":"acme","name":"Acme","stripe_customer":"cus_1"}`)
	if acme.ID != "acme" || acme.Standing.Plan != "free" || acme.Standing.Why != nil || acme.Revision == 0 {
		t.Errorf("made %+v", acme)
	}
	for body, status := range map[string]int{
		`{"id":"acme"}`: 409, `{"id":"x","stripe_customer":"cus_1"}`: 409, `{"id":"a b"}`: 400, `{"id":""}`: 400, `{}`: 400, `[]`: 400, `{"id":"x"`: 400,
		`{"id":"x","override":"gold"}`: 400, `{"id":"x","plan":"pro"}`: 400, `{"id":"x","name":"` + strings.Repeat("a", 201) + `"}`: 400,
	} {
		if r := w.do(operator, "POST", "/v1/customers", body); r.status != status {
			t.Errorf("%s is answered %d %s, want %d", body, r.status, r.body, status)
		}
	}
	for i := range 4 {
		want[customer.CustomerView](w, 201, operator, "POST", "/v1/customers", fmt.Sprintf(`{"id":"c%d"}`, i))
	}
	var ids []string
	for next := ""; ; {
		page := want[customer.CustomerPage](w, 200, operator, "GET", "/v1/customers?limit=2&after="+next, "")
		for _, c := range page.Customers {
			ids = append(ids, c.ID)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"acme", "c0", "c1", "c2", "c3"}, ids); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if page := want[customer.CustomerPage](w, 200, operator, "GET", "/v1/customers?stripe_customer=cus_1", ""); len(page.Customers) != 1 || page.Customers[0].ID != "acme" {
		t.Errorf("by Stripe %+v", page)
	}
	for path, status := range map[string]int{
		"/v1/customers?limit=0": 400, "/v1/customers?limit=501": 400, "/v1/customers?sort=name": 400,
		"/v1/customers/nobody": 404, "/v1/customers/%2e%2e": 404, "/v1/customers/acme/explain": 200, "/v1/customers/nobody/explain": 404,
	} {
		if r := w.do(operator, "GET", path, ""); r.status != status {
			t.Errorf("%s is answered %d %s, want %d", path, r.status, r.body, status)
		}
	}

	// Two decide on one ETag; the second is told.
	r := w.do(operator, "GET", "/v1/customers/acme", "")
	first := w.do(operator, "PATCH", "/v1/customers/acme", `{"override":"pro"}`, "If-Match", r.etag)
	second := w.do(operator, "PATCH", "/v1/customers/acme", `{"name":"Other"}`, "If-Match", r.etag)
	if first.status != 200 || second.status != 409 || first.etag == r.etag || !strings.Contains(first.body, `"plan":"pro"`) || !strings.Contains(first.body, `"name":"Acme"`) {
		t.Errorf("answered %+v and %+v", first, second)
	}
	for _, tag := range []string{"x", `W/"1"`, `"0"`, `"-1"`, "1", `""`} {
		if r := w.do(operator, "PATCH", "/v1/customers/acme", `{}`, "If-Match", tag); r.status != 400 {
			t.Errorf("If-Match %s is answered %d %s", tag, r.status, r.body)
		}
	}
	if got := want[customer.CustomerView](w, 200, operator, "PATCH", "/v1/customers/acme", `{"override":"","name":""}`, "If-Match", "*"); got.Override != "" || got.Name != "" || got.Stripe != "cus_1" {
		t.Errorf("changed to %+v", got)
	}
	if r := w.do(operator, "PATCH", "/v1/customers/acme", `{"stripe_customer":""}`); r.status != 409 {
		t.Errorf("another Stripe customer is answered %d", r.status)
	}

	why := want[struct {
		Plan string
		Why  []struct{ Event, Text string }
	}](w, 200, operator, "GET", "/v1/customers/acme/explain", "")
	if why.Plan != "free" {
		t.Errorf("explained %+v", why)
	}
	apply(t, w.s, "cus_1", "", active()...)
	if r := w.do(operator, "GET", "/v1/customers/acme/explain", ""); !strings.Contains(r.body, `"plan":"pro"`) || !strings.Contains(r.body, "evt_000") {
		t.Errorf("explained %s", r.body)
	}
	if r := w.do(operator, "DELETE", "/v1/customers/acme", ""); r.status != 409 || !strings.Contains(r.body, "subscription") {
		t.Errorf("deleting who pays is answered %d %s", r.status, r.body)
	}
	if r := w.do(operator, "DELETE", "/v1/customers/acme?force=true", "", "If-Match", `"1"`); r.status != 409 {
		t.Errorf("deleting by a stale ETag is answered %d %s", r.status, r.body)
	}
	for path, status := range map[string]int{"/v1/customers/acme?force=true": 204, "/v1/customers/c0": 204, "/v1/customers/nobody": 404} {
		if r := w.do(operator, "DELETE", path, ""); r.status != status {
			t.Errorf("DELETE %s is answered %d %s, want %d", path, r.status, r.body, status)
		}
	}
}

func TestKeyRoutes(t *testing.T) {
	w := newWeb(t)
	for _, id := range []string{"acme", "other"} {
		want[customer.CustomerView](w, 201, operator, "POST", "/v1/customers", `{"id":"`+id+`"}`)
	}
	created := func(key, body string) customer.KeyView {
		t.Helper()
		return want[customer.KeyView](w, 201, key, "POST", "/v1/keys", body)
	}
	admin := created(operator, `{"customer":"acme","name":"admin","scopes":["admin"]}`)
	theirs := created(operator, `{"customer":"other","scopes":["admin"]}`)
	ops := created(operator, `{"operator":true,"scopes":["read"]}`)
	reader := created(admin.Key, `{"scopes":["read"],"expires":"`+time.Now().Add(time.Hour).Format(time.RFC3339)+`"}`)
	if admin.By != "API_KEYS 1" || reader.By != admin.Prefix || reader.Customer != "acme" || reader.Operator || !ops.Operator || reader.Expires.IsZero() {
		t.Errorf("made %+v %+v %+v", admin, reader, ops)
	}
	for _, test := range []struct {
		key, method, path, body string
		status                  int
	}{
		{operator, "POST", "/v1/keys", `{"scopes":["read"]}`, 400}, // whose?
		{operator, "POST", "/v1/keys", `{"customer":"acme","operator":true,"scopes":["read"]}`, 400},
		{operator, "POST", "/v1/keys", `{"customer":"nobody","scopes":["read"]}`, 404},
		{operator, "POST", "/v1/keys", `{"customer":"acme","scopes":[]}`, 400},
		{operator, "POST", "/v1/keys", `{"customer":"acme","scopes":["root"]}`, 400},
		{operator, "POST", "/v1/keys", `{"customer":"acme","scopes":["read","read"]}`, 400},
		{operator, "POST", "/v1/keys", `{"customer":"acme","scopes":["read"],"expires":"2020-01-01T00:00:00Z"}`, 400},
		{operator, "GET", "/v1/keys", "", 400},
		{operator, "GET", "/v1/keys?customer=nobody", "", 404},
		{operator, "GET", "/v1/keys?operator=true", "", 200},
		{operator, "GET", "/v1/keys?all=true", "", 200},
		{ops.Key, "GET", "/v1/keys?all=true", "", 403}, // it may read, and not administrate
		{operator, "GET", "/v1/keys?all=true&customer=acme", "", 400},
		{operator, "GET", "/v1/keys?all=true&operator=true", "", 400},
		{admin.Key, "GET", "/v1/keys?all=true", "", 403},
		{admin.Key, "GET", "/v1/keys?all=true&customer=acme", "", 403},
		{admin.Key, "POST", "/v1/keys", `{"operator":true,"scopes":["read"]}`, 403},
		{admin.Key, "POST", "/v1/keys", `{"customer":"other","scopes":["read"]}`, 403},
		{admin.Key, "POST", "/v1/keys", `{"customer":"nobody","scopes":["read"]}`, 403},
		{admin.Key, "GET", "/v1/keys?customer=other", "", 403},
		{admin.Key, "GET", "/v1/keys?operator=true", "", 403},
		{admin.Key, "GET", "/v1/keys", "", 200},
		{admin.Key, "GET", "/v1/customers", "", 403},
		{admin.Key, "POST", "/v1/customers", `{"id":"x"}`, 403},
		{admin.Key, "PATCH", "/v1/customers/acme", `{"override":"pro"}`, 403},
		{admin.Key, "DELETE", "/v1/customers/acme", "", 403},
		{admin.Key, "GET", "/v1/customers/acme", "", 200},
		{admin.Key, "GET", "/v1/customers/acme/explain", "", 200},
		{admin.Key, "GET", "/v1/customers/other", "", 403},
		{admin.Key, "GET", "/v1/customers/nobody", "", 403},
		{reader.Key, "GET", "/v1/customers/acme", "", 200},
		{reader.Key, "GET", "/v1/keys", "", 403},
		{reader.Key, "POST", "/v1/keys", `{"scopes":["read"]}`, 403},
		{ops.Key, "GET", "/v1/customers", "", 200},
		{ops.Key, "POST", "/v1/customers", `{"id":"x"}`, 403},
		{ops.Key, "POST", "/v1/keys", `{"operator":true,"scopes":["admin"]}`, 403},
		{operator, "POST", "/v1/keys/" + admin.Prefix + "/rotate", `{"overlap":"-1s"}`, 400},
		{operator, "POST", "/v1/keys/" + admin.Prefix + "/rotate", `{"overlap":"1 day"}`, 400},
		{operator, "POST", "/v1/keys/" + admin.Prefix + "/rotate", `{"overlap":"721h"}`, 400},
	} {
		if r := w.do(test.key, test.method, test.path, test.body); r.status != test.status {
			t.Errorf("%s %s %s with the key %.5s… is answered %d %s, want %d", test.method, test.path, test.body, test.key, r.status, r.body, test.status)
		}
	}
	// All are in one list, page by page.
	var listed []string
	for after := ""; ; {
		page := want[customer.KeyPage](w, 200, operator, "GET", "/v1/keys?all=true&limit=3&after="+after, "")
		for _, k := range page.Keys {
			listed = append(listed, k.Prefix)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	made := []string{admin.Prefix, theirs.Prefix, ops.Prefix, reader.Prefix}
	slices.Sort(made)
	if diff := cmp.Diff(made, listed); diff != "" {
		t.Errorf("all keys: %s", diff)
	}
	// Another's key, the operator's and none are one answer.
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/rotate"}} {
		var answers []reply
		for _, prefix := range []string{"aaaaaaaaaa", theirs.Prefix, ops.Prefix} {
			answers = append(answers, w.do(admin.Key, call[0], "/v1/keys/"+prefix+call[1], ""))
		}
		if answers[0].status != 404 || answers[0] != answers[1] || answers[0] != answers[2] {
			t.Errorf("%s: %+v", call[0], answers)
		}
	}
	finds(t, w.s, "the other's key", theirs.Key, true)

	rotated := want[customer.KeyView](w, 200, admin.Key, "POST", "/v1/keys/"+reader.Prefix+"/rotate", `{"overlap":"1h"}`, "If-Match", fmt.Sprintf(`"%d"`, reader.Revision))
	if rotated.Key == reader.Key || rotated.Overlap.IsZero() || rotated.Prefix != reader.Prefix {
		t.Errorf("rotated to %+v", rotated)
	}
	for _, key := range []string{reader.Key, rotated.Key} {
		finds(t, w.s, "in the overlap", key, true)
	}
	if r := w.do(admin.Key, "DELETE", "/v1/keys/"+reader.Prefix, "", "If-Match", fmt.Sprintf(`"%d"`, reader.Revision)); r.status != 409 {
		t.Errorf("revoking by a stale ETag is answered %d", r.status)
	}
	if r := w.do(admin.Key, "POST", "/v1/keys/"+reader.Prefix+"/rotate", ""); r.status != 200 { // the default overlap
		t.Errorf("rotating without a body is answered %d %s", r.status, r.body)
	}
	if r := w.do(admin.Key, "DELETE", "/v1/keys/"+reader.Prefix, ""); r.status != 204 {
		t.Errorf("revoking is answered %d %s", r.status, r.body)
	}
	for _, key := range []string{reader.Key, rotated.Key} {
		if r := w.do(key, "GET", "/v1/customers/acme", ""); r.status != 401 {
			t.Errorf("a revoked key is answered %d %s", r.status, r.body)
		}
	}
	// No answer but the one that made a key has its secret.
	for _, path := range []string{"/v1/keys", "/v1/keys/" + admin.Prefix, "/v1/keys?customer=acme"} {
		if r := w.do(admin.Key, "GET", path, ""); r.status != 200 || strings.Contains(r.body, admin.Key[14:]) || strings.Contains(r.body, `"key"`) || !strings.Contains(r.body, admin.Prefix) {
			t.Errorf("%s is answered %d %s", path, r.status, r.body)
		}
	}
	w.b.keepsSecret(admin.Key, reader.Key, rotated.Key, ops.Key, theirs.Key)
}

// TestRoutesWhileNATSIsAway: what can't be told is 503, not 404 or an empty list.
func TestRoutesWhileNATSIsAway(t *testing.T) {
	w := newWeb(t)
	want[customer.CustomerView](w, 201, operator, "POST", "/v1/customers", `{"id":"acme"}`)
	k := want[customer.KeyView](w, 201, operator, "POST", "/v1/keys", `{"customer":"acme","scopes":["read"]}`)
	w.b.stop()
	eventually(t, 20*time.Second, "the outage is noticed", func() bool { return !w.s.Current() })
	for _, test := range []struct {
		key, method, path, body string
		status                  int
	}{
		{operator, "GET", "/v1/customers/acme", "", 200},
		{k.Key, "GET", "/v1/customers/acme", "", 200},
		{"kg_aaaaaaaaaa_" + k.Key[14:], "GET", "/v1/customers/acme", "", 503},
		{operator, "GET", "/v1/customers/late", "", 503},
		{operator, "GET", "/v1/customers", "", 503},
		{operator, "GET", "/v1/keys?customer=acme", "", 503},
		{operator, "POST", "/v1/customers", `{"id":"new"}`, 503},
		{operator, "PATCH", "/v1/customers/acme", `{"name":"A"}`, 503},
		{operator, "DELETE", "/v1/keys/" + k.Prefix, "", 503},
	} {
		if r := w.do(test.key, test.method, test.path, test.body); r.status != test.status {
			t.Errorf("%s %s is answered %d %s, want %d", test.method, test.path, r.status, r.body, test.status)
		}
	}
}
