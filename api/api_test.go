package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/receive"
)

type greeting struct {
	Body struct {
		Text string `json:"text"`
	}
}

type named struct {
	Name string `path:"name" maxLength:"10"`
	Loud bool   `query:"loud"`
}

// bed serves two routes to callers who say who they are in a header.
func bed(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	keys := receive.NewKeys([]string{"operators-key"})
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler { return receive.RequireKey(keys, next) })
	api.Handle(a, api.Route{Method: http.MethodGet, Path: "/v1/greetings/{name}", Scope: kgents.ScopeRead, Tag: "Greetings", ID: "greet", Summary: "Greet"},
		func(_ context.Context, caller kgents.Principal, in *named) (*greeting, error) {
			switch in.Name {
			case "nobody":
				return nil, &kgents.Error{Code: kgents.CodeNotFound, Message: "there is no such person", Extra: map[string]any{"near": []string{"somebody"}}, Err: errors.New("a secret cause")}
			case "broken":
				return nil, errors.New("a secret cause")
			}
			out := &greeting{}
			out.Body.Text = "hello " + in.Name + " from " + caller.Key
			return out, nil
		})
	api.Handle(a, api.Route{Method: http.MethodPost, Path: "/v1/greetings", Scope: kgents.ScopeAdmin, Tag: "Greetings", ID: "add", Summary: "Add one", Status: http.StatusCreated},
		func(_ context.Context, _ kgents.Principal, in *struct {
			Body struct {
				Name string `json:"name" minLength:"1" maxLength:"10"`
			}
		}) (*greeting, error) {
			out := &greeting{}
			out.Body.Text = in.Body.Name
			return out, nil
		})
	api.Stream(a, api.Route{Method: http.MethodGet, Path: "/v1/stream", Scope: kgents.ScopeRead, Tag: "Greetings", ID: "stream", Summary: "Lines"}, "text/plain",
		func(_ context.Context, _ kgents.Principal, in *struct {
			Lines int `query:"lines" minimum:"0" maximum:"3"`
		}, w http.ResponseWriter) error {
			if in.Lines == 0 {
				return kgents.Errorf(kgents.CodeInvalid, "how many lines?")
			}
			_, err := io.WriteString(w, strings.Repeat("line\n", in.Lines))
			return err
		})
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestRoutes(t *testing.T) {
	server := bed(t)
	for _, test := range []struct {
		name, method, path, key, body string
		status                        int
		want                          string // in the body
	}{
		{"a handler's answer", "GET", "/v1/greetings/ada", "operators-key", "", 200, `"hello ada from API_KEYS 1"`},
		{"no key", "GET", "/v1/greetings/ada", "", "", 401, "an API key is needed"},
		{"a wrong key", "GET", "/v1/greetings/ada", "no", "", 401, "not known"},
		{"a handler's error, with its extension", "GET", "/v1/greetings/nobody", "operators-key", "", 404, `"near":["somebody"]`},
		{"another error is not shown", "GET", "/v1/greetings/broken", "operators-key", "", 500, "the log says what"},
		{"a parameter out of bounds", "GET", "/v1/greetings/muchtoolonganame", "operators-key", "", 400, `"pointer":"path.name"`},
		{"a query that is unknown", "GET", "/v1/greetings/ada?lout=1", "operators-key", "", 400, `"pointer":"query.lout"`},
		{"created", "POST", "/v1/greetings", "operators-key", `{"name":"ada"}`, 201, `"ada"`},
		{"a body that lacks something", "POST", "/v1/greetings", "operators-key", `{}`, 400, "name"},
		{"a member that is unknown", "POST", "/v1/greetings", "operators-key", `{"name":"ada","sudo":true}`, 400, `"pointer":"body.sudo"`},
		{"no JSON", "POST", "/v1/greetings", "operators-key", `{"name":`, 400, `"status":400`},
		{"a body too large", "POST", "/v1/greetings", "operators-key", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, 413, `"status":413`},
		{"another method", "DELETE", "/v1/greetings", "operators-key", "", 405, "use POST here"},
		{"a stream", "GET", "/v1/stream?lines=2", "operators-key", "", 200, "line\nline\n"},
		{"a stream's error before its first byte", "GET", "/v1/stream", "operators-key", "", 400, "how many lines?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if test.key != "" {
				req.Header.Set("Authorization", "Bearer "+test.key)
			}
			if test.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != test.status || !strings.Contains(string(body), test.want) {
				t.Errorf("%d %s, want %d with %s", resp.StatusCode, body, test.status, test.want)
			}
			for _, never := range []string{"a secret cause", "operators-key", "$schema"} {
				if strings.Contains(string(body), never) {
					t.Errorf("the answer holds %q: %s", never, body)
				}
			}
			if resp.StatusCode >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("an error of type %q", resp.Header.Get("Content-Type"))
			}
		})
	}
}

// Scopes are checked before a handler runs.
func TestScopes(t *testing.T) {
	for _, test := range []struct {
		name   string
		caller kgents.Principal
		route  api.Route
		ok     bool
	}{
		{"the scope", kgents.Principal{Key: "k", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeRead}}, api.Route{Scope: kgents.ScopeRead}, true},
		{"admin is all", kgents.Principal{Key: "k", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeAdmin}}, api.Route{Scope: kgents.ScopeIngest}, true},
		{"another scope", kgents.Principal{Key: "k", Customer: "c", Scopes: []kgents.Scope{kgents.ScopeIngest}}, api.Route{Scope: kgents.ScopeRead}, false},
		{"a customer where operators go", kgents.Principal{Key: "k", Customer: "c", Scopes: kgents.Scopes()}, api.Route{Scope: kgents.ScopeRead, OperatorOnly: true}, false},
		{"an operator", kgents.Principal{Key: "k", Scopes: kgents.Scopes()}, api.Route{Scope: kgents.ScopeRead, OperatorOnly: true}, true},
		{"nobody", kgents.Principal{}, api.Route{Scope: kgents.ScopeRead}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := api.Let(test.route, test.caller); (err == nil) != test.ok {
				t.Errorf("%v, want ok %v", err, test.ok)
			} else if err != nil && kgents.ErrorCode(err) != kgents.CodeForbidden {
				t.Errorf("code %s", kgents.ErrorCode(err))
			}
		})
	}
}

// The document is OpenAPI 3.1 and names what is there.
func TestDocument(t *testing.T) {
	server := bed(t)
	resp, err := server.Client().Get(server.URL + api.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Description string
			Security    []map[string][]string
			Responses   map[string]any
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	got := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			got[strings.ToUpper(method)+" "+path] = true
			if !strings.Contains(op.Description, "scope `") || len(op.Security) != 1 {
				t.Errorf("%s %s does not say which key it needs", method, path)
			}
		}
	}
	if diff := cmp.Diff(map[string]bool{"GET /v1/greetings/{name}": true, "POST /v1/greetings": true, "GET /v1/stream": true}, got); diff != "" {
		t.Error(diff)
	}
}
