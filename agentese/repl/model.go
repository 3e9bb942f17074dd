package repl

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/search"
)

// allowance is the clause behind words that says how much entropy the line may use.
var allowance = regexp.MustCompile(`\s*\[\s*(?i:entropy)\s*=\s*"?([^\]"]*)"?\s*\]\s*$`)

// spoken says whether a line is words, which may have an address in them, and no path
// that is written with blanks.
func spoken(line string) bool {
	words := strings.Fields(line)
	if len(words) == 0 || isContext(words[0]) && !strings.HasSuffix(words[len(words)-1], "?") {
		return false
	}
	return inWords(line) || len(words) > 2 && !strings.ContainsAny(line, "[]>")
}

// allowed takes such a clause off a line of words, and says whether a model may be
// asked for it. Any other line stays as it is.
func allowed(line string) (words string, may bool) {
	m := allowance.FindStringSubmatchIndex(line)
	if m == nil || !spoken(line[:m[0]]) {
		return line, true
	}
	amount, err := strconv.ParseFloat(line[m[2]:m[3]], 64)
	return line[:m[0]], err == nil && amount >= search.RerankEntropy
}

// mayAsk says whether a model may be asked for what a person has typed; in a script,
// as for find, only where the options say so.
func (s *Shell) mayAsk() bool { return !s.strict || s.o.AskModel }

// consult is what words may mean: by a model's choice, if there is one that may be
// asked, else by this machine alone. note tells that it was asked, or why it had no
// say; each reason is told once.
func (s *Shell) consult(ctx context.Context, q search.Query, may bool) (found []search.Suggestion, note string) {
	if s.strict {
		s.nameAll(ctx, agentese.Expression{}) // nobody has asked for the live names yet
	}
	if s.o.Model == nil || !may || !spoken(q.Text) {
		return s.search.Find(ctx, q), ""
	}
	found, picked, err := s.search.Ask(ctx, q, s.o.Model, s.session.Budget)
	switch {
	case picked:
		return found, "a model had its say"
	case err == nil || ctx.Err() != nil:
		return found, ""
	}
	why := err.Error()
	if s.unheard[why] {
		return found, ""
	}
	if s.unheard == nil {
		s.unheard = map[string]bool{}
	}
	s.unheard[why] = true
	return found, "no model had its say: " + why
}
