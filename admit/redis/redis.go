// Package redis keeps identities in Redis 7.0 or later, shared by all replicas.
//
// It promises the semantics of admit.Store as long as Redis keeps what it was
// told. A key is `idempotency:` and the identity. Its value says whether it is a
// claim, and whose, or final. A batch costs one round trip, and every command is
// atomic: two replicas that claim the same identity are told apart by Redis.
//
// A server that fails over can forget the last second, and one that is full may
// refuse: then an event is published twice, and the identity at the meter makes
// it count once. When Redis is away or slow, every method returns an error within
// the timeout; package fallback goes on without it.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/kgents/kgents/admit"
)

const (
	// DefaultTimeout is how long one call may take, connecting included. A call
	// with many identities gets perID more for each.
	DefaultTimeout = 250 * time.Millisecond
	perID          = 20 * time.Microsecond

	// connections bounds the connections of one process. Past it a call waits for
	// one, within its timeout.
	connections = 16

	prefix = "idempotency:"
	final  = "final"
	claim  = "claim:" // and the owner
)

// release deletes those of KEYS whose value is ARGV[1]. It is one script, so that
// nobody's claim is deleted that was made between a look and a delete.
var release = goredis.NewScript(`
for _, key in ipairs(KEYS) do
	if redis.call('GET', key) == ARGV[1] then
		redis.call('DEL', key)
	end
end
return 0`)

// Store implements admit.Store.
type Store struct {
	client  *goredis.Client
	timeout time.Duration
	closed  atomic.Bool
}

var _ admit.Store = (*Store)(nil)

// The client writes each failed dial to standard error by itself. We say once
// that Redis is away.
func init() { logging.Disable() }

// New returns a store that connects with its first call. The address is
// redis://[user:password@]host:port[/database], or rediss:// for TLS; timeout 0
// means DefaultTimeout. The error never holds the password.
func New(address string, timeout time.Duration) (*Store, error) {
	return NewOver(address, timeout, nil)
}

// NewOver is New for a Redis that dial reaches, not the name in its address alone;
// nil dials as usual. With rediss:// TLS goes on top.
func NewOver(address string, timeout time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*Store, error) {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	options, err := Options(address, timeout)
	if err != nil {
		return nil, err
	}
	if dial != nil {
		options.Dialer = over(dial, options.TLSConfig)
	}
	return &Store{client: goredis.NewClient(options), timeout: timeout}, nil
}

// Options are a client's settings for the Redis at address, see New: a call takes as
// long as its context says, connecting timeout at most, and is never tried again by
// itself. The error never holds the password.
func Options(address string, timeout time.Duration) (*goredis.Options, error) {
	options, err := goredis.ParseURL(address)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // the other fields quote the address
		}
		return nil, fmt.Errorf("the address of Redis is not usable (it looks like redis://user:password@host:6379/0): %s", redact(err.Error(), address))
	}
	options.ClientName = "kgents"
	options.ContextTimeoutEnabled = true
	options.DialTimeout = timeout
	options.DialerRetries = 1
	options.ReadTimeout = -1 // the context's deadline counts
	options.WriteTimeout = -1
	options.PoolTimeout = timeout
	options.PoolSize = connections
	options.MaxRetries = -1 // a claim whose answer was lost would be taken for another's
	return options, nil
}

// over adds TLS, which the client leaves to who dials.
func over(dial func(ctx context.Context, network, addr string) (net.Conn, error), config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if config == nil {
		return dial
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

func redact(text, address string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && password != "" {
			text = strings.ReplaceAll(text, password, "…")
		}
	}
	return strings.ReplaceAll(text, address, "…")
}

// CheckAndSet implements admit.Store.
func (s *Store) CheckAndSet(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	isNew := false
	err := s.call(ctx, 1, func(ctx context.Context) error {
		err := s.client.SetArgs(ctx, prefix+id, final, goredis.SetArgs{Mode: "NX", TTL: ttl}).Err()
		isNew = err == nil
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		return err
	})
	return isNew, err
}

// Claim implements admit.Store.
func (s *Store) Claim(ctx context.Context, owner string, ids []string, lease time.Duration) ([]admit.State, error) {
	states := make([]admit.State, len(ids))
	mine := claim + owner
	err := s.call(ctx, len(ids), func(ctx context.Context) error {
		before, err := s.pipeline(ctx, len(ids), func(pipe goredis.Pipeliner, i int) {
			pipe.SetArgs(ctx, prefix+ids[i], mine, goredis.SetArgs{Mode: "NX", Get: true, TTL: lease})
		})
		if err != nil {
			return err
		}
		for i, cmd := range before {
			value, err := cmd.(*goredis.StatusCmd).Result()
			switch {
			case errors.Is(err, goredis.Nil):
				states[i] = admit.Won
			case err != nil:
				return err
			case value == mine:
				states[i] = admit.Mine
			case value == final:
				states[i] = admit.Done
			default:
				states[i] = admit.Held
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// Commit implements admit.Store.
func (s *Store) Commit(ctx context.Context, _ string, ids []string, ttl time.Duration) error {
	return s.call(ctx, len(ids), func(ctx context.Context) error {
		_, err := s.pipeline(ctx, len(ids), func(pipe goredis.Pipeliner, i int) {
			pipe.SetArgs(ctx, prefix+ids[i], final, goredis.SetArgs{TTL: ttl})
		})
		return err
	})
}

// Release implements admit.Store.
func (s *Store) Release(ctx context.Context, owner string, ids []string) error {
	if len(ids) == 0 {
		return s.call(ctx, 0, func(context.Context) error { return nil })
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = prefix + id
	}
	return s.call(ctx, len(ids), func(ctx context.Context) error {
		return release.Run(ctx, s.client, keys, claim+owner).Err()
	})
}

// Ping returns nil when Redis answers and can be written to.
func (s *Store) Ping(ctx context.Context) error {
	return s.call(ctx, 1, func(ctx context.Context) error {
		return s.client.Set(ctx, prefix+"\x00ping", "", time.Second).Err()
	})
}

// Close implements admit.Store.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.client.Close()
}

// call runs one round trip within the timeout.
func (s *Store) call(ctx context.Context, ids int, do func(context.Context) error) error {
	if s.client == nil || s.closed.Load() {
		return admit.ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout+time.Duration(ids)*perID)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := do(limited)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, goredis.ErrClosed):
		return admit.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil || isTimeout(err):
		return fmt.Errorf("redis did not answer within %v: %w", s.timeout, err)
	default:
		return fmt.Errorf("redis: %w", err)
	}
}

func isTimeout(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return ok && network.Timeout()
}

// pipeline sends n commands in one round trip. The error is the first that isn't
// about a key that is not there.
func (s *Store) pipeline(ctx context.Context, n int, add func(pipe goredis.Pipeliner, i int)) ([]goredis.Cmder, error) {
	pipe := s.client.Pipeline()
	for i := range n {
		add(pipe, i)
	}
	cmds, err := pipe.Exec(ctx)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, goredis.Nil) {
			return nil, err
		}
	}
	if err != nil && !errors.Is(err, goredis.Nil) {
		return nil, err // of the connection: the commands don't know of it
	}
	return cmds, nil
}
