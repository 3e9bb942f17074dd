package app_test

import (
	"encoding/json"
	"testing"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/emit"
	"github.com/kgents/kgents/subscription"
)

// Whole lives of subscriptions, told out of order and doubled, end on the right plan, of
// the customer that the checkout was for.
func TestSubscriptions(t *testing.T) {
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	p.ready()
	lives := map[string][2]string{
		"dunning": {"pro", "past_due"}, "dunning-healed": {"pro", "active"}, "dunning-lost": {"free", "unpaid"}, "upgrade": {"teams", "active"},
		"trial": {"pro", "trialing"}, "trial-to-paused": {"free", "paused"}, "cancel-now": {"free", "canceled"}, "two": {"teams", "active"},
	}
	for name := range lives {
		eventually(t, "the customer is made", func() bool {
			return p.send(p.request("POST", "/v1/customers", `{"id":"`+name+`","name":"A life"}`)).status == 201
		})
	}
	for name := range lives {
		source, err := emit.Scenario(name, emit.Life{Customer: name, Mix: emit.Mix{Shuffle: true, Duplicates: 0.5}})
		if err != nil {
			t.Fatal(err)
		}
		report := emit.Run(t.Context(), emit.Plan{URL: p.URL(), WebhookSecret: webhookSecret, Source: source, Concurrency: 4})
		if !report.OK() || report.Accepted == 0 {
			t.Fatalf("%+v", report)
		}
	}
	var got struct{ Standing subscription.Standing }
	for name, want := range lives {
		eventually(t, name+" ends as it should", func() bool {
			a := p.get("/v1/customers/" + name)
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatalf("%v in %s", err, a.body)
			}
			return got.Standing.Plan == want[0] && got.Standing.Status == want[1]
		})
		var why struct{ Why []subscription.Step }
		a := p.get("/v1/customers/" + name + "/explain")
		if err := json.Unmarshal([]byte(a.body), &why); err != nil || len(why.Why) < 3 {
			t.Errorf("%v, why: %s", err, a.body)
		}
	}
}
