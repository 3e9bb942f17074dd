package emit

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

// TownMix is days of towns, one town a customer.
type TownMix struct {
	Mix
	Citizens int // of each town: 3, 7, 10 or 25
	Batch    int // events a request, at least 1
}

const (
	// maxTowns bounds them: each takes some 10 kB of memory.
	maxTowns = 10_000

	// townSource is what Town sends under, since Agent Town's own source is reserved.
	townSource = "kgents-emit"
)

// Town makes the usage of towns that live their days: an interaction, and the tokens of
// each who took part, phase by phase, the customers in turns.
func Town(m TownMix) (Source, error) {
	if m.Customers > maxTowns {
		return nil, fmt.Errorf("there can be %d towns at most, one a customer", maxTowns)
	}
	r, run := m.random()
	now := time.Now()
	if m.Seed != 0 { // the same events at any time
		now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	s := &townDays{m: m, r: r, now: now}
	for i := range max(1, m.Customers) {
		t, err := town.New(fmt.Sprintf("emit-%s-%d", run, i), m.Citizens, r.Uint64(), now)
		if err != nil {
			return nil, err
		}
		s.towns = append(s.towns, t)
	}
	return &mixer{mix: m.Mix, r: r, next: s.next}, nil
}

type townDays struct {
	m     TownMix
	r     *rand.Rand
	now   time.Time
	towns []*town.Town
	turn  int
	queue []kgents.Event
	made  int
}

func (s *townDays) next() (Request, bool) {
	n := max(1, s.m.Batch)
	if s.m.Count > 0 {
		n = min(n, s.m.Count-s.made)
	}
	if n <= 0 {
		return Request{}, false
	}
	for len(s.queue) < n {
		s.live()
	}
	s.made += n
	req := Request{Path: "/api/v1/events", ContentType: "application/cloudevents-batch+json", Events: n}
	req.Body = append(req.Body, '[')
	for i, e := range s.queue[:n] {
		if i > 0 {
			req.Body = append(req.Body, ',')
		}
		req.Body = append(req.Body, e.Raw...)
	}
	req.Body = append(req.Body, ']')
	s.queue = s.queue[n:]
	return req, true
}

// live queues what the next town uses in its next phase.
func (s *townDays) live() {
	who := s.turn % len(s.towns)
	s.turn++
	at := s.now
	if s.m.Over > 0 {
		at = s.now.Add(-time.Duration(s.r.Int64N(int64(s.m.Over))))
	} else if s.m.Seed == 0 {
		at = time.Now()
	}
	for _, e := range s.towns[who].Step(context.Background(), at, nil, nil) {
		for _, usage := range e.Usage(customer(who)) {
			usage.Source = townSource
			usage.Raw = bytes.Replace(usage.Raw, []byte(`"source":"`+kgents.SourceTown+`"`), []byte(`"source":"`+townSource+`"`), 1)
			s.queue = append(s.queue, usage)
		}
	}
}
