package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// reader goes through a file's nodes and collects what is wrong. The library's own
// decoder would stop at the first mistake, and would take 010 for 8.
type reader struct {
	mistakes []Mistake
	currency string // of amounts in messages; empty until it is known

	features []featureAt
	plans    []planAt

	// A feature or a plan could not be read: names that are not found may be its.
	someFeature, somePlan bool
}

func (r *reader) wrong(line int, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{max(1, line), fmt.Sprintf(format, args...)})
}

// root is the file's one document, nil if it can't be read as one.
func (r *reader) root(source []byte) (_ ast.Node) {
	switch {
	case len(source) > MaxFile:
		r.wrong(1, "the file has more than %d KiB: plans never need that much", MaxFile>>10)
		return nil
	case !utf8.Valid(source):
		line := 1
		for rest := source; len(rest) > 0; {
			c, n := utf8.DecodeRune(rest)
			if c == utf8.RuneError && n == 1 {
				break
			}
			if c == '\n' {
				line++
			}
			rest = rest[n:]
		}
		r.wrong(line, "the file is no UTF-8: save it as such")
		return nil
	}
	f, err := parser.ParseBytes(source, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.wrong(lineOfError(err), "this is no YAML: %s", firstLine(err))
		return nil
	}
	var docs []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil && d.Body.Type() != ast.NullType && d.Body.Type() != ast.CommentType {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		r.wrong(1, "the file is empty: begin with the one of `kgents plans --output yaml`")
		return nil
	case 1:
		return docs[0]
	}
	r.wrong(lineOf(docs[1]), "a second document begins here: plans are one")
	return nil
}

func lineOfError(err error) int {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil && e.GetToken().Position != nil {
		return e.GetToken().Position.Line
	}
	return 1
}

// firstLine is what the library says, without its picture of the place.
func firstLine(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[yaml.Error](err); ok {
		text = e.GetMessage()
	}
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return printable(text)
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1
	}
	return n.GetToken().Position.Line
}

// entry is one "key: value".
type entry struct {
	key   string
	line  int
	value ast.Node
}

// mapping is what stands in a mapping, by its keys.
type mapping struct {
	what    string // "a plan"
	line    int
	entries []entry
	meant   []string // keys that mistyped ones were taken for
}

func (m *mapping) get(key string) (entry, bool) {
	for _, e := range m.entries {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

// mapping reads n. Known are the keys that it may have; nil for any.
func (r *reader) mapping(n ast.Node, what, example string, known []string) (*mapping, bool) {
	node, ok := n.(ast.MapNode)
	if !ok {
		r.wrong(lineOf(n), "%s is a mapping, for example %s", what, example)
		return nil, false
	}
	m := &mapping{what: what, line: lineOf(n)}
	first := map[string]int{}
	for it := node.MapRange(); it.Next(); {
		line := lineOf(it.Key())
		if len(m.entries) == 0 {
			m.line = min(m.line, line)
		}
		if it.Key().IsMergeKey() {
			r.wrong(line, "merge keys (<<) are not read here: write out what %s has", what)
			continue
		}
		key, ok := r.key(it.Key())
		if !ok {
			continue
		}
		if at, twice := first[key]; twice {
			r.wrong(line, "%s stands twice in %s, first in line %d: take one out", quote(key), what, at)
			continue
		}
		first[key] = line
		if known != nil && !slices.Contains(known, key) {
			near, hint := didYouMean(key, known)
			m.meant = append(m.meant, near)
			r.wrong(line, "%s has no %s%s; it may have %s", what, quote(key), hint, andList(known))
			continue
		}
		m.entries = append(m.entries, entry{key, line, it.Value()})
	}
	return m, true
}

// key is a mapping's key as text. 1 and yes are text too, as a key.
func (r *reader) key(n ast.MapKeyNode) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	r.wrong(lineOf(n), "a key is plain text")
	return "", false
}

// need is the value of a key that must be there.
func (r *reader) need(m *mapping, key, example string) (entry, bool) {
	e, ok := m.get(key)
	if !ok && !slices.Contains(m.meant, key) { // else its mistake is known
		r.wrong(m.line, "%s needs %s, for example %s: %s", m.what, key, key, example)
	}
	return e, ok
}

// list reads a sequence of at most most entries.
func (r *reader) list(e entry, most int, example string) []ast.Node {
	node, ok := e.value.(*ast.SequenceNode)
	if !ok {
		r.wrong(e.line, "%s is a list, for example %s", e.key, example)
		return nil
	}
	if len(node.Values) > most {
		r.wrong(e.line, "%s has %d entries, and at most %d are allowed", e.key, len(node.Values), most)
		return nil
	}
	return node.Values
}

// text reads a scalar as text: what YAML takes for a number or a boolean isn't.
func (r *reader) text(e entry, example string) (string, bool) {
	switch n := e.value.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), true
	case *ast.NullNode:
		r.wrong(e.line, "%s is empty: write for example %s: %s", e.key, e.key, example)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		r.wrong(lineOf(n), "%s is a text, and YAML takes %s for something else: put it in quotes, or write for example %s", e.key, quote(n.GetToken().Value), example)
	default:
		r.wrong(lineOf(n), "%s is a text, for example %s%s", e.key, example, r.why(n))
	}
	return "", false
}

