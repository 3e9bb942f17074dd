// Package checklist holds what must be true before and after a launch, and finds
// out whether it is.
//
// items.yaml is the one source: the page docs/saas/production-checklist.md, the
// command `kgents checklist` and the sign-offs are made from it. Run looks at the
// items that a program can look at (package checks says how); the others wait for
// a person, whose word is kept in a file with name, time and evidence.
//
// It promises that nothing passes by default: what could not be looked at is
// Unknown and says what to do, a check that panics or is late is Unknown, and an
// item that nobody has signed is Open.
//
// The package itself depends on nothing that could be away.
package checklist

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed items.yaml
var source []byte

// Target is the kind of system that is looked at.
type Target string

// The targets: `kgents up` on this machine, or a deployment on Kubernetes.
const (
	Local      Target = "local"
	Kubernetes Target = "kubernetes"
)

// Targets lists both.
func Targets() []Target { return []Target{Local, Kubernetes} }

// Phase is when in a rollout an item is done.
type Phase string

// The phases, in their order: what is decided, found out, built, looked over, tried out,
// put in place, and seen to for as long as it runs.
const (
	Plan      Phase = "PLAN"
	Research  Phase = "RESEARCH"
	Implement Phase = "IMPLEMENT"
	QA        Phase = "QA"
	Test      Phase = "TEST"
	Deploy    Phase = "DEPLOY"
	Operate   Phase = "OPERATE"
)

// Phases lists them in their order.
func Phases() []Phase { return []Phase{Plan, Research, Implement, QA, Test, Deploy, Operate} }

// Category is a part of the checklist. The file has each once, in the order of the
// page.
type Category struct {
	ID    string `yaml:"id" json:"id"`
	Title string `yaml:"title" json:"title"`
	What  string `yaml:"what" json:"what"`   // one sentence
	Phase Phase  `yaml:"phase" json:"phase"` // of its items that name none
	Items []Item `yaml:"items" json:"items"`
}

// Item is one thing that must be true. It is checked by a program (Automatic) or by
// a person (Steps and Keep), never by both.
type Item struct {
	ID       string `yaml:"id" json:"id"`
	Category string `yaml:"-" json:"category"` // the ID of its category
	Title    string `yaml:"title" json:"title"`
	Why      string `yaml:"why" json:"why"`
	Phase    Phase  `yaml:"phase" json:"phase"` // that of its category, if the file names none
	Blocking bool   `yaml:"blocking" json:"blocking"`
	Owner    string `yaml:"owner" json:"owner"` // a role, one of Owners

	// Due is when a person's or a not blocking item must be done, relative to the
	// launch: launch, launch-14d, launch+30d.
	Due string `yaml:"due" json:"due,omitempty"`

	Automatic bool     `yaml:"automatic" json:"automatic"`
	On        []Target `yaml:"on" json:"on,omitempty"` // targets it is for, empty for all

	Steps []string `yaml:"steps" json:"steps,omitempty"` // what a person does
	Keep  string   `yaml:"keep" json:"keep,omitempty"`   // what to keep of it, as evidence

	Link string `yaml:"link" json:"link"` // from docs/saas, with an anchor where there is one
}

// For says whether the item is for the target.
func (i Item) For(t Target) bool { return len(i.On) == 0 || slices.Contains(i.On, t) }

// Owners are the roles that may own an item.
func Owners() []string {
	return []string{"platform engineer", "developer", "security owner", "founder"}
}

// List is the checklist.
type List struct {
	Categories []Category `yaml:"categories" json:"categories"`
}

// Items lists the items of all categories, in order.
func (l List) Items() (out []Item) {
	for _, c := range l.Categories {
		out = append(out, c.Items...)
	}
	return out
}

// Item finds an item by its ID.
func (l List) Item(id string) (Item, bool) {
	all := l.Items()
	if i := slices.IndexFunc(all, func(i Item) bool { return i.ID == id }); i >= 0 {
		return all[i], true
	}
	return Item{}, false
}

// Automatic is the list of what a program looks at, without the items for people.
func (l List) Automatic() (out List) {
	for _, c := range l.Categories {
		c.Items = slices.DeleteFunc(slices.Clone(c.Items), func(i Item) bool { return !i.Automatic })
		out.Categories = append(out.Categories, c)
	}
	return out
}

// Default is the checklist that this program was built with.
func Default() (List, error) { return Parse(source) }

var (
	idForm   = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	dueForm  = regexp.MustCompile(`^launch([+-][1-9][0-9]{0,2}d)?$`)
	linkForm = regexp.MustCompile(`^[a-z0-9./-]+\.md(#[a-z0-9-]+)?$`)
)

// Parse reads a checklist and tells everything that is wrong with it.
func Parse(text []byte) (List, error) {
	var l List
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&l); err != nil {
		return List{}, fmt.Errorf("the checklist can't be read: %s", yaml.FormatError(err, false, true))
	}
	var problems []error
	seen := map[string]bool{}
	once := func(id string) {
		if !idForm.MatchString(id) {
			problems = append(problems, fmt.Errorf("%q is no id: use lower-case words with dashes between them", id))
		}
		if seen[id] {
			problems = append(problems, fmt.Errorf("%s is there twice", id))
		}
		seen[id] = true
	}
	for n, c := range l.Categories {
		once(c.ID)
		if c.Title == "" || c.What == "" || len(c.Items) == 0 {
			problems = append(problems, fmt.Errorf("category %s needs title, what and items", c.ID))
		}
		for m := range c.Items {
			i := &l.Categories[n].Items[m]
			i.Category = c.ID
			if i.Phase == "" {
				i.Phase = c.Phase
			}
			once(i.ID)
			for _, problem := range i.problems() {
				problems = append(problems, fmt.Errorf("%s: %s", i.ID, problem))
			}
		}
	}
	if len(l.Categories) == 0 {
		problems = append(problems, errors.New("the checklist has no categories"))
	}
	if err := errors.Join(problems...); err != nil {
		return List{}, err
	}
	return l, nil
}

// problems says what is wrong with an item.
func (i Item) problems() (out []string) {
	wrong := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	wrong(i.Title == "" || i.Why == "", "needs title and why")
	wrong(strings.ContainsAny(i.Title+i.Why+i.Keep, "\n|"), "title, why and keep are one line each, without |")
	wrong(!slices.Contains(Owners(), i.Owner), "owner must be one of %s", strings.Join(Owners(), ", "))
	wrong(!linkForm.MatchString(i.Link), "link must be a page of docs/saas, such as runbook.md#back-up")
	wrong(i.Due != "" && !dueForm.MatchString(i.Due), "due must be launch, launch-14d or launch+30d")
	wrong(!i.Blocking && i.Due == "", "is not blocking, so it needs a due date: launch+30d")
	wrong(i.Blocking && strings.HasPrefix(i.Due, "launch+"), "is blocking, so it can't be due after the launch")
	wrong(!slices.Contains(Phases(), i.Phase), "phase must be one of %v, here or in its category", Phases())
	wrong(i.Automatic && (len(i.Steps) > 0 || i.Keep != ""), "is automatic, so it has no steps and nothing to keep")
	wrong(!i.Automatic && (len(i.Steps) == 0 || i.Keep == ""), "is for a person, so it needs steps and keep")
	for _, t := range i.On {
		wrong(!slices.Contains(Targets(), t), "on has %q: use local or kubernetes", t)
	}
	return out
}

func (l List) categoryIDs() string {
	var ids []string
	for _, c := range l.Categories {
		ids = append(ids, c.ID)
	}
	return strings.Join(ids, ", ")
}
