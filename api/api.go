// Package api is how the routes under /v1 are made: typed handlers whose shapes are
// also their OpenAPI 3.1 document, served at /openapi.json.
//
// It promises that nobody reaches a handler without an API key that has the route's
// scope, that input is checked against the document before a handler sees it, and that
// every error is the same RFC 9457 problem as elsewhere, by the one table of package
// receive. It checks keys and scopes, never whose data it is: a handler asks its caller
// (kgents.Principal.For) whose business it may do.
//
// It has no dependency that could be away. A body has at most 1 MiB, and 5 s to come.
package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// Path is where the document is served, to anybody: it is no secret.
const Path = "/openapi.json"

const maxBody = 1 << 20

// Guard lets only requests with a good key through to next, with the caller in the
// request's context (receive.Caller), and counts them under route.
type Guard func(route string, next http.Handler) http.Handler

// API collects routes. Use it from one goroutine, then Serve.
type API struct {
	huma    huma.API
	mux     *http.ServeMux
	guard   Guard
	methods map[string][]string // by path
}

// New returns an API without routes, whose routes will be on mux behind guard.
func New(mux *http.ServeMux, version string, guard Guard) *API {
	a := &API{mux: mux, guard: guard, methods: map[string][]string{}}
	c := huma.DefaultConfig("kgents", version)
	c.Info.Description = "Customers, plans, entitlements, usage and Agent Town. Times are RFC 3339 in UTC, amounts whole numbers of the currency's minor unit."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", "" // no page of ours loads another's script
	c.CreateHooks = nil                                   // no $schema in answers
	c.RejectUnknownQueryParameters = true                 // a mistyped filter would show too much
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "http", Scheme: "bearer", Description: "An API key: kg_<prefix>_<secret>, or one of the operator's API_KEYS."},
	}
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", names())
	a.huma = humago.New(guarded{a}, c)
	return a
}

// guarded is the mux as huma sees it: what it registers is behind the guard.
type guarded struct{ *API }

func (g guarded) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	_, path, _ := strings.Cut(pattern, " ")
	g.mux.Handle(pattern, g.guard(path, http.HandlerFunc(h)))
}

func (g guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// Route is what a handler answers.
type Route struct {
	Method  string
	Path    string // as net/http's mux has it, without a trailing slash
	Scope   kgents.Scope
	Tag     string // the group it is shown in: Customers, Keys, Plans, ...
	ID      string // operation id: "create-customer"
	Summary string // one line
	Detail  string // what it promises, in Markdown
	Status  int    // of success; 0 = 200, or 204 without a body

	// OperatorOnly refuses customers' keys, whatever scopes they have.
	OperatorOnly bool
}

// Handle adds a route. In and Out are structs as huma has them: path, query and
// header parameters by tags, the body in Body. An error that is an *kgents.Error is
// answered by its code; any other is an internal one, and its text is not shown.
func Handle[In, Out any](a *API, r Route, f func(ctx context.Context, caller kgents.Principal, in *In) (*Out, error)) {
	huma.Register(a.huma, a.operation(r), func(ctx context.Context, in *In) (*Out, error) {
		caller, err := r.let(ctx)
		if err == nil {
			var out *Out
			if out, err = f(ctx, caller, in); err == nil {
				return out, nil
			}
		}
		return nil, receive.ProblemOf(err)
	})
}

// Stream adds a route that writes its answer by itself, such as server-sent events.
// Errors before the first byte are answered as problems.
func Stream[In any](a *API, r Route, contentType string, f func(ctx context.Context, caller kgents.Principal, in *In, w http.ResponseWriter) error) {
	op := a.operation(r)
	op.Responses = map[string]*huma.Response{"200": {Description: r.Summary, Content: map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: "string"}}}}}
	huma.Register(a.huma, op, func(ctx context.Context, in *In) (*huma.StreamResponse, error) {
		caller, err := r.let(ctx)
		if err != nil {
			return nil, receive.ProblemOf(err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			req, w := humago.Unwrap(hc)
			if err := f(req.Context(), caller, in, w); err != nil {
				receive.WriteProblem(w, req, err)
			}
		}}, nil
	})
}

// let is who asks, or why not.
func (r Route) let(ctx context.Context) (kgents.Principal, error) {
	caller := receive.Caller(ctx)
	return caller, r.letIn(caller)
}

func (r Route) letIn(caller kgents.Principal) error {
	if r.OperatorOnly && !caller.Operator() {
		return kgents.Errorf(kgents.CodeForbidden, "this is for the operator's keys only")
	}
	return caller.Require(r.Scope)
}

func (a *API) operation(r Route) huma.Operation {
	a.methods[r.Path] = append(a.methods[r.Path], r.Method)
	who := "Needs a key with the scope `" + string(r.Scope) + "`."
	if r.OperatorOnly {
		who += " For the operator's keys only."
	}
	return huma.Operation{
		OperationID: r.ID, Method: r.Method, Path: r.Path, Summary: r.Summary, Tags: []string{r.Tag},
		Description:   strings.TrimSpace(r.Detail + "\n\n" + who),
		DefaultStatus: r.Status, MaxBodyBytes: maxBody, BodyReadTimeout: 5_000_000_000,
		Security: []map[string][]string{{"key": {}}},
		Errors:   []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests},
	}
}

// At says in the document under which address the routes are; empty says nothing: they are
// where the document is.
func (a *API) At(url string) {
	if url != "" {
		a.huma.OpenAPI().Servers = []*huma.Server{{URL: url}}
	}
}

// Describe adds a route to the document that is served by other means.
func (a *API) Describe(op *huma.Operation) { a.huma.OpenAPI().AddOperation(op) }

// Document is the OpenAPI document, for tests and for who adds to it.
func (a *API) Document() *huma.OpenAPI { return a.huma.OpenAPI() }

// Serve adds the document, and the answer to other methods of the routes' paths.
// Nothing may be added after it.
func (a *API) Serve() error {
	doc, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return err
	}
	a.mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(doc)
	})
	for _, path := range slices.Sorted(maps.Keys(a.methods)) {
		a.mux.Handle(path, receive.Allow(a.methods[path]...))
	}
	return nil
}

// The library has one place for the errors it makes itself, of the package: it is
// set here, once, and its words are ours.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		code := kgents.CodeInvalid
		switch {
		case status == http.StatusRequestEntityTooLarge:
			code = kgents.CodeTooLarge
		case status == http.StatusRequestTimeout:
			code = kgents.CodeTimeout
		case status >= 500:
			return receive.ProblemOf(kgents.Errorf(kgents.CodeInternal, "something went wrong here; the log says what"))
		}
		e := kgents.Errorf(code, "%s", message)
		for _, err := range errs {
			if d, ok := err.(huma.ErrorDetailer); ok { // without the value, which may be a secret
				detail := d.ErrorDetail()
				e.Items = append(e.Items, kgents.Item{Pointer: detail.Location, Message: detail.Message})
			}
		}
		return receive.ProblemOf(e)
	}
}
