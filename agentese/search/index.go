package search

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// option is an aspect of a node: what a question may mean.
type option struct {
	place   tree.Place
	node    int
	parent  int
	aspect  int
	afford  *tree.Affordance // nil of define and affordances
	slots   []string         // the kinds of live names that its path needs
	changes bool
}

func (o *option) pattern() string { return o.place.Pattern }

// Wording is a question of which is known what it means: expressions that are as good
// as each other.
type Wording struct {
	Question string
	Expected []string
}

// sample is a wording as the index keeps it.
type sample struct {
	terms   []weighted
	norm    float64
	options []int
	choices []int           // of options, for the model
	exprs   []agentese.Step // of options; empty steps of asks and synonyms
	weight  float64
}

// weighted is a term by its number.
type weighted struct {
	term   int
	weight float64
}

// weighed is a wording with how much a term weighs in it.
type weighed struct {
	wording int32
	weight  float32
}

// built is what an index knows of a tree. It doesn't change.
type built struct {
	tree    *tree.Tree
	options []option
	nodes   []tree.Place
	byName  map[string]int // option by pattern + " " + aspect
	reader  *reader
	samples []entity // live names of examples and wordings

	terms    map[string]int
	termText []string
	idf      []float64
	texts    []postings // BM25F over what stands at each option
	nodeText []postings // and at each node
	wordings []sample
	byTerm   [][]weighed // wordings by term
	choices  *choices
	model    *model
}

// postings are the terms of one text, each with BM25's saturated frequency.
type postings map[int]float64

// BM25's usual parameters (Robertson and Zaragoza, 2009).
const (
	bmK = 1.2
	bmB = 0.5
)

// fields is how much a word counts by where it stands.
var fields = struct{ name, synonym, line, ask, example, param, doc, above float64 }{3, 2.5, 1.5, 1.5, 0.8, 0.6, 0.4, 0.6}

// build reads the whole tree and the known wordings.
func build(t *tree.Tree, known []Wording) *built {
	b := &built{tree: t, byName: map[string]int{}, terms: map[string]int{}}
	nodeOf := map[string]int{}
	for _, p := range t.Places() {
		nodeOf[p.Pattern] = len(b.nodes)
		b.nodes = append(b.nodes, p)
		parent := nodeOf[p.Pattern]
		if i := strings.LastIndexByte(p.Pattern, '.'); i > 0 {
			parent = nodeOf[p.Pattern[:i]]
		}
		var slots []string
		for part := range strings.SplitSeq(p.Pattern, ".") {
			if strings.HasPrefix(part, "{") {
				slots = append(slots, strings.Trim(part, "{}"))
			}
		}
		for _, a := range p.Node.Aspects() {
			own, _ := p.Node.Affordance(a)
			o := option{place: p, node: nodeOf[p.Pattern], parent: parent, aspect: aspectNumber(a), afford: own, slots: slots}
			o.changes = own != nil && own.Change != nil || a == agentese.Refine || a == agentese.Tithe
			b.byName[p.Pattern+" "+string(a)] = len(b.options)
			b.options = append(b.options, o)
		}
	}
	b.collectSamples(known)
	lex := newLexicon(lexiconText)
	written := documented(b.nodes)
	b.reader = &reader{lexicon: lex, words: newVocabulary(b.vocabulary(lex, known, written))}
	static := map[string]bool{}
	for _, p := range t.Places() {
		static[p.Node.Name] = true
	}
	b.reader.common = func(w string) bool { return stopWords[w] || lex.words[w] || static[w] }
	b.index(known, written)
	b.model = train(b)
	return b
}

func aspectNumber(a agentese.Aspect) int { return slices.Index(agentese.Aspects(), a) }

// locate finds the option of an expression's only step.
func (b *built) locate(expr string) (option int, step agentese.Step, live map[string]string, ok bool) {
	x, err := agentese.Parse(expr)
	if err != nil || len(x.Steps) != 1 {
		return 0, step, nil, false
	}
	step = x.Steps[0]
	p, live, _, depth := b.tree.Find(step.Texts())
	if depth < len(step.Names) {
		return 0, step, nil, false
	}
	option, ok = b.byName[p.Pattern+" "+strings.ToLower(step.Aspect.Text)]
	return option, step, live, ok
}

// collectSamples takes the live names from examples and wordings, so that they are
// known as names where they stand in a wording.
func (b *built) collectSamples(known []Wording) {
	take := func(expr string) {
		if _, _, live, ok := b.locate(expr); ok {
			for kind, name := range live {
				b.samples = append(b.samples, entity{kind: kind, name: name})
			}
		}
	}
	for _, p := range b.nodes {
		for _, a := range p.Node.Affords {
			for _, e := range a.Examples {
				take(e.Expr)
			}
		}
	}
	for _, w := range known {
		for _, e := range w.Expected {
			take(e)
		}
	}
	slices.SortFunc(b.samples, func(a, b entity) int { return strings.Compare(a.kind+" "+a.name, b.kind+" "+b.name) })
}

