package void

import (
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// Context is the tree's part.
func Context(from *living.Sources) *tree.Node { return nil }
