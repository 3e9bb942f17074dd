package publish

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

// The figures of the circuit breaker; alerts and runbook rely on them.
const (
	openAfter  = 5                // consecutive failures that open it
	openFor    = 30 * time.Second // until it lets a try through
	closeAfter = 3                // consecutive successes, while half-open, that close it
)

// State of the circuit as the metric kgents_nats_circuit_state shows it.
type State int

// The states: all passes, nothing passes, a few tries pass.
const (
	Closed State = iota
	Open
	HalfOpen
)

func (s State) String() string { return [...]string{"closed", "open", "half_open"}[s] }

// Breaker keeps callers from waiting for a NATS that isn't there.
type Breaker struct {
	circuit *gobreaker.CircuitBreaker[struct{}]
	opened  atomic.Int64 // Unix nanoseconds of the last opening
}

// newBreaker calls changed, if it is not nil, at each change of the state.
func newBreaker(log *slog.Logger, reg prometheus.Registerer, changed func(from, to State)) *Breaker {
	b := &Breaker{}
	b.circuit = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "nats",
		MaxRequests: closeAfter,
		Timeout:     openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= openAfter },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Store(time.Now().UnixNano())
			}
			log.Warn("NATS circuit changed", "from", stateOf(from).String(), "to", stateOf(to).String())
			if changed != nil {
				changed(stateOf(from), stateOf(to))
			}
		},
	})
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kgents_nats_circuit_state",
		Help: "Circuit breaker in front of NATS: 0 closed, 1 open, 2 half-open.",
	}, func() float64 { return float64(b.State()) }))
	return b
}

// State is the circuit's state now.
func (b *Breaker) State() State { return stateOf(b.circuit.State()) }

// Open tells whether nothing passes, and for how long still.
func (b *Breaker) Open() (wait time.Duration, open bool) {
	if b.circuit.State() != gobreaker.StateOpen {
		return 0, false
	}
	return max(time.Second, openFor-time.Since(time.Unix(0, b.opened.Load()))), true
}

func (b *Breaker) do(try func() error) error {
	_, err := b.circuit.Execute(func() (struct{}, error) { return struct{}{}, try() })
	return err
}

func stateOf(s gobreaker.State) State {
	switch s {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	default:
		return Closed
	}
}
