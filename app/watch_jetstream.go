package app

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
)

// How often, in looks, the note of the last backup and the account's limit are read.
// What isn't known yet is asked for as often as the note.
const (
	noteEvery  = 10
	limitEvery = 300
)

// The values of the label `stream`, whatever the streams are called: rules and
// dashboards needn't know NATS_STREAM_NAME.
const (
	labelEvents = "events"
	labelDead   = "dead"
)

// jetstreamWatch is what the servers say of the streams, the sinks' place and the
// last backup. While they don't answer, has_leader is 0 and what can change without
// our knowing is absent: an alert on it is silent and those on the connection and on
// the leader speak. What only a later answer could change keeps its value.
type jetstreamWatch struct {
	app *App

	mu      sync.Mutex
	events  lookedAt
	dead    lookedAt
	sink    *stream.Lag
	newest  time.Time // when the newest dead letter was stored
	limit   int64     // of streams without a bound of their own; 0 if there is none
	limited bool      // limit is known
	backup  time.Time
	noted   bool // backup is known
	drill   time.Time
	drilled bool // drill is known
}

// lookedAt is a stream. Info is nil while the servers don't say.
type lookedAt struct {
	looked bool
	info   *stream.Info
}

// saw takes what a look at the stream of events has found.
func (w *jetstreamWatch) saw(s stream.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events, w.sink = lookedAt{true, s.Stream}, s.Sink
}

