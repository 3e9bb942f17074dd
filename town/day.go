package town

import (
	"fmt"
	"strings"
	"time"
)

// begin is what a phase begins with: in the morning all wake, whoever moved about is
// idle again, and some move.
func (t *Town) begin(p *phase, now time.Time) []Event {
	var out []Event
	var woken []int
	for i := range t.citizens {
		c := &t.citizens[i]
		switch {
		case c.state != Resting:
			c.state = Idle
		case p.wakes && c.accepts(Wake):
			c.state = Idle
			woken = append(woken, i)
		}
	}
	if len(woken) > 0 {
		out = append(out, t.quiet(now, Wake, woken, "%s", nil))
	}
	var movers []int
	where := map[string]string{}
	for i := range t.citizens {
		c := &t.citizens[i]
		if c.state == Resting || t.rng.Float64() >= moveBase+float64(moveCuriosity*c.traits.Curiosity) {
			continue
		}
		if to := t.destination(i, p); to >= 0 {
			c.region = to
			movers = append(movers, i)
			where[c.name] = t.regions[to].name
		}
	}
	if len(movers) > 0 {
		out = append(out, t.quiet(now, Move, movers, "%s to another place", where))
	}
	return out
}

// end is what a phase ends with: some lie down to rest.
func (t *Town) end(p *phase, now time.Time) []Event {
	var tired []int
	for i := range t.citizens {
		if c := &t.citizens[i]; p.rest > 0 && c.state != Resting && t.rng.Float64() < p.rest {
			c.state = Resting
			tired = append(tired, i)
		}
	}
	if len(tired) == 0 {
		return nil
	}
	return []Event{t.quiet(now, Rest, tired, "%s", nil)}
}

// quiet is the one event of all who wake, move or rest in a phase. It costs nothing.
func (t *Town) quiet(now time.Time, op string, who []int, format string, meta map[string]string) Event {
	e := t.event(now, op)
	e.Participants, e.Success, e.Metadata = t.names(who), true, meta
	verb := op
	if len(who) == 1 {
		verb += "s"
	}
	e.Message = list(e.Participants) + " " + fmt.Sprintf(format, verb)
	return e
}

// list joins names as one says them, a long list cut.
func list(names []string) string {
	const most = 3
	switch n := len(names); {
	case n == 1:
		return names[0]
	case n > most:
		return fmt.Sprintf("%s and %d others", strings.Join(names[:most-1], ", "), n-most+1)
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// destination is where citizen i moves: another region with room, rather one with
// people whom it likes, or its home, at night all the more. It is -1 if all are full.
// Every region with room has a chance, so that everybody can meet everybody.
func (t *Town) destination(i int, p *phase) int {
	c := &t.citizens[i]
	people := make([]int, len(t.regions))
	liking := make([]float64, len(t.regions))
	for j := range t.citizens {
		other := &t.citizens[j]
		people[other.region]++
		if other.state != Resting {
			liking[other.region] += max(0, c.views[j])
		}
	}
	weight := func(r int) float64 {
		if r == c.region || people[r] >= t.regions[r].capacity {
			return 0
		}
		w := .5 + min(2, liking[r])
		switch {
		case r == c.home && p.rest > 0:
			w += 2
		case r == c.home:
			w++
		}
		return w
	}
	var sum float64
	for r := range t.regions {
		sum += weight(r)
	}
	if sum == 0 {
		return -1
	}
	x := t.rng.Float64() * sum
	last := -1
	for r := range t.regions {
		if w := weight(r); w > 0 {
			last = r
			if x -= w; x < 0 {
				break
			}
		}
	}
	return last
}
