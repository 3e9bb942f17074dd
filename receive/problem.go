package receive

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/kgents/kgents"
)

// statuses is the one answer to 'what does this error look like over HTTP'.
var statuses = map[kgents.Code]int{
	kgents.CodeInvalid:      http.StatusBadRequest,
	kgents.CodeUnauthorized: http.StatusUnauthorized,
	kgents.CodeForbidden:    http.StatusForbidden,
	kgents.CodeNotFound:     http.StatusNotFound,
	kgents.CodeMethod:       http.StatusMethodNotAllowed,
	kgents.CodeConflict:     http.StatusConflict,
	kgents.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	kgents.CodeTimeout:      http.StatusRequestTimeout,
	kgents.CodeRateLimited:  http.StatusTooManyRequests,
	kgents.CodePayment:      http.StatusPaymentRequired,
	kgents.CodeUnavailable:  http.StatusServiceUnavailable,
	kgents.CodeMisconfig:    http.StatusInternalServerError,
	kgents.CodeInternal:     http.StatusInternalServerError,
}

// Problem is an RFC 9457 document and its status. It is an error, so that it can be
// handed on as one.
type Problem struct {
	Type   string        `json:"type" doc:"A URI that names the kind of problem: urn:kgents:problem:<code>"`
	Title  string        `json:"title" doc:"The status in words"`
	Status int           `json:"status" doc:"The HTTP status"`
	Detail string        `json:"detail,omitempty" doc:"What is wrong and what to do about it"`
	Errors []ProblemItem `json:"errors,omitempty" doc:"Each offending part of the request"`

	code       kgents.Code
	retryAfter time.Duration
	extra      map[string]any
}

// ProblemItem is one offending part of a request.
type ProblemItem struct {
	Index   int    `json:"index" doc:"Position in a batch, from 0"`
	Pointer string `json:"pointer" doc:"Where in the request: a JSON pointer in a batch of events, else a path such as body.name"`
	Detail  string `json:"detail" doc:"What is wrong with it"`
}

// ProblemOf is err as it is shown. The cause of an *kgents.Error is not shown; any
// other error is shown as an internal one, without its text.
func ProblemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*kgents.Error](err)
	if !ok {
		e = kgents.Errorf(kgents.CodeInternal, "something went wrong here; the log says what")
	}
	status := statuses[e.Code]
	p := &Problem{
		Type: "urn:kgents:problem:" + string(e.Code), Title: http.StatusText(status), Status: status, Detail: e.Message,
		code: e.Code, retryAfter: e.RetryAfter, extra: e.Extra,
	}
	for _, i := range e.Items {
		p.Errors = append(p.Errors, ProblemItem{i.Index, i.Pointer, i.Message})
	}
	return p
}

func (p *Problem) Error() string { return p.Detail }

// GetStatus, GetHeaders and ContentType are what package api's library asks an error.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders are the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{"Cache-Control": {"no-store"}}
	if p.code == kgents.CodeUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="kgents"`)
	}
	if p.code == kgents.CodeUnavailable || p.code == kgents.CodeRateLimited {
		// Rounded up: a client that came earlier would be refused again.
		wait := max(1, int(math.Ceil(float64(p.retryAfter)/float64(time.Second))))
		h.Set("Retry-After", strconv.Itoa(wait))
	}
	return h
}

// ContentType is that of problem documents.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// MarshalJSON writes the members and the extensions.
func (p *Problem) MarshalJSON() ([]byte, error) {
	type members Problem
	if len(p.extra) == 0 {
		return json.Marshal((*members)(p))
	}
	all := maps.Clone(p.extra)
	all["type"], all["title"], all["status"], all["detail"] = p.Type, p.Title, p.Status, p.Detail
	if len(p.Errors) > 0 {
		all["errors"] = p.Errors
	}
	return json.Marshal(all)
}

// WriteProblem answers with err as application/problem+json and returns the status.
func WriteProblem(w http.ResponseWriter, _ *http.Request, err error) int {
	p := ProblemOf(err)
	h := w.Header()
	h.Set("Content-Type", p.ContentType(""))
	for name, values := range p.GetHeaders() {
		h[name] = values
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a client that has gone misses nothing
	return p.Status
}
