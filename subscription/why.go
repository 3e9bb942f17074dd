package subscription

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
)

// why explains a state event by event, in the order in which Stripe says they
// happened, with what time alone has done in between, and what follows.
func (s State) why(now time.Time, cat *kgents.Catalog) []Step {
	n := narrator{cat: cat}
	n.was = n.book.decide(now, cat)
	last := map[string]int{} // an event that two versions translated is told once
	for i, c := range s.Changes {
		last[c.ID] = i
	}
	begun := map[string]life{}
	for i, c := range s.Changes {
		t := time.Unix(c.Created, 0).UTC()
		n.pass(t)
		before, told := begun[c.ID]
		if !told {
			before = *n.book.of(c.Subscription)
		}
		n.book.add(c)
		if last[c.ID] != i {
			begun[c.ID] = before
			continue
		}
		is := n.book.decide(t, cat)
		n.steps = append(n.steps, Step{
			At: t, Event: c.ID, Type: c.Type, Subscription: c.Subscription,
			Text: n.tell(before, c) + " " + n.outcome(is),
		})
		n.was = is
	}
	n.pass(now)
	n.conclude(now)
	return n.steps
}

type narrator struct {
	cat   *kgents.Catalog
	book  book
	was   decision
	steps []Step
}

// name is what people call a plan.
func (n *narrator) name(plan string) string {
	if p, ok := n.cat.Plan(plan); ok && p.Name != "" {
		return p.Name
	}
	return plan
}

// outcome is what became of the plan since the step before.
func (n *narrator) outcome(is decision) string {
	text := fmt.Sprintf("The plan stays %s", n.name(is.Plan))
	if is.Plan != n.was.Plan {
		text = fmt.Sprintf("The plan is now %s, after %s", n.name(is.Plan), n.name(n.was.Plan))
	}
	switch {
	case is.Status == StatusPastDue && n.was.Status != StatusPastDue:
		text += fmt.Sprintf(", for a grace until %s", date(is.GraceEnd))
	case is.Status == StatusActive && n.was.Status == StatusPastDue:
		text += ", and nothing is due any more"
	}
	return text + "."
}

// pass tells what time alone has done until t.
func (n *narrator) pass(t time.Time) {
	if n.was.best < 0 {
		return
	}
	is := n.book.decide(t, n.cat)
	before := n.was.verdicts[n.was.best]
	v := is.verdicts[n.was.best]
	step := Step{Subscription: v.id}
	switch {
	case !before.counts || v.counts && v.Status == before.Status:
		n.was = is
		return
	case v.Status == StatusUnpaid:
		step.At, step.Text = v.GraceEnd, fmt.Sprintf("No payment for %s came in the grace of %s, which ended %s.", orTheSubscription(v.debt), span(n.cat.Grace), date(v.GraceEnd))
	case v.Status == StatusCanceled:
		step.At, step.Text = v.CancelAt, fmt.Sprintf("%s was to end %s, and did.", v.id, date(v.CancelAt))
	default:
		step.At, step.Text = v.TrialEnd, fmt.Sprintf("The trial ended %s.", date(v.TrialEnd))
	}
	step.Text += " " + n.outcome(is)
	n.steps = append(n.steps, step)
	n.was = is
}

// tell is what an event says, compared with what was known of its subscription before.
func (n *narrator) tell(before life, c Change) string {
	switch c.Kind {
	case Checkout:
		return fmt.Sprintf("A checkout for %s was completed%s. It and the subscription's own events are one start.", c.Subscription, prefixed(", payment: ", c.Status))
	case Failed:
		text := fmt.Sprintf("Payment of %s for %s failed%s.", money(c), c.Invoice, attempt(c.Attempt))
		if c.NextAttempt != 0 {
			text += fmt.Sprintf(" Stripe tries again %s.", date(at(c.NextAttempt)))
		}
		return text
	case Paid:
		return fmt.Sprintf("%s was paid: %s.", c.Invoice, money(c))
	case Deleted:
		ended := c.EndedAt
		if ended == 0 {
			ended = c.Created
		}
		return fmt.Sprintf("%s ended %s, for good.", c.Subscription, date(at(ended)))
	}
	switch {
	case before.end.Kind != 0:
		return fmt.Sprintf("%s has ended already, so this changes nothing.", c.Subscription)
	case before.last.Kind == 0:
		return fmt.Sprintf("%s is known from here on: %s.", c.Subscription, strings.Join(n.differences(Change{}, c), ", "))
	}
	if d := n.differences(before.last, c); len(d) > 0 {
		return fmt.Sprintf("%s changed: %s.", c.Subscription, strings.Join(d, ", "))
	}
	return fmt.Sprintf("Nothing of %s changed that matters for the plan.", c.Subscription)
}

