package world

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

// limits are the thresholds of alerts/rules.yaml by the alerts' names.
type limits struct{ living.Thresholds }

func readLimits() limits { return limits{living.ReadThresholds()} }

// verdict is what an alert would say of a figure.
func (l limits) verdict(alert string, figure any) tree.State { return l.Verdict(alert, figure) }

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// stateOf sorts a status of /health/saas as /health does.
func stateOf(status, mode string) tree.State {
	switch status {
	case "ok", "healthy":
		return tree.Well
	case "disconnected", "circuit_open":
		if mode == "fallback" {
			return tree.Warn // events are safe on local disk
		}
		return tree.Bad
	case "error":
		return tree.Bad
	case "degraded", "unhealthy", "fallback", "unconfigured":
		return tree.Warn
	case "":
		return tree.Unknown
	}
	return "" // disabled, starting
}

// worse is the worse of several; what isn't known is not worse than what is bad.
func worse(states ...tree.State) tree.State { return living.Worse(states...) }

// counted is a label's value with what was counted for it.
type counted struct {
	key   string
	value float64
}

// sorted has the most first.
func sorted(by map[string]float64) []counted {
	var out []counted
	for k, v := range by {
		out = append(out, counted{k, v})
	}
	slices.SortFunc(out, func(a, b counted) int { return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.key, b.key)) })
	return out
}

// isOpening says whether an entry of the history is that the circuit opened.
func isOpening(what string) bool { return strings.HasSuffix(what, " is open") }
