package agentese

import (
	"fmt"
	"strings"
)

// Kind is what sort of mistake an Error is.
type Kind string

// The kinds.
const (
	KindSyntax     Kind = "syntax"              // the text is no expression; Pos says where
	KindNotFound   Kind = "path not found"      // nothing is at this path; Related are similar ones
	KindClause     Kind = "clause"              // a clause that is unknown here, missing, twice, or has a wrong value
	KindAnnotation Kind = "annotation"          // the same of an annotation
	KindDenied     Kind = "affordance not open" // this observer, or this key, may not
	KindObserver   Kind = "observer required"   // nobody may without saying who they are
	KindDeclined   Kind = "not done"            // a change that was not confirmed, or can't be undone as was asked
	KindAway       Kind = "away"                // what would answer does not
	KindFailed     Kind = "failed"              // it was tried, and went wrong
)

// Error tells what went wrong, why, what to try and what is near.
type Error struct {
	Kind     Kind
	Pos, End int    // in the input, in bytes: from Pos to before End; the same where something is missing; both 0 when there is no place to point at
	What     string // one sentence
	Why      string // one sentence, may be empty
	Try      []string
	Related  []string // at most 5 paths
	Cause    error    // may be nil
}

// Error is one line: kind, what, why, and the first thing to try.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Kind, e.What)
	if e.Why != "" {
		b.WriteString(": " + e.Why)
	}
	if len(e.Try) > 0 {
		b.WriteString("; try " + e.Try[0])
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }
