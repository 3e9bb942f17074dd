package concept

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/checklist"
)

func (v *view) checklistNode() *tree.Node {
	return &tree.Node{
		Name: "checklist",
		Line: "the production checklist: what must be true before customers pay, and after",
		Doc: "The items of checklist/items.yaml: what must be true, why, who owns it, whether it blocks the launch, and when it is due. A program looks at most of them, a person signs for the others; " +
			"this shows the list and what people have signed. What the program would find is not guessed here: kgents checklist looks, which takes some minutes and sends canaries.",
		Synonyms: []string{"production checklist", "launch checklist", "go live list", "readiness", "prerequisites", "pre-launch", "todo before launch", "sign-offs", "audit list", "production readiness review", "go/no-go", "open items"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "the items with owner, date and how they are looked at",
			Asks: []string{
				"are we ready for production", "what is left to do before launch", "show the production checklist", "what blocks the launch", "what does the founder have to do", "which items are open",
				"what has nobody signed yet", "go live checklist", "can we launch", "what is the security owner responsible for", "which checks are manual", "what must be true before customers pay", "readiness review", "what is due after the launch",
			},
			Examples: []tree.Example{
				{Expr: "concept.checklist.manifest", Line: "all items"},
				{Expr: "concept.checklist.manifest[blocking][open]", Line: "what blocks the launch and nobody has signed"},
				{Expr: "concept.checklist.manifest[category=billing]", Line: "one category"},
			},
			Params: []tree.Param{
				{Key: "category", Line: "only this category", Values: categories()},
				{Key: "owner", Line: "only what this role owns", Values: checklist.Owners()},
				{Key: "phase", Line: "only what is done in this phase of the rollout", Values: phaseNames()},
				{Key: "blocking", Line: "true: only what blocks the launch; false: only the rest", Kind: tree.Flag},
				{Key: "open", Line: "true: only what a person has to sign and hasn't; false: only what is signed", Kind: tree.Flag},
			},
			See: v.listItems,
		}},
		Live: &tree.Live{
			List: func(context.Context, *tree.Call) ([]tree.Entry, error) {
				l, err := list()
				if err != nil {
					return nil, err
				}
				var out []tree.Entry
				for _, i := range l.Items() {
					out = append(out, tree.Entry{Name: i.ID, Line: i.Title})
				}
				return out, nil
			},
			Text: func(name string) string {
				l, err := list()
				if err != nil {
					return ""
				}
				i, _ := l.Item(name)
				return i.Why + " " + strings.Join(i.Steps, " ")
			},
			Fold: true,
			Node: &tree.Node{
				Name: "item",
				Line: "one item of the checklist: why it must be true, who owns it, and how it is done",
				Doc: "What must be true, why, who owns it and by when. Of an item for a person: the steps, what to keep as evidence, and who has signed for it when. " +
					"Of one that the program looks at: the command that looks.",
				Synonyms: []string{"check", "requirement", "task", "todo", "point", "control", "condition", "entry", "sign-off"},
				Affords: []tree.Affordance{{
					Aspect: agentese.Manifest, Line: "why, who, when, the steps, and who has signed",
					Asks: []string{
						"what is this checklist item about", "why do we need on-call", "who owns this item", "what are the steps of this check", "has anybody signed for it", "what evidence is needed",
						"how do i do the backup drill item", "is this item blocking", "when is it due", "explain rotation policy", "who signed off the threat model", "what does the item ask of me",
					},
					Examples: []tree.Example{{Expr: "concept.checklist.on-call.manifest", Line: "one item"}},
					See:      v.oneItem,
				}},
			},
		},
	}
}

// list is the checklist that this program was built with.
var list = sync.OnceValues(checklist.Default)

// categories are the checklist's, for the values of a clause.
func categories() []string {
	l, err := list()
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range l.Categories {
		out = append(out, c.ID)
	}
	return out
}

func phaseNames() []string {
	var out []string
	for _, p := range checklist.Phases() {
		out = append(out, string(p))
	}
	return out
}

// items are the checklist's with what people have signed. Unread is why that could not
// be read: then every item for a person is unknown.
type items struct {
	checklist.List
	signs  checklist.SignOffs
	file   string
	unread error
	now    time.Time
}

func (v *view) items(now time.Time) (items, error) {
	l, err := list()
	if err != nil {
		return items{}, err
	}
	out := items{List: l, file: v.from.SignOffs, now: now}
	if out.file != "" {
		out.signs, out.unread = checklist.ReadSignOffs(out.file, l)
	}
	return out, nil
}

// stand is how an item stands: open, signed, unknown, or automatic, which is what a
// program looks at.
func (l items) stand(i checklist.Item) (string, checklist.Finding) {
	switch {
	case i.Automatic:
		return "automatic", checklist.Finding{Evidence: "the program looks", Next: "kgents checklist --category " + i.Category}
	case l.unread != nil:
		return "unknown", checklist.Finding{Evidence: "the sign-offs can't be read"}
	}
	f := l.signs.Of(i, l.now)
	return string(f.Verdict), f
}

