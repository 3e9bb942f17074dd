package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/streamtest"
)

// beside is a bucket of a server, made with these values if it isn't there.
func beside(t *testing.T, js jetstream.JetStream, name string, history uint8, values ...string) jetstream.KeyValue {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: name, Storage: jetstream.FileStorage, Replicas: 1, History: history, MaxValueSize: 64 << 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(values); i += 2 {
		if _, err := kv.Put(t.Context(), values[i], []byte(values[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	return kv
}

// value is what a bucket has of a key: "deleted" and "none" are none of a test's values.
func value(t *testing.T, kv jetstream.KeyValue, key string) string {
	t.Helper()
	e, err := kv.Get(t.Context(), key)
	if err == nil {
		return string(e.Value())
	}
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Fatal(err)
	}
	if all, err := kv.History(t.Context(), key); err == nil && len(all) > 0 && all[len(all)-1].Operation() != jetstream.KeyValuePut {
		return "deleted"
	}
	return "none"
}

func values(t *testing.T, kv jetstream.KeyValue) map[string]string {
	t.Helper()
	w, err := kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}()
	out := map[string]string{}
	for e := range w.Updates() {
		if e == nil {
			break
		}
		if out[e.Key()] = string(e.Value()); e.Operation() != jetstream.KeyValuePut {
			out[e.Key()] = "deleted"
		}
	}
	return out
}

// town makes the history of towns with n events of each.
func town(t *testing.T, js jetstream.JetStream, n int, towns ...string) jetstream.Stream {
	t.Helper()
	s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: streams.TownName(), Subjects: []string{streams.TownSubject(">")}, Storage: jetstream.FileStorage, MaxAge: 24 * time.Hour, MaxMsgsPerSubject: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for _, name := range towns {
			if _, err := js.Publish(t.Context(), streams.TownSubject(name), fmt.Append(nil, i), jetstream.WithMsgID(fmt.Sprint(name, "-", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// What was written behind the last that was read, over a value that was not read either,
// is added, in the stream's order.
func TestMissedKeys(t *testing.T) {
	js, _ := streamtest.Start(t)
	kv := beside(t, js, "b", 1, "read", "1", "hot", "1", "hotter", "1")
	for _, key := range []string{"hotter", "hot", "read"} { // behind what was read
		if _, err := kv.Put(t.Context(), key, []byte("2")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := js.Stream(t.Context(), "KV_b")
	if err != nil {
		t.Fatal(err)
	}
	got, err := backup.Missed(t.Context(), s, map[string]struct{}{"$KV.b.read": {}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"$KV.b.hotter", "$KV.b.hot"}, got); d != "" {
		t.Error(d)
	}
}

// Customers, keys, what was reported, towns and their history come back with the
// stream; what was deleted stays deleted, and a value that was written while the backup
// was made is in it.
func TestBucketsThereAndBack(t *testing.T) {
	js, events := filled(t, 20)
	accounts := beside(t, js, streams.AccountsName(), 1, "customer.acme", "one", "customer.umbrella", "two", "key.revoked", "hash", "key.good", "hash", "stripe.cus_1", "acme")
	if err := errors.Join(accounts.Delete(t.Context(), "key.revoked"), accounts.Purge(t.Context(), "customer.umbrella")); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.Create(t.Context(), "customer.new", []byte("created")); err != nil { // with a header that names a place
		t.Fatal(err)
	}
	billing, err := stream.Billing(t.Context(), js, streams)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := billing.Put(t.Context(), "overage.acme.1.tokens", []byte("900")); err != nil {
		t.Fatal(err)
	}
	towns := beside(t, js, streams.TownsName(), 3, "town.t1", "first", "town.t1", "second", "town.t1", "third", "pace.t1", strings.Repeat("x", 9<<10))
	town(t, js, 40, "t1", "t2")

	// A key that is written all the while is never gone.
	ctx, stop := context.WithCancel(t.Context())
	hot := make(chan int)
	if _, err := accounts.Put(t.Context(), "use.good", []byte("0")); err != nil {
		t.Fatal(err)
	}
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if _, err := accounts.Put(context.WithoutCancel(ctx), "use.good", fmt.Append(nil, n)); err != nil {
				t.Error(err)
				break
			}
		}
		hot <- n
	}()
	to, with := keys(t)
	_, dir := directory(t)
	id, m := save(t, js, dir, to)
	plainly, _ := save(t, js, dir, backup.Recipients{})
	stop()
	if n := <-hot; n == 0 {
		t.Error("nobody wrote meanwhile")
	}
	var names []string
	for _, s := range m.Streams {
		names = append(names, s.Name+" "+string(s.Kind))
	}
	want := []string{"events-dead ", "events ", "KV_events-accounts bucket", "KV_events-billing bucket", "KV_events-towns bucket", "events-town history"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("streams (-want +got):\n%s", d)
	}
	for _, name := range []string{id, plainly} {
		source := backup.Source{Store: dir, Name: name, Identities: with}
		if r, err := backup.Verify(t.Context(), source, nil); err != nil || !r.Sound || !r.Opened {
			t.Fatalf("verify: %v, %+v", err, r.Problems)
		}
		if r, err := backup.Verify(t.Context(), backup.Source{Store: dir, Name: name}, nil); err != nil || !r.Sound || r.Opened != (name == plainly) {
			t.Fatalf("verify without an identity: %v, %+v", err, r.Problems)
		}
		drill, err := backup.Drill(t.Context(), source, t.TempDir(), nil)
		if err != nil || !drill.Sound() || drill.Events != events {
			t.Errorf("drill: %v, %+v, want %d events", err, drill, events)
		}
		target, _ := streamtest.Start(t)
		r, err := backup.Restore(t.Context(), target, streams, source, backup.How{}, nil)
		if err != nil || !r.Same || len(r.Streams) != 6 {
			t.Fatalf("restore: %v, %+v", err, r)
		}
		for name, from := range map[string]jetstream.KeyValue{streams.AccountsName(): accounts, streams.BillingName(): billing, streams.TownsName(): towns} {
			kv, err := target.KeyValue(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			was, is := values(t, from), values(t, kv)
			if name == streams.AccountsName() {
				if is["use.good"] == "" {
					t.Error("the key that was written meanwhile is not in the backup")
				}
				delete(was, "use.good")
				delete(is, "use.good")
			}
			if d := cmp.Diff(was, is); d != "" {
				t.Errorf("%s (-was +is):\n%s", name, d)
			}
		}
		if _, err := stream.Billing(t.Context(), target, streams); err != nil { // its owner's settings
			t.Error(err)
		}
		back := beside(t, target, streams.AccountsName(), 1)
		if got := value(t, back, "key.revoked"); got != "deleted" {
			t.Errorf("the key that was revoked is %q", got)
		}
		if got := value(t, back, "customer.umbrella"); got != "deleted" {
			t.Errorf("the customer that was deleted is %q", got)
		}
		s, err := target.Stream(t.Context(), streams.TownName())
		if err != nil || s.CachedInfo().State.Msgs != 80 {
			t.Fatalf("history: %v, %+v", err, s.CachedInfo().State)
		}
		town(t, target, 0)
		if last, err := s.GetLastMsgForSubject(t.Context(), streams.TownSubject("t2")); err != nil || string(last.Data) != "39" {
			t.Errorf("the last event of a town is %v, %v", last, err)
		}
	}
	all, err := backup.List(t.Context(), dir)
	if err != nil || len(all) != 2 || all[0].Stream != "events" || all[0].State != backup.Whole || all[0].Last != 20 || all[0].Events != events {
		t.Errorf("listed: %v, %+v", err, all)
	}
	pruned, err := backup.Prune(t.Context(), dir, "events", 1, time.Now().Add(72*time.Hour), false)
	if err != nil || len(pruned.Deleted) != 1 || len(pruned.Kept) != 1 || len(pruned.Strange) != 0 {
		t.Errorf("pruned: %v, %+v", err, pruned)
	}
}

// A backup of a server where nobody has made the buckets is what backups were before.
func TestBucketsThatAreNotThere(t *testing.T) {
	js, _ := filled(t, 3)
	_, dir := directory(t)
	_, m := save(t, js, dir, backup.Recipients{})
	if m.Format != "kgents-stream-backup/1" || len(m.Streams) != 2 {
		t.Errorf("format %s, %d streams", m.Format, len(m.Streams))
	}
	beside(t, js, streams.AccountsName(), 1)
	if _, m = save(t, js, dir, backup.Recipients{}); m.Format != "kgents-stream-backup/3" || len(m.Streams) != 3 || m.Streams[2].Messages != 0 {
		t.Errorf("with an empty bucket: format %s, %d streams", m.Format, len(m.Streams))
	}
}

// After a loss api and sink have begun anew, with customers that have nothing. What is
// restored behind that brings back who they were, and leaves what is newer.
func TestBucketsBehind(t *testing.T) {
	js, _ := filled(t, 5)
	beside(t, js, streams.AccountsName(), 1, "customer.acme", "of the backup", "stripe.cus_1", "acme", "key.a", "hash", "key.gone", "hash", "use.a", "old")
	if _, err := stream.Billing(t.Context(), js, streams); err != nil {
		t.Fatal(err)
	}
	beside(t, js, streams.BillingName(), 1, "overage.acme", "900", "overage.other", "5")
	beside(t, js, streams.TownsName(), 1, "town.t1", "of the backup", "town.t2", "of the backup")
	town(t, js, 3, "t1", "t2")
	_, dir := directory(t)
	id, _ := save(t, js, dir, backup.Recipients{})

	target, _ := filled(t, 2)
	accounts := beside(t, target, streams.AccountsName(), 1, "customer.acme", "new", "customer.cus_1", "new", "stripe.cus_1", "cus_1", "key.gone", "hash", "use.a", "new")
	if err := accounts.Delete(t.Context(), "key.gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Billing(t.Context(), target, streams); err != nil {
		t.Fatal(err)
	}
	billing := beside(t, target, streams.BillingName(), 1, "overage.acme", "1000")
	towns := beside(t, target, streams.TownsName(), 1, "town.t1", "new")
	town(t, target, 1, "t1")
	if _, err := target.CreateOrUpdateConsumer(t.Context(), "events", jetstream.ConsumerConfig{Durable: stream.DurableBilling, AckPolicy: jetstream.AckExplicitPolicy}); err != nil {
		t.Fatal(err)
	}
	source := backup.Source{Store: dir, Name: id}
	if _, err := backup.Restore(t.Context(), target, streams, source, backup.How{}, nil); kgents.ErrorCode(err) != kgents.CodeConflict {
		t.Errorf("into streams that hold something: %v", err)
	}
	restore := func() {
		t.Helper()
		r, err := backup.Restore(t.Context(), target, streams, source, backup.How{Behind: true, Metered: true}, nil)
		if err != nil || !r.Same {
			t.Fatalf("restore: %v, %+v", err, r)
		}
	}
	restore()
	check := func(what string, kv jetstream.KeyValue, want map[string]string) {
		t.Helper()
		if d := cmp.Diff(want, values(t, kv)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	check("accounts", accounts, map[string]string{
		"customer.acme": "of the backup", "stripe.cus_1": "acme", "customer.cus_1": "new",
		"key.a": "hash", "key.gone": "deleted", "use.a": "new",
	})
	check("billing", billing, map[string]string{"overage.acme": "1000", "overage.other": "5"})
	check("towns", towns, map[string]string{"town.t1": "new", "town.t2": "of the backup"})
	s, err := target.Stream(t.Context(), streams.TownName())
	if err != nil || s.CachedInfo().State.Msgs != 4 { // one of t1 after the loss, three of t2
		t.Errorf("history: %v, %+v", err, s.CachedInfo().State)
	}
	// The sinks apply the stream to these customers from its front.
	if _, err := target.Consumer(t.Context(), "events", stream.DurableBilling); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("the consumer that has applied the stream to others: %v", err)
	}
	if _, err := target.Consumer(t.Context(), "events", stream.Durable); err != nil {
		t.Errorf("the sinks' consumer: %v", err)
	}

	// A second time, after customers have changed.
	if _, err := accounts.Put(t.Context(), "customer.acme", []byte("changed since")); err != nil {
		t.Fatal(err)
	}
	if err := accounts.Delete(t.Context(), "key.a"); err != nil {
		t.Fatal(err)
	}
	restore()
	if got := value(t, accounts, "customer.acme") + ", " + value(t, accounts, "key.a"); got != "changed since, deleted" {
		t.Errorf("after a second restore the customer and its key are %s", got)
	}
}

// What only looks like a backup of ours is not restored: streams that are none of this
// one's. The manifest's own sum is right, as it is of a backup that somebody forged.
func TestBucketsOfOthers(t *testing.T) {
	other := stream.Config{Name: "other", Replicas: 1}
	js, _ := streamtest.Start(t)
	if _, err := stream.Ensure(t.Context(), js, other); err != nil {
		t.Fatal(err)
	}
	beside(t, js, other.AccountsName(), 1, "customer.acme", "one")
	_, dir := directory(t)
	name, m, err := backup.Save(t.Context(), js, other, backup.Target{Store: dir, Scratch: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	target, _ := streamtest.Start(t)
	forge := func(change func(*backup.Manifest)) error {
		t.Helper()
		forged := m
		forged.Streams = append([]backup.Stream(nil), m.Streams...)
		change(&forged)
		path := backup.CopyForged(t, backup.Source{Store: dir, Name: name}, forged)
		_, err := backup.Restore(t.Context(), target, streams, backup.Dir(path), backup.How{}, nil)
		return err
	}
	own := func(m *backup.Manifest) { m.Streams[0].Name, m.Streams[1].Name = "events-dead", "events" }
	for what, test := range map[string]struct {
		change func(*backup.Manifest)
		said   string
	}{
		"another's bucket": {own, "has a stream KV_other-accounts"},
		"another kind": {func(m *backup.Manifest) {
			own(m)
			m.Streams[2].Kind, m.Streams[2].Name = backup.History, "KV_events-accounts"
		}, "has a stream KV_events-accounts"},
		"another's subject": {func(m *backup.Manifest) { own(m); m.Streams[2].Name = "KV_events-accounts" }, `has the subject "$KV.other-accounts.customer.acme"`},
	} {
		if err := forge(test.change); kgents.ErrorCode(err) != kgents.CodeInvalid || !strings.Contains(err.Error(), test.said) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The store of customers finds on new servers whom it knew on the old: a good key lets
// its customer in, a revoked one nobody.
func TestCustomersComeBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	open := func(js jetstream.JetStream) *customer.Store {
		t.Helper()
		s := customer.Open(customer.Config{
			JetStream: js, Stream: streams, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Registerer: prometheus.NewRegistry(),
		})
		t.Cleanup(s.Close)
		if err := s.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		return s
	}
	js, _ := filled(t, 1)
	before := open(js)
	if _, err := before.Create(ctx, customer.Customer{ID: "acme", Name: "Acme", Stripe: "cus_1"}); err != nil {
		t.Fatal(err)
	}
	scopes := []kgents.Scope{kgents.ScopeRead}
	_, good, err := before.CreateKey(ctx, customer.Key{Customer: "acme", Name: "good", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	revoked, bad, err := before.CreateKey(ctx, customer.Key{Customer: "acme", Name: "bad", Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	if err := before.RevokeKey(ctx, revoked.Prefix, 0); err != nil {
		t.Fatal(err)
	}
	_, dir := directory(t)
	id, _ := save(t, js, dir, backup.Recipients{})
	target, _ := streamtest.Start(t)
	if r, err := backup.Restore(ctx, target, streams, backup.Source{Store: dir, Name: id}, backup.How{}, nil); err != nil || !r.Same {
		t.Fatalf("restore: %v, %+v", err, r)
	}
	after := open(target)
	if p, err := after.Find(good); err != nil || p.Customer != "acme" {
		t.Errorf("the good key is of %+v, %v", p, err)
	}
	if p, err := after.Find(bad); err == nil {
		t.Errorf("the revoked key is of %+v", p)
	}
	if c, ok := after.ByStripe("cus_1"); !ok || c.ID != "acme" || c.Name != "Acme" {
		t.Errorf("the Stripe customer is %+v, %v", c, ok)
	}
}
