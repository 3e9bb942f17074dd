package kgents

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of failure an error is. One table in package receive maps
// codes to HTTP statuses; no other place chooses a status.
type Code string

// The codes, each with what the caller can do about it.
const (
	CodeInvalid      Code = "invalid"            // the input is wrong: mend it, do not repeat it
	CodeUnauthorized Code = "unauthorized"       // no key, or a wrong one
	CodeForbidden    Code = "forbidden"          // the key is good but not for this
	CodeNotFound     Code = "not_found"          // no such thing
	CodeMethod       Code = "method_not_allowed" // the path is right, the method is not
	CodeConflict     Code = "conflict"           // it is there already, or has changed since
	CodeTooLarge     Code = "too_large"          // over a limit that the message names
	CodeTimeout      Code = "timeout"            // the caller was too slow to send its request
	CodeRateLimited  Code = "rate_limited"       // the caller sends more often than it may: the same again, later
	CodePayment      Code = "payment_required"   // over a hard limit of the plan: a larger plan, or the next period
	CodeUnavailable  Code = "unavailable"        // nothing durable can take it now: send it again later
	CodeMisconfig    Code = "misconfigured"      // the operator has to set something first
	CodeInternal     Code = "internal"           // a defect of ours
)

// Codes lists them, in the order above.
func Codes() []Code {
	return []Code{
		CodeInvalid, CodeUnauthorized, CodeForbidden, CodeNotFound, CodeMethod, CodeConflict, CodeTooLarge, CodeTimeout,
		CodeRateLimited, CodePayment, CodeUnavailable, CodeMisconfig, CodeInternal,
	}
}

// Error is an error with a code, a text that may be shown to the caller, and the
// cause, which may not: it is for the log.
type Error struct {
	Code    Code
	Message string

	// RetryAfter is how long the caller should wait before the same request has
	// a chance. Zero where repeating is no use or no time is known.
	RetryAfter time.Duration

	// Items names each offending part of a request with many parts.
	Items []Item

	// Extra are further members of the answer, as RFC 9457 allows: what a program
	// needs to know, such as the plans that would allow what was refused.
	Extra map[string]any

	// Err is the cause. It is never sent to a caller.
	Err error
}

// Item is one offending event of a batch.
type Item struct {
	Index   int    // position in the batch, from 0
	Pointer string // RFC 6901 pointer into the request body, for example "/1/subject"
	Message string // what is wrong and what would be right
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.Err)
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Unavailable is the error for 'nothing durable can take it now'.
func Unavailable(retryAfter time.Duration, message string, cause error) *Error {
	return &Error{Code: CodeUnavailable, Message: message, RetryAfter: retryAfter, Err: cause}
}

// ErrorCode returns the code of err: the outermost Error's, CodeInternal for any
// other error, and "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