// note says where the signs come from.
func (l items) note(v *tree.Value) {
	switch {
	case l.unread != nil:
		v.Note(living.Away("The file of sign-offs", l.unread).Error())
	case l.file == "":
		v.Note("No file of sign-offs is configured: what a person has to sign counts as open. kgents checklist sign writes one.")
	}
}

func due(i checklist.Item) string {
	if i.Blocking {
		return cmp.Or(i.Due, "launch")
	}
	return i.Due
}

var itemColumns = []tree.Column{{Name: "item", Link: "concept.checklist.{}"}, {Name: "state"}, {Name: "title"}, {Name: "blocking"}, {Name: "owner"}, {Name: "due"}, {Name: "phase"}, {Name: "category"}}

func (l items) row(i checklist.Item) []any {
	state, _ := l.stand(i)
	return []any{i.ID, state, i.Title, i.Blocking, i.Owner, due(i), string(i.Phase), i.Category}
}

// choose are the items that a step's clauses leave.
func (l items) choose(a tree.Args) []checklist.Item {
	var out []checklist.Item
	for _, i := range l.Items() {
		state, _ := l.stand(i)
		switch {
		case a.Has("category") && a.Get("category") != i.Category,
			a.Has("owner") && a.Get("owner") != i.Owner,
			a.Has("phase") && a.Get("phase") != string(i.Phase),
			a.Has("blocking") && a.Flag("blocking") != i.Blocking,
			a.Has("open") && a.Flag("open") && state != "open" && state != "unknown",
			a.Has("open") && !a.Flag("open") && state != "signed":
		default:
			out = append(out, i)
		}
	}
	return out
}

func (v *view) listItems(_ context.Context, c *tree.Call) (tree.Value, error) {
	l, err := v.items(c.Now())
	if err != nil {
		return tree.Value{}, err
	}
	out := tree.Value{Title: "Production checklist", Table: &tree.Table{Columns: itemColumns}}
	l.fill(&out, l.choose(c.Args))
	l.note(&out)
	out.Note("Automatic items are looked at by kgents checklist; nothing passes here without being seen.")
	out.Then("concept.forest.manifest", "the same by phase of the rollout")
	out.Then("concept.checklist.{item}.manifest", "the steps of one")
	return out, nil
}

// fill adds the items' rows and counts.
func (l items) fill(v *tree.Value, chosen []checklist.Item) {
	counts, blocking := map[string]int64{}, int64(0)
	for _, i := range chosen {
		state, _ := l.stand(i)
		counts[state]++
		if i.Blocking && (state == "open" || state == "unknown") {
			blocking++
		}
		v.Table.Rows = append(v.Table.Rows, l.row(i))
	}
	v.Add("items", int64(len(chosen)), "").Add("automatic", counts["automatic"], "").Add("signed", counts["signed"], "")
	if l.unread == nil {
		v.Add("open", counts["open"], "").Add("open and blocking", blocking, "")
	} else {
		v.Add("open", nil, "").Add("open and blocking", nil, "")
	}
}

func (v *view) oneItem(_ context.Context, c *tree.Call) (tree.Value, error) {
	l, err := v.items(c.Now())
	if err != nil {
		return tree.Value{}, err
	}
	i, ok := l.Item(strings.ToLower(c.Name("item")))
	if !ok {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindNotFound, What: "the checklist has no item " + agentese.QuoteName(c.Name("item")), Try: []string{"concept.checklist.manifest"}}
	}
	state, f := l.stand(i)
	out := tree.Value{Title: i.Title, Text: i.Why}
	out.Add("state", state, "").Add("blocking", i.Blocking, "").Add("owner", i.Owner, "").Add("due", due(i), "").
		Add("phase", string(i.Phase), "").Add("category", i.Category, "").Add("seen", f.Evidence, "")
	if f.Next != "" {
		out.Add("next", f.Next, "")
	}
	if len(i.Steps) > 0 {
		out.Text += "\n\n**Steps**\n"
		for n, s := range i.Steps {
			out.Text += fmt.Sprintf("\n%d. %s", n+1, s)
		}
		out.Text += "\n\n**Keep:** " + i.Keep
	}
	out.Add("more", "docs/saas/"+i.Link, "")
	if section, ok := strings.CutPrefix(i.Link, "runbook.md#"); ok {
		out.Then("concept.runbook."+agentese.QuoteName(section)+".manifest", "the runbook's section")
	}
	if !i.Automatic {
		l.note(&out)
	}
	out.Then("concept.checklist.manifest[category="+i.Category+"]", "the others of its category")
	return out, nil
}
