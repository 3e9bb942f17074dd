package checklist

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Verdict is what an item comes to.
type Verdict string

// The verdicts. Open and Signed are those of items that a person looks at.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Warn    Verdict = "warn"    // true today, but not for long, or less than it should be
	Unknown Verdict = "unknown" // could not be looked at
	Signed  Verdict = "signed"
	Open    Verdict = "open"
)

// Finding is what a look at the system came to.
type Finding struct {
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"`       // what was seen
	Next     string  `json:"next,omitempty"` // what to do; empty on a pass
}

// Passed is the Finding of what holds.
func Passed(format string, args ...any) Finding {
	return Finding{Verdict: Pass, Evidence: fmt.Sprintf(format, args...)}
}

// Failed is a Finding that says what is wrong and what to do.
func Failed(evidence, next string) Finding { return Finding{Fail, evidence, next} }

// Warned is a Finding for what holds, but not as it should.
func Warned(evidence, next string) Finding { return Finding{Warn, evidence, next} }

// CannotTell is a Finding for what could not be looked at: why, and what would help.
func CannotTell(why, next string) Finding { return Finding{Unknown, why, next} }

// Check looks at one item. It returns when it knows, at the latest soon after ctx
// ends, and leaves the system as it was, but for canaries that nobody pays for.
type Check func(ctx context.Context) Finding

// Result is an item with what was found.
type Result struct {
	Item
	Finding
	Took time.Duration `json:"took_ns"`
	Sign *SignOff      `json:"sign_off,omitempty"`
}

// Report is the outcome of a run.
type Report struct {
	OK      bool           `json:"ok"` // every blocking item passes or is signed
	Target  Target         `json:"target"`
	At      time.Time      `json:"at"`
	Took    time.Duration  `json:"took_ns"`
	Results []Result       `json:"results"`
	Left    int            `json:"left_out"` // items that are for the other target only
	Counts  map[string]int `json:"counts"`   // by verdict
}

// Options choose what to look at.
type Options struct {
	Target     Target
	Categories []string // empty for all
	Blocking   bool     // only blocking items
	SignOffs   SignOffs

	// Patience bounds one check, 0 for two minutes: a restore takes its time.
	Patience time.Duration

	// Progress is told before the first check with an empty id and after each check,
	// from one goroutine at a time. It may be nil.
	Progress func(id string, done, total int)
}

const (
	// atOnce bounds the checks that run side by side: they mostly wait.
	atOnce = 12

	patience = 2 * time.Minute
)

// Run looks at the items with their checks, by id. An automatic item without a
// check is Unknown. A category that does not exist is an error.
func Run(ctx context.Context, l List, checks map[string]Check, o Options) (Report, error) {
	for _, id := range o.Categories {
		if !slices.ContainsFunc(l.Categories, func(c Category) bool { return c.ID == id }) {
			return Report{}, fmt.Errorf("there is no category %q: choose from %s", id, l.categoryIDs())
		}
	}
	r := Report{OK: true, Target: o.Target, At: time.Now().UTC(), Counts: map[string]int{}}
	began := time.Now()
	for _, i := range l.Items() {
		switch {
		case len(o.Categories) > 0 && !slices.Contains(o.Categories, i.Category), o.Blocking && !i.Blocking:
		case !i.For(o.Target):
			r.Left++
		default:
			r.Results = append(r.Results, Result{Item: i})
		}
	}
	p := &progress{tell: o.Progress}
	for _, res := range r.Results {
		if res.Automatic {
			p.total++
		}
	}
	p.step("")
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for n := range r.Results {
		res := &r.Results[n]
		if !res.Automatic {
			res.Finding, res.Sign = o.SignOffs.finding(res.Item, r.At)
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			start := time.Now()
			res.Finding = look(ctx, checks[res.ID], o.Patience)
			res.Took = time.Since(start)
			p.step(res.ID)
		})
	}
	all.Wait()
	for _, res := range r.Results {
		r.Counts[string(res.Verdict)]++
		r.OK = r.OK && res.Ready()
	}
	r.Took = time.Since(began)
	return r, nil
}

// look runs one check, which may neither take the others down with it nor keep
// them waiting.
func look(ctx context.Context, check Check, limit time.Duration) Finding {
	if check == nil {
		return CannotTell("this program has no check for it", "use a newer kgents")
	}
	if limit == 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := make(chan Finding, 1)
	go func() {
		defer func() {
			if problem := recover(); problem != nil {
				found <- CannotTell(fmt.Sprintf("the check broke: %v", problem), "report it: this is a bug of kgents")
			}
		}()
		found <- check(ctx)
	}()
	select {
	case f := <-found:
		return f
	case <-ctx.Done():
	}
	// A check that minds its context ends now, and knows better what was missing.
	select {
	case f := <-found:
		return f
	case <-time.After(grace):
		return CannotTell("no answer in time", "try again; look whether what it asks is reachable")
	}
}

// grace is how long after its context's end a check may still say what it knows.
const grace = 2 * time.Second

type progress struct {
	mu          sync.Mutex
	tell        func(id string, done, total int)
	done, total int
}

func (p *progress) step(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id != "" {
		p.done++
	}
	if p.tell != nil {
		p.tell(id, p.done, p.total)
	}
}
