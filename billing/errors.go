package billing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

const (
	defaultRetry  = 5 * time.Second
	maxRetryAfter = 5 * time.Minute // of what Stripe asks for
	maxShown      = 300             // bytes of Stripe's words that are shown
)

// failure is an answer of Stripe's that is no success, as far as it may be logged.
type failure struct {
	operation, kind, code, param, request string
	status                                int

	duplicate bool // a meter event with this identifier is there already
	replayed  bool // the answer was kept under the idempotency key
}

func (f *failure) Error() string {
	return fmt.Sprintf("Stripe answered %d to %s: type %q, code %q, parameter %q, request %s", f.status, f.operation, f.kind, f.code, f.param, f.request)
}

// failed makes an *kgents.Error of what the library returned:
//
//	no answer, 5xx                            CodeUnavailable
//	429, and 409 of a lock                    CodeUnavailable, after what Retry-After says
//	401, 403                                  CodeMisconfig
//	a price that Stripe doesn't know          CodeMisconfig
//	404                                       CodeNotFound
//	an idempotency key that was used          CodeConflict
//	402 and everything else                   CodeInvalid, with Stripe's words if they are safe
func failed(operation string, err error) error {
	e, ok := errors.AsType[*stripe.Error](err)
	if !ok {
		u, sent := errors.AsType[*url.Error](err)
		switch {
		case errors.Is(err, context.Canceled):
			err = context.Canceled
		case errors.Is(err, context.DeadlineExceeded):
			err = context.DeadlineExceeded
		case sent:
			err = u.Err // the rest is the address
		default:
			err = errStranger // the library's text repeats what came
		}
		return kgents.Unavailable(defaultRetry, "Stripe does not answer: nothing is known to have changed; the same request with the same Idempotency-Key is safe to repeat", fmt.Errorf("%s: %w", operation, err))
	}
	f := &failure{operation: operation, kind: string(e.Type), code: string(e.Code), param: e.Param, request: e.RequestID, status: e.HTTPStatusCode}
	// https://docs.stripe.com/api/billing/meter-event/create: an identifier is unique for
	// a day at least. Stripe answers 400 with these words, some versions with the code.
	f.duplicate = f.status == http.StatusBadRequest && (f.code == "duplicate_meter_event" || strings.HasPrefix(e.Msg, "An event already exists with identifier"))
	retry := defaultRetry
	if e.LastResponse != nil {
		f.replayed = e.LastResponse.Header.Get("Idempotent-Replayed") == "true"
		if s, err := strconv.Atoi(e.LastResponse.Header.Get("Retry-After")); err == nil && s > 0 {
			retry = min(time.Duration(min(s, 1<<20))*time.Second, maxRetryAfter)
		}
	}
	out := &kgents.Error{Err: f}
	switch {
	case f.status == http.StatusUnauthorized:
		out.Code, out.Message = kgents.CodeMisconfig, "Stripe does not accept the key: the operator has to set STRIPE_API_KEY to a valid one"
	case f.status == http.StatusForbidden:
		out.Code, out.Message = kgents.CodeMisconfig, "Stripe's key may not do this: the operator has to give the restricted key of STRIPE_API_KEY the permission, see docs/saas/stripe.md"
	case e.Type == stripe.ErrorTypeIdempotency || f.code == "idempotency_key_in_use":
		out.Code, out.Message = kgents.CodeConflict, "this Idempotency-Key is in use, or was used for another request: repeat that one, or take a new key"
	case f.status == http.StatusTooManyRequests || f.status == http.StatusConflict:
		out.Code, out.RetryAfter, out.Message = kgents.CodeUnavailable, retry, "Stripe is asked too much at once: the same request again, later"
	case f.status >= 500 || f.status < 400:
		out.Code, out.RetryAfter, out.Message = kgents.CodeUnavailable, retry, "Stripe has trouble: the same request again, later"
	case f.code == string(stripe.ErrorCodeResourceMissing) && (strings.Contains(f.param, "price") || strings.Contains(f.param, "items")):
		out.Code, out.Message = kgents.CodeMisconfig, "Stripe does not know the price: the operator has to set STRIPE_PRICE_… to prices of this account and mode, or run 'kgents stripe setup'"
	case f.status == http.StatusNotFound || f.code == string(stripe.ErrorCodeResourceMissing):
		out.Code, out.Message = kgents.CodeNotFound, "Stripe does not know what this is about; the customer may be of another account or mode of Stripe's"
	default:
		out.Code, out.Message = kgents.CodeInvalid, "Stripe refused it: "+shown(e.Msg)
	}
	return out
}

// unsafe finds keys, secrets, e-mail addresses and runs of digits that could be a card
// or an account.
var unsafe = regexp.MustCompile(`(?i)\b(sk|rk|pk|whsec|ek)_\w+|_secret_|[^\s@]+@[^\s@]+|\d[\d -]{10,}\d`)

// shown is Stripe's message if it may be shown to a customer, else words of ours.
func shown(message string) string {
	message = strings.TrimSpace(message)
	switch {
	case message == "" || len(message) > maxShown || unsafe.MatchString(message) || strings.ContainsFunc(message, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "the log has its code and the id of the request in Stripe's dashboard"
	default:
		return message
	}
}

var errStranger = errors.New("what came is no answer of Stripe's: look at STRIPE_API_BASE")

// failureOf is what Stripe answered, nil if it didn't.
func failureOf(err error) *failure {
	f, _ := errors.AsType[*failure](err)
	return f
}
