package repl

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

const doc = "A paragraph that is long enough for the tree to take it as one."

func see(expr, line string, f func(ctx context.Context, c *tree.Call) (tree.Value, error)) tree.Affordance {
	return tree.Affordance{Aspect: agentese.Manifest, Line: line, Examples: []tree.Example{{Expr: expr, Line: "look"}}, See: f}
}

func value(title string) func(context.Context, *tree.Call) (tree.Value, error) {
	return func(context.Context, *tree.Call) (tree.Value, error) {
		v := tree.Value{Title: title, State: tree.Well}
		v.Add("messages", int64(7), "")
		return v, nil
	}
}

func node(name, line string, affords []tree.Affordance, children ...*tree.Node) *tree.Node {
	return &tree.Node{Name: name, Line: line, Doc: doc, Synonyms: []string{name}, Affords: affords, Children: children}
}

// system is a small tree with something of each kind, and what was done to it.
type system struct {
	customers []string
	dropped   []string
}

func (y *system) tree(t testing.TB) *tree.Tree {
	t.Helper()
	customers := node("customers", "all customers", []tree.Affordance{see("world.customers.manifest", "all of them", value("Customers"))})
	customers.Live = &tree.Live{
		List: func(context.Context, *tree.Call) ([]tree.Entry, error) {
			var out []tree.Entry
			for _, n := range y.customers {
				out = append(out, tree.Entry{Name: n, Line: "a customer"})
			}
			return out, nil
		},
		Node: node("customer", "one customer", []tree.Affordance{see("world.customers.acme.manifest", "plan and status", func(_ context.Context, c *tree.Call) (tree.Value, error) {
			if name := c.Name("customer"); !slices.Contains(y.customers, name) {
				return tree.Value{}, &agentese.Error{Kind: agentese.KindNotFound, What: "there is no customer " + name}
			}
			return tree.Value{Title: "Customer " + c.Name("customer")}, nil
		})}, node("usage", "what it has used", []tree.Affordance{see("world.customers.acme.usage.manifest", "usage", value("Usage"))})),
	}
	letters := node("deadletter", "dead letters", []tree.Affordance{
		{
			Aspect: agentese.Manifest, Line: "what waits", Examples: []tree.Example{{Expr: "world.deadletter.manifest", Line: "look"}},
			Params: []tree.Param{{Key: "customer", Line: "only this one's", Of: "world.customers"}},
			See: func(_ context.Context, c *tree.Call) (tree.Value, error) {
				v := tree.Value{Title: "Dead letters", Table: &tree.Table{Columns: []tree.Column{{Name: "customer"}}}}
				for _, name := range y.customers {
					if !c.Args.Has("customer") || c.Args.Get("customer") == name {
						v.Table.Rows = append(v.Table.Rows, []any{name})
					}
				}
				return v, nil
			},
		},
		{
			Aspect: agentese.Refine, Line: "replay or drop them", Needs: tree.Architect,
			Examples: []tree.Example{{Expr: "world.deadletter.refine[do=replay]", Line: "replay"}},
			Params:   []tree.Param{{Key: "do", Line: "what to do", Values: []string{"replay", "drop"}, Required: true}},
			Change: func(_ context.Context, c *tree.Call) (*tree.Change, error) {
				do := c.Args.Get("do")
				plan := &tree.Change{Does: []string{do + " 2 dead letters"}, Affects: 2, Final: "they are gone then", Do: func(context.Context) (tree.Value, error) {
					y.dropped = append(y.dropped, do)
					return tree.Value{Title: "Done: " + do}, nil
				}}
				if do == "replay" {
					plan.Undo = func(context.Context) error { return nil }
				}
				return plan, nil
			},
		},
	})
	identity := see("concept.identity.manifest", "what is piped in", func(_ context.Context, c *tree.Call) (tree.Value, error) {
		if c.Input != nil {
			return *c.Input, nil
		}
		return tree.Value{}, nil
	})
	identity.Takes = "anything"
	all, err := tree.New(
		node("world", "things out there", []tree.Affordance{see("world.manifest", "every part", value("The system"))},
			node("nats", "where events wait", []tree.Affordance{see("world.nats.manifest", "servers and streams", value("NATS"))},
				node("circuit", "the circuit breaker", []tree.Affordance{see("world.nats.circuit.manifest", "closed or open", value("Circuit"))})),
			node("redis", "where identities are kept", []tree.Affordance{see("world.redis.manifest", "redis", value("Redis"))}),
			node("slow", "what never answers", []tree.Affordance{see("world.slow.manifest", "waits", func(ctx context.Context, _ *tree.Call) (tree.Value, error) {
				<-ctx.Done()
				return tree.Value{}, ctx.Err()
			})}),
			node("hostile", "what others have written", []tree.Affordance{see("world.hostile.manifest", "escapes", value("a\x1b[2Jb\u202ec"))}),
			node("gone", "what is away", []tree.Affordance{see("world.gone.manifest", "nothing", func(context.Context, *tree.Call) (tree.Value, error) {
				return tree.Value{}, living.Away("the meter", fmt.Errorf("connection refused"))
			})}),
			customers, letters),
		node("self", "this session", []tree.Affordance{see("self.manifest", "who am I", value("Self"))},
			node("status", "is it well", []tree.Affordance{see("self.status.manifest", "status", value("Status"))})),
		node("concept", "what is defined", []tree.Affordance{see("concept.manifest", "all", value("Concepts"))},
			node("identity", "gives back what comes in", []tree.Affordance{identity})),
	)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// canned corrects and finds what a test has told it.
type canned struct {
	corrections map[string]match.Correction
	found       map[string][]search.Suggestion
	completions []match.Completion
	learnt      []string
}

func (c *canned) Update(*tree.Snapshot) {}
func (c *canned) Warm()                 {}
func (c *canned) Correct(input string, _ []string, _ tree.Observer) match.Correction {
	return c.corrections[input]
}
func (c *canned) Complete(line string, cursor int, _ []string, _ tree.Observer) []match.Completion {
	var out []match.Completion
	for _, x := range c.completions {
		x.To = cursor
		if strings.HasPrefix(x.Text, line[:cursor]) {
			out = append(out, x)
		}
	}
	return out
}
func (c *canned) Learn(question, expr string) { c.learnt = append(c.learnt, question+" = "+expr) }
func (c *canned) Recall([]search.Use)         {}
func (c *canned) Ask(ctx context.Context, q search.Query, _ search.Reranker, _ *tree.Budget) ([]search.Suggestion, bool, error) {
	return c.Find(ctx, q), false, nil
}
func (c *canned) Find(_ context.Context, q search.Query) []search.Suggestion {
	return slices.Clone(c.found[q.Text])
}

// rig is a shell over a small tree, with what it has written.
type rig struct {
	*Shell
	out, errs bytes.Buffer
	system    system
	canned    canned
	answers   []string // to questions, in order; then Ctrl-C
	asked     []string
}

func newRig(t testing.TB, change func(*Options)) *rig {
	t.Helper()
	r := &rig{system: system{customers: []string{"acme", "globex"}}}
	o := Options{Sources: &living.Sources{}, Tree: r.system.tree(t), Out: &r.out, Err: &r.errs, State: t.TempDir()}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.match, s.search = &r.canned, &r.canned
	r.Shell = s
	return r
}

// attended has somebody answer questions.
func (r *rig) attended(answers ...string) *rig {
	r.answers = answers
	r.ask = func(_ context.Context, question string) (string, error) {
		r.asked = append(r.asked, question)
		if len(r.answers) == 0 {
			return "", context.Canceled
		}
		a := r.answers[0]
		r.answers = r.answers[1:]
		return a, nil
	}
	r.session.Confirm = r.confirm
	return r
}
