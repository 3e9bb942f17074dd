package k8s

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// natsUser is a role's connection, by which the library's calls are made that the
// programs make.
type natsUser struct {
	*testing.T
	jetstream.JetStream
	name string
}

func (s *natsServers) user(t *testing.T, name string) natsUser {
	t.Helper()
	nc, err := s.connect(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return natsUser{t, js, name}
}

func (u natsUser) must(what string, err error) {
	u.Helper()
	if err != nil {
		u.Errorf("%s: %s: %v", u.name, what, err)
	}
}

// bucket makes a bucket, or finds it, and does all that may be done with keys.
func (u natsUser) bucket(ctx context.Context, name, prefix string) {
	u.Helper()
	c := jetstream.KeyValueConfig{Bucket: name, Storage: jetstream.FileStorage, Replicas: 1}
	if strings.HasSuffix(name, "-billing") {
		c.LimitMarkerTTL = stream.BillingMarker // as stream.Billing, which can't be taken back
	}
	kv, err := u.CreateOrUpdateKeyValue(ctx, c)
	if err != nil {
		u.Errorf("%s: bucket %s: %v", u.name, name, err)
		return
	}
	_, err = u.KeyValue(ctx, name)
	u.must("open bucket", err)
	all, err := kv.WatchAll(ctx)
	u.must("watch all", err)
	some, err := kv.WatchFiltered(ctx, []string{prefix + ".*", "other.>"})
	u.must("watch some", err)
	key := prefix + "." + u.name
	revision, err := kv.Create(ctx, key, []byte("1"))
	u.must("create", err)
	if _, err := kv.Create(ctx, key, []byte("1")); !errors.Is(err, jetstream.ErrKeyExists) {
		u.Errorf("%s: a second create: %v", u.name, err)
	}
	revision, err = kv.Update(ctx, key, []byte("2"), revision)
	u.must("update", err)
	if _, err := kv.Update(ctx, key, []byte("3"), revision-1); !errors.Is(err, jetstream.ErrKeyRevisionMismatch) && !errors.Is(err, jetstream.ErrKeyExists) {
		u.Errorf("%s: an update of an old revision: %v", u.name, err)
	}
	_, err = kv.Put(ctx, key, []byte("4"))
	u.must("put", err)
	entry, err := kv.Get(ctx, key)
	if u.must("get", err); err == nil && string(entry.Value()) != "4" {
		u.Errorf("%s: %s is %q", u.name, key, entry.Value())
	}
	keys, err := kv.ListKeysFiltered(ctx, prefix+".*")
	if u.must("list", err); err == nil {
		for range keys.Keys() {
		}
	}
	u.must("delete", kv.Delete(ctx, key))
	_, err = kv.Create(ctx, key, []byte("5"))
	u.must("create what was deleted", err)
	u.must("purge", kv.Purge(ctx, key))
	for _, w := range []jetstream.KeyWatcher{all, some} {
		if w == nil {
			continue
		}
		for gone := false; !gone; {
			select {
			case e := <-w.Updates():
				gone = e != nil && e.Key() == key && e.Operation() == jetstream.KeyValuePurge
			case <-ctx.Done():
				u.Errorf("%s: the watch of %s has not seen the last change", u.name, name)
				gone = true
			}
		}
		u.must("stop watching", w.Stop())
	}
}

// follow reads a stream from its beginning by an ordered consumer, up to a message.
func (u natsUser) follow(ctx context.Context, name string, last uint64, filter ...string) {
	u.Helper()
	s, err := u.Stream(ctx, name)
	if err != nil {
		u.Errorf("%s: stream %s: %v", u.name, name, err)
		return
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: filter})
	if err != nil {
		u.Errorf("%s: follow %s: %v", u.name, name, err)
		return
	}
	it, err := c.Messages()
	if err != nil {
		u.Errorf("%s: follow %s: %v", u.name, name, err)
		return
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			u.Errorf("%s: follow %s: %v", u.name, name, err)
			return
		}
		if meta, err := msg.Metadata(); err != nil || meta.Sequence.Stream >= last {
			u.must("metadata", err)
			return
		}
	}
}

