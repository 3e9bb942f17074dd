package notify

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/entitle"
)

const (
	// maxWaiting bounds the alerts that wait to be recorded. The next is dropped; it is
	// told again within the hour.
	maxWaiting = 4096

	// maxKnown bounds the keys that are known to be recorded, about 10 MB. Past it all
	// are forgotten, which costs a request each.
	maxKnown = 100_000

	// The waits between tries to record while NATS is away: twice as long each time.
	firstRetry  = 250 * time.Millisecond
	longestWait = 10 * time.Second
)

// known are keys that are in the bucket.
type known struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

func (k *known) has(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.keys[key]
	return ok
}

func (k *known) add(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil || len(k.keys) >= maxKnown {
		k.keys = map[string]struct{}{}
	}
	k.keys[key] = struct{}{}
}

// Record begins to record what Crossed is told. Without a URL it does nothing.
func (s *Service) Record() {
	s.recorded = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kgents_usage_alerts_recorded_total",
		Help: "Usage alerts that this replica was the first to notice, and has recorded to be sent.",
	})
	s.dropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kgents_usage_alerts_dropped_total",
		Help: "Usage alerts that this replica could not record because too many waited for NATS; each is noticed again within the hour.",
	})
	s.c.Registerer.MustRegister(s.recorded, s.dropped)
	if s.c.URL == "" {
		return
	}
	s.done.Go(func() {
		for {
			select {
			case <-s.ctx.Done():
				return
			case c := <-s.waiting:
				s.recordUntil(c)
			}
		}
	})
}

// Crossed notes that a customer has reached a percent of a limit, to be recorded. It is
// for entitle.Config.Crossed, and never waits.
func (s *Service) Crossed(c entitle.Crossing) {
	if s.c.URL == "" || s.known.has(alertOf(c, c.Percent).key()) {
		return
	}
	select {
	case s.waiting <- c:
	default:
		s.dropped.Inc()
	}
}

func alertOf(c entitle.Crossing, percent int) Alert {
	return Alert{
		Customer: c.Customer, Plan: c.Plan, Feature: c.Feature.ID, Name: c.Feature.Name, Unit: c.Feature.Unit,
		Percent: percent, Used: c.Used, Limit: kgents.AtMost(c.Limit), Over: c.Over,
		PeriodStart: c.PeriodStart.UTC(), PeriodEnd: c.PeriodEnd.UTC(),
	}
}

// recordUntil tries until it is in the bucket, or the program stops: then it is noticed
// again after the next start.
func (s *Service) recordUntil(c entitle.Crossing) {
	for wait, first := firstRetry, true; ; wait, first = min(2*wait, longestWait), false {
		err := s.record(s.ctx, c)
		if err == nil {
			return
		}
		s.kv.Store(nil)
		if first && s.ctx.Err() == nil {
			s.c.Log.Warn("a usage alert can't be recorded, trying until it can", "customer", c.Customer, "feature", c.Feature.ID, "percent", c.Percent, "error", err)
		}
		if !s.pause(wait) {
			return
		}
	}
}

// record makes the alert, unless it is there.
func (s *Service) record(ctx context.Context, c entitle.Crossing) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	top := alertOf(c, c.Percent)
	if s.known.has(top.key()) {
		return nil
	}
	kv, err := s.bucket(ctx)
	if err != nil {
		return err
	}
	top.ID, top.At, top.State, top.Next = idOf(top.key()), s.now().UTC(), Pending, s.now().UTC()
	var lower []Alert
	for _, percent := range s.c.Catalog().AlertAt {
		if percent >= c.Percent {
			continue
		}
		a := alertOf(c, percent)
		_, err := kv.Get(ctx, a.key())
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			a.ID, a.At, a.State, a.Done = idOf(a.key()), top.At, Merged, top.At
			lower = append(lower, a)
			top.Crossed = append(top.Crossed, percent)
		case err != nil:
			return err
		}
	}
	top.Crossed = append(top.Crossed, c.Percent)
	slices.Sort(top.Crossed)
	// The highest first: should the program end in between, those below are never sent
	// after it, since whoever notices them notices the highest too.
	made, err := create(ctx, kv, top)
	if err != nil {
		return err
	}
	for _, a := range lower {
		if _, err := create(ctx, kv, a); err != nil {
			return err
		}
	}
	if made {
		s.recorded.Inc()
		s.c.Log.Info("a customer has reached a percent of a limit", "customer", top.Customer, "feature", top.Feature, "percent", top.Percent, "alert", top.ID)
	}
	s.known.add(top.key())
	return nil
}

// create says whether it was the one to make a.
func create(ctx context.Context, kv jetstream.KeyValue, a Alert) (bool, error) {
	value, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	_, err = kv.Create(ctx, a.key(), value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return false, nil
	}
	return err == nil, err
}
