// Package whole puts the tree together from its five contexts.
package whole

import (
	"slices"

	"github.com/kgents/kgents/agentese/concept"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/self"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/void"
	"github.com/kgents/kgents/agentese/when"
	"github.com/kgents/kgents/agentese/world"
)

// Tree is the whole of it. It asks nobody until something is looked at. The error is
// one of the tree itself, which a test keeps from happening.
func Tree(from *living.Sources) (*tree.Tree, error) {
	contexts := []*tree.Node{world.Context(from), self.Context(from), concept.Context(from), void.Context(from), when.Context(from)}
	return tree.New(slices.DeleteFunc(contexts, func(n *tree.Node) bool { return n == nil })...)
}
