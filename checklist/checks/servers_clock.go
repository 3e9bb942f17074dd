package checks

import (
	"context"
	"fmt"
	"time"

	"github.com/kgents/kgents/checklist"
)

// clockBound is how far two clocks may be apart.
const clockBound = time.Second

// clock is how far somebody's clock is before ours: between low and high, since its
// reading was made at an unknown moment between the question and the answer.
type clock struct {
	who       string
	low, high time.Duration
}

func clockOf(who string, reading, sent, received time.Time) clock {
	return clock{who, reading.Sub(received), reading.Sub(sent)}
}

// off is the least that the clocks are apart, signed as low and high are.
func (c clock) off() time.Duration {
	switch {
	case c.low > 0:
		return c.low
	case c.high < 0:
		return c.high
	}
	return 0
}

// within says that the clocks are surely no further apart than the bound.
func (c clock) within() bool { return c.low >= -clockBound && c.high <= clockBound }

// clockOffset compares all clocks that are told with this machine's. A meter tells its
// own in whole seconds, by which it can be shown to be wrong and not to be right.
func (a *serverArea) clockOffset(ctx context.Context) checklist.Finding {
	all, err := a.programs(ctx)
	if err != nil {
		return blind(err, lookAtAPI)
	}
	var clocks []clock
	var unknown []string
	rough := 0
	for _, p := range all {
		switch {
		case p.err != nil:
			unknown = append(unknown, p.err.Error())
		case p.report != nil:
			clocks = append(clocks, clockOf(p.Name, p.report.Now, p.report.sent, p.report.received))
		case p.date.IsZero():
			unknown = append(unknown, p.Name+" does not tell its clock")
		default:
			c := clockOf(p.Name, p.date, p.sent, p.came)
			c.high += time.Second // the header is cut to the second
			if c.off() == 0 {
				rough++
				continue
			}
			clocks = append(clocks, c)
		}
	}
	s, err := a.survey(ctx)
	if err != nil {
		unknown = append(unknown, err.Error())
	}
	told := 0
	for _, one := range s.Servers {
		switch {
		case s.embedded: // the program's own clock
			told++
		case one.Known && !one.Sent.IsZero() && !one.Now.IsZero():
			told++
			clocks = append(clocks, clockOf(one.Name, one.Now, one.Sent, one.Received))
		}
	}
	if err == nil && told < max(s.Size, 1) {
		unknown = append(unknown, fmt.Sprintf("%d of %d NATS servers tell their clock", told, s.Size))
	}
	var wrong, unsure []string
	most := time.Duration(0)
	for _, c := range clocks {
		switch off := c.off(); {
		case off > clockBound || off < -clockBound:
			wrong = append(wrong, fmt.Sprintf("%s by %+v", c.who, off.Round(time.Millisecond)))
		case !c.within():
			unsure = append(unsure, fmt.Sprintf("%s took %v to answer", c.who, (c.high-c.low).Round(time.Millisecond)))
		}
		most = max(most, c.off(), -c.off())
	}
	switch {
	case len(wrong) > 0:
		return checklist.Failed(cut("off this machine's clock: "+some(wrong), 200), "make the nodes, and this machine, keep time by NTP (chronyc tracking)")
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), lookAtPods+"; NATS tells its clock to the system account")
	case len(unsure) > 0:
		return checklist.CannotTell(cut("too slow to tell a second: "+some(unsure), 200), "try again from a machine that is nearer")
	case len(clocks) == 0:
		return checklist.CannotTell("no clock was told to the fraction of a second", "set API_KEYS or API_KEYS_FILE to one of the API's keys")
	}
	also := ""
	if rough > 0 {
		also = fmt.Sprintf("; %d that tells whole seconds only is within two", rough)
	}
	return checklist.Passed("%s and this machine's are within a second, the farthest %v off%s", plural(len(clocks), "clock"), most.Round(time.Millisecond), also)
}
