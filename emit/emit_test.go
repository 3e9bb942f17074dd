package emit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/emit"
	"github.com/kgents/kgents/receive/cloudevents"
	"github.com/kgents/kgents/receive/stripe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func all(t *testing.T, s emit.Source, err error) []emit.Request {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out []emit.Request
	for {
		r, ok := s.Next()
		if !ok {
			return out
		}
		out = append(out, r)
	}
}

// Every webhook that is made is one that the edge takes, in each of the types.
func TestStripeEventsAreTranslated(t *testing.T) {
	s, err := emit.Stripe(emit.Mix{Count: 2000, Customers: 10, Over: 24 * time.Hour})
	types := map[string]int{}
	subjects := map[string]bool{}
	ids := map[string]bool{}
	currencies := map[string]bool{}
	started := map[string]map[string]bool{}
	for _, r := range all(t, s, err) {
		result, err := stripe.Translate(r.Body)
		if err != nil || result.Skipped != "" {
			t.Fatalf("Translate: %v, skipped %q\n%s", err, result.Skipped, r.Body)
		}
		types[result.StripeType]++
		subjects[result.Event.Subject] = true
		ids[result.StripeID] = true
		var e struct {
			Data struct {
				Subscription string `json:"subscription_id"`
				Currency     string
				Amount       *int
			}
		}
		if err := json.Unmarshal(result.Event.Raw, &e); err != nil {
			t.Fatal(err)
		}
		if e.Data.Subscription == "" {
			t.Errorf("%s has no subscription: %s", result.StripeType, result.Event.Raw)
		}
		if strings.HasPrefix(result.Event.Type, "payment.") {
			if e.Data.Amount == nil || *e.Data.Amount < 1000 {
				t.Errorf("a payment without money: %s", result.Event.Raw)
			}
			currencies[e.Data.Currency] = true
		}
		if result.Event.Type == stripe.Started {
			if started[e.Data.Subscription] == nil {
				started[e.Data.Subscription] = map[string]bool{}
			}
			started[e.Data.Subscription][result.StripeType] = true
		}
		if age := time.Since(result.Event.Time); age < -time.Minute || age > 25*time.Hour {
			t.Errorf("an event of %v ago, want the last 24 hours", age)
		}
	}
	for _, typ := range emit.StripeTypes {
		if types[typ] == 0 {
			t.Errorf("no %s among 2000 events", typ)
		}
	}
	if len(subjects) != 10 || len(ids) != 2000 || len(currencies) != 4 {
		t.Errorf("%d customers, %d ids, %d currencies, want 10, 2000, 4", len(subjects), len(ids), len(currencies))
	}
	for sub, by := range started {
		if !by["checkout.session.completed"] {
			t.Errorf("subscription %s began without a checkout", sub)
		}
	}
}

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func decodeAll(t *testing.T, requests []emit.Request) []kgents.Event {
	t.Helper()
	var out []kgents.Event
	for _, r := range requests {
		events, err := cloudevents.Decode(r.ContentType, slices.Clone(r.Body), time.Now())
		if err != nil {
			t.Fatalf("%v\n%s", err, r.Body)
		}
		if len(events) != r.Events {
			t.Errorf("a request of %d events says it has %d", len(events), r.Events)
		}
		out = append(out, events...)
	}
	return out
}

func TestUsage(t *testing.T) {
	for _, batch := range []int{0, 1, 7, 100} {
		s, err := emit.Usage(emit.UsageMix{Mix: emit.Mix{Count: 10_000, Customers: 5}, Batch: batch})
		events := decodeAll(t, all(t, s, err))
		if len(events) != 10_000 {
			t.Fatalf("batch %d: %d events, want 10000", batch, len(events))
		}
		seen, types := map[string]bool{}, map[string]int{}
		last := ""
		for _, e := range events {
			if !uuid7.MatchString(e.ID) || seen[e.ID] {
				t.Fatalf("id %s is no UUIDv7 of its own", e.ID)
			}
			if e.ID <= last {
				t.Fatalf("id %s comes after %s: ids must grow", e.ID, last)
			}
			seen[e.ID], last = true, e.ID
			types[e.Type]++
		}
		for _, typ := range emit.UsageTypes {
			if types[typ] < 2000 {
				t.Errorf("%d of type %s among 10000", types[typ], typ)
			}
		}
	}
	if _, err := emit.Usage(emit.UsageMix{Types: []string{"no.such"}}); err == nil || !strings.HasSuffix(err.Error(), ": choose from agent.tokens, town.interaction, api.request") {
		t.Errorf("unknown type: %v, want an error that lists the types", err)
	}
}

