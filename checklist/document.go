package checklist

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Page is docs/saas/production-checklist.md.
func (l List) Page() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	all := l.Items()
	automatic, blocking := 0, 0
	for _, i := range all {
		automatic += count(i.Automatic)
		blocking += count(i.Blocking)
	}
	p(`# Production checklist

<!-- Made from checklist/items.yaml by 'go test ./checklist -update': change that file. -->

What must be true before customers pay, and stay true after. It has %d items: the
program looks at %d of them, people at %d. %d block the launch; the others have a date.

`+"```sh"+`
kgents checklist                                # of the 'kgents up' on this machine
kgents checklist --target kubernetes            # of the deployment in KUBECONFIG
kgents checklist --only blocking --category durability
kgents checklist list                           # the items, without looking
kgents checklist sign on-call --by 'Ada' --evidence 'rota in the wiki, 2026-11-24'
`+"```"+`

An item passes only on what was seen. What could not be looked at is *cannot tell*,
and never a pass; an item for a person is *open* until somebody has signed for it.
The exit code is 0 when every blocking item passes or is signed. %s

`, len(all), automatic, len(all)-automatic, blocking, outputs)

	p("## Blocking, by owner\n\nAll of these are done at the launch.\n\n| owner | the program looks | a person signs |\n|---|---|---|\n")
	for _, owner := range Owners() {
		var looks, signs []string
		for _, i := range all {
			if !i.Blocking || i.Owner != owner {
				continue
			}
			if i.Automatic {
				looks = append(looks, ref(i))
			} else {
				signs = append(signs, ref(i))
			}
		}
		p("| %s | %s | %s |\n", owner, cmp.Or(strings.Join(looks, ", "), "—"), cmp.Or(strings.Join(signs, ", "), "—"))
	}

	p("\n## Scheduled\n\nThese don't block. The dates count from the day of the launch.\n\n| due | item | owner |\n|---|---|---|\n")
	rest := slices.DeleteFunc(slices.Clone(all), func(i Item) bool { return i.Blocking })
	slices.SortStableFunc(rest, func(a, b Item) int { return cmp.Compare(a.days(), b.days()) })
	for _, i := range rest {
		p("| %s | %s | %s |\n", due(i), ref(i), i.Owner)
	}

	p("\n## By phase\n\n`concept.forest.manifest` in `kgents repl` shows a phase with what is open in it.\n\n| phase | blocking | scheduled |\n|---|---|---|\n")
	for _, phase := range Phases() {
		var blocks, later []string
		for _, i := range all {
			switch {
			case i.Phase != phase:
			case i.Blocking:
				blocks = append(blocks, ref(i))
			default:
				later = append(later, ref(i))
			}
		}
		p("| %s | %s | %s |\n", phase, cmp.Or(strings.Join(blocks, ", "), "—"), cmp.Or(strings.Join(later, ", "), "—"))
	}

	for _, c := range l.Categories {
		p("\n## %s\n\n%s `--category %s`\n\n| item | when | owner | how |\n|---|---|---|---|\n", c.Title, c.What, c.ID)
		for _, i := range c.Items {
			how := "the program"
			switch {
			case !i.Automatic:
				how = "[a person](#" + stepsAnchor(i) + ")"
			case len(i.On) == 1:
				how += ", on " + title(i.On[0])
			}
			p("| <a id=\"%s\"></a>`%s` **%s.** %s [More](%s) | %s | %s | %s |\n", i.ID, i.ID, i.Title, i.Why, i.Link, when(i), i.Owner, how)
		}
		for _, i := range c.Items {
			if i.Automatic {
				continue
			}
			p("\n<a id=\"%s\"></a>**%s** (`%s`, %s)\n\n", stepsAnchor(i), i.Title, i.ID, i.Owner)
			for n, step := range i.Steps {
				p("%d. %s\n", n+1, step)
			}
			p("\nKeep: %s\n", i.Keep)
		}
	}
	return b.Bytes()
}

// outputs is what the page says of the command's forms.
const outputs = "`--output\njson`, `markdown` and `junit` are for machines, for a release's notes, and for CI."

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func ref(i Item) string         { return "[" + i.ID + "](#" + i.ID + ")" }
func stepsAnchor(i Item) string { return "steps-" + i.ID }

func title(t Target) string {
	if t == Kubernetes {
		return "Kubernetes"
	}
	return "one machine"
}

// days are those from the launch to when the item is due, negative before it.
func (i Item) days() int {
	text := strings.TrimSuffix(strings.TrimPrefix(i.Due, "launch"), "d")
	n, _ := strconv.Atoi(text) // none is the launch itself
	return n
}

// due is when an item must be done, in words.
func due(i Item) string {
	switch n := i.days(); {
	case n < 0:
		return fmt.Sprintf("%d days before launch", -n)
	case n > 0:
		return fmt.Sprintf("%d days after launch", n)
	default:
		return "launch"
	}
}

func when(i Item) string {
	if i.Blocking {
		return "**blocking**"
	}
	return due(i)
}
