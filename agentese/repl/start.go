package repl

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// after is a moment for another goroutine to come to where it listens.
func after() <-chan time.Time { return time.After(20 * time.Millisecond) }

// greet says where one is, and takes up the last session. Who is here for the first time
// is told what to write.
func (s *Shell) greet() {
	where := ""
	if s.o.Sources.API != nil {
		where = s.o.Sources.API.URL
	}
	s.say(s.style.Strong("kgents") + "  " + printable(where))
	if len(s.lines) == 0 {
		s.tellFaint("Write where to look, world.manifest, or what you want to know: why are webhooks slow. Looking changes nothing, and what would is shown and asked about first.")
	}
	s.tellFaint("?  what is here   Tab  completes   help  explains   Ctrl-D  ends")
	if s.keep == nil {
		s.say(s.style.Warn("nothing is kept, and nothing can be changed: ") + printable(s.unkept.Error()))
		return
	}
	if s.unkept != nil {
		s.unwritten = true
		s.tellFaint("the history can't be read: " + s.unkept.Error())
	}
	if s.forgot != nil {
		s.tellFaint("what was picked before can't be read: " + s.forgot.Error())
	}
	for _, line := range s.restore() {
		s.tellFaint(line)
	}
}

// tellFaint says something beside the matter, in as many lines as it takes.
func (s *Shell) tellFaint(text string) {
	text = printable(text)
	lines := []string{text}
	if w := s.width(); w > 0 && term.Width(text) > w {
		lines = term.Wrap(text, w)
	}
	for _, line := range lines {
		s.say(s.style.Faint(line))
	}
}

// restore takes up the last session as far as it still holds, and says what it did.
func (s *Shell) restore() []string {
	last, ok, err := s.keep.lastSession()
	if err != nil {
		return []string{"the last session can't be read, so this is a fresh one: " + err.Error()}
	}
	if !ok {
		return nil
	}
	var said []string
	if len(last.Place) > 0 {
		if err := s.placeHolds(last.Place); err != nil {
			said = append(said, "the last session's place is not there any more: "+err.Error())
		} else {
			_, _, canonical, _ := s.tree.Find(last.Place)
			s.mu.Lock()
			s.place = canonical
			s.mu.Unlock()
		}
	}
	o, err := tree.ParseObserver(last.Observer)
	switch {
	case err != nil:
		said = append(said, "the last session's observer is unknown: "+err.Error())
	case s.o.Chosen || o == s.session.Observer:
	case o == tree.Default || s.o.Restore:
		s.session.Observer = o
	default:
		said = append(said, fmt.Sprintf("the last session was %s's; this one is %s's: /observer %[1]s, or --restore", o, s.session.Observer))
	}
	if len(s.place) > 0 {
		said = append(said, "back at "+agentese.JoinPath(s.place...)+"; / is the root")
	}
	return said
}

// placeHolds says whether a place from a file is one.
func (s *Shell) placeHolds(place []string) error {
	if len(place) > agentese.MaxDepth {
		return fmt.Errorf("it is too deep")
	}
	for _, name := range place {
		if name == "" || hasControl(name) || len(name) > agentese.MaxInput {
			return fmt.Errorf("it has a name that can't be one")
		}
	}
	if _, _, _, depth := s.tree.Find(place); depth < len(place) {
		return fmt.Errorf("there is no %s", agentese.JoinPath(place[:depth+1]...))
	}
	return nil
}

// found is what would show what words ask for.
func (s *Shell) found(words string) []offer {
	if strings.TrimSpace(words) == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var out []offer
	for _, f := range s.search.Find(ctx, search.Query{Text: words, Place: s.Place(), Observer: s.session.Observer, Limit: maxOffers, Now: s.o.Now()}) {
		out = append(out, offer{Expr: f.Expr, Line: f.Line, Why: f.Why, Score: f.Score})
	}
	return out
}
