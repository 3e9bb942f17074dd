package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

func printTown(w io.Writer, t host.Town) {
	s := term.StyleFor(w)
	lives := "only when told: kgents town step"
	if t.Pace > 0 {
		lives = fmt.Sprintf("by itself, a phase every %gs", t.Pace)
	}
	decides := "by rules"
	if t.Model {
		decides = "by a language model, if the operator has one"
	}
	rows := [][]string{
		{"id", t.ID}, {"name", printable(t.Name)}, {"customer", t.Customer},
		{"citizens", strconv.Itoa(t.Citizens)}, {"decides", decides}, {"lives", lives},
		{"at", fmt.Sprintf("day %d, %s", t.Day, t.Phase)},
		{"interactions", term.Number(float64(t.Interactions))}, {"tokens", term.Number(float64(t.Tokens))},
		{"tension", fmt.Sprintf("%.3f", t.Tension)}, {"cooperation", fmt.Sprintf("%.2f", t.Cooperation)},
		{"seed", t.Seed},
	}
	for _, p := range t.Places {
		rows = append(rows, []string{"in the " + p.Name, placeText(s, p)})
	}
	if t.Limited != "" {
		rows = append(rows, []string{"limit", s.Bad(printable(t.Limited))})
	}
	term.Table(w, s, []term.Column{{Title: "TOWN"}, {Title: ""}}, rows)
}

