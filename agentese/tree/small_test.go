package tree

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese"
)

var nan = math.NaN()

// noon is when most tests are.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const paragraph = "A paragraph that says what this is, where its figures come from and what to do when they are bad."

// place is a documented node of a test's tree.
func place(name string, affords ...Affordance) *Node {
	for i := range affords {
		a := &affords[i]
		if a.Line == "" {
			a.Line = "does " + string(a.Aspect)
		}
		if a.Examples == nil {
			a.Examples = []Example{{Expr: "world.manifest", Line: "all of it"}}
		}
	}
	return &Node{Name: name, Line: "the " + name, Doc: paragraph, Synonyms: []string{name}, Affords: affords}
}

func see(v Value) func(context.Context, *Call) (Value, error) {
	return func(context.Context, *Call) (Value, error) { return v, nil }
}

// plant is what the test's tree changes and where it counts what is asked of it.
type plant struct {
	replicas int64
	asked    map[string]int
	change   *Change // what world.plant.refine plans, if there is one
}

// small is a tree with one of everything.
func small(t testing.TB) (*Tree, *plant) {
	t.Helper()
	p := &plant{replicas: 1, asked: map[string]int{}}
	counted := func(what string, see func(context.Context, *Call) (Value, error)) func(context.Context, *Call) (Value, error) {
		return func(ctx context.Context, c *Call) (Value, error) {
			p.asked[what]++
			return see(ctx, c)
		}
	}
	table := func() *Table {
		return &Table{
			Columns: []Column{{Name: "name"}, {Name: "plan"}, {Name: "used", Unit: "percent"}, {Name: "since"}, {Name: "idle"}, {Name: "paid"}},
			Rows: [][]any{
				{"acme", "free", int64(120), noon.Add(-time.Hour), 90 * time.Second, true},
				{"Globex", "pro", 7.5, noon.Add(-48 * time.Hour), time.Hour, false},
				{"initech", "free", nil, time.Time{}, nil, nil},
				{"umbrella", "scale", int64(80), noon.Add(-24 * time.Hour), time.Minute, true},
			},
		}
	}
	citizen := place("citizen", Affordance{Aspect: agentese.Manifest, See: func(_ context.Context, c *Call) (Value, error) {
		return Value{Title: c.Name("town") + "/" + c.Name("citizen")}, nil
	}})
	citizens := place("citizens", Affordance{Aspect: agentese.Manifest, See: see(Value{Title: "citizens"})})
	citizens.Live = &Live{Node: citizen, List: func(_ context.Context, c *Call) ([]Entry, error) {
		return []Entry{{Name: "ada of " + c.Name("town")}}, nil
	}}
	town := place("town", Affordance{Aspect: agentese.Manifest, See: func(_ context.Context, c *Call) (Value, error) {
		return Value{Title: c.Path}, nil
	}})
	town.Children = []*Node{citizens}
	towns := place("town", Affordance{Aspect: agentese.Manifest, See: see(Value{Title: "towns"})})
	towns.Live = &Live{Node: town, List: func(context.Context, *Call) ([]Entry, error) { return []Entry{{"springfield", "12 citizens"}}, nil }}

	customers := place("customers", Affordance{
		Aspect: agentese.Manifest, See: counted("customers", func(context.Context, *Call) (Value, error) {
			return Value{Title: "customers", Table: table(), Notes: []string{"looked far"}, Next: []Example{{"world.manifest", "all"}}}, nil
		}),
	})
	counter := place("counter",
		Affordance{Aspect: agentese.Manifest, Takes: "a table: it counts its rows", See: func(_ context.Context, c *Call) (Value, error) {
			v := Value{Title: "rows"}
			if c.Input != nil && c.Input.Table != nil {
				v.Add("rows", int64(len(c.Input.Table.Rows)), "")
			} else {
				v.Add("rows", nil, "")
			}
			return v, nil
		}},
		Affordance{Aspect: agentese.Lens, Takes: "anything: it says what that was", See: func(_ context.Context, c *Call) (Value, error) {
			if c.Input == nil {
				return Value{Text: "nothing"}, nil
			}
			return Value{Text: "(" + c.Input.Title + c.Input.Text + fmt.Sprint(len(c.Input.Fields)) + ")"}, nil
		}},
		Affordance{Aspect: agentese.Witness, Takes: "anything", See: func(context.Context, *Call) (Value, error) { // moves
			p.asked["moving"]++
			return *new(Value).Add("looks", int64(p.asked["moving"]), ""), nil
		}},
		Affordance{Aspect: agentese.Define, Takes: "anything", See: func(context.Context, *Call) (Value, error) { // another one each time
			p.asked["breaking"]++
			return *new(Value).Add(fmt.Sprint("look ", p.asked["breaking"]), int64(1), ""), nil
		}},
	)
	thing := place("plant",
		Affordance{Aspect: agentese.Manifest, See: func(context.Context, *Call) (Value, error) {
			return *(&Value{Title: "plant"}).Add("replicas", p.replicas, ""), nil
		}},
		Affordance{
			Aspect: agentese.Refine, Takes: "a table: it plans for its rows",
			Params: []Param{{Key: "replicas", Line: "how many", Kind: Number, Max: 10, Default: "2"}},
			Change: func(_ context.Context, c *Call) (*Change, error) {
				p.asked["plan"]++
				if p.change != nil {
					return p.change, nil
				}
				before, want := p.replicas, int64(c.Args.Int("replicas"))
				if before == want {
					return &Change{Nothing: true, Does: []string{"it has that many"}}, nil
				}
				does := fmt.Sprintf("scale from %d to %d", before, want)
				if c.Input != nil && c.Input.Table != nil {
					does += fmt.Sprintf(" for %d rows", len(c.Input.Table.Rows))
				}
				return &Change{
					Does: []string{does}, Affects: 1,
					Do:   func(context.Context) (Value, error) { p.replicas = want; return Value{Title: "scaled"}, nil },
					Undo: func(context.Context) error { p.replicas = before; return nil },
				}, nil
			},
		},
	)
	broken := place("broken",
		Affordance{Aspect: agentese.Manifest, See: func(context.Context, *Call) (Value, error) { return Value{}, errors.New("it is broken") }},
		Affordance{Aspect: agentese.Witness, See: func(ctx context.Context, _ *Call) (Value, error) {
			<-ctx.Done()
			return Value{}, &agentese.Error{Kind: agentese.KindAway, What: "it is away", Cause: ctx.Err()}
		}},
		Affordance{Aspect: agentese.Lens, See: func(context.Context, *Call) (Value, error) {
			return Value{}, &agentese.Error{Kind: agentese.KindAway, What: "it is away"}
		}},
	)
	guarded := place("guarded")
	for _, a := range agentese.Aspects() {
		own := Affordance{Aspect: a, Line: "x", Examples: []Example{{"world.manifest", "x"}}, See: see(Value{Title: string(a)})}
		guarded.Affords = append(guarded.Affords, own)
	}
	secret := place("secret", Affordance{Aspect: agentese.Manifest, Needs: Developer, See: see(Value{Title: "payload"})})
	args := place("args", Affordance{
		Aspect: agentese.Manifest,
		Params: []Param{
			{Key: "word", Line: "a word"}, {Key: "text", Line: "a text", Kind: Text}, {Key: "number", Line: "n", Kind: Number, Min: 2, Max: 50},
			{Key: "any", Line: "n", Kind: Number}, {Key: "percent", Line: "p", Kind: Percent}, {Key: "for", Line: "d", Kind: Duration, Longest: 2 * time.Hour, Default: "1h"},
			{Key: "since", Line: "t", Kind: Time}, {Key: "flag", Line: "f", Kind: Flag}, {Key: "do", Line: "v", Values: []string{"Replay", "drop"}},
			{Key: "phase", Line: "a phase", Values: []string{"PLAN", "QA"}},
		},
		See: func(_ context.Context, c *Call) (Value, error) { return Value{Title: fmt.Sprint(c.Args.Map())}, nil },
	}, Affordance{
		Aspect: agentese.Lens, Params: []Param{{Key: "by", Line: "what by", Required: true, Values: []string{"reason", "type"}}}, See: see(Value{Title: "lens"}),
	})
	world := place("world", Affordance{Aspect: agentese.Manifest, See: see(Value{Title: "world", State: Well})})
	world.Children = []*Node{towns, customers, counter, thing, broken, guarded, secret, args}

	identity := place("identity", Affordance{Aspect: agentese.Manifest, Takes: "anything", See: func(_ context.Context, c *Call) (Value, error) {
		if c.Input == nil {
			return Value{}, nil
		}
		return *c.Input, nil
	}})
	concept := place("concept")
	concept.Children = []*Node{identity}

	entropy := place("entropy", Affordance{Aspect: agentese.Sip, See: func(_ context.Context, c *Call) (Value, error) {
		v := Value{Title: "drawn"}
		for range 3 { // more than it may, if it may little
			v.Add("drawn", c.Draw(0.004), "")
		}
		return v, nil
	}}, Affordance{Aspect: agentese.Tithe, See: func(_ context.Context, c *Call) (Value, error) {
		return *new(Value).Add("given", c.Session.Budget.Tithe(), ""), nil
	}})
	void := place("void")
	void.Children = []*Node{entropy}

	tree, err := New(world, concept, void)
	if err != nil {
		t.Fatal(err)
	}
	return tree, p
}

// admin is a session that may do everything, at noon.
func admin() *Session {
	return &Session{Observer: Admin, Budget: NewBudget(), Clock: func() time.Time { return noon }}
}

func parse(t testing.TB, text string) agentese.Expression {
	t.Helper()
	e, err := agentese.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// language is err, which must be one of the language's.
func language(t testing.TB, err error) *agentese.Error {
	t.Helper()
	e, ok := err.(*agentese.Error)
	if !ok {
		t.Fatalf("the error is %T: %v", err, err)
	}
	return e
}

// under is the part of the input that the mistake is in.
func under(input string, e *agentese.Error) string {
	if e.End > len(input) || e.Pos > e.End {
		return "(outside)"
	}
	if e.End == e.Pos && e.End > 0 {
		return "before " + strings.TrimSpace(input[e.Pos:])
	}
	return input[e.Pos:e.End]
}

func (p *plant) nothing(context.Context, *Call) (*Change, error) { return &Change{Nothing: true}, nil }
