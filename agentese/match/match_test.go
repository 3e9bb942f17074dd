package match_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/match/matchtest"
	"github.com/kgents/kgents/agentese/tree"
)

// fresh is a matcher over every path and so many customers.
func fresh(customers int) (*match.Matcher, *tree.Tree) {
	t := matchtest.Tree()
	m := match.New(t)
	m.Update(matchtest.Snapshot(customers))
	return m, t
}

func TestCorrect(t *testing.T) {
	m, _ := fresh(10_000)
	for _, test := range []struct {
		in, place string
		observer  tree.Observer
		verdict   match.Verdict
		expr, why string
		changes   bool
	}{
		{in: "world.nats.circuit.manifest", verdict: match.Exact, expr: "world.nats.circuit.manifest"},
		{in: " World.NATS.Circuit.MANIFEST ", verdict: match.Exact, expr: "world.nats.circuit.manifest"},
		{in: "wrold.nats.ciruit.manifest", verdict: match.Sure, expr: "world.nats.circuit.manifest", why: "wrold → world, ciruit → circuit"},
		{in: "circuit.nats.world", verdict: match.Sure, expr: "world.nats.circuit.manifest", why: "nats, world moved"},
		{in: "self.nats.circuit", verdict: match.Sure, expr: "world.nats.circuit.manifest", why: "self → world"},
		{in: "circuit", verdict: match.Sure, expr: "world.nats.circuit.manifest", why: "added world.nats"},
		{in: "slef", verdict: match.Ask, expr: "self.manifest", why: "slef → self"},
		{in: "w.n.c", verdict: match.Ask, expr: "world.nats.circuit.manifest", why: "w → world, n → nats, c → circuit"},
		{in: "plans", verdict: match.Ask, expr: "world.plans.manifest", why: "added world"},
		{in: "void.gratitude", verdict: match.Ask, expr: "void.gratitude.tithe"}, // it spends: not assumed
		{in: "tithe", verdict: match.Ask, expr: "void.gratitude.tithe", why: "added void.gratitude"},
		{in: "stripe hooks", verdict: match.Ask, expr: "world.stripe.webhooks.manifest", why: "hooks → webhooks, added world"},
		{in: "alerts critical", place: "world", verdict: match.Ask, expr: "world.alerts.manifest[severity=critical]", why: "critical → severity=critical"},
		{in: "incident 6h", verdict: match.Ask, expr: "time.incident.manifest[since=6h]", why: "added time, 6h → since=6h"},
		{in: "world.deadletter.manifest reason=invalid", verdict: match.Sure, expr: "world.deadletter.manifest[reason=invalid]"},
		{in: "world.deadletter.manifest[reason=invalid", verdict: match.Sure, expr: "world.deadletter.manifest[reason=invalid]"},
		{in: "world.customers.manifest > concept.identity.manifest", verdict: match.Sure, expr: "world.customers.manifest >> concept.identity.manifest"},
		{in: "concept.metrics.backlog_messages.manifest", verdict: match.Ask, expr: "concept.metrics.kgents_backlog_messages.manifest", why: "backlog_messages → kgents_backlog_messages"},
		{in: "world.nats.circut.manifest >> concept.idenity.manifest", verdict: match.Sure, expr: "world.nats.circuit.manifest >> concept.identity.manifest", why: "circut → circuit, idenity → identity"},
		{in: "world.nats.circut.manifest@span=night", verdict: match.Sure, expr: "world.nats.circuit.manifest@span=night", why: "circut → circuit"},

		// What changes something is never decided, but may be written exactly.
		{in: "world.deadletter.refine[do=replay]", observer: tree.Admin, verdict: match.Exact, expr: "world.deadletter.refine[do=replay]", changes: true},
		{in: "world.deadletter.refine[do=replya]", observer: tree.Admin, verdict: match.Ask, expr: "world.deadletter.refine[do=replay]", why: "replya → replay", changes: true},
		{in: "world.deadletter.replay", observer: tree.Admin, verdict: match.Ask, expr: "world.deadletter.refine[do=replay]", why: "replay → refine[do=replay]", changes: true},
		{in: "World.Deadletter refine do=replay", observer: tree.Admin, verdict: match.Ask, expr: "world.deadletter.refine[do=replay]", why: "World → world, Deadletter → deadletter", changes: true},
		{in: "void.entropy.spi[of=fault]", observer: tree.Admin, verdict: match.Ask, expr: "void.entropy.sip[of=fault]", why: "spi → sip", changes: true},
		{in: "void.entropy.spi[of=events]", observer: tree.Admin, verdict: match.Sure, expr: "void.entropy.sip[of=events]", why: "spi → sip"},
		// What the observer may not do is offered with what it needs.
		{in: "void.entropy.spi[of=events]", verdict: match.Ask, expr: "void.entropy.sip[of=events]", why: "spi → sip, needs the observer explorer"},

		// Where the shell is.
		{in: "circuit", place: "world.nats", verdict: match.Sure, expr: "world.nats.circuit.manifest"},
		{in: "circuit.manifest", place: "world.nats", verdict: match.Exact, expr: "world.nats.circuit.manifest"},
		{in: "witness", place: "world.nats", verdict: match.Exact, expr: "world.nats.witness"},
		{in: "limits", place: "world.customers.acme", verdict: match.Sure, expr: "world.customers.acme.limits.manifest"},
		{in: "globex", place: "world.customers", verdict: match.Sure, expr: "world.customers.globex.manifest"},
		{in: "plans", place: "concept", verdict: match.Ask, expr: "concept.plans.manifest"},
		{in: "alice", place: "world.town.springfield.citizens", verdict: match.Sure, expr: "world.town.springfield.citizens.Alice.manifest", why: "alice → Alice"},
		{in: "world.redis.manifest", place: "world.nats", verdict: match.Exact, expr: "world.redis.manifest"},

		// Live names.
		{in: "world.customers.acmee.limits.manifest", verdict: match.Sure, expr: "world.customers.acme.limits.manifest", why: "acmee → acme"},
		{in: "world.town.springfield.citizens.alice.manifest", verdict: match.Exact, expr: "world.town.springfield.citizens.Alice.manifest"},
		{in: "world.stripe.events.evt_brandnew42.manifest", verdict: match.Exact, expr: "world.stripe.events.evt_brandnew42.manifest"},
	} {
		t.Run(test.place+">"+test.in, func(t *testing.T) {
			c := m.Correct(test.in, split(test.place), test.observer)
			if len(c.Candidates) == 0 {
				t.Fatalf("%s, and no candidates", c.Verdict)
			}
			got := c.Candidates[0]
			if c.Verdict != test.verdict || got.Expr != test.expr || c.Changes != test.changes {
				t.Errorf("got %s %s, changes %t; want %s %s, %t\n%v", c.Verdict, got.Expr, c.Changes, test.verdict, test.expr, test.changes, c.Candidates)
			}
			if got.Why != test.why {
				t.Errorf("why %q, want %q", got.Why, test.why)
			}
		})
	}
}

