package search_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/search/searchtest"
	"github.com/kgents/kgents/agentese/tree"
)

var morning = time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)

func find(x *search.Index, text string) []search.Suggestion {
	return x.Find(context.Background(), search.Query{Text: text, Observer: tree.Admin, Limit: 3, Now: morning})
}

func TestFind(t *testing.T) {
	x := known(t)
	for text, want := range map[string]string{
		"why are webhooks slow":                       "world.stripe.webhooks.manifest",
		"money not counted yesterday":                 "world.openmeter.reconciliation.manifest[since=24h]",
		"who is over their limit":                     "world.customers.lens",
		"replay what failed last night":               "world.deadletter.refine[do=replay][since=12h]",
		"globx is blocked, why":                       "world.customers.globex.limits.manifest",
		"where is evt_1QxYz9AbC":                      "time.trace.evt_1QxYz9AbC.manifest",
		"show dead letter 42":                         "world.deadletter.42.manifest",
		"mute ConsumerLagGrowing for two hours":       "world.alerts.ConsumerLagGrowing.refine[silence=2h]",
		"when do we run out of disk":                  "time.future.manifest[of=disk]",
		"put initech on enterprise":                   "world.customers.initech.subscription.refine[do=change][plan=enterprise]",
		"who is near 70 percent of their quota":       "world.customers.lens[near=70]",
		"let springfield live five more steps":        "world.town.springfield.refine[do=step][steps=5]",
		"what did Alice do in riverdale":              "world.town.riverdale.citizens.Alice.witness",
		"how did the system look three hours ago":     "time.past.manifest[at=3h]",
		"WHO IS OVER THEIR LIMIT??!":                  "world.customers.lens",
		"how many tiems did the cricuit breaker flip": "world.nats.circuit.witness",
	} {
		found := find(x, text)
		if len(found) == 0 || found[0].Expr != want {
			t.Errorf("%s: want %s, found %v", text, want, expressions(found))
		}
		for _, s := range found {
			if s.Line == "" || s.Score < 0 || s.Score > 1 {
				t.Errorf("%s: %+v", text, s)
			}
		}
	}
}

