package meter

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Class says what to do with a request that failed.
type Class int

// The classes.
const (
	Retry   Class = iota // the meter is away or overloaded: the same request can succeed later
	Blocked              // the key, the quota or the address is wrong: it can succeed once the operator has mended that
	Refused              // the request holds something that will never be taken
)

func (c Class) String() string { return [...]string{"retry", "blocked", "refused"}[c] }

// maxRetryAfter caps what a meter may ask us to wait, so that a mistake there
// doesn't stop delivery for a day.
const maxRetryAfter = 5 * time.Minute

// Error is a request that did not succeed. Its text is for the log: it holds no key,
// and nothing that the meter repeats of the request.
type Error struct {
	Status     int // HTTP status, 0 without an answer
	Class      Class
	RetryAfter time.Duration // what the meter asked for, 0 if nothing, at most 5 minutes
	Detail     string        // the meter's own words, cut at 64 KiB; they may repeat the request
	Err        error         // why there was no answer

	words string // of Detail, what may be logged
}

func (e *Error) Error() string {
	switch {
	case e.Status == 0 && e.Err != nil:
		return fmt.Sprintf("no answer from the meter: %v", e.Err)
	case e.Detail != "":
		return fmt.Sprintf("the meter answered %d: %s", e.Status, e.Words())
	default:
		return fmt.Sprintf("the meter answered %d %s", e.Status, http.StatusText(e.Status))
	}
}

// Words is the beginning of Detail as it may be logged: without what the meter
// repeats of the request.
func (e *Error) Words() string {
	if e.words != "" {
		return e.words
	}
	return e.Detail // our own
}

func (e *Error) Unwrap() error { return e.Err }

// Classify returns the class of an error of this package, and Retry for any
// other: what isn't understood must not cost an event.
func Classify(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Retry
}

// classOf sorts statuses:
//
//	1xx, 2xx that ingest doesn't use       Retry    a broken intermediary
//	3xx                                    Blocked  the address is wrong
//	401, 402, 403, 404, 405, 407           Blocked  key, quota or address
//	408, 425, 429                          Retry
//	other 4xx                              Refused
//	5xx and beyond                         Retry
//
// A wrong key is not the events' fault: to refuse them would make dead letters
// of a day's revenue.
func classOf(status int) Class {
	switch status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired:
		return Blocked
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return Retry
	}
	switch status / 100 {
	case 3:
		return Blocked
	case 4:
		return Refused
	default:
		return Retry
	}
}

// retryAfter reads both forms of RFC 9110: seconds and a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	// Out of range, Atoi gives the nearest there is.
	if s, err := strconv.Atoi(v); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(max(0, s), int(maxRetryAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, t.Sub(now)), maxRetryAfter)
	}
	return 0
}
