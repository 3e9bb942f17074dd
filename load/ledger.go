package load

import (
	"math"
	"sync"
)

// tally is what one customer must count, of one kind.
type tally struct {
	events int64
	sum    int64
	maybe  int64 // events that were sent and of which nobody knows
}

// ledger is what was accepted. It is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	tallies [kinds][]tally
	open    map[*request]bool // sent, and not accepted
}

func newLedger(customers int) *ledger {
	l := &ledger{open: map[*request]bool{}}
	for k := range l.tallies {
		l.tallies[k] = make([]tally, customers)
	}
	return l
}

// sent notes that a request is on its way.
func (l *ledger) sent(req *request) {
	req.mu.Lock()
	accepted := req.accepted
	req.mu.Unlock()
	if accepted {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[req] = true
}

// answered notes an answer: a 2xx makes all events of the request count, once
// however often it comes. After an answer that leaves it open they may count.
func (l *ledger) answered(req *request, accepted, uncertain bool) {
	req.mu.Lock()
	defer req.mu.Unlock()
	req.uncertain = req.uncertain || uncertain
	if !accepted || req.accepted {
		return
	}
	req.accepted = true
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, req)
	for _, e := range req.events {
		t := &l.tallies[req.kind][e.customer]
		t.events++
		t.sum += int64(e.value)
	}
	req.events = nil
}

// settle moves what was never accepted to the maybes. Nothing may be under way.
func (l *ledger) settle() {
	for req := range l.open {
		for _, e := range req.events {
			if req.uncertain {
				l.tallies[req.kind][e.customer].maybe++
			}
		}
	}
	clear(l.open)
}

// total is how many events must count.
func (l *ledger) total() (events, maybe int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.tallies {
		for _, t := range list {
			events += t.events
			maybe += t.maybe
		}
	}
	return events, maybe
}

// compare says what a meter's sum means for one customer: how many events are missing,
// and how many are too many. Where nothing is uncertain, a sum that has the right
// number of events and yet is another shows one missing and one too many, at least.
func (t tally) compare(counted float64) (missing, extra int64) {
	diff := counted - float64(t.sum)
	net := int64(math.Round(diff / unit))
	switch {
	case net < 0:
		return -net, 0
	case net > t.maybe:
		return 0, net - t.maybe
	case t.maybe == 0 && diff != 0:
		return 1, 1
	}
	return 0, 0
}
