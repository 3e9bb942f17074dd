package main

import (
	"fmt"
	"slices"
	"strings"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

// townView is what is known of a town at a moment, to be drawn.
type townView struct {
	Town        host.Town
	Account     account
	Events      []town.Event // the newest last
	Tension     []float64    // over time, the newest last
	Cooperation []float64
	Trouble     string // why it isn't up to date; empty if it is
	Live        bool   // keys do something
}

// rule is a line with a title in it.
func rule(s term.Style, title string, width int) string {
	return s.Faint("── ") + s.Strong(title) + " " + s.Faint(strings.Repeat("─", max(0, width-4-term.Width(title))))
}

// sides puts one text to the left and one to the right, if both fit.
func sides(left, right string, width int) string {
	gap := width - term.Width(left) - term.Width(right)
	if gap < 2 {
		return term.Cut(left, width)
	}
	return left + strings.Repeat(" ", gap) + right
}

// draw draws a town on width columns and height lines; height 0 takes what it needs.
func (v townView) draw(s term.Style, width, height int) []string {
	head := []string{
		sides(s.Strong(printable(v.Town.Name))+s.Faint(fmt.Sprintf("  %d citizens, day %d", v.Town.Citizens, v.day())),
			s.Faint(v.Town.Customer+"  ")+s.Strong("plan "+v.plan()), width),
		v.dayLine(s), "",
	}
	foot := v.foot(s, width)
	room := height - len(head) - len(foot)
	rows := 2
	if height == 0 || room >= 28 {
		rows = 3
	}
	places := v.places(s, width, rows, true)
	if height > 0 && room-len(places) < 5 { // at least four lines of what happened
		places = v.places(s, width, 1, true)
	}
	if height > 0 && room-len(places) < 5 {
		places = v.places(s, width, 1, false)
	}
	happened := 8
	if height > 0 {
		happened = max(0, room-len(places)-1)
	}
	lines := append(head, places...)
	lines = append(lines, rule(s, "what happens", width))
	lines = append(append(lines, v.happened(s, width, happened)...), foot...)
	for i := range lines {
		lines[i] = term.Cut(lines[i], width)
	}
	return lines
}

func (v townView) plan() string {
	if v.Account.Plan == "" {
		return "unknown"
	}
	return printable(v.Account.Plan)
}

// last is the last thing that happened.
func (v townView) last() (town.Event, bool) {
	if len(v.Events) == 0 {
		return town.Event{}, false
	}
	return v.Events[len(v.Events)-1], true
}

// day and phase are those that were lived last.
func (v townView) day() int {
	if e, ok := v.last(); ok {
		return e.Day
	}
	return v.Town.Day
}

func (v townView) dayLine(s term.Style) string {
	now := v.Town.Phase
	if e, ok := v.last(); ok {
		now = e.Phase
	}
	var parts []string
	for _, p := range []string{"morning", "afternoon", "evening", "night"} {
		if p == now {
			parts = append(parts, s.Warn("● "+p))
		} else {
			parts = append(parts, s.Faint("○ "+p))
		}
	}
	return strings.Join(parts, s.Faint(" ── "))
}

// between is what stands between two who met, by what they did.
var between = map[string]string{
	town.Greet: "–", town.Gossip: "…", town.Trade: "⇄", town.Dispute: "×", town.Teach: "→", town.Celebrate: "♪", town.Mourn: "†",
}

// meetings are the events of the phase that was lived last in which somebody met.
func (v townView) meetings() (out []town.Event) {
	last, ok := v.last()
	if !ok {
		return nil
	}
	for _, e := range slices.Backward(v.Events) {
		if e.Day != last.Day || e.Phase != last.Phase {
			break
		}
		if e.Success && e.Tokens > 0 && len(e.Participants) > 1 {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}

// places draws the regions side by side, each with so many rows of who is there.
func (v townView) places(s term.Style, width, rows int, closed bool) []string {
	columns := min(max(1, (width+1)/26), len(v.Town.Places))
	if columns == 0 {
		return nil
	}
	each := (width - columns + 1) / columns
	names := map[string]int{} // a citizen keeps its colour
	for _, p := range v.Town.Places {
		for _, name := range p.Citizens {
			names[name] = int(name[0])
		}
	}
	met := v.meetings()
	var lines []string
	for part := range slices.Chunk(v.Town.Places, columns) {
		var boxes [][]string
		for _, p := range part {
			boxes = append(boxes, box(s, p, v.inside(s, p, met, names), each, rows, closed))
		}
		for i := range boxes[0] {
			var line []string
			for _, b := range boxes {
				line = append(line, b[i])
			}
			lines = append(lines, strings.Join(line, " "))
		}
	}
	return lines
}

// inside is who is in a region: first who met whom.
func (v townView) inside(s term.Style, p host.Place, met []town.Event, hue map[string]int) []string {
	var items []string
	seen := map[string]bool{}
	for _, e := range met {
		here := e.Region == p.Name
		for _, name := range e.Participants {
			here = here && slices.Contains(p.Citizens, name) && !seen[name]
		}
		if !here {
			continue
		}
		var who []string
		for _, name := range e.Participants {
			seen[name] = true
			who = append(who, s.Hue(hue[name], name))
		}
		sign := between[e.Operation]
		if e.Operation == town.Dispute {
			sign = s.Bad(sign)
		}
		items = append(items, strings.Join(who, " "+sign+" "))
	}
	for _, name := range p.Citizens {
		switch {
		case seen[name]:
		case slices.Contains(p.Resting, name):
			items = append(items, s.Faint(name+" z"))
		default:
			items = append(items, s.Hue(hue[name], name))
		}
	}
	return items
}

// box is a region with its items packed into rows.
func box(s term.Style, p host.Place, items []string, width, rows int, closed bool) []string {
	count := fmt.Sprintf(" %d/%d ", len(p.Citizens), p.Capacity)
	title := " " + p.Name + " "
	fill := strings.Repeat("─", max(0, width-3-term.Width(title)-term.Width(count)))
	out := []string{s.Faint("╭") + s.Strong(title) + s.Faint(fill+count+"─╮")}
	inner := width - 4
	for _, line := range pack(s, items, inner, rows) {
		out = append(out, s.Faint("│")+" "+term.Pad(line, inner)+" "+s.Faint("│"))
	}
	if closed {
		out = append(out, s.Faint("╰"+strings.Repeat("─", max(0, width-2))+"╯"))
	}
	return out
}

// pack puts items into rows of a width, and says at the end how many found no room.
func pack(s term.Style, items []string, width, rows int) []string {
	lines := make([]string, rows)
	row := 0
	for i, item := range items {
		more := fmt.Sprintf("+%d", len(items)-i)
		for {
			next := item
			if lines[row] != "" {
				next = lines[row] + "  " + item
			}
			room := width
			if row == rows-1 && i < len(items)-1 {
				room -= 2 + len(more) // for what may have to stand there
			}
			if term.Width(next) <= room || lines[row] == "" && row < rows-1 {
				lines[row] = next
				break
			}
			if row == rows-1 {
				lines[row] = strings.TrimLeft(lines[row]+"  "+s.Faint(more), " ")
				return lines
			}
			row++
		}
	}
	return lines
}

// happened are the last n things that happened, the newest at the bottom.
func (v townView) happened(s term.Style, width, n int) []string {
	events := v.Events[max(0, len(v.Events)-n):]
	var lines []string
	last, _ := v.last()
	before := ""
	for _, e := range events {
		when := e.Phase
		if when == before {
			when = ""
		}
		before = e.Phase
		cost, message := s.Faint("free"), printable(e.Message)
		current := e.Day == last.Day && e.Phase == last.Phase
		switch {
		case e.Limited:
			message, cost = s.Bad(message), s.Bad("limit")
		case e.Tokens > 0:
			cost = term.Number(float64(e.Tokens))
			if !current {
				cost = s.Faint(cost)
			}
		}
		if e.Tokens == 0 && !e.Limited || !current && !e.Limited {
			message = s.Faint(message)
		}
		left := s.Faint(term.Pad(when, 11)) + term.Cut(message, max(0, width-11-8))
		lines = append(lines, sides(left, cost, width))
	}
	for len(lines) < n {
		lines = append(lines, "")
	}
	return lines
}

// foot are the figures.
func (v townView) foot(s term.Style, width int) []string {
	drawn := 10
	if width >= 110 {
		drawn = bars
	}
	spark := func(values []float64) string { return term.Sparkline(keep(values, drawn)) }
	lines := []string{
		rule(s, "what it comes to", width),
		sides(fmt.Sprintf("tension %.3f %s   cooperation %.2f %s", v.Town.Tension, s.Warn(spark(v.Tension)), v.Town.Cooperation, s.Good(spark(v.Cooperation))),
			s.Faint(fmt.Sprintf("%s interactions", term.Number(float64(v.Town.Interactions)))), width),
		v.quotaLine(s, v.Account.Tokens, width),
		v.costLine(s, width),
	}
	switch {
	case v.Trouble != "":
		lines = append(lines, s.Bad(term.Cut(v.Trouble, width)))
	case v.Town.Limited != "":
		lines = append(lines, s.Bad(term.Cut("● "+printable(v.Town.Limited), width)))
	case v.Live:
		lines = append(lines, s.Faint("q quits"))
	default:
		lines = append(lines, "")
	}
	return lines
}

// quotaLine is a bar of what is used of the plan.
func (v townView) quotaLine(s term.Style, q quota, width int) string {
	if !q.Known {
		return s.Faint("tokens of the plan: not known at the moment")
	}
	text := fmt.Sprintf("%s of %s", term.Number(float64(q.Used)), limitText(q.Limit))
	if q.Limit.Unlimited() {
		return "tokens " + text
	}
	share := q.share()
	text += fmt.Sprintf("  %3.0f %%", share*100)
	paint := s.Good
	switch {
	case share >= 1 && q.Over == root.OverBill:
		paint = s.Warn
		text += s.Warn(fmt.Sprintf("  %s past it", term.Number(float64(q.past()))))
	case share >= 1, v.Town.Limited != "" && q.Over == root.OverRefuse:
		paint = s.Bad
	case share >= .8:
		paint = s.Warn
	}
	size := max(8, width-term.Width("tokens ")-term.Width(text)-2)
	full, empty := term.Bar(share, size)
	return "tokens " + paint(full) + s.Faint(empty) + "  " + text
}

// costLine is what the period costs, and when it ends.
func (v townView) costLine(s term.Style, width int) string {
	a := v.Account
	left := s.Faint("cost: not known at the moment")
	if a.Priced {
		money := func(minor int64) string { return term.Money(float64(minor), a.Currency) }
		over := s.Faint("nothing past it")
		if a.OverCost > 0 {
			over = s.Warn(money(a.OverCost) + " past it")
		}
		left = fmt.Sprintf("cost   %s  plan %s, %s", s.Strong(money(a.PlanCost+a.OverCost)), money(a.PlanCost), over)
	}
	right := ""
	if at := a.Tokens.ResetsAt; !at.IsZero() {
		right = s.Faint("begins anew " + at.UTC().Format("2 Jan 15:04") + " UTC")
	}
	return sides(left, right, width)
}
