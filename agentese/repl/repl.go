// Package repl is the shell in which an operator sees and changes the living system
// by AGENTESE: a line is a place to go to, an expression, a command of the shell, or
// words, and what was nearly right is corrected or offered.
//
// It promises that it changes nothing without a preview and a yes, whatever was typed,
// corrected or picked; that a script's line which is no exact expression fails instead
// of being guessed at; that what comes from the system never moves the cursor; that a
// secret in a line is in no file of its own; and that the terminal is as it was when
// it ends.
//
// When nothing answers it starts all the same: what this session and the documents
// know is there, it says once that the rest is away, and finds it again by itself.
// When its state directory can't be written, it says so, keeps nothing, and changes
// nothing, because a change needs its audit line.
package repl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	xterm "golang.org/x/term"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
	"github.com/kgents/kgents/term"
)

// Options are what a shell is made with.
type Options struct {
	Sources *living.Sources // where it all comes from; its Shell is filled
	Tree    *tree.Tree      // nil: the whole one

	In  *os.File  // read by Interactive and Ambient
	Out io.Writer // answers
	Err io.Writer // warnings of scripts

	Observer tree.Observer // who looks, at first
	Chosen   bool          // the observer was named, and a session's doesn't replace it
	Restore  bool          // the last session's place and observer, whatever the observer
	Yes      bool          // changes are not asked about
	Auto     bool          // a sure answer to words is run, if it only looks
	JSON     bool          // one JSON document a command

	// Model helps to order what words may mean; nil: none. It is asked for what a person
	// types, with AskModel also for find and in scripts.
	Model    search.Reranker
	AskModel bool

	State string           // directory for history, session, picks and audit; empty: StateDir()
	Now   func() time.Time // nil: time.Now
}

// matcher corrects and completes; it is match.Matcher. Correct and Complete never
// wait, and give nothing where they know nothing.
type matcher interface {
	Update(s *tree.Snapshot)
	Correct(input string, place []string, o tree.Observer) match.Correction
	Complete(line string, cursor int, place []string, o tree.Observer) []match.Completion
}

// finder finds paths by words; it is search.Index. Find asks nobody, Ask the Reranker.
type finder interface {
	Update(s *tree.Snapshot)
	Warm()
	Learn(question, expr string)
	Recall(uses []search.Use)
	Find(ctx context.Context, q search.Query) []search.Suggestion
	Ask(ctx context.Context, q search.Query, r search.Reranker, budget *tree.Budget) (found []search.Suggestion, picked bool, err error)
}

// Shell runs lines. Its methods are for one goroutine at a time. Close it, or what it has
// begun in the background goes on.
type Shell struct {
	o       Options
	tree    *tree.Tree
	session *tree.Session
	names   *tree.Directory
	match   matcher
	search  finder
	keep    *keep
	unkept  error // why nothing is kept
	style   term.Style

	ask    func(ctx context.Context, question string) (string, error)                                               // nil: there is nobody
	screen func(ctx context.Context, look func(ctx context.Context, width int) []string, every time.Duration) error // nil: none

	strict bool   // nothing is corrected
	begun  string // what the next line begins with, to be edited
	forgot error  // why what was picked in earlier sessions is not known

	unwritten bool // that the history can't be written was told

	unheard map[string]bool // why a model had no say, as far as it was told

	life  context.Context // of what runs in the background; ended by Close
	end   context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex // of what follows, which other goroutines read
	place    []string
	commands []living.Command
	lines    []entry // the history
	next     *tree.Observer
	health   health
}

// New makes a shell. It asks nobody yet. Its error is one of the tree.
func New(o Options) (*Shell, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Shell{o: o, tree: o.Tree, style: term.StyleFor(o.Out)}
	dir := o.State
	if dir == "" {
		dir = StateDir()
	}
	if s.keep, s.unkept = openKeep(dir); s.unkept == nil {
		o.Sources.StateDir = dir
		s.lines, s.unkept = s.keep.history()
	}
	o.Sources.Shell = &living.Shell{Began: o.Now(), Place: s.Place, Commands: s.ran, SetObserver: s.setObserver}
	if s.tree == nil {
		t, err := whole.Tree(o.Sources)
		if err != nil {
			return nil, err
		}
		s.tree = t
	}
	s.session = &tree.Session{Observer: o.Observer, Budget: tree.NewBudget(), Clock: o.Now, Yes: o.Yes, Audit: s.audit}
	// Names are listed in the background, by an observer of their own.
	s.names = tree.NewDirectory(s.tree, &tree.Session{Observer: tree.Default, Budget: tree.NewBudget(), Clock: o.Now})
	s.match = match.New(s.tree)
	index, err := search.New(s.tree)
	if err != nil {
		return nil, err
	}
	s.search = index
	s.forgot = s.recall()
	s.life, s.end = context.WithCancel(context.Background())
	return s, nil
}

