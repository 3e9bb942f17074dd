package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/invoice"
	"github.com/kgents/kgents/subscription"
)

// From a subscription to its invoice, in one process: a year's price, two seats, and what
// was used past the month's limit.
func TestInvoice(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, map[string]string{"STRIPE_PRICE_PRO_YEARLY": "price_year"}))
	p.ready()
	now := time.Now().UTC()
	begin := now.AddDate(0, -2, -1).Truncate(time.Second)
	eventually(t, "the customers are read", func() bool {
		a := p.post("/v1/customers", `{"id":"acme","name":"Acme"}`)
		return a.status == http.StatusCreated || a.status == http.StatusConflict
	})
	err := p.Follow(t.Context(), "cus_1", "acme", subscription.Change{
		ID: "evt_1", Kind: subscription.Created, Type: "customer.subscription.created", Created: begin.Unix(), Subscription: "sub_1", Status: "active",
		Price: "price_year", Quantity: 2, PeriodStart: begin.Unix(), PeriodEnd: begin.AddDate(1, 0, 0).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	use := func(id string, tokens int, at time.Time) {
		req := p.request(http.MethodPost, "/api/v1/events", fmt.Sprintf(
			`{"specversion":"1.0","id":%q,"source":"agent","type":"agent.tokens","subject":"acme","time":%q,"data":{"tokens":%d,"agent":"scout"}}`, id, at.Format(time.RFC3339), tokens))
		if a := p.send(req); a.status/100 != 2 {
			t.Fatalf("ingest answers %d %s", a.status, a.body)
		}
	}
	use("1", 500_000, begin.Add(time.Hour)) // the first month's limit, and no more
	use("2", 500_625, now)                  // of this month 625 are past it: half a cent, which is one
	var inv invoice.Invoice
	eventually(t, "the invoice has the overage", func() bool {
		a := p.get("/v1/invoice?customer=acme")
		if err := json.Unmarshal([]byte(a.body), &inv); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return inv.Plan == "pro" && inv.Total != 2*19_000
	})
	if inv.Total != 2*19_000+1 || inv.Plan != "pro" || inv.Currency != "usd" || inv.Complete || inv.Lines[0].Quantity != 2 || inv.Lines[0].Price != 19_000 {
		t.Errorf("the invoice is %+v", inv)
	}
	// What is canceled later was paid then.
	if err := p.Follow(t.Context(), "cus_1", "acme", subscription.Change{
		ID: "evt_2", Kind: subscription.Deleted, Type: "customer.subscription.deleted", Created: now.Add(-time.Minute).Unix(), Subscription: "sub_1", Status: "canceled",
		Price: "price_year", Quantity: 2, PeriodStart: begin.Unix(), PeriodEnd: begin.AddDate(1, 0, 0).Unix(),
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the invoice of now is that of the default plan", func() bool {
		var inv invoice.Invoice
		return json.Unmarshal([]byte(p.get("/v1/invoice?customer=acme").body), &inv) == nil && inv.Plan == "free" && inv.Total == 0
	})
	var then invoice.Invoice
	if a := p.get("/v1/invoice?customer=acme&at=" + url.QueryEscape(begin.Add(2*time.Hour).Format(time.RFC3339))); json.Unmarshal([]byte(a.body), &then) != nil ||
		then.Plan != "pro" || then.Total != 2*19_000 || !then.Complete || !then.To.Equal(now.Add(-time.Minute).Truncate(time.Second)) {
		t.Errorf("the invoice of then is %s", a.body)
	}
	if a := p.get("/v1/usage?customer=acme&by=month,agent&meter=agent_tokens&from=" + url.QueryEscape(begin.Format(time.RFC3339))); !strings.Contains(a.body, `"agent":"scout"`) || !strings.Contains(a.body, "500625") {
		t.Errorf("usage is %d %s", a.status, a.body)
	}
	if a := p.get("/v1/plans"); a.status != http.StatusOK || !strings.Contains(a.body, "teams_monthly") || strings.Contains(a.body, "price_year") {
		t.Errorf("plans are %d %s", a.status, a.body)
	}
	if a := p.get("/v1/invoice?customer=nobody"); a.status != http.StatusNotFound {
		t.Errorf("nobody's invoice is %d %s", a.status, a.body)
	}
}
