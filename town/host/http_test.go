package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/town"
)

// serve serves a host's routes. Who asks is the key: "acme read", or "operator".
func serve(t *testing.T, h *Host) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	a := api.New(mux, "test", func(_ string, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who, scope, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), " ")
			p := kgents.Principal{Key: "key of " + who, Customer: who, Scopes: []kgents.Scope{kgents.Scope(scope)}}
			if who == "operator" {
				p = kgents.Principal{Key: "operator", Scopes: kgents.Scopes()}
			}
			next.ServeHTTP(w, r.WithContext(receive.WithCaller(r.Context(), p)))
		})
	})
	h.Register(a)
	if err := a.Serve(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(mux)
	server.Config.WriteTimeout = 300 * time.Millisecond // a stream must outlive it
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(h.EndStreams)
	t.Cleanup(server.Client().CloseIdleConnections)
	return server
}

func ask(t *testing.T, s *httptest.Server, key, method, path, body string, want int, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s %s by %s is answered with %d, want %d: %s", method, path, key, resp.StatusCode, want, b)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	}
}

func TestRoutes(t *testing.T) {
	b := newBed(t, map[string]int64{"acme towns": 1})
	s := serve(t, b.host())
	var made, got Town
	ask(t, s, "acme ingest", "POST", "/v1/town", `{"citizens":7,"name":"Millbrook","seed":"18446744073709551615"}`, 201, &made)
	if made.Name != "Millbrook" || made.Citizens != 7 || made.Seed != "18446744073709551615" || made.Customer != "acme" || len(made.Places) != 5 {
		t.Errorf("founded %+v", made)
	}
	var problem struct{ Type string }
	ask(t, s, "acme ingest", "POST", "/v1/town", `{}`, 402, &problem)
	if problem.Type != "urn:kgents:problem:payment_required" {
		t.Errorf("the second town is answered with %q", problem.Type)
	}
	path := "/v1/town/" + made.ID
	var stepped Stepped
	ask(t, s, "acme ingest", "POST", path+"/step?cycles=8", "", 200, &stepped)
	ask(t, s, "acme read", "GET", path, "", 200, &got)
	if d := cmp.Diff(stepped.Town, got); d != "" || got.Day != 3 {
		t.Errorf("on day %d (-stepped +got):\n%s", got.Day, d)
	}
	ask(t, s, "operator", "GET", path+"?customer=acme", "", 200, &got)
	ask(t, s, "operator", "GET", path, "", 400, nil)
	var list struct{ Towns []Town }
	ask(t, s, "acme read", "GET", "/v1/town", "", 200, &list)
	if d := cmp.Diff([]Town{got}, list.Towns); d != "" {
		t.Errorf("the list (-want +got):\n%s", d)
	}
	var citizens struct{ Citizens []town.View }
	ask(t, s, "acme read", "GET", path+"/citizens", "", 200, &citizens)
	if len(citizens.Citizens) != 7 || citizens.Citizens[0].Archetype == "" || citizens.Citizens[0].Metaphor != "" {
		t.Errorf("the citizens are %+v", citizens)
	}
	for lod := range 6 {
		var v map[string]any
		ask(t, s, "acme read", "GET", fmt.Sprint(path, "/citizens/Alice?lod=", lod), "", 200, &v)
		if want := [...]int{4, 6, 8, 10, 12, 13}[lod]; len(v) != want {
			t.Errorf("at level %d Alice has %d members, want %d: %v", lod, len(v), want, v)
		}
	}
	ask(t, s, "acme read", "GET", path+"/citizens/Alice?lod=6", "", 400, nil)
	ask(t, s, "acme read", "GET", path+"/citizens/Nobody", "", 404, nil)
	var m Figures
	ask(t, s, "acme read", "GET", path+"/metrics", "", 200, &m)
	if (sums{m.Interactions, m.Tokens}) != b.count.sums("acme") || m.Events == 0 || len(m.ByOperation) == 0 {
		t.Errorf("the figures are %+v", m)
	}
	var page eventsPage
	ask(t, s, "acme read", "GET", path+"/events?limit=5", "", 200, &page)
	if d := cmp.Diff(stepped.Events[:5], page.Events); d != "" || page.Next != "5" {
		t.Errorf("the next page is behind %q (-want +got):\n%s", page.Next, d)
	}
	ask(t, s, "acme ingest", "PATCH", path, `{"pace":60}`, 200, &got)
	if got.Pace != 60 {
		t.Errorf("the pace is %v", got.Pace)
	}
	ask(t, s, "acme ingest", "DELETE", path, "", 204, nil)
	ask(t, s, "acme read", "GET", path, "", 404, nil)
}

// An operator who names nobody sees everybody's towns, page by page.
func TestListAll(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	s := serve(t, h)
	var all struct {
		Towns []Town
		Next  string
	}
	ask(t, s, "operator", "GET", "/v1/town", "", 200, &all)
	if all.Towns == nil || len(all.Towns) > 0 || all.Next != "" {
		t.Errorf("without towns: %+v", all)
	}
	var want []string
	for _, customer := range []string{"a-corp", "acme", "zoo"} {
		for range 3 {
			want = append(want, customer+" "+b.found(h, customer, Wish{Citizens: 3}).ID)
		}
	}
	for limit := 1; limit <= 10; limit++ {
		var got []string
		for after, pages := "", 0; ; pages++ {
			all.Towns, all.Next = nil, ""
			ask(t, s, "operator", "GET", fmt.Sprint("/v1/town?limit=", limit, "&after=", after), "", 200, &all)
			for _, town := range all.Towns {
				got = append(got, town.Customer+" "+town.ID)
			}
			if after = all.Next; after == "" || pages > 10 {
				break
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("by %d (-want +got):\n%s", limit, d)
		}
	}
	all.Towns = nil
	ask(t, s, "operator", "GET", "/v1/town?customer=acme", "", 200, &all)
	if len(all.Towns) != 3 || all.Towns[0].Customer != "acme" {
		t.Errorf("acme's towns are %v", all.Towns)
	}
	if err := h.Delete(t.Context(), "acme", all.Towns[0].ID); err != nil {
		t.Fatal(err)
	}
	after := "acme/" + all.Towns[0].ID // of one that is gone: nobody's is left out
	all.Towns = nil
	ask(t, s, "operator", "GET", "/v1/town?after="+after, "", 200, &all)
	if len(all.Towns) != 5 {
		t.Errorf("behind a town that is gone there are %d, want 5", len(all.Towns))
	}
	ask(t, s, "acme read", "GET", "/v1/town", "", 200, &all)
	for _, town := range all.Towns {
		if town.Customer != "acme" {
			t.Errorf("acme sees %+v", town)
		}
	}
}

// Every route, by every other kind of key: another customer's town isn't there, and a key
// without the scope may not.
func TestIsolation(t *testing.T) {
	b := newBed(t, nil)
	h := b.host()
	s := serve(t, h)
	made := b.found(h, "acme", Wish{Citizens: 3})
	if _, err := h.Step(t.Context(), "acme", made.ID, 2); err != nil {
		t.Fatal(err)
	}
	before, err := h.Get(t.Context(), "acme", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/town/" + made.ID
	for _, route := range []struct{ method, path, body, scope string }{
		{"GET", path, "", "read"},
		{"PATCH", path, `{"pace":1}`, "ingest"},
		{"DELETE", path, "", "ingest"},
		{"GET", path + "/citizens", "", "read"},
		{"GET", path + "/citizens/Alice", "", "read"},
		{"POST", path + "/step", "", "ingest"},
		{"GET", path + "/events", "", "read"},
		{"GET", path + "/metrics", "", "read"},
	} {
		ask(t, s, "other admin", route.method, route.path, route.body, 404, nil)
		ask(t, s, "other admin", route.method, route.path+"?customer=acme", route.body, 403, nil)
		ask(t, s, "operator", route.method, route.path+"?customer=other", route.body, 404, nil)
		for _, scope := range []string{"read", "ingest", "none"} {
			if scope != route.scope {
				ask(t, s, "acme "+scope, route.method, route.path, route.body, 403, nil)
			}
		}
	}
	ask(t, s, "other admin", "GET", "/v1/town?customer=acme", "", 403, nil)
	ask(t, s, "other admin", "POST", "/v1/town?customer=acme", `{}`, 403, nil)
	b.found(h, "else", Wish{Citizens: 3})
	var list struct{ Towns []Town }
	ask(t, s, "other admin", "GET", "/v1/town", "", 200, &list)
	if len(list.Towns) > 0 {
		t.Errorf("another sees %v", list.Towns)
	}
	after, err := h.Get(t.Context(), "acme", made.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the town has changed (-before +after):\n%s", d)
	}
}

// listener reads a stream of events.
type listener struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
	end  context.CancelFunc
}

func listen(t *testing.T, s *httptest.Server, path, key string, last uint64) *listener {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	if last > 0 {
		req.Header.Set("Last-Event-ID", strconv.FormatUint(last, 10))
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &listener{t, resp, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next event of a town, false when the stream has ended.
func (l *listener) next() (e town.Event, ok bool) {
	l.t.Helper()
	id := ""
	for l.in.Scan() {
		line := l.in.Text()
		if v, ok := strings.CutPrefix(line, "id: "); ok {
			id = v
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok && id != "" {
			if err := json.Unmarshal([]byte(data), &e); err != nil || id != strconv.FormatUint(e.Seq, 10) {
				l.t.Fatalf("event %s is %s (%v)", id, data, err)
			}
			return e, true
		}
	}
	return e, false
}

// A stream gives what was and what comes, outlives the server's time for an answer, goes
// on where one was cut, on another replica too, and ends when the server does.
func TestEventStream(t *testing.T) {
	b := newBed(t, nil)
	h, other := b.host(), b.host()
	first, second := serve(t, h), serve(t, other)
	ctx := t.Context()
	made := b.found(h, "acme", Wish{Citizens: 7, Seed: 9})
	past, err := h.Step(ctx, "acme", made.ID, 6)
	if err != nil {
		t.Fatal(err)
	}
	path := "/v1/town/" + made.ID + "/events"
	l := listen(t, first, path, "acme read", 0)
	if got := l.resp.Header.Get("Content-Type"); l.resp.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("answered with %d %s", l.resp.StatusCode, got)
	}
	expect := func(l *listener, want []town.Event) {
		t.Helper()
		for _, w := range want {
			got, ok := l.next()
			if d := cmp.Diff(w, got); !ok || d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
		}
	}
	expect(l, past.Events)
	<-time.After(400 * time.Millisecond) // longer than the server's WriteTimeout
	live, err := other.Step(ctx, "acme", made.ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	expect(l, live.Events)
	l.end()

	// What happened while nobody listened isn't missed.
	missed, err := h.Step(ctx, "acme", made.ID, 3)
	if err != nil {
		t.Fatal(err)
	}
	last := live.Events[1].Seq
	again := listen(t, second, path, "acme read", last)
	expect(again, live.Events[2:])
	expect(again, missed.Events)

	other.EndStreams()
	if e, ok := again.next(); ok {
		t.Errorf("after the end there is %v", e)
	}
	if refused := listen(t, second, path, "acme read", 0); refused.resp.StatusCode != 503 {
		t.Errorf("a server that stops answers %d", refused.resp.StatusCode)
	}
	foreign := listen(t, first, path, "other read", 0)
	if foreign.resp.StatusCode != 404 {
		t.Errorf("another's stream is answered with %d", foreign.resp.StatusCode)
	}
	wrong := listen(t, first, path+"?after=x", "acme read", 0)
	if wrong.resp.StatusCode/100 != 4 {
		t.Errorf("a place that is none is answered with %d", wrong.resp.StatusCode)
	}
}

// One customer's streams don't take the others'.
func TestStreamsAreBounded(t *testing.T) {
	s := newStreams()
	var leave func()
	for range maxStreamsOf {
		var err error
		if _, leave, err = s.enter("acme"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.enter("acme"); code(err) != kgents.CodeRateLimited {
		t.Errorf("one too many of a customer is answered with %v", err)
	}
	for i := range maxStreams - maxStreamsOf {
		if _, _, err := s.enter(fmt.Sprint(i / maxStreamsOf)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.enter("late"); code(err) != kgents.CodeUnavailable {
		t.Errorf("one too many of all is answered with %v", err)
	}
	leave()
	if _, _, err := s.enter("late"); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}