// Close calls off what runs in the background, which only looks, and waits until it has
// ended. No line is run any more.
func (s *Shell) Close() {
	s.end()
	s.names.Close()
	s.tasks.Wait()
}

func (s *Shell) audit(e tree.AuditEntry) error {
	if s.keep == nil {
		return fmt.Errorf("nothing can be written to the state directory: %w", s.unkept)
	}
	return s.keep.audit(e)
}

// Place is where the prompt stands, from the context down; empty at the root.
func (s *Shell) Place() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.place)
}

// ran is the session's commands.
func (s *Shell) ran() []living.Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// setObserver is from the next expression on.
func (s *Shell) setObserver(_ context.Context, o tree.Observer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = &o
	return nil
}

// Observer is who looks.
func (s *Shell) Observer() tree.Observer { return s.session.Observer }

// refresh finds the live names that are there now, and returns when they are or ctx ends.
func (s *Shell) refresh(ctx context.Context) {
	s.names.Refresh(ctx)
	s.know()
}

// refreshSoon is refresh beside what is done next. A script asks for names when it needs
// them.
func (s *Shell) refreshSoon() {
	if !s.strict {
		s.tasks.Go(func() { s.refresh(s.life) })
	}
}

func (s *Shell) know() {
	known := s.names.Snapshot()
	s.match.Update(known)
	s.search.Update(known)
}

// outcome is what a line came to.
type outcome struct {
	said   []string // told before the value
	expr   string   // what was run, in its canonical form
	value  *tree.Value
	offers []offer
	err    error
	moved  bool
	leave  bool
	clear  bool
	none   bool // nothing of what was offered was picked
}

// errNone ends what was pasted together: the lines behind one that nobody meant may rest
// on it.
var errNone = errors.New("nothing was run")

// offer is an expression that may have been meant.
type offer struct {
	Expr    string  `json:"expression"`
	Line    string  `json:"line,omitempty"`
	Why     string  `json:"why,omitempty"`
	Score   float64 `json:"score"`
	sure    bool    // Enter alone picks it
	learned bool    // it was found by words, and the pick is learnt
}

// Run does one line and shows what it came to. leave says that the line was one to end
// the shell; its error has been shown. That nothing was picked of what was offered is an
// error, too.
func (s *Shell) Run(ctx context.Context, line string) (leave bool, err error) {
	out := s.do(ctx, line)
	if err := s.show(line, 0, out); err != nil {
		return true, err
	}
	if out.none {
		return out.leave, errNone
	}
	return out.leave, out.err
}

// do finds out what a line is, does it and keeps it.
func (s *Shell) do(ctx context.Context, line string) outcome {
	began := s.o.Now()
	out := s.decide(ctx, line)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		s.session.Observer, s.next = *s.next, nil
		out.moved = true
	}
	c := living.Command{At: began, Line: mask(printable(line)), Outcome: living.Done, Took: s.o.Now().Sub(began), Changed: out.value != nil && out.value.Changed}
	if e, ok := errors.AsType[*agentese.Error](out.err); ok && e.Kind == agentese.KindDeclined {
		c.Outcome = living.Declined
	} else if errors.Is(out.err, context.Canceled) {
		c.Outcome = living.Stopped
	} else if out.err != nil {
		c.Outcome = living.Failed
	}
	if out.err != nil {
		c.Error = mask(printable(out.err.Error()))
	}
	if strings.TrimSpace(line) != "" {
		s.commands = append(s.commands, c)
		s.commands = s.commands[max(0, len(s.commands)-living.MaxCommands):]
	}
	return out
}

func (s *Shell) decide(ctx context.Context, line string) outcome {
	if len(line) > agentese.MaxInput {
		_, err := agentese.Parse(line)
		return outcome{err: err}
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
		return outcome{err: &agentese.Error{Kind: agentese.KindSyntax, Pos: i, End: i + 1, What: fmt.Sprintf("%q can't stand in a line", line[i:i+1])}}
	}
	text := strings.TrimSpace(line)
	if text == "" {
		return outcome{}
	}
	if out, ok := s.command(ctx, text); ok {
		return out
	}
	r := read(line, s.Place())
	out := s.exact(ctx, r)
	if out.expr != "" {
		return s.tried(ctx, line, out)
	}
	e, ok := errors.AsType[*agentese.Error](out.err)
	if !ok {
		return out
	}
	if s.strict || e.Kind == agentese.KindDenied || e.Kind == agentese.KindObserver || e.Kind == agentese.KindAnnotation || e.Kind == agentese.KindAway {
		return s.hinted(ctx, out, e, line)
	}
	return s.near(ctx, line, out)
}