// scalar is what stands there, whatever YAML takes it for.
func (r *reader) scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// why says more of nodes that a user of YAML may expect to work.
func (*reader) why(n ast.Node) string {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		return "; anchors and aliases (& and *) are not read here"
	case *ast.TagNode:
		return "; tags (!) are not read here"
	}
	return ""
}

// number reads a whole number from least to most. Hint says what else may be written.
func (r *reader) number(e entry, least, most int64, hint string) (int64, bool) {
	text, ok := r.scalar(e.value)
	line := lineOf(e.value)
	if _, quoted := e.value.(*ast.StringNode); !ok || quoted && !looksLikeNumber(text) {
		r.wrong(line, "%s%s is no whole number: write one from %s to %s%s", e.key, named(text), group(least), group(most), hint+r.why(e.value))
		return 0, false
	}
	n, err := parseWhole(text)
	switch {
	case err != nil:
		r.wrong(line, "%s %s %s%s", e.key, quote(text), err, hint)
	case n < least:
		r.wrong(line, "%s %s is too small: the least is %s%s", e.key, quote(text), group(least), hint)
	case n > most:
		r.wrong(line, "%s %s is too large: the most is %s%s", e.key, quote(text), group(most), hint)
	default:
		return n, true
	}
	return 0, false
}

func named(text string) string {
	if text == "" {
		return ""
	}
	return " " + quote(text)
}

func looksLikeNumber(text string) bool {
	return text != "" && strings.Trim(text, "+-0123456789_.,") == ""
}

// parseWhole reads digits, with _ between groups of three. It refuses what YAML would
// take for another number than people do.
func parseWhole(text string) (int64, error) {
	digits := strings.TrimPrefix(text, "-")
	if strings.Contains(digits, "_") {
		groups := strings.Split(digits, "_")
		for i, g := range groups {
			if len(g) > 3 || g == "" || i > 0 && len(g) != 3 {
				return 0, errors.New("has a _ elsewhere than before three digits: write for example 10_000")
			}
		}
		digits = strings.Join(groups, "")
	}
	switch {
	case digits == "" || strings.Trim(digits, "0123456789") != "":
		return 0, errors.New("is no whole number: write it in digits, without a point or an exponent")
	case len(digits) > 1 && digits[0] == '0':
		return 0, fmt.Errorf("begins with a 0, which YAML reads as octal: write %s", strings.TrimLeft(digits[:len(digits)-1], "0")+digits[len(digits)-1:])
	case len(digits) > 18:
		return 0, errors.New("has too many digits")
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if strings.HasPrefix(text, "-") {
		n = -n
	}
	return n, err
}

// quote shows what stood in the file, without what would upset a terminal.
func quote(text string) string {
	text = printable(text)
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:60]) + "…"
	}
	return `"` + text + `"`
}

func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, text)
}

// group writes n with its thousands apart, as a file may.
func group(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "_" + digits[i:]
	}
	return digits
}

func andList(words []string) string { return join(words, "and") }
func orList(words []string) string  { return join(words, "or") }

func join(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// didYouMean names the word that the wrong one was meant to be, if one is near: by one
// letter, of longer words by two.
func didYouMean(wrong string, words []string) (word, hint string) {
	if len(wrong) > maxID {
		return "", ""
	}
	least := min(2, max(1, len(wrong)/3))
	for _, w := range words {
		if d := distance(strings.ToLower(wrong), w); d <= least && d < len(w) {
			word, hint, least = w, " (did you mean "+w+"?)", d-1
		}
	}
	return word, hint
}

// distance is the number of letters that have to be put in, taken out, changed, or
// exchanged with their neighbour.
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