func TestFindNothing(t *testing.T) {
	x := known(t)
	for _, text := range []string{"", "   ", "?!", "\x00\xff"} {
		if found := find(x, text); len(found) > 0 {
			t.Errorf("%q finds %v", text, expressions(found))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if found := x.Find(ctx, search.Query{Text: "who is over their limit"}); len(found) > 0 {
		t.Errorf("a question that was given up finds %v", expressions(found))
	}
}

func TestWhySaysWhatMatched(t *testing.T) {
	found := find(known(t), "why are webhooks slugish for acme")
	if len(found) == 0 || !strings.Contains(found[0].Why, "webhooks") || !strings.Contains(found[0].Why, "slugish → sluggish") {
		t.Errorf("found %+v", found)
	}
}

func TestChangesAreNeverConfident(t *testing.T) {
	x, tr := known(t), searchtest.Tree(t)
	for i, w := range search.Known() {
		if i%11 != 0 { // a thousand of all paths
			continue
		}
		for _, s := range find(x, w.Question) {
			e, err := agentese.Parse(s.Expr)
			if err != nil {
				t.Fatalf("%s: %s: %v", w.Question, s.Expr, err)
			}
			p, _, _, _ := tr.Find(e.Steps[0].Texts())
			if p.Node == nil {
				t.Fatalf("%s: %s leads nowhere", w.Question, s.Expr)
			}
			a, _ := p.Node.Affordance(agentese.Aspect(e.Steps[0].Aspect.Text))
			changes := a != nil && a.Change != nil
			if changes && !s.Changes || s.Changes && s.Confident {
				t.Errorf("%s: %s is changing %t, confident %t", w.Question, s.Expr, s.Changes, s.Confident)
			}
			if s.Confident && strings.Contains(s.Expr, "<") {
				t.Errorf("%s: %s is confident without a name", w.Question, s.Expr)
			}
		}
	}
}

func TestWhatIsNotOpenIsFoundAndSaysSo(t *testing.T) {
	x := known(t)
	found := x.Find(context.Background(), search.Query{Text: "replay everything that failed", Observer: tree.Default, Now: morning})
	i := slices.IndexFunc(found, func(s search.Suggestion) bool { return s.Expr == "world.deadletter.refine[do=replay]" })
	if i < 0 || !strings.Contains(found[i].Why, "needs the observer architect") {
		t.Errorf("found %+v", found)
	}
}

func TestPastUseWins(t *testing.T) {
	x := newIndex(t)
	const question, mine = "the usual look at things", "world.redis.witness"
	x.Learn(question, mine)
	x.Learn(question, "no.such.path")
	x.Learn(question, "not even an expression")
	if found := find(x, question); len(found) == 0 || found[0].Expr != mine {
		t.Errorf("found %v", expressions(found))
	}
	x.Learn(question, "world.spool.manifest")
	if found := find(x, question); len(found) == 0 || found[0].Expr != "world.spool.manifest" {
		t.Errorf("the last use does not win: %v", expressions(found))
	}
	if found := find(x, "who is over their limit"); found[0].Expr != "world.customers.lens" {
		t.Errorf("another question is touched: %v", expressions(found))
	}
	for i := range 2 * search.MaxLearnt {
		x.Learn("question number "+strings.Repeat("x", i%97)+" of many", mine)
	}
}

func TestPlaceMatters(t *testing.T) {
	x := known(t)
	score := func(place ...string) float64 {
		for _, s := range x.Find(context.Background(), search.Query{Text: "errors over time", Place: place, Limit: 20, Now: morning}) {
			if s.Expr == "world.api.witness" {
				return s.Score
			}
		}
		return 0
	}
	if here, away := score("world", "api"), score(); here <= away {
		t.Errorf("%f in the place, %f elsewhere", here, away)
	}
}

func TestNewIsFast(t *testing.T) {
	tr := searchtest.Tree(t)
	begin := time.Now()
	if _, err := search.New(tr); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 100*time.Millisecond {
		t.Errorf("New took %v", took)
	}
}

// TestKnownWordings sees to it that the data is what it should be.
func TestKnownWordings(t *testing.T) {
	tr := searchtest.Tree(t)
	if len(search.Known()) < 1000 {
		t.Errorf("only %d wordings are known", len(search.Known()))
	}
	for _, w := range search.Known() {
		for _, expr := range w.Expected {
			e, err := agentese.Parse(expr)
			if err != nil || len(e.Steps) != 1 {
				t.Errorf("%s: %s: %v", w.Question, expr, err)
				continue
			}
			if _, _, _, depth := tr.Find(e.Steps[0].Texts()); depth < len(e.Steps[0].Names) && !strings.HasPrefix(expr, "time.witness") {
				t.Errorf("%s: %s leads nowhere", w.Question, expr)
			}
		}
	}
	form := regexp.MustCompile(`^[a-z0-9' /-]+$`)
	for _, p := range search.LexiconPhrases() {
		if !form.MatchString(p) {
			t.Errorf("%q of the lexicon is not in its form", p)
		}
	}
}

// TestDocumentedNames sees to it that what the program documents is listed without asking
// anybody, and says something of each name.
func TestDocumentedNames(t *testing.T) {
	kinds := map[string]int{}
	for _, p := range searchtest.Tree(t).Places() {
		live := p.Node.Live
		if live == nil || live.Text == nil {
			continue
		}
		entries, err := live.List(t.Context(), &tree.Call{})
		if err != nil || len(entries) == 0 {
			t.Errorf("%s lists %d names: %v", p.Pattern, len(entries), err)
		}
		for _, e := range entries {
			if e.Line+live.Text(e.Name) == "" {
				t.Errorf("%s: nothing is written of %s", p.Pattern, e.Name)
			}
		}
		kinds[live.Node.Name] = len(entries)
	}
	for _, kind := range []string{"section", "alert", "item", "metric", "page"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s is documented", kind)
		}
	}
}

func FuzzFind(f *testing.F) {
	x := newIndex(f)
	for _, s := range []string{"why are webhooks slow", "replay 42", "\xff\xfe", "a'b’c'", "evt_1QxYz9AbC's", "5h 99999999999999h 3am 99:99 14:00", "half an", "\u202eacme", strings.Repeat("acme ", 500), "dead letter #42: 50% of acme-globex.x_y"} {
		f.Add(s, "world.api")
	}
	f.Fuzz(func(t *testing.T, text, place string) {
		for _, s := range x.Find(context.Background(), search.Query{Text: text, Place: strings.Split(place, "."), Now: morning}) {
			if e, err := agentese.Parse(s.Expr); err != nil || e.String() != s.Expr {
				t.Errorf("%q finds %q: %v", text, s.Expr, err)
			}
			if !utf8.ValidString(s.Why) || strings.ContainsFunc(s.Why, func(r rune) bool { return r < ' ' }) || s.Changes && s.Confident {
				t.Errorf("%q: %+v", text, s)
			}
		}
		x.Learn(text, "world.api.manifest")
	})
}
