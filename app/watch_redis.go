package app

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/admit/redis"
)

// redisWatch is what Redis says of itself, every fifth look. While it is away only
// `kgents_redis_up` is there, and is 0. A user without the right to INFO gets that and
// the ping.
type redisWatch struct {
	store *redis.Store

	mu     sync.Mutex
	looked bool
	up     bool
	last   redis.Server
}

func (w *redisWatch) look(ctx context.Context) {
	s, err := w.store.LookAtServer(ctx)
	if ctx.Err() != nil && err != nil {
		return // we stop
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked, w.up, w.last = true, err == nil, s
}

var (
	redisUp = prometheus.NewDesc("kgents_redis_up",
		"1 while Redis answers and can be written to, 0 otherwise.", nil, nil)
	redisPing = prometheus.NewDesc("kgents_redis_ping_seconds",
		"Time of the last small write to Redis. Absent while it is away.", nil, nil)
	redisMaster = prometheus.NewDesc("kgents_redis_master",
		"1 if this Redis is a master, 0 if a replica. Absent while it is away.", nil, nil)
	redisUsed = prometheus.NewDesc("kgents_redis_memory_used_bytes",
		"Memory that Redis uses. Absent while it is away.", nil, nil)
	redisMax = prometheus.NewDesc("kgents_redis_memory_limit_bytes",
		"Memory that Redis may use (maxmemory). Absent without a limit, and while it is away.", nil, nil)
	redisEvicted = prometheus.NewDesc("kgents_redis_evicted_keys_total",
		"Keys that Redis gave up for lack of memory since it was started. Each may be an identity that is forgotten too early.", nil, nil)
	redisClients = prometheus.NewDesc("kgents_redis_connected_clients",
		"Connections to Redis, of all programs. Absent while it is away.", nil, nil)
	redisLoading = prometheus.NewDesc("kgents_redis_loading",
		"1 while Redis reads its data from disk. Absent while it is away.", nil, nil)
	redisAppendOnly = prometheus.NewDesc("kgents_redis_aof_enabled",
		"1 if Redis writes to its append-only file, so that a restart forgets nothing but the last second.", nil, nil)
	redisWriteOK = prometheus.NewDesc("kgents_redis_aof_last_write_ok",
		"1 if the last write to the append-only file went well. Absent while it is away.", nil, nil)
)

// Describe implements prometheus.Collector.
func (w *redisWatch) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		redisUp, redisPing, redisMaster, redisUsed, redisMax, redisEvicted, redisClients, redisLoading, redisAppendOnly, redisWriteOK,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (w *redisWatch) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.looked {
		return
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(redisUp, one(w.up))
	if !w.up {
		return
	}
	gauge(redisPing, w.last.Ping.Seconds())
	if !w.last.Told {
		return
	}
	gauge(redisMaster, one(w.last.Master))
	gauge(redisUsed, float64(w.last.UsedBytes))
	if w.last.MaxBytes > 0 {
		gauge(redisMax, float64(w.last.MaxBytes))
	}
	out <- prometheus.MustNewConstMetric(redisEvicted, prometheus.CounterValue, float64(w.last.EvictedKeys))
	gauge(redisClients, float64(w.last.ConnectedClients))
	gauge(redisLoading, one(w.last.Loading))
	gauge(redisAppendOnly, one(w.last.AppendOnly))
	gauge(redisWriteOK, one(w.last.LastWriteOK))
}