// lookAtDead reads the stream of dead letters, and the newest letter when there is
// another.
func (w *jetstreamWatch) lookAtDead(ctx context.Context) {
	now := lookedAt{looked: true}
	w.mu.Lock()
	before, newest := w.dead.info, w.newest
	w.mu.Unlock()
	i, err := stream.ReadInfo(ctx, w.app.js, w.app.streams.DeadName())
	if err == nil {
		if before == nil || before.Last != i.Last || before.Messages != i.Messages {
			newest, err = stream.ReadNewestDead(ctx, w.app.js, w.app.streams)
		}
		if err == nil {
			now.info = &i
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.newest = now, newest
}

// deadKnown is false while the servers don't say, as at the start, when the stream
// is being made: then the next look comes without delay, so that nobody is told for
// long that it has no leader.
func (w *jetstreamWatch) deadKnown() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead.info != nil
}

func (w *jetstreamWatch) lookAtBackup(ctx context.Context) {
	at, noBackup := backup.Last(ctx, w.app.js, w.app.streams)
	drill, noDrill := backup.LastDrill(ctx, w.app.js, w.app.streams)
	w.mu.Lock()
	defer w.mu.Unlock()
	if noBackup == nil {
		if w.noted && at.After(w.backup) {
			w.app.remember(history.Backup, "a backup was made", "of "+at.UTC().Format(time.RFC3339))
		}
		w.backup, w.noted = at, true
	}
	if noDrill == nil {
		if w.drilled && drill.At.After(w.drill) {
			w.app.remember(history.Backup, "a backup was restored in a drill", "of "+drill.Backup+", at "+drill.At.UTC().Format(time.RFC3339))
		}
		w.drill, w.drilled = drill.At, true
	}
}

// lookAtLimit asks for the account's limit in the first look and in every
// limitEvery-th, and meanwhile only while it is not known.
func (w *jetstreamWatch) lookAtLimit(ctx context.Context, n int) {
	w.mu.Lock()
	limited := w.limited
	w.mu.Unlock()
	if w.app.storeLimit > 0 || limited && n%limitEvery != 0 {
		return
	}
	limit, err := stream.ReadAccountLimit(ctx, w.app.js, w.app.streams.Replicas)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit, w.limited = limit, true
}

var (
	perStream = []string{"stream"}

	streamLeader = prometheus.NewDesc("kgents_nats_stream_has_leader",
		"1 while a majority of the stream's copies agrees on a leader, so that it can be written to. 0 otherwise, also when no server answers: NATS has no quorum where kgents_nats_connected is 1.", perStream, nil)
	streamBytes = prometheus.NewDesc("kgents_nats_stream_bytes",
		"Size of the stream, of one copy. Absent while the servers don't say.", perStream, nil)
	streamLimit = prometheus.NewDesc("kgents_nats_stream_limit_bytes",
		"Size at which the stream is full: NATS_STREAM_MAX_BYTES, else what the account, or the embedded server's disk, allows all streams together. Absent without a limit: then only the servers' disks are one.", perStream, nil)
	streamMessages = prometheus.NewDesc("kgents_nats_stream_messages",
		"Messages in the stream, of one copy. Absent while the servers don't say.", perStream, nil)
	streamFirst = prometheus.NewDesc("kgents_nats_stream_first_sequence",
		"Sequence of the stream's oldest message. Absent while the servers don't say.", perStream, nil)
	streamLast = prometheus.NewDesc("kgents_nats_stream_last_sequence",
		"Sequence of the stream's newest message; its rate is that of storing. Absent while the servers don't say.", perStream, nil)
	streamReplicas = prometheus.NewDesc("kgents_nats_stream_replicas",
		"Copies of the stream that there should be. Absent while the servers don't say.", perStream, nil)
	streamCurrent = prometheus.NewDesc("kgents_nats_stream_replicas_current",
		"Copies of the stream that have all of it, the leader's included. Absent while the servers don't say.", perStream, nil)

	sinkPending = prometheus.NewDesc("kgents_nats_consumer_pending_messages",
		"Messages of events that no sink has been sent yet. Absent while the servers don't say, and before the first sink.", nil, nil)
	sinkAckPending = prometheus.NewDesc("kgents_nats_consumer_ack_pending_messages",
		"Messages of events that a sink has and has not finished. Absent while the servers don't say, and before the first sink.", nil, nil)
	sinkRedelivered = prometheus.NewDesc("kgents_nats_consumer_redelivered_messages",
		"Those of them that were delivered more than once. Absent while the servers don't say, and before the first sink.", nil, nil)

	deadWaiting = prometheus.NewDesc("kgents_deadletters_waiting",
		"Dead letters that were neither replayed nor dropped. Absent while the servers don't say.", nil, nil)
	deadOldest = prometheus.NewDesc("kgents_deadletters_oldest_age_seconds",
		"Age of the oldest dead letter that waits; 0 without one. Absent while the servers don't say.", nil, nil)
	deadNewest = prometheus.NewDesc("kgents_deadletters_newest_age_seconds",
		"Age of the newest dead letter that waits. Absent without one, and while the servers don't say.", nil, nil)

	lastBackup = prometheus.NewDesc("kgents_backup_last_success_timestamp_seconds",
		"The moment that the last 'kgents stream backup' of these servers holds; 0 if there never was one. It stays while the servers are away, and is absent before they have answered once. Use the maximum.", nil, nil)
	lastDrill = prometheus.NewDesc("kgents_backup_last_drill_timestamp_seconds",
		"When the last 'kgents stream drill' ended that restored a backup and found it well; 0 if there never was one. It stays while the servers are away, and is absent before they have answered once. Use the maximum.", nil, nil)
)

// Describe implements prometheus.Collector.
func (w *jetstreamWatch) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		streamLeader, streamBytes, streamLimit, streamMessages, streamFirst, streamLast, streamReplicas, streamCurrent,
		sinkPending, sinkAckPending, sinkRedelivered, deadWaiting, deadOldest, deadNewest, lastBackup, lastDrill,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (w *jetstreamWatch) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for label, s := range map[string]lookedAt{labelEvents: w.events, labelDead: w.dead} {
		if !s.looked {
			continue
		}
		gauge(streamLeader, one(s.info != nil && s.info.Leader), label)
		if s.info == nil {
			continue
		}
		gauge(streamBytes, float64(s.info.Bytes), label)
		gauge(streamMessages, float64(s.info.Messages), label)
		gauge(streamFirst, float64(s.info.First), label)
		gauge(streamLast, float64(s.info.Last), label)
		gauge(streamReplicas, float64(s.info.Replicas), label)
		gauge(streamCurrent, float64(s.info.Current), label)
		if limit := cmp.Or(s.info.MaxBytes, w.limit); limit > 0 {
			gauge(streamLimit, float64(limit), label)
		}
	}
	if w.sink != nil {
		gauge(sinkPending, float64(w.sink.Pending))
		gauge(sinkAckPending, float64(w.sink.AckPending))
		gauge(sinkRedelivered, float64(w.sink.Redelivered))
	}
	if dead := w.dead.info; dead != nil {
		now := time.Now()
		gauge(deadWaiting, float64(dead.Messages))
		gauge(deadOldest, age(dead.Oldest, now))
		if dead.Messages > 0 && !w.newest.IsZero() {
			gauge(deadNewest, age(w.newest, now))
		}
	}
	if w.noted {
		gauge(lastBackup, timestamp(w.backup))
	}
	if w.drilled {
		gauge(lastDrill, timestamp(w.drill))
	}
}

// age is in seconds, 0 of what never was.
func age(t, now time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Seconds())
}

// timestamp is in seconds, 0 of what never was.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
