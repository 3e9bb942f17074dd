// Package local is the embedded meter: OpenMeter's ingest, list and query routes
// on SQLite.
//
// It promises that a 204 means the events are on disk (write-ahead log, synced
// with every transaction), that an event counts once by (source, id) for as long
// as the database lives, and that queries answer from sums kept by the minute, so
// that they don't get slower with the number of events. Times of a query are cut
// to the minute.
//
// It depends on nothing but its file. When the disk is full or fails, ingest
// answers 503 and nothing of the batch is counted. It is bounded: past maxQueued
// waiting events ingest answers 503 with Retry-After.
package local

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/kgents/kgents/meter"
)

const schema = `
CREATE TABLE IF NOT EXISTS events (
	seq         INTEGER PRIMARY KEY, -- order of arrival
	id          TEXT NOT NULL,
	source      TEXT NOT NULL,
	type        TEXT NOT NULL,
	subject     TEXT NOT NULL,
	time        INTEGER NOT NULL,    -- Unix seconds
	ingested_at INTEGER NOT NULL,    -- Unix milliseconds
	event       BLOB NOT NULL        -- the CloudEvent as it came
) STRICT;

-- Ids that are ordered by time keep the pages that an insert touches few.
CREATE UNIQUE INDEX IF NOT EXISTS events_identity ON events (id, source);

-- For lists of a period, which reconciliation asks for. Times mostly grow, so an
-- insert touches its last page.
CREATE INDEX IF NOT EXISTS events_time ON events (time);

CREATE TABLE IF NOT EXISTS meters (
	key        INTEGER PRIMARY KEY,
	id         TEXT NOT NULL UNIQUE,
	slug       TEXT NOT NULL UNIQUE,
	definition TEXT NOT NULL,        -- JSON
	created_at INTEGER NOT NULL,     -- Unix seconds
	updated_at INTEGER NOT NULL
) STRICT;

-- What a meter counts, by the minute. sum_int holds whole numbers exactly,
-- sum_real the rest.
CREATE TABLE IF NOT EXISTS rollup (
	meter     INTEGER NOT NULL,
	minute    INTEGER NOT NULL,      -- Unix minutes
	subject   TEXT NOT NULL,
	groups    TEXT NOT NULL,         -- JSON array in the order of the group-bys' names
	n         INTEGER NOT NULL,
	sum_int   INTEGER NOT NULL,
	sum_real  REAL NOT NULL,
	min       REAL NOT NULL,
	max       REAL NOT NULL,
	latest    REAL NOT NULL,
	latest_at INTEGER NOT NULL,      -- Unix seconds
	PRIMARY KEY (meter, minute, subject, groups)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS uniques (
	meter   INTEGER NOT NULL,
	minute  INTEGER NOT NULL,
	subject TEXT NOT NULL,
	groups  TEXT NOT NULL,
	value   TEXT NOT NULL,
	PRIMARY KEY (meter, minute, subject, groups, value)
) STRICT, WITHOUT ROWID;
`

// Sizes of SQLite's caches and log.
const (
	writerCache = 32 << 10 // KiB
	readerCache = 4 << 10  // KiB each
	readers     = 4
	checkpoint  = 4000 // pages of the log, 16 MB
)

// Config is what a Store needs.
type Config struct {
	Path       string // of the database file; its directory exists
	Meters     []meter.Meter
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Store is the embedded meter. It is safe for concurrent use by one process.
type Store struct {
	log     *slog.Logger
	metrics *metrics
	write   *sql.DB // one connection
	read    *sql.DB

	mu     sync.RWMutex           // guards defs and byType; taken before the writing connection
	defs   map[string]*definition // by slug
	byType map[string][]*definition

	writer  *writer
	closing sync.Once
	closed  error
}

// Open opens or makes the database, brings its meters to those of c, and counts
// anew, from the events, what a changed meter counts.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	s := &Store{log: c.Log, metrics: newMetrics(c.Registerer), defs: map[string]*definition{}, byType: map[string][]*definition{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeFiles())
		}
	}()
	if s.write, err = open(c.Path, writerCache, 1, "&_txlock=immediate"); err != nil {
		return nil, err
	}
	if _, err = s.write.ExecContext(ctx, schema); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	if s.read, err = open(c.Path, readerCache, readers, "&mode=ro"); err != nil {
		return nil, err
	}
	if err = s.loadMeters(ctx); err != nil {
		return nil, err
	}
	for _, m := range c.Meters {
		if err = s.putMeter(ctx, m); err != nil {
			return nil, err
		}
	}
	s.writer = startWriter(s)
	return s, nil
}

