package town

import (
	"context"
	"time"
)

// Gate tells whether the town's customer may spend more tokens.
type Gate interface {
	// Allow is asked before each operation with the tokens that it may spend, and
	// answers why not otherwise, in words that may be shown. A yes may be taken as
	// spent: no more than that is spent until it is asked again. It must not wait for the
	// network.
	Allow(tokens int64) (ok bool, why string)
}

// Decider chooses what a citizen does. It may take its time and ask the network.
type Decider interface {
	// Bound is the most tokens that Decide may cost for s.
	Bound(s Situation) int64

	// Decide chooses one of s.Options. With an error the citizen acts by rules, and
	// so does everybody until the step is over; the text of the error goes into the
	// event's metadata and must hold nothing secret. Also then the Decision tells
	// what was spent on it: that counts in Situation.Spent, and nobody is billed for it.
	Decide(ctx context.Context, s Situation) (Decision, error)
}

// Situation is what a citizen who is to act knows. It holds names of the town only,
// nothing of its customer.
type Situation struct {
	Town    string
	Day     int
	Phase   string
	Region  string
	Actor   Person
	Present []Person // who else is awake in the region
	Options []Option // at most MaxOptions; the first is what the rules would do, if they may

	// Spent is what this town's deciders have spent in the day of UTC of Now.
	Spent int64
	Now   time.Time
}

// Person is a citizen as the actor sees it.
type Person struct {
	Name      string
	Archetype string
	Mood      string
	View      float64 // the actor's, in [-1, 1]
}

// Option is something that the actor may do now: its preconditions hold.
type Option struct {
	Operation    string
	Participants []string // the actor first
	Subject      string   // of gossip
	Tokens       int64    // by the table of operations
}

// Decision is what a Decider has chosen and what choosing has cost.
type Decision struct {
	Choice  int    // index into the options
	Model   string // which chose
	In, Out int64  // tokens; they replace the operation's own when it is billed, unless both are 0
	Latency time.Duration

	// Uncertain says that the call failed in a way that may have cost tokens all the
	// same: In and Out are then the most it can have been.
	Uncertain bool
}

// MaxOptions bounds the options of a situation.
const MaxOptions = 12

// spending is what deciders have spent in a day of UTC.
type spending struct {
	Day    string `json:"day,omitempty"` // as time.DateOnly
	Tokens int64  `json:"tokens,omitempty"`
}

// on is what was spent in the day of now.
func (s spending) on(now time.Time) int64 {
	if s.turns(now) {
		return 0
	}
	return s.Tokens
}

func (s *spending) add(now time.Time, tokens int64) {
	if s.turns(now) {
		*s = spending{Day: now.Format(time.DateOnly)}
	}
	s.Tokens = min(s.Tokens+tokens, maxCount)
}

// turns tells whether now is another day. Replicas whose clocks differ must not open
// a new budget each time that they take turns at midnight: the day before counts as
// the same. A day further ahead was a clock that ran wrong.
func (s spending) turns(now time.Time) bool {
	return now.Format(time.DateOnly) > s.Day || now.AddDate(0, 0, 1).Format(time.DateOnly) < s.Day
}
