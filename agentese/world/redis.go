package world

import (
	"context"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/system"
)

func (w *world) redis() *tree.Node {
	return &tree.Node{
		Name: "redis",
		Line: "where the identities of events are kept, so that each counts once: Redis, or memory",
		Doc: "Every event's identity is remembered for a time, so that one which is sent twice is admitted once. Replicas share Redis for that; without REDIS_URL, or while Redis is away, each keeps them in its own memory. " +
			"Nothing is lost or counted twice then, since the meter knows events too, but replicas don't see each other's. Figures are from GET /api/v1/system, /health/saas and /metrics. " +
			"Memory as a stand-in for five minutes is the alert RedisFallback; keys given up for lack of memory are RedisEvictions. Then look at Redis: its memory, its policy (noeviction) and its append-only file.",
		Synonyms: []string{"cache", "idempotency", "duplicates", "dedup", "deduplication", "identities", "memory store", "key value store", "kv", "idempotency store", "once only", "double counting"},
		Operator: true,
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "Redis or memory, memory used, evictions, persistence, duplicates found",
				Asks: []string{
					"is redis up", "is the cache down", "how much memory does redis use", "are duplicates filtered", "do we count events twice", "is redis out of memory", "evictions",
					"is idempotency working", "why fallback to memory", "is redis persisting", "how many duplicates did we get", "is the dedup store healthy",
				},
				Examples: []tree.Example{{Expr: "world.redis.manifest", Line: "which store is in use, and how it is"}},
				See:      w.seeRedis,
			},
			{
				Aspect: agentese.Witness, Line: "its history: up or away, memory, errors, duplicates",
				Asks: []string{
					"when did redis go down", "redis memory over time", "redis outage history", "did redis restart", "duplicates over time", "when did we fall back to memory",
					"idempotency errors last hours", "is redis memory growing", "was the cache away last night", "redis trend",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.redis.witness", Line: "the last hour"}},
				See: w.witness(past{title: "Identities", kinds: []string{"health"}, only: of("redis"), figures: []figure{
					{name: "kgents_redis_up", title: "up"},
					{name: "kgents_redis_memory_used_bytes", title: "memory", unit: "bytes"},
					{name: "kgents_idempotency_errors_total", title: "errors", unit: "1/s", rate: true},
					{name: "kgents_idempotency_waiting", title: "waiting for redis"},
					{name: "kgents_events_duplicate_total", title: "duplicates", unit: "1/s", rate: true},
				}, next: []tree.Example{{Expr: "world.redis.manifest", Line: "how it is now"}}}),
			},
		},
	}
}

func (w *world) seeRedis(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	s, err := w.health(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Identities of events", State: redisState(s)}
	add(&v, "store", text(r.Identities.Store), "", v.State, s.Redis.Detail)
	m, err := w.Metrics(ctx)
	unknown(&v, "Duplicates and errors", err)
	if redis := r.Identities.Redis; redis != nil {
		add(&v, "memory", redis.UsedBytes, "bytes", "", "")
		if redis.MaxBytes > 0 {
			v.Add("memory limit", redis.MaxBytes, "bytes").Add("memory used", percent(redis.UsedBytes, redis.MaxBytes), "percent")
		} else {
			add(&v, "memory limit", nil, "bytes", "", "none is set")
		}
		v.Add("policy", redis.Policy, "")
		add(&v, "evicted keys", redis.EvictedKeys, "", "", "since Redis was started; alert RedisEvictions when there are new ones")
		v.Add("append-only file", redis.AppendOnly, "")
		written := tree.Well
		if !redis.LastWriteOK {
			written = tree.Bad
		}
		add(&v, "last write to it went well", redis.LastWriteOK, "", written, "")
		v.Add("ping", seconds(m.Sum("kgents_redis_ping_seconds")), "")
	} else if r.Identities.Store != system.StoreMemory {
		v.Note("Redis does not tell of itself: it is away, or its user may not use INFO.")
	}
	v.Add("duplicates", m.Count("kgents_events_duplicate_total"), "").Add("errors", m.Count("kgents_idempotency_errors_total"), "")
	v.Add("waiting for Redis", m.Count("kgents_idempotency_waiting"), "")
	v.Note("Duplicates and errors are counted since the program's start.")
	if r.Identities.Store == system.StoreMemory {
		v.Note("Several replicas need a shared store: set REDIS_URL.")
	}
	v.Then("world.redis.witness", "its last hour")
	return v, nil
}

// redisState is that of the store of identities. Memory is well where nobody has asked
// for Redis.
func redisState(s saas) tree.State {
	if s.Redis.Status == "disabled" {
		return tree.Well
	}
	return stateOf(s.Redis.Status, "")
}
