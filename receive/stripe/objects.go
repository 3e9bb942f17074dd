package stripe

import (
	"regexp"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kgents/kgents"
)

// data is the data of a meter event. What Stripe did not send is left out. Times
// are Unix seconds, as Stripe's are; amounts are in the currency's minor unit,
// and how many decimals that has differs by currency.
type data struct {
	StripeType string `json:"stripe_event_type"`
	Livemode   bool   `json:"livemode"`
	Account    string `json:"account,omitempty"` // the connected account, if any

	Session      string `json:"checkout_session,omitempty"`
	Subscription string `json:"subscription_id,omitempty"`
	Invoice      string `json:"invoice_id,omitempty"`
	Mode         string `json:"mode,omitempty"`
	Plan         string `json:"plan,omitempty"`
	Status       string `json:"status,omitempty"`
	Price        string `json:"price_id,omitempty"`
	Quantity     *int64 `json:"quantity,omitempty"`
	Amount       *int64 `json:"amount,omitempty"`
	Currency     string `json:"currency,omitempty"`

	BillingReason     string `json:"billing_reason,omitempty"`
	AttemptCount      *int64 `json:"attempt_count,omitempty"`
	NextAttempt       *int64 `json:"next_payment_attempt,omitempty"`
	TrialEnd          *int64 `json:"trial_end,omitempty"`
	PeriodStart       *int64 `json:"current_period_start,omitempty"`
	PeriodEnd         *int64 `json:"current_period_end,omitempty"`
	CancelAtPeriodEnd *bool  `json:"cancel_at_period_end,omitempty"`
	CanceledAt        *int64 `json:"canceled_at,omitempty"`
	EndedAt           *int64 `json:"ended_at,omitempty"`
}

// ref is a reference that Stripe sends as an id, as the expanded object, or as
// null.
type ref string

func (r *ref) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '{' {
		var object struct {
			ID string `json:"id"`
		}
		if err := json.UnmarshalDecode(dec, &object); err != nil {
			return err
		}
		*r = ref(object.ID)
		return nil
	}
	var id *string
	if err := json.UnmarshalDecode(dec, &id); err != nil {
		return err
	}
	if id != nil {
		*r = ref(*id)
	}
	return nil
}

type metadata struct {
	Plan string `json:"plan"`
}

func checkout(e *envelope) (string, string, *data, string, error) {
	var o struct {
		ID           string    `json:"id"`
		Customer     ref       `json:"customer"`
		Subscription ref       `json:"subscription"`
		Mode         string    `json:"mode"`
		Amount       *int64    `json:"amount_total"`
		Currency     string    `json:"currency"`
		Metadata     *metadata `json:"metadata"`
	}
	if err := json.Unmarshal(e.Data.Object, &o); err != nil {
		return "", "", nil, "", unreadable(err)
	}
	if o.Subscription == "" { // a payment or a set-up: its money comes with an invoice, if at all
		return "", "", nil, SkippedSubscription, nil
	}
	d := &data{Session: o.ID, Subscription: string(o.Subscription), Mode: o.Mode, Amount: o.Amount, Currency: o.Currency}
	if o.Metadata != nil {
		d.Plan = o.Metadata.Plan
	}
	return Started, string(o.Customer), d, "", d.checkMoney(false)
}