func placeText(s term.Style, p host.Place) string {
	var names []string
	for _, name := range p.Citizens {
		if slices.Contains(p.Resting, name) {
			name = s.Faint(name + " rests")
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return s.Faint("nobody")
	}
	return strings.Join(names, ", ")
}

func printCitizens(w io.Writer, all []town.View) {
	var rows [][]string
	for _, c := range all {
		surplus := ""
		if c.Surplus != nil {
			surplus = fmt.Sprintf("%.1f", *c.Surplus)
		}
		rows = append(rows, []string{c.Name, c.Archetype, c.Region, c.Mood, strongest(c.Relationships), surplus})
	}
	term.Table(w, term.StyleFor(w), []term.Column{
		{Title: "CITIZEN"}, {Title: "ARCHETYPE"}, {Title: "REGION"}, {Title: "MOOD"}, {Title: "THINKS MOST OF"}, {Title: "SURPLUS", Right: true},
	}, rows)
}

// strongest is whom somebody thinks of most, well or ill.
func strongest(views map[string]float64) string {
	best := ""
	for _, name := range slices.Sorted(maps.Keys(views)) {
		if v := views[name]; best == "" || v*v > views[best]*views[best] {
			best = name
		}
	}
	if best == "" {
		return "nobody yet"
	}
	return fmt.Sprintf("%s %+.2f", best, views[best])
}

func printCitizen(w io.Writer, c town.View) {
	rows := [][]string{{"region", c.Region}, {"phase", c.Phase}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("archetype", c.Archetype)
	add("mood", c.Mood)
	add("philosophy", c.Philosophy)
	add("metaphor", c.Metaphor)
	if t := c.Traits; t != nil {
		for _, trait := range []struct {
			name  string
			value float64
		}{{"warmth", t.Warmth}, {"curiosity", t.Curiosity}, {"trust", t.Trust}, {"creativity", t.Creativity},
			{"patience", t.Patience}, {"resilience", t.Resilience}, {"ambition", t.Ambition}} {
			full, empty := term.Bar(trait.value, 10)
			add(trait.name, fmt.Sprintf("%s%s %.2f", full, empty, trait.value))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Relationships)) {
		add("thinks of "+name, fmt.Sprintf("%+.2f", c.Relationships[name]))
	}
	if c.Surplus != nil {
		add("surplus", fmt.Sprintf("%.2f", *c.Surplus))
	}
	add("id", c.ID)
	add("opaque", c.Opaque)
	term.Table(w, term.StyleFor(w), []term.Column{{Title: strings.ToUpper(c.Name)}, {Title: ""}}, rows)
}

func printStep(w io.Writer, out host.Stepped) {
	s := term.StyleFor(w)
	var rows [][]string
	var tokens int64
	for _, e := range out.Events {
		tokens += e.Tokens
		message, cost := printable(e.Message), s.Faint("free")
		switch {
		case e.Limited:
			message, cost = s.Bad(message), s.Bad("limit")
		case e.Tokens > 0:
			cost = term.Number(float64(e.Tokens))
		default:
			message = s.Faint(message)
		}
		rows = append(rows, []string{fmt.Sprintf("%d %s", e.Day, e.Phase), e.Operation, message, cost})
	}
	term.Table(w, s, []term.Column{{Title: "DAY"}, {Title: "OPERATION"}, {Title: "WHAT HAPPENED"}, {Title: "TOKENS", Right: true}}, rows)
	fmt.Fprintf(w, "\n%d phases, %s tokens. Next: day %d, %s.\n", out.Phases, term.Number(float64(tokens)), out.Town.Day, out.Town.Phase)
	if out.Town.Limited != "" {
		fmt.Fprintln(w, s.Bad("At the limit: "+printable(out.Town.Limited)))
	}
}

func printTownUsage(w io.Writer, t host.Town, f host.Figures, a account) {
	s := term.StyleFor(w)
	number := func(n int64) string { return term.Number(float64(n)) }
	rows := [][]string{}
	for _, op := range slices.Sorted(maps.Keys(f.ByOperation)) {
		rows = append(rows, []string{op, number(f.ByOperation[op])})
	}
	rows = append(rows, []string{s.Strong("interactions"), s.Strong(number(f.Interactions))}, []string{s.Strong("tokens"), s.Strong(number(f.Tokens))})
	for _, free := range []struct {
		name string
		n    int64
	}{{"failed, free", f.Failed}, {"refused by the plan, free", f.Limited}} {
		if free.n > 0 {
			rows = append(rows, []string{s.Faint(free.name), s.Faint(number(free.n))})
		}
	}
	term.Table(w, s, []term.Column{{Title: "SINCE " + t.Created.Format("2006-01-02")}, {Title: strings.ToUpper(printable(t.Name)), Right: true}}, rows)
	if !a.Tokens.Known {
		return
	}
	fmt.Fprintln(w)
	rows = rows[:0]
	for _, q := range []quota{a.Tokens, a.Interactions} {
		if !q.Known {
			continue
		}
		rows = append(rows, []string{q.Feature, number(q.Used), limitText(q.Limit), number(q.past()), quotaText(s, q)})
	}
	term.Table(w, s, []term.Column{{Title: "PLAN " + strings.ToUpper(a.Plan)}, {Title: "USED", Right: true}, {Title: "INCLUDED", Right: true}, {Title: "OVER", Right: true}, {Title: ""}}, rows)
	if a.Priced {
		fmt.Fprintf(w, "\n%s so far: %s for the plan, %s past it. See kgents invoice.\n",
			term.Money(float64(a.PlanCost+a.OverCost), a.Currency), term.Money(float64(a.PlanCost), a.Currency), term.Money(float64(a.OverCost), a.Currency))
	}
}

func limitText(l root.Limit) string {
	if l.Unlimited() {
		return root.Unlimited
	}
	return term.Number(float64(l.N()))
}

// quotaText says what a quota's figures mean.
func quotaText(s term.Style, q quota) string {
	switch share := q.share(); {
	case share >= 1 && q.Over == root.OverBill:
		return s.Warn("past the plan: billed")
	case share >= 1:
		return s.Bad("at the limit: refused until " + q.ResetsAt.Format("2006-01-02 15:04 MST"))
	case share >= .8:
		return s.Warn(fmt.Sprintf("%.0f %%", share*100))
	case q.Limit.Unlimited():
		return ""
	default:
		return s.Good(fmt.Sprintf("%.0f %%", share*100))
	}
}