// vocabulary is all words that the tree, the lexicon and the wordings have, but for
// those that stand in one wording only: they may be mistakes.
func (b *built) vocabulary(lex *lexicon, known []Wording, written []toldName) map[string]int {
	words := map[string]int{}
	add := func(s string, n int) {
		for _, t := range tokens(s) {
			words[t.text] += n
		}
	}
	for w := range stopWords {
		words[w] += 5
	}
	for w := range lex.words {
		words[w] += 5
	}
	for _, p := range b.nodes {
		n := p.Node
		add(n.Name, 5)
		add(n.Line, 3)
		add(n.Doc, 2)
		add(strings.Join(n.Synonyms, " "), 5)
		for _, a := range n.Affords {
			add(a.Line, 2)
			add(strings.Join(a.Asks, " "), 1)
			for _, e := range a.Examples {
				add(e.Line, 1)
			}
			for _, q := range a.Params {
				add(q.Key+" "+q.Line+" "+strings.Join(q.Values, " "), 2)
			}
		}
	}
	for _, t := range written {
		add(t.line, 2)
		add(t.text, 1)
	}
	seen := map[string]int{}
	for _, w := range known {
		for _, t := range tokens(w.Question) {
			seen[t.text]++
		}
	}
	for w, n := range seen {
		if n > 1 || words[w] > 0 {
			words[w] += n
		}
	}
	return words
}

func (b *built) number(t string) int {
	n, ok := b.terms[t]
	if !ok {
		n = len(b.terms)
		b.terms[t] = n
		b.termText = append(b.termText, t)
	}
	return n
}

// index makes the texts, the wordings and what the words of them weigh.
func (b *built) index(known []Wording, written []toldName) {
	n := newNames(b.tree, nil, b.samples)
	at := time.Unix(0, 0).UTC()
	read := func(s string) []term { return b.reader.read(bare(s), n, at).terms }
	b.choices = newChoices(b, known, written)
	type text map[int]float64
	texts, nodes, told := make([]text, len(b.options)), make([]text, len(b.nodes)), make([]text, len(b.choices.told))
	add := func(to text, s string, weight float64) {
		for _, t := range read(s) {
			if !strings.Contains(t.text, " ") { // pairs only count between wordings
				to[b.number(t.text)] += weight * t.weight
			}
		}
	}
	for i, t := range b.choices.told {
		told[i] = text{}
		add(told[i], strings.Join(nameWords(t.name), " "), fields.name)
		add(told[i], t.line, fields.line)
		for part := range strings.SplitSeq(t.text, ". ") { // a question's bounds are not a text's
			add(told[i], part, fields.doc)
		}
	}
	for i, p := range b.nodes {
		nodes[i] = text{}
		add(nodes[i], strings.Join(nameWords(p.Node.Name), " "), fields.name)
		add(nodes[i], p.Node.Line, fields.line)
		add(nodes[i], p.Node.Doc, fields.doc)
		for _, s := range p.Node.Synonyms {
			add(nodes[i], s, fields.synonym)
		}
		for _, a := range p.Above[min(1, len(p.Above)):] {
			add(nodes[i], a.Name, fields.above)
		}
	}
	for i := range b.options {
		o := &b.options[i]
		texts[i] = text{}
		if o.afford == nil {
			b.builtinWordings(i, read)
			continue
		}
		add(texts[i], o.afford.Line, fields.line)
		for _, a := range o.afford.Asks {
			terms := read(a)
			add(texts[i], a, fields.ask)
			add(nodes[o.node], a, fields.ask*0.5)
			b.sample(terms, []int{i}, nil, nil, 1)
		}
		for _, e := range o.afford.Examples {
			add(texts[i], e.Line, fields.example)
			b.sample(read(e.Line), []int{i}, nil, nil, 0.8)
		}
		for _, q := range o.afford.Params {
			add(texts[i], q.Line, fields.param)
		}
		if o.afford.Aspect == agentese.Manifest {
			for _, s := range o.place.Node.Synonyms {
				b.sample(read(s), []int{i}, nil, nil, 0.7)
			}
		}
	}
	for _, w := range known {
		var options, choices []int
		var steps []agentese.Step
		q := b.reader.read(w.Question, n, at)
		for _, e := range w.Expected {
			if o, step, live, ok := b.locate(e); ok {
				options, steps = append(options, o), append(steps, step)
				choices = append(choices, b.choices.of(b, o, live, q))
			}
		}
		if len(options) == 0 {
			continue
		}
		for k, o := range options {
			t := b.choices.list[choices[k]].told
			for _, term := range q.terms {
				if strings.Contains(term.text, " ") {
					continue
				}
				share := fields.ask / float64(k+1)
				texts[o][b.number(term.text)] += share * term.weight
				nodes[b.options[o].node][b.number(term.text)] += share * 0.5 * term.weight
				if t >= 0 {
					told[t][b.number(term.text)] += share * term.weight
				}
			}
		}
		b.sample(q.terms, options, choices, steps, 1)
	}
	b.titles(read)
	b.weigh()
	freeze := func(in []text) []postings {
		var total float64
		for _, t := range in {
			for _, w := range t {
				total += w
			}
		}
		mean := max(1, total/float64(len(in)))
		out := make([]postings, len(in))
		for i, t := range in {
			var length float64
			for _, w := range t {
				length += w
			}
			out[i] = postings{}
			for k, w := range t {
				out[i][k] = w * (bmK + 1) / (w + bmK*(1-bmB+bmB*length/mean))
			}
		}
		return out
	}
	b.texts, b.nodeText, b.choices.text = freeze(texts), freeze(nodes), freeze(told)
}

// bare makes {customer} in a documented wording the kind's own word.
func bare(s string) string {
	return strings.NewReplacer("{", " ", "}", " ").Replace(s)
}

// builtinWordings are those of define and affordances, which every node has without
// writing how it is asked for.
func (b *built) builtinWordings(i int, read func(string) []term) {
	o := &b.options[i]
	called := append([]string{strings.Join(nameWords(o.place.Node.Name), " ")}, o.place.Node.Synonyms[:min(3, len(o.place.Node.Synonyms))]...)
	if len(o.slots) > 0 {
		for _, e := range b.samples {
			if e.kind == o.slots[len(o.slots)-1] && strings.HasSuffix(o.pattern(), "}") {
				called = append(called, e.name)
				break
			}
		}
	}
	forms := []string{"what is a %", "what does % mean", "define %", "what do you mean by %", "explain % to me", "what are these % that all speak of", "i am new, what is %", "meaning of %"}
	if agentese.Aspects()[o.aspect] == agentese.Affordances {
		forms = []string{"what can i do with %", "options for %", "what is possible with %", "which actions are there for %", "what can be done about % here", "what may i change on %", "which knobs and levers has %"}
	}
	for _, c := range called {
		for _, f := range forms {
			b.sample(read(strings.ReplaceAll(f, "%", c)), []int{i}, nil, nil, 0.3)
		}
	}
}

// sample adds a wording of options. Without choices they are the options' first.
func (b *built) sample(terms []term, options, choices []int, steps []agentese.Step, weight float64) {
	if choices == nil {
		for _, o := range options {
			choices = append(choices, b.choices.first[o])
		}
	}
	s := sample{options: options, choices: choices, exprs: steps, weight: weight}
	for _, t := range terms {
		s.terms = append(s.terms, weighted{b.number(t.text), t.weight})
	}
	b.wordings = append(b.wordings, s)
}

// weigh gives each term its inverse frequency, and each wording its length by it.
func (b *built) weigh() {
	df := make([]float64, len(b.terms))
	for _, s := range b.wordings {
		for _, t := range s.terms {
			df[t.term]++
		}
	}
	total := float64(len(b.wordings)) + 1
	b.idf = make([]float64, len(b.terms))
	for i := range b.idf {
		b.idf[i] = math.Log(1+(total-df[i]+0.5)/(df[i]+0.5)) / math.Log(1+total)
	}
	b.byTerm = make([][]weighed, len(b.terms))
	for i := range b.wordings {
		s := &b.wordings[i]
		for k, t := range s.terms {
			s.terms[k].weight = t.weight * b.idf[t.term]
			s.norm += s.terms[k].weight * s.terms[k].weight
			b.byTerm[t.term] = append(b.byTerm[t.term], weighed{int32(i), float32(s.terms[k].weight)})
		}
		s.norm = math.Sqrt(s.norm)
	}
}

// vector is a question's known terms by number, weighed.
func (b *built) vector(q *question) (v []weighted, norm float64) {
	for _, t := range q.terms {
		if k, ok := b.terms[t.text]; ok {
			w := t.weight * b.idf[k]
			v = append(v, weighted{k, w})
			norm += w * w
		} else if !strings.Contains(t.text, " ") {
			norm += t.weight * t.weight
		}
	}
	return v, math.Sqrt(norm)
}

// alike gives how alike each wording is to a question: the cosine of their terms.
func (b *built) alike(v []weighted, norm float64) []float64 {
	out := make([]float64, len(b.wordings))
	if norm == 0 {
		return out
	}
	for _, t := range v {
		for _, p := range b.byTerm[t.term] {
			out[p.wording] += t.weight * float64(p.weight)
		}
	}
	for i, dot := range out {
		if dot > 0 {
			out[i] = dot / (b.wordings[i].norm * norm)
		}
	}
	return out
}

// score is BM25 of each text, by the weights of the question's terms.
func score(texts []postings, v []weighted) []float64 {
	out := make([]float64, len(texts))
	for i, p := range texts {
		for _, t := range v {
			out[i] += t.weight * p[t.term]
		}
	}
	return out
}
