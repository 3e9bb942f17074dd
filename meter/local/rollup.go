package local

import (
	"context"
	"database/sql"
	"math"
	"strconv"
	"time"

	"github.com/kgents/kgents/meter"
)

// slot is where a reading counts.
type slot struct {
	meter   int64
	minute  int64
	subject string
	groups  string
}

// partial is what the events of one slot come to.
type partial struct {
	n        int64
	sumInt   int64
	sumReal  float64
	min, max float64
	latest   float64
	latestAt int64
}

// counted is what a transaction adds.
type counted struct {
	partials map[slot]*partial
	uniques  map[unique]struct{}
}

type unique struct {
	slot
	value string
}

func newCounted() counted {
	return counted{map[slot]*partial{}, map[unique]struct{}{}}
}

// add counts one event for one meter. It returns why it doesn't count, if so.
func (c *counted) add(d *definition, subject string, at int64, data []byte) string {
	if d.EventFrom != nil && at < d.EventFrom.Unix() {
		return ""
	}
	r, problem := d.read(data)
	if problem != "" {
		return problem
	}
	s := slot{d.key, floorDiv(at, 60), subject, r.groups}
	if d.Aggregation == meter.UniqueCount {
		c.uniques[unique{s, r.unique}] = struct{}{}
		return ""
	}
	v := r.value.float()
	p := c.partials[s]
	if p == nil {
		p = &partial{min: v, max: v, latest: v, latestAt: at}
		c.partials[s] = p
	}
	p.n++
	if r.value.whole {
		p.addInt(r.value.integer)
	} else {
		p.sumReal = bounded(p.sumReal + r.value.real)
	}
	p.min, p.max = min(p.min, v), max(p.max, v)
	if at >= p.latestAt {
		p.latest, p.latestAt = v, at
	}
	return ""
}

// addInt keeps the whole numbers' sum within what SQLite can add up without
// overflow: what goes beyond moves to the real sum.
func (p *partial) addInt(v int64) {
	const most = 1 << 61
	if sum := p.sumInt + v; -most < sum && sum < most {
		p.sumInt = sum
		return
	}
	p.sumReal += float64(p.sumInt)
	p.sumInt = v
}

// bounded keeps a sum finite: infinities of both signs add up to what is no
// number, which SQLite takes for NULL and refuses, with the whole transaction.
func bounded(sum float64) float64 {
	return max(-math.MaxFloat64, min(sum, math.MaxFloat64))
}

var largest = strconv.FormatFloat(math.MaxFloat64, 'g', -1, 64)

var upsert = `INSERT INTO rollup (meter, minute, subject, groups, n, sum_int, sum_real, min, max, latest, latest_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (meter, minute, subject, groups) DO UPDATE SET
	n = n + excluded.n,
	sum_int = CASE WHEN abs(sum_int + excluded.sum_int) < 2305843009213693952 THEN sum_int + excluded.sum_int ELSE excluded.sum_int END,
	sum_real = max(-` + largest + `, min(` + largest + `,
		CASE WHEN abs(sum_int + excluded.sum_int) < 2305843009213693952 THEN sum_real ELSE sum_real + sum_int END + excluded.sum_real)),
	min = min(min, excluded.min),
	max = max(max, excluded.max),
	latest = CASE WHEN excluded.latest_at >= latest_at THEN excluded.latest ELSE latest END,
	latest_at = max(latest_at, excluded.latest_at)`

const insertUnique = `INSERT INTO uniques (meter, minute, subject, groups, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

// flush writes what was counted.
func (c *counted) flush(ctx context.Context, prepared *statements) error {
	if len(c.partials) > 0 {
		stmt, err := prepared.get(upsert)
		if err != nil {
			return err
		}
		for s, p := range c.partials {
			if _, err := stmt.ExecContext(ctx, s.meter, s.minute, s.subject, s.groups,
				p.n, p.sumInt, p.sumReal, p.min, p.max, p.latest, p.latestAt); err != nil {
				return err
			}
		}
	}
	if len(c.uniques) > 0 {
		stmt, err := prepared.get(insertUnique)
		if err != nil {
			return err
		}
		for u := range c.uniques {
			if _, err := stmt.ExecContext(ctx, u.meter, u.minute, u.subject, u.groups, u.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// recount counts all stored events for d.
func recount(ctx context.Context, tx *sql.Tx, d *definition) error {
	for _, table := range []string{"rollup", "uniques"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE meter = ?", d.key); err != nil {
			return err
		}
	}
	prepared := prepare(ctx, tx)
	defer prepared.close()
	const page = 10_000
	for after := int64(-1); ; {
		c, n, err := recountPage(ctx, tx, d, after, page)
		if err != nil {
			return err
		}
		if err := c.flush(ctx, prepared); err != nil {
			return err
		}
		if n.rows < page {
			return nil
		}
		after = n.last
	}
}

type pageEnd struct {
	rows int
	last int64
}

func recountPage(ctx context.Context, tx *sql.Tx, d *definition, after int64, page int) (counted, pageEnd, error) {
	c, end := newCounted(), pageEnd{}
	rows, err := tx.QueryContext(ctx,
		`SELECT seq, type, subject, time, event FROM events WHERE seq > ? ORDER BY seq LIMIT ?`, after, page)
	if err != nil {
		return c, end, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			typ, subject string
			at           int64
			event        []byte
		)
		if err := rows.Scan(&end.last, &typ, &subject, &at, &event); err != nil {
			return c, end, err
		}
		end.rows++
		if typ == d.EventType {
			c.add(d, subject, at, member(event, "data"))
		}
	}
	return c, end, rows.Err()
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// minuteOf is the minute in which t lies.
func minuteOf(t time.Time) int64 { return floorDiv(t.Unix(), 60) }
