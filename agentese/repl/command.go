package repl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// command is one of the shell's own: what is no path of the tree.
type command struct {
	use, line string
	run       func(s *Shell, ctx context.Context, args string) outcome
}

// commandTable has all of them, in the order in which help shows them. Places and
// expressions are no commands; help shows them first.
func commandTable() []command {
	return []command{
		{"?", "what is here, for this observer", func(s *Shell, ctx context.Context, _ string) outcome { return s.here(ctx, false) }},
		{"??", "the same, all of it", func(s *Shell, ctx context.Context, _ string) outcome { return s.here(ctx, true) }},
		{"help [path|aspect|topic]", "how this works; what something is; topics: moving, asking, changing, observers, keys, scripts, >>", (*Shell).help},
		{"find words", "what the words may mean, of which nothing is run: find who is over their limit", (*Shell).find},
		{"history [words]", "lines of this and earlier sessions", (*Shell).historyOf},
		{"/observer [name]", "who looks: default, explorer, developer, architect, admin", (*Shell).observerOf},
		{"watch expression [every]", "look again and again, until q: watch world.nats.manifest 5s", (*Shell).watch},
		{"ambient [every]", "a live view of the whole system, until q", (*Shell).ambient},
		{"clear", "clear the screen", func(*Shell, context.Context, string) outcome { return outcome{clear: true} }},
		{"exit", "end the shell; quit and Ctrl-D do, too", func(*Shell, context.Context, string) outcome { return outcome{leave: true} }},
	}
}

// command does the line if it is one of the shell's commands.
func (s *Shell) command(ctx context.Context, line string) (outcome, bool) {
	word, args, _ := strings.Cut(line, " ")
	word, args = strings.ToLower(word), strings.TrimSpace(args)
	if word == "quit" {
		word = "exit"
	}
	for _, c := range commandTable() {
		if own, _, takes := strings.Cut(c.use, " "); own == word && (takes || args == "") {
			return c.run(s, ctx, args), true
		}
	}
	return outcome{}, false
}

func shown(v tree.Value) outcome { return outcome{value: &v} }

func columns(names ...string) []tree.Column {
	out := make([]tree.Column, len(names))
	for i, n := range names {
		out[i].Name = n
	}
	return out
}

// few is how many names ? shows.
const few = 12

// here lists what is at the place: the places below, the live names, what can be done.
func (s *Shell) here(ctx context.Context, all bool) outcome {
	place := s.Place()
	v := tree.Value{Table: &tree.Table{Columns: columns("name", "what")}}
	add := func(name, line string) { v.Table.Rows = append(v.Table.Rows, []any{name, line}) }
	if len(place) == 0 {
		v.Title = "The contexts"
		for _, c := range s.tree.Contexts {
			add(c.Name, c.Line)
		}
		v.Then("world.manifest", "every part at a glance")
		return shown(v)
	}
	p, _, _, _ := s.tree.Find(place)
	v.Title = agentese.JoinPath(place...) + ": " + p.Node.Line
	for _, c := range p.Node.Children {
		add(c.Name, c.Line)
	}
	if l := p.Node.Live; l != nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		entries := s.names.Below(ctx, place)
		s.know()
		switch {
		case len(entries) == 0:
			add("{"+l.Node.Name+"}", l.Node.Line+"; none is known now")
		case all || len(entries) <= few:
			for _, e := range entries {
				add(agentese.QuoteName(e.Name), e.Line)
			}
		default:
			for _, e := range entries[:few] {
				add(agentese.QuoteName(e.Name), e.Line)
			}
			v.Note(fmt.Sprintf("%d more: ?? lists all", len(entries)-few))
		}
	}
	closed := map[tree.Observer][]string{}
	for _, a := range p.Node.Aspects() {
		own, ok := p.Node.Affordance(a)
		switch {
		case !ok && !all: // define and affordances are everywhere
		case !ok:
			add(string(a), "what it is, and what can be done here")
		case s.session.Observer.May(*own):
			line := own.Line
			if all && len(own.Params) > 0 {
				line += "  " + clausesOf(own)
			}
			add(string(a), line)
		case all:
			add(string(a), own.Line+"; for "+own.Least().String()+" and more")
		default:
			closed[own.Least()] = append(closed[own.Least()], string(a))
		}
	}
	for _, o := range tree.Observers() {
		if len(closed[o]) > 0 {
			v.Note(strings.Join(closed[o], ", ") + ": for " + o.String() + " and more (/observer " + o.String() + ")")
		}
	}
	return shown(v)
}

func clausesOf(a *tree.Affordance) string {
	var b strings.Builder
	for _, p := range a.Params {
		b.WriteString("[" + p.Key + "=" + firstOf(strings.Join(p.Values, "|"), p.Default, "…") + "]")
	}
	return b.String()
}

// historyOf lists lines, the newest last: those of this session and of earlier ones.
func (s *Shell) historyOf(_ context.Context, query string) outcome {
	s.mu.Lock()
	lines := slices.Clone(s.lines)
	s.mu.Unlock()
	v := tree.Value{Title: "History", Table: &tree.Table{Columns: columns("when", "line")}}
	want := strings.Fields(strings.ToLower(query))
	for _, e := range lines {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(strings.ToLower(e.line), w) }) {
			v.Table.Rows = append(v.Table.Rows, []any{e.at, e.line})
		}
	}
	const most = 50
	if n := len(v.Table.Rows); n > most {
		v.Table.Total, v.Table.Rows = n, v.Table.Rows[n-most:]
		v.Note("the newest " + fmt.Sprint(most) + "; history and words shows those with the words")
	}
	if len(v.Table.Rows) == 0 {
		v.Table = nil
		v.Note("no line is like that")
	}
	return shown(v)
}

// observerOf shows who looks, or changes it.
func (s *Shell) observerOf(_ context.Context, name string) outcome {
	if name == "" {
		v := tree.Value{Title: "The observer is " + s.session.Observer.String(), Table: &tree.Table{Columns: columns("observer", "may", "now")}}
		for _, o := range tree.Observers() {
			now := ""
			if o == s.session.Observer {
				now = "●"
			}
			v.Table.Rows = append(v.Table.Rows, []any{o.String(), mayDo[o], now})
		}
		v.Note("an observer is how far you want to reach, not who you are: what the key doesn't open stays closed")
		return shown(v)
	}
	o, err := tree.ParseObserver(strings.ToLower(name))
	if err != nil {
		return outcome{err: &agentese.Error{Kind: agentese.KindClause, What: printable(err.Error()), Try: []string{"/observer developer"}}}
	}
	s.session.Observer = o
	s.saveSession()
	out := outcome{moved: true}
	if o > tree.Explorer {
		out.said = []string{o.String() + ": " + mayDo[o]}
	}
	return out
}

var mayDo = map[tree.Observer]string{
	tree.Default:   "look at everything that carries no payloads",
	tree.Explorer:  "and keep notes, draw entropy",
	tree.Developer: "and see what events carry, let towns live, replay one dead letter",
	tree.Architect: "and change what loses nothing: replay, reconcile, scale, silence",
	tree.Admin:     "everything: drops, keys, subscriptions, faults on staging",
}
