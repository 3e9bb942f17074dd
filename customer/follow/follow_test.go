package follow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/customer/follow"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
	"github.com/kgents/kgents/subscription"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// raw is an event as it stands in the stream.
func raw(source, id, typ, subject string, at time.Time, data string) kgents.Event {
	return kgents.Event{Raw: fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":%q,"type":%q,"subject":%q,"time":%q,"data":%s}`,
		id, source, typ, subject, at.Format(time.RFC3339), data)}
}

func usage(n int) kgents.Event {
	return raw("town", fmt.Sprint("use_", n), "town.interaction", "acme", began, `{"operation":"greet"}`)
}

// life is what Stripe tells of a subscription of a customer: it begins, is paid for so
// many months, then a payment fails and is made good, the plan changes, and it ends.
func life(customer, ref string, months int) (events []kgents.Event) {
	sub := "sub_" + strings.TrimPrefix(customer, "cus_")
	tell := func(typ string, d float64, data string, args ...any) {
		if ref != "" {
			data = fmt.Sprintf(`"customer_ref":%q,`, ref) + data
		}
		at := began.Add(time.Duration(d * float64(24*time.Hour)))
		events = append(events, raw("stripe", fmt.Sprintf("evt_%s_%d", sub, len(events)), typ, customer, at,
			fmt.Sprintf(`{"subscription_id":"`+sub+`",`+data+`}`, args...)))
	}
	snapshot := func(typ, status, price string, d float64) {
		start := began.AddDate(0, int(d/31), 0)
		tell(typ, d, `"status":%q,"price_id":%q,"quantity":1,"current_period_start":%d,"current_period_end":%d`, status, price, start.Unix(), start.AddDate(0, 1, 0).Unix())
	}
	snapshot("subscription.started", "incomplete", "price_pro", 0)
	snapshot("subscription.updated", "active", "price_pro", 0)
	for i := range months {
		d := float64(i * 31)
		tell("payment.success", d, `"invoice_id":"in_%s_%d","amount":1900,"currency":"usd"`, sub, i)
		snapshot("subscription.updated", "active", "price_pro", d)
	}
	d := float64(months * 31)
	tell("payment.failed", d, `"invoice_id":"in_%s_last","amount":1900,"currency":"usd","attempt_count":1`, sub)
	snapshot("subscription.updated", "past_due", "price_pro", d)
	tell("payment.success", d+2, `"invoice_id":"in_%s_last","amount":1900,"currency":"usd"`, sub)
	snapshot("subscription.updated", "active", "price_teams", d+2)
	return events
}

// folded is the state that events come to.
func folded(t *testing.T, events []kgents.Event) (s subscription.State) {
	t.Helper()
	for _, e := range events {
		c, ok := follow.Read(t, e.Raw)
		if ok {
			s = s.Apply(c)
		}
	}
	return s
}

// ledger are customers in memory.
type ledger struct {
	mu     sync.Mutex
	states map[string]subscription.State
	calls  int
	refuse func(call int, stripe string) error // before anything is applied
	after  func(call int, stripe string) error // after it
}

func (l *ledger) Apply(_ context.Context, stripe, _ string, changes []subscription.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.refuse != nil {
		if err := l.refuse(l.calls, stripe); err != nil {
			return err
		}
	}
	if l.states == nil {
		l.states = map[string]subscription.State{}
	}
	for _, c := range changes {
		l.states[stripe] = l.states[stripe].Apply(c)
	}
	if l.after != nil {
		return l.after(l.calls, stripe)
	}
	return nil
}

func (l *ledger) knows(n int) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.states) == n
	}
}

// bed is a real server with its streams.
type bed struct {
	*testing.T
	js      jetstream.JetStream
	config  stream.Config
	streams stream.Streams
}

func newBed(t *testing.T) *bed {
	t.Helper()
	js, _ := streamtest.Start(t)
	b := &bed{T: t, js: js, config: stream.Config{Name: "events", Replicas: 1}}
	var err error
	if b.streams, err = stream.Ensure(t.Context(), js, b.config); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) publish(messages ...[]kgents.Event) {
	b.Helper()
	for _, m := range messages {
		b.send(stream.Encode(m, time.Now()))
	}
}

