package receive

import (
	"encoding/json"
	"errors"
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
	kgents.CodeUnavailable:  http.StatusServiceUnavailable,
	kgents.CodeMisconfig:    http.StatusInternalServerError,
	kgents.CodeInternal:     http.StatusInternalServerError,
}

// problem is an RFC 9457 document. Type is a URI that names the code and need
// not lead anywhere.
type problem struct {
	Type   string        `json:"type"`
	Title  string        `json:"title"`
	Status int           `json:"status"`
	Detail string        `json:"detail,omitempty"`
	Errors []problemItem `json:"errors,omitempty"`
}

type problemItem struct {
	Index   int    `json:"index"`
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// WriteProblem answers with err as application/problem+json and returns the
// status. The cause of an *kgents.Error is not shown; any other error is shown
// as an internal one, without its text.
func WriteProblem(w http.ResponseWriter, _ *http.Request, err error) int {
	e, ok := errors.AsType[*kgents.Error](err)
	if !ok {
		e = kgents.Errorf(kgents.CodeInternal, "something went wrong here; the log says what")
	}
	status := statuses[e.Code]
	p := problem{Type: "urn:kgents:problem:" + string(e.Code), Title: http.StatusText(status), Status: status, Detail: e.Message}
	for _, i := range e.Items {
		p.Errors = append(p.Errors, problemItem{i.Index, i.Pointer, i.Message})
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if e.Code == kgents.CodeUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="kgents"`)
	}
	if e.Code == kgents.CodeUnavailable || e.Code == kgents.CodeRateLimited {
		// Rounded up: a client that came earlier would be refused again.
		wait := max(1, int(math.Ceil(float64(e.RetryAfter)/float64(time.Second))))
		h.Set("Retry-After", strconv.Itoa(wait))
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) // a client that has gone misses nothing
	return status
}
