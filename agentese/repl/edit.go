package repl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode"

	"github.com/reeflective/readline"
	xterm "golang.org/x/term"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// reserve are rows kept free below the prompt, so that the editor never draws over the
// line at the bottom of the terminal.
const reserve = 3

// maxPending bounds what waits to be told above the prompt: the oldest is dropped.
const maxPending = 20

// errStop ends the editor's reading from within.
var errStop = errors.New("stopped from outside")

var errNoLine = errors.New("there is no such line")

// editor is the line editor with what it knows of the shell. Its functions run on the
// goroutine that reads, but for tell and the stopping in watch.
type editor struct {
	s  *Shell
	rl *readline.Shell

	question string // instead of the prompt, while one is asked
	leaving  bool   // the line is done, and is drawn for the last time
	said     string // the line for which grey text was looked for, and the text
	grey     string
	look     lookup
	before   *xterm.State // of the terminal, while nobody reads
	dumb     chan typed   // lines of a terminal that can't be drawn on; nil: it can
	reads    bool         // somebody puts lines there

	mu       sync.Mutex
	pending  []note
	repaint  bool // the prompt's state has changed
	stopping bool
}

// The keys by which the editor calls itself: nobody types them.
const (
	keyTell = "\x18\x1f\x01"
	keyStop = "\x18\x1f\x02"
)

func newEditor(s *Shell) *editor {
	e := &editor{s: s, rl: readline.NewShell()}
	rl := e.rl
	for name, value := range map[string]any{
		"cursor-position-probe": false, "history-autosuggest": false, "autocomplete": false, "usage-hint-always": false,
		"menu-complete-display-prefix": true, "completion-ignore-case": true, "enable-bracketed-paste": true, "bell-style": "none",
		"blink-matching-paren": false, "history-size": -1, "echo-control-characters": false,
		// A letter such as ä is itself, and not Meta with a d.
		"convert-meta": false, "input-meta": true, "output-meta": true,
	} {
		_ = rl.Config.Set(name, value) // names and types are constant
	}
	rl.Prompt.Primary(e.prompt)
	rl.Prompt.Secondary(func() string { return s.style.Faint("  ") })
	rl.SyntaxHighlighter = func(line []rune) string {
		if e.question != "" || e.look.on {
			return shownLine(string(line))
		}
		return s.paint(string(line))
	}
	rl.Completer = e.complete
	rl.PasteTransformer = pasted
	rl.Hint.SetProvider(e.glimpse)
	rl.History.Add("history", past{s})
	builtin := rl.Keymap.Commands()
	done, insert, end, remove := builtin["accept-line"], builtin["self-insert"], builtin["end-of-file"], builtin["delete-char"]
	atEnd := func() bool { return rl.Cursor().Pos() >= rl.Line().Len() }
	rl.Keymap.Register(e.lookups())
	rl.Keymap.Register(map[string]func(){
		"kgents-tell": e.above, "kgents-stop": e.stop, "kgents-complete": e.tab, "kgents-abort": e.abort,
		"kgents-suspend": e.suspend,
		"kgents-nothing": func() { rl.History.SkipSave() },
		"accept-line": func() {
			if e.look.on {
				if e.look.find(e.s, string(*rl.Line())); len(e.look.lines) == 0 {
					return // nothing is found: nothing is run
				}
				e.taken()
			}
			e.bare()
			done()
		},
		"self-insert": func() {
			switch keys := rl.Keys.Caller(); {
			case len(keys) > 0 && unicode.IsControl(keys[0]): // a key without a meaning
			case len(keys) > 1: // the editor's own would keep the first of its runes
				rl.History.SkipSave()
				rl.Cursor().InsertAt(keys...)
			default:
				insert()
			}
		},
		"end-of-file": func() {
			if !e.forget() && (rl.Line().Len() == 0 || !atEnd()) { // else there is no letter to delete
				end()
			}
		},
		"delete-char": func() {
			if !atEnd() { // the editor's own would delete the letter before
				remove()
			}
		},
	})
	for _, keymap := range []string{"emacs", "emacs-standard", "vi-insert"} {
		_ = rl.Config.Bind(keymap, keyTell, "kgents-tell", false)
		_ = rl.Config.Bind(keymap, keyStop, "kgents-stop", false)
		_ = rl.Config.Bind(keymap, "\t", "kgents-complete", false)
		_ = rl.Config.Bind(keymap, "\x03", "kgents-abort", false)
		_ = rl.Config.Bind(keymap, "\x1b\x03", "kgents-abort", false)
		_ = rl.Config.Bind(keymap, "\x04", "end-of-file", false)
		_ = rl.Config.Bind(keymap, "\x1a", "kgents-suspend", false)
		for command, all := range movingKeys {
			for _, keys := range all {
				_ = rl.Config.Bind(keymap, keys, command, false)
			}
		}
		for _, keys := range idleKeys() {
			_ = rl.Config.Bind(keymap, keys, "kgents-nothing", false)
		}
		_ = rl.Config.Bind(keymap, "\x1b[", "skip-csi-sequence", false) // a key that nobody knows
	}
	return e
}

