package operate

import (
	"context"
	"fmt"

	"github.com/kgents/kgents/cluster"
)

// EnvironmentLabel is the label of a namespace that says what it is for. The overlays
// set it: staging, or production.
const EnvironmentLabel = "kgents/environment"

// Staging tells whether the client's namespace is one that may be hurt on purpose: its
// label EnvironmentLabel says staging. Whatever else it says, whatever the namespace is
// called, and when it can't be read, it is not, and why says so in a sentence.
func Staging(ctx context.Context, c *cluster.Client) (staging bool, why string) {
	labels, err := c.NamespaceLabels(ctx)
	if err != nil {
		return false, "what namespace " + c.Namespace + " is for can't be read: " + err.Error()
	}
	switch is, ok := labels[EnvironmentLabel]; {
	case !ok:
		return false, fmt.Sprintf("namespace %s has no label %s, so it is taken for production", c.Namespace, EnvironmentLabel)
	case is != "staging":
		return false, fmt.Sprintf("the label %s of namespace %s is %s", EnvironmentLabel, c.Namespace, is)
	}
	return true, fmt.Sprintf("the label %s of namespace %s is staging", EnvironmentLabel, c.Namespace)
}
