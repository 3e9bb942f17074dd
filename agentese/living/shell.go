package living

import (
	"context"
	"time"

	"github.com/kgents/kgents/agentese/tree"
)

// Outcome is what a command came to.
type Outcome string

// The outcomes. Declined is a change that was shown and not confirmed.
const (
	Done     Outcome = "done"
	Failed   Outcome = "failed"
	Declined Outcome = "declined"
	Stopped  Outcome = "stopped" // by the operator, with Ctrl-C
)

// Command is one line of the session, as it was given and what it came to.
type Command struct {
	At      time.Time     // when it began
	Line    string        // as it was typed, without secrets
	Outcome Outcome       //
	Error   string        // one line; empty if Done
	Took    time.Duration // until its output was there, time at questions included
	Changed bool          // it has changed something
}

// Shell is what a running shell tells of itself to the nodes of context self. Without
// one, as in a script's single expression, Sources.Shell is nil. Each function may be
// nil, and is safe for concurrent use.
type Shell struct {
	Began time.Time // when this session began

	// Place is where the prompt stands, from the context down; empty at the root.
	Place func() []string

	// Commands are those of this session, oldest first, MaxCommands at most, without
	// the one that is asking.
	Commands func() []Command

	// SetObserver makes the session look as another from the next expression on. Its
	// error says why that can't be.
	SetObserver func(ctx context.Context, o tree.Observer) error
}

// MaxCommands bounds Shell.Commands.
const MaxCommands = 1000
