package repl

import (
	"context"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

// find lists what words may mean, the likeliest first, and runs none of it: what a
// script can use, and who wants to see all of it.
func (s *Shell) find(ctx context.Context, words string) outcome {
	if strings.TrimSpace(words) == "" {
		return outcome{err: &agentese.Error{Kind: agentese.KindSyntax, What: "find what?", Try: []string{"find why are webhooks slow"}}}
	}
	words, may := allowed(words)
	found, note := s.consult(ctx, search.Query{Text: words, Place: s.Place(), Observer: s.session.Observer, Limit: maxOffers, Now: s.o.Now()}, may && s.o.AskModel)
	if ctx.Err() != nil {
		return outcome{err: context.Canceled}
	}
	if len(found) == 0 {
		return outcome{err: &agentese.Error{Kind: agentese.KindNotFound, What: "nothing is known of " + printable(words), Try: []string{"?", "help"}}}
	}
	v := tree.Value{Title: "This may show it", Table: &tree.Table{Columns: columns("expression", "what", "why")}}
	if found[0].Changes {
		v.Title = "This may do it"
	}
	for _, f := range found {
		v.Table.Rows = append(v.Table.Rows, []any{f.Expr, f.Line, f.Why})
	}
	if note != "" {
		v.Note(note)
	}
	return shown(v)
}
