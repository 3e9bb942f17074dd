package subscription_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	. "github.com/kgents/kgents/subscription"
)

// TestDocs holds docs/saas/subscriptions.md to the code: its statuses, events and bounds.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../docs/saas/subscriptions.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, s := range Statuses() {
		if !strings.Contains(page, "\n| `"+s+"` |") {
			t.Errorf("the table of statuses lacks %s", s)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(page, -1)
	if len(rows) != len(Statuses()) {
		t.Errorf("the table has %d statuses, the code %d", len(rows), len(Statuses()))
	}
	for _, typ := range []string{
		"checkout.session.completed", "customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted",
		"customer.subscription.paused", "customer.subscription.resumed", "invoice.paid", "invoice.payment_failed",
	} {
		if !strings.Contains(page, "`"+typ+"`") {
			t.Errorf("the table of events lacks %s", typ)
		}
	}
	kept := fmt.Sprintf("the newest snapshot of %d subscriptions, %d deletions, %d checkouts, %d payments and failures, and of anything the newest %d events",
		MaxSubscriptions, MaxSubscriptions, MaxCheckouts, MaxPayments, MaxHistory)
	if !strings.Contains(strings.Join(strings.Fields(page), " "), kept) {
		t.Errorf("the page doesn't say %q", kept)
	}
}
