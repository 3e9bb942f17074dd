package eval_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese/eval"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/search/searchtest"
)

var missed = flag.Bool("missed", false, "list the questions that were missed")

var folds = flag.Bool("folds", false, "measure the tuning part, too: in ten folds, which takes a while")

const (
	tuningFile  = "testdata/questions-tuning.tsv"
	heldoutFile = "testdata/questions-heldout.tsv"
)

// The line that is held, on questions that the index has never seen.
const (
	leastFirst = 0.75
	leastThird = 0.92
	mostWrong  = 0.02 // of all, that the index is sure of and wrong about
)

func TestQuestions(t *testing.T) {
	tr, live := searchtest.Tree(t), searchtest.Live(t)
	tuning, err := eval.ReadQuestions(tuningFile)
	if err != nil {
		t.Fatal(err)
	}
	if *folds {
		// asks/nodes.txt and more.txt are of people who knew tuning questions: without them
		// these are as strange to the index as they can be.
		show(t, eval.CrossValidated(tr, live, tuning, search.FreshAsks(), 10), "questions, tuning (ten folds)")
	}
	held, err := eval.ReadQuestions(heldoutFile)
	if err != nil {
		t.Fatal(err)
	}
	x, err := search.New(tr)
	if err != nil {
		t.Fatal(err)
	}
	x.Update(live)
	x.Warm()
	r := eval.Questions(x, held)
	show(t, r, "questions, held out")
	hold(t, r)
}

func show(t *testing.T, r eval.QuestionsReport, title string) {
	r.Print(os.Stdout, title)
	if *missed {
		for _, m := range r.All.Missed {
			t.Log(m)
		}
	}
}

func hold(t *testing.T, r eval.QuestionsReport) {
	if r.All.First < leastFirst || r.All.Third < leastThird {
		t.Errorf("the right path is first for %.1f %% and in the first three for %.1f %%; the line is %.0f and %.0f", 100*r.All.First, 100*r.All.Third, 100*leastFirst, 100*leastThird)
	}
	if r.All.ConfidentWrong > mostWrong {
		t.Errorf("the index is sure and wrong for %.1f %%", 100*r.All.ConfidentWrong)
	}
}

// TestHeldOut sees to it that no question of the held-out part is known to the index.
func TestHeldOut(t *testing.T) {
	held, err := eval.ReadQuestions(heldoutFile)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	tuning, err := eval.ReadQuestions(tuningFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range tuning {
		known[plain(q.Text)] = tuningFile
	}
	for _, w := range search.Known() {
		known[plain(w.Question)] = "the known wordings"
	}
	for _, p := range search.LexiconPhrases() {
		known[plain(p)] = "the lexicon"
	}
	for _, p := range searchtest.Tree(t).Places() {
		for _, a := range p.Node.Affords {
			for _, q := range a.Asks {
				known[plain(q)] = "the asks of " + p.Pattern + "." + string(a.Aspect)
			}
		}
	}
	for _, q := range held {
		// A noun or two is what anybody would call the thing.
		if where, ok := known[plain(q.Text)]; ok && len(strings.Fields(plain(q.Text))) > 2 {
			t.Errorf("%q of the held-out part stands in %s", q.Text, where)
		}
	}
}

var letters = regexp.MustCompile(`[^a-z0-9]+`)

// plain is a question without case and punctuation.
func plain(s string) string {
	return strings.TrimSpace(letters.ReplaceAllString(strings.ToLower(s), " "))
}

// TestTuningIsKnown keeps the tuning part and the index's wordings the same.
func TestTuningIsKnown(t *testing.T) {
	tuning, err := os.ReadFile(tuningFile)
	if err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile("../search/wordings.tsv")
	if err != nil {
		t.Fatal(err)
	}
	if string(tuning) != string(known) {
		t.Errorf("%s and agentese/search/wordings.tsv differ: copy the one that is right over the other", tuningFile)
	}
}
