package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	oldSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // the specification's
	newSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// The example of the libraries of Standard Webhooks.
func TestSign(t *testing.T) {
	one, err := parseSecret(oldSecret)
	if err != nil {
		t.Fatal(err)
	}
	two, err := parseSecret(newSecret)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	sign(h, []secret{one}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	want := http.Header{
		headerID: {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, headerTimestamp: {"1614265330"},
		headerSignature: {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	sign(h, []secret{two, one}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if s := strings.Fields(h.Get(headerSignature)); len(s) != 2 || s[1] != want.Get(headerSignature) {
		t.Errorf("while it is rotated the signatures are %q", s)
	}
}

func TestSecrets(t *testing.T) {
	for text, ok := range map[string]bool{
		oldSecret: true, " " + newSecret + "\n": true, strings.TrimRight(newSecret, "="): true,
		"": false, "whsec_": false, strings.TrimPrefix(oldSecret, "whsec_"): false, "whsec_hush!hush": false,
		"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)): false, "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)): false,
	} {
		_, err := parseSecret(text)
		if ok != (err == nil) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && text != "" && text != "whsec_" && strings.Contains(err.Error(), strings.TrimPrefix(text, "whsec_")) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}

// receiver takes webhooks, and verifies them as the specification says with one secret.
type receiver struct {
	*httptest.Server
	t      *testing.T
	secret string

	mu     sync.Mutex
	answer func(try int, w http.ResponseWriter, r *http.Request) // nil: 200
	tries  map[string]int
	taken  map[string]int
	bodies map[string][]string
}

func newReceiver(t *testing.T, secret string) *receiver {
	r := &receiver{t: t, secret: secret, tries: map[string]int{}, taken: map[string]int{}, bodies: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender has gone
	}
	id, stamp := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.secret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	known := false
	for _, s := range strings.Fields(req.Header.Get("webhook-signature")) {
		known = known || s == want
	}
	if _, err := strconv.ParseInt(stamp, 10, 64); !known || err != nil || strings.Contains(id, ".") || req.Method != http.MethodPost {
		r.t.Errorf("a message that can't be verified: %v", req.Header)
	}
	r.mu.Lock()
	r.tries[id]++
	try, answer := r.tries[id], r.answer
	r.bodies[id] = append(r.bodies[id], string(body))
	r.mu.Unlock()
	rec := &status{ResponseWriter: w, code: http.StatusOK}
	if answer != nil {
		answer(try, rec, req)
	}
	if rec.code/100 == 2 && req.Context().Err() == nil {
		r.mu.Lock()
		r.taken[id]++
		r.mu.Unlock()
	}
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) { s.code = code; s.ResponseWriter.WriteHeader(code) }

func (r *receiver) got() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for id, n := range r.taken {
		out[id] = n
	}
	return out
}

// bed is a NATS server.
type bed struct {
	*testing.T
	js  jetstream.JetStream
	at  *receiver
	log *logged

	mu  sync.Mutex
	now time.Time
}

func newBed(t *testing.T) *bed {
	js, _ := streamtest.Start(t)
	return &bed{T: t, js: js, at: newReceiver(t, oldSecret), log: &logged{}, now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
}

func (b *bed) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bed) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (b *bed) service(change func(*Config)) *Service {
	b.Helper()
	c := Config{
		JetStream: b.js, Stream: stream.Config{Name: "events", Replicas: 1}, URL: b.at.URL + "/hook?token=hush", Secrets: []string{newSecret, oldSecret},
		Catalog: func() *kgents.Catalog { return &kgents.Catalog{AlertAt: []int{50, 80, 100}} },
		Log:     slog.New(slog.NewTextHandler(b.log, nil)), Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	s.now, s.poll = b.clock, 5*time.Millisecond
	b.Cleanup(s.Close)
	return s
}

func crossing(percent int) entitle.Crossing {
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return entitle.Crossing{
		Customer: "acme", Plan: "free", Feature: kgents.Feature{ID: "tokens", Name: "Tokens", Unit: "token", Meter: "agent_tokens"},
		Percent: percent, Used: int64(percent) * 10, Limit: 1000, Over: kgents.OverRefuse, PeriodStart: start, PeriodEnd: start.AddDate(0, 1, 0),
	}
}

func id(percent int) string { return fmt.Sprintf("alert:acme:1793491200:tokens:%d", percent) }

func (b *bed) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("after 20 s still not: %s\n%s", what, b.log)
		}
	}
}

func (b *bed) alerts(s *Service) map[string]Alert {
	b.Helper()
	list, _, err := s.List(b.Context(), "", "", 100)
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]Alert{}
	for _, a := range list {
		out[a.ID] = a
	}
	return out
}