func (b *bed) send(m *nats.Msg) {
	b.Helper()
	m.Header.Del(nats.MsgIdHdr) // or JetStream would take out what is doubled on purpose
	if _, err := b.js.PublishMsg(b.Context(), m); err != nil {
		b.Fatal(err)
	}
}

func (b *bed) open(ctx context.Context) (jetstream.Stream, jetstream.Consumer, error) {
	c, err := follow.Consumer(ctx, b.streams.Events)
	return b.streams.Events, c, err
}

// follow runs a follower until stop is called or the test ends.
func (b *bed) follow(accounts follow.Accounts, change func(*follow.Config)) (reg *prometheus.Registry, stop func()) {
	b.Helper()
	reg = prometheus.NewPedanticRegistry()
	c := follow.Config{Open: b.open, Accounts: accounts, Log: slog.New(slog.DiscardHandler), Registerer: reg}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); follow.New(c).Run(ctx) }()
	stop = func() { cancel(); <-done }
	b.Cleanup(stop)
	return reg, stop
}

// eventually waits until what holds.
func (b *bed) eventually(what string, holds func() bool) {
	b.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("after 30 s still not: %s", what)
		}
	}
}

// done tells whether everything is acknowledged.
func (b *bed) done() bool {
	c, err := b.streams.Events.Consumer(b.Context(), follow.Durable)
	if err != nil {
		return false
	}
	info, err := c.Info(b.Context())
	return err == nil && info.NumPending == 0 && info.NumAckPending == 0
}

func outcomes(t *testing.T, reg *prometheus.Registry, want string) {
	t.Helper()
	want = "# HELP kgents_billing_events_total Stripe events that this sink has brought to the customers, repeated deliveries included, by outcome: applied; irrelevant (of no subscription), unattributed (of no customer), refused (of nobody who could be one), unreadable.\n# TYPE kgents_billing_events_total counter\n" + want
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "kgents_billing_events_total"); err != nil {
		t.Error(err)
	}
}

