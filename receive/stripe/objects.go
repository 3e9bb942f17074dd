package stripe

import (
	"regexp"
	"slices"

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
	CustomerRef  string `json:"customer_ref,omitempty"` // our customer id, as whoever made the checkout has handed it to Stripe
	Plan         string `json:"plan,omitempty"`
	LookupKey    string `json:"lookup_key,omitempty"`
	Payment      string `json:"payment_status,omitempty"`
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
	CancelAt          *int64 `json:"cancel_at,omitempty"`
	CanceledAt        *int64 `json:"canceled_at,omitempty"`
	EndedAt           *int64 `json:"ended_at,omitempty"`
	CollectionPaused  bool   `json:"collection_paused,omitzero"`
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
	Plan     string `json:"plan"`
	Customer string `json:"customer"`
}

// customer is whom the metadata names, empty without any.
func (m *metadata) customer() string {
	if m == nil {
		return ""
	}
	return m.Customer
}

func checkout(e *envelope) (string, string, *data, string, error) {
	var o struct {
		ID           string    `json:"id"`
		Customer     ref       `json:"customer"`
		Subscription ref       `json:"subscription"`
		Mode         string    `json:"mode"`
		Amount       *int64    `json:"amount_total"`
		Currency     string    `json:"currency"`
		Payment      string    `json:"payment_status"`
		Reference    string    `json:"client_reference_id"`
		PaymentLink  ref       `json:"payment_link"`
		Metadata     *metadata `json:"metadata"`
	}
	if err := json.Unmarshal(e.Data.Object, &o); err != nil {
		return "", "", nil, "", unreadable(err)
	}
	if o.Subscription == "" { // a payment or a set-up: its money comes with an invoice, if at all
		return "", "", nil, SkippedSubscription, nil
	}
	d := &data{
		Session: o.ID, Subscription: string(o.Subscription), Mode: o.Mode, Payment: o.Payment,
		Amount: o.Amount, Currency: o.Currency, CustomerRef: o.Metadata.customer(),
	}
	if d.CustomerRef == "" && o.PaymentLink == "" { // of a payment link anybody can choose it, in the link's query
		d.CustomerRef = o.Reference
	}
	if o.Metadata != nil {
		d.Plan = o.Metadata.Plan
	}
	return Started, string(o.Customer), d, "", d.checkMoney(false)
}

// item is what a subscription consists of. Besides the one that is the plan there can
// be metered ones, for what is billed by usage.
type item struct {
	Quantity    *int64 `json:"quantity"`
	PeriodStart *int64 `json:"current_period_start"`
	PeriodEnd   *int64 `json:"current_period_end"`
	Price       *struct {
		ID        string    `json:"id"`
		LookupKey *string   `json:"lookup_key"`
		Metadata  *metadata `json:"metadata"`
		Recurring *struct {
			UsageType string `json:"usage_type"`
		} `json:"recurring"`
	} `json:"price"`
}

func (i item) metered() bool {
	return i.Price != nil && i.Price.Recurring != nil && i.Price.Recurring.UsageType == "metered"
}

// planOf is the first item that isn't metered, else the first one, else none.
func planOf(items []item) *item {
	if i := slices.IndexFunc(items, func(i item) bool { return !i.metered() }); i >= 0 {
		return &items[i]
	}
	if len(items) > 0 {
		return &items[0]
	}
	return nil
}

func subscriptionAs(typ string) func(*envelope) (string, string, *data, string, error) {
	return func(e *envelope) (string, string, *data, string, error) {
		var o struct {
			ID       string    `json:"id"`
			Customer ref       `json:"customer"`
			Status   string    `json:"status"`
			Metadata *metadata `json:"metadata"`
			Items    struct {
				Data []item `json:"data"`
			} `json:"items"`
			PeriodStart       *int64         `json:"current_period_start"` // here until 2025-03-31, then on the items
			PeriodEnd         *int64         `json:"current_period_end"`
			TrialEnd          *int64         `json:"trial_end"`
			CancelAtPeriodEnd *bool          `json:"cancel_at_period_end"`
			CancelAt          *int64         `json:"cancel_at"`
			CanceledAt        *int64         `json:"canceled_at"`
			EndedAt           *int64         `json:"ended_at"`
			PauseCollection   jsontext.Value `json:"pause_collection"` // an object while it is paused
		}
		if err := json.Unmarshal(e.Data.Object, &o); err != nil {
			return "", "", nil, "", unreadable(err)
		}
		if o.ID == "" {
			return "", "", nil, "", kgents.Errorf(kgents.CodeInvalid, `the subscription has no "id"`)
		}
		d := &data{
			Subscription: o.ID, Status: o.Status, TrialEnd: o.TrialEnd, CustomerRef: o.Metadata.customer(),
			PeriodStart: o.PeriodStart, PeriodEnd: o.PeriodEnd,
			CancelAtPeriodEnd: o.CancelAtPeriodEnd, CancelAt: o.CancelAt, CanceledAt: o.CanceledAt, EndedAt: o.EndedAt,
			CollectionPaused: o.PauseCollection.Kind() == '{',
		}
		if item := planOf(o.Items.Data); item != nil {
			d.Quantity = item.Quantity
			if d.PeriodEnd == nil {
				d.PeriodStart, d.PeriodEnd = item.PeriodStart, item.PeriodEnd
			}
			if p := item.Price; p != nil {
				d.Price = p.ID
				if p.LookupKey != nil {
					d.Plan, d.LookupKey = *p.LookupKey, *p.LookupKey
				}
				if p.Metadata != nil && p.Metadata.Plan != "" {
					d.Plan = p.Metadata.Plan
				}
			}
		}
		if o.Metadata != nil && o.Metadata.Plan != "" {
			d.Plan = o.Metadata.Plan
		}
		return typ, string(o.Customer), d, "", nil
	}
}

// details is where an invoice names its subscription.
type details struct {
	Subscription ref       `json:"subscription"`
	Metadata     *metadata `json:"metadata"` // the subscription's, as it was when the invoice was made
}

func invoiceAs(typ string) func(*envelope) (string, string, *data, string, error) {
	return func(e *envelope) (string, string, *data, string, error) {
		var o struct {
			ID           string   `json:"id"`
			Customer     ref      `json:"customer"`
			Subscription ref      `json:"subscription"`         // here until 2025-03-31, then under parent
			Details      *details `json:"subscription_details"` // likewise, but without the subscription
			Parent       *struct {
				Details *details `json:"subscription_details"`
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
		if o.Details != nil {
			d.CustomerRef = o.Details.Metadata.customer()
		}
		if o.Parent != nil && o.Parent.Details != nil {
			if d.Subscription == "" {
				d.Subscription = string(o.Parent.Details.Subscription)
			}
			if d.CustomerRef == "" {
				d.CustomerRef = o.Parent.Details.Metadata.customer()
			}
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
