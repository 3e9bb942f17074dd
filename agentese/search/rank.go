package search

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// The features by which candidates are compared. Their weights are in weights.go.
const (
	byModel    = iota // the log-linear model's log-probability
	byWording         // how alike the most alike wording of the option is
	byNode            // and of the node, whatever the aspect
	byText            // BM25 over what is written at the option
	byNodeText        // and at the node
	byName            // live names that the path has and the question gives
	byGuess           // the same of names that are only likely
	lacking           // live names that the path needs and the question doesn't give
	inClause          // names of the question that a clause takes
	unused            // names of the question that neither has
	byInstance        // how alike a wording of exactly this path is
	byValue           // words that ask for a value of a change
	neighbours        // the share of the ten most alike wordings that mean this option
	byNumber          // numbers that may be names, more if what they count is said
	isTold            // it has a told name
	byTold            // how well what is written of a told name fits
	builtin           // define and affordances, of which no node says how they are asked for
	features
)

// What can't be learnt from single questions: the place where one is, and past use.
const (
	placeWeight = 0.5
	pastWeight  = 12
)

// candidate is an option with its live names.
type candidate struct {
	option   int
	names    map[string]entity // by kind
	features [features]float64
	extra    float64 // place and past use
	score    float64
}

// look is all that is known of a question, for all candidates.
type look struct {
	q          *question
	v          []weighted
	alike      []float64
	judged     []float64 // by choice
	text       []float64
	nodeText   []float64
	toldText   []float64
	wording    []float64
	node       []float64
	neighbours []float64
	told       []entity
	best       []likely // wordings, the most alike first
}

// likely is a wording with how alike it is.
type likely struct {
	i int
	x float64
}

func (b *built) look(q *question, n *names) *look {
	l := &look{q: q}
	var norm float64
	l.v, norm = b.vector(q)
	l.alike = b.alike(l.v, norm)
	l.judged = b.model.judge(b, l.v, norm)
	l.text, l.nodeText = score(b.texts, l.v), score(b.nodeText, l.v)
	l.toldText = score(b.choices.text, l.v)
	scale(l.toldText)
	scale(l.text)
	scale(l.nodeText)
	l.wording, l.node, l.neighbours = make([]float64, len(b.options)), make([]float64, len(b.nodes)), make([]float64, len(b.options))
	var best []likely
	for i, x := range l.alike {
		if x <= 0 {
			continue
		}
		s := &b.wordings[i]
		x *= math.Sqrt(s.weight)
		for k, o := range s.options {
			y := x * (1 - 0.1*float64(k))
			l.wording[o] = max(l.wording[o], y)
			l.node[b.options[o].node] = max(l.node[b.options[o].node], y)
		}
		best = append(best, likely{i, x})
	}
	best = nearest(best)
	l.best = best
	var total float64
	for _, e := range best[:min(10, len(best))] {
		total += e.x * e.x
		for _, o := range b.wordings[e.i].options {
			l.neighbours[o] += e.x * e.x
		}
	}
	if total > 0 {
		for i := range l.neighbours {
			l.neighbours[i] /= total
		}
	}
	stems := map[string]float64{}
	for _, t := range q.terms {
		stems[t.text] = 1
	}
	for _, s := range q.stems {
		stems[s] = max(stems[s], 1)
	}
	for s := range b.relatives(q) {
		stems[s] = max(stems[s], 0.6)
	}
	l.told = n.described(stems, b.weightOf, 3)
	// What the most alike wordings name is told, too.
	for _, e := range best[:min(12, len(best))] {
		if e.x < 0.15 {
			break
		}
		s := &b.wordings[e.i]
		for j, step := range s.exprs {
			o := &b.options[s.options[j]]
			for k, part := range strings.Split(o.pattern(), ".") {
				kind := strings.Trim(part, "{}")
				if kind == part || !n.tells(kind, step.Names[k].Text) {
					continue
				}
				i := slices.IndexFunc(l.told, func(t entity) bool { return t.kind == kind && t.name == step.Names[k].Text })
				if i < 0 {
					l.told = append(l.told, entity{kind: kind, name: step.Names[k].Text, weak: true, share: e.x})
				}
			}
		}
	}
	slices.SortStableFunc(l.told, func(a, b entity) int { return cmp.Compare(b.share, a.share) })
	return l
}

// nearest sorts wordings, the most alike first, and leaves out those that are hardly
// alike: a short question has a word in common with thousands.
func nearest(all []likely) []likely {
	var top float64
	for _, e := range all {
		top = max(top, e.x)
	}
	all = slices.DeleteFunc(all, func(e likely) bool { return e.x < top/8 })
	slices.SortFunc(all, func(a, b likely) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.i, b.i)) })
	return all
}