// pasted makes what is pasted lines that can be looked at: control characters are left
// out, and nothing is run until Enter.
func pasted(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return strings.TrimRight(text, "\n")
}

// prompt says how the system is, where one is, and who looks.
func (e *editor) prompt() string {
	switch {
	case e.question != "":
		return e.question
	case e.look.on:
		return e.s.style.Strong("history") + " › "
	}
	s := e.s
	s.mu.Lock()
	state, place := s.health.state, slices.Clone(s.place)
	s.mu.Unlock()
	var b strings.Builder
	switch state {
	case "":
		b.WriteString(s.style.Faint("● " + stateAsking))
	default:
		b.WriteString(s.mark(stateOf(state), "● "+state))
	}
	where := "/"
	if len(place) > 0 {
		where = printable(agentese.JoinPath(place...))
	}
	if w := s.width(); w > 0 && len([]rune(where)) > w/2 {
		r := []rune(where)
		where = "…" + string(r[len(r)-w/2:])
	}
	b.WriteString("  " + s.style.Hue(0, where))
	switch o := s.session.Observer; {
	case o == tree.Default:
	case o >= tree.Architect:
		b.WriteString("  " + s.style.Warn(o.String()))
	default:
		b.WriteString("  " + s.style.Faint(o.String()))
	}
	return b.String() + " › "
}

// room scrolls so that the rows below the prompt are free.
func (e *editor) room() string {
	return strings.Repeat("\r\n", reserve) + fmt.Sprintf("\x1b[%dA", reserve)
}

// read asks for a line. Its error is io.EOF, readline.ErrInterrupt or errStop.
func (e *editor) read(ctx context.Context) (string, error) {
	if ctx.Err() != nil {
		return "", errStop
	}
	e.flush()
	e.leaving, e.look = false, lookup{}
	if e.dumb != nil {
		return e.readPlainly(ctx)
	}
	_, _ = io.WriteString(e.s.o.Out, e.room())
	if e.question == "" && e.s.begun != "" {
		e.rl.Keys.Feed(false, []rune(printable(e.s.begun))...)
		e.s.begun = ""
	}
	return e.rl.Readline()
}

// ask puts a question. What was typed before it was seen is no answer.
func (e *editor) ask(ctx context.Context, question string) (string, error) {
	_ = flush(int(e.s.o.In.Fd())) // else it is answered by what was typed before
	e.question = e.s.style.Strong(question)
	defer func() { e.question = "" }()
	line, err := e.read(ctx)
	if err != nil {
		return "", err
	}
	return line, nil
}

// tell has notes shown above the prompt, now if a line is being typed, else with the
// next prompt. It may be called by any goroutine.
func (e *editor) tell(notes []note) {
	e.mu.Lock()
	e.pending = append(e.pending, notes...)
	e.pending = e.pending[max(0, len(e.pending)-maxPending):]
	e.repaint = true
	e.mu.Unlock()
	e.rl.Keys.RequestRefresh()
}

// notes are what there is to tell, as lines.
func (e *editor) notes() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, n := range e.pending {
		head := e.s.mark(n.state, "● ") + e.s.style.Faint(e.s.o.Now().Format("15:04:05")+"  ")
		for _, line := range term.Wrap(printable(n.text), max(e.s.width()-term.Width(head), 20)) {
			out = append(out, head+line)
			head = strings.Repeat(" ", term.Width(head))
		}
	}
	e.pending, e.repaint = nil, false
	return out
}

// flush tells what has come meanwhile, before a prompt.
func (e *editor) flush() {
	for _, line := range e.notes() {
		fmt.Fprintln(e.s.o.Out, line)
	}
}

// above is the editor's own command: it tells what there is, and draws the prompt anew
// below it. The line that is being typed stays as it is.
func (e *editor) above() {
	e.rl.History.SkipSave()
	if lines := e.notes(); len(lines) > 0 {
		e.print(lines)
	}
}

// print writes lines where the prompt is, and the prompt with the line below them.
func (e *editor) print(lines []string) {
	d := e.rl.Display
	d.CursorToLineStart()
	_, _ = io.WriteString(e.s.o.Out, "\r\x1b[J"+strings.Join(lines, "\r\n")+"\r\n"+e.room())
	d.PrintPrimaryPrompt()
	d.Refresh()
}

