// Package stripe verifies Stripe's webhooks and translates the six events that
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
	if header == "" {
		return refuse(ReasonUnsigned, "the Stripe-Signature header is missing: only Stripe posts here")
	}
	at, ok := timestamp(header)
	if !ok {
		return refuse(ReasonHeader, "the Stripe-Signature header can't be read")
	}
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
