package stripe

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kgents/kgents"
)

// Types of the meter events.
const (
	Started   = "subscription.started"
	Updated   = "subscription.updated"
	Ended     = "subscription.ended"
	Succeeded = "payment.success"
	Failed    = "payment.failed"
)

// Unattributed is the subject of an event whose object names no customer, so
// that its money is counted all the same.
const Unattributed = "unattributed"

// Reasons for which an event is no meter event, as metrics name them.
const (
	SkippedType         = "unhandled_type"  // not one of the eight
	SkippedThin         = "thin_event"      // a v2 event, which carries no object
	SkippedSubscription = "no_subscription" // a checkout of something else
)

// Result is what became of a Stripe event. Skipped is empty when Event counts.
type Result struct {
	StripeID   string // empty where it can't be trusted to be one
	StripeType string
	Event      kgents.Event
	Skipped    string
}

// handled maps Stripe's types to ours.
var handled = map[string]func(*envelope) (kind string, customer string, d *data, skipped string, err error){
	"checkout.session.completed":    checkout,
	"customer.subscription.created": subscriptionAs(Started),
	"customer.subscription.updated": subscriptionAs(Updated),
	"customer.subscription.deleted": subscriptionAs(Ended),
	"customer.subscription.paused":  subscriptionAs(Updated),
	"customer.subscription.resumed": subscriptionAs(Updated),
	"invoice.paid":                  invoiceAs(Succeeded),
	"invoice.payment_failed":        invoiceAs(Failed),
}

// Handled tells whether Stripe events of this type count.
func Handled(stripeType string) bool { _, ok := handled[stripeType]; return ok }

// envelope is a Stripe event.
type envelope struct {
	ID       string `json:"id"`
	Object   string `json:"object"`
	Type     string `json:"type"`
	Created  *int64 `json:"created"`
	Account  string `json:"account"`
	Livemode bool   `json:"livemode"`
	Data     struct {
		Object jsontext.Value `json:"object"`
	} `json:"data"`
}

var eventID = regexp.MustCompile(`^evt_[A-Za-z0-9_]{1,250}$`)

// Translate makes the meter event of a verified payload. The error is an
// *kgents.Error with CodeInvalid that says what is wrong with the payload.
func Translate(payload []byte) (Result, error) {
	// Thin events have another shape, so the kind is read before the rest.
	var kind struct {
		Object string `json:"object"`
		Type   string `json:"type"`
	}
	if err := json.Unmarshal(payload, &kind); err != nil {
		return Result{}, unreadable(err)
	}
	r := Result{StripeType: kind.Type}
	switch {
	case kind.Object == "v2.core.event":
		r.Skipped = SkippedThin
		return r, nil
	case kind.Object != "event":
		return r, kgents.Errorf(kgents.CodeInvalid, `the body is no Stripe event: its "object" is not "event"`)
	case !Handled(kind.Type):
		r.Skipped = SkippedType
		return r, nil
	}
	var e envelope
	if err := json.Unmarshal(payload, &e); err != nil {
		return r, unreadable(err)
	}
	switch {
	case !eventID.MatchString(e.ID):
		return r, kgents.Errorf(kgents.CodeInvalid, `the Stripe event's "id" is missing or not of the form evt_…`)
	case e.Created == nil || *e.Created < 0 || *e.Created >= 7258118400: // the year 2200
		return r, kgents.Errorf(kgents.CodeInvalid, `the Stripe event's "created" is missing or no time`)
	case e.Data.Object.Kind() != '{':
		return r, kgents.Errorf(kgents.CodeInvalid, `the Stripe event has no "data.object"`)
	}
	r.StripeID = e.ID
	typ, customer, d, skipped, err := handled[e.Type](&e)
	if err != nil || skipped != "" {
		r.Skipped = skipped
		return r, err
	}
	if customer == "" {
		customer = Unattributed
	}
	d.StripeType, d.Livemode, d.Account = e.Type, e.Livemode, e.Account
	r.Event, err = encode(e.ID, typ, customer, time.Unix(*e.Created, 0).UTC(), d)
	return r, err
}

// encode makes the CloudEvent.
func encode(id, typ, subject string, at time.Time, d *data) (kgents.Event, error) {
	if len(subject) > kgents.MaxSubjectBytes {
		return kgents.Event{}, kgents.Errorf(kgents.CodeInvalid, "the Stripe object's customer id is longer than %d bytes", kgents.MaxSubjectBytes)
	}
	if strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r == 0x7f }) { // the meter would refuse it for ever
		return kgents.Event{}, kgents.Errorf(kgents.CodeInvalid, "the Stripe object's customer id has control characters")
	}
	inner, err := json.Marshal(d)
	if err != nil {
		return kgents.Event{}, impassable(err)
	}
	raw, err := json.Marshal(struct {
		SpecVersion string         `json:"specversion"`
		ID          string         `json:"id"`
		Source      string         `json:"source"`
		Type        string         `json:"type"`
		Subject     string         `json:"subject"`
		Time        string         `json:"time"`
		Data        jsontext.Value `json:"data"` // the last one, see below
	}{"1.0", id, kgents.SourceStripe, typ, subject, at.Format(time.RFC3339), inner})
	if err != nil {
		return kgents.Event{}, impassable(err)
	}
	end := len(raw) - len("}")
	return kgents.Event{
		ID: id, Source: kgents.SourceStripe, Type: typ, Subject: subject, Time: at,
		Raw: raw, Data: raw[end-len(inner) : end : end],
	}, nil
}

func impassable(err error) error {
	return &kgents.Error{Code: kgents.CodeInvalid, Message: "the Stripe object holds something that can't be passed on", Err: err}
}

// unreadable says why a payload can't be read, without quoting it.
func unreadable(err error) error {
	message := "the body can't be read as a Stripe event"
	syntax, isSyntax := errors.AsType[*jsontext.SyntacticError](err)
	semantic, isSemantic := errors.AsType[*json.SemanticError](err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		message = "the body has an object with two members of one name"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		message = "the body ends in the middle of the JSON"
	case isSyntax:
		message = fmt.Sprintf("the body is no valid JSON in UTF-8: look at byte %d", syntax.ByteOffset)
	case isSemantic && len(semantic.JSONPointer) < 200:
		message = fmt.Sprintf("the body is of the wrong shape at %q", string(semantic.JSONPointer))
	}
	return kgents.Errorf(kgents.CodeInvalid, "%s", message) // without the cause, which may quote the payload
}
