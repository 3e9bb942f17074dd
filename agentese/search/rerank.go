package search

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// Bounds of asking a model.
const (
	MaxOptions     = 20              // options that a model is shown (facts/agentese.md)
	RerankEntropy  = 0.01            // entropy that one call costs
	RerankTimeout  = 3 * time.Second // how long it is waited for
	maxMaskedBytes = 1000
)

// Option is what a model may pick: a path without live names, and what it shows.
type Option struct {
	Pattern string // world.customers.{customer}.limits.manifest
	Line    string
}

// Reranker picks the option that a question means. Index.Ask calls it with what holds
// nothing of a customer, and doesn't trust its answer.
type Reranker interface {
	// Pick gives the number of an option, from 0, or an error if there is no answer or
	// it is none of them. It ends with ctx.
	Pick(ctx context.Context, question string, options []Option) (int, error)
}

// ErrSpent is that the budget can't give what asking a model costs.
var ErrSpent = errors.New("the session's entropy is spent or given back")

// Ask is Find with the help of a model: what it picks comes first, and picked says so.
// The local order stays when r is nil and when the local answer is sure, and with an
// error that may be shown when budget can't give RerankEntropy, and when the model gives
// no answer within RerankTimeout or one that is none of the options. A model's pick is
// never Confident.
func (x *Index) Ask(ctx context.Context, q Query, r Reranker, budget *tree.Budget) (found []Suggestion, picked bool, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = 5
	}
	limit = min(limit, MaxFound)
	q.Limit = MaxFound
	found = x.Find(ctx, q)
	local := func() []Suggestion { return found[:min(limit, len(found))] }
	if r == nil || budget == nil || len(found) < 2 || found[0].Confident {
		return local(), false, nil
	}
	b, n := x.ready()
	var options []Option
	var at []int // which suggestion an option stands for
	for i, s := range found {
		o, _, _, ok := b.locate(s.Expr)
		if !ok {
			continue
		}
		p := Option{Pattern: b.options[o].pattern() + "." + string(agentese.Aspects()[b.options[o].aspect]), Line: b.options[o].line()}
		if len(options) < MaxOptions && !slices.ContainsFunc(options, func(have Option) bool { return have.Pattern == p.Pattern }) {
			options, at = append(options, p), append(at, i)
		}
	}
	if len(options) < 2 {
		return local(), false, nil
	}
	if !budget.Draw(RerankEntropy) {
		return local(), false, ErrSpent
	}
	ctx, cancel := context.WithTimeout(ctx, RerankTimeout)
	defer cancel()
	k, err := r.Pick(ctx, b.mask(q.Text, n), options)
	if err == nil && (k < 0 || k >= len(options)) {
		err = errNone
	}
	if err != nil {
		return local(), false, err
	}
	first := found[at[k]]
	first.Why = join(first.Why, "a model's choice")
	found = slices.Insert(slices.Delete(found, at[k], at[k]+1), 0, first)
	for i := range found {
		found[i].Confident = false
	}
	return local(), true, nil
}

// mask is a question as a model may see it: only words that the program itself knows
// stay. Live names, whether or not they are also words, and everything else — ids,
// addresses, figures, words that nobody knows — are replaced by what they are.
func (b *built) mask(text string, n *names) string {
	q := b.reader.read(text, n, time.Unix(0, 0))
	kinds := map[int]string{}
	for _, e := range append(slices.Clone(q.names), newNames(b.tree, nil, b.samples).find(q.text, q.tokens, b.reader.common)...) {
		for i := e.from; i < e.to; i++ {
			if kinds[i] == "" {
				kinds[i] = "<" + e.kind + ">"
			}
		}
	}
	// What stands between blanks around an @ is an address, all of it; with an underscore,
	// or long and with a digit, an id or a key.
	for i, t := range q.tokens {
		from := strings.LastIndexAny(q.text[:t.from], " \t\n") + 1
		to := len(q.text)
		if j := strings.IndexAny(q.text[t.to:], " \t\n"); j >= 0 {
			to = t.to + j
		}
		if chunk := q.text[from:to]; strings.Contains(chunk, "@") || strings.Contains(chunk, "://") {
			kinds[i] = "<address>"
		} else if kinds[i] == "" && (strings.Contains(chunk, "_") || len(chunk) >= 12 && strings.ContainsAny(chunk, "0123456789")) {
			kinds[i] = "<word>"
		}
	}
	var out []string
	size := 0
	for i, t := range q.tokens {
		w := kinds[i]
		switch {
		case w != "":
		case digits(t.text):
			w = "<number>"
		case b.reader.words.known[t.text] == 0:
			w = "<word>"
		default:
			w = t.text
		}
		if len(out) > 0 && strings.HasPrefix(w, "<") && out[len(out)-1] == w {
			continue
		}
		if size += len(w) + 1; size > maxMaskedBytes {
			break
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}
