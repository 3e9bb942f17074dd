package repl

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/kgents/kgents/agentese"
)

// typed is a line, or why there is none.
type typed struct {
	line string
	err  error
}

// readPlainly asks for a line at a terminal that can't be drawn on (TERM=dumb, as in a
// shell of Emacs): the terminal edits it, nothing is completed, and what there is to tell
// stands before the next prompt. What a line begins with is said, since it can't be typed
// for the person. Its errors are those of read.
func (e *editor) readPlainly(ctx context.Context) (string, error) {
	if begun := e.s.begun; e.question == "" && begun != "" {
		e.s.begun = ""
		e.s.say(e.s.style.Faint("to be typed: " + printable(begun)))
	}
	_, _ = io.WriteString(e.s.o.Out, e.prompt())
	if !e.reads {
		e.reads = true
		go e.readLines()
	}
	select {
	case <-ctx.Done():
		return "", errStop
	case t := <-e.dumb:
		return t.line, t.err
	}
}

// readLines reads until the terminal has no more. It may outlive the shell by the read
// that it is in, which nothing ends before the program.
func (e *editor) readLines() {
	in := bufio.NewReaderSize(e.s.o.In, 4*agentese.MaxInput)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull): // no line is as long: it is refused as that
		case err != nil && len(line) == 0:
			e.dumb <- typed{err: io.EOF}
			return
		}
		e.dumb <- typed{line: strings.TrimRight(string(line), "\r\n")}
	}
}
