package match

import "github.com/kgents/kgents/agentese/tree"

// Complete says how the line can go on at the cursor (in bytes), best first, at most
// MaxCompletions.
func (m *Matcher) Complete(line string, cursor int, place []string, o tree.Observer) []Completion {
	return nil
}
