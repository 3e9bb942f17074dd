package customer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// Store is the customers and keys, as one replica sees them.
type Store struct {
	config Config
	now    func() time.Time
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu      sync.RWMutex
	mem     *memory
	filling *memory // what a new watch has brought so far; nil when it is complete
	told    []func(Customer)

	ready      chan struct{} // closed when everything has been read once
	synced     atomic.Bool   // the watch is complete and of the present connection
	reconnects atomic.Uint64 // of the connection when the watch began
	kv         atomic.Pointer[jetstream.KeyValue]
	often      api.Often // keys that a customer makes
	restarts   prometheus.Counter
	ignored    prometheus.Counter
}

// Open returns a store that fills itself in the background, and at once, whether NATS
// answers or not. Close it.
func Open(c Config) *Store {
	s := &Store{config: c, now: time.Now, mem: newMemory(), ready: make(chan struct{}), often: api.Often{PerHour: keysPerHour, AtOnce: MaxKeys}}
	s.register(c.Registerer)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.done.Go(func() { s.watch(ctx) })
	s.done.Go(func() { s.keepUses(ctx) })
	return s
}

// Close ends what runs in the background, and writes down when keys were used last.
func (s *Store) Close() {
	s.stop()
	s.done.Wait()
}

func (s *Store) register(r prometheus.Registerer) {
	s.restarts = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kgents_customer_watch_restarts_total",
		Help: "How often all customers and API keys were read again, because NATS was away or the watch had fallen behind.",
	})
	s.ignored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "kgents_customer_entries_ignored_total",
		Help: "Entries of the accounts bucket that make no sense and were left out. None should be.",
	})
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s.mu.RLock()
			defer s.mu.RUnlock()
			return value()
		})
	}
	r.MustRegister(s.restarts, s.ignored,
		gauge("kgents_customers", "Customers that this replica knows.", func() float64 { return float64(len(s.mem.customers)) }),
		gauge("kgents_customer_keys", "API keys that this replica knows, customers' and operators'.", func() float64 { return float64(len(s.mem.keys)) }),
		gauge("kgents_customers_current", "1 while this replica hears of every change of customers and API keys at once; 0 while NATS is away or everything is being read: then known keys go on to work, and one that isn't known is answered 503.", func() float64 {
			if s.Current() {
				return 1
			}
			return 0
		}),
	)
}

// Current tells whether the memory is all there is: this replica has read everything and
// hears of each change at once.
func (s *Store) Current() bool {
	nc := s.config.JetStream.Conn()
	return s.synced.Load() && nc.IsConnected() && nc.Stats().Reconnects == s.reconnects.Load()
}

// Wait waits until everything has been read once.
func (s *Store) Wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return kgents.Unavailable(2*time.Second, "the customers are not read yet: try again", ctx.Err())
	}
}

// Ready tells whether everything has been read once.
func (s *Store) Ready() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// Get returns a customer from memory.
func (s *Store) Get(id string) (Customer, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.mem.customers[id]
	return c, ok
}

// ByStripe returns the customer that a Stripe customer is, from memory.
func (s *Store) ByStripe(stripe string) (Customer, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.mem.byStripe(stripe)
}

// List returns up to limit customers after an id, in the order of ids. It begins with
// after "".
func (s *Store) List(after string, limit int) []Customer {
	s.mu.Lock() // it may sort
	defer s.mu.Unlock()
	return s.mem.list(after, limit)
}

// Watch has f called with each customer that changes from now on, here or on another
// replica; of one that is deleted with its id only, see Customer.Deleted. F may be called
// by several goroutines at once, must return soon, and may not change customers. Of two
// calls for one customer the one with the larger Revision is the newer.
func (s *Store) Watch(f func(Customer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, f)
}

// tell calls whoever watches.
func (s *Store) tell(changed ...Customer) {
	s.mu.RLock()
	told := s.told
	s.mu.RUnlock()
	for _, f := range told {
		for _, c := range changed {
			f(c)
		}
	}
}

// put takes an entry that this replica has written, before the watch brings it.
func (s *Store) put(name string, revision uint64, value []byte) {
	s.mu.Lock()
	var changed *Customer
	if revision > s.mem.seen { // else it may be deleted again
		changed, _ = s.mem.put(name, revision, value)
	}
	if s.filling != nil && revision > s.filling.seen {
		s.filling.put(name, revision, value)
	}
	s.mu.Unlock()
	if changed != nil {
		s.tell(*changed)
	}
}

// drop takes a deletion that this replica has made; revision is what was deleted.
func (s *Store) drop(name string, revision uint64) {
	s.mu.Lock()
	changed := s.mem.drop(name, revision, true)
	if s.filling != nil {
		s.filling.drop(name, revision, true)
	}
	s.mu.Unlock()
	if changed != nil {
		s.tell(*changed)
	}
}
