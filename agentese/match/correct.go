package match

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// What decides: a reading is Sure if it costs at most sureCost and every other costs
// sureMargin more; it is offered if it costs no more than askCost and askToken for each
// word, and at most askSpread more than the best.
const (
	sureCost   = 2.2
	sureMargin = 0.34
	askCost    = 1.3
	askToken   = 0.7
	askSpread  = 2.5
	costValue  = 0.6 // a value without its key
)

// work is one correction, with the names that are live when it begins.
type work struct {
	g        *graph
	live     *names
	place    []string
	observer tree.Observer
	now      time.Time
	admin    *tree.Session // who may do everything, to see whether a step is one
}

// reading is one way to read a step.
type reading struct {
	step    agentese.Step
	expr    string
	cost    float32
	why     []string
	unsure  bool
	changes bool
	denied  string // the observer that it needs
	lost    int    // clauses that were left out
	found   found
}

func (m *Matcher) work(place []string, o tree.Observer) *work {
	return &work{g: m.graph, live: m.live.Load(), place: place, observer: o, now: time.Now(), admin: &tree.Session{Observer: tree.Admin}}
}

// Correct says what the input was meant to be, at a place (the names that the shell is
// at, without an aspect) and for an observer. What the observer may not do is offered
// with what it needs, never Sure; Exact says only that it is written so. A name that
// fits exactly where the shell is comes before what is elsewhere.
func (m *Matcher) Correct(input string, place []string, o tree.Observer) Correction {
	if len(input) > agentese.MaxInput {
		return Correction{}
	}
	w := m.work(place, o)
	if e, changes, ok := w.exact(input); ok {
		return Correction{Verdict: Exact, Candidates: []Candidate{{Expr: e.String(), Score: 1}}, Changes: changes}
	}
	parts := steps(strings.ToValidUTF8(input, "�"))
	if len(parts) > agentese.MaxSteps {
		return Correction{}
	}
	all := make([][]reading, len(parts))
	sure := true
	for i, p := range parts {
		rs, decided := w.step(p)
		if len(rs) == 0 {
			return Correction{}
		}
		all[i] = rs
		sure = sure && decided
	}
	return combine(all, sure)
}

// combine makes expressions of the readings of each step: the best of all of them, and
// those in which one step is read otherwise.
func combine(all [][]reading, sure bool) Correction {
	var c Correction
	add := func(step int, r reading) {
		var e agentese.Expression
		var why []string
		cost := float32(0)
		for i := range all {
			x := all[i][0]
			if i == step {
				x = r
			}
			e.Steps = append(e.Steps, x.step)
			why = append(why, x.why...)
			if x.denied != "" {
				why = append(why, "needs the observer "+x.denied)
			}
			cost += x.cost
			if len(c.Candidates) == 0 && x.changes {
				c.Changes = true
			}
		}
		c.Candidates = append(c.Candidates, Candidate{Expr: e.String(), Score: float64(1 / (1 + cost)), Why: term.Printable(strings.Join(why, ", "))})
	}
	add(0, all[0][0])
	for i, rs := range all {
		for _, r := range rs[1:] {
			add(i, r)
		}
	}
	slices.SortStableFunc(c.Candidates[1:], func(a, b Candidate) int { return cmp.Compare(b.Score, a.Score) })
	c.Candidates = c.Candidates[:min(MaxCandidates, len(c.Candidates))]
	c.Verdict = Ask
	if sure && !c.Changes {
		c.Verdict = Sure
	}
	return c
}

// exact says whether the input is an expression as it stands, here or from the root,
// with every live name in it known.
func (w *work) exact(input string) (e agentese.Expression, changes, ok bool) {
	e, err := agentese.Parse(input)
	if err != nil {
		// A single name and its aspect, or an aspect alone, may still be one from here.
		if len(w.place) == 0 || strings.ContainsAny(input, " >") {
			return e, false, false
		}
		if e, err = agentese.Parse(agentese.JoinPath(w.place...) + "." + strings.TrimSpace(input)); err != nil {
			return e, false, false
		}
		return w.allExact(e, nil)
	}
	return w.allExact(e, w.place)
}

// allExact gives the expression in its canonical form.
func (w *work) allExact(e agentese.Expression, place []string) (agentese.Expression, bool, bool) {
	changes := false
	for i, s := range e.Steps {
		c, does, ok := w.stepExact(s)
		if !ok && len(place) > 0 {
			from := agentese.NewStep("", place...)
			s.Names = append(from.Names, s.Names...)
			c, does, ok = w.stepExact(s)
		}
		if !ok {
			return e, false, false
		}
		e.Steps[i] = c
		changes = changes || does
	}
	return e, changes, true
}

