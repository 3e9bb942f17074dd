package load

import (
	"fmt"
	"strings"
	"time"

	"github.com/kgents/kgents/term"
)

// Notes are what a reader must know to believe the figures, a sentence each.
func (r Report) Notes() []string {
	number := func(n int64) string { return term.Number(float64(n)) }
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if r.Interrupted {
		add("Interrupted: this is what was seen until then, and no pass.")
	}
	if r.FaultsSkipped {
		add("The profile's faults were left out, so its thresholds were easier to hold than they are meant to be.")
	}
	for _, t := range r.Troubles {
		add("A fault went wrong: %s", t)
	}
	c := r.Count
	switch {
	case !c.Known:
		add("What was counted is not known: %s", c.Reason)
	case c.Complete && c.Lost+c.Doubled == 0:
		add("%s different events were accepted, and each has counted once; the meter had the last %s after the last answer.", number(c.Accepted), term.Duration(c.Drained))
	case !c.Complete:
		add("%s different events were accepted, and %s of them have not counted within %v of the last answer.", number(c.Accepted), number(c.Lost), r.Profile.Drain)
	default:
		add("%s different events were accepted; %s were lost and %s counted more than once.", number(c.Accepted), number(c.Lost), number(c.Doubled))
	}
	if len(c.Affected) > 0 {
		add("Affected customers, the first of them: %s.", strings.Join(c.Affected, ", "))
	}
	if c.Maybe > 0 {
		add("%s events were sent without an answer that says what became of them: they may count once or not at all.", number(c.Maybe))
	}
	if t := r.Total; t.Late > 0 {
		add("%s requests were sent over %v late (the latest %s), by this program or by the bound of %s under way; their latency counts from when they were due.",
			number(int64(t.Late)), lateAfter, term.Duration(t.MostLate), number(int64(r.Profile.InFlight)))
		if t.Late*100 > t.Requests && t.MostLate > time.Second {
			add("That is more than 1 %%: look at whether the load came from a machine that is too small, before blaming the system.")
		}
	}
	if len(r.Seen) == 0 {
		add("The system's /metrics could not be read from here, so there is no backlog and no memory to show.")
	}
	return notes
}