func TestSeed(t *testing.T) {
	bodies := func(seed uint64) (out []string) {
		s, err := emit.Stripe(emit.Mix{Count: 50, Customers: 3, Seed: seed, Shuffle: true, Duplicates: 0.2})
		for _, r := range all(t, s, err) {
			result, err := stripe.Translate(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, result.StripeID)
		}
		u, err := emit.Usage(emit.UsageMix{Mix: emit.Mix{Count: 50, Seed: seed}})
		for _, e := range decodeAll(t, all(t, u, err)) {
			out = append(out, e.ID)
		}
		return out
	}
	if d := cmp.Diff(bodies(42), bodies(42)); d != "" {
		t.Errorf("the same seed made other events:\n%s", d)
	}
	if cmp.Equal(bodies(42), bodies(43)) {
		t.Error("two seeds made the same events")
	}
}

func TestMix(t *testing.T) {
	for _, c := range []struct {
		name string
		mix  emit.Mix
	}{
		{"in order", emit.Mix{Count: 1000, Seed: 1}},
		{"shuffled", emit.Mix{Count: 1000, Seed: 1, Shuffle: true}},
		{"with duplicates", emit.Mix{Count: 1000, Seed: 1, Duplicates: 0.3}},
		{"shuffled with duplicates", emit.Mix{Count: 1000, Seed: 1, Duplicates: 0.3, Shuffle: true}},
		{"all of them twice", emit.Mix{Count: 1000, Seed: 1, Duplicates: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := emit.Usage(emit.UsageMix{Mix: c.mix})
			requests := all(t, s, err)
			times, marked := map[string]int{}, 0
			var order []string
			for i, e := range decodeAll(t, requests) {
				times[e.ID]++
				order = append(order, e.ID)
				marked += requests[i].Duplicates
			}
			if len(times) != 1000 {
				t.Errorf("%d distinct events, want 1000", len(times))
			}
			if len(requests)-1000 != marked {
				t.Errorf("%d repeated, %d marked as such", len(requests)-1000, marked)
			}
			if want := c.mix.Duplicates * 1000; float64(marked) < want*0.8 || float64(marked) > want*1.2 {
				t.Errorf("%d repeated, want about %v", marked, want)
			}
			if sorted := slices.IsSorted(order); sorted == c.mix.Shuffle && c.mix.Duplicates == 0 {
				t.Errorf("in order: %v", sorted)
			}
		})
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name   string
		serve  func(n int, w http.ResponseWriter)
		plan   emit.Plan
		want   emit.Report
		detail string
	}{
		{
			name:  "all accepted",
			serve: func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
			want:  emit.Report{Requests: 10, Accepted: 10, Events: 10},
		},
		{
			name: "refused, with the server's words",
			serve: func(_ int, w http.ResponseWriter) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"title":"Bad Request","detail":"no","errors":[{"pointer":"/id","detail":"is missing"}]}`)
			},
			want: emit.Report{Requests: 10, Refused: 10, Refusals: []emit.Refusal{{Status: 400, Count: 10, Detail: "no — /id is missing"}}},
		},
		{
			name: "503 is tried again",
			serve: func(n int, w http.ResponseWriter) {
				if n%2 == 0 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				w.WriteHeader(http.StatusNoContent)
			},
			plan: emit.Plan{Retries: 3},
			want: emit.Report{Requests: 10, Accepted: 10, Events: 10, Retried: 10},
		},
		{
			name: "until the retries are used up",
			serve: func(_ int, w http.ResponseWriter) {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
			},
			plan: emit.Plan{Retries: 1},
			want: emit.Report{Requests: 10, Refused: 10, Retried: 10, Refusals: []emit.Refusal{{Status: 429, Count: 10}}},
		},
		{
			name:  "an answer that breaks off",
			serve: func(int, http.ResponseWriter) { panic(http.ErrAbortHandler) },
			want:  emit.Report{Requests: 10, Failed: 10, Refusals: []emit.Refusal{{Status: 0, Count: 10, Detail: "EOF"}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			var mu sync.Mutex
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Header.Get("Authorization") != "Bearer key" {
					t.Errorf("Authorization: %q", r.Header.Get("Authorization"))
				}
				mu.Lock()
				defer mu.Unlock()
				c.serve(n, w)
				n++
			}))
			defer server.Close()
			p := c.plan
			p.URL, p.APIKey, p.Concurrency = server.URL, "key", 1
			var err error
			if p.Source, err = emit.Usage(emit.UsageMix{Mix: emit.Mix{Count: 10}}); err != nil {
				t.Fatal(err)
			}
			got := emit.Run(t.Context(), p)
			if got.Elapsed == 0 {
				t.Error("no time has passed")
			}
			got.Elapsed, got.Rate, got.Latency = 0, 0, emit.Latency{}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
		})
	}
}

// Ctrl-C ends a run with what was done so far.
func TestRunIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n++; n == 5 {
			cancel()
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	s, err := emit.Usage(emit.UsageMix{})
	if err != nil {
		t.Fatal(err)
	}
	r := emit.Run(ctx, emit.Plan{URL: server.URL, Source: s, Concurrency: 1})
	if !r.Stopped || r.Accepted != 5 || !r.OK() {
		t.Errorf("report %+v, want five accepted requests and the interruption", r)
	}
}
