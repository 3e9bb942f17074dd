// Package self is the context self of the tree: who is asking, what this session has
// done and noted, what it may do, and what of its budget is left.
//
// It promises that a key is never shown, only of what kind it is and whose; that notes
// are readable by the user alone, bounded by MaxNotes of MaxNote bytes, and appear in
// their file whole or not at all. Without a shell there is no list of commands, and
// without a state directory notes end with the session: both say so. While the program
// is away, everything here but its health still answers.
package self

import (
	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// Context is the tree's part.
func Context(from *living.Sources) *tree.Node {
	v := &view{from: from, notes: newNotes(from.StateDir)}
	return &tree.Node{
		Name: "self",
		Line: "this session: who asks, of which system, and what they may do",
		Doc: "Everything about the one who asks: which system the session talks to and whether it is well, as which observer and with what kind of key, " +
			"what was done in this session, what was noted, and how much of the entropy budget is left. Look here first when a command is refused: " +
			"the observer or the key is the reason, and both are shown.",
		Synonyms: []string{"me", "myself", "this session", "who am i", "my session", "my account", "where am i", "i", "my shell", "current user"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "who I am, which system this is, and whether it is well",
			Asks: []string{
				"who am i", "whoami", "where am i connected to", "what system is this", "which environment am i on", "is this staging or production",
				"am i logged in", "show my session at a glance", "what is my context", "tell me about myself", "which server am i talking to", "summary of my session",
			},
			Examples: []tree.Example{{Expr: "self.manifest", Line: "who asks, and of which system"}},
			See:      v.status,
		}},
		Children: []*tree.Node{v.statusNode(), v.sessionNode(), v.memoryNode(), capabilitiesNode(), budgetNode()},
	}
}

// view is what the nodes look at.
type view struct {
	from  *living.Sources
	notes *notes
}
