package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream"
)

// settleSurplus counts what of the candidates the stream doesn't hold: neither
// the period, nor the day before it, nor the time since.
func (r *run) settleSurplus(ctx context.Context) error {
	if len(r.surplus) == 0 {
		return nil
	}
	s, err := r.JetStream.Stream(ctx, r.Stream.Name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", r.Stream.Name, err)
	}
	if last := s.CachedInfo().State.LastSeq; last > 0 {
		err := stream.Read(ctx, r.JetStream, r.Stream.Name, stream.Range{Since: r.Since.Add(-leadIn), Last: last}, func(_ uint64, _ time.Time, msg jetstream.Msg) bool {
			for _, e := range open(msg.Headers(), msg.Data()) {
				delete(r.surplus, e.identity())
			}
			return len(r.surplus) > 0
		})
		if err != nil {
			return err
		}
	}
	for _, f := range r.surplus {
		c := r.tally.at(r.tally.group(f.Type, f.Customer))
		c.Surplus++
		c.InMeter++
		r.tally.example(f)
	}
	clear(r.surplus)
	return nil
}

// finding names an event, without what a stranger may have made too long.
func finding(k Kind, e event) Finding {
	return Finding{
		Kind: k, Source: cut(e.Source, kgents.MaxSourceBytes), ID: cut(e.ID, kgents.MaxIDBytes),
		Type: cut(e.Type, kgents.MaxTypeBytes), Customer: cut(e.Subject, kgents.MaxSubjectBytes),
		Time: e.Time.UTC(), of: e.identity(),
	}
}

// cut returns the first n bytes of s, as valid UTF-8.
func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }
