package repl

import (
	"context"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

// topics are what help tells besides what the tree knows of itself.
var topics = map[string]string{
	"moving": `A name goes there: ` + "`world`, then `nats`, or `world.nats`, `world nats`, `world/nats`" + `. Case doesn't matter.
` + "`..`" + ` is the place above, ` + "`/`" + ` the root, ` + "`../redis`" + ` goes beside. What doesn't begin with a context begins at the place.
` + "`?`" + ` lists what is here.`,
	"asking": `A path with an aspect looks: ` + "`world.nats.manifest`" + `, at the place ` + "`world.nats`" + ` simply ` + "`manifest`" + `.
Clauses narrow it: ` + "`world.customers.manifest[plan=free][sort=-used][first=10]`" + `.
Words do, too: ` + "`why are webhooks slow`" + ` offers what would show it. What is mistyped is corrected when only one thing can be meant, and offered otherwise.
Where a model is configured (TOWN_MODEL_URL, or --model-url) and this machine is not sure, it is asked which of at most 20 paths the words mean: without names, ids and figures, for 0.01 of the session's entropy. ` + "`[entropy=0]`" + ` behind the words keeps it out. What you pick is learnt.`,
	"changing": `A change shows first what it would do, with counts and names, and asks. ` + "`[dry_run=true]`" + ` only shows it, ` + "`[yes]`" + ` doesn't ask, ` + "`[rollback=2m]`" + ` undoes it by itself if it doesn't hold.
What can't be undone asks for a word instead of y. Each change is a line of the audit, in the shell's state directory and in the program's log.`,
	"observers": `An observer is how far you want to reach: default only looks, explorer, developer, architect and admin may do more. ` + "`/observer architect`" + ` changes it. What the API key doesn't open stays closed to all of them.`,
	"keys": `Tab completes, and again goes through the list. The grey text is what may come: →, End or Ctrl-E takes it, Alt-F a name of it. Ctrl-R searches the history for lines that have all the words typed, and again finds an older one; ↑ and ↓ go through it.
Ctrl-C stops what runs, or empties the line; Ctrl-D ends the shell where the line is empty; Ctrl-Z stops it until fg. Ctrl-L clears the screen. Several lines that are pasted are shown first, and run one after the other at Enter.`,
	"scripts": `kgents repl --script FILE runs a file, - standard input; # begins a comment. It stops at the first line that fails, --keep-going goes on. -c runs one line. --output json gives a JSON document a line.
In a script nothing is corrected: a line that is no exact expression fails, and says what may have been meant. A change needs [yes] or --yes.`,
	">>": `a >> b gives what a shows to b: ` + "`world.customers.manifest >> concept.identity.manifest`" + `. Steps are checked before the first of them is done. help of a path says what it takes.`,
}

// help explains the shell, a path, an aspect or a topic.
func (s *Shell) help(ctx context.Context, about string) outcome {
	about = strings.TrimSpace(about)
	if about == "" {
		v := tree.Value{Title: "AGENTESE: a path says where, an aspect what to do there", Table: &tree.Table{Columns: columns("write", "and it")}}
		for _, row := range [][2]string{
			{"world.nats", "goes there; .. goes up, / to the root"},
			{"world.nats.manifest", "looks at it; at that place simply manifest"},
			{"why are webhooks slow", "offers what would show it"},
		} {
			v.Table.Rows = append(v.Table.Rows, []any{row[0], row[1]})
		}
		for _, c := range commandTable() {
			v.Table.Rows = append(v.Table.Rows, []any{c.use, c.line})
		}
		v.Then("world.manifest", "every part at a glance")
		v.Then("self.capabilities.manifest", "what this observer may do")
		return shown(v)
	}
	word := strings.ToLower(about)
	if text, ok := topics[word]; ok {
		return shown(tree.Value{Title: strings.ToUpper(word[:1]) + word[1:], Text: text})
	}
	if a := agentese.Aspect(word); a.Known() {
		return shown(s.helpAspect(a))
	}
	r := read(about, s.Place())
	e, err := agentese.Parse(r.text + ".manifest")
	if err == nil && len(e.Steps) == 1 {
		names := e.Steps[0].Texts()
		aspect := agentese.Aspect("")
		if last := agentese.Aspect(strings.ToLower(names[len(names)-1])); last.Known() && len(names) > 1 {
			names, aspect = names[:len(names)-1], last
		}
		if p, _, canonical, depth := s.tree.Find(names); depth == len(names) {
			return shown(helpNode(p, canonical, aspect))
		}
	}
	return s.helpNear(ctx, about)
}

// helpNear is the help on what was mistyped or is a part of a path, where that is sure,
// else what there is help on. Nothing is run by it.
func (s *Shell) helpNear(ctx context.Context, about string) outcome {
	place, observer := s.Place(), s.session.Observer
	c := s.match.Correct(about, place, observer)
	var near []string
	for i, x := range c.Candidates {
		e, err := agentese.Parse(x.Expr)
		if err != nil || len(e.Steps) != 1 || c.Verdict == match.None {
			continue
		}
		p, _, canonical, depth := s.tree.Find(e.Steps[0].Texts())
		if depth < len(e.Steps[0].Names) {
			continue
		}
		if i == 0 && !s.strict && (c.Verdict == match.Sure || c.Verdict == match.Exact) {
			aspect := agentese.Aspect(strings.ToLower(e.Steps[0].Aspect.Text))
			if !strings.Contains(strings.ToLower(about), string(aspect)) {
				aspect = "" // it was added
			}
			out := shown(helpNode(p, canonical, aspect))
			out.said = []string{"help " + agentese.JoinPath(canonical...)}
			return out
		}
		near = append(near, "help "+agentese.JoinPath(canonical...))
	}
	if len(near) == 0 {
		for _, f := range s.search.Find(ctx, search.Query{Text: about, Place: place, Observer: observer, Limit: 3, Now: s.o.Now()}) {
			if e, err := agentese.Parse(f.Expr); err == nil {
				near = append(near, "help "+agentese.JoinPath(e.Steps[0].Texts()...))
			}
		}
	}
	slices.Sort(near)
	near = slices.Compact(near)
	return outcome{err: &agentese.Error{
		Kind: agentese.KindNotFound, What: "there is no help on " + printable(about), Related: near[:min(len(near), maxOffers)],
		Try: []string{"help", "help moving", "help asking", "help changing", "help world.nats"},
	}}
}

func (s *Shell) helpAspect(a agentese.Aspect) tree.Value {
	least := tree.Affordance{Aspect: a}.Least()
	v := tree.Value{Title: string(a) + ": " + aspectLines[a], Table: &tree.Table{Columns: columns("path", "what")}}
	v.Add("observer", least.String()+" or more; some ask for more", "")
	for _, p := range s.tree.Places() {
		if own, ok := p.Node.Affordance(a); ok {
			v.Table.Rows = append(v.Table.Rows, []any{p.Pattern, own.Line})
		}
	}
	if len(v.Table.Rows) == 0 {
		v.Table = nil
		v.Note("every path has it")
	}
	return v
}

var aspectLines = map[agentese.Aspect]string{
	agentese.Manifest: "see it now", agentese.Witness: "its history", agentese.Lens: "a narrowed view",
	agentese.Define: "what it is", agentese.Affordances: "what can be done here", agentese.Refine: "change it",
	agentese.Sip: "draw chance", agentese.Tithe: "give what is left back",
}

// helpNode is what a node says of itself, or of one of its aspects.
func helpNode(p tree.Place, names []string, only agentese.Aspect) tree.Value {
	path := agentese.JoinPath(names...)
	v := tree.Value{Title: path + ": " + p.Node.Line, Text: p.Node.Doc, Table: &tree.Table{Columns: columns("write", "and it")}}
	for _, a := range p.Node.Aspects() {
		own, ok := p.Node.Affordance(a)
		if only != "" && a != only {
			continue
		}
		if !ok {
			v.Table.Rows = append(v.Table.Rows, []any{string(a), aspectLines[a]})
			continue
		}
		line := own.Line
		if own.Least() > tree.Default {
			line += " (" + own.Least().String() + ")"
		}
		if own.Takes != "" {
			line += "; takes " + own.Takes
		}
		v.Table.Rows = append(v.Table.Rows, []any{string(a), line})
		params := own.Params
		if only != "" {
			params = tree.ParamsOf(own)
		}
		for _, q := range params {
			v.Table.Rows = append(v.Table.Rows, []any{"  [" + q.Key + "=" + firstOf(strings.Join(q.Values, "|"), q.Default, "…") + "]", q.Line})
		}
		for _, e := range own.Examples {
			v.Then(e.Expr, e.Line)
		}
	}
	return v
}
