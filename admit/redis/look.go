package redis

import (
	"context"
	"errors"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Record is what Redis has of an identity.
type Record struct {
	Found bool
	Final bool          // committed, not a claim
	TTL   time.Duration // in whole seconds; 0 if it never ends
}

// Remembered looks at an identity and changes nothing.
func (s *Store) Remembered(ctx context.Context, id string) (r Record, err error) {
	err = s.call(ctx, 1, func(ctx context.Context) error {
		cmds, err := s.pipeline(ctx, 1, func(pipe goredis.Pipeliner, _ int) {
			pipe.Get(ctx, prefix+id)
			pipe.TTL(ctx, prefix+id)
		})
		if err != nil {
			return err
		}
		value, err := cmds[0].(*goredis.StringCmd).Result()
		if errors.Is(err, goredis.Nil) {
			return nil
		}
		if err != nil {
			return err
		}
		r = Record{Found: true, Final: value == final, TTL: max(0, cmds[1].(*goredis.DurationCmd).Val())}
		return nil
	})
	return r, err
}
