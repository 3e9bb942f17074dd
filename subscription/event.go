package subscription

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kgents/kgents"
)

// data are the members of an event's data that are read. Those that older versions of
// the translation didn't pass on are simply missing.
type data struct {
	StripeType        string `json:"stripe_event_type"`
	Account           string `json:"account"`
	CustomerRef       string `json:"customer_ref"`
	Session           string `json:"checkout_session"`
	Subscription      string `json:"subscription_id"`
	Invoice           string `json:"invoice_id"`
	Plan              string `json:"plan"`
	LookupKey         string `json:"lookup_key"`
	Payment           string `json:"payment_status"`
	Status            string `json:"status"`
	Price             string `json:"price_id"`
	Quantity          int64  `json:"quantity"`
	Amount            int64  `json:"amount"`
	Currency          string `json:"currency"`
	AttemptCount      int64  `json:"attempt_count"`
	NextAttempt       int64  `json:"next_payment_attempt"`
	TrialEnd          int64  `json:"trial_end"`
	PeriodStart       int64  `json:"current_period_start"`
	PeriodEnd         int64  `json:"current_period_end"`
	CancelAtPeriodEnd bool   `json:"cancel_at_period_end"`
	CancelAt          int64  `json:"cancel_at"`
	CanceledAt        int64  `json:"canceled_at"`
	EndedAt           int64  `json:"ended_at"`
	CollectionPaused  bool   `json:"collection_paused"`
}

// maxText bounds each text of a Change, in bytes: Stripe's ids have at most 255 and its
// lookup keys 200.
const maxText = 256

// maxTime is the year 2200, past which a time is none.
const maxTime = 7258118400

// FromEvent reads a Stripe event as package receive/stripe has translated it. It is
// false for an event that says nothing about a subscription: of another source, of no
// subscription, or of a connected account, whose owner could otherwise sell himself a
// plan. The error is an *kgents.Error with CodeInvalid.
func FromEvent(e kgents.Event) (Change, bool, error) {
	if e.Source != kgents.SourceStripe {
		return Change{}, false, nil
	}
	var d data
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return Change{}, false, &kgents.Error{Code: kgents.CodeInvalid, Message: "the data of the Stripe event can't be read", Err: err}
	}
	c := Change{
		ID: e.ID, Type: d.StripeType, Created: e.Time.Unix(),
		Subscription: d.Subscription, Status: d.Status, Price: d.Price, LookupKey: short(d.LookupKey), Plan: short(d.Plan), Quantity: max(0, d.Quantity),
		PeriodStart: moment(d.PeriodStart), PeriodEnd: moment(d.PeriodEnd), TrialEnd: moment(d.TrialEnd),
		CancelAtPeriodEnd: d.CancelAtPeriodEnd, CancelAt: moment(d.CancelAt), CanceledAt: moment(d.CanceledAt), EndedAt: moment(d.EndedAt),
		Paused: d.CollectionPaused,
	}
	switch e.Type {
	case "subscription.started":
		c.Kind = Created
		if d.Session != "" {
			c.Kind, c.Status = Checkout, d.Payment
		}
	case "subscription.updated":
		c.Kind = Updated
	case "subscription.ended":
		c.Kind = Deleted
	case "payment.success", "payment.failed":
		c.Kind = Paid
		if e.Type == "payment.failed" {
			c.Kind = Failed
		}
		c.Invoice, c.Amount, c.Currency, c.Attempt, c.NextAttempt = d.Invoice, d.Amount, d.Currency, max(0, d.AttemptCount), moment(d.NextAttempt)
	default:
		return Change{}, false, nil
	}
	if d.Subscription == "" || d.Account != "" {
		return Change{}, false, nil
	}
	switch {
	case c.ID == "" || c.Created < 0 || c.Created >= maxTime:
		return Change{}, false, kgents.Errorf(kgents.CodeInvalid, "the Stripe event has no id or no time")
	case c.Invoice == "" && (c.Kind == Paid || c.Kind == Failed):
		return Change{}, false, kgents.Errorf(kgents.CodeInvalid, "the payment names no invoice")
	}
	for _, text := range []string{c.ID, c.Type, c.Subscription, c.Status, c.Price, c.Invoice, c.Currency} {
		if text != "" && short(text) == "" {
			return Change{}, false, kgents.Errorf(kgents.CodeInvalid, "the Stripe event has an id of more than %d bytes, or with control characters", maxText)
		}
	}
	return c, true, nil
}

// short is a name, or empty where it can't be the name of anything.
func short(name string) string {
	if len(name) > maxText || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return ""
	}
	return name
}

// moment is a time of Stripe's, or none where it can't be one.
func moment(seconds int64) int64 {
	if seconds < 0 || seconds >= maxTime {
		return 0
	}
	return seconds
}

// Ref is the customer's id of ours that a Stripe event names, as checkout has handed it
// to Stripe; empty if it names none. It is text from outside: nothing has checked it.
func Ref(e kgents.Event) string {
	var d data
	if e.Source != kgents.SourceStripe || json.Unmarshal(e.Data, &d) != nil || d.Account != "" {
		return ""
	}
	return d.CustomerRef
}

// at is the time of Unix seconds, the zero time for 0.
func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