func (w *work) stepExact(s agentese.Step) (agentese.Step, bool, bool) {
	_, a, err := w.g.tree.Resolve(s, w.admin)
	if err != nil {
		return s, false, false
	}
	names, ok := w.exist(s.Texts())
	if !ok {
		return s, false, false
	}
	out := agentese.NewStep(agentese.Aspect(strings.ToLower(s.Aspect.Text)), names...)
	out.Annotations = s.Annotations
	params := tree.ParamsOf(a)
	for _, c := range s.Clauses {
		i := slices.IndexFunc(params, func(p tree.Param) bool { return strings.EqualFold(p.Key, c.Key) })
		if i < 0 {
			return s, false, false
		}
		p := &params[i]
		if !c.Bare && c.Value != "" && (p.Of != "" || p.Paths) {
			v := w.values(p, c.Value)
			if len(v) == 0 || v[0].cost > 0 {
				return s, false, false
			}
			c.Value = v[0].name
		}
		if len(p.Values) > 0 && !c.Bare {
			c.Value, _ = p.Check(c.Value, w.now)
		}
		c.Key, c.Pos, c.End, c.ValuePos = p.Key, 0, 0, 0
		out.Clauses = append(out.Clauses, c)
	}
	return out, changes(a, out), true
}

// changes says whether a step changes something: a refine, or a sip of a fault.
func changes(a *tree.Affordance, s agentese.Step) bool {
	if a.Change != nil || a.Aspect == agentese.Refine {
		return true
	}
	c, _ := s.Clause("of")
	return a.Aspect == agentese.Sip && strings.EqualFold(c.Value, "fault")
}

// exist gives the names in their own spelling, if all live ones exist, or may: where
// names are open, or none were ever told.
func (w *work) exist(names []string) ([]string, bool) {
	place, _, canonical, depth := w.g.tree.Find(names)
	n := w.g.by[place.Pattern]
	if depth < len(names) || n == nil {
		return nil, false
	}
	canonical = slices.Clone(canonical)
	for j, s := range n.segs {
		if s.word >= 0 {
			continue
		}
		x, ok := w.live.sets[strings.Join(canonical[:j], ".")]
		if !ok {
			continue
		}
		name, ok := x.has(canonical[j], s.live.Fold)
		switch {
		case ok:
			canonical[j] = name
		case !s.live.Open:
			return nil, false
		}
	}
	return canonical, true
}

// align reads the path part of a step, best first.
func (w *work) align(tokens []token, place []string) []found {
	if len(tokens) == 0 || len(tokens) > maxTokens {
		if len(tokens) > maxTokens || len(place) == 0 {
			return nil
		}
	}
	a := newAligner(w.g, w.live, place, tokens)
	all := a.run()
	if more, cuts := exploded(tokens, a.isKnown); cuts > 0 && len(more) <= maxTokens {
		b := newAligner(w.g, w.live, place, more)
		for _, f := range b.run() {
			f.cost += costJoined * float32(cuts)
			f.why = append([]string{"separated " + joined(more)}, f.why...)
			all = append(all, f)
		}
	}
	return best(all, 64)
}

func joined(tokens []token) string {
	out := make([]string, len(tokens))
	for i, t := range tokens {
		out[i] = t.text
	}
	return strings.Join(out, ".")
}

// step reads one step, best first, and says whether the best is sure.
func (w *work) step(text string) ([]reading, bool) {
	r := readRough(w.g, text)
	var all []reading
	for _, f := range w.align(r.tokens, w.place) {
		all = append(all, w.withClauses(f, &r)...)
	}
	slices.SortStableFunc(all, func(a, b reading) int { return cmp.Compare(a.cost, b.cost) })
	var out []reading
	seen := map[string]bool{}
	for _, x := range all {
		if len(out) > 0 && x.cost > out[0].cost+askSpread || x.cost > askCost+askToken*float32(len(r.tokens)+len(r.clauses)) {
			break
		}
		x.expr = x.step.String()
		if seen[x.expr] || x.found.wild(len(r.tokens)) {
			continue
		}
		seen[x.expr] = true
		if !w.good(&x) {
			continue
		}
		if out = append(out, x); len(out) == MaxCandidates {
			break
		}
	}
	return out, len(out) > 0 && w.decided(out, &r)
}

// wild says whether too many of so many tokens were left out: it is another text.
func (f *found) wild(tokens int) bool { return f.extra*3 > tokens || f.dropped*2 > tokens }

// good says whether a reading is a step that parses and resolves.
func (w *work) good(x *reading) bool {
	e, err := agentese.Parse(x.expr)
	if err != nil || len(e.Steps) != 1 {
		return false
	}
	_, a, err := w.g.tree.Resolve(e.Steps[0], w.admin)
	if err != nil {
		return false
	}
	x.changes = changes(a, x.step)
	if !w.observer.May(*a) {
		x.denied = a.Least().String()
	}
	return true
}

