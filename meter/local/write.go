package local

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/kgents/kgents"
)

const (
	// maxQueued bounds the events that wait for the writer, and mergeUpTo how many
	// share a transaction and its sync when more are waiting.
	maxQueued = 200_000
	mergeUpTo = 8_000
)

// job is one request's events.
type job struct {
	events []kgents.Event
	done   chan error
}

// writer is the one goroutine that writes events. Requests that arrive while a
// transaction is under way share the next.
type writer struct {
	store *Store

	mu     sync.Mutex
	ready  sync.Cond
	jobs   []job
	queued int
	closed bool
	ended  sync.WaitGroup
}

func startWriter(s *Store) *writer {
	w := &writer{store: s}
	w.ready.L = &w.mu
	w.ended.Go(w.run)
	return w
}

// stop writes what is queued and ends the writer.
func (w *writer) stop() {
	w.mu.Lock()
	w.closed = true
	w.ready.Broadcast()
	w.mu.Unlock()
	w.ended.Wait()
}

// add returns when events are on disk and counted.
func (w *writer) add(ctx context.Context, events []kgents.Event) error {
	if len(events) == 0 {
		return nil
	}
	j := job{events, make(chan error, 1)}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return kgents.Unavailable(time.Second, "the meter is stopping: send it again", nil)
	}
	if w.queued > 0 && w.queued+len(events) > maxQueued {
		w.mu.Unlock()
		return kgents.Unavailable(time.Second, "too much is waiting to be written: send it again", nil)
	}
	w.jobs = append(w.jobs, j)
	w.queued += len(events)
	w.ready.Signal()
	w.mu.Unlock()
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return kgents.Unavailable(time.Second, "the meter is too slow: send it again", ctx.Err())
	}
}

func (w *writer) run() {
	for {
		jobs := w.take()
		if len(jobs) == 0 {
			return
		}
		err := w.store.insert(context.Background(), jobs)
		if err != nil {
			w.store.log.Error("the meter could not write, nothing of this batch is counted", "error", err)
			err = kgents.Unavailable(5*time.Second, "the meter can't write: look at its log and its disk", err)
		}
		for _, j := range jobs {
			j.done <- err
		}
	}
}

func (w *writer) take() []job {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.jobs) == 0 {
		if w.closed {
			return nil
		}
		w.ready.Wait()
	}
	n, events := 0, 0
	for n < len(w.jobs) && (n == 0 || events+len(w.jobs[n].events) <= mergeUpTo) {
		events += len(w.jobs[n].events)
		n++
	}
	jobs := append([]job(nil), w.jobs[:n]...)
	rest := copy(w.jobs, w.jobs[n:])
	clear(w.jobs[rest:])
	w.jobs = w.jobs[:rest]
	w.queued -= events
	return jobs
}

const insertEvent = `INSERT INTO events (id, source, type, subject, time, ingested_at, event)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

// insert writes jobs in one transaction: each event that is new, and what it
// adds to the meters.
func (s *Store) insert(ctx context.Context, jobs []job) error {
	s.mu.RLock() // no meter changes while events are counted
	defer s.mu.RUnlock()
	start := time.Now()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	stmts := prepare(ctx, tx)
	defer stmts.close()
	insert, err := stmts.get(insertEvent)
	if err != nil {
		return err
	}
	now := start.UnixMilli()
	fresh, total, invalid := 0, 0, 0
	c := newCounted()
	for _, j := range jobs {
		for _, e := range j.events {
			total++
			at := e.Time.Unix()
			res, err := insert.ExecContext(ctx, e.ID, e.Source, e.Type, e.Subject, at, now, e.Raw)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 0 {
				continue // counted before
			}
			fresh++
			bad := len(s.byType[e.Type]) == 0
			for _, d := range s.byType[e.Type] {
				bad = c.add(d, e.Subject, at, e.Data) != "" || bad
			}
			if bad {
				invalid++
			}
		}
	}
	if err := c.flush(ctx, stmts); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.metrics.stored.Add(float64(fresh))
	s.metrics.duplicates.Add(float64(total - fresh))
	s.metrics.invalid.Add(float64(invalid))
	s.metrics.commit.Observe(time.Since(start).Seconds())
	return nil
}

// statements are prepared once a transaction.
type statements struct {
	ctx  context.Context
	tx   *sql.Tx
	have map[string]*sql.Stmt
}

func prepare(ctx context.Context, tx *sql.Tx) *statements {
	return &statements{ctx, tx, map[string]*sql.Stmt{}}
}

func (s *statements) get(query string) (*sql.Stmt, error) {
	if stmt := s.have[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.tx.PrepareContext(s.ctx, query)
	if err == nil {
		s.have[query] = stmt
	}
	return stmt, err
}

func (s *statements) close() {
	for _, stmt := range s.have {
		_ = stmt.Close()
	}
}
