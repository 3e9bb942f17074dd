package local

import (
	"context"
	"strings"
	"time"

	"github.com/kgents/kgents/meter"
)

const (
	listLimit = 100

	// substringDepth is how many of the newest events are searched for a part of an
	// id. A whole id is found among all.
	substringDepth = 100_000

	// listAge is how far back events are listed unless the query says otherwise, as
	// OpenMeter has it.
	listAge = 32 * 24 * time.Hour
)

// Events lists stored events, the newest arrival first.
func (s *Store) Events(ctx context.Context, f meter.EventFilter) ([]meter.StoredEvent, error) {
	limit := f.Limit
	switch {
	case limit == 0:
		limit = listLimit
	case limit < 0 || limit > listLimit:
		return nil, invalid("limit must be from 1 to %d", listLimit)
	}
	if f.ID != "" {
		found, err := s.list(ctx, "id = ?", []any{f.ID}, f, limit)
		if err != nil || len(found) > 0 {
			return found, err
		}
		return s.list(ctx, "seq > (SELECT max(seq) FROM events) - ? AND instr(id, ?) > 0", []any{substringDepth, f.ID}, f, limit)
	}
	return s.list(ctx, "TRUE", nil, f, limit)
}

func (s *Store) list(ctx context.Context, condition string, args []any, f meter.EventFilter, limit int) ([]meter.StoredEvent, error) {
	where := []string{condition}
	and := func(c string, arg any) { where, args = append(where, c), append(args, arg) }
	if f.Subject != "" {
		and("subject = ?", f.Subject)
	}
	if f.From.IsZero() {
		and("ingested_at >= ?", time.Now().Add(-listAge).UnixMilli())
	} else {
		and("time >= ?", f.From.Unix())
	}
	if !f.To.IsZero() {
		and("time <= ?", f.To.Unix())
	}
	rows, err := s.read.QueryContext(ctx, `SELECT type, subject, time, ingested_at, event FROM events WHERE `+
		strings.Join(where, " AND ")+` ORDER BY seq DESC LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []meter.StoredEvent{}
	for rows.Next() {
		var (
			typ, subject string
			at, ingested int64
			event        []byte
		)
		if err := rows.Scan(&typ, &subject, &at, &ingested, &event); err != nil {
			return nil, err
		}
		when := time.UnixMilli(ingested).UTC()
		out = append(out, meter.StoredEvent{
			Event: event, IngestedAt: when, StoredAt: when, ValidationError: s.validate(typ, subject, at, event),
		})
	}
	return out, rows.Err()
}

// validate says why no meter, or not every meter of its type, counts an event.
func (s *Store) validate(typ, subject string, at int64, event []byte) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	defs := s.byType[typ]
	if len(defs) == 0 {
		return "no meter counts events of type " + typ
	}
	var problems []string
	for _, d := range defs {
		c := newCounted()
		if problem := c.add(d, subject, at, member(event, "data")); problem != "" {
			problems = append(problems, problem)
		}
	}
	return strings.Join(problems, "; ")
}

// Meters lists the meters by slug.
func (s *Store) Meters() []meter.Meter {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]meter.Meter, 0, len(s.defs))
	for _, d := range s.defs {
		out = append(out, d.Meter)
	}
	return out
}
