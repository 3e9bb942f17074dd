package main

import (
	"slices"
	"strings"
	"unicode"
)

// The single edits.
const (
	insertion    = "insertion"
	deletion     = "deletion"
	substitution = "substitution"
	swap         = "transposition"
	doubling     = "doubling"
	neighbour    = "neighbour"
	two          = "two-edits"
)

var kinds = []string{insertion, deletion, substitution, swap, doubling, neighbour}

// edits makes single edits of any part of any expression, and double ones.
func (g *generator) edits() {
	for _, kind := range kinds {
		for kept := 0; kept < 150*g.times; {
			e := pick(g, g.exprs)
			i, ok := g.editable(e)
			if !ok {
				continue
			}
			texts := e.texts()
			typed, ok := g.edit(texts[i], kind)
			if !ok || g.nearer(typed, e.parts[i], 1) {
				continue
			}
			texts[i] = typed
			if g.keep(e.write(texts, "."), e.String(), kind) {
				kept++
			}
		}
	}
	for kept := 0; kept < 300*g.times; {
		e := pick(g, g.exprs)
		texts := e.texts()
		i, ok := g.editable(e)
		if !ok {
			continue
		}
		j := i
		if g.r.IntN(2) == 0 {
			j, _ = g.editable(e)
		}
		// Two edits of a word of four letters leave nothing that could be read.
		if i == j && len(texts[i]) < 5 {
			continue
		}
		one, ok1 := g.edit(texts[i], pick(g, kinds))
		texts[i] = one
		other, ok2 := g.edit(texts[j], pick(g, kinds))
		texts[j] = other
		if !ok1 || !ok2 || g.nearer(texts[i], e.parts[i], 2) || g.nearer(texts[j], e.parts[j], 2) {
			continue
		}
		if g.keep(e.write(texts, "."), e.String(), two) {
			kept++
		}
	}
}

// editable is a part that can be mistyped and still be known: not one with digits.
func (g *generator) editable(e expr) (int, bool) {
	for range 8 {
		i := g.r.IntN(len(e.parts))
		if t := e.parts[i].text; len(t) >= 2 && strings.IndexFunc(t, unicode.IsDigit) < 0 && !strings.HasPrefix(t, "<") {
			return i, true
		}
	}
	return 0, false
}

const letters = "abcdefghijklmnopqrstuvwxyz"

var rows = []string{"qwertyuiop", "asdfghjkl", "zxcvbnm"}

// beside are the letters on the keys around one.
func beside(c byte) (out []byte) {
	for r, row := range rows {
		i := strings.IndexByte(row, c|0x20)
		if i < 0 {
			continue
		}
		if i > 0 {
			out = append(out, row[i-1])
		}
		if i+1 < len(row) {
			out = append(out, row[i+1])
		}
		if r > 0 {
			out = append(out, rows[r-1][i])
		}
		if r+1 < len(rows) && i < len(rows[r+1]) {
			out = append(out, rows[r+1][i])
		}
	}
	return out
}

func (g *generator) edit(s, kind string) (string, bool) {
	i := g.r.IntN(len(s))
	// The first letter is seldom wrong.
	if i == 0 && g.r.IntN(3) > 0 {
		i = g.r.IntN(len(s))
	}
	was := s
	switch kind {
	case insertion:
		c := pick(g, []byte(letters))
		if b := beside(s[i]); len(b) > 0 && g.r.IntN(2) == 0 {
			c = pick(g, b)
		}
		s = s[:i] + string(c) + s[i:]
	case deletion:
		s = s[:i] + s[i+1:]
	case substitution:
		s = s[:i] + string(pick(g, []byte(letters))) + s[i+1:]
	case swap:
		if i+1 == len(s) {
			return s, false
		}
		s = s[:i] + string(s[i+1]) + string(s[i]) + s[i+2:]
	case doubling:
		s = s[:i+1] + s[i:]
	case neighbour:
		b := beside(s[i])
		if len(b) == 0 {
			return s, false
		}
		s = s[:i] + string(pick(g, b)) + s[i+1:]
	}
	return s, len(s) > 1 && !strings.EqualFold(s, was)
}

// nearer says whether something else that may stand in a part's place is as near to
// what was typed as what was meant.
func (g *generator) nearer(typed string, p part, edits int) bool {
	edits = min(edits, distance(typed, p.text))
	return slices.ContainsFunc(p.others, func(o string) bool {
		d := len(o) - len(typed)
		return !strings.EqualFold(o, p.text) && d <= edits && -d <= edits && distance(typed, o) <= edits
	})
}

// distance counts insertions, deletions, substitutions and swaps, without regard to
// case and joints.
func distance(a, b string) int {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
	}
	a, b = plain(a), plain(b)
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0:
				d[i][j] = j
			case j == 0:
				d[i][j] = i
			default:
				c := 1
				if a[i-1] == b[j-1] {
					c = 0
				}
				d[i][j] = min(d[i-1][j-1]+c, d[i-1][j]+1, d[i][j-1]+1)
				if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
					d[i][j] = min(d[i][j], d[i-2][j-2]+1)
				}
			}
		}
	}
	return d[len(a)][len(b)]
}
