package tree

import (
	"fmt"

	"github.com/kgents/kgents/agentese"
)

// Observer is who looks. Each may do what the one before may, and more.
type Observer int

// The observers, from the least to the most. What each adds:
const (
	Default   Observer = iota // sees: manifest, witness, lens, define, affordances; gives entropy back
	Explorer                  // draws entropy; keeps notes of the session
	Developer                 // lets towns live, replays one dead letter, sees what events carry
	Architect                 // changes the system in ways that lose nothing: replay, reconcile, scale, silence
	Admin                     // everything: drops, keys, subscriptions, faults on staging
)

var observers = [...]string{"default", "explorer", "developer", "architect", "admin"}

// Observers are all of them, from the least to the most.
func Observers() []Observer { return []Observer{Default, Explorer, Developer, Architect, Admin} }

// String is the name.
func (o Observer) String() string {
	if o < Default || o > Admin {
		return fmt.Sprintf("observer(%d)", int(o))
	}
	return observers[o]
}

// ParseObserver reads a name.
func ParseObserver(name string) (Observer, error) {
	for i, n := range observers {
		if n == name {
			return Observer(i), nil
		}
	}
	return Default, fmt.Errorf("%q is no observer: use default, explorer, developer, architect or admin", name)
}

// least is the table of affordances: the least observer for each aspect. A node can
// only ask for more (Affordance.Needs).
var least = map[agentese.Aspect]Observer{
	agentese.Manifest: Default, agentese.Witness: Default, agentese.Lens: Default,
	agentese.Define: Default, agentese.Affordances: Default, agentese.Tithe: Default,
	agentese.Sip: Explorer, agentese.Refine: Explorer,
}

// Least is the least observer that may do this.
func (a Affordance) Least() Observer { return max(a.Needs, least[a.Aspect]) }

// May says whether the observer may do this.
func (o Observer) May(a Affordance) bool { return o >= a.Least() }