func subscriptionAs(typ string) func(*envelope) (string, string, *data, string, error) {
	return func(e *envelope) (string, string, *data, string, error) {
		var o struct {
			ID       string    `json:"id"`
			Customer ref       `json:"customer"`
			Status   string    `json:"status"`
			Metadata *metadata `json:"metadata"`
			Items    struct {
				Data []struct {
					Quantity *int64 `json:"quantity"`
					Price    *struct {
						ID        string    `json:"id"`
						LookupKey *string   `json:"lookup_key"`
						Metadata  *metadata `json:"metadata"`
					} `json:"price"`
					PeriodStart *int64 `json:"current_period_start"`
					PeriodEnd   *int64 `json:"current_period_end"`
				} `json:"data"`
			} `json:"items"`
			PeriodStart       *int64 `json:"current_period_start"` // here until 2025-03-31, then on the items
			PeriodEnd         *int64 `json:"current_period_end"`
			TrialEnd          *int64 `json:"trial_end"`
			CancelAtPeriodEnd *bool  `json:"cancel_at_period_end"`
			CanceledAt        *int64 `json:"canceled_at"`
			EndedAt           *int64 `json:"ended_at"`
		}
		if err := json.Unmarshal(e.Data.Object, &o); err != nil {
			return "", "", nil, "", unreadable(err)
		}
		if o.ID == "" {
			return "", "", nil, "", kgents.Errorf(kgents.CodeInvalid, `the subscription has no "id"`)
		}
		d := &data{
			Subscription: o.ID, Status: o.Status, TrialEnd: o.TrialEnd,
			PeriodStart: o.PeriodStart, PeriodEnd: o.PeriodEnd,
		}
		if len(o.Items.Data) > 0 {
			item := o.Items.Data[0]
			d.Quantity = item.Quantity
			if d.PeriodEnd == nil {
				d.PeriodStart, d.PeriodEnd = item.PeriodStart, item.PeriodEnd
			}
			if p := item.Price; p != nil {
				d.Price = p.ID
				if p.LookupKey != nil {
					d.Plan = *p.LookupKey
				}
				if p.Metadata != nil && p.Metadata.Plan != "" {
					d.Plan = p.Metadata.Plan
				}
			}
		}
		if o.Metadata != nil && o.Metadata.Plan != "" {
			d.Plan = o.Metadata.Plan
		}
		switch typ {
		case Updated:
			d.CancelAtPeriodEnd = o.CancelAtPeriodEnd
		case Ended:
			d.CanceledAt, d.EndedAt = o.CanceledAt, o.EndedAt
		}
		return typ, string(o.Customer), d, "", nil
	}
}

func invoiceAs(typ string) func(*envelope) (string, string, *data, string, error) {
	return func(e *envelope) (string, string, *data, string, error) {
		var o struct {
			ID           string `json:"id"`
			Customer     ref    `json:"customer"`
			Subscription ref    `json:"subscription"` // here until 2025-03-31, then under parent
			Parent       *struct {
				Details *struct {
					Subscription ref `json:"subscription"`
				} `json:"subscription_details"`
			} `json:"parent"`
			AmountPaid    *int64 `json:"amount_paid"`
			AmountDue     *int64 `json:"amount_due"`
			Currency      string `json:"currency"`
			BillingReason string `json:"billing_reason"`
			AttemptCount  *int64 `json:"attempt_count"`
			NextAttempt   *int64 `json:"next_payment_attempt"`
		}
		if err := json.Unmarshal(e.Data.Object, &o); err != nil {
			return "", "", nil, "", unreadable(err)
		}
		if o.ID == "" {
			return "", "", nil, "", kgents.Errorf(kgents.CodeInvalid, `the invoice has no "id"`)
		}
		d := &data{Invoice: o.ID, Subscription: string(o.Subscription), Currency: o.Currency}
		if d.Subscription == "" && o.Parent != nil && o.Parent.Details != nil {
			d.Subscription = string(o.Parent.Details.Subscription)
		}
		if typ == Succeeded {
			d.Amount, d.BillingReason = o.AmountPaid, o.BillingReason
		} else {
			d.Amount, d.AttemptCount, d.NextAttempt = o.AmountDue, o.AttemptCount, o.NextAttempt
		}
		return typ, string(o.Customer), d, "", d.checkMoney(true)
	}
}

var currency = regexp.MustCompile(`^[a-z]{3}$`)

// checkMoney refuses an amount without a currency and one that Stripe never
// sends. A currency that we don't know is fine: the minor unit is not ours to
// interpret.
func (d *data) checkMoney(required bool) error {
	switch {
	case d.Amount == nil && required:
		return kgents.Errorf(kgents.CodeInvalid, "the Stripe object has no amount")
	case d.Amount == nil:
		return nil
	case *d.Amount < 0:
		return kgents.Errorf(kgents.CodeInvalid, "the Stripe object's amount is negative, which Stripe never sends for a payment")
	case !currency.MatchString(d.Currency):
		return kgents.Errorf(kgents.CodeInvalid, "the Stripe object's currency is not a code of three small letters")
	}
	return nil
}
