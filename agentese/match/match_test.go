package match_test

import (
	"testing"

	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/match/matchtest"
	"github.com/kgents/kgents/agentese/tree"
)

func TestTry(t *testing.T) {
	m := match.New(matchtest.Tree())
	m.Update(matchtest.Snapshot(10000))
	for _, in := range []string{"world.nats.circuit.manifest", "wrld.nats.ciruit.manifest", "world nats circuit", "world/nats/circuit", "world,nats.circuit", "worldnats.circuit", "world..nats", "w.n.c", "wo.na.ci.man", "w.c.acme.lim", "self.nats.circuit", "circuit", "acme.limits", "nats.circuit", "circuit.nats.world", "manifest.world.nats", "World.NATS", "world.deadletter.replay", "show world.nats", "world.nats.history", "world.deadletter.manifest reason=invalid", "world.deadletter.manifest[reason=invalid", "world.customer.acme.limit", "void.gratitude", "world.town.springfeild.citizens.alise.manifest", "alice", "asdf qwer", "how do i see the circuit of nats", "why are customers getting 429", "spoon", "world.customers.cus_1005.manifest", "world.alerts.NATSCircutOpen.manifest", "worldnatscircuitmanifest", "customersacme.limits", "world.deadletter.lens[by=reson]", "world.deadlettr.manifest[custmer=acmee]", "time.witness.manifest[of=world.nats.ciruit]", "world.nats.circuit.manifest >> concept.idenity.manifest", "k8s pods", "world.dead.letter", "acme subscription", "world.town.springfield"} {
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
