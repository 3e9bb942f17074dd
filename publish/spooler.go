package publish

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/failpoint"
	"github.com/kgents/kgents/publish/spool"
)

// drainPause is the wait after a message of the spool could not be published, or
// the disk not be read.
const drainPause = time.Second

// spooler takes messages while NATS is away, and publishes them when it is back.
type spooler struct {
	*Publisher
	disk  *spool.Spool
	more  chan struct{} // something was taken
	ctx   context.Context
	end   context.CancelFunc
	ended chan struct{}
}

func startSpooler(p *Publisher, disk *spool.Spool) *spooler {
	s := &spooler{Publisher: p, disk: disk, more: make(chan struct{}, 1), ended: make(chan struct{})}
	s.ctx, s.end = context.WithCancel(context.Background())
	go s.drain()
	return s
}

// stop ends the draining. What is left is there at the next start.
func (s *spooler) stop() {
	s.end()
	<-s.ended
}

// take makes msg durable on local disk. Why is the error of NATS; it is told when
// the disk can't help.
func (s *spooler) take(ctx context.Context, msg *nats.Msg, why error) error {
	empty := s.disk.Status().Messages == 0
	switch err := s.disk.Append(msg); {
	case err == nil:
		s.metrics.spooled.Inc()
		if empty {
			s.log.WarnContext(ctx, "NATS is away: events go to local disk until it is back", "error", why)
		}
		select {
		case s.more <- struct{}{}:
		default:
		}
		return nil
	case errors.Is(err, spool.ErrFull):
		s.metrics.refused.WithLabelValues("spool_full").Inc()
		return why
	default:
		s.metrics.refused.WithLabelValues("spool_failed").Inc()
		s.log.ErrorContext(ctx, "the spool could not take a message; its events are refused with 503", "error", err)
		return kgents.Unavailable(5*time.Second, "neither the event store nor the local disk took it: send it again", errors.Join(why, err))
	}
}

// drain publishes what the spool holds, in its order.
func (s *spooler) drain() {
	defer close(s.ended)
	draining := false
	for s.ctx.Err() == nil {
		msg, err := s.disk.Next()
		switch {
		case err != nil:
			s.log.Error("the spool can't be read, trying again", "error", err)
			s.wait(drainPause)
			continue
		case msg == nil:
			if draining {
				s.log.Info("the spool is empty again: everything in it has reached NATS")
			}
			draining = false
			select {
			case <-s.ctx.Done():
			case <-s.more:
			}
			continue
		}
		draining = true
		if wait, open := s.breaker.Open(); open {
			s.wait(wait)
			continue
		}
		start := time.Now()
		if err := s.breaker.do(func() error { return s.try(s.ctx, msg) }); err != nil {
			s.wait(drainPause)
			continue
		}
		failpoint.Hit("spool.drained")
		s.metrics.drained.Inc()
		s.drained(msg, start)
		if err := s.disk.Done(); err != nil {
			// It has arrived, and may be sent again after a restart: it counts once.
			s.log.Error("a segment of the spool can't be removed", "error", err)
			s.wait(drainPause)
		}
	}
}

func (s *spooler) wait(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}
