package search

import (
	"context"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// choices are what the model chooses from: each option, and beside it the option with
// each name that may be told by words alone, such as a section of the runbook ("how do I
// take a backup") or an alert. Names of customers and events are not told but said.
type choices struct {
	told   []toldName
	number map[string]int // of told, by kind and lower-case name
	text   []postings     // what is written of each told name

	list  []choice
	first []int // by option: its choice without a name; those with names follow
}

// toldName is one of them, and what the documentation says of it.
type toldName struct {
	kind, name string
	documented bool // it is there, whatever runs
	line, text string
}

// choice is an option, and the number of a told name or -1.
type choice struct{ option, told int }

// documented are the names that the program documents.
func documented(places []tree.Place) []toldName {
	var out []toldName
	for _, p := range places {
		live := p.Node.Live
		if live == nil || live.Text == nil {
			continue
		}
		entries, err := live.List(context.Background(), &tree.Call{})
		if err != nil {
			continue // a test lists them all
		}
		for _, e := range entries {
			out = append(out, toldName{live.Node.Name, e.Name, true, e.Line, live.Text(e.Name)})
		}
	}
	return out
}

// newChoices takes the documented names, and collects those that known wordings have and
// their words tell.
func newChoices(b *built, known []Wording, names []toldName) *choices {
	c := &choices{number: map[string]int{}}
	add := func(t toldName) {
		if key := toldKey(t.kind, t.name); t.name != "" {
			if _, have := c.number[key]; !have {
				c.number[key] = len(c.told)
				c.told = append(c.told, t)
			}
		}
	}
	for _, t := range names {
		add(t)
	}
	for _, w := range known {
		for _, e := range w.Expected {
			if o, _, live, ok := b.locate(e); ok {
				if kind := b.options[o].tells(); kind != "" {
					add(toldName{kind: kind, name: live[kind]})
				}
			}
		}
	}
	for i := range b.options {
		o := &b.options[i]
		c.first = append(c.first, len(c.list))
		c.list = append(c.list, choice{i, -1})
		kind := o.tells()
		if kind == "" || o.afford == nil {
			continue
		}
		for t, e := range c.told {
			if e.kind == kind {
				c.list = append(c.list, choice{i, t})
			}
		}
	}
	return c
}

func toldKey(kind, name string) string { return kind + " " + strings.ToLower(name) }

// tells gives the kind of names that may be told by words alone, if the option's path
// ends with one: those that the program documents, alerts, and a cluster's workloads.
func (o *option) tells() string {
	pattern := o.pattern()
	if len(o.slots) != 1 || !(strings.HasPrefix(pattern, "concept.") || strings.HasPrefix(pattern, "world.alerts.") || strings.HasPrefix(pattern, "world.kubernetes.deployments.")) {
		return ""
	}
	return o.slots[0]
}

// of is the choice of an option with its live names. A name that stands in the question
// is said, not told: its words are not there to be learnt from.
func (c *choices) of(b *built, option int, live map[string]string, q *question) int {
	o := &b.options[option]
	kind := o.tells()
	if kind == "" || slices.ContainsFunc(q.names, func(e entity) bool { return e.kind == kind && !e.weak && strings.EqualFold(e.name, live[kind]) }) {
		return c.first[option]
	}
	return c.with(option, kind, live[kind])
}

// with is the choice of an option with a name; without it, if the name isn't known.
func (c *choices) with(option int, kind, name string) int {
	t, ok := c.number[toldKey(kind, name)]
	if !ok {
		return c.first[option]
	}
	for i := c.first[option]; i < len(c.list) && c.list[i].option == option; i++ {
		if c.list[i].told == t {
			return i
		}
	}
	return c.first[option]
}

// titles are wordings: the title of each section, and what each alert is about, is how
// somebody may ask for it; and a live name alone asks for what it names.
func (b *built) titles(read func(string) []term) {
	for i := range b.options {
		o := &b.options[i]
		if o.afford == nil || o.afford.Aspect != agentese.Manifest || len(o.slots) == 0 {
			continue
		}
		last := o.slots[len(o.slots)-1]
		if at := slices.IndexFunc(b.samples, func(e entity) bool { return e.kind == last }); at >= 0 && strings.HasSuffix(o.pattern(), "}") {
			b.sample(read(b.samples[at].name), []int{i}, nil, nil, 1)
		}
		if o.tells() == "" {
			continue
		}
		for k := b.choices.first[i] + 1; k < len(b.choices.list) && b.choices.list[k].option == i; k++ {
			if t := b.choices.told[b.choices.list[k].told]; t.documented && t.line != "" {
				b.sample(read(t.line), []int{i}, []int{k}, nil, 0.5)
			}
		}
	}
}
