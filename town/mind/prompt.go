package mind

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kgents/kgents/town"
)

const system = "You decide what one citizen of a small simulated town does next. " +
	"Stay true to the citizen. Answer with the number of one option and nothing else."

// maxPeople bounds how many of those present are told of.
const maxPeople = 12

// prompt is what the model is told. The town's id is not in it: a customer chose it.
func prompt(s town.Situation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "It is the %s of day %d. You are %s, %s; your mood: %s. You are in the %s.\n",
		s.Phase, s.Day, s.Actor.Name, s.Actor.Archetype, s.Actor.Mood, s.Region)
	for i, p := range s.Present {
		if i == maxPeople {
			fmt.Fprintf(&b, "And %d more are here.\n", len(s.Present)-i)
			break
		}
		fmt.Fprintf(&b, "Here is %s, %s; mood: %s; you feel %+.1f about them (-1 to 1).\n", p.Name, p.Archetype, p.Mood, p.View)
	}
	b.WriteString("Options:\n")
	for i, o := range s.Options {
		fmt.Fprintf(&b, "%d. %s\n", i+1, describe(s.Actor.Name, o))
	}
	return b.String()
}

func describe(actor string, o town.Option) string {
	others := make([]string, 0, len(o.Participants))
	for _, name := range o.Participants {
		if name != actor {
			others = append(others, name)
		}
	}
	switch who := strings.Join(others, ", "); {
	case len(others) == 0:
		return "be alone with your thoughts"
	case o.Operation == town.Gossip:
		return "gossip with " + who + " about " + o.Subject
	case o.Operation == town.Greet, o.Operation == town.Teach:
		return o.Operation + " " + who
	default:
		return o.Operation + " with " + who
	}
}

var digits = regexp.MustCompile(`[0-9]+`)

// number is the one number in an answer, which may have words around it. Two numbers
// are no choice, and neither is a negative one or a fraction.
func number(text string) (int, bool) {
	found := digits.FindAllStringIndex(text, 2)
	if len(found) != 1 {
		return 0, false
	}
	if at := found[0][0]; at > 0 && (text[at-1] == '-' || text[at-1] == '.') {
		return 0, false
	}
	n, err := strconv.Atoi(text[found[0][0]:found[0][1]])
	return n, err == nil
}
