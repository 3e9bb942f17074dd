// Package notify tells the operator that a customer nears or reaches a limit: by
// webhooks that are signed as Standard Webhooks has it
// (https://github.com/standard-webhooks/standard-webhooks, version 1.0.0).
//
// It promises that of each customer, period, feature and percent there is one alert,
// whichever replicas notice it: its key in the bucket of billing is made once, and is
// the outbox. An alert is for what the meter has counted, so that none is sent for
// usage that turns out to be none. When usage jumps past several percents at once, one
// alert is sent, for the highest: its `crossed` has all of them, and those below are
// noted as told, for a message each would only say what the next one does.
//
// An alert is delivered at least once: it is sent until the receiver has answered 2xx,
// by the schedule in deliver.go, and a sink that is killed in between sends it again
// under the same webhook-id, by which a receiver knows it. After the last try it is
// dead: it is kept, shown by `kgents alerts list`, and sent again by `kgents alerts
// replay`.
//
// While NATS is away, alerts wait in memory (maxWaiting of them, the next is dropped and
// counted; whoever noticed it tells it again within the hour). Without a URL nothing is
// recorded. The URL is the operator's own setting, so it may lead anywhere; redirects
// are not followed, of an answer's body nothing is kept, and neither the URL nor a
// secret is in a log.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/entitle"
	"github.com/kgents/kgents/stream"
)

// askTimeout bounds a question to NATS.
const askTimeout = 5 * time.Second

// Config is what a Service needs.
type Config struct {
	JetStream  jetstream.JetStream
	Stream     stream.Config
	URL        string   // who is told; empty: nobody, and nothing is recorded
	Secrets    []string // whsec_…; the first is the current one, all of them sign
	Catalog    func() *kgents.Catalog
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Service records alerts, delivers them, or both. Close it.
type Service struct {
	c       Config
	secrets []secret
	client  *http.Client
	now     func() time.Time
	poll    time.Duration

	waiting chan entitle.Crossing
	known   known
	box     box
	kv      atomic.Pointer[jetstream.KeyValue]

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup

	recorded, dropped prometheus.Counter
	deliveries        *prometheus.CounterVec
}

// New returns a Service that does nothing yet. The error is of a secret that is none;
// it doesn't hold it.
func New(c Config) (*Service, error) {
	s := &Service{
		c: c, now: time.Now, poll: pollEvery,
		waiting: make(chan entitle.Crossing, maxWaiting),
		box:     box{all: map[string]slot{}},
		client: &http.Client{
			Timeout:       postTimeout,
			Transport:     newTransport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for i, text := range c.Secrets {
		key, err := parseSecret(text)
		if err != nil {
			return nil, fmt.Errorf("USAGE_ALERT_SECRET, number %d: %w", i+1, err)
		}
		s.secrets = append(s.secrets, key)
	}
	if c.URL != "" && len(s.secrets) == 0 {
		return nil, errors.New("USAGE_ALERT_SECRET is not set: who gets the alerts could not tell them from forged ones")
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends what runs in the background. A request that is under way is cut off, and
// made again by another sink or after the next start.
func (s *Service) Close() {
	s.stop()
	s.done.Wait()
	s.client.CloseIdleConnections()
}

// bucket is made, or brought to its settings, once, and again after an error.
func (s *Service) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	if kv := s.kv.Load(); kv != nil {
		return *kv, nil
	}
	kv, err := stream.Billing(ctx, s.c.JetStream, s.c.Stream)
	if err != nil {
		return nil, err
	}
	s.kv.Store(&kv)
	return kv, nil
}

func (s *Service) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
