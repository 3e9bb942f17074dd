// Package stripetest is a stand-in of Stripe's API for tests, on a loopback port.
//
// Every request is first checked by stripe-mock, Stripe's own, against Stripe's OpenAPI
// document: what Stripe doesn't know or has another type for fails here too. stripe-mock
// keeps no state, so what it would answer is replaced for the objects that this program
// uses by a small state of them, made from Stripe's documentation: idempotency keys (24
// h, the first answer is kept, failures too), prices by lookup key with its transfer,
// identifiers of meter events (24 h; a repeated one is a 400 in Stripe's words), sums of
// meter events, and subscriptions as far as they are changed here. It knows nothing of
// payments: a failure is what a test asks for with Fail.
package stripetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"
)

// Key is a key that the server accepts.
const Key = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"

// unique is how long idempotency keys and identifiers are kept.
const unique = 24 * time.Hour

// mock is stripe-mock; its document takes seconds to read, so it is read once.
var mock = sync.OnceValues(func() (http.Handler, error) {
	document, err := server.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		return nil, err
	}
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	q := quiet{null: null}
	defer q.hush()()
	q.stub, err = server.NewStubServer(fixtures, document, false, false)
	return q, err
})

// quiet sends to nowhere what stripe-mock prints of every request to the process's
// standard output; it has no other way. Only one request at a time is at it.
type quiet struct {
	stub *server.StubServer
	null *os.File
}

var quieting sync.Mutex

func (q quiet) hush() (loud func()) {
	quieting.Lock()
	out := os.Stdout
	os.Stdout = q.null
	return func() {
		os.Stdout = out
		quieting.Unlock()
	}
}

func (q quiet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer q.hush()()
	q.stub.HandleRequest(w, r)
}

// Fault is what happens to a request instead of, or after, what should.
type Fault struct {
	Status int               // answered without doing it; 0 = none
	After  int               // it is done, and this is answered all the same; 0 = none
	Error  map[string]string // of that answer: type, code, message, param
	Header map[string]string
	Lose   bool // it is done, and the connection ends without an answer
	Drop   bool // it isn't done, and the connection ends without an answer
}

// Request is one that came.
type Request struct {
	Method, Path string
	Form         url.Values // of the query and the body
	Key          string     // Idempotency-Key
}

// Server is Stripe. Its fields may be changed before the first request only.
type Server struct {
	URL string
	Now func() time.Time

	mock     http.Handler
	mu       sync.Mutex
	fail     func(Request) *Fault
	requests []Request
	last     int                        // number of the last id
	keys     map[string]kept            // by idempotency key
	objects  map[string][]Object        // by kind, oldest first
	events   map[string]map[string]Used // by event name, then identifier
}

// Object is one of Stripe's, as JSON has it.
type Object = map[string]any

// Used is a meter event that was taken.
type Used struct {
	Customer    string
	Value, Time int64
	At          time.Time // when it was taken
}

type kept struct {
	request string
	status  int
	body    []byte
	at      time.Time
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	m, err := mock()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Now: time.Now, mock: m, keys: map[string]kept{}, objects: map[string][]Object{}, events: map[string]map[string]Used{}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	s.URL = web.URL
	return s
}

// Fail asks f about every request from now on; nil is no fault.
func (s *Server) Fail(f func(Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Requests are those that came, without those that stripe-mock refused.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Objects are those of a kind, such as "prices", oldest first.
func (s *Server) Objects(kind string) []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.objects[kind])
}

// Add keeps an object of a kind, with an id if it has none.
func (s *Server) Add(kind string, o Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(kind, o)
}

// Sum is what was reported of a customer by events of a name with timestamps in a
// period.
func (s *Server) Sum(event, customer string, from, to time.Time) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum(event, customer, from.Unix(), to.Unix())
}

func (s *Server) sum(event, customer string, from, to int64) (sum int64) {
	for _, e := range s.events[event] {
		if e.Customer == customer && e.Time >= from && e.Time < to {
			sum += e.Value
		}
	}
	return sum
}

func (s *Server) add(kind string, o Object) Object {
	if o["id"] == nil || o["id"] == "" {
		s.last++
		o["id"] = fmt.Sprintf("%s_%06d", map[string]string{
			"customers": "cus", "prices": "price", "products": "prod", "meters": "mtr", "sessions": "cs_test", "portals": "bps", "subscriptions": "sub", "items": "si",
		}[kind], s.last)
	}
	s.objects[kind] = append(s.objects[kind], o)
	return o
}

func (s *Server) get(kind, id string) (Object, bool) {
	for _, o := range s.objects[kind] {
		if o["id"] == id {
			return o, true
		}
	}
	return nil, false
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, "the body is no form", http.StatusBadRequest)
		return
	}
	for k, v := range r.URL.Query() {
		form[k] = append(form[k], v...)
	}
	checked := r.Clone(r.Context())
	checked.Body = io.NopCloser(strings.NewReader(string(body)))
	seen := httptest.NewRecorder()
	s.mock.ServeHTTP(seen, checked)
	if seen.Code >= 400 {
		write(w, seen.Code, seen.Body.Bytes())
		return
	}
	request := Request{Method: r.Method, Path: r.URL.Path, Form: form, Key: r.Header.Get("Idempotency-Key")}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, request)
	var fault *Fault
	if s.fail != nil {
		fault = s.fail(request)
	}
	switch {
	case fault != nil && fault.Drop:
		panic(http.ErrAbortHandler)
	case fault != nil && fault.Status != 0:
		for k, v := range fault.Header {
			w.Header().Set(k, v)
		}
		e := fault.Error
		if e == nil {
			e = map[string]string{"type": "api_error"}
		}
		s.answer(w, fault.Status, Object{"error": e})
		return
	}
	status, answer, replayed := s.once(request, seen.Body.Bytes())
	if fault != nil && fault.After != 0 {
		s.answer(w, fault.After, Object{"error": Object{"type": "api_error"}})
		return
	}
	if fault != nil && fault.Lose {
		panic(http.ErrAbortHandler)
	}
	if replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	write(w, status, answer)
}

// once does a request, or answers as it was answered before under its key.
func (s *Server) once(r Request, mocked []byte) (status int, answer []byte, replayed bool) {
	what := r.Method + " " + r.Path + "?" + r.Form.Encode()
	if k, ok := s.keys[r.Key]; ok && r.Key != "" && s.Now().Sub(k.at) < unique {
		if k.request != what {
			status, answer = problem(http.StatusBadRequest, "idempotency_error", "", "Keys for idempotent requests can only be used with the same parameters they were first used with.")
			return status, answer, false
		}
		return k.status, k.body, true
	}
	status, answer = s.do(r, mocked)
	if r.Key != "" {
		s.keys[r.Key] = kept{what, status, answer, s.Now()}
	}
	return status, answer, false
}

func (s *Server) answer(w http.ResponseWriter, status int, o any) {
	b, _ := json.Marshal(o) // maps of texts and numbers can't fail
	write(w, status, b)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_1")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func problem(status int, kind, code, message string) (int, []byte) {
	b, _ := json.Marshal(Object{"error": Object{"type": kind, "code": code, "message": message}})
	return status, b
}

// Use takes a meter event of somebody else's.
func (s *Server) Use(event, customer string, value int64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events[event] == nil {
		s.events[event] = map[string]Used{}
	}
	s.events[event][fmt.Sprintf("other %d", len(s.events[event]))] = Used{Customer: customer, Value: value, Time: at.Unix(), At: s.Now()}
}