// bare draws the line without its grey text, for what stays on the screen.
func (e *editor) bare() {
	e.leaving = true
	e.rl.ClearInlineSuggestion()
	if e.rl.Keymap.Local() == "" {
		e.rl.Display.Refresh()
	}
}

// abort empties the line. The editor's own would swallow the key that comes behind.
func (e *editor) abort() {
	if e.forget() {
		return
	}
	e.rl.History.SkipSave()
	e.bare()
	e.rl.Display.AcceptLine()
	e.rl.History.Accept(false, false, readline.ErrInterrupt)
}

// stop is the editor's own command that ends the reading.
func (e *editor) stop() {
	e.rl.History.SkipSave()
	e.bare()
	e.rl.Display.AcceptLine()
	e.rl.History.Accept(false, false, errStop)
}

// glimpse is called whenever the line is drawn: it finds the grey text, and has the
// editor call itself if there is something to tell. No menu is disturbed by that.
func (e *editor) glimpse(line []rune, cursor int) []rune {
	e.mu.Lock()
	tell, stop := len(e.pending) > 0 || e.repaint, e.stopping
	e.mu.Unlock()
	switch {
	case e.leaving:
		return nil
	case stop:
		e.rl.Keys.Feed(true, []rune(keyStop)...)
	case tell && e.rl.Keymap.Local() == "":
		e.rl.Keys.Feed(true, []rune(keyTell)...)
	}
	e.rl.ClearInlineSuggestion()
	if e.look.on {
		e.look.find(e.s, string(line))
		return []rune(e.look.view(e.s, max(e.s.width(), 20)))
	}
	if e.question != "" || cursor != len(line) || len(line) < 2 || stop {
		return nil
	}
	text := string(line)
	if text != e.said {
		e.said, e.grey = text, e.s.suggestion(text)
	}
	if e.grey != "" {
		e.rl.SetInlineSuggestion(e.grey)
	}
	return nil
}

// Interactive is the shell at a terminal, until exit, Ctrl-D, SIGTERM or ctx's end.
func (s *Shell) Interactive(ctx context.Context) error {
	in := int(s.o.In.Fd())
	before, err := xterm.GetState(in)
	if err != nil {
		return fmt.Errorf("this is no terminal: %w", err)
	}
	defer func() { _ = xterm.Restore(in, before) }() // also when something panics
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	e := newEditor(s)
	e.before = before
	if dumb := os.Getenv("TERM"); dumb == "" || dumb == "dumb" {
		e.dumb = make(chan typed)
	}
	s.ask, s.session.Confirm = e.ask, s.confirm
	s.screen = s.onScreen
	s.greet()

	var tasks sync.WaitGroup
	defer tasks.Wait()
	background, done := context.WithCancel(ctx)
	defer done()
	tasks.Go(func() { s.follow(background, e.tell) })
	tasks.Go(func() {
		if text := s.keyTrouble(background); text != "" {
			e.tell([]note{{tree.Warn, text}})
		}
		s.refresh(background)
		// A place that was taken up from the last session may be gone by now.
		if place := s.Place(); len(place) > 0 {
			if _, _, err := s.there(background, place); err != nil {
				e.tell([]note{{tree.Warn, "here is nothing any more: " + err.Error()}})
			}
		}
		if background.Err() == nil {
			s.search.Warm()
		}
	})
	ended := make(chan struct{})
	defer close(ended)
	context.AfterFunc(ctx, func() { e.interrupt(ended) })

	for {
		text, err := e.read(ctx)
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.o.Out)
			return nil
		case errors.Is(err, errStop):
			return nil
		case err != nil:
			return fmt.Errorf("the terminal can't be read: %w", err)
		}
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if len(lines) > 1 && strings.TrimSpace(line) != "" {
				s.say(s.style.Faint("» " + printable(line)))
			}
			s.remember(line)
			leave, err := s.interruptible(ctx, interrupts, line)
			if leave {
				return nil
			}
			if err != nil && i < len(lines)-1 {
				s.say(s.style.Faint(fmt.Sprintf("%d lines were not run", len(lines)-1-i)))
				break
			}
		}
	}
}

// interruptible runs a line, which Ctrl-C stops.
func (s *Shell) interruptible(ctx context.Context, interrupts <-chan os.Signal, line string) (leave bool, err error) {
	select { // one from before is not meant
	case <-interrupts:
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-finished:
		}
	}()
	return s.Run(ctx, line)
}

// interrupt ends the reading from another goroutine, as often as it takes: between two
// lines nobody reads.
func (e *editor) interrupt(ended <-chan struct{}) {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	for {
		e.rl.Keys.RequestRefresh()
		select {
		case <-ended:
			return
		case <-after():
		}
	}
}
