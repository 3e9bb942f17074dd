package search

import (
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese/search/searchtest"
)

var update = flag.Bool("update", false, "learn the weights anew and write weights.go")

// judged is a question with its candidates and which of them are right.
type judged struct {
	question string
	cs       []candidate
	right    []bool
	b        *built
	l        *look
}

// folds judges each known wording by an index that doesn't know it.
func folds(t *testing.T, known, more []Wording, n int) []judged {
	tr, live := searchtest.Tree(t), searchtest.Live(t)
	var out []judged
	for f := range n {
		var test []Wording
		train := slices.Clone(more)
		for i, w := range known {
			if i%n == f {
				test = append(test, w)
			} else {
				train = append(train, w)
			}
		}
		b := build(tr, train)
		names := newNames(tr, live, nil)
		for _, w := range test {
			q := b.reader.read(w.Question, names, time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC))
			l := b.look(q, names)
			j := judged{question: w.Question, cs: b.candidates(l, names), b: b, l: l}
			for _, c := range j.cs {
				right := false
				for _, e := range w.Expected {
					if o, step, _, ok := b.locate(e); ok && o == c.option && b.fits(step, &b.options[o], c.names) {
						right = true
					}
				}
				j.right = append(j.right, right)
			}
			out = append(out, j)
		}
	}
	return out
}

// TestWeights learns the weights anew with -update. Without it, what was learnt must be
// as it can come of that: a figure for each feature, and a word that is missing speaks
// against a path.
func TestWeights(t *testing.T) {
	if !*update {
		for f, w := range weights {
			if w == 0 || math.IsNaN(w) || math.Abs(w) > 100 {
				t.Errorf("the weight of feature %d is %v: learn them with -update", f, w)
			}
		}
		if weights[lacking] >= 0 || weights[byText] <= 0 {
			t.Errorf("lacking words weigh %v, the text %v", weights[lacking], weights[byText])
		}
		return
	}
	known, err := ReadWordings(wordingsText)
	if err != nil {
		t.Fatal(err)
	}
	// asks/nodes.txt was written by somebody who knew these questions, so that the weights
	// are learnt without it.
	// Of the others every sixteenth is asked, too: they ask for every path.
	var more []Wording
	for i, w := range FreshAsks() {
		if i%16 == 0 {
			known = append(known, w)
		} else {
			more = append(more, w)
		}
	}
	js := folds(t, known, more, 10)
	w := weights
	for range 400 {
		var g [features]float64
		for _, j := range js {
			p, hit := soft(j, w)
			if hit == 0 {
				continue
			}
			for i, c := range j.cs {
				d := -p[i]
				if j.right[i] {
					d += p[i] / hit
				}
				for k, x := range c.features {
					g[k] += d * x
				}
			}
		}
		for k := range w {
			w[k] += 4 * (g[k]/float64(len(js)) - 0.0005*w[k])
		}
	}
	report(t, js, w)
	var out strings.Builder
	for _, x := range w {
		fmt.Fprintf(&out, "%.3f, ", x)
	}
	t.Log(out.String())
	src, err := os.ReadFile("weights.go")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(src), "var weights")
	body := "var weights = [features]float64{\n"
	for k, name := range []string{"byModel", "byWording", "byNode", "byText", "byNodeText", "byName", "byGuess", "lacking", "inClause", "unused", "byInstance", "byValue", "neighbours", "byNumber", "isTold", "byTold", "builtin"} {
		body += fmt.Sprintf("\t%-12s%.3f,\n", name+":", w[k])
	}
	if err := os.WriteFile("weights.go", []byte(head+body+"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func soft(j judged, w [features]float64) ([]float64, float64) {
	p := make([]float64, len(j.cs))
	top := math.Inf(-1)
	for i, c := range j.cs {
		for k, x := range c.features {
			p[i] += w[k] * x
		}
		top = max(top, p[i])
	}
	var total, hit float64
	for i := range p {
		p[i] = math.Exp(p[i] - top)
		total += p[i]
	}
	for i := range p {
		p[i] /= total
		if j.right[i] {
			hit += p[i]
		}
	}
	return p, hit
}

func report(t *testing.T, js []judged, w [features]float64) {
	was := weights
	weights = w
	defer func() { weights = was }()
	var first, third, absent int
	var missed []string
	for _, j := range js {
		p, _ := soft(j, w)
		rank, best := 1, -1.0
		any := false
		for i := range p {
			if j.right[i] {
				any = true
				best = max(best, p[i])
			}
		}
		for i := range p {
			if p[i] > best {
				rank++
			}
		}
		if !any {
			absent++
			missed = append(missed, "ABSENT "+j.question)
			continue
		}
		if rank == 1 {
			first++
		}
		if rank <= 3 {
			third++
		} else {
			top := 0
			for i := range p {
				if p[i] > p[top] {
					top = i
				}
			}
			o := &j.b.options[j.cs[top].option]
			ro := ""
			for i := range p {
				if j.right[i] {
					x := &j.b.options[j.cs[i].option]
					ro += " " + x.pattern() + "." + fmt.Sprint(x.aspect)
				}
			}
			missed = append(missed, fmt.Sprintf("%d %s => %s.%d want%s", rank, j.question, o.pattern(), o.aspect, ro))
		}
	}
	n := float64(len(js))
	t.Logf("first %.1f third %.1f absent %d of %d", 100*float64(first)/n, 100*float64(third)/n, absent, len(js))
	if *verbose {
		t.Log("\n" + strings.Join(missed, "\n"))
	}
}

var verbose = flag.Bool("missed", false, "list what was missed")