func split(place string) []string {
	if place == "" {
		return nil
	}
	return strings.Split(place, ".")
}

// A sentence or garbage is never decided.
func TestNotAPath(t *testing.T) {
	m, _ := fresh(10_000)
	in := strings.Split(strings.TrimSpace(sentences), "\n")
	for i := range 300 { // garbage, the same at every run
		x := uint32(i)*2654435761 + 12345
		var b strings.Builder
		for range 3 + i%20 {
			x = x*1664525 + 1013904223
			b.WriteByte("abcdefghijklmnopqrstuvwxyz ..[]=0123456789"[x>>16%42])
		}
		in = append(in, b.String())
	}
	for _, s := range in {
		if c := m.Correct(s, nil, tree.Admin); c.Verdict > match.Ask {
			t.Errorf("%q is %s: %v", s, c.Verdict, c.Candidates[0])
		}
	}
	if c := m.Correct("qwpoei zmxncb", nil, tree.Admin); c.Verdict != match.None || len(c.Candidates) > 0 {
		t.Errorf("garbage is %s: %v", c.Verdict, c.Candidates)
	}
}

const sentences = `
why are customers getting 429
how do i see the circuit of nats
is everything ok
what happened last night
the plan
show me what is broken
are there any dead letters
who is over the limit
when was the last backup
i want to replay everything
acme says they can't log in
please help
time flies like an arrow
the world is not enough
spoon
plane
story
credit
money
hello
good morning
where is my event
did the deploy break something
restart nats
how much did acme use this month
stop the town
which customers are past due
can you cancel the subscription of acme
my invoice is wrong
stripe is not sending anything
what is a dead letter
is redis full
nats is down
why is it slow
the meter is wrong
who changed this
what does overage mean
events are missing
undo that
thanks
give me a customer
make me a sandwich
nothing works
what now
is the stream full
do we lose money
lens flare
concept car
void where prohibited
self help
`

