package repl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// Bounds of what is looked at again and again.
const (
	watchEvery   = 2 * time.Second
	watchLeast   = 500 * time.Millisecond
	watchTimeout = 10 * time.Second
)

// everyOf reads how often; empty is watchEvery.
func everyOf(text string) (time.Duration, error) {
	if text == "" {
		return watchEvery, nil
	}
	d, err := tree.ParseDuration(text)
	if err != nil || d < watchLeast || d > time.Hour {
		return 0, &agentese.Error{Kind: agentese.KindClause, What: fmt.Sprintf("%q is not how often: use 500ms to 1h", printable(text)), Try: []string{"2s"}}
	}
	return d, nil
}

// watch looks at an expression again and again.
func (s *Shell) watch(ctx context.Context, args string) outcome {
	text, every := args, watchEvery
	if i := strings.LastIndexByte(args, ' '); i > 0 {
		if d, err := everyOf(args[i+1:]); err == nil {
			text, every = args[:i], d
		}
	}
	if strings.TrimSpace(text) == "" {
		return outcome{err: &agentese.Error{Kind: agentese.KindSyntax, What: "what is to be watched is missing", Try: []string{"watch world.manifest 5s"}}}
	}
	r := read(text, s.Place())
	if last := agentese.Aspect(""); r.bare && len(r.names) > 0 {
		if last = agentese.Aspect(strings.ToLower(r.names[len(r.names)-1])); !last.Known() {
			r = read(r.text+".manifest", nil)
		}
	}
	e, err := agentese.Parse(r.text)
	if err == nil {
		for _, step := range e.Steps {
			if _, _, err = s.tree.Resolve(step, s.session); err != nil {
				break
			}
		}
	}
	if err != nil {
		if e, ok := errors.AsType[*agentese.Error](err); ok {
			e = r.back(e)
			e.Pos, e.End = 0, 0 // the line has a word before it
			return s.hinted(ctx, outcome{}, e, text)
		}
		return outcome{err: err}
	}
	if s.changes(e) {
		return outcome{err: &agentese.Error{Kind: agentese.KindDeclined, What: "what changes something is not done again and again"}}
	}
	if s.screen == nil {
		return outcome{err: noScreen("watch")}
	}
	err = s.screen(ctx, func(ctx context.Context, width int) []string {
		head := s.style.Strong(printable(e.String())) + s.style.Faint(fmt.Sprintf("   %s   every %s, q leaves", s.o.Now().Format("15:04:05"), every))
		v, err := s.tree.Run(ctx, e, s.session)
		if err != nil {
			return append([]string{head, ""}, s.trouble(err, width)...)
		}
		return append([]string{head, ""}, s.draw(v, width, s.o.Now())...)
	}, every)
	return outcome{err: err}
}

func noScreen(what string) error {
	return &agentese.Error{Kind: agentese.KindFailed, What: what + " needs a terminal", Try: []string{"kgents repl, at a terminal"}}
}

// trouble is an error as lines of a screen.
func (s *Shell) trouble(err error, width int) []string {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		out := *e
		out.Pos, out.End = 0, 0
		return strings.Split(strings.TrimRight(out.Render("", s.style, width), "\n"), "\n")
	}
	return []string{s.style.Bad(printable(err.Error()))}
}

// onScreen draws again and again until q, Ctrl-C or ctx's end. What is drawn is found
// out beside it, so that a key is heard while something is slow; no look begins before
// the one before it has ended.
func (s *Shell) onScreen(ctx context.Context, look func(ctx context.Context, width int) []string, every time.Duration) error {
	out, ok := s.o.Out.(*os.File)
	if !ok {
		return noScreen("this")
	}
	screen, err := term.OpenScreen(s.o.In, out)
	if err != nil {
		return noScreen("this")
	}
	defer screen.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looked := make(chan []string, 1)
	begin := func() {
		width, _ := screen.Size()
		go func() {
			ctx, cancel := context.WithTimeout(ctx, watchTimeout)
			defer cancel()
			looked <- look(ctx, width)
		}()
	}
	begin()
	busy := true
	defer func() {
		cancel()
		if busy {
			<-looked // it reads the session, which is the shell's again behind this
		}
	}()
	lines := []string{s.style.Faint("looking…")}
	next := time.NewTicker(every)
	defer next.Stop()
	resize := time.NewTicker(200 * time.Millisecond) // also where no signal tells of it
	defer resize.Stop()
	for {
		if err := screen.Draw(lines); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-screen.Keys():
			if !ok || key == 'q' || key == 'Q' || key == term.CtrlC {
				return nil
			}
		case lines = <-looked:
			busy = false
		case <-next.C:
			if !busy {
				busy = true
				begin()
			}
		case <-resize.C:
		}
	}
}
