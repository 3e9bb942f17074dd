package search

import (
	"math"
	"slices"
	"sync"
	"time"
)

// past is what questions were used for, in this session and in earlier ones, the oldest
// first. Each new use makes the older ones count less, after fadeAfter others a half,
// and so does time, after fadeDays days. It is safe for concurrent use.
type past struct {
	mu     sync.Mutex
	uses   []use // is replaced, never written to
	told   []Use // of earlier sessions, not looked at yet
	unread bool  // uses of earlier sessions were read without the live names
}

const (
	fadeAfter = 200
	fadeDays  = 90
)

// Use is that a question was used for an expression.
type Use struct {
	Question, Expr string
	At             time.Time
}

// use is a question and the option that it led to.
type use struct {
	terms    []term
	option   int
	at       time.Time
	question string // of an earlier session; else empty
}

// reuse is a former use that is like a question.
type reuse struct {
	use
	likeness float64 // 0 to 1, faded
}

// Learn remembers that a question meant an expression: it is first next time. What is
// no expression of the tree is not remembered.
func (x *Index) Learn(question, expr string) {
	b, n := x.ready()
	x.settle(b, n)
	option, _, _, ok := b.locate(expr)
	if !ok {
		return
	}
	now := time.Now()
	q := b.reader.read(question, n, now)
	x.past.keep(use{terms: q.terms, option: option, at: now})
}

// Recall takes what earlier sessions have learnt, the oldest first. It counts as older
// than what this one learns. What is no expression of the tree, or of no time, is left
// out, and all but the newest MaxLearnt. It returns at once.
func (x *Index) Recall(uses []Use) {
	x.past.mu.Lock()
	defer x.past.mu.Unlock()
	all := append(x.past.told, uses...)
	x.past.told = slices.Clone(all[max(0, len(all)-MaxLearnt):])
}

// settle reads what Recall has been given, and reads it again when live names are
// first known: a question with a name in it is another then.
func (x *Index) settle(b *built, n *names) {
	p := &x.past
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.told) == 0 && !(p.unread && n.live) {
		return
	}
	var all []use
	for _, t := range p.told {
		if option, _, _, ok := b.locate(t.Expr); ok && t.Question != "" && !t.At.IsZero() {
			all = replaced(all, use{terms: b.reader.read(t.Question, n, t.At).terms, option: option, at: t.At, question: t.Question})
		}
	}
	for _, u := range p.uses {
		if u.question != "" {
			u.terms = b.reader.read(u.question, n, u.at).terms
		}
		all = replaced(all, u)
	}
	p.uses, p.told, p.unread = all, nil, !n.live
}

// keep remembers one, and forgets the oldest beyond MaxLearnt.
func (p *past) keep(u use) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uses = replaced(p.uses, u)
}

// replaced is uses and one more. The same question has one meaning: its last.
func replaced(uses []use, u use) []use {
	kept := make([]use, 0, len(uses)+1)
	for _, old := range uses {
		if likeness(old.terms, u.terms) < 0.999 {
			kept = append(kept, old)
		}
	}
	kept = append(kept, u)
	return kept[max(0, len(kept)-MaxLearnt):]
}

// like gives the uses that are like a question.
func (p *past) like(terms []term, now time.Time) []reuse {
	p.mu.Lock()
	uses := p.uses
	p.mu.Unlock()
	var out []reuse
	for i, u := range uses {
		if x := likeness(u.terms, terms); x >= 0.6 {
			age := float64(len(uses)-1-i)/fadeAfter + max(0, now.Sub(u.at).Hours())/24/fadeDays
			out = append(out, reuse{u, x * math.Exp2(-age)})
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
