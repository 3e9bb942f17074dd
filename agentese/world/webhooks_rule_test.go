package world

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kgents/kgents/alerts"
)

// What the view of webhooks calls many refused signatures is what the alert does.
func TestSignaturesAsTheAlert(t *testing.T) {
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{reason=~"bad_signature|timestamp|no_secret"}[%.0fm])) > %d`, signatureWindow.Minutes(), signatureFailures)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "StripeSignatureFailures" && strings.Contains(r.Expr, want) {
				return
			}
		}
	}
	t.Errorf("StripeSignatureFailures doesn't have %s", want)
}
