package backup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// Kind is what a stream is, where it is not that of events or of dead letters.
type Kind string

// What may be kept beside the two. It need not be there.
const (
	Bucket  Kind = "bucket"  // of keys and values: the last value of a key counts
	History Kind = "history" // of what happened: each message counts
)

const (
	fileDead   = "dead"
	fileEvents = "events"
)

// copied is a stream that backups have.
type copied struct {
	name, file string // as the servers call it, and its segments
	kind       Kind
	prefix     string // of its subjects, of those that have a kind
	first      bool   // it is copied before the others

	// ours are the beginnings of keys of which the backup's value is restored although
	// the target has one.
	ours []string
}

// all lists them in the manifest's order.
func all(c stream.Config) []copied {
	bucket := func(name, file string) copied {
		return copied{name: stream.BucketStream(name), file: file, kind: Bucket, prefix: stream.BucketSubject(name, "")}
	}
	accounts, billing, towns := bucket(c.AccountsName(), "accounts"), bucket(c.BillingName(), "billing"), bucket(c.TownsName(), "towns")
	accounts.ours = []string{"customer.", "stripe."}
	towns.first = true
	return []copied{
		{name: c.DeadName(), file: fileDead},
		{name: c.Name, file: fileEvents},
		accounts, billing, towns,
		{name: c.TownName(), file: "town", kind: History, prefix: c.TownSubject("")},
	}
}

// known is what s is of c, if anything.
func known(c stream.Config, s Stream) (copied, bool) {
	for _, k := range all(c) {
		if k.name == s.Name && k.kind == s.Kind && k.kind != "" {
			return k, true
		}
	}
	return copied{}, false
}

// restore stores what a backup has of a bucket or a history and what the target has not.
// Again says that this backup was restored before.
func (k copied) restore(ctx context.Context, js jetstream.JetStream, c stream.Config, from Source, s Stream, again bool, step func()) (*publisher, error) {
	target, err := k.ensure(ctx, js, c, s)
	if err != nil {
		return nil, err
	}
	info, err := target.Info(ctx, jetstream.WithSubjectFilter(">"))
	if err != nil {
		return nil, err
	}
	there := info.State.Subjects
	p := &publisher{
		js: js, target: target, first: info.State.LastSeq + 1, next: info.State.LastSeq + 1, sum: sha256.New(), step: step,
		out: RestoredStream{Name: s.Name, Messages: s.Messages}, kept: true,
	}
	// A subject of another stream would be stored there.
	last := map[string]uint64{}
	err = s.read(ctx, from, func(m message) error {
		if !strings.HasPrefix(m.subject, k.prefix) {
			return kgents.Errorf(kgents.CodeInvalid, "message %d has the subject %q, which is none of this stream's", m.sequence, m.subject)
		}
		last[m.subject] = m.sequence
		return nil
	})
	if err != nil {
		return p, err
	}
	return p, p.run(ctx, from, s, func(m message) error {
		skipped := &p.out.There
		switch {
		case k.kind == Bucket && m.sequence < last[m.subject]:
			skipped = &p.out.Superseded
		case there[m.subject] == 0 || !again && k.wins(m.subject):
			return p.add(ctx, m)
		}
		*skipped++
		step()
		step() // it is not read back
		return nil
	})
}

// wins says that the backup's value is restored although the target has one.
func (k copied) wins(subject string) bool {
	for _, prefix := range k.ours {
		if strings.HasPrefix(subject, k.prefix+prefix) {
			return true
		}
	}
	return false
}

// ensure makes a stream that isn't there, with the bounds of the one that was copied.
// Whoever uses it brings it to its own settings. Nothing else is taken from the copy:
// it could have the server send all of it elsewhere.
func (k copied) ensure(ctx context.Context, js jetstream.JetStream, c stream.Config, s Stream) (jetstream.Stream, error) {
	target, err := js.Stream(ctx, k.name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return target, err
	}
	var was jetstream.StreamConfig
	if err := json.Unmarshal(s.Config, &was); err != nil {
		return nil, kgents.Errorf(kgents.CodeInvalid, "the settings in the manifest can't be read: %v", err)
	}
	if k.kind == Bucket {
		_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: strings.TrimPrefix(k.name, stream.BucketStream("")), Description: was.Description, Storage: jetstream.FileStorage, Replicas: c.Replicas,
			History: uint8(min(max(was.MaxMsgsPerSubject, 1), jetstream.KeyValueMaxHistory)), MaxBytes: max(was.MaxBytes, 0), MaxValueSize: max(was.MaxMsgSize, 0),
			TTL: max(was.MaxAge, 0), LimitMarkerTTL: max(was.SubjectDeleteMarkerTTL, 0),
		})
		if err != nil {
			return nil, err
		}
		return js.Stream(ctx, k.name)
	}
	return js.CreateStream(ctx, jetstream.StreamConfig{
		Name: k.name, Description: was.Description, Subjects: []string{k.prefix + ">"}, Storage: jetstream.FileStorage, Replicas: c.Replicas,
		Retention: jetstream.LimitsPolicy, Discard: was.Discard, MaxMsgs: was.MaxMsgs, MaxBytes: was.MaxBytes, MaxAge: was.MaxAge,
		MaxMsgsPerSubject: was.MaxMsgsPerSubject, MaxMsgSize: was.MaxMsgSize, Duplicates: was.Duplicates,
	})
}

// applyAgain has the sinks apply all that Stripe has said and the stream holds to the
// customers that were restored, from the front: what they applied after the loss went to
// customers that nobody knew.
func applyAgain(ctx context.Context, js jetstream.JetStream, c stream.Config) error {
	err := js.DeleteConsumer(ctx, c.Name, stream.DurableBilling)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("consumer %s: %w; all was restored: delete this consumer, which the sinks make anew", stream.DurableBilling, err)
	}
	return nil
}

const keyRestored = "restored"

// restoredNote is what the servers know of the last backup that was restored.
type restoredNote struct {
	At     time.Time `json:"at"`
	SHA256 string    `json:"sha256"` // of the manifest
}

func noteRestored(ctx context.Context, js jetstream.JetStream, c stream.Config, m Manifest) error {
	return put(ctx, js, c, keyRestored, restoredNote{At: now(), SHA256: m.SHA256})
}

// restoredBefore says whether this backup is the one that was restored last.
func restoredBefore(ctx context.Context, js jetstream.JetStream, c stream.Config, m Manifest) (bool, error) {
	var n restoredNote
	_, err := get(ctx, js, c, keyRestored, &n)
	return n.SHA256 == m.SHA256, err
}
