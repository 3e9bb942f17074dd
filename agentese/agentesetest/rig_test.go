package agentesetest_test

import (
	"testing"

	"github.com/kgents/kgents/agentese/agentesetest"
)

// What the meter refuses is a dead letter, what it takes is counted.
func TestRig(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	r.Send("1", "acme", "smallville")
	r.Send("2", "acme", agentesetest.Poison)
	r.SendWebhook("evt_1", "invoice.paid")
	r.Eventually("one is counted, one refused", func() bool { return r.Counted() == 1 && r.Waiting() == 1 })
}
