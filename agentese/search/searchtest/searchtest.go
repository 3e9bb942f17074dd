// Package searchtest has the tree and the live names over which finding by words is
// tested and measured: the real tree, and a busy system's names.
package searchtest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
	"github.com/kgents/kgents/api/client"
)

//go:embed paths.txt
var pathsText string

// Tree is the tree that the program has; a context that isn't there
// yet is one of names and lines.
func Tree(t testing.TB) *tree.Tree {
	real, err := whole.Tree(&living.Sources{API: &client.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	contexts := real.Contexts
	for _, c := range pathTree(t).Contexts {
		if _, there := real.At(c.Name); !there {
			contexts = append(contexts, c)
		}
	}
	mixed, err := tree.New(contexts...)
	if err != nil {
		t.Fatal(err)
	}
	return mixed
}

// pathTree is a tree of names and lines only, without what its nodes' authors write.
func pathTree(t testing.TB) *tree.Tree {
	raw := pathsText
	var contexts []*tree.Node
	for _, name := range agentese.Contexts() {
		contexts = append(contexts, newNode(name))
	}
	for line := range strings.Lines(raw) {
		path, text, _ := strings.Cut(strings.TrimSpace(line), "\t")
		path, params, _ := strings.Cut(path, "[")
		parts := strings.Split(path, ".")
		if slices.ContainsFunc(parts[:len(parts)-1], func(p string) bool { return agentese.Aspect(p).Known() }) {
			continue // time.witness
		}
		i := slices.IndexFunc(contexts, func(n *tree.Node) bool { return n.Name == parts[0] })
		n := contexts[i]
		example := parts[0]
		for _, p := range parts[1 : len(parts)-1] {
			if kind, ok := strings.CutPrefix(p, "{"); ok {
				kind = strings.TrimSuffix(kind, "}")
				if n.Live == nil {
					n.Live = &tree.Live{Node: newNode(kind), Open: kind == "event", List: func(context.Context, *tree.Call) ([]tree.Entry, error) { return nil, nil }}
				}
				n = n.Live.Node
				example += ".some"
				continue
			}
			example += "." + p
			j := slices.IndexFunc(n.Children, func(c *tree.Node) bool { return c.Name == p })
			if j < 0 {
				n.Children = append(n.Children, newNode(p))
				j = len(n.Children) - 1
			}
			n = n.Children[j]
		}
		aspect := agentese.Aspect(parts[len(parts)-1])
		if aspect == agentese.Manifest || n.Line == "a node" {
			n.Line = strings.TrimSuffix(text, ".")
		}
		a := tree.Affordance{Aspect: aspect, Line: text, Examples: []tree.Example{{Expr: example + "." + string(aspect), Line: text}}}
		if aspect == agentese.Define || aspect == agentese.Affordances {
			continue
		}
		if aspect == agentese.Refine {
			a.Needs = tree.Architect
			a.Change = func(context.Context, *tree.Call) (*tree.Change, error) { return nil, nil }
		} else {
			a.See = func(context.Context, *tree.Call) (tree.Value, error) { return tree.Value{}, nil }
		}
		for _, m := range regexp.MustCompile(`(\w+)=([^\]]*)\]`).FindAllStringSubmatch(params, -1) {
			if m[1] == "phase" || m[1] == "first" {
				if m[1] == "phase" {
					continue
				}
			}
			p := tree.Param{Key: m[1], Line: m[1]}
			switch {
			case strings.Contains(m[2], "|"):
				p.Values = strings.Split(m[2], "|")
			case m[1] == "since" || m[1] == "silence":
				p.Kind = tree.Duration
			case m[1] == "from" || m[1] == "to" || m[1] == "at" || m[1] == "until":
				p.Kind = tree.Time
			case m[1] == "n" || m[1] == "steps" || m[1] == "seconds" || m[1] == "limit" || m[1] == "replicas":
				p.Kind = tree.Number
			case m[1] == "near":
				p.Kind = tree.Percent
			case m[1] == "open" || m[1] == "blocking":
				p.Kind = tree.Flag
			case m[1] == "customer":
				p.Of = "world.customers"
			case m[1] == "plan":
				p.Of = "world.plans"
			case m[1] == "of" && strings.HasPrefix(m[2], "world"):
				p.Paths = true
			}
			a.Params = append(a.Params, p)
		}
		n.Affords = append(n.Affords, a)
	}
	tr, err := tree.New(contexts...)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func newNode(name string) *tree.Node {
	return &tree.Node{Name: name, Line: "a node", Doc: strings.Repeat("a paragraph ", 5), Synonyms: []string{name}}
}

// Live is a snapshot as a busy system gives it: 10,000 customers more than those
// that are asked about.
func Live(t testing.TB) *tree.Snapshot {
	entries := func(names ...string) []tree.Entry {
		var out []tree.Entry
		for _, n := range names {
			out = append(out, tree.Entry{Name: n, Line: n})
		}
		return out
	}
	s := &tree.Snapshot{Names: map[string][]tree.Entry{
		"world.customers":                 entries("acme", "globex", "initech", "hooli", "umbrella"),
		"world.plans":                     entries("free", "starter", "pro", "teams", "enterprise"),
		"world.town":                      entries("springfield", "riverdale", "smallville"),
		"world.town.springfield.citizens": entries("Alice", "Bruno", "Clara"),
		"world.town.riverdale.citizens":   entries("Alice", "Bruno", "Clara"),
		"world.town.smallville.citizens":  entries("Alice", "Bruno", "Clara"),
		"world.deadletter":                entries("40", "41", "42", "43", "44", "45"),
		"world.kubernetes.pods":           entries("kgents-api-7d9f4c6b5-x2x9v", "kgents-sink-0", "kgents-sink-1", "nats-0", "nats-1", "nats-2", "redis-0"),
		"world.kubernetes.deployments":    entries("kgents-api", "kgents-sink", "nats", "redis", "openmeter"),
		"concept.alerts":                  entries(matches(t, "alerts/rules.yaml", `alert: (\w+)`)...),
		"world.alerts":                    entries(matches(t, "alerts/rules.yaml", `alert: (\w+)`)...),
		"concept.metrics":                 entries(matches(t, "docs/saas/metrics.md", "`(kgents_\\w+)`")...),
		"concept.runbook":                 entries(sections(t)...),
	}}
	for i := range 10_000 {
		s.Names["world.customers"] = append(s.Names["world.customers"], tree.Entry{Name: fmt.Sprintf("%s-%05d", []string{"north", "blue", "data", "agent", "cloud"}[i%5], i)})
	}
	return s
}

func matches(t testing.TB, file, pattern string) []string {
	root, err := os.Getwd()
	for ; err == nil && root != "/"; root = filepath.Dir(root) {
		if _, none := os.Stat(filepath.Join(root, "go.mod")); none == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(raw), -1) {
		if !slices.Contains(out, m[1]) {
			out = append(out, m[1])
		}
	}
	return out
}

func sections(t testing.TB) []string {
	var out []string
	for _, h := range matches(t, "docs/saas/runbook.md", `(?m)^##+ (.+)$`) {
		out = append(out, strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(h), "-"), "-"))
	}
	return out
}