// Numbers and ids are what people mean: another one may be offered, never decided.
func TestNumbersAreLiteral(t *testing.T) {
	m, _ := fresh(10_000)
	names := matchtest.Snapshot(10_000).Names
	for _, s := range []struct {
		path, from string
		names      []string
	}{
		{"world.deadletter.", "", []string{"41", "42", "107", "1093", "43", "14", "410", "1039", "108"}},
		{"world.customers.", "world.customers", []string{"cus_1", "cus_10", "cus_0999", "cus_99999", "cus_100"}},
		{"world.stripe.events.", "world.stripe.events", []string{"evt_3", "evt_12", "evt_1Pq8Zx2eZvKYlo2E"}},
		{"time.trace.", "time.trace", []string{"evt_3", "01JD5Y8Q3T4M"}},
	} {
		var ids []string
		for i, e := range names[s.from] {
			if strings.HasPrefix(e.Name, "cus_") && i%10 == 0 {
				n := []byte(e.Name)
				for j := 4; j < len(n); j++ { // each digit made another
					was := n[j]
					n[j] = '0' + (n[j]-'0'+byte(1+i%9))%10
					ids = append(ids, string(n))
					n[j] = was
				}
			}
		}
		for _, n := range append(ids, s.names...) {
			for _, in := range []string{s.path + n + ".manifest", s.path + n, strings.ReplaceAll(s.path, ".", " ") + n} {
				c := m.Correct(in, nil, tree.Admin)
				if c.Verdict > match.Ask && !strings.Contains(c.Candidates[0].Expr, "."+n+".") {
					t.Errorf("%s is %s: %s", in, c.Verdict, c.Candidates[0].Expr)
				}
			}
		}
	}
	for _, in := range []string{"world.openmeter.usage.manifest[customer=cus_1]", "customers cus_1 limits"} {
		if c := m.Correct(in, nil, tree.Admin); c.Verdict > match.Ask {
			t.Errorf("%s is %s: %s", in, c.Verdict, c.Candidates[0].Expr)
		}
	}
}

// A name that is one edit from two others is asked about.
func TestBetweenTwo(t *testing.T) {
	tr := matchtest.Tree()
	m := match.New(tr)
	m.Update(&tree.Snapshot{Names: map[string][]tree.Entry{"world.customers": {{Name: "marten"}, {Name: "martin"}, {Name: "harbor"}}}})
	for _, in := range []string{"world.customers.martn.manifest", "world.customers.martan.manifest", "martn.limits"} {
		c := m.Correct(in, nil, tree.Admin)
		if c.Verdict != match.Ask || len(c.Candidates) < 2 {
			t.Errorf("%s is %s: %v", in, c.Verdict, c.Candidates)
			continue
		}
		both := c.Candidates[0].Expr + c.Candidates[1].Expr
		if !strings.Contains(both, "marten") || !strings.Contains(both, "martin") {
			t.Errorf("%s: the first two are %v", in, c.Candidates[:2])
		}
	}
	if c := m.Correct("world.customers.harbro.manifest", nil, tree.Admin); c.Verdict != match.Sure {
		t.Errorf("harbro is %s: %v", c.Verdict, c.Candidates)
	}
}

// existing are expressions of every node and aspect, with the names of a snapshot.
func existing(t *tree.Tree, s *tree.Snapshot) (out []string) {
	for _, p := range t.Places() {
		names := strings.Split(p.Pattern, ".")
		for i, n := range names {
			if n[0] == '{' {
				entries := s.Names[strings.Join(names[:i], ".")]
				names[i] = entries[len(p.Pattern)%len(entries)].Name
			}
		}
		for _, a := range p.Node.Aspects() {
			step := agentese.NewStep(a, names...)
			out = append(out, step.String())
			own, ok := p.Node.Affordance(a)
			if !ok {
				continue
			}
			for _, q := range own.Params {
				if len(q.Values) > 0 {
					out = append(out, step.With(q.Key, q.Values[0]).String())
				}
			}
			out = append(out, step.With("span", "x y").String())
		}
	}
	return append(out, out[0]+" >> "+out[3])
}

// What exists comes back as it is, from everywhere.
func TestIdentity(t *testing.T) {
	m, tr := fresh(200)
	for _, in := range existing(tr, matchtest.Snapshot(200)) {
		for _, place := range []string{"", "world", "world.customers.acme", "time"} {
			c := m.Correct(in, split(place), tree.Default)
			if c.Verdict != match.Exact || len(c.Candidates) != 1 || c.Candidates[0].Expr != in {
				t.Errorf("%s from %q is %s: %v", in, place, c.Verdict, c.Candidates)
			}
		}
	}
}

