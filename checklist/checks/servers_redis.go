package checks

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/system"
)

// redisLook is what Redis says of itself, asked directly or by the program.
type redisLook struct {
	system.Redis
	none bool // identities are in the program's memory, and there is no Redis
}

const setRedis = "set REDIS_URL or REDIS_URL_FILE to the api's"

func (a *serverArea) lookAtRedis(ctx context.Context) (redisLook, error) {
	return a.redis.get(ctx, redisPatience+reportPatience, func(ctx context.Context) (l redisLook, err error) {
		if a.RedisURL != "" {
			return a.askRedis(ctx)
		}
		r, err := a.report(ctx)
		if err != nil {
			return l, err
		}
		switch i := r.Identities; {
		case i.Redis != nil:
			l.Redis = *i.Redis
		case i.Store == system.StoreMemory:
			l.none = true
		case i.Store == system.StoreFallback:
			return l, &gap{"Redis is away: the program keeps identities in memory until it is back", "look at Redis, and at REDIS_URL of the api"}
		default:
			return l, &gap{"the program does not say what Redis is set to", setRedis + "; its user needs INFO"}
		}
		return l, nil
	})
}

func (a *serverArea) askRedis(ctx context.Context) (l redisLook, err error) {
	store, err := redis.NewOver(a.RedisURL, redisPatience, a.RedisDial)
	if err != nil {
		return l, &gap{err.Error(), setRedis}
	}
	defer store.Close()
	s, err := store.LookAtServer(ctx)
	if err != nil {
		return l, err
	}
	if !s.Told {
		return l, &gap{"the user of REDIS_URL may not use INFO", "give it +info, or use a user that has it"}
	}
	l.Redis = system.Redis{Policy: s.Policy, UsedBytes: s.UsedBytes, MaxBytes: s.MaxBytes, EvictedKeys: s.EvictedKeys, AppendOnly: s.AppendOnly, LastWriteOK: s.LastWriteOK}
	return l, nil
}

// lookAtRedisServer is the next step when Redis doesn't answer us.
const lookAtRedisServer = "look whether Redis runs, and at REDIS_URL"

// inMemory is said where there is no Redis. It holds less than with one, and the
// meter's own deduplication is what is left.
func inMemory(loses string) checklist.Finding {
	return checklist.Warned("there is no Redis: identities are in the program's memory, which "+loses+"; the meter then tells duplicates", "set REDIS_URL where events of more than a day, or of several replicas, must be told apart early")
}

func (a *serverArea) redisNoEviction(ctx context.Context) checklist.Finding {
	r, err := a.lookAtRedis(ctx)
	switch {
	case err != nil:
		return blind(err, lookAtRedisServer)
	case r.none:
		return inMemory("forgets the oldest past 500,000")
	case r.Policy != "noeviction":
		return checklist.Failed("maxmemory-policy is "+cut(r.Policy, 40)+": when it is full, Redis gives up identities", "set maxmemory-policy noeviction in redis.conf, and restart Redis")
	case r.MaxBytes == 0:
		return checklist.Warned("maxmemory-policy is noeviction, but there is no maxmemory: the kernel ends Redis when memory is full", "set maxmemory in redis.conf below the container's limit")
	case r.EvictedKeys > 0:
		return checklist.Warned(fmt.Sprintf("maxmemory-policy is noeviction now, but %d keys were evicted since Redis was started", r.EvictedKeys), "reconcile the day before (kgents reconcile), and look who changed the policy")
	}
	return checklist.Passed("maxmemory-policy is noeviction; %s of %s are used, nothing was evicted", size(r.UsedBytes), size(r.MaxBytes))
}

func (a *serverArea) redisPersistence(ctx context.Context) checklist.Finding {
	r, err := a.lookAtRedis(ctx)
	switch {
	case err != nil:
		return blind(err, lookAtRedisServer)
	case r.none:
		return inMemory("ends with it")
	case !r.AppendOnly:
		return checklist.Failed("Redis has no append-only file: a restart forgets every identity", "set appendonly yes in redis.conf, with its directory on a volume")
	case !r.LastWriteOK:
		return checklist.Failed("the last write to the append-only file failed", "look at the disk of Redis and at its log")
	}
	return checklist.Passed("the append-only file is on, and its last write went well")
}

// redisAnonymous sends a command without a password, and wants to be told so.
func (a *serverArea) redisAnonymous(ctx context.Context) checklist.Finding {
	if a.RedisURL == "" {
		r, err := a.report(ctx)
		switch {
		case err != nil:
			return blind(err, setRedis)
		case r.Identities.Store == system.StoreMemory:
			return checklist.Passed("there is no Redis: identities are in the program's memory, and no port leads there")
		}
		return checklist.CannotTell("the address of Redis is not known", setRedis)
	}
	// Who says no password may be allowed a PING, for probes. A key is what matters.
	answer, err := a.sayToRedis(ctx, "GET idempotency:checklist")
	const mend = "set a password (requirepass, or ACL users with 'user default off') and rotate what was open"
	switch {
	case err != nil:
		return checklist.CannotTell(cut("Redis does not answer: "+err.Error(), 200), lookAtRedisServer)
	case strings.HasPrefix(answer, "-NOAUTH"), strings.HasPrefix(answer, "-NOPERM"):
		return checklist.Passed("a GET without a password was refused: %s", cut(strings.TrimPrefix(answer, "-"), 90))
	case strings.HasPrefix(answer, "$"):
		return checklist.Failed("a GET without a password was answered", mend)
	case strings.HasPrefix(answer, "-DENIED"):
		return checklist.Failed("Redis has no password: only its protected mode kept this connection out", mend)
	}
	return checklist.CannotTell("a GET without a password was answered "+cut(answer, 60), "look whether REDIS_URL leads to Redis")
}

// sayToRedis sends a command on a connection that has said no password, and returns
// the first line of the answer.
func (a *serverArea) sayToRedis(ctx context.Context, command string) (string, error) {
	u, err := url.Parse(a.RedisURL)
	if err != nil {
		return "", errors.New("REDIS_URL is no URL") // the error would quote it
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	conn, err := a.RedisDial.dial(ctx, net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if u.Scheme == "rediss" {
		// Nothing secret is sent, and who answers is not believed.
		conn = tls.Client(conn, &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: true}) //nolint:gosec // see above
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil { // inline, as Redis takes from people
		return "", err
	}
	line, err := bufio.NewReaderSize(conn, 512).ReadString('\n')
	return strings.TrimSpace(line), err
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const unit = 1000
	value, units := float64(bytes), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%.0f B", value)
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// dial opens a TCP connection.
func (d Dialer) dial(ctx context.Context, address string) (net.Conn, error) {
	if d == nil {
		d = (&net.Dialer{Timeout: 3 * time.Second}).DialContext
	}
	return d(ctx, "tcp", address)
}