// decided says whether the first reading is what was meant, and no other comes near.
func (w *work) decided(all []reading, r *rough) bool {
	x := &all[0]
	f := &x.found
	if x.unsure || x.changes || x.denied != "" || x.cost > sureCost {
		return false
	}
	for i := range all[1:] {
		// A reading that leaves out what this one reads says nothing against it.
		if y := &all[i+1]; y.found.dropped <= f.dropped && y.lost <= x.lost && y.cost < x.cost+sureMargin {
			return false
		}
	}
	letters, spaced := 0, 0
	for i, t := range r.tokens {
		letters += len(t.folded)
		if i > 0 && t.spaced {
			spaced++
		}
		if isUnclear(t.folded) {
			return false
		}
	}
	switch n := len(r.tokens); {
	case f.initials*2 > n || f.initials > 0 && n < 3:
		return false // too little was written
	case n == 1 && f.slips > 0 && (letters < 7 || f.slips > 1):
		return false // one word, and that mistyped: it may be anything
	case spaced > 0 && f.slips > 1+n/3:
		return false // rather a sentence
	case f.slips > 3 || f.slipped > 2:
		return false
	}
	return true
}

// withClauses are the ways to read the step with its clauses.
func (w *work) withClauses(f found, r *rough) []reading {
	a := &f.node.aspects[f.aspect]
	base := reading{step: agentese.NewStep(a.Aspect, f.names...), cost: f.cost, why: f.why, unsure: f.unsure, found: f}
	used := map[string]bool{}
	if f.clause != nil {
		base.step = base.step.With(f.clause[0], f.clause[1])
		used[f.clause[0]] = true
	}
	base = w.asClauses(base, a, used)
	var others []func() reading
	for _, c := range r.clauses {
		hits := w.asClause(c, a, used)
		before, at := base, len(base.step.Clauses)
		base = base.with(hits[0], c)
		if !hits[0].lost {
			used[hits[0].clause.Key] = true
		}
		for _, h := range hits[1:] {
			if h.lost || h.cost > hits[0].cost+askSpread {
				continue
			}
			others = append(others, func() reading {
				x := before.with(h, c)
				// The clauses behind it are as in the best.
				rest := base.step.Clauses[min(len(base.step.Clauses), at+1):]
				x.step.Clauses = append(slices.Clone(x.step.Clauses), rest...)
				x.cost = base.cost - hits[0].cost + h.cost
				x.unsure = base.unsure || h.unsure
				return x
			})
		}
	}
	for i := range a.Params {
		if p := &a.Params[i]; p.Required && !used[p.Key] {
			v := p.Default
			if v == "" && len(p.Values) > 0 {
				v = p.Values[0]
			}
			if v == "" {
				return nil
			}
			base.step = base.step.With(p.Key, v)
			base.cost += 0.6
			base.unsure = true
			base.why = append(slices.Clone(base.why), "added "+p.Key)
		}
	}
	base.annotate(r)
	out := []reading{base}
	for _, o := range others {
		x := o()
		x.annotate(r)
		out = append(out, x)
	}
	return out
}

// asClauses makes clauses of words that are no names but values of a parameter, or
// flags: alerts critical, checklist open, incident 6h.
func (w *work) asClauses(r reading, a *aspect, used map[string]bool) reading {
	for _, text := range r.found.rest {
		h := w.asClause(given{key: text}, a, used)[0]
		if h.lost || h.cost > costValue {
			continue
		}
		h.cost += costValue - costExtra
		r = r.with(h, given{key: text})
		r.why = slices.DeleteFunc(r.why, func(why string) bool { return why == "left out "+text })
		if h.why == "" {
			r.why = append(r.why, text+" → "+h.clause.String())
		}
		used[h.clause.Key] = true
		r.found.extra--
		r.found.dropped--
		r.unsure = true
	}
	return r
}

func (r reading) with(h clauseHit, c given) reading {
	r.cost += h.cost
	r.unsure = r.unsure || h.unsure
	if h.why != "" {
		r.why = append(slices.Clone(r.why), h.why)
	}
	if h.lost {
		r.lost++
	} else {
		r.step.Clauses = append(slices.Clone(r.step.Clauses), h.clause)
	}
	return r
}

// annotate keeps the annotations, of which only the name can be wrong.
func (r *reading) annotate(rough *rough) {
	for _, a := range rough.annotations {
		t, best := newTyped(a.key), hit{cost: none}
		for _, known := range annotations {
			kw := newWord(known)
			if h := t.is(&kw); h.cost < best.cost {
				best = h
			}
		}
		if best.cost >= none || !a.has || a.value == "" {
			r.cost += costLost
			r.unsure = true
			r.why = append(slices.Clone(r.why), "left out @"+a.key)
			continue
		}
		if w := told(a.key, best); w != "" {
			r.why = append(slices.Clone(r.why), w)
		}
		r.cost += best.cost
		r.step.Annotations = append(r.step.Annotations, agentese.Annotation{Key: best.name, Value: a.value})
	}
}

// annotations are the ones that the tree knows.
var annotations = []string{"span", "phase", "note"}