// relatives are the words that mean nearly the same as one of the question.
func (b *built) relatives(q *question) map[string]bool {
	out := map[string]bool{}
	for _, p := range b.reader.lexicon.concepts {
		if len(p.stems) == 1 && q.concepts[p.label] > 0 {
			out[p.stems[0]] = true
		}
	}
	return out
}

func (b *built) weightOf(stem string) float64 {
	if k, ok := b.terms[stem]; ok {
		return b.idf[k]
	}
	return 1
}

func scale(x []float64) {
	if len(x) == 0 {
		return
	}
	if top := slices.Max(x); top > 0 {
		for i := range x {
			x[i] /= top
		}
	}
}

// candidates are all options with the names that fit them.
func (b *built) candidates(l *look, n *names) []candidate {
	var out []candidate
	for i := range b.options {
		for _, names := range b.assign(i, l, n) {
			out = append(out, b.candidate(i, names, l))
		}
	}
	return out
}

// assign gives the ways in which the question's names fill an option's path, at most
// maxAssigned.
func (b *built) assign(i int, l *look, n *names) []map[string]entity {
	o := &b.options[i]
	if len(o.slots) == 0 {
		return []map[string]entity{nil}
	}
	last := o.slots[len(o.slots)-1]
	var found []entity
	for _, e := range l.q.names {
		if e.kind == last {
			found = append(found, e)
		}
	}
	if len(found) == 0 || slices.IndexFunc(found, func(e entity) bool { return !e.weak }) < 0 {
		for _, e := range l.told {
			if e.kind == last {
				found = append(found, e)
			}
		}
		for _, e := range b.likeliest(i, l, n) {
			if !slices.ContainsFunc(found, func(f entity) bool { return f.kind == e.kind && f.name == e.name }) {
				found = append(found, e)
			}
		}
	}
	var out []map[string]entity
	for _, e := range found {
		names, fits := map[string]entity{last: e}, true
		for _, above := range o.slots[:len(o.slots)-1] {
			i := slices.IndexFunc(l.q.names, func(f entity) bool { return f.kind == above })
			switch {
			case i >= 0 && e.above[above] != "" && e.above[above] != l.q.names[i].name:
				fits = false
			case i >= 0:
				names[above] = l.q.names[i]
			case e.above[above] != "":
				names[above] = entity{kind: above, name: e.above[above], share: 0.3, weak: true}
			}
		}
		if fits && len(out) < maxAssigned {
			out = append(out, names)
		}
	}
	if len(out) == 0 {
		names := map[string]entity{}
		for _, above := range o.slots[:len(o.slots)-1] {
			if i := slices.IndexFunc(l.q.names, func(f entity) bool { return f.kind == above }); i >= 0 {
				names[above] = l.q.names[i]
			}
		}
		out = append(out, names)
	}
	return out
}

// maxAssigned bounds the candidates of an option.
const maxAssigned = 8

// maxLikely bounds the names that are told by words alone.
const maxLikely = 5

// likeliest are the told names that an option is likeliest to be meant with, maxLikely at
// most, of those that there are.
func (b *built) likeliest(option int, l *look, n *names) []entity {
	kind := b.options[option].tells()
	if kind == "" {
		return nil
	}
	var best []likely
	for c := b.choices.first[option] + 1; c < len(b.choices.list) && b.choices.list[c].option == option; c++ {
		t := b.choices.list[c].told
		if e := b.choices.told[t]; e.documented || n.tells(e.kind, e.name) {
			best = append(best, likely{t, l.judged[c] + 3*l.toldText[t]})
		}
	}
	slices.SortFunc(best, func(a, b likely) int { return cmp.Or(cmp.Compare(b.x, a.x), cmp.Compare(a.i, b.i)) })
	var out []entity
	for _, t := range best[:min(maxLikely, len(best))] {
		out = append(out, entity{kind: b.choices.told[t.i].kind, name: b.choices.told[t.i].name, weak: true})
	}
	return out
}