// TestFollow has everything that can stand in the stream.
func TestFollow(t *testing.T) {
	b := newBed(t)
	all := life("cus_1", "", 3)
	var many []kgents.Event
	for i := range 300 { // enough to be compressed
		many = append(many, usage(i))
	}
	b.publish([]kgents.Event{usage(1000)}, append(many, all[0]), all[1:4], append([]kgents.Event{usage(1001)}, all[4:]...))
	b.publish(
		[]kgents.Event{raw("stripe", "evt_u", "payment.success", "unattributed", began, `{"subscription_id":"sub_9","invoice_id":"in_9"}`)},
		[]kgents.Event{raw("stripe", "evt_i", "payment.success", "cus_1", began, `{"invoice_id":"in_8"}`)},
		[]kgents.Event{raw("stripe", "evt_a", "subscription.started", "cus_1", began, `{"subscription_id":"sub_8","account":"acct_1","status":"active"}`)},
		[]kgents.Event{raw("town", "x", "town.interaction", "acme", began, `{"says":{"source":"stripe","type":"subscription.started"}}`)},
		[]kgents.Event{raw("stripe", "evt_t", "subscription.updated", "cus_1", began, `{"subscription_id":7}`), life("cus_2", "", 0)[0]},
		[]kgents.Event{raw("stripe", "evt_n", "subscription.updated", "nobody", began, `{"subscription_id":"sub_7"}`)},
	)
	for _, body := range []string{`{"source":"stripe"}`, `[{"source":"stripe"`, `no JSON`, ``} {
		b.send(&nats.Msg{Subject: stream.Subject, Data: []byte(body), Header: nats.Header{}})
	}
	b.send(&nats.Msg{Subject: stream.Subject, Data: []byte("no zstd"), Header: nats.Header{"Content-Encoding": {"zstd"}}})
	l := &ledger{refuse: func(_ int, stripe string) error {
		if stripe == "nobody" {
			return kgents.Errorf(kgents.CodeInvalid, "that is nobody")
		}
		return nil
	}}
	reg, _ := b.follow(l, nil)
	b.eventually("both customers are known", l.knows(2))
	b.eventually("everything is acknowledged", b.done)
	if diff := cmp.Diff(map[string]subscription.State{"cus_1": folded(t, all), "cus_2": folded(t, life("cus_2", "", 0)[:1])}, l.states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	outcomes(t, reg, fmt.Sprintf(`kgents_billing_events_total{outcome="applied"} %d
kgents_billing_events_total{outcome="irrelevant"} 2
kgents_billing_events_total{outcome="refused"} 1
kgents_billing_events_total{outcome="unattributed"} 1
kgents_billing_events_total{outcome="unreadable"} 4
`, len(all)+1))
}

// TestFailure: what can't be applied comes again until it can, and holds nobody up.
func TestFailure(t *testing.T) {
	b := newBed(t)
	ill := true
	l := &ledger{}
	l.refuse = func(_ int, stripe string) error { // called under the ledger's lock
		if stripe == "cus_ill" && ill {
			return kgents.Unavailable(time.Second, "the customer can't be written", errors.New("no"))
		}
		return nil
	}
	reg, _ := b.follow(l, nil)
	b.publish(life("cus_ill", "", 1), life("cus_well", "", 1))
	b.eventually("the other customer is known", l.knows(1))
	b.publish(life("cus_later", "", 1))
	b.eventually("a later one too", l.knows(2))
	l.mu.Lock()
	ill = false
	l.mu.Unlock()
	b.eventually("the ill one is well", l.knows(3))
	b.eventually("everything is acknowledged", b.done)
	if n, err := testutil.GatherAndCount(reg, "kgents_billing_apply_errors_total"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestCrash: a follower that dies after it has written and before it has acknowledged
// leaves its messages to the next one, to whom they change nothing.
func TestCrash(t *testing.T) {
	b := newBed(t)
	all := life("cus_1", "", 5)
	for _, e := range all {
		b.publish([]kgents.Event{e})
	}
	dead, err := follow.Consumer(t.Context(), b.streams.Events)
	if err != nil {
		t.Fatal(err)
	}
	config := dead.CachedInfo().Config
	config.AckWait = 300 * time.Millisecond // as if that much of stream.AckWait were left
	if dead, err = b.streams.Events.UpdateConsumer(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	batch, err := dead.FetchNoWait(7)
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() { // written, never acknowledged
		body, err := stream.Body(m.Headers(), m.Data())
		if err != nil {
			t.Fatal(err)
		}
		c, ok := follow.Read(t, body[1:len(body)-1])
		if !ok {
			t.Fatalf("no change: %s", body)
		}
		if err := l.Apply(t.Context(), "cus_1", "", []subscription.Change{c}); err != nil {
			t.Fatal(err)
		}
	}
	b.follow(l, func(c *follow.Config) {
		c.Open = func(ctx context.Context) (jetstream.Stream, jetstream.Consumer, error) {
			c, err := b.streams.Events.Consumer(ctx, follow.Durable)
			return b.streams.Events, c, err
		}
	})
	b.eventually("everything is acknowledged", b.done)
	if diff := cmp.Diff(map[string]subscription.State{"cus_1": folded(t, all)}, l.states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if l.calls < 8 {
		t.Errorf("%d calls: what was written hasn't come again", l.calls)
	}
}

// TestStop: what a stopping follower has in hand is another's at once, and not after
// stream.AckWait.
func TestStop(t *testing.T) {
	b := newBed(t)
	b.publish(life("cus_1", "", 1))
	in := make(chan struct{})
	_, stop := b.follow(blocked(in), nil)
	<-in
	stop()
	l := &ledger{}
	start := time.Now()
	b.follow(l, nil)
	b.eventually("the other one has applied it", l.knows(1))
	if took := time.Since(start); took > stream.AckWait/2 {
		t.Errorf("it took %v", took)
	}
	b.eventually("everything is acknowledged", b.done)
}

// blocked waits in Apply until the program stops.
type blocked chan struct{}

func (b blocked) Apply(ctx context.Context, _, _ string, _ []subscription.Change) error {
	close(b)
	<-ctx.Done()
	return ctx.Err()
}

// TestOpenFails: without the consumer it waits, and goes on when it is there.
func TestOpenFails(t *testing.T) {
	b := newBed(t)
	b.publish(life("cus_1", "", 1))
	l, times := &ledger{}, 0
	b.follow(l, func(c *follow.Config) {
		c.Open = func(ctx context.Context) (jetstream.Stream, jetstream.Consumer, error) {
			if times++; times == 1 {
				return nil, nil, errors.New("NATS does not answer")
			}
			return b.open(ctx)
		}
	})
	b.eventually("it is applied", l.knows(1))
}

// TestTwoFollowersAnyOrder: two sinks with customers of their own over one bucket, and
// webhooks that come late, doubled and out of order, in messages with others' usage, end
// in the states that the events in their order have.
func TestTwoFollowersAnyOrder(t *testing.T) {
	b := newBed(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	reg := prometheus.NewRegistry()
	open := func(reg prometheus.Registerer) *customer.Store {
		s := customer.Open(customer.Config{JetStream: b.js, Stream: b.config, Log: slog.New(slog.DiscardHandler), Registerer: reg})
		t.Cleanup(s.Close)
		return s
	}
	stores := []*customer.Store{open(reg), open(prometheus.NewRegistry())}
	if err := stores[0].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stores[0].Create(t.Context(), customer.Customer{ID: "acme", Name: "Acme"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]subscription.State{}
	var all []kgents.Event
	for i := range 6 {
		stripe, ref := fmt.Sprintf("cus_%d", i), ""
		if i == 0 {
			ref = "acme"
		}
		events := life(stripe, ref, i)
		all = append(all, events...)
		if want[stripe] = folded(t, events); i == 0 {
			want["acme"] = want[stripe]
			delete(want, stripe)
		}
	}
	for range len(all) {
		all = append(all, all[r.IntN(len(all))])
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for n := 0; len(all) > 0; n++ {
		take := min(len(all), 1+r.IntN(4))
		b.publish(append([]kgents.Event{usage(n)}, all[:take]...))
		all = all[take:]
	}
	for _, s := range stores {
		b.follow(s, nil)
	}
	b.eventually("everything is acknowledged", b.done)
	for _, s := range stores {
		b.eventually("both know everything", func() bool {
			for id, state := range want {
				c, ok := s.Get(id)
				if !ok || !cmp.Equal(c.Subscriptions, state) {
					return false
				}
			}
			return true
		})
		for i := range 6 {
			if c, ok := s.ByStripe(fmt.Sprintf("cus_%d", i)); !ok || i == 0 && c.ID != "acme" {
				t.Errorf("cus_%d is %q", i, c.ID)
			}
		}
	}
}

// TestLag: the gauge is the age of the oldest message that isn't finished, wherever it
// is: in the stream, or in a sink's hands.
func TestLag(t *testing.T) {
	b := newBed(t)
	events, consumer, err := b.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	lag := func() time.Duration {
		t.Helper()
		age, err := follow.Lag(t.Context(), events, consumer, later)
		if err != nil {
			t.Fatal(err)
		}
		return age.Round(time.Minute)
	}
	if got := lag(); got != 0 {
		t.Errorf("of an empty stream: %v", got)
	}
	b.publish([]kgents.Event{usage(1)}, []kgents.Event{usage(2)})
	if got := lag(); got != time.Hour {
		t.Errorf("of one that waits in the stream: %v", got)
	}
	for range 2 {
		m, err := consumer.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got := lag(); got != time.Hour {
			t.Errorf("of one in a sink's hands: %v", got)
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := lag(); got != 0 {
		t.Errorf("when all is done: %v", got)
	}
}
