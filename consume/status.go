package consume

import (
	"sync"
	"time"

	"github.com/kgents/kgents/meter"
)

// Status is how delivery to the meter goes, for health.
type Status struct {
	Taken   time.Time // the last batch that the meter took; zero if none yet
	Failing time.Time // since when it takes nothing; zero while it answers
	Class   meter.Class
	Err     error // the last failure while Failing is set
}

type status struct {
	mu  sync.Mutex
	now Status
}

func (s *status) taken(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = Status{Taken: now}
}

// answered notes that the meter is there, though it refused an event.
func (s *status) answered(time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Failing, s.now.Err = time.Time{}, nil
}

func (s *status) failed(now time.Time, class meter.Class, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Failing.IsZero() {
		s.now.Failing = now
	}
	s.now.Class, s.now.Err = class, err
}

// Status returns how delivery goes now.
func (s *Sink) Status() Status {
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	return s.status.now
}
