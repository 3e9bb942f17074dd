package repl

import (
	"slices"
	"strings"

	"github.com/reeflective/readline"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// suggestion is the line that this one may become: one of the history, else the best
// completion. Empty if there is none.
func (s *Shell) suggestion(line string) string {
	if strings.ContainsAny(line, "\n") {
		return ""
	}
	s.mu.Lock()
	lines := s.lines
	s.mu.Unlock()
	for i := len(lines) - 1; i >= 0 && i > len(lines)-500; i-- {
		if old := lines[i].line; len(old) > len(line) && strings.HasPrefix(old, line) && !strings.Contains(old, masked) && s.holds(old) {
			return old
		}
	}
	for _, c := range s.match.Complete(line, len(line), s.Place(), s.session.Observer) {
		if c.From < 0 || c.From > len(line) || c.To != len(line) {
			continue
		}
		if full := line[:c.From] + c.Text; len(full) > len(line) && strings.HasPrefix(full, line) && !hasControl(full) {
			return full
		}
		return "" // only the best
	}
	return ""
}

// holds says whether a line of the history is something here: words, a command, a
// place, an expression that this observer may run. It asks nobody.
func (s *Shell) holds(line string) bool {
	if inWords(line) {
		return true
	}
	word, _, _ := strings.Cut(line, " ")
	for _, c := range commandTable() {
		if own, _, _ := strings.Cut(c.use, " "); own == word {
			return true
		}
	}
	r := read(line, s.Place())
	if e, err := agentese.Parse(r.text); err == nil {
		well := true
		for _, step := range e.Steps {
			if _, _, err := s.tree.Resolve(step, s.session); err != nil {
				well = false
			}
		}
		if well {
			return true
		}
	}
	_, _, _, depth := s.tree.Find(r.names)
	return r.bare && depth == len(r.names)
}

// completions are what may stand at the cursor, by the shell's commands and the tree.
func (s *Shell) completions(line string, cursor int) []completion {
	var out []completion
	before := line[:cursor]
	word, args, more := strings.Cut(before, " ")
	for _, c := range commandTable() {
		own, _, _ := strings.Cut(c.use, " ")
		if !more && len(before) > 0 && strings.HasPrefix(own, before) && own != before {
			out = append(out, completion{own, 0, cursor, c.line, "command"})
		}
	}
	if strings.EqualFold(word, "/observer") && more {
		for _, o := range tree.Observers() {
			if strings.HasPrefix(o.String(), strings.ToLower(args)) {
				out = append(out, completion{o.String(), len(word) + 1, cursor, mayDo[o], "observer"})
			}
		}
		return out
	}
	shift := 0
	if w := strings.ToLower(word); more && (w == "help" || w == "watch") {
		shift = len(word) + 1
		if w == "help" {
			for name := range topics {
				if strings.HasPrefix(name, args) {
					out = append(out, completion{name, shift, cursor, "how it works", "topic"})
				}
			}
		}
	}
	for _, c := range s.match.Complete(line[shift:], cursor-shift, s.Place(), s.session.Observer) {
		if hasControl(c.Text) || c.From < 0 || c.From > cursor-shift || c.To < cursor-shift || c.To > len(line)-shift {
			continue
		}
		out = append(out, completion{c.Text, c.From + shift, c.To + shift, printable(c.Line), c.Kind})
	}
	return out
}

// completion is a text in place of line[from:to].
type completion struct {
	text     string
	from, to int
	line     string
	kind     string
}

// complete gives the editor what begins as the line does.
func (e *editor) complete(line []rune, cursor int) readline.Completions {
	text, at := string(line), len(string(line[:cursor]))
	if e.question != "" {
		return readline.Completions{}
	}
	var values, live []readline.Completion
	from, prefix := -1, ""
	for _, c := range e.s.completions(text, at) {
		typed := text[c.from:at]
		if !plainly(c, typed) || from >= 0 && c.from != from {
			continue
		}
		if from < 0 {
			// The editor takes an empty prefix for none given: then it is what is before.
			if from, prefix = c.from, typed; prefix == "" && from > 0 {
				prefix = text[from-1 : from]
			}
		}
		whole := c.text
		if typed == "" {
			whole = prefix + whole
		}
		value := readline.Completion{Value: whole, Display: c.text, Description: c.line, Tag: c.kind}
		if c.kind == match.KindLive {
			live = append(live, value)
		} else {
			values = append(values, value)
		}
	}
	// Of hundreds of names not all can be shown; what can be done here always is.
	room := max(0, e.menuRows(text)-len(values))
	if len(live) > room || len(live)+len(values) >= match.MaxCompletions {
		// It also keeps the editor from inserting what only the names that are shown have in
		// common.
		live = append(live[:min(len(live), room)], readline.Completion{Value: prefix, Display: "...", Description: "there are more: type on", Tag: match.KindLive})
	}
	out := readline.CompleteRaw(append(live, values...)).NoSort()
	out.PREFIX = prefix
	return out
}

// menuRows is how many completions may stand below a line. The editor doesn't know where
// on the screen it is: a menu that is higher than what is below the first row would push
// the line out of sight.
func (e *editor) menuRows(line string) int {
	const beside = 6 // the headings of three kinds, that there are more, the line's end and one to spare
	width, height := e.s.size()
	input := term.Width(e.prompt()) + term.Width(line)
	return max(3, height-beside-input/max(width, 1))
}

// plainly says whether the editor can go on from what was typed: it counts a prefix in
// bytes.
func plainly(c completion, typed string) bool {
	return hasFold(c.text, typed) && strings.IndexFunc(typed, func(r rune) bool { return r > '~' }) < 0
}

func hasFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// tab completes. What nothing begins with is replaced by what is nearest, and words
// are answered by what would show it, above the prompt.
func (e *editor) tab() {
	if e.taken() {
		return
	}
	builtin := e.rl.Keymap.Commands()["menu-complete"]
	line := string(*e.rl.Line())
	if e.rl.Keymap.Local() != "" || e.question != "" {
		builtin()
		return
	}
	cursor := len(string([]rune(line)[:e.rl.Cursor().Pos()]))
	all := e.s.completions(line, cursor)
	if slices.ContainsFunc(all, func(c completion) bool { return plainly(c, line[c.from:cursor]) }) {
		builtin()
		return
	}
	e.rl.History.SkipSave()
	if inWords(line) || len(all) == 0 {
		var lines []string
		for _, o := range e.s.found(line) {
			lines = append(lines, term.Cut("  "+printable(o.Expr)+"  "+e.s.style.Faint(printable(firstOf(o.Line, o.Why))), max(e.s.width(), 20)))
		}
		if len(lines) > 0 {
			e.print(append([]string{e.s.style.Faint("Enter offers these:")}, lines...))
			return
		}
	}
	if len(all) > 0 {
		best := all[0]
		e.rl.Line().Set([]rune(line[:best.from] + best.text + line[best.to:])...)
		e.rl.Cursor().Set(len([]rune(line[:best.from] + best.text)))
	}
}
