package town

import (
	"fmt"
	"math"
)

// act is something that is about to be done, or refused.
type act struct {
	operation
	by      []int // who takes part, the actor first; indexes into citizens
	subject int   // of gossip; nobody is -1
}

// nobody is the subject of what isn't gossip, and of gossip by someone who knows
// nobody.
const nobody = -1

// grudge is the view below which a citizen doesn't trade.
const grudge = -.5

func (a act) cost() int64 {
	if a.each {
		return a.tokens * int64(len(a.by))
	}
	return a.tokens
}

// refusal tells why a's preconditions don't hold; empty if they do. Nothing is spent
// before it is asked.
func (t *Town) refusal(a act) string {
	for _, i := range a.by {
		if c := &t.citizens[i]; !c.accepts(a.name) {
			return c.name + " rests, and accepts only " + Wake
		}
	}
	first := &t.citizens[a.by[0]]
	for n, i := range a.by[1:] {
		c := &t.citizens[i]
		if c.region != first.region || contains(a.by[:n+1], i) {
			return first.name + " doesn't meet " + c.name + " here"
		}
	}
	switch most := len(a.by); {
	case a.name == Solo && most != 1, a.name != Solo && most < 2, a.name != Solo && !a.each && most != 2:
		return fmt.Sprintf("%s isn't for %d", a.name, most)
	case a.name == Gossip && (a.subject == nobody || contains(a.by, a.subject) || first.views[a.subject] == 0):
		return first.name + " knows nothing of anybody else that could be told"
	case a.name == Trade:
		second := &t.citizens[a.by[1]]
		if min(first.views[a.by[1]], second.views[a.by[0]]) < grudge {
			return first.name + " and " + second.name + " don't trade: one bears the other a grudge"
		}
	case a.name == Teach && first.archetype.name != Sage:
		return first.name + " is no " + Sage
	}
	return ""
}

// accepts tells whether the citizen lets operation happen to it: the right to rest.
func (c *citizen) accepts(operation string) bool { return c.state != Resting || operation == Wake }

func contains(all []int, i int) bool {
	for _, j := range all {
		if i == j {
			return true
		}
	}
	return false
}

// do lets a happen, whose preconditions hold, and returns its drama and message.
func (t *Town) do(a act) (drama float64, message string) {
	drama = a.drama
	first := &t.citizens[a.by[0]]
	place := "the " + t.regions[first.region].name
	var second *citizen
	if len(a.by) > 1 {
		second = &t.citizens[a.by[1]]
	}
	switch a.name {
	case Greet:
		t.both(a, .1*mean(first.traits.Warmth, second.traits.Warmth))
		message = fmt.Sprintf("%s greets %s in %s", first.name, second.name, place)
	case Trade:
		t.both(a, .2*mean(first.traits.Trust, second.traits.Trust))
		half := .1 * float64(a.tokens) / 2
		first.earn(half)
		second.earn(half)
		message = fmt.Sprintf("%s and %s trade in %s", first.name, second.name, place)
	case Solo:
		first.earn(.05 * float64(a.tokens))
		message = fmt.Sprintf("%s is alone with a thought in %s", first.name, place)
	case Gossip:
		view := first.views[a.subject]
		second.feel(a.subject, view/2)
		subject := t.citizens[a.subject].name
		if view < 0 {
			drama *= 1.5
			message = fmt.Sprintf("%s speaks ill of %s to %s", first.name, subject, second.name)
		} else {
			message = fmt.Sprintf("%s speaks well of %s to %s", first.name, subject, second.name)
		}
	case Dispute:
		loss := .7 * (1 - mean(first.traits.Patience, second.traits.Patience))
		first.feel(a.by[1], -loss*(1+first.views[a.by[1]]))
		second.feel(a.by[0], -loss*(1+second.views[a.by[0]]))
		if min(first.views[a.by[1]], second.views[a.by[0]]) < grudge {
			t.grief = true
		}
		message = fmt.Sprintf("%s and %s quarrel in %s", first.name, second.name, place)
	case Celebrate:
		t.feast = false
		t.all(a, func(c *citizen, _ float64) float64 { return .1 * c.traits.Warmth })
		message = fmt.Sprintf("%d celebrate in %s", len(a.by), place)
	case Mourn:
		t.grief = false
		t.all(a, func(c *citizen, view float64) float64 { return max(0, -view) * c.traits.Resilience })
		message = fmt.Sprintf("%d mourn what was said in %s", len(a.by), place)
	case Teach:
		second.feel(a.by[0], .2*first.traits.Patience)
		first.feel(a.by[1], .05)
		second.traits.Curiosity = round(min(1, second.traits.Curiosity+.01))
		second.traits.Creativity = round(min(1, second.traits.Creativity+.01))
		message = fmt.Sprintf("%s teaches %s in %s", first.name, second.name, place)
	}
	for _, i := range a.by {
		t.citizens[i].state = stateAfter[a.name]
	}
	t.spendSurplus()
	return round(drama), message
}

var stateAfter = map[string]State{
	Greet: Socializing, Gossip: Socializing, Dispute: Socializing, Celebrate: Socializing, Mourn: Socializing,
	Trade: Working, Teach: Working, Solo: Reflecting,
}

// both changes what the two of a think of each other.
func (t *Town) both(a act, by float64) {
	t.citizens[a.by[0]].feel(a.by[1], by)
	t.citizens[a.by[1]].feel(a.by[0], by)
}

// all changes what everybody in a thinks of the others there.
func (t *Town) all(a act, by func(c *citizen, view float64) float64) {
	for _, i := range a.by {
		c := &t.citizens[i]
		for _, j := range a.by {
			if i != j {
				c.feel(j, by(c, c.views[j]))
			}
		}
	}
}

// feel changes the citizen's view of another, within [-1, 1].
func (c *citizen) feel(other int, by float64) {
	c.views[other] = round(min(1, max(-1, c.views[other]+float64(by))))
}

func (c *citizen) earn(surplus float64) { c.surplus = round(c.surplus + float64(surplus)) }

// surplusBound is the sum of surplus beyond which each citizen spends half.
const surplusBound = 10

// feastChance is how likely a celebration follows when surplus was spent.
const feastChance = .06

func (t *Town) spendSurplus() {
	var sum float64
	for i := range t.citizens {
		sum += t.citizens[i].surplus
	}
	if sum <= surplusBound {
		return
	}
	for i := range t.citizens {
		t.citizens[i].surplus = round(t.citizens[i].surplus / 2)
	}
	if t.rng.Float64() < feastChance {
		t.feast = true
	}
}

// mean converts what is a float64 already, as feel and earn do: that forbids the
// compiler to fuse the operation with the next, which some processors can and which
// rounds differently.
func mean(a, b float64) float64 { return float64((a + b) / 2) }

// round cuts a number to four decimals. All that a town remembers is cut so: it
// keeps snapshots small, and what the last bit of a product is on some machine
// doesn't decide about a town's fate.
func round(x float64) float64 {
	const unit = 1e4
	x = math.Round(x*unit) / unit
	if x == 0 {
		return 0 // not -0
	}
	return x
}
