package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kgents/kgents/billing"
	"github.com/kgents/kgents/billing/stripetest"
)

// A dry run says what it would do, --yes does it, and the next run finds it done.
func TestStripeSetup(t *testing.T) {
	b, err := os.ReadFile("../../plan/plans.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alone(t)
	stripe := stripetest.New(t)
	t.Setenv("STRIPE_API_KEY", stripetest.Key)
	t.Setenv("STRIPE_API_BASE", stripe.URL)
	posts := func() (n int) {
		for _, r := range stripe.Requests() {
			if r.Method == http.MethodPost {
				n++
			}
		}
		return n
	}

	code, out, stderr := kgents(t, "stripe", "setup")
	if code != 1 || stderr != "" || posts() != 0 {
		t.Errorf("a dry run: code %d, %d changes, stderr %q", code, posts(), stderr)
	}
	for _, part := range []string{"test mode", "+ create", "kgents_tokens", "pro_monthly", "19.00 USD a month", "pro_tokens_overage_yearly", "0.08 USD for each 10,000 of tokens past the plan", "--yes"} {
		if !strings.Contains(out, part) {
			t.Errorf("the dry run lacks %q:\n%s", part, out)
		}
	}

	code, out, stderr = kgents(t, "stripe", "setup", "--yes")
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, stderr %q\n%s", code, stderr, out)
	}
	for _, part := range []string{"✓ done", "STRIPE_PRICE_PRO_MONTHLY=price_", "STRIPE_PRICE_PRO_YEARLY=price_", "STRIPE_PRICE_TEAMS_MONTHLY=price_", "as the plans say"} {
		if !strings.Contains(out, part) {
			t.Errorf("the run lacks %q:\n%s", part, out)
		}
	}
	made := posts()

	code, out, _ = kgents(t, "stripe", "setup", "--yes", "--output", "json")
	var report billing.SetupReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || posts() != made || len(report.Prices) != 6 || report.Live {
		t.Errorf("again: code %d, %d changes, %v\n%s", code, posts()-made, err, out)
	}
	for _, c := range report.Changes {
		if c.Action != billing.Keep || c.ID == "" {
			t.Errorf("again: %+v, want it kept", c)
		}
	}

	// Another amount, in a file of the user's.
	plans := filepath.Join(t.TempDir(), "plans.yaml")
	if err := os.WriteFile(plans, []byte(strings.Replace(string(b), "amount: 1900,", "amount: 2100,", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = kgents(t, "stripe", "setup", "--plans-file", plans)
	if code != 1 || !strings.Contains(out, "! differs") || !strings.Contains(out, "amount is 1900, not 2100") {
		t.Errorf("another amount: code %d\n%s", code, out)
	}
	if code, out, _ = kgents(t, "stripe", "setup", "--plans-file", plans, "--yes"); code != 0 || posts() != made+1 {
		t.Errorf("another amount: code %d, %d changes\n%s", code, posts()-made, out)
	}
	if code, out, _ = kgents(t, "stripe", "setup", "--plans-file", plans); code != 0 {
		t.Errorf("another amount, done: code %d\n%s", code, out)
	}
}

func TestStripeSetupRefuses(t *testing.T) {
	alone(t)
	code, out, stderr := kgents(t, "stripe", "setup")
	wantLine(t, code, out, stderr, "STRIPE_API_KEY")
	t.Setenv("STRIPE_API_KEY", stripetest.Key)
	t.Setenv("STRIPE_API_BASE", closed(t))
	code, out, stderr = kgents(t, "stripe", "setup")
	wantLine(t, code, out, stderr, "Stripe does not answer")
	code, out, stderr = kgents(t, "stripe", "setup", "--yes", "--dry-run")
	wantLine(t, code, out, stderr, "exclude each other")
	code, out, stderr = kgents(t, "stripe", "setup", "--output", "xml")
	wantLine(t, code, out, stderr, "xml")
	code, out, stderr = kgents(t, "stripe", "setp")
	wantLine(t, code, out, stderr, "setup")
}

// A run that ends in the middle goes on the next time.
func TestStripeSetupGoesOn(t *testing.T) {
	alone(t)
	stripe := stripetest.New(t)
	t.Setenv("STRIPE_API_KEY", stripetest.Key)
	t.Setenv("STRIPE_API_BASE", stripe.URL)
	left := 4
	stripe.Fail(func(r stripetest.Request) *stripetest.Fault {
		if r.Method == http.MethodPost {
			if left--; left < 0 {
				return &stripetest.Fault{Status: 500}
			}
		}
		return nil
	})
	code, out, stderr := kgents(t, "stripe", "setup", "--yes")
	if code != 1 || !strings.Contains(out, "in the middle") || !strings.Contains(stderr, "Stripe has trouble") {
		t.Errorf("code %d, %q\n%s", code, stderr, out)
	}
	stripe.Fail(nil)
	if code, out, stderr = kgents(t, "stripe", "setup", "--yes"); code != 0 {
		t.Errorf("code %d, %q\n%s", code, stderr, out)
	}
	if code, _, _ = kgents(t, "stripe", "setup"); code != 0 {
		t.Error("it is not all there")
	}
}
