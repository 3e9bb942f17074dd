package main

import (
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// shapes makes the mistakes that are not of letters.
func (g *generator) shapes() {
	g.some("separator", 130, g.separated)
	g.some("abbreviation", 130, g.abbreviated)
	g.some("wrong-context", 60, g.otherContext)
	g.some("missing", 110, g.missing)
	g.some("order", 80, g.disordered)
	g.some("case", 60, g.cased)
	g.some("no-aspect", 90, g.noAspect)
	g.some("synonym", 110, g.synonym)
	g.some("loose-clause", 70, g.loose)
	g.some("unclosed", 50, g.unclosed)
	g.some("number", 60, g.number)
}

// some keeps so many different cases of a class, or what can be had of them.
func (g *generator) some(class string, n int, mistake func(e expr) (typed, expected string)) {
	n *= g.times
	for tries := 0; n > 0 && tries < 20_000*g.times; tries++ {
		e := pick(g, g.exprs)
		if typed, expected := mistake(e); typed != "" && g.keep(typed, expected, class) {
			n--
		}
	}
}

func (g *generator) separated(e expr) (string, string) {
	texts := e.texts()
	switch g.r.IntN(6) {
	case 0:
		return e.write(texts, " "), e.String()
	case 1:
		return e.write(texts, "/"), e.String()
	case 2:
		return e.write(texts, ", "), e.String()
	case 3:
		return e.write(texts, ".."), e.String()
	}
	// One separator is another, or missing.
	full := e.write(texts, ".")
	at := g.r.IntN(e.names) + 1
	i := len(strings.Join(texts[:at], "."))
	sep := pick(g, []string{",", " ", "/", "", "", ". ", ".."})
	return full[:i] + sep + full[i+1:], e.String()
}

// abbreviated cuts fixed names to beginnings that no other path shares.
func (g *generator) abbreviated(e expr) (string, string) {
	if len(e.parts) != e.names+1 || e.names < 2 {
		return "", ""
	}
	short := e.texts()
	for i := range short {
		if e.parts[i].fixed {
			short[i] = short[i][:min(len(short[i]), 1+g.r.IntN(4))]
		}
	}
	if g.r.IntN(2) == 0 && e.parts[e.names].text == "manifest" {
		short = short[:e.names]
	}
	fits := 0
	for _, o := range g.exprs {
		if len(o.parts) != len(o.parts[:o.names+1]) || o.names != e.names && o.names+1 != len(short) {
			continue
		}
		if len(o.parts) < len(short) {
			continue
		}
		all := true
		for i := range short {
			all = all && strings.HasPrefix(strings.ToLower(o.parts[i].text), strings.ToLower(short[i]))
		}
		if all && (len(short) == len(o.parts) || o.parts[len(o.parts)-1].text == "manifest") && o.String() != e.String() {
			fits++
		}
	}
	if fits > 0 || strings.Join(short, "") == "" {
		return "", ""
	}
	return strings.Join(short, "."), e.String()
}

// unique says whether a fixed name stands at only one place of the tree.
func (g *generator) unique(name string) bool {
	n := 0
	for _, p := range g.tree.Places() {
		if p.Node.Name == name {
			n++
		}
	}
	return n == 1 && !agentese.Aspect(name).Known()
}

func (g *generator) otherContext(e expr) (string, string) {
	last := e.parts[e.names-1]
	if e.names < 2 || !last.fixed || !g.unique(last.text) || len(e.parts) > e.names+1 {
		return "", ""
	}
	texts := e.texts()
	texts[0] = pick(g, agentese.Contexts())
	return e.write(texts, "."), e.String()
}

// missing leaves the context out, or the middle, too.
func (g *generator) missing(e expr) (string, string) {
	if e.names < 2 || len(e.parts) > e.names+1 {
		return "", ""
	}
	texts := e.texts()
	from := 1 + g.r.IntN(e.names-1)
	last := e.parts[e.names-1]
	for i := from; i < e.names; i++ {
		if !e.parts[i].fixed {
			from = min(from, i)
		}
	}
	for i := 1; i < from; i++ {
		if !e.parts[i].fixed {
			from = i
		}
	}
	if last.fixed && !g.unique(last.text) && (from > 1 || g.meansMore(texts[from:e.names])) {
		return "", ""
	}
	if !last.fixed && (last.others == nil || slices.Contains([]string{"alert", "event", "plan", "workload", "seq"}, strings.Trim(e.node.Name, "{}"))) {
		return "", ""
	}
	rest := texts[from:]
	if last.text != "manifest" && e.parts[e.names].text == "manifest" && g.r.IntN(2) == 0 {
		rest = rest[:len(rest)-1]
	}
	return strings.Join(rest, "."), e.String()
}

// meansMore says whether several paths end so.
func (g *generator) meansMore(end []string) bool {
	n := 0
	for _, p := range g.tree.Places() {
		if strings.HasSuffix("."+p.Pattern, "."+strings.Join(end, ".")) {
			n++
		}
	}
	return n > 1
}

func (g *generator) disordered(e expr) (string, string) {
	if len(e.parts) > e.names+1 || e.names < 2 {
		return "", ""
	}
	texts := e.texts()
	if e.parts[e.names].text == "manifest" && g.r.IntN(2) == 0 {
		texts = texts[:e.names]
	}
	switch g.r.IntN(3) {
	case 0:
		slices.Reverse(texts)
	case 1:
		texts = append(texts[len(texts)-1:], texts[:len(texts)-1]...)
	default:
		i := g.r.IntN(len(texts) - 1)
		texts[i], texts[i+1] = texts[i+1], texts[i]
	}
	return strings.Join(texts, "."), e.String()
}

func (g *generator) cased(e expr) (string, string) {
	s := e.String()
	if strings.Contains(s, "evt_") { // an id, in which case counts
		return "", ""
	}
	switch g.r.IntN(3) {
	case 0:
		return strings.ToUpper(s), s
	case 1:
		texts := e.texts()
		for i := range texts {
			texts[i] = strings.ToUpper(texts[i][:1]) + texts[i][1:]
		}
		return e.write(texts, "."), s
	}
	texts := e.texts()
	i := g.r.IntN(len(texts))
	texts[i] = strings.ToUpper(texts[i])
	return e.write(texts, "."), s
}

func (g *generator) noAspect(e expr) (string, string) {
	if e.names < 2 || e.parts[e.names].text != "manifest" && len(e.node.Affords) > 1 {
		return "", ""
	}
	texts := e.texts()
	texts = slices.Delete(texts, e.names, e.names+1)
	s := strings.Join(texts[:e.names], ".")
	for i := e.names; i+1 < len(texts); i += 2 {
		s += "[" + texts[i] + "=" + texts[i+1] + "]"
	}
	return s, e.String()
}

func (g *generator) synonym(e expr) (string, string) {
	said := map[string][]string{
		"manifest": {"show", "get", "view", "status", "list", "state", "check"},
		"witness":  {"history", "log", "timeline", "trend"},
		"lens":     {"filter", "narrow", "group"},
		"sip":      {"draw", "sample"},
		"tithe":    {"give", "return"},
	}
	texts := e.texts()
	aspect := texts[e.names]
	if aspect == "refine" && len(texts) == e.names+3 && texts[e.names+1] == "do" {
		return strings.Join(texts[:e.names], ".") + "." + texts[e.names+2], e.String()
	}
	words := said[aspect]
	if words == nil || len(texts) > e.names+1 {
		return "", ""
	}
	w := pick(g, words)
	if g.r.IntN(3) == 0 {
		return w + " " + strings.Join(texts[:e.names], "."), e.String()
	}
	return strings.Join(texts[:e.names], ".") + "." + w, e.String()
}

func (g *generator) loose(e expr) (string, string) {
	texts := e.texts()
	if len(texts) < e.names+3 {
		return "", ""
	}
	path := strings.Join(texts[:e.names+1], ".")
	k, v := texts[e.names+1], texts[e.names+2]
	return path + pick(g, []string{" " + k + "=" + v, " " + k + " = " + v, "(" + k + "=" + v + ")", " " + k + "=" + v + "]", " [" + k + "=" + v + "]", "[" + k + ":" + v + "]"}), e.String()
}

func (g *generator) unclosed(e expr) (string, string) {
	if len(e.parts) < e.names+3 {
		return "", ""
	}
	return strings.TrimSuffix(e.String(), "]"), e.String()
}

// number writes the singular for the plural and the other way round.
func (g *generator) number(e expr) (string, string) {
	texts := e.texts()
	i := g.r.IntN(e.names)
	if !e.parts[i].fixed || i == 0 {
		return "", ""
	}
	t := texts[i]
	if s, ok := strings.CutSuffix(t, "s"); ok && t != "nats" && t != "redis" && t != "status" {
		t = s
	} else {
		t += "s"
	}
	if g.nearer(t, e.parts[i], 1) {
		return "", ""
	}
	texts[i] = t
	return e.write(texts, "."), e.String()
}
