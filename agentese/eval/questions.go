package eval

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

// Question is words as somebody would type them, the expressions of which any is right,
// and what sort of question it is.
type Question struct {
	Text     string
	Expected []string
	Kind     string
}

// ReadQuestions reads a file of lines of a question, its expected expressions (several
// separated by " | ") and its kind, separated by tabs.
func ReadQuestions(file string) ([]Question, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []Question
	for line := range strings.Lines(string(raw)) {
		parts := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s:%d: three columns are wanted", file, len(out)+1)
		}
		out = append(out, Question{parts[0], strings.Split(parts[1], " | "), parts[2]})
	}
	return out, nil
}

// QuestionScore is how well a kind of questions is answered. Shares are 0 to 1.
type QuestionScore struct {
	Kind           string
	Cases          int
	First, Third   float64 // path and aspect are right in the first, in one of the first three
	Clauses        float64 // of the expected clauses of right answers: filled with the expected value
	Asked          int     // how many clauses that are
	Confident      float64 // the first is said to be sure
	ConfidentWrong float64 // and is wrong
	P50, P99       time.Duration
	Missed         []string // questions without a right answer in the first three, with the first
}

// QuestionsReport is all kinds, and all together.
type QuestionsReport struct {
	All   QuestionScore
	Kinds []QuestionScore
}

// answer is what was found for a question.
type answer struct {
	question Question
	found    []search.Suggestion
	took     time.Duration
}

// At is when the questions are asked: a morning, so that "last night" is one.
var At = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

// Questions asks an index all of them.
func Questions(x *search.Index, qs []Question) QuestionsReport { return report(ask(x, qs)) }

// CrossValidated asks each question of an index that knows only the others: as many
// indexes as folds are made. more are wordings that all of them know besides.
func CrossValidated(t *tree.Tree, live *tree.Snapshot, qs []Question, more []search.Wording, folds int) QuestionsReport {
	var all []answer
	for f := range folds {
		known := slices.Clone(more)
		var mine []Question
		for i, q := range qs {
			if i%folds == f {
				mine = append(mine, q)
			} else {
				known = append(known, search.Wording{Question: q.Text, Expected: q.Expected})
			}
		}
		x := search.NewWith(t, known)
		x.Update(live)
		x.Warm()
		all = append(all, ask(x, mine)...)
	}
	return report(all)
}

func ask(x *search.Index, qs []Question) []answer {
	out := make([]answer, len(qs))
	for i, q := range qs {
		begin := time.Now()
		found := x.Find(context.Background(), search.Query{Text: q.Text, Observer: tree.Admin, Limit: 5, Now: At})
		out[i] = answer{q, found, time.Since(begin)}
	}
	return out
}

func report(all []answer) QuestionsReport {
	kinds := map[string][]answer{}
	for _, a := range all {
		kinds[a.question.Kind] = append(kinds[a.question.Kind], a)
	}
	r := QuestionsReport{All: scoreOf("all", all)}
	for kind, as := range kinds {
		r.Kinds = append(r.Kinds, scoreOf(kind, as))
	}
	slices.SortFunc(r.Kinds, func(a, b QuestionScore) int { return cmp.Compare(a.Kind, b.Kind) })
	return r
}

func scoreOf(kind string, as []answer) QuestionScore {
	s := QuestionScore{Kind: kind, Cases: len(as)}
	if len(as) == 0 {
		return s
	}
	var first, third, sure, wrong, filled int
	var took []time.Duration
	for _, a := range as {
		took = append(took, a.took)
		at := -1
		var right string
		for i, f := range a.found[:min(3, len(a.found))] {
			if e, ok := match(f.Expr, a.question.Expected); ok {
				at, right = i, e
				break
			}
		}
		if at == 0 {
			first++
		}
		if at >= 0 {
			third++
			n, have := clauses(a.found[at].Expr, right)
			s.Asked, filled = s.Asked+n, filled+have
		} else {
			got := "nothing"
			if len(a.found) > 0 {
				got = a.found[0].Expr
			}
			s.Missed = append(s.Missed, a.question.Text+"  →  "+got+"  instead of  "+a.question.Expected[0])
		}
		if len(a.found) > 0 && a.found[0].Confident {
			sure++
			if at != 0 {
				wrong++
			}
		}
	}
	share := func(n, of int) float64 { return float64(n) / float64(max(1, of)) }
	s.First, s.Third, s.Clauses = share(first, len(as)), share(third, len(as)), share(filled, s.Asked)
	s.Confident, s.ConfidentWrong = share(sure, len(as)), share(wrong, len(as))
	slices.Sort(took)
	s.P50, s.P99 = took[len(took)/2], took[len(took)*99/100]
	return s
}

// match says which of the expected expressions has the same path and aspect.
func match(found string, expected []string) (string, bool) {
	have, ok := pathOf(found)
	if !ok {
		return "", false
	}
	for _, e := range expected {
		if want, ok := pathOf(e); ok && have == want {
			return e, true
		}
	}
	return "", false
}

func pathOf(expr string) (string, bool) {
	x, err := agentese.Parse(expr)
	if err != nil || len(x.Steps) != 1 {
		return "", false
	}
	return strings.ToLower(x.Steps[0].Path() + "." + x.Steps[0].Aspect.Text), true
}

// clauses counts the expected ones and those that were found with the same value.
func clauses(found, expected string) (asked, filled int) {
	have, err := agentese.Parse(found)
	if err != nil {
		return 0, 0
	}
	want, err := agentese.Parse(expected)
	if err != nil {
		return 0, 0
	}
	for _, c := range want.Steps[0].Clauses {
		asked++
		if mine, ok := have.Steps[0].Clause(c.Key); ok && same(mine.Value, c.Value) {
			filled++
		}
	}
	return asked, filled
}

// same says whether two values are the same: 24h is 1d.
func same(a, b string) bool {
	x, errX := tree.ParseDuration(a)
	y, errY := tree.ParseDuration(b)
	return strings.EqualFold(a, b) || errX == nil && errY == nil && x == y
}

// Print writes a table under its title.
func (r QuestionsReport) Print(w io.Writer, title string) {
	fmt.Fprintf(w, "%-34s %5s %7s %7s %9s %10s %9s %8s %8s\n", title, "cases", "first", "in 3", "clauses", "confident", "wrongly", "p50", "p99")
	for _, s := range append(slices.Clone(r.Kinds), r.All) {
		fmt.Fprintf(w, "  %-32s %5d %6.1f%% %6.1f%% %8.1f%% %9.1f%% %8.1f%% %8s %8s\n", s.Kind, s.Cases, 100*s.First, 100*s.Third, 100*s.Clauses,
			100*s.Confident, 100*s.ConfidentWrong, s.P50.Round(10*time.Microsecond), s.P99.Round(10*time.Microsecond))
	}
}
