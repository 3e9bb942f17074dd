package search

import (
	"math"
	"sync"

	"github.com/kgents/kgents/agentese"
)

// past is what questions of a session were used for. Each new use makes the older ones
// count less: after fadeAfter others a half. It is safe for concurrent use.
type past struct {
	mu   sync.Mutex
	uses []use
}

const fadeAfter = 200

// use is a question and the expression that it led to.
type use struct {
	terms  []term
	option int
	step   agentese.Step
}

// reuse is a former use that is like a question.
type reuse struct {
	use
	likeness float64 // 0 to 1, faded
}

// keep remembers one, and forgets the oldest beyond MaxLearnt. The same question has
// one meaning: its last.
func (p *past) keep(u use) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.uses[:0:0]
	for _, old := range p.uses {
		if likeness(old.terms, u.terms) < 0.999 {
			kept = append(kept, old)
		}
	}
	kept = append(kept, u)
	p.uses = kept[max(0, len(kept)-MaxLearnt):]
}

// like gives the uses that are like a question.
func (p *past) like(terms []term) []reuse {
	p.mu.Lock()
	uses := p.uses
	p.mu.Unlock()
	var out []reuse
	for i, u := range uses {
		if x := likeness(u.terms, terms); x >= 0.6 {
			age := float64(len(uses) - 1 - i)
			out = append(out, reuse{u, x * math.Exp2(-age/fadeAfter)})
		}
	}
	return out
}

// likeness is the cosine of two texts' terms, which are sorted.
func likeness(a, b []term) float64 {
	var dot, na, nb float64
	for _, t := range a {
		na += t.weight * t.weight
	}
	for _, t := range b {
		nb += t.weight * t.weight
	}
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].text == b[j].text:
			dot += a[i].weight * b[j].weight
			i++
			j++
		case a[i].text < b[j].text:
			i++
		default:
			j++
		}
	}
	if dot == 0 {
		return 0
	}
	return dot / math.Sqrt(na*nb)
}