// read reads a stream up to a message, which must come, and one that is not there.
func (u natsUser) read(ctx context.Context, name string, last uint64) {
	u.Helper()
	var at uint64
	u.must("read "+name, stream.Read(ctx, u, name, stream.Range{Last: last + 1, Patience: 10 * time.Second}, func(seq uint64, _ time.Time, _ jetstream.Msg) bool {
		at = seq
		return true
	}))
	if at != last {
		u.Errorf("%s: read %s up to %d, want %d", u.name, name, at, last)
	}
}

// A watch of more than the server sends without hearing from its reader needs the answers
// to flow control.
func TestNATSLongWatch(t *testing.T) {
	s := oneNATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	names := stream.Config{Name: "kgent-events"}
	const keys = 800
	for i, u := range []natsUser{s.user(t, "api"), s.user(t, "sink")} {
		kv, err := u.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: names.AccountsName(), Storage: jetstream.FileStorage})
		if err != nil {
			t.Fatal(err)
		}
		for k := range keys {
			if i > 0 {
				break
			}
			if _, err := u.PublishAsync(stream.BucketSubject(names.AccountsName(), fmt.Sprint("customer.", k)), make([]byte, 8<<10)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-u.PublishAsyncComplete():
		case <-ctx.Done():
			t.Fatal("the values are not stored")
		}
		w, err := kv.WatchAll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for e := range w.Updates() {
			if e == nil {
				break
			}
			n++
		}
		if u.must("stop watching", w.Stop()); n != keys {
			t.Errorf("%s has seen %d of %d keys", u.name, n, keys)
		}
	}
	if bad := s.log.find("iolation"); len(bad) > 0 {
		t.Errorf("the server refused:\n%s", strings.Join(bad, "\n"))
	}
}