// differences are what differs between two snapshots, in words.
func (n *narrator) differences(a, b Change) (d []string) {
	say := func(format string, args ...any) { d = append(d, fmt.Sprintf(format, args...)) }
	if a.Status != b.Status {
		say("status %s", b.Status)
	}
	p, known := planOf(b, n.cat)
	switch old, was := planOf(a, n.cat); {
	case known && was && old.ID != p.ID:
		say("plan %s instead of %s", n.name(p.ID), n.name(old.ID))
	case known && !was:
		say("plan %s", n.name(p.ID))
	case !known && (was || a.Kind == 0 || a.Price != b.Price):
		say("%s, which is in no plan of the plans file", priceOf(b))
	case a.Price != b.Price:
		say("price %s", b.Price)
	}
	if a.Quantity != b.Quantity && max(a.Quantity, b.Quantity) > 1 {
		say("quantity %d", b.Quantity)
	}
	if (a.PeriodStart != b.PeriodStart || a.PeriodEnd != b.PeriodEnd) && b.PeriodEnd != 0 {
		say("period %s to %s", date(at(b.PeriodStart)), date(at(b.PeriodEnd)))
	}
	if a.TrialEnd != b.TrialEnd && b.TrialEnd > b.Created {
		say("trial until %s", date(at(b.TrialEnd)))
	}
	switch {
	case b.CancelAtPeriodEnd && !a.CancelAtPeriodEnd:
		say("to be canceled at the end of the period")
	case b.CancelAt != 0 && a.CancelAt != b.CancelAt && !b.CancelAtPeriodEnd:
		say("to be canceled %s", date(at(b.CancelAt)))
	case (a.CancelAtPeriodEnd || a.CancelAt != 0) && !b.CancelAtPeriodEnd && b.CancelAt == 0:
		say("no longer to be canceled")
	}
	switch {
	case b.Paused && !a.Paused:
		say("its invoices aren't collected for now")
	case a.Paused && !b.Paused:
		say("its invoices are collected again")
	}
	return d
}

// conclude tells what follows from everything.
func (n *narrator) conclude(now time.Time) {
	say := func(subscription, format string, args ...any) {
		n.steps = append(n.steps, Step{At: now, Subscription: subscription, Text: fmt.Sprintf(format, args...)})
	}
	if n.was.best < 0 {
		say("", "Stripe has said nothing about this customer: the plan is the default one, %s.", n.name(n.cat.Default))
		return
	}
	after := func(t time.Time) string { return n.name(n.book.decide(t, n.cat).Plan) }
	for i, v := range n.was.verdicts {
		switch {
		case v.last.Kind == 0 && v.checkout.Kind == 0:
			say(v.id, "Only payments of %s are known: its own event hasn't come yet.", v.id)
		case v.last.Kind == 0:
			say(v.id, "Only a checkout of %s is known: its own event hasn't come yet.", v.id)
		case !v.counts && progress[v.Status] == 0:
			say(v.id, "%s has the status %q, which isn't known here: nothing tells that it is paid for, so it doesn't count.", v.id, v.Status)
		case v.Status == StatusIncomplete:
			say(v.id, "The first payment of %s hasn't come: it doesn't count until then.", v.id)
		case v.Status == StatusPaused:
			say(v.id, "%s is paused: its trial ended without a way to pay. It doesn't count until it is resumed.", v.id)
		case v.Status == StatusUnpaid:
			say(v.id, "No payment for %s since %s; the grace ended %s. A payment brings the plan back.", orTheSubscription(v.debt), date(v.GraceEnd.Add(-n.cat.Grace)), date(v.GraceEnd))
		}
		if !v.counts {
			continue
		}
		if i != n.was.best {
			say(v.id, "%s counts as well, but a customer has one plan, the best: that of %s.", v.id, n.was.Subscription)
			continue
		}
		if v.rank < 0 {
			say(v.id, "%s of %s is in no plan of the plans file, so the plan is the default one, %s. Add the price to a plan there.", upper(priceOf(v.priced())), v.id, n.name(n.cat.Default))
		}
		if v.Status == StatusPastDue {
			say(v.id, "No payment for %s since %s; grace until %s; then %s.", orTheSubscription(v.debt), date(v.GraceEnd.Add(-n.cat.Grace)), date(v.GraceEnd), after(v.GraceEnd))
		}
		if v.Status == StatusTrialing {
			say(v.id, "The trial lasts until %s.", date(v.TrialEnd))
		}
		if !v.CancelAt.IsZero() {
			say(v.id, "%s ends %s; then %s.", v.id, date(v.CancelAt), after(v.CancelAt))
		}
		if v.late {
			say(v.id, "Stripe hasn't told of a period after the last one: until it does, the plan stays, and this period is taken to be %s to %s.", date(v.PeriodStart), date(v.PeriodEnd))
		}
	}
}

// priced is the change that names the price.
func (v verdict) priced() Change {
	if v.last.Kind == 0 {
		return v.checkout
	}
	return v.last
}

func priceOf(c Change) string {
	switch {
	case c.Price == "" && c.Plan == "":
		return "no price"
	case c.Price == "":
		return fmt.Sprintf("plan %q", c.Plan)
	case c.Plan == "":
		return "price " + c.Price
	}
	return fmt.Sprintf("price %s (%q)", c.Price, c.Plan)
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func orTheSubscription(invoice string) string {
	if invoice == "" {
		return "the subscription"
	}
	return invoice
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func attempt(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", attempt %d", n)
}

// money is in the minor unit: how many decimals that has is Stripe's to know.
func money(c Change) string {
	return strings.TrimSpace(strconv.FormatInt(c.Amount, 10) + " " + c.Currency + " in its minor unit")
}

func date(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 UTC") }

func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		if d == day {
			return "1 day"
		}
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
