package match_test

import (
	"os"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/match/matchtest"
	"github.com/kgents/kgents/agentese/tree"
)

func TestTry(t *testing.T) {
	m := match.New(matchtest.Tree())
	m.Update(matchtest.Snapshot(10000))
	for _, in := range strings.Split(os.Getenv("TRY"), ";") {
		c := m.Correct(in, nil, tree.Admin)
		t.Logf("%-50s %s %v", in, c.Verdict, c.Changes)
		for _, x := range c.Candidates {
			t.Logf("        %.2f %-50s %s", x.Score, x.Expr, x.Why)
		}
	}
}

func BenchmarkCorrect(b *testing.B) {
	m := match.New(matchtest.Tree())
	m.Update(matchtest.Snapshot(10000))
	for b.Loop() {
		m.Correct("wrld.customers.acmee.limts", nil, tree.Admin)
	}
}