// What customers, subscriptions, entitlements, overage, alerts and towns do with NATS,
// with each role's own key and the one before.
func TestNATSBuckets(t *testing.T) {
	s := oneNATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	names := stream.Config{Name: "kgent-events", Replicas: 1}
	for _, suffix := range []string{"", "-previous"} {
		api, sink, backup := s.user(t, "api"+suffix), s.user(t, "sink"+suffix), s.user(t, "backup"+suffix)
		streams, err := stream.Ensure(ctx, api, names)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := api.Publish(ctx, stream.Subject, []byte("[]"))
		if err != nil {
			t.Fatal(err)
		}

		api.bucket(ctx, names.AccountsName(), "customer")
		sink.bucket(ctx, names.AccountsName(), "customer")
		api.bucket(ctx, names.BillingName(), "alert")
		sink.bucket(ctx, names.BillingName(), "overage")
		for _, u := range []natsUser{api, sink} {
			_, err := stream.Billing(ctx, u, names)
			u.must("the billing bucket", err)
		}
		api.bucket(ctx, names.TownsName(), "town")
		api.bucket(ctx, names.HistoryName(), "api/pod")
		sink.bucket(ctx, names.HistoryName(), "sink/pod")

		// A question about an event to an api, and a sink's reconciliation.
		letter, err := sink.Publish(ctx, names.DeadSubject("refused"), []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		api.read(ctx, names.Name, ack.Sequence)
		sink.read(ctx, names.Name, ack.Sequence)
		sink.read(ctx, names.DeadName(), letter.Sequence)

		// The tail of the stream of events, which every api has, and the sinks' consumer.
		api.follow(ctx, names.Name, ack.Sequence)
		consumer, err := sink.CreateOrUpdateConsumer(ctx, names.Name, jetstream.ConsumerConfig{
			Durable: stream.DurableBilling, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 16,
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = consumer.Info(ctx)
		sink.must("info", err)
		batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(10*time.Second))
		if sink.must("fetch", err); err == nil {
			for msg := range batch.Messages() {
				sink.must("in progress", msg.InProgress())
				sink.must("acknowledge", msg.DoubleAck(ctx))
			}
			sink.must("fetch", batch.Error())
		}
		_, err = api.Consumer(ctx, names.Name, stream.DurableBilling)
		api.must("how far the consumer billing is", err)

		// Towns' history.
		_, err = api.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: names.TownName(), Subjects: []string{names.TownSubject("*")}, Storage: jetstream.FileStorage})
		api.must("stream of towns", err)
		ack, err = api.Publish(ctx, names.TownSubject("t1"), []byte("{}"), jetstream.WithMsgID("t1-1"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		api.follow(ctx, names.TownName(), ack.Sequence, names.TownSubject("t1"))
		api.follow(ctx, names.TownName(), ack.Sequence)
		history, err := api.Stream(ctx, names.TownName())
		api.must("stream of towns", err)
		_, err = history.GetLastMsgForSubject(ctx, names.TownSubject("t1"))
		api.must("last event of a town", err)
		_, err = history.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(names.TownSubject("t1")))
		api.must("next event of a town", err)
		api.must("forget another town", history.Purge(ctx, jetstream.WithPurgeSubject(names.TownSubject("t2"))))

		for _, name := range []string{names.AccountsName(), names.BillingName(), names.TownsName()} {
			info, err := backup.Stream(ctx, stream.BucketStream(name))
			if err != nil {
				t.Errorf("backup: bucket %s: %v", name, err)
				continue
			}
			state := info.CachedInfo().State
			backup.follow(ctx, stream.BucketStream(name), state.LastSeq)
			_, err = info.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(">"))
			backup.must("get", err)
		}
		backup.follow(ctx, names.TownName(), ack.Sequence)

		// What they may not, with everything there.
		refused := func(u natsUser, what string, f func(context.Context) error) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if err := f(ctx); err == nil {
				t.Errorf("%s may %s", u.name, what)
			}
		}
		for _, durable := range []string{stream.Durable, stream.DurableBilling} {
			for _, u := range []natsUser{api, sink, backup} {
				refused(u, "delete consumer "+durable, func(ctx context.Context) error { return u.DeleteConsumer(ctx, names.Name, durable) })
			}
			for _, u := range []natsUser{api, backup} {
				refused(u, "make consumer "+durable, func(ctx context.Context) error {
					_, err := u.CreateOrUpdateConsumer(ctx, names.Name, jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "kgent.none"})
					return err
				})
			}
		}
		refused(api, "purge events", func(ctx context.Context) error { return streams.Events.Purge(ctx) })
		refused(sink, "purge towns' history", func(ctx context.Context) error {
			_, err := sink.Stream(ctx, names.TownName())
			return err
		})
		refused(api, "delete the accounts", func(ctx context.Context) error { return api.DeleteKeyValue(ctx, names.AccountsName()) })
		refused(sink, "delete the accounts", func(ctx context.Context) error { return sink.DeleteKeyValue(ctx, names.AccountsName()) })
		refused(backup, "write to the accounts", func(ctx context.Context) error {
			_, err := backup.Publish(ctx, stream.BucketSubject(names.AccountsName(), "customer.forged"), nil, jetstream.WithRetryAttempts(0))
			return err
		})
		refused(sink, "read towns", func(ctx context.Context) error {
			_, err := sink.Stream(ctx, stream.BucketStream(names.TownsName()))
			return err
		})
	}
	// Every refusal in the servers' log is one that was asked for above.
	asked := []string{"CONSUMER.DELETE.kgent-events.sink", "CONSUMER.DELETE.kgent-events.billing", "CONSUMER.CREATE.kgent-events.sink", "CONSUMER.CREATE.kgent-events.billing",
		"STREAM.PURGE.", "STREAM.DELETE.KV_kgent-events-accounts", "$KV.kgent-events-accounts.customer.forged", "STREAM.INFO.KV_kgent-events-towns", "STREAM.INFO.kgent-events-town"}
	for _, line := range s.log.find("iolation") {
		known := false
		for _, subject := range asked {
			known = known || strings.Contains(line, subject)
		}
		if !known {
			t.Error(line)
		}
	}
}

// The api can't take what a sink has not finished, though it may read the stream.
func TestNATSTailTakesNothing(t *testing.T) {
	s := oneNATS(t)
	names := stream.Config{Name: "kgent-events", Replicas: 1}
	sink := s.user(t, "sink")
	streams, err := stream.Ensure(t.Context(), sink, names)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := streams.Consumer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Publish(t.Context(), stream.Subject, []byte("[]")); err != nil {
		t.Fatal(err)
	}
	nc, err := s.connect("api")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	inbox, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.kgent-events.sink", inbox.Subject, []byte(`{"batch":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("the api asks the sinks' consumer for a message: %v", err)
	}
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for msg := range batch.Messages() {
		n++
		if meta, err := msg.Metadata(); err != nil || meta.NumDelivered != 1 {
			t.Errorf("the sink gets it as delivery %v, %v", meta, fmt.Sprint(err))
		}
	}
	if n != 1 {
		t.Errorf("the sink gets %d messages", n)
	}
}
