package repl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// ErrFailed is that a command of a script has failed; what failed was shown.
var ErrFailed = errors.New("a command has failed")

// Script runs the lines of r one after the other: # begins a comment, empty lines are
// passed over. It stops at the first that fails, or with keepGoing runs on; the error
// is then ErrFailed. Nothing is corrected, and nobody is asked. name is what the lines
// are from, for messages.
func (s *Shell) Script(ctx context.Context, r io.Reader, name string, keepGoing bool) error {
	s.strict = true
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 4096), 4*agentese.MaxInput)
	failed, n := false, 1
	for ; in.Scan(); n++ {
		text := in.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // as some editors begin a file
		}
		line := uncommented(strings.TrimSuffix(text, "\r"))
		if strings.TrimSpace(line) == "" {
			continue
		}
		out := s.do(ctx, line)
		if err := s.show(line, n, out); err != nil {
			return err
		}
		if out.err != nil {
			failed = true
			s.warn(fmt.Sprintf("%s:%d failed: %s", name, n, printable(mask(line))))
			if ctx.Err() != nil || !keepGoing {
				return ErrFailed
			}
		}
		if out.leave {
			break
		}
	}
	if err := in.Err(); errors.Is(err, bufio.ErrTooLong) {
		s.warn(fmt.Sprintf("%s:%d can't be read: a line has at most %d characters", name, n, agentese.MaxInput))
		return ErrFailed
	} else if err != nil {
		s.warn(fmt.Sprintf("%s can't be read on: %v", name, err))
		return ErrFailed
	}
	if failed {
		return ErrFailed
	}
	return nil
}

// Commands runs lines as a script's, all of them up to the first that fails.
func (s *Shell) Commands(ctx context.Context, lines []string, keepGoing bool) error {
	s.strict = true
	failed := false
	for _, line := range lines {
		out := s.do(ctx, line)
		if err := s.show(line, 0, out); err != nil {
			return err
		}
		if out.err != nil {
			if failed = true; !keepGoing {
				break
			}
		}
		if out.leave {
			break
		}
	}
	if failed {
		return ErrFailed
	}
	return nil
}

// Snapshot shows the state of the system once, for what is no terminal.
func (s *Shell) Snapshot(ctx context.Context) error {
	var lines []string
	for _, expr := range []string{"world.manifest", "self.status.manifest"} {
		if e, err := agentese.Parse(expr); err == nil {
			if _, _, err := s.tree.Resolve(e.Steps[0], s.session); err == nil {
				lines = append(lines, expr)
			}
		}
	}
	return s.Commands(ctx, lines, true)
}

// warn tells on the standard error what has gone wrong with a script.
func (s *Shell) warn(text string) {
	if s.o.Err != nil {
		fmt.Fprintln(s.o.Err, "kgents repl: "+text)
	}
}

// uncommented is a line up to a # that stands in no quotes and no clause, at its
// beginning or behind a blank.
func uncommented(line string) string {
	end := len(line)
	for _, t := range lex(line) {
		if t.kind == stray && line[t.from] == '#' && (t.from == 0 || line[t.from-1] == ' ' || line[t.from-1] == '\t') {
			end = t.from
			break
		}
	}
	return line[:end]
}
