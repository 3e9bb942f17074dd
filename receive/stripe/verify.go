// Package stripe verifies Stripe's webhooks and translates the eight events that
// count into meter events.
//
// It promises that nothing looks at a body before its signature was found good,
// and that the same Stripe event gives the same meter event however often and
// whenever it is delivered: the id is Stripe's, the time is Stripe's `created`,
// money stays the integer in the minor unit that Stripe sent. Events of every API
// version are taken. It depends on nothing that could be away.
package stripe

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents"
)

// Tolerance is how far a signature's timestamp may lie from now, in both
// directions. It is Stripe's own figure.
const Tolerance = webhook.DefaultTolerance

// maxHeader bounds the Stripe-Signature header, in bytes. A signature has 68, and
// there are two while a secret is rotated; each is compared with each secret.
const maxHeader = 1 << 10

// Reasons for which Verify refuses, as metrics name them.
const (
	ReasonUnsigned = "no_signature"
	ReasonHeader   = "bad_header"
	ReasonStale    = "timestamp"
	ReasonWrong    = "bad_signature"
)

// SignatureError is a refusal of Verify. Its text is safe to show.
type SignatureError struct {
	Reason string
	Err    *kgents.Error
}

func (e *SignatureError) Error() string { return e.Err.Error() }
func (e *SignatureError) Unwrap() error { return e.Err }

// Verify checks the Stripe-Signature header over the raw body. Any of secrets
// may have signed it, so that two overlap while one is rotated. Signatures are
// compared in constant time. The error is a *SignatureError.
func Verify(payload []byte, header string, secrets []string, now time.Time) error {
	if err := CheckHeader(header); err != nil {
		return err
	}
	at, _ := timestamp(header)
	for _, secret := range secrets {
		switch err := webhook.ValidatePayloadIgnoringTolerance(payload, header, secret); {
		case err == nil:
			// The timestamp is part of what was signed, so it is Stripe's word.
			if d := now.Sub(at); d > Tolerance || d < -Tolerance {
				return refuse(ReasonStale, "the signature's timestamp is more than 5 minutes from now: look at the clock of this machine, or have Stripe send the event again")
			}
			return nil
		case errors.Is(err, webhook.ErrInvalidHeader):
			return refuse(ReasonHeader, "the Stripe-Signature header can't be read")
		}
	}
	return refuse(ReasonWrong, "the signature does not match: compare the endpoint's signing secret with STRIPE_WEBHOOK_SECRET, and see that nothing on the way changes the body")
}

// CheckHeader is what Verify finds without the body: nil says nothing about who sent
// it. The error is a *SignatureError.
func CheckHeader(header string) error {
	if header == "" {
		return refuse(ReasonUnsigned, "the Stripe-Signature header is missing: only Stripe posts here")
	}
	if len(header) <= maxHeader {
		if _, ok := timestamp(header); ok {
			return nil
		}
	}
	return refuse(ReasonHeader, "the Stripe-Signature header can't be read")
}

func refuse(reason, message string) error {
	return &SignatureError{Reason: reason, Err: kgents.Errorf(kgents.CodeInvalid, "%s", message)}
}

// timestamp returns the header's t. Of several the last one counts, as it does
// for the signature.
func timestamp(header string) (at time.Time, ok bool) {
	for pair := range strings.SplitSeq(header, ",") {
		if raw, found := strings.CutPrefix(pair, "t="); found {
			seconds, err := strconv.ParseInt(raw, 10, 64)
			if err != nil {
				return time.Time{}, false
			}
			at, ok = time.Unix(seconds, 0), true
		}
	}
	return at, ok
}
