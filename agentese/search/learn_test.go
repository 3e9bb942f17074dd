package search_test

import (
	"context"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/search/searchtest"
)

// What earlier sessions have learnt counts, less than what this one has, and less as
// time goes by; what is no expression any more is nothing.
func TestRecall(t *testing.T) {
	const question, old, new = "the usual look at things", "world.redis.witness", "world.spool.manifest"
	at := morning
	score := func(x *search.Index, expr string, now time.Time) float64 {
		for _, s := range x.Find(context.Background(), search.Query{Text: question, Limit: search.MaxFound, Now: now}) {
			if s.Expr == expr {
				return s.Score
			}
		}
		return 0
	}
	x := newIndex(t)
	before := score(x, old, at)
	x.Recall([]search.Use{
		{Question: question, Expr: "no.such.path", At: at}, {Question: question, Expr: "[", At: at},
		{Question: question, Expr: new, At: at.Add(-time.Hour)}, {Question: question, Expr: old, At: at}, {Question: question, Expr: new},
	})
	if found := find(x, question); len(found) == 0 || found[0].Expr != old {
		t.Fatalf("found %v", expressions(found))
	}
	fresh, aged, ancient := score(x, old, at), score(x, old, at.AddDate(0, 3, 0)), score(x, old, at.AddDate(20, 0, 0))
	if !(fresh > aged && aged > ancient) || ancient > before+0.05 {
		t.Errorf("scores %v before, then %v, %v, %v", before, fresh, aged, ancient)
	}
	x.Learn(question, new)
	if found := find(x, question); len(found) == 0 || found[0].Expr != new {
		t.Errorf("this session's doesn't win: %v", expressions(found))
	}
}

// A question with a name in it is known again when the names are known only later.
func TestRecallBeforeTheNames(t *testing.T) {
	const question, mine = "the usual look at umbrella", "world.customers.umbrella.keys.manifest"
	x, err := search.New(searchtest.Tree(t))
	if err != nil {
		t.Fatal(err)
	}
	x.Recall([]search.Use{{Question: question, Expr: mine, At: morning}})
	find(x, question)
	x.Update(searchtest.Live(t))
	if found := find(x, question); len(found) == 0 || found[0].Expr != mine {
		t.Errorf("found %v", expressions(found))
	}
	if found := find(x, "the usual look at globex"); len(found) == 0 || found[0].Expr != "world.customers.globex.keys.manifest" {
		t.Errorf("for another customer: %v", expressions(found))
	}
	if found := find(known(t), question); len(found) == 0 || found[0].Expr == mine {
		t.Errorf("without a past: %v", expressions(found))
	}
}
