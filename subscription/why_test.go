package subscription_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/kgents/kgents/subscription"
)

// TestWhy holds the sentences of some lives to what an operator is to read. Lines that
// begin with a time of an event have its id; the others are conclusions.
func TestWhy(t *testing.T) {
	for _, test := range []struct {
		scenario string
		day      float64
		want     string
	}{
		{"nothing", 0, `
2026-01-01 00:00 - Stripe has said nothing about this customer: the plan is the default one, Free.`},
		{"a trial that is paid", 10, `
2026-01-01 00:00 * A checkout for sub_1 was completed, payment: no_payment_required. It and the subscription's own events are one start. The plan stays Free.
2026-01-01 00:00 * sub_1 is known from here on: status trialing, plan Pro, period 1 Jan 2026 00:00 UTC to 15 Jan 2026 00:00 UTC, trial until 15 Jan 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-01 00:00 * in_0 was paid: 0 usd in its minor unit. The plan stays Pro.
2026-01-11 00:00 - The trial lasts until 15 Jan 2026 00:00 UTC.`},
		{"dunning that heals", 33, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-02-01 00:00 * sub_1 changed: period 1 Feb 2026 00:00 UTC to 1 Mar 2026 00:00 UTC. The plan stays Pro.
2026-02-01 01:12 * Payment of 1900 usd in its minor unit for in_2 failed. The plan stays Pro, for a grace until 8 Feb 2026 01:12 UTC.
2026-02-01 01:12 * sub_1 changed: status past_due. The plan stays Pro.
2026-02-03 00:00 - No payment for in_2 since 1 Feb 2026 01:12 UTC; grace until 8 Feb 2026 01:12 UTC; then Free.`},
		{"dunning that heals after the grace", 50, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-02-01 00:00 * Payment of 1900 usd in its minor unit for in_2 failed. The plan stays Pro, for a grace until 8 Feb 2026 00:00 UTC.
2026-02-01 00:00 * sub_1 changed: status past_due, period 1 Feb 2026 00:00 UTC to 1 Mar 2026 00:00 UTC. The plan stays Pro.
2026-02-06 00:00 * Payment of 1900 usd in its minor unit for in_2 failed. The plan stays Pro.
2026-02-08 00:00 - No payment for in_2 came in the grace of 7 days, which ended 8 Feb 2026 00:00 UTC. The plan is now Free, after Pro.
2026-02-15 00:00 * in_2 was paid: 1900 usd in its minor unit. The plan is now Pro, after Free.`},
		{"dunning to the end", 46, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-02-01 00:00 * sub_1 changed: period 1 Feb 2026 00:00 UTC to 1 Mar 2026 00:00 UTC. The plan stays Pro.
2026-02-01 01:12 * Payment of 1900 usd in its minor unit for in_2 failed. The plan stays Pro, for a grace until 8 Feb 2026 01:12 UTC.
2026-02-01 01:12 * sub_1 changed: status past_due. The plan stays Pro.
2026-02-06 00:00 * Payment of 1900 usd in its minor unit for in_2 failed. The plan stays Pro.
2026-02-08 01:12 - No payment for in_2 came in the grace of 7 days, which ended 8 Feb 2026 01:12 UTC. The plan is now Free, after Pro.
2026-02-15 00:00 * Payment of 1900 usd in its minor unit for in_2 failed. The plan stays Free.
2026-02-15 00:00 * sub_1 changed: status unpaid. The plan stays Free.
2026-02-16 00:00 - No payment for in_2 since 1 Feb 2026 01:12 UTC; the grace ended 8 Feb 2026 01:12 UTC. A payment brings the plan back.`},
		{"an upgrade and a downgrade", 20, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-11 00:00 * in_2 was paid: 5000 usd in its minor unit. The plan stays Pro.
2026-01-11 00:00 * sub_1 changed: plan Teams instead of Pro. The plan is now Teams, after Pro.`},
		{"canceled at the end of the period", 20, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-11 00:00 * sub_1 changed: to be canceled at the end of the period. The plan stays Pro.
2026-01-21 00:00 - sub_1 ends 1 Feb 2026 00:00 UTC; then Free.`},
		{"canceled at a date", 25, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-11 00:00 * sub_1 changed: to be canceled 21 Jan 2026 00:00 UTC. The plan stays Pro.
2026-01-21 00:00 - sub_1 was to end 21 Jan 2026 00:00 UTC, and did. The plan is now Free, after Pro.`},
		{"canceled and begun again", 15, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-11 00:00 * sub_1 ended 11 Jan 2026 00:00 UTC, for good. The plan is now Free, after Pro.
2026-01-13 00:00 * sub_2 is known from here on: status active, plan Teams, period 13 Jan 2026 00:00 UTC to 13 Feb 2026 00:00 UTC. The plan is now Teams, after Free.
2026-01-14 00:00 * sub_1 has ended already, so this changes nothing. The plan stays Teams.`},
		{"two subscriptions: the best counts", 5, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-04 00:00 * sub_2 is known from here on: status active, plan Teams, period 4 Jan 2026 00:00 UTC to 4 Feb 2026 00:00 UTC. The plan is now Teams, after Pro.
2026-01-06 00:00 - sub_1 counts as well, but a customer has one plan, the best: that of sub_2.`},
		{"an unknown price", 1, `
2026-01-01 00:00 * sub_1 is known from here on: status active, price price_x, which is in no plan of the plans file, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan stays Free.
2026-01-02 00:00 - Price price_x of sub_1 is in no plan of the plans file, so the plan is the default one, Free. Add the price to a plan there.`},
		{"a trial without a way to pay, paused and resumed", 16, `
2026-01-01 00:00 * sub_1 is known from here on: status trialing, plan Pro, period 1 Jan 2026 00:00 UTC to 15 Jan 2026 00:00 UTC, trial until 15 Jan 2026 00:00 UTC. The plan is now Pro, after Free.
2026-01-15 00:00 - The trial ended 15 Jan 2026 00:00 UTC. The plan stays Pro.
2026-01-15 00:00 * sub_1 changed: status paused, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Free, after Pro.
2026-01-17 00:00 - sub_1 is paused: its trial ended without a way to pay. It doesn't count until it is resumed.`},
		{"a renewal that is late", 33, `
2026-01-01 00:00 * sub_1 is known from here on: status active, plan Pro, period 1 Jan 2026 00:00 UTC to 1 Feb 2026 00:00 UTC. The plan is now Pro, after Free.
2026-02-03 00:00 - Stripe hasn't told of a period after the last one: until it does, the plan stays, and this period is taken to be 1 Feb 2026 00:00 UTC to 1 Mar 2026 00:00 UTC.`},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			for _, s := range scenarios {
				if s.name != test.scenario {
					continue
				}
				var got strings.Builder
				for _, step := range apply(s.changes).AsOf(day(test.day)).Standing(day(test.day), catalog).Why {
					mark := "-"
					if step.Event != "" {
						mark = "*"
					}
					got.WriteString("\n" + step.At.Format("2006-01-02 15:04") + " " + mark + " " + step.Text)
				}
				if diff := cmp.Diff(test.want, got.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				return
			}
			t.Fatal("there is no such scenario")
		})
	}
}

// TestWhyTellsAnEventOnce: an event that two versions of the translation have made is
// two changes, and one event to people.
func TestWhyTellsAnEventOnce(t *testing.T) {
	old := event(Created, 0, pro, func(c *Change) { c.LookupKey, c.Price, c.Plan = "", "price_x", "" })
	renewed := event(Created, 0, pro)
	for _, order := range [][]Change{{old, renewed}, {renewed, old}} {
		st := apply(order).Standing(day(1), catalog)
		if len(st.Why) != 1 || st.Why[0].Event != renewed.ID || !st.Why[0].At.Equal(time.Unix(renewed.Created, 0)) {
			t.Errorf("%+v", st.Why)
		}
	}
}
