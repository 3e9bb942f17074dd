package stream

import (
	"context"
	"time"
)

// KeepAlive tells the server every Heartbeat that messages are being worked on, so that
// they are not delivered to another, until stop is called or ctx ends. A sign that is
// lost is no error: the next one comes well within AckWait.
func KeepAlive[M interface{ InProgress() error }](ctx context.Context, messages []M) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(Heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for _, m := range messages {
					_ = m.InProgress()
				}
			}
		}
	}()
	return stop
}
