package agentese

import "testing"

// The four expressions of the document that the project was created from.
func TestSeed(t *testing.T) {
	for _, text := range []string{
		"concept.forest.manifest[phase=PLAN][sprint=saas_phase5_operate]@span=saas_operate",
		"concept.forest.manifest[phase=PLAN][sprint=agent_town_saas]@span=agent_town_monetization",
		"concept.forest.manifest[phase=IMPLEMENT][sprint=agentese_repl_wave3]@span=repl_wave3",
		"void.gratitude.tithe",
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := e.String(); got != text {
			t.Errorf("printed %s, want %s", got, text)
		}
	}
}
