package tree

import (
	"context"
	"sync"
	"time"
)

// The entropy budget, by the language's original (facts/agentese.md).
const (
	SessionEntropy = 0.10
	CallEntropy    = 0.01

	tiny = 1e-12 // ten hundredths are a tenth
)

// Session is on whose behalf expressions are run, and what was agreed with them.
// Its functions may be nil. It is safe for concurrent use once made, but for Observer,
// which only its owner changes between runs.
type Session struct {
	Observer Observer
	Budget   *Budget
	Clock    func() time.Time

	// Confirm shows a preview and asks. Nil: there is nobody to ask, and a change
	// needs [yes] or Yes.
	Confirm func(ctx context.Context, p Preview) (bool, error)
	Yes     bool // changes are not asked about; from a flag

	// Audit keeps what was decided and done: twice for a change, before it is done
	// and after. An error of the first stops the change.
	Audit func(e AuditEntry) error

	// Progress is told what a long step is doing.
	Progress func(line string)
}

func (s *Session) now() time.Time {
	if s.Clock != nil {
		return s.Clock()
	}
	return time.Now()
}

// Budget is the entropy that a session may spend. It is safe for concurrent use.
type Budget struct {
	mu          sync.Mutex
	spent, left float64
	given       float64
}

// NewBudget is a full one of SessionEntropy.
func NewBudget() *Budget { return &Budget{left: SessionEntropy} }

// Draw takes amount, all or nothing; amount is at most CallEntropy and more than 0.
func (b *Budget) Draw(amount float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !(amount > 0) || amount > CallEntropy+tiny || amount > b.left+tiny {
		return false
	}
	b.left = max(0, b.left-amount)
	b.spent += amount
	return true
}

// Tithe gives all that is left back, and says how much that was. Nothing can be drawn
// after it.
func (b *Budget) Tithe() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.left
	b.left, b.given = 0, b.given+left
	return left
}

// State is what was spent, is left, and was given back.
func (b *Budget) State() (spent, left, given float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent, b.left, b.given
}
