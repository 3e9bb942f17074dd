package world

import (
	"testing"

	"github.com/kgents/kgents/agentese/tree"
)

// Every alert by which a node gives its verdict is there, and its threshold is read.
func TestVerdicts(t *testing.T) {
	l := readLimits()
	for _, one := range []struct {
		alert  string
		figure any
		want   tree.State
	}{
		{"StreamNearlyFull", 0.8, tree.Well},
		{"StreamNearlyFull", 0.81, tree.Warn},
		{"StreamNearlyFull", 0.96, tree.Bad},
		{"PipelineStalled", 299.0, tree.Well},
		{"PipelineStalled", 301.0, tree.Bad},
		{"DeadLettersWaiting", 86401.0, tree.Warn},
		{"DeadLettersGrowing", 10.0, tree.Warn},
		{"DeadLettersGrowing", 1801.0, tree.Well},
		{"SpoolInUse", int64(0), tree.Well},
		{"SpoolInUse", int64(1), tree.Warn},
		{"SpoolNearlyFull", 0.9, tree.Bad},
		{"SpoolDamaged", int64(1), tree.Bad},
		{"HighWebhookLatency", 5.5, tree.Warn},
		{"SubscriptionsNotApplied", 301.0, tree.Warn},
		{"ReconcileMissingEvents", int64(1), tree.Bad},
		{"OpenMeterFlushErrors", 0.11, tree.Warn},
		{"OpenMeterFlushErrors", 0.05, tree.Well},
		{"BackupMissing", 26.0*3600 + 1, tree.Warn},
		{"BackupMissing", nil, ""},
		{"NoSuchAlert", 1.0, ""},
	} {
		if got := l.verdict(one.alert, one.figure); got != one.want {
			t.Errorf("%s of %v is %q, want %q", one.alert, one.figure, got, one.want)
		}
	}
}
