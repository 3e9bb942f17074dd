package emit

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"
)

// Mix is what both sources have in common.
type Mix struct {
	Count      int           // events to make, without duplicates; 0 = no end
	Customers  int           // how many customers they are spread over, at least 1
	Duplicates float64       // share of events that are sent again, 0 to 1
	Shuffle    bool          // mix up the order
	Over       time.Duration // how far back events are spread; 0 = all happen now
	Seed       uint64        // same seed, same events; 0 = a new one each time
}

// random returns the run's generator, and the name that its ids carry.
func (m Mix) random() (*rand.Rand, string) {
	seed := m.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(seed, 0x6b67656e7473))
	return r, fmt.Sprintf("%08x", r.Uint32())
}

// window is how many requests are mixed up, and how far behind a duplicate comes
// at most.
const window = 256

// mixer puts duplicates and disorder into a stream of requests.
type mixer struct {
	mix    Mix
	r      *rand.Rand
	next   func() (Request, bool)
	held   []Request
	ended  bool
	repeat []Request
}

// Next implements Source.
func (m *mixer) Next() (Request, bool) {
	if !m.mix.Shuffle {
		if len(m.repeat) > 0 && (m.ended || m.r.IntN(4) == 0) {
			return m.pop(&m.repeat, 0), true
		}
		return m.make()
	}
	for !m.ended && len(m.held) < window {
		req, ok := m.make()
		if !ok {
			break
		}
		m.held = append(m.held, req)
	}
	m.held = append(m.held, m.repeat...)
	m.repeat = nil
	if len(m.held) == 0 {
		return Request{}, false
	}
	return m.pop(&m.held, m.r.IntN(len(m.held))), true
}

// make returns a new request, or one that is left to repeat at the end.
func (m *mixer) make() (Request, bool) {
	if !m.ended {
		req, ok := m.next()
		if ok {
			if m.r.Float64() < m.mix.Duplicates {
				again := req
				again.Duplicates = again.Events
				m.repeat = append(m.repeat, again)
			}
			return req, true
		}
		m.ended = true
	}
	if len(m.repeat) > 0 {
		return m.pop(&m.repeat, 0), true
	}
	return Request{}, false
}

func (m *mixer) pop(from *[]Request, i int) Request {
	req := (*from)[i]
	last := len(*from) - 1
	(*from)[i] = (*from)[last]
	*from = (*from)[:last]
	return req
}

// ids makes UUIDs of version 7: ordered by time, so that the index of whoever
// stores them grows at its end, and unique by the run's random part.
type ids struct {
	ms  uint64
	run uint32
	n   uint32
}

func newIDs(r *rand.Rand, seeded bool, now time.Time) *ids {
	at := now
	if seeded { // the same ids at any time
		at = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return &ids{ms: uint64(at.UnixMilli()), run: r.Uint32()}
}

func (g *ids) appendNext(dst []byte) []byte {
	g.n++
	var u [16]byte
	binary.BigEndian.PutUint64(u[:], (g.ms+uint64(g.n>>12))<<16) // 4,096 ids for each millisecond
	binary.BigEndian.PutUint16(u[6:], uint16(g.n&0xfff)|0x7000)
	binary.BigEndian.PutUint32(u[8:], g.run)
	binary.BigEndian.PutUint32(u[12:], g.n)
	u[8] = u[8]&0x3f | 0x80
	dst = hex.AppendEncode(dst, u[:4])
	for _, part := range [][]byte{u[4:6], u[6:8], u[8:10], u[10:]} {
		dst = append(dst, '-')
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}