// resolves says whether every candidate is what it says.
func resolves(tr *tree.Tree, c match.Correction, o tree.Observer) error {
	if len(c.Candidates) > match.MaxCandidates || (c.Verdict == match.None) != (len(c.Candidates) == 0) {
		return fmt.Errorf("%s with %d candidates", c.Verdict, len(c.Candidates))
	}
	who := tree.Admin
	if c.Verdict == match.Sure {
		who = o
	}
	last := 1.0
	for i, x := range c.Candidates {
		e, err := agentese.Parse(x.Expr)
		if err != nil {
			return err
		}
		for _, s := range e.Steps {
			_, a, err := tr.Resolve(s, &tree.Session{Observer: who})
			if err != nil {
				return err
			}
			if i == 0 && c.Verdict == match.Sure && a.Change != nil {
				return fmt.Errorf("%s changes something and is decided", x.Expr)
			}
		}
		if x.Score > last || x.Score <= 0 {
			return fmt.Errorf("scores do not fall: %v", c.Candidates)
		}
		last = x.Score
		who = tree.Admin
	}
	return nil
}

func FuzzCorrect(f *testing.F) {
	m, tr := fresh(300)
	for _, s := range existing(tr, matchtest.Snapshot(300))[:40] {
		f.Add(s, "", 0)
		f.Add(strings.ReplaceAll(s, ".", " "), "world.nats", 3)
	}
	for _, s := range []string{"", ".", "[", "]", "=", "@", "\"", "\\", ">>", "|", "world.\"a b\".manifest[", "[x", "[=]", "a=", "=a", "\xff\xfe", "world.nats[[[", "@=", "é.ü", strings.Repeat("a.", 400), strings.Repeat("x", 200), "wörld.näts", "manifest[do", "world.deadletter.41.refine[do=\"replay"} {
		f.Add(s, "world.customers.acme", 4)
	}
	f.Fuzz(func(t *testing.T, in, place string, observer int) {
		o := tree.Observer(max(0, min(4, observer)))
		if err := resolves(tr, m.Correct(in, split(place), o), o); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		for _, at := range []int{len(in), len(in) / 2, 0} {
			got := m.Complete(in, at, split(place), o)
			if len(got) > match.MaxCompletions {
				t.Errorf("%d completions", len(got))
			}
			for _, c := range got {
				if c.From < 0 || c.To > len(in) || c.From > c.To || c.Text == "" || c.Kind == "" {
					t.Errorf("%q at %d: %+v", in, at, c)
				}
			}
		}
	})
}

// Names change while others are corrected.
func TestConcurrentUpdate(t *testing.T) {
	m, tr := fresh(50)
	done := make(chan struct{})
	for i := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for k := range 50 {
				if i == 0 {
					m.Update(matchtest.Snapshot(50 + k))
					continue
				}
				c := m.Correct("wrold.customers.acmee.limits", nil, tree.Default)
				if err := resolves(tr, c, tree.Default); err != nil || c.Verdict != match.Sure {
					t.Errorf("%v: %v", c, err)
				}
				m.Complete("world.customers.a", 17, nil, tree.Default)
			}
		}()
	}
	for range 4 {
		<-done
	}
}

// Without live names only what they would be is unknown.
func TestNoNames(t *testing.T) {
	m := match.New(matchtest.Tree())
	m.Update(nil)
	if c := m.Correct("wrold.redis.manifest", nil, tree.Default); c.Verdict != match.Sure {
		t.Errorf("a fixed path is %s", c.Verdict)
	}
	if c := m.Correct("world.customers.acme.manifest", nil, tree.Default); c.Verdict != match.Exact {
		t.Errorf("a path with a name that may exist is %s", c.Verdict)
	}
	c := m.Correct("world.customer.acme.limits", nil, tree.Default)
	if c.Verdict != match.Ask || c.Candidates[0].Expr != "world.customers.acme.limits.manifest" {
		t.Errorf("a mistake beside a name that may exist is %s: %v", c.Verdict, c.Candidates)
	}
}

// A name that nobody has told of is not put below a holon that wasn't written, unless it
// looks like an id.
func TestNoInventedNames(t *testing.T) {
	m, _ := fresh(10)
	for _, c := range m.Correct("world.natss.manifest", nil, tree.Admin).Candidates {
		if strings.Contains(c.Expr, ".natss.") {
			t.Errorf("%s is offered", c.Expr)
		}
	}
}
