package repl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// Document is what --output json prints for each command, on one line.
type Document struct {
	Line       int         `json:"line,omitempty"` // of a script
	Input      string      `json:"input"`
	Expression string      `json:"expression,omitempty"` // what was run
	Place      string      `json:"place,omitempty"`      // behind it
	Observer   string      `json:"observer"`
	Value      *tree.Value `json:"value,omitempty"`
	Offers     []offer     `json:"offers,omitempty"` // what may have been meant
	Notes      []string    `json:"notes,omitempty"`
	Error      *Problem    `json:"error,omitempty"`
}

// Problem is a mistake in a Document. Pos and End are bytes of Input; End is 0 when
// there is no place to point at.
type Problem struct {
	Kind    string   `json:"kind"`
	Pos     int      `json:"pos"`
	End     int      `json:"end"`
	What    string   `json:"what"`
	Why     string   `json:"why,omitempty"`
	Try     []string `json:"try,omitempty"`
	Related []string `json:"related,omitempty"`
}

func problemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*agentese.Error](err)
	if !ok {
		return &Problem{Kind: "stopped", What: err.Error()}
	}
	return &Problem{Kind: string(e.Kind), Pos: e.Pos, End: e.End, What: e.What, Why: e.Why, Try: e.Try, Related: e.Related}
}

// show writes what a line came to. Its error is that of the output.
func (s *Shell) show(line string, number int, out outcome) error {
	if s.o.JSON {
		d := Document{
			Line: number, Input: mask(line), Expression: mask(out.expr), Place: agentese.JoinPath(s.Place()...), Observer: s.session.Observer.String(),
			Value: out.value, Offers: out.offers, Error: problemOf(out.err),
		}
		if out.expr == "" || len(out.said) > 0 {
			d.Notes = out.said
		}
		return writeJSON(s.o.Out, d)
	}
	var b strings.Builder
	if out.clear && s.width() > 0 {
		b.WriteString("\x1b[H\x1b[2J")
	}
	for _, text := range out.said {
		b.WriteString(s.style.Faint("→ "+printable(text)) + "\n")
	}
	if out.value != nil {
		if err := tree.Render(&b, *out.value, s.style, s.width(), s.o.Now()); err != nil {
			return err
		}
	}
	if e, ok := errors.AsType[*agentese.Error](out.err); ok {
		if e.Kind == agentese.KindDeclined && s.ask != nil {
			b.WriteString(s.style.Faint(printable(e.What)) + "\n")
		} else {
			b.WriteString(e.Render(line, s.style, s.width()))
		}
	} else if out.err != nil {
		if s.width() > 0 {
			b.WriteString("\r") // over the ^C that the terminal has shown
		}
		b.WriteString(s.style.Warn("stopped") + "\n")
	}
	_, err := io.WriteString(s.o.Out, b.String())
	return err
}

// writeJSON writes one line.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(harmless(b.Bytes()))
	return err
}

// harmless is JSON without what a terminal would take for a command or would turn round:
// it means the same, since such runes stand in strings alone.
func harmless(b []byte) []byte {
	odd := func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || r <= 0xffff && unicode.Is(unicode.Cf, r))
	}
	if bytes.IndexFunc(b, odd) < 0 {
		return b
	}
	var out bytes.Buffer
	for _, r := range string(b) {
		if odd(r) {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.WriteRune(r)
		}
	}
	return out.Bytes()
}

// say tells a person something while a line is done.
func (s *Shell) say(text string) {
	if !s.o.JSON {
		fmt.Fprintln(s.o.Out, text)
	}
}

// printable is text that moves no cursor, in one line.
func printable(text string) string {
	return term.Printable(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		return r
	}, text))
}

// draw is a value as the lines of a screen.
func (s *Shell) draw(v tree.Value, width int, now time.Time) []string {
	var b strings.Builder
	_ = tree.Render(&b, v, s.style, width, now) // a Builder takes all
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}
