package town

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// What the tables leave open is decided by these chances. They are this project's own
// and tuned so that a town neither freezes in harmony nor falls apart.
const (
	// quarrelBase, quarrelTension and quarrelDislike make up how likely a meeting
	// becomes a dispute: always a little, more in a tense town, and more between
	// those who dislike each other; impatience raises it, patience lowers it.
	quarrelBase    = .08
	quarrelTension = .3
	quarrelDislike = .05

	// teachChance is how likely a meeting with a sage becomes a lesson.
	teachChance = .2

	// moveBase and moveCuriosity make up how likely a citizen moves in a phase.
	moveBase      = .1
	moveCuriosity = .4
)

// choose is what the rules let happen next: whatever is due, else by the phase's
// weights. What it returns may have a precondition that doesn't hold.
func (t *Town) choose(p *phase) act {
	if crowd := t.crowd(); len(crowd) > 1 {
		switch {
		case t.grief:
			return act{operations[Mourn], crowd, nobody}
		case t.feast:
			return act{operations[Celebrate], crowd, nobody}
		}
	}
	op := operations[t.draw(p)]
	region := t.meetingPlace()
	if op.name == Solo || region < 0 {
		return act{operations[Solo], []int{t.someone()}, nobody}
	}
	here := t.awakeIn(region)
	i := t.rng.IntN(len(here))
	j := t.rng.IntN(len(here) - 1)
	if j >= i {
		j++
	}
	a, b := here[i], here[j]
	switch {
	case t.rng.Float64() < t.quarrel(a, b):
		op = operations[Dispute]
	case t.citizens[a].archetype.name == Sage && t.rng.Float64() < teachChance:
		op = operations[Teach]
	case t.citizens[b].archetype.name == Sage && t.rng.Float64() < teachChance:
		op, a, b = operations[Teach], b, a
	}
	x := act{op, []int{a, b}, nobody}
	if op.name == Gossip {
		if known := t.known(a, b); len(known) > 0 {
			x.subject = known[t.rng.IntN(len(known))]
		}
	}
	return x
}

// draw picks one of the four everyday operations by the phase's weights.
func (t *Town) draw(p *phase) string {
	x := t.rng.Float64()
	for _, w := range p.weights() {
		if x -= w.of; x < 0 {
			return w.operation
		}
	}
	return Solo
}

// quarrel is how likely a meeting of a and b becomes a dispute.
func (t *Town) quarrel(a, b int) float64 {
	x, y := &t.citizens[a], &t.citizens[b]
	tension, _ := t.climate()
	dislike := max(0, -min(x.views[b], y.views[a]))
	return (quarrelBase + float64(quarrelTension*tension) + float64(quarrelDislike*dislike)) *
		(1.5 - mean(x.traits.Patience, y.traits.Patience))
}

// known are those, other than a and b, of whom a has a view.
func (t *Town) known(a, b int) []int {
	var out []int
	for i, view := range t.citizens[a].views {
		if i != a && i != b && view != 0 {
			out = append(out, i)
		}
	}
	return out
}

func (t *Town) awakeIn(region int) []int {
	var out []int
	for i := range t.citizens {
		if c := &t.citizens[i]; c.region == region && c.state != Resting {
			out = append(out, i)
		}
	}
	return out
}

// meetingPlace is a random region with at least two who are awake, -1 if there is
// none.
func (t *Town) meetingPlace() int {
	var fit []int
	for r := range t.regions {
		if len(t.awakeIn(r)) > 1 {
			fit = append(fit, r)
		}
	}
	if len(fit) == 0 {
		return -1
	}
	return fit[t.rng.IntN(len(fit))]
}

// crowd are those awake in the region that has most of them.
func (t *Town) crowd() []int {
	var most []int
	for r := range t.regions {
		if here := t.awakeIn(r); len(here) > len(most) {
			most = here
		}
	}
	return most
}

// someone is a random citizen who is awake. If all rest it is one of those, whose
// right to rest then refuses whatever was to be done.
func (t *Town) someone() int {
	var awake []int
	for i := range t.citizens {
		if t.citizens[i].state != Resting {
			awake = append(awake, i)
		}
	}
	if len(awake) == 0 {
		return t.rng.IntN(len(t.citizens))
	}
	return awake[t.rng.IntN(len(awake))]
}

// situation is what a decider is told when the rules would do a, and the acts that
// its options stand for. Only what is possible is an option.
func (t *Town) situation(a act, now time.Time) (Situation, []act) {
	me := a.by[0]
	if t.citizens[me].state == Resting {
		return Situation{}, nil
	}
	acts := t.possible(a)
	s := Situation{
		Town: t.id, Day: t.day, Phase: t.Phase(), Region: t.regions[t.citizens[me].region].name,
		Actor: t.person(me, me), Spent: t.spent.on(now), Now: now,
	}
	for _, i := range t.awakeIn(t.citizens[me].region) {
		if i != me {
			s.Present = append(s.Present, t.person(me, i))
		}
	}
	for _, x := range acts {
		o := Option{Operation: x.name, Participants: t.names(x.by), Tokens: x.cost()}
		if x.subject != nobody {
			o.Subject = t.citizens[x.subject].name
		}
		s.Options = append(s.Options, o)
	}
	return s, acts
}

// possible are the acts that the actor of a could do instead, a itself first.
func (t *Town) possible(a act) []act {
	me := a.by[0]
	all := []act{a, {operations[Solo], []int{me}, nobody}}
	others := slices.DeleteFunc(t.awakeIn(t.citizens[me].region), func(i int) bool { return i == me })
	feeling := func(i int) float64 { // the other one of a first, then whoever matters most
		if len(a.by) > 1 && a.by[1] == i {
			return 2
		}
		return math.Abs(t.citizens[me].views[i])
	}
	slices.SortStableFunc(others, func(i, j int) int { return cmp.Compare(feeling(j), feeling(i)) })
	for _, other := range others {
		pair := []int{me, other}
		subject := nobody
		for _, i := range t.known(me, other) {
			if subject == nobody || math.Abs(t.citizens[me].views[i]) > math.Abs(t.citizens[me].views[subject]) {
				subject = i
			}
		}
		all = append(all, act{operations[Greet], pair, nobody}, act{operations[Trade], pair, nobody},
			act{operations[Gossip], pair, subject}, act{operations[Teach], pair, nobody})
		if t.citizens[me].views[other] < 0 {
			all = append(all, act{operations[Dispute], pair, nobody})
		}
	}
	var out []act
	for _, x := range all {
		same := func(y act) bool { return x.name == y.name && x.subject == y.subject && slices.Equal(x.by, y.by) }
		if t.refusal(x) == "" && !slices.ContainsFunc(out, same) && len(out) < MaxOptions {
			out = append(out, x)
		}
	}
	return out
}

func (t *Town) person(me, i int) Person {
	c := &t.citizens[i]
	return Person{Name: c.name, Archetype: c.archetype.name, Mood: t.mood(i), View: t.citizens[me].views[i]}
}

func (t *Town) names(of []int) []string {
	out := make([]string, len(of))
	for n, i := range of {
		out[n] = t.citizens[i].name
	}
	return out
}
