// Package matchtest has a tree with every path of the language, and live names, so that
// matching can be tested and measured without a running system. Its nodes show nothing.
package matchtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// Tree is the tree of every path. It panics if its own text is no tree, which a test
// keeps from happening.
func Tree() *tree.Tree {
	var contexts []*tree.Node
	at := map[string]*tree.Node{}
	for line := range strings.Lines(strings.TrimSpace(spec)) {
		path, aspects, _ := strings.Cut(strings.TrimSpace(line), ": ")
		above, name := "", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			above, name = path[:i], path[i+1:]
		}
		n := &tree.Node{
			Name: strings.Trim(name, "{}!~"), Line: "the " + strings.ReplaceAll(path, ".", " "),
			Doc: "A place of the tree that has every path and shows nothing.", Synonyms: []string{name},
		}
		for a := range strings.SplitSeq(aspects, ", ") {
			n.Affords = append(n.Affords, affordance(path, a))
		}
		switch {
		case above == "":
			contexts = append(contexts, n)
		case name[0] == '{':
			at[above].Live = &tree.Live{
				Node: n, Open: strings.Contains(name, "!"), Fold: strings.Contains(name, "~"),
				List: func(context.Context, *tree.Call) ([]tree.Entry, error) { return nil, nil },
			}
		default:
			at[above].Children = append(at[above].Children, n)
		}
		at[path] = n
	}
	t, err := tree.New(contexts...)
	if err != nil {
		panic(err)
	}
	return t
}

func affordance(path, text string) tree.Affordance {
	words := strings.Fields(text)
	sample := strings.NewReplacer("{", "", "}", "", "!", "", "~", "").Replace(path)
	a := tree.Affordance{
		Aspect: agentese.Aspect(words[0]), Line: "what it shows or does",
		Examples: []tree.Example{{Expr: sample + "." + words[0], Line: "an example"}},
	}
	for _, w := range words[1:] {
		a.Params = append(a.Params, param(w))
	}
	if a.Aspect == agentese.Refine {
		a.Needs = tree.Architect
		a.Change = func(context.Context, *tree.Call) (*tree.Change, error) { return &tree.Change{Nothing: true}, nil }
	} else {
		a.See = func(context.Context, *tree.Call) (tree.Value, error) { return tree.Value{}, nil }
	}
	return a
}

func param(text string) tree.Param {
	key, is, _ := strings.Cut(text, "=")
	p := tree.Param{Key: key, Line: "the " + key}
	switch {
	case is == "<path>":
		p.Paths = true
	case is[0] == '<':
		p.Kind = strings.Trim(is, "<>")
	case is[0] == '@':
		p.Of = is[1:]
	default:
		p.Values = strings.Split(is, "|")
	}
	return p
}

// Snapshot has the live names of a small system, and so many more customers, the same
// at every call: companies of two words, and every fifth a numbered id.
func Snapshot(customers int) *tree.Snapshot {
	s := &tree.Snapshot{Names: map[string][]tree.Entry{}, At: time.Unix(1_800_000_000, 0), Generation: 1}
	set := func(path, names string) {
		for _, n := range strings.Fields(names) {
			s.Names[path] = append(s.Names[path], tree.Entry{Name: n, Line: "one of " + path})
		}
	}
	set("world.customers", "acme globex initech hooli umbrella "+strings.Join(companies(customers), " "))
	set("world.plans", "free starter team business enterprise")
	set("world.town", "springfield riverdale")
	set("world.town.springfield.citizens", "Alice Bruno Clara")
	set("world.town.riverdale.citizens", "Dora Emil Frida")
	set("world.deadletter", "41 42 107 1093")
	set("world.kubernetes.deployments", "kgents-api kgents-sink nats redis openmeter prometheus alertmanager grafana")
	set("world.alerts", alerts)
	set("concept.alerts", alerts)
	set("concept.metrics", metrics)
	set("concept.runbook", sections)
	set("concept.checklist", items)
	set("world.stripe.events", "evt_1 evt_2 evt_1Pq8Zx2eZvKYlo2C evt_1Pq9Aa2eZvKYlo2D")
	set("time.trace", "evt_1 evt_2 01JD5Y8Q3T4N")
	return s
}

const (
	firsts = `amber arctic aspen atlas beacon birch blue bold bright bronze cedar cobalt copper coral crimson crystal delta dusk
eagle ember emerald falcon fern forest frost garnet gilded glacier golden granite harbor hazel hollow indigo iron ivory jade
juniper keen lantern lime lunar maple marble meadow midnight mint misty mossy noble north oak ocean olive onyx opal orchid
pearl pine prairie quartz quiet rapid raven river ruby rustic sable sage scarlet shadow silver solar spruce steel stone storm
summit sunny swift tidal timber topaz umber velvet violet vivid walnut western willow winter zephyr`
	seconds = `analytics apparel assembly bakery bank bicycles biotech books brewery builders cargo catering ceramics chemicals clinic
cloud coffee college compute consulting courier dairy data dental design dynamics electric energy engines express fabrics farms
finance fitness foods foundry freight furniture games gardens glassworks grocers hardware health hosting hotels imaging insurance
journal kitchens labs leather lighting logistics machines marine media metals mobile motors museum networks optics orchards paints
paper partners pharma photos pictures plastics press printing realty records recycling repairs research robotics roofing safety
security seeds shipping software studios supply systems tailors textiles tools tours toys trading travel utilities ventures vision
warehouse watches weavers wines workshop`
)

// companies are n different names, in no order.
func companies(n int) []string {
	r := rand.New(rand.NewPCG(7, 11))
	a, b := strings.Fields(firsts), strings.Fields(seconds)
	joins := []string{"-", "", "_"}
	seen := map[string]bool{}
	var out []string
	for len(out) < n {
		name := a[r.IntN(len(a))] + joins[r.IntN(len(joins))] + b[r.IntN(len(b))]
		if r.IntN(5) == 0 {
			name = fmt.Sprintf("cus_%d", 1001+r.IntN(9000))
		}
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