// Each percent is told once, however many replicas notice it and deliver.
func TestFourReplicasOneMessage(t *testing.T) {
	b := newBed(t)
	var all []*Service
	for range 4 {
		s := b.service(nil)
		s.Record()
		s.Deliver()
		all = append(all, s)
	}
	for _, percent := range []int{50, 80, 100} {
		var wg sync.WaitGroup
		for _, s := range all {
			wg.Go(func() {
				for range 3 {
					s.Crossed(crossing(percent))
				}
			})
		}
		wg.Wait()
		b.eventually("it is told", func() bool { return b.at.got()[id(percent)] > 0 })
	}
	b.eventually("all are delivered", func() bool {
		for _, a := range b.alerts(all[0]) {
			if a.State != Delivered {
				return false
			}
		}
		return true
	})
	if diff := cmp.Diff(map[string]int{id(50): 1, id(80): 1, id(100): 1}, b.at.got()); diff != "" {
		t.Error(diff)
	}
	recorded := 0.0
	for _, s := range all {
		recorded += testutil.ToFloat64(s.recorded)
	}
	if recorded != 3 {
		t.Errorf("%v were recorded, want 3", recorded)
	}
	var m Message
	if err := json.Unmarshal([]byte(b.at.bodies[id(80)][0]), &m); err != nil {
		t.Fatal(err)
	}
	c := crossing(80)
	want := Message{Type: Type, Timestamp: b.now, Data: Data{
		Customer: "acme", Plan: "free", Feature: "tokens", Name: "Tokens", Unit: "token", Percent: 80, Crossed: []int{80}, Used: 800,
		Limit: kgents.AtMost(1000), Over: kgents.OverRefuse, PeriodStart: c.PeriodStart, PeriodEnd: c.PeriodEnd,
	}}
	if diff := cmp.Diff(want, m, cmp.Comparer(func(a, b kgents.Limit) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if text := b.log.String(); strings.Contains(text, "hush") || strings.Contains(text, "whsec") || strings.Contains(text, "MfKQ9r8") {
		t.Errorf("the log has a secret:\n%s", text)
	}
}

// A jump past several percents is one message, and a slower replica adds none.
func TestJump(t *testing.T) {
	b := newBed(t)
	s := b.service(nil)
	s.Record()
	s.Crossed(crossing(100))
	s.Crossed(crossing(80))
	s.Crossed(crossing(50))
	b.eventually("all are recorded", func() bool { return len(b.alerts(s)) == 3 && s.known.has(crossingKey(50)) })
	s.Deliver()
	b.eventually("it is told", func() bool { return b.alerts(s)[id(100)].State == Delivered })
	if diff := cmp.Diff(map[string]int{id(100): 1}, b.at.got()); diff != "" {
		t.Error(diff)
	}
	all := b.alerts(s)
	if diff := cmp.Diff([]int{50, 80, 100}, all[id(100)].Crossed); diff != "" {
		t.Error(diff)
	}
	if all[id(50)].State != Merged || all[id(80)].State != Merged {
		t.Errorf("those below are %s and %s", all[id(50)].State, all[id(80)].State)
	}
}

func crossingKey(percent int) string { return alertOf(crossing(percent), percent).key() }

// What fails is tried by the schedule and then dead; a replay sends it again under its
// id.
func TestRetriesDeathAndReplay(t *testing.T) {
	b := newBed(t)
	b.at.answer = func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	s := b.service(nil)
	s.Record()
	s.Deliver()
	s.Crossed(crossing(80))
	for try := 1; ; try++ {
		b.eventually(fmt.Sprint("try ", try), func() bool {
			a := b.alerts(s)[id(80)]
			return a.Attempts == try && a.Status == http.StatusInternalServerError && (a.State == Dead || a.Next.Sub(b.clock()) >= schedule[min(try, 9)])
		})
		a := b.alerts(s)[id(80)]
		if a.State == Dead {
			if try != len(schedule) {
				t.Errorf("dead after %d tries", try)
			}
			break
		}
		wait := a.Next.Sub(b.clock())
		if want := schedule[try]; wait < want || wait > want+want/10+time.Second {
			t.Errorf("after try %d it waits %v, want %v", try, wait, want)
		}
		b.pass(wait)
	}
	if n := testutil.ToFloat64(s.deliveries.WithLabelValues("dead")); n != 1 {
		t.Errorf("%v are dead", n)
	}
	first := b.at.bodies[id(80)][0]
	for _, body := range b.at.bodies[id(80)] {
		if body != first {
			t.Errorf("a later try says %s, the first %s", body, first)
		}
	}
	b.at.mu.Lock()
	b.at.answer = nil
	b.at.mu.Unlock()
	if _, err := s.Replay(t.Context(), id(80)); err != nil {
		t.Fatal(err)
	}
	b.eventually("it is delivered", func() bool { return b.alerts(s)[id(80)].State == Delivered })
	if n := b.at.got()[id(80)]; n != 1 {
		t.Errorf("it was taken %d times", n)
	}
	for id, want := range map[string]kgents.Code{"alert:x": kgents.CodeNotFound, "alert:a:1:b:5": kgents.CodeNotFound, "alert:*:1:b:5": kgents.CodeNotFound, "overage:a:1:b:5": kgents.CodeNotFound, id(50): kgents.CodeConflict} {
		if _, err := s.Replay(t.Context(), id); kgents.ErrorCode(err) != want {
			t.Errorf("replay of %s: %v", id, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		status  int
		header  string
		state   State
		atLeast time.Duration
	}{
		"200":                       {200, "", Delivered, 0},
		"204":                       {204, "", Delivered, 0},
		"a redirect":                {302, "", Pending, 5 * time.Second},
		"404":                       {404, "", Pending, 5 * time.Second},
		"410":                       {410, "", Dead, 0},
		"429 with Retry-After":      {429, "120", Pending, 2 * time.Minute},
		"503 with a date":           {503, now.Add(time.Hour).Format(http.TimeFormat), Pending, time.Hour},
		"503 that asks for a year":  {503, "31536000", Pending, 24 * time.Hour},
		"503 that asks for nothing": {503, "soon", Pending, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
			t.Cleanup(elsewhere.Close)
			b := newBed(t)
			b.at.answer = func(_ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", elsewhere.URL)
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.WriteHeader(test.status)
				_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20)) // more than is read
			}
			s := b.service(nil)
			a := Alert{ID: id(80), State: Pending, Attempts: 1}
			a.settle(s.post(t.Context(), a), now)
			if a.State != test.state || a.Status != test.status {
				t.Errorf("%+v", a)
			}
			if wait := a.Next.Sub(now); a.State == Pending && (wait < test.atLeast || wait > test.atLeast+test.atLeast/10+time.Second) {
				t.Errorf("it waits %v", wait)
			}
		})
	}
}

// A receiver that says nothing, or isn't there, is a failure, and its address is in no
// text.
func TestReceiverAway(t *testing.T) {
	b := newBed(t)
	silent := make(chan struct{})
	b.at.answer = func(_ int, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	}
	s := b.service(nil)
	s.client.Timeout = 50 * time.Millisecond
	got := s.post(t.Context(), Alert{ID: id(80)})
	close(silent)
	if got.status != 0 || got.err == nil || strings.Contains(got.err.Error(), "hush") {
		t.Errorf("silence is %+v", got)
	}
	b.at.Close()
	if got := s.post(t.Context(), Alert{ID: id(80)}); got.status != 0 || got.err == nil || strings.Contains(got.err.Error(), "hush") {
		t.Errorf("nobody is %+v", got)
	}
}

// A replica that ends after it has recorded, or while it sends, leaves the rest to
// others.
func TestEndInBetween(t *testing.T) {
	b := newBed(t)
	one := b.service(nil)
	one.Record()
	one.Crossed(crossing(80))
	b.eventually("it is recorded", func() bool { return len(b.alerts(one)) == 2 })
	one.Close()

	// The second is cut off in the middle of its request.
	began := make(chan struct{})
	b.at.mu.Lock()
	b.at.answer = func(try int, _ http.ResponseWriter, r *http.Request) {
		if try == 1 {
			close(began)
			<-r.Context().Done()
		}
	}
	b.at.mu.Unlock()
	two := b.service(nil)
	two.Deliver()
	<-began
	two.Close()
	if n := len(b.at.got()); n != 0 {
		t.Fatalf("%d were taken", n)
	}

	three := b.service(nil)
	three.Deliver()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if n := b.at.tries[id(80)]; n != 1 {
		t.Errorf("it was sent %d times within the other's lease", n)
	}
	b.pass(lease)
	b.eventually("it is delivered", func() bool { return b.alerts(three)[id(80)].State == Delivered })
	if diff := cmp.Diff(map[string]int{id(80): 1}, b.at.got()); diff != "" {
		t.Error(diff)
	}
}

// Without a URL nothing is recorded and nothing runs.
func TestNobodyToTell(t *testing.T) {
	b := newBed(t)
	s := b.service(func(c *Config) { c.URL, c.Secrets = "", nil })
	s.Record()
	s.Deliver()
	s.Crossed(crossing(80))
	if got := b.alerts(s); len(got) != 0 {
		t.Errorf("recorded: %v", got)
	}
	if _, err := s.Replay(t.Context(), id(80)); kgents.ErrorCode(err) != kgents.CodeMisconfig {
		t.Errorf("replay: %v", err)
	}
	if _, err := New(Config{URL: "https://example.com"}); err == nil {
		t.Error("a URL without a secret is taken")
	}
	if _, err := New(Config{URL: "https://example.com", Secrets: []string{"hush"}}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("a bad secret: %v", err)
	}
}

// What was delivered goes some time after its period, what is dead stays longer.
func TestClean(t *testing.T) {
	b := newBed(t)
	s := b.service(nil)
	s.Record()
	s.Deliver()
	s.Crossed(crossing(50))
	b.eventually("it is delivered", func() bool { return b.alerts(s)[id(50)].State == Delivered })
	b.pass(30 * 24 * time.Hour)
	b.eventually("it is gone", func() bool { return len(b.alerts(s)) == 0 })
	next := crossing(50)
	next.PeriodStart, next.PeriodEnd = next.PeriodEnd, next.PeriodEnd.AddDate(0, 1, 0)
	s.Crossed(next)
	b.eventually("the next period's is told", func() bool { return len(b.at.got()) == 2 })
}