// exact does a line that is a place or an expression as it stands. What was not even
// tried has no expr.
func (s *Shell) exact(ctx context.Context, r reading) outcome {
	if r.bare {
		if len(r.names) == 0 {
			return s.move(nil)
		}
		if _, err := agentese.Parse(r.text + ".manifest"); err != nil {
			return outcome{err: s.placed(err, r)}
		}
		last := agentese.Aspect(strings.ToLower(r.names[len(r.names)-1]))
		if !last.Known() || len(r.names) == 1 {
			if _, _, canonical, depth := s.tree.Find(r.names); depth == len(r.names) {
				return s.enter(ctx, r, canonical)
			}
		}
		if len(r.names) == 1 {
			return outcome{err: s.placed(&agentese.Error{
				Kind: agentese.KindNotFound, Pos: 0, End: len(r.text), What: "there is no " + agentese.QuoteName(r.names[0]) + " here",
				Why: "the contexts are " + strings.Join(s.tree.ChildNames(nil), ", "), Try: []string{"help"},
			}, r)}
		}
	}
	e, err := agentese.Parse(r.text)
	if err != nil {
		return outcome{err: s.placed(err, r)}
	}
	for _, step := range e.Steps {
		if _, _, err := s.tree.Resolve(step, s.session); err != nil {
			return outcome{err: s.placed(err, r)}
		}
	}
	out := s.run(ctx, e)
	out.err = s.placed(out.err, r)
	return out
}

// placed is an error with its place in the line that was typed.
func (s *Shell) placed(err error, r reading) error {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return r.back(e)
	}
	return err
}

// run does an expression.
func (s *Shell) run(ctx context.Context, e agentese.Expression) outcome {
	out := outcome{expr: e.String()}
	v, err := s.tree.Run(ctx, e, s.session)
	if err != nil {
		out.err = err
		if v.Changed { // what was done until then, and why no more
			out.value = &v
			s.refreshSoon()
		} else if ctx.Err() != nil && !s.changes(e) {
			out.err = context.Canceled
		}
		return out
	}
	out.value = &v
	if v.Changed {
		s.refreshSoon() // what was made or has gone
	}
	return out
}

// enter goes to a place, if it is there.
func (s *Shell) enter(ctx context.Context, r reading, names []string) outcome {
	if _, live, _, _ := s.tree.Find(names); len(live) > 0 {
		known, note, err := s.there(ctx, names)
		if err != nil {
			return outcome{err: s.placed(err, r)}
		}
		out := s.move(known)
		if note != "" {
			out.said = append(out.said, note)
		}
		return out
	}
	return s.move(names)
}

// there checks the live names of a path against what there is, and gives them as they
// are written there. note says that it could not be checked.
func (s *Shell) there(ctx context.Context, names []string) (known []string, note string, err error) {
	known = slices.Clone(names)
	for i := 1; i < len(names); i++ {
		above, _, _, _ := s.tree.Find(known[:i])
		if above.Node == nil || above.Node.Live == nil {
			continue
		}
		below, _, _, _ := s.tree.Find(known[:i+1])
		if !strings.HasSuffix(below.Pattern, "}") { // a fixed name beside live ones
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		entries := s.names.Below(ctx, known[:i])
		cancel()
		s.know()
		if len(entries) == 0 {
			note = "whether " + agentese.QuoteName(names[i]) + " is there could not be checked"
			continue
		}
		at := slices.IndexFunc(entries, func(e tree.Entry) bool { return e.Name == known[i] })
		if at < 0 {
			at = slices.IndexFunc(entries, func(e tree.Entry) bool { return strings.EqualFold(e.Name, known[i]) })
		}
		switch {
		case at >= 0:
			known[i] = entries[at].Name
		case above.Node.Live.Open || len(entries) >= tree.MaxNames:
		default:
			return nil, "", &agentese.Error{
				Kind: agentese.KindNotFound, What: fmt.Sprintf("there is no %s %s", above.Node.Live.Node.Name, agentese.QuoteName(names[i])),
				Why: fmt.Sprintf("%s has %d names", agentese.JoinPath(known[:i]...), len(entries)), Try: []string{agentese.JoinPath(known[:i]...) + ".manifest"},
			}
		}
	}
	return known, note, nil
}

// move stands at a place.
func (s *Shell) move(names []string) outcome {
	s.mu.Lock()
	s.place = slices.Clone(names)
	s.mu.Unlock()
	s.saveSession()
	if len(names) > 0 {
		go s.below(names)
	}
	return outcome{moved: true}
}

// below finds the live names below a place, for what will be typed there.
func (s *Shell) below(names []string) {
	s.names.Below(context.Background(), names)
	s.know()
}

func (s *Shell) saveSession() {
	if s.keep == nil || s.ask == nil {
		return
	}
	if err := s.keep.saveSession(session{Place: s.Place(), Observer: s.session.Observer.String()}); err != nil {
		s.keep, s.unkept = nil, err
	}
}

// width is the terminal's columns, or 0 where there is no terminal.
func (s *Shell) width() int {
	w, _ := s.size()
	return w
}

// size is the terminal's columns and rows, or 0 where there is no terminal.
func (s *Shell) size() (width, height int) {
	f, ok := s.o.Out.(*os.File)
	if !ok || !xterm.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	w, h, err := xterm.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}
