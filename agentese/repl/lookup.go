package repl

import (
	"maps"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/term"
)

// lookupRows is how many lines of the history a search shows at once.
const lookupRows = 8

// lookup is a search in the history. While it is on, the line that is typed is what is
// looked for: blanks separate parts that a line must all have, whatever their case. The
// lines that have them stand below, the newest first.
type lookup struct {
	on    bool
	was   string   // the line before
	words string   // what the lines were found for
	lines []string // the found ones, each once
	at    int      // the one that is meant
}

// find looks through the history, unless it has done so for these words.
func (l *lookup) find(s *Shell, words string) {
	if l.lines != nil && l.words == words {
		return
	}
	l.words, l.lines, l.at = words, []string{}, 0
	want := strings.Fields(strings.ToLower(words))
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{}
	for _, e := range slices.Backward(s.lines) {
		lower := strings.ToLower(e.line)
		if !seen[e.line] && !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(lower, w) }) {
			seen[e.line] = true
			l.lines = append(l.lines, e.line)
		}
	}
}

// view is what stands below the line: some of the lines, with the one that is meant.
func (l *lookup) view(s *Shell, width int) string {
	if len(l.lines) == 0 {
		return s.style.Faint("  no line has that; Ctrl-C leaves")
	}
	var b strings.Builder
	from := max(0, l.at-lookupRows+1)
	for i, line := range l.lines[from:min(len(l.lines), from+lookupRows)] {
		text := term.Cut(printable(line), max(width-4, 8))
		if from+i == l.at {
			text = s.style.Strong("› " + text)
		} else {
			text = "  " + s.style.Faint(text)
		}
		b.WriteString(text + "\r\n")
	}
	b.WriteString(s.style.Faint(term.Cut("  Enter runs it, → takes it to be edited, Ctrl-R an older one, Ctrl-C leaves", max(width-2, 8))))
	return b.String()
}

// lookups are the editor's commands that mean something else while the history is
// searched, and those that search it.
func (e *editor) lookups() map[string]func() {
	builtin := maps.Clone(e.rl.Keymap.Commands()) // what they were, before they are replaced
	own := map[string]func(){
		"reverse-search-history": func() {
			if e.question == "" && !e.older(1) {
				line := string(*e.rl.Line())
				e.look = lookup{on: true, was: line}
				e.rl.Cursor().Set(len(*e.rl.Line()))
			}
		},
		"forward-search-history": func() { e.older(-1) },
		"abort": func() {
			if !e.forget() {
				builtin["abort"]()
			}
		},
	}
	// The arrows move as the lines stand, and the newest stands first.
	for _, name := range []string{"previous-history", "up-line-or-history"} {
		own[name] = func() {
			if !e.older(-1) {
				builtin[name]()
			}
		}
	}
	for _, name := range []string{"next-history", "down-line-or-history"} {
		own[name] = func() {
			if !e.older(1) {
				builtin[name]()
			}
		}
	}
	// What moves the cursor takes the line, to be edited; at its end, the grey text.
	takes := map[string]func() bool{"end-of-line": e.takeGrey, "forward-word": e.takeGreyWord}
	for _, name := range []string{"forward-char", "backward-char", "forward-word", "backward-word", "beginning-of-line", "end-of-line"} {
		own[name] = func() {
			if grey, ok := takes[name]; e.taken() && name != "beginning-of-line" || ok && grey() {
				return
			}
			builtin[name]()
		}
	}
	return own
}

// takeGrey makes the grey text a part of the line. False: there is none, or it is not
// behind the cursor.
func (e *editor) takeGrey() bool {
	return e.rl.Display.AcceptInline(e.rl.Line(), e.rl.Cursor())
}

// takeGreyWord takes a name of the grey text, with what stands before it.
func (e *editor) takeGreyWord() bool {
	had := e.rl.Line().Len()
	if !e.takeGrey() {
		return false
	}
	line := []rune(*e.rl.Line())
	end := had
	for end < len(line) && !isName(line[end]) {
		end++
	}
	for end < len(line) && isName(line[end]) {
		end++
	}
	e.rl.Line().Set(line[:end]...)
	e.rl.Cursor().Set(end)
	return true
}

// older goes n lines back in what a search has found. False: there is no search.
func (e *editor) older(n int) bool {
	if !e.look.on {
		return false
	}
	e.rl.History.SkipSave()
	e.look.at = max(0, min(e.look.at+n, len(e.look.lines)-1))
	return true
}

// taken ends a search with the line that is meant, or as it began if there is none.
// False: there is no search.
func (e *editor) taken() bool {
	if !e.look.on {
		return false
	}
	e.look.find(e.s, string(*e.rl.Line()))
	line := e.look.was
	if len(e.look.lines) > 0 {
		line = e.look.lines[e.look.at]
	}
	e.put(line)
	return true
}

// forget ends a search as it began. False: there is no search.
func (e *editor) forget() bool {
	if !e.look.on {
		return false
	}
	e.put(e.look.was)
	return true
}

func (e *editor) put(line string) {
	e.rl.History.SkipSave()
	e.look = lookup{}
	runes := []rune(line)
	e.rl.Line().Set(runes...)
	e.rl.Cursor().Set(len(runes))
}

// past is the history as the editor walks it. It never writes: what was typed is kept
// when it was done, and an answer to a question is none of it.
type past struct{ s *Shell }

func (p past) Write(string) (int, error) { return p.Len(), nil }

func (p past) GetLine(i int) (string, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if i < 0 || i >= len(p.s.lines) {
		return "", errNoLine
	}
	return p.s.lines[i].line, nil
}

func (p past) Len() int {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return len(p.s.lines)
}

func (p past) Dump() any { return nil }

// remember adds a line to the history, unless it is the one before again. That the
// history can't be written is told once.
func (s *Shell) remember(line string) {
	line = strings.TrimSpace(line)
	if line == "" || hasControl(line) || len(line) > agentese.MaxInput {
		return
	}
	e := entry{s.o.Now(), mask(line)}
	s.mu.Lock()
	if n := len(s.lines); n > 0 && s.lines[n-1].line == e.line {
		s.mu.Unlock()
		return
	}
	s.lines = append(s.lines, e)
	s.lines = slices.Clone(s.lines[max(0, len(s.lines)-maxHistory):])
	s.mu.Unlock()
	if s.keep == nil {
		return
	}
	if err := s.keep.remember(e); err != nil && !s.unwritten {
		s.unwritten = true
		s.say(s.style.Faint("the history can't be written, so it ends with this session: " + printable(err.Error())))
	}
}
