package follow

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// What became of a Stripe event.
const (
	outcomeApplied      = "applied"
	outcomeIrrelevant   = "irrelevant"   // it tells nothing of a subscription
	outcomeUnattributed = "unattributed" // it names nobody
	outcomeRefused      = "refused"      // it names nobody who could be a customer
	outcomeUnreadable   = "unreadable"   // the sink makes a dead letter of it, if the meter can't read it either

	outcomeStranger = "stranger" // no Stripe event at all; not counted
)

type metrics struct {
	events  *prometheus.CounterVec
	errors  prometheus.Counter
	applied prometheus.Histogram
	oldest  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_billing_events_total",
			Help: "Stripe events that this sink has brought to the customers, repeated deliveries included, by outcome: applied; irrelevant (of no subscription), unattributed (of no customer), refused (of nobody who could be one), unreadable.",
		}, []string{"outcome"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kgents_billing_apply_errors_total",
			Help: "Times that what Stripe tells could not be applied to a customer. It is tried again for ever.",
		}),
		applied: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_billing_applied_seconds",
			Help:    "Time from the receipt of a Stripe event to its being applied to the customer, of each message that had one.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200},
		}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kgents_billing_oldest_unapplied_seconds",
			Help: "Age of the oldest message of the stream that no sink has looked through for Stripe events yet, or that has one that can't be applied; 0 without one. All sinks say the same.",
		}),
	}
	for _, o := range []string{outcomeApplied, outcomeIrrelevant, outcomeUnattributed, outcomeRefused, outcomeUnreadable} {
		m.events.WithLabelValues(o)
	}
	reg.MustRegister(m.events, m.errors, m.applied, m.oldest)
	return m
}

// lagEvery is how often the servers are asked for the age of the oldest message.
const lagEvery = 10 * time.Second

// watchLag keeps the gauge until ctx ends. While the servers don't answer, it stays.
func (f *Follower) watchLag(ctx context.Context) {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if s := f.source.Load(); s != nil {
				if age, err := s.lag(ctx, now); err == nil {
					f.metrics.oldest.Set(age.Seconds())
					f.oldest.Store(int64(age))
				}
			}
		}
	}
}

// lag is the age of the oldest message that isn't acknowledged, 0 without one. It costs
// two requests at most.
func (s source) lag(ctx context.Context, now time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, lagEvery/2)
	defer cancel()
	info, err := s.consumer.Info(ctx)
	if err != nil || info.NumPending+uint64(info.NumAckPending) == 0 {
		return 0, err
	}
	// Everything up to the acknowledgement floor is done.
	m, err := s.events.GetMsg(ctx, info.AckFloor.Stream+1, jetstream.WithGetMsgSubject("kgent.>"))
	if errors.Is(err, jetstream.ErrMsgNotFound) { // acknowledged or aged out in between
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return max(0, now.Sub(m.Time)), nil
}
