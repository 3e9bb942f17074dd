package billing

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

// Match is the header that makes a change depend on what it was decided on. Stripe has no
// such thing, so the subscription is read from Stripe and compared, and then changed: what
// somebody changes between these two requests, some tenths of a second, is not seen.
type Match struct {
	IfMatch string `header:"If-Match" maxLength:"64" pattern:"^(\\*|\"[0-9a-f]+\")?$" doc:"The ETag that the decision rests on; with another the answer is 409"`
}

// check fails when a subscription that is about to be changed is not as it was when it had
// the ETag.
func (m Match) check(v SubscriptionView) error {
	if m.IfMatch == "" || m.IfMatch == "*" || m.IfMatch == v.etag() {
		return nil
	}
	err := kgents.Errorf(kgents.CodeConflict, "the subscription has changed at Stripe since then, and nothing was done: now it is %s", v.words())
	err.Extra = map[string]any{"subscription": v}
	return err
}

// words say what a change may rest on.
func (v SubscriptionView) words() string {
	ends := ""
	if v.CancelAtPeriodEnd {
		ends = ", ends with its period"
	}
	return fmt.Sprintf("%s, status %s, plan %s, by the %s, %d of it%s", v.Subscription, v.Status, cmp.Or(v.Plan, "none"), cmp.Or(v.Interval, "month"), v.Quantity, ends)
}

func (v SubscriptionView) etag() string { return `"` + v.Revision + `"` }

// revision changes with what a change may rest on: which subscription it is, its status,
// when it ends, its price and how many of it. Item may be nil.
func revision(sub *stripe.Subscription, item *stripe.SubscriptionItem) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%t\x00%d", sub.ID, sub.Status, sub.CancelAtPeriodEnd, sub.CancelAt)
	if item != nil {
		fmt.Fprintf(h, "\x00%s\x00%s\x00%d", item.ID, item.Price.ID, item.Quantity)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
