// Package plan reads what is sold from one YAML file: features, plans, prices, limits.
//
// It promises that a catalogue which it returns is whole: every name leads somewhere,
// nothing is negative, no limit is a word and 0 is zero, and an overage can be computed
// without overflow. Every mistake of a file is found at once, each with its line and
// with what would be right. A Book follows its file while the process runs; an edit that
// has a mistake changes nothing.
//
// It depends on nothing but the file. When that can't be read any more, the plans that
// were read last stay in force, the log says so once and a metric for as long as it
// lasts. A file has at most 256 KiB.
package plan

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
)

//go:embed plans.yaml
var embedded []byte

// Bounds of a file. Past one the file is refused. Those of money are Stripe's (an amount
// has at most eight digits), or keep a line of an invoice within an int64.
const (
	MaxFile     = 256 << 10
	MaxFeatures = 100
	MaxPlans    = 50
	MaxPrices   = 20 // of a plan
	MaxPerks    = 50 // of a plan
	MaxAlerts   = 20

	MaxAmount  = 99_999_999    // of a price, in the minor unit
	MaxOverage = 1_000_000     // amount of an overage, in the minor unit
	MaxPer     = 1_000_000_000 // units of an overage
	MaxLimit   = 1 << 53       // what a meter's float64 still counts by one
	MaxRate    = 10_000_000    // requests a minute
	MaxBurst   = 1_000_000

	maxTrialDays = 730 // Stripe's
	maxGraceDays = 90
	maxPercent   = 1000 // an alert far past a soft limit is of use
	maxName      = 80
	maxID        = 40
	maxMistakes  = 50 // that are shown
)

// Mistake is something that is wrong with a file.
type Mistake struct {
	Line    int    // from 1
	Message string // what is wrong and what would be right
}

func (m Mistake) String() string { return fmt.Sprintf("line %d: %s", m.Line, m.Message) }

// Error is everything that is wrong with a file, in the order of its lines.
type Error struct{ Mistakes []Mistake }

func (e *Error) Error() string {
	if len(e.Mistakes) == 1 {
		return e.Mistakes[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes:", len(e.Mistakes))
	for i, m := range e.Mistakes {
		if i == maxMistakes {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Mistakes)-i)
			break
		}
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}

// Load reads a catalogue. The error is an *Error. With meters, every meter that the
// file names must be among them, see CheckMeters.
func Load(source []byte, meters ...meter.Meter) (*kgents.Catalog, error) {
	r := reader{}
	c := r.file(source)
	if len(meters) > 0 {
		for _, f := range r.features {
			if err := checkMeter(f.Feature, meters); err != nil {
				r.wrong(f.meterLine, "%s", err)
			}
		}
	}
	if len(r.mistakes) > 0 {
		slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return a.Line - b.Line })
		return nil, &Error{r.mistakes}
	}
	return c, nil
}

// Default is the catalogue that comes with the program. Each call makes a new one.
func Default() *kgents.Catalog {
	c, err := Load(embedded)
	if err != nil {
		panic(err) // a test reads it too
	}
	return c
}

// Source is the file that Default is read from, comments and all: what a file of one's own
// begins with.
func Source() []byte { return bytes.Clone(embedded) }

// CheckMeters tells whether the meters count what c limits: each feature's meter must
// be there and sum or count, since a limit is held against what was used so far. The
// error names every feature for which it isn't so.
func CheckMeters(c *kgents.Catalog, meters []meter.Meter) error {
	var wrong []string
	for _, f := range c.Features {
		if err := checkMeter(f, meters); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(wrong, "; "))
}

func checkMeter(f kgents.Feature, meters []meter.Meter) error {
	if !f.Metered() {
		return nil
	}
	var usable []string
	for _, m := range meters {
		countable := m.Aggregation == meter.Sum || m.Aggregation == meter.Count
		switch {
		case m.Slug == f.Meter && countable:
			return nil
		case m.Slug == f.Meter:
			return fmt.Errorf("feature %s: the meter %s has the aggregation %s, and only SUM and COUNT add up over a period", f.ID, f.Meter, m.Aggregation)
		case countable:
			usable = append(usable, m.Slug)
		}
	}
	if len(usable) == 0 {
		return fmt.Errorf("feature %s: there is no meter %s", f.ID, f.Meter)
	}
	slices.Sort(usable)
	return fmt.Errorf("feature %s: there is no meter %s: use %s, or leave meter out for what exists rather than is used", f.ID, f.Meter, orList(usable))
}
