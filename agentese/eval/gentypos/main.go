// Command gentypos writes the corpus of mistyped paths: what was typed, what was meant
// and the class of the mistake, in typos-tuning.tsv and typos-heldout.tsv. It makes
// mistakes as hands make them, the same at every run, of every path of the tree, and
// adds those of hand.tsv, which people wrote. A case stands in one of the files by a
// hash of what was typed; only the first is looked at when the costs are tuned.
//
// Left out is what nobody could correct: digits and ids, and what is as near to
// another name of the same place as to the one that was meant.
//
//	go run ./agentese/eval/gentypos agentese/eval/testdata
//
// To tune on more than the corpus has, make other mistakes with -seed and -times.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/eval"
	"github.com/kgents/kgents/agentese/match/matchtest"
	"github.com/kgents/kgents/agentese/tree"
)

//go:embed hand.tsv
var hand string

// names are the live names that mistakes are made of.
var names = map[string][]string{
	"customer": {"acme", "globex", "initech", "hooli", "umbrella"},
	"town":     {"springfield", "riverdale"},
	"plan":     {"starter", "team", "business", "enterprise"},
	"workload": {"kgents-api", "kgents-sink", "openmeter", "prometheus"},
	"alert":    {"NATSCircuitOpen", "DeadLettersGrowing", "HighWebhookLatency", "ReconcileStale", "SpoolDamaged", "BackupMissing"},
	"seq":      {"41", "107"},
	"event":    {"evt_1Pq8Zx2eZvKYlo2C"},
	"section":  {"deploy", "restore", "reconcile", "drain-a-node"},
	"item":     {"secrets-rotated", "alerts-routed"},
	"metric":   {"kgents_backlog_messages", "kgents_deadletters_waiting"},
}

var citizens = map[string][]string{"springfield": {"Alice", "Bruno", "Clara"}, "riverdale": {"Dora", "Emil"}}

// expr is an expression in its parts, and what else could stand in each.
type expr struct {
	parts []part // names, then the aspect, then key, value, key, value
	names int    // how many are names
	node  *tree.Node
}

type part struct {
	text   string
	others []string // what else may stand there
	fixed  bool
}

func (e expr) texts() []string {
	out := make([]string, len(e.parts))
	for i, p := range e.parts {
		out[i] = p.text
	}
	return out
}

// write is the expression with these texts, names joined by sep.
func (e expr) write(texts []string, sep string) string {
	n := e.names + 1
	var b strings.Builder
	for i, t := range texts[:n] {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(t)
	}
	for i := n; i+1 < len(texts); i += 2 {
		fmt.Fprintf(&b, "[%s=%s]", texts[i], texts[i+1])
	}
	return b.String()
}

func (e expr) String() string { return e.write(e.texts(), ".") }

func main() {
	log.SetFlags(0)
	seed := flag.Uint64("seed", 3, "other mistakes; the corpus is of the default")
	times := flag.Int("times", 1, "so many times as many mistakes")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("use: gentypos [-seed N] [-times N] DIRECTORY")
	}
	g := &generator{r: rand.New(rand.NewPCG(2026, *seed)), times: *times, seen: map[string]bool{}, live: matchtest.Snapshot(10_000), tree: matchtest.Tree()}
	g.exprs = g.all()
	g.edits()
	g.shapes()
	for line := range strings.Lines(hand) {
		typed, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		g.keep(typed, rest, "hand")
	}
	parts := [2][]eval.Typo{}
	for _, c := range g.out {
		h := fnv.New32a()
		h.Write([]byte(c.Typed))
		parts[h.Sum32()>>3&1] = append(parts[h.Sum32()>>3&1], c)
	}
	for i, name := range []string{"typos-tuning.tsv", "typos-heldout.tsv"} {
		var b strings.Builder
		for _, c := range parts[i] {
			fmt.Fprintf(&b, "%s\t%s\t%s\n", c.Typed, c.Expected, c.Class)
		}
		if err := os.WriteFile(filepath.Join(flag.Arg(0), name), []byte(b.String()), 0o644); err != nil {
			log.Fatal(err)
		}
		log.Printf("%s: %d", name, len(parts[i]))
	}
}

type generator struct {
	r     *rand.Rand
	times int
	tree  *tree.Tree
	live  *tree.Snapshot
	exprs []expr
	seen  map[string]bool
	out   []eval.Typo
}

func (g *generator) keep(typed, expected, class string) bool {
	if typed == expected || g.seen[typed] {
		return false
	}
	g.seen[typed] = true
	g.out = append(g.out, eval.Typo{Typed: typed, Expected: expected, Class: class})
	return true
}

func pick[T any](g *generator, from []T) T { return from[g.r.IntN(len(from))] }

// all are expressions of every node and aspect, with live names, and some with clauses.
func (g *generator) all() (out []expr) {
	for _, p := range g.tree.Places() {
		for _, a := range p.Node.Affords {
			for range 1 + strings.Count(p.Pattern, "{")*2 {
				e := g.path(p)
				e.parts = append(e.parts, part{string(a.Aspect), aspectsOf(p.Node), true})
				out = append(out, e)
				for _, q := range a.Params {
					for _, v := range g.valuesOf(q) {
						c := e
						c.parts = append(slices.Clone(e.parts), part{q.Key, keysOf(&a), true}, v)
						out = append(out, c)
					}
				}
			}
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(e expr) bool {
		was := seen[e.String()]
		seen[e.String()] = true
		return was
	})
}

func (g *generator) path(p tree.Place) expr {
	e := expr{node: p.Node}
	chain := append(slices.Clone(p.Above), p.Node)
	at, town := "", ""
	for i, s := range strings.Split(p.Pattern, ".") {
		x := part{text: s, fixed: true}
		if i == 0 {
			x.others = agentese.Contexts()
		} else {
			for _, c := range chain[i-1].Children {
				x.others = append(x.others, c.Name)
			}
			for _, l := range g.live.Names[at] {
				x.others = append(x.others, l.Name)
			}
		}
		if what := strings.Trim(s, "{}"); what != s {
			from := names[what]
			if what == "citizen" {
				from = citizens[town]
			}
			x.text, x.fixed = pick(g, from), false
			if what == "town" {
				town = x.text
			}
		}
		at = strings.TrimPrefix(at+"."+x.text, ".")
		e.parts = append(e.parts, x)
	}
	e.names = len(e.parts)
	return e
}

func aspectsOf(n *tree.Node) (out []string) {
	for _, a := range n.Aspects() {
		out = append(out, string(a))
	}
	return out
}

func keysOf(a *tree.Affordance) (out []string) {
	for _, p := range tree.ParamsOf(a) {
		out = append(out, p.Key)
	}
	return out
}

func (g *generator) valuesOf(p tree.Param) (out []part) {
	switch {
	case len(p.Values) > 0:
		v := pick(g, p.Values)
		out = append(out, part{v, p.Values, true})
	case p.Of != "":
		var others []string
		for _, l := range g.live.Names[p.Of] {
			others = append(others, l.Name)
		}
		out = append(out, part{pick(g, names[strings.TrimSuffix(p.Of[len("world."):], "s")]), others, false})
	case p.Kind == tree.Duration || p.Kind == tree.Time:
		out = append(out, part{"6h", nil, false})
	case p.Kind == tree.Number:
		out = append(out, part{"10", nil, false})
	case p.Kind == tree.Percent:
		out = append(out, part{"80", nil, false})
	}
	return out
}
