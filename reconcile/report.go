package reconcile

import (
	"cmp"
	"slices"
	"time"
)

const (
	// maxGroups bounds the pairs of type and customer that a report tells apart.
	// What is beyond is summed up under the customer Others.
	maxGroups = 10_000

	// maxExamples bounds the findings that a report names.
	maxExamples = 100
)

// Others is the customer, or the type, under which a report sums up what it has
// no room to tell apart.
const Others = "(others)"

// Kind is what is wrong with an event.
type Kind string

// The kinds.
const (
	Missing   Kind = "missing"   // in the stream, not in the meter
	Surplus   Kind = "surplus"   // in the meter, not in the stream
	Different Kind = "different" // in both, with another type, subject, time or data
)

// Counts are numbers of events, by identity.
type Counts struct {
	InStream    int64 `json:"in_stream"`
	InMeter     int64 `json:"in_meter"` // those of the stream that the meter lists, and the surplus
	Missing     int64 `json:"missing"`  // the mended ones included
	Surplus     int64 `json:"surplus"`
	Different   int64 `json:"different"`
	Mended      int64 `json:"mended"`       // missing, sent again and then listed
	DeadLetters int64 `json:"dead_letters"` // in the stream, and known not to be in the meter
	Unchecked   int64 `json:"unchecked"`    // in the stream; under way a second time, of a time that the meter doesn't list, or one of too many in a second
}

// Lost is how many events are missing still.
func (c Counts) Lost() int64 { return c.Missing - c.Mended }

func (c *Counts) add(o Counts) {
	c.InStream += o.InStream
	c.InMeter += o.InMeter
	c.Missing += o.Missing
	c.Surplus += o.Surplus
	c.Different += o.Different
	c.Mended += o.Mended
	c.DeadLetters += o.DeadLetters
	c.Unchecked += o.Unchecked
}

// Row is one type of event of one customer.
type Row struct {
	Type     string `json:"type"`
	Customer string `json:"customer"`
	Counts
}

// Finding names one event.
type Finding struct {
	Kind     Kind      `json:"kind"`
	Source   string    `json:"source"`
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Customer string    `json:"customer"`
	Time     time.Time `json:"time"`
	Mended   bool      `json:"mended,omitempty"`

	of identity
}

// Report is the outcome of a run.
type Report struct {
	Since time.Time `json:"since"` // later than asked for when the stream has forgotten what was before
	Until time.Time `json:"until"`
	Fix   bool      `json:"fix"`

	// Last is the sequence in the stream up to which messages were looked at; 0 if there
	// was none. With Since and Until it says what a later run has to look at to look at the
	// same.
	Last uint64 `json:"last"`

	Total Counts `json:"total"`
	Rows  []Row  `json:"rows"` // by type, then customer

	// Examples are the first 100 findings.
	Examples []Finding `json:"examples"`

	// InFlight is how many messages of the period were not looked at, because not
	// all before them is acknowledged: they are still on their way.
	InFlight int64 `json:"in_flight_messages"`

	// CrowdedSeconds have more events than the meter lists at once. Their events
	// were looked up one by one; a surplus among them may not be known.
	CrowdedSeconds int64 `json:"crowded_seconds"`

	// Requests is what the run asked of the meter.
	Requests int64   `json:"requests"`
	Seconds  float64 `json:"seconds"`
}

// Clean says whether there is nothing to tell.
func (r Report) Clean() bool {
	return r.Total.Missing == 0 && r.Total.Surplus == 0 && r.Total.Different == 0
}

// group is a pair of type and customer.
type group struct{ typ, customer string }

// tally counts by group, in bounded memory.
type tally struct {
	index    map[group]int32
	groups   []group
	counts   []Counts
	examples []Finding
}

func newTally() *tally { return &tally{index: map[group]int32{}} }

// group returns the place of a pair.
func (t *tally) group(typ, customer string) int32 {
	for _, g := range []group{{typ, customer}, {typ, Others}} {
		if i, ok := t.index[g]; ok {
			return i
		}
		if len(t.groups) < maxGroups {
			return t.add(g)
		}
	}
	if i, ok := t.index[group{Others, Others}]; ok {
		return i
	}
	return t.add(group{Others, Others})
}

func (t *tally) add(g group) int32 {
	i := int32(len(t.groups))
	t.index[g] = i
	t.groups = append(t.groups, g)
	t.counts = append(t.counts, Counts{})
	return i
}

func (t *tally) at(g int32) *Counts { return &t.counts[g] }

// example keeps f if there is room.
func (t *tally) example(f Finding) {
	if len(t.examples) < maxExamples {
		t.examples = append(t.examples, f)
	}
}

// mended marks an example.
func (t *tally) mended(id identity) {
	for i := range t.examples {
		if t.examples[i].of == id && t.examples[i].Kind == Missing {
			t.examples[i].Mended = true
		}
	}
}

// fill writes what was counted into r.
func (t *tally) fill(r *Report) {
	r.Rows, r.Examples, r.Total = []Row{}, t.examples, Counts{}
	if r.Examples == nil {
		r.Examples = []Finding{}
	}
	for i, g := range t.groups {
		if t.counts[i] == (Counts{}) {
			continue
		}
		r.Rows = append(r.Rows, Row{g.typ, g.customer, t.counts[i]})
		r.Total.add(t.counts[i])
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Customer, b.Customer))
	})
}
