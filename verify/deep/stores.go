package deep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/verify"
)

const (
	// oldest is the age of an unmetered event past which something is wrong; the
	// API calls itself degraded from the same age on.
	oldest = 2 * time.Minute

	// lettersSince is how far back dead letters are counted.
	lettersSince = time.Hour

	maxLetters = 1000     // that are counted
	maxAnswer  = 16 << 20 // of the API
)

func redisLine(ctx context.Context, config Config, c canary, k kubernetes) Line {
	if config.Redis == "" {
		return unknown(checkRedis, "REDIS_URL is not set", "set REDIS_URL or REDIS_URL_FILE, or "+inside)
	}
	store, err := redis.NewOver(config.Redis, redisPatience, config.RedisDial)
	if err != nil {
		return unknown(checkRedis, err.Error(), "correct REDIS_URL")
	}
	defer store.Close()
	for _, p := range k.api.pods {
		if p.err == nil && p.health.Redis.Status != "healthy" {
			return fail(checkRedis, p.Name+": "+detailed("Redis is "+p.health.Redis.Status, p.health.Redis.Detail), "look at the pod of Redis, and at REDIS_URL of the api")
		}
	}
	if !c.taken() {
		if err := store.Ping(ctx); err != nil {
			return away(err)
		}
		return unknown(checkRedis, "it answers, but no canary was taken whose key it could have", "see '"+checkCanary+"'")
	}
	r, err := store.Remembered(ctx, kgents.Event{Source: verify.Source, ID: c.result.ID}.Identity())
	const mend = "look at the api's log for 'idempotency store failed', and whether REDIS_URL is the api's"
	switch {
	case err != nil:
		return away(err)
	case !r.Found:
		return fail(checkRedis, "it answers, but does not have the canary's key", mend)
	case !r.Final:
		return fail(checkRedis, "the canary's key is a claim that was not committed", mend)
	case r.TTL <= 0:
		return fail(checkRedis, "the canary's key never ends", "something else writes keys idempotency:* without a TTL: find it before memory is full")
	case r.TTL > admit.DefaultTTL:
		return fail(checkRedis, fmt.Sprintf("the canary's key ends in %v, after more than %v", r.TTL, admit.DefaultTTL), "look at which version of the api runs")
	}
	return pass(checkRedis, fmt.Sprintf("the canary's key is there and ends in %v", r.TTL))
}

func away(err error) Line {
	return fail(checkRedis, err.Error(), "look at the pod of Redis, its network policy, and the password in REDIS_URL")
}

func backlogLine(ctx context.Context, t verify.Target) Line {
	if t.Key == "" {
		return unknown(checkBacklog, errNoKey.Error(), setKey)
	}
	ctx, cancel := within(ctx, backlogPatience)
	defer cancel()
	const look = "look at KGENTS_URL and at 'api pods'"
	body, err := ask(ctx, t, "/health/saas")
	if err != nil {
		return unknown(checkBacklog, err.Error(), look)
	}
	h, err := parseHealth(body)
	if err != nil {
		return unknown(checkBacklog, err.Error(), look)
	}
	if h.Backlog == nil {
		return unknown(checkBacklog, "the api does not know it", "see 'streams' and 'api pods'")
	}
	if body, err = ask(ctx, t, fmt.Sprintf("/api/v1/deadletters?since=%s&limit=%d", lettersSince, maxLetters)); err != nil {
		return unknown(checkBacklog, "dead letters: "+err.Error(), look)
	}
	var list struct {
		Letters []json.RawMessage
		Next    uint64
	}
	if json.Unmarshal(body, &list) != nil || list.Letters == nil {
		return unknown(checkBacklog, "the list of dead letters can't be read", "use a kgents of the API's version")
	}
	more := ""
	if list.Next > 0 {
		more = " or more"
	}
	age := time.Duration(h.Backlog.OldestAge * float64(time.Second)).Round(time.Second)
	seen := fmt.Sprintf("%d messages unmetered, the oldest %v; %d%s dead letters in the last hour", h.Backlog.Messages, age, len(list.Letters), more)
	switch {
	case age > oldest:
		return fail(checkBacklog, seen, "look at the sink's log and at the meter")
	case len(list.Letters) > 0:
		return fail(checkBacklog, seen, "kgents deadletter list --since 1h says why")
	case list.Next > 0:
		return unknown(checkBacklog, seen, "kgents deadletter list --since 1h looks at all of them")
	}
	return pass(checkBacklog, seen)
}

// ask reads one bounded answer of the API.
func ask(ctx context.Context, t verify.Target, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.Key)
	resp, err := over(t).Do(req)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%s does not answer in time", t.URL)
	}
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s%s", t.URL, resp.Status, problem(resp.Body))
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}
