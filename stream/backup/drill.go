package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// DrillReport is what a drill found.
type DrillReport struct {
	At     time.Time `json:"at"`    // when the drill ended
	From   string    `json:"from"`  // where the backup is
	Holds  time.Time `json:"holds"` // the moment that the backup holds
	Backup string    `json:"backup"`

	// Messages and Events are what was counted in the restored streams, and what was
	// accounted for as a repetition of them.
	Messages uint64  `json:"messages"`
	Events   uint64  `json:"events"`
	Took     float64 `json:"took_seconds"`

	// Problem is why the restored streams are not what the backup's manifest says;
	// empty of a drill that went well.
	Problem string `json:"problem,omitempty"`
}

// Sound says that the backup can be restored.
func (r DrillReport) Sound() bool { return r.Problem == "" }

// Drill restores a backup into a server of its own, which nothing else reaches, reads
// all of it back, unpacks each message and counts the events in it, and compares with
// what the manifest says. The server keeps its files in a new directory in scratch
// (the system's if empty), which must have room for the streams and is deleted. Drill
// changes nothing else.
//
// An error says that no answer was found; what is wrong with the backup is in the
// report, if it could be restored.
func Drill(ctx context.Context, from Source, scratch string, progress Progress) (r DrillReport, err error) {
	began := time.Now()
	r = DrillReport{From: from.String(), Backup: from.Name}
	m, err := from.Manifest(ctx)
	if err != nil {
		return r, err
	}
	events, ok := m.events()
	if !ok {
		return r, kgents.Errorf(kgents.CodeInvalid, "%s is no backup of an events stream and its dead letters", from)
	}
	r.Holds = m.Began
	dir, err := os.MkdirTemp(scratch, "kgents-drill-")
	if err != nil {
		return r, fmt.Errorf("no place to restore to: %w; name one with --scratch", err)
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.DiscardHandler)
	server, err := stream.StartScratch(dir, log)
	if err != nil {
		return r, err
	}
	defer server.Stop()
	nc, err := server.Connect("kgents-drill", log)
	if err != nil {
		return r, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return r, err
	}
	// A restore tells three steps a message; counting is a fourth.
	total := 4 * m.Messages()
	restored, err := Restore(ctx, js, stream.Config{Name: events.Name, Replicas: 1}, from, How{}, func(done, _ uint64) { progress.tell(done, total) })
	if err != nil {
		return r, err
	}
	done := 3 * m.Messages()
	for i, s := range restored.Streams {
		n, events, err := count(ctx, js, m.Streams[i], func() { done++; progress.tell(min(done, total), total) })
		if err != nil {
			return r, err
		}
		n, events = n+s.Repeated+s.Superseded, events+s.RepeatedEvents
		r.Messages, r.Events = r.Messages+n, r.Events+events
		want := m.Streams[i]
		switch {
		case r.Problem != "":
		case s.Difference != "":
			r.Problem = fmt.Sprintf("stream %s: %s", s.Name, s.Difference)
		case n != want.Messages || events != want.Events:
			r.Problem = fmt.Sprintf("stream %s: %d messages with %d events were counted, the manifest says %d with %d", s.Name, n, events, want.Messages, want.Events)
		}
	}
	r.At, r.Took = now(), time.Since(began).Seconds()
	return r, nil
}

// count counts a stream's messages, and the events in their bodies. A message that is
// no batch, as a dead letter, counts as its headers say.
func count(ctx context.Context, js jetstream.JetStream, of Stream, step func()) (messages, events uint64, err error) {
	s, err := js.Stream(ctx, of.Name)
	if err != nil {
		return 0, 0, fmt.Errorf("stream %s: %w", of.Name, err)
	}
	err = read(ctx, s, s.CachedInfo().State, func(m message) error {
		step()
		messages++
		if of.Kind != "" {
			return nil
		}
		body, err := stream.Body(m.header, m.data)
		var batch []json.RawMessage
		if err == nil && json.Unmarshal(body, &batch) == nil {
			events += uint64(len(batch))
			return nil
		}
		events += uint64(stream.ReadEnvelope(m.header).Events)
		return nil
	})
	return messages, events, err
}