func (b *built) candidate(i int, names map[string]entity, l *look) candidate {
	o := &b.options[i]
	c := candidate{option: i, names: names}
	f := &c.features
	chosen := b.choices.first[i]
	if kind := o.tells(); kind != "" {
		if e, ok := names[kind]; ok && e.weak {
			chosen = b.choices.with(i, kind, e.name)
			if t := b.choices.list[chosen].told; t >= 0 {
				f[isTold], f[byTold] = 1, l.toldText[t]
			}
		}
	}
	f[byModel], f[byWording], f[byNode] = l.judged[chosen], l.wording[i], l.node[o.node]
	f[byText], f[byNodeText], f[neighbours] = l.text[i], l.nodeText[o.node], l.neighbours[i]
	for _, kind := range o.slots {
		switch e, ok := names[kind]; {
		case !ok:
			f[lacking]++
		case e.weak && number(e.name):
			f[byNumber] += b.numbered(e, l.q)
		case e.weak:
			f[byGuess] += e.share
		default:
			f[byName] += e.share
		}
	}
	// Names of the question, several kinds for the same words being one.
	for k, e := range l.q.names {
		if e.weak || k > 0 && l.q.names[k-1].from == e.from && !l.q.names[k-1].weak {
			continue
		}
		used, clause := false, false
		for _, g := range l.q.names {
			if g.from != e.from {
				continue
			}
			if mine, ok := names[g.kind]; ok && mine.name == g.name {
				used = true
			}
			clause = clause || o.takes(b.tree, g.kind)
		}
		switch {
		case used:
		case clause:
			f[inClause]++
		default:
			f[unused]++
		}
	}
	if o.afford == nil {
		f[builtin] = 1
		return c
	}
	if len(o.slots) > 0 && f[lacking] == 0 {
		f[byInstance] = b.instance(i, names, l)
	}
	if o.changes {
		for _, p := range o.afford.Params {
			for _, v := range p.Values {
				f[byValue] = max(f[byValue], b.reader.lexicon.asked(p.Key+"="+v, l.q.stems))
			}
		}
	}
	return c
}

// numbered says how likely a number is the name of something: not, if it is part of a
// time.
func (b *built) numbered(e entity, q *question) float64 {
	if e.from == 0 {
		return 0.6
	}
	for _, s := range q.spans {
		if e.from >= s.from && e.from < s.to {
			return -1
		}
	}
	return 0.6
}

// takes says whether a clause of the option has names of this kind as its values.
func (o *option) takes(t *tree.Tree, kind string) bool {
	return o.afford != nil && slices.ContainsFunc(o.afford.Params, func(p tree.Param) bool { return kindOf(t, p) == kind })
}

// kindOf is what the live names are that a parameter has as its values; "" if it has none.
func kindOf(t *tree.Tree, p tree.Param) string {
	if p.Of != "" {
		if at, ok := t.At(p.Of); ok && at.Node.Live != nil {
			return at.Node.Live.Node.Name
		}
	}
	if len(p.Values) == 0 && (p.Key == "customer" || p.Key == "plan") {
		return p.Key
	}
	return ""
}

// instance is how alike the most alike wording with just these names is.
func (b *built) instance(i int, names map[string]entity, l *look) float64 {
	for _, e := range l.best {
		s := &b.wordings[e.i]
		for j, o := range s.options {
			if o == i && j < len(s.exprs) && b.fits(s.exprs[j], &b.options[i], names) {
				return e.x
			}
		}
	}
	return 0
}

func (b *built) fits(step agentese.Step, o *option, names map[string]entity) bool {
	parts := strings.Split(o.pattern(), ".")
	for k, n := range step.Names {
		if kind, ok := strings.CutPrefix(parts[k], "{"); ok && !strings.EqualFold(names[strings.TrimSuffix(kind, "}")].name, n.Text) {
			return false
		}
	}
	return len(step.Names) > 0
}

// rank scores the candidates and sorts them, the best first.
func (b *built) rank(cs []candidate) {
	for i := range cs {
		c := &cs[i]
		c.score = c.extra
		for k, x := range c.features {
			c.score += weights[k] * x
		}
	}
	slices.SortStableFunc(cs, func(x, y candidate) int {
		return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.option, y.option))
	})
}

// chances makes probabilities of the scores of sorted candidates.
func chances(cs []candidate) []float64 {
	out := make([]float64, len(cs))
	var total float64
	for i, c := range cs {
		out[i] = math.Exp(c.score - cs[0].score)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// near says how near a node is to the place where one is: 1 below it, less beside it.
func near(place []string, o *option, names map[string]entity) float64 {
	if len(place) == 0 {
		return 0
	}
	parts := strings.Split(o.pattern(), ".")
	same := 0
	for same < len(place) && same < len(parts) {
		part := parts[same]
		if kind, ok := strings.CutPrefix(part, "{"); ok {
			part = names[strings.TrimSuffix(kind, "}")].name
		}
		if !strings.EqualFold(part, place[same]) {
			break
		}
		same++
	}
	if same < 2 && same < len(place) {
		return 0
	}
	return float64(same) / float64(len(place))
}