func open(path string, cacheKiB, conns int, extra string) (*sql.DB, error) {
	pragmas := []string{"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)", "temp_store(MEMORY)",
		fmt.Sprintf("cache_size(-%d)", cacheKiB), fmt.Sprintf("wal_autocheckpoint(%d)", checkpoint), "journal_size_limit(67108864)"}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma="+strings.Join(pragmas, "&_pragma=")+extra)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// Close finishes what is queued and closes the database. It may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.writer.stop()
		s.closed = s.closeFiles()
	})
	return s.closed
}

func (s *Store) closeFiles() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// loadMeters reads the meters that the database knows.
func (s *Store) loadMeters(ctx context.Context) error {
	rows, err := s.write.QueryContext(ctx, `SELECT key, id, definition, created_at, updated_at FROM meters`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			key, created, updated int64
			id, text              string
			m                     meter.Meter
		)
		if err := rows.Scan(&key, &id, &text, &created, &updated); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return fmt.Errorf("meter %s in the database: %w", id, err)
		}
		m.ID, m.CreatedAt, m.UpdatedAt = id, time.Unix(created, 0).UTC(), time.Unix(updated, 0).UTC()
		d, err := define(key, m)
		if err != nil {
			return err
		}
		s.adopt(d)
	}
	return rows.Err()
}

// adopt makes d count from now on. The caller holds mu, or is alone.
func (s *Store) adopt(d *definition) {
	if old := s.defs[d.Slug]; old != nil {
		list := s.byType[old.EventType]
		for i := range list {
			if list[i] == old {
				s.byType[old.EventType] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
	}
	s.defs[d.Slug] = d
	s.byType[d.EventType] = append(s.byType[d.EventType], d)
}

// putMeter makes m, or changes the meter of its slug to m. A change counts the
// stored events anew.
func (s *Store) putMeter(ctx context.Context, m meter.Meter) error {
	if err := check(m); err != nil {
		return err
	}
	m.ID, m.CreatedAt, m.UpdatedAt = "", time.Time{}, time.Time{}
	if m.EventFrom != nil {
		from := m.EventFrom.UTC()
		m.EventFrom = &from
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// Held to the end: an event that is stored meanwhile would be counted neither
	// by the recount nor by the new definition.
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.defs[m.Slug]
	now := time.Now().UTC().Truncate(time.Second)
	m.CreatedAt, m.UpdatedAt = now, now
	if old != nil {
		before := old.Meter
		before.ID, before.CreatedAt, before.UpdatedAt = "", time.Time{}, time.Time{}
		if was, err := json.Marshal(before); err == nil && string(was) == string(text) {
			return nil
		}
		m.ID, m.CreatedAt = old.ID, old.CreatedAt
	} else {
		m.ID = meterID(m.Slug, now)
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var key int64
	err = tx.QueryRowContext(ctx, `INSERT INTO meters (id, slug, definition, created_at, updated_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (slug) DO UPDATE SET definition = excluded.definition, updated_at = excluded.updated_at RETURNING key`,
		m.ID, m.Slug, string(text), m.CreatedAt.Unix(), m.UpdatedAt.Unix()).Scan(&key)
	if err != nil {
		return err
	}
	d, err := define(key, m)
	if err != nil {
		return err
	}
	if err := recount(ctx, tx, d); err != nil {
		return fmt.Errorf("counting meter %s anew: %w", m.Slug, err)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.adopt(d)
	return nil
}

// meterID is an id in the form of OpenMeter's, a ULID: 48 bits of time and 80
// bits that are the slug's hash, in Crockford's alphabet.
func meterID(slug string, at time.Time) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var out [26]byte
	ms := uint64(at.UnixMilli())
	for i := 9; i >= 0; i-- {
		out[i] = alphabet[ms&31]
		ms >>= 5
	}
	sum := sha256.Sum256([]byte(slug))
	for i := range 16 {
		out[10+i] = alphabet[sum[i]&31]
	}
	return string(out[:])
}
