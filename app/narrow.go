package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive"
)

// maxListed bounds a list of events that others' are left out of. OpenMeter lists 100 at
// most, of which one at a time is in memory. What is longer is cut off with the
// connection.
const maxListed = 100 * 2 * kgents.MaxEventBytes

// What a customer's key may ask the meter for. A parameter that isn't here, and so one
// of a later OpenMeter, is refused: it might name another customer.
var (
	ofQueries = []string{"from", "to", "windowSize", "windowTimeZone", "groupBy", "clientId"}
	ofEvents  = []string{"from", "to", "ingestedAtFrom", "ingestedAtTo", "id", "limit", "clientId"}
)

// passedOn are the headers of a customer's request that reach the meter.
var passedOn = []string{"Accept", "User-Agent", "Traceparent", "Tracestate"}

type ownKey struct{}

// narrow lets who may read through to next: an operator's key with what it asks, a
// customer's key with what it asks about that customer.
func narrow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := receive.Caller(r.Context())
		err := caller.Require(kgents.ScopeRead)
		if err == nil && !caller.Operator() {
			r, err = ownRequest(r, caller)
		}
		if err != nil {
			receive.WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownRequest is r as a customer's key may send it.
func ownRequest(r *http.Request, caller kgents.Principal) (*http.Request, error) {
	ctx, allowed, filters := r.Context(), []string(nil), false
	switch {
	case r.URL.Path == "/api/v1/events":
		ctx, allowed = context.WithValue(ctx, ownKey{}, caller.Customer), ofEvents
	case strings.HasSuffix(r.URL.Path, "/query"):
		allowed, filters = ofQueries, true
	}
	asked, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return r, kgents.Errorf(kgents.CodeInvalid, "the query can't be read: escape it as a URL's is")
	}
	query := url.Values{}
	for name, values := range asked {
		filter, isFilter := strings.CutPrefix(name, "filterGroupBy[")
		switch {
		case name == "subject" && allowed != nil:
			for _, value := range values {
				if _, err := caller.For(value); err != nil {
					return r, err
				}
			}
		case slices.Contains(allowed, name), filters && isFilter && filter != "subject]" && strings.HasSuffix(filter, "]"):
			query[name] = values
		default:
			return r, kgents.Errorf(kgents.CodeInvalid, "a customer's key can't ask with %s: the answer is about this customer in any case", strconv.Quote(clip(name)))
		}
	}
	if allowed != nil {
		query.Set("subject", caller.Customer)
	}
	r = r.Clone(ctx)
	r.URL.RawQuery = query.Encode()
	for name := range r.Header {
		if !slices.Contains(passedOn, name) {
			r.Header.Del(name)
		}
	}
	if ctx.Value(ownKey{}) != nil {
		r.Header.Set("Accept", "application/json") // which leaveOwn reads
	}
	return r, nil
}

// clip bounds what a client chose and gets back.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// leaveOwn takes from a list of events what isn't the asking customer's: OpenMeter takes
// a part of a subject for the whole.
func leaveOwn(resp *http.Response) error {
	own, ok := resp.Request.Context().Value(ownKey{}).(string)
	if !ok || resp.StatusCode != http.StatusOK {
		return nil
	}
	list := json.NewDecoder(io.LimitReader(resp.Body, maxListed))
	if begin, err := list.Token(); err != nil || begin != json.Delim('[') {
		return kgents.Errorf(kgents.CodeMisconfig, "the meter's list of events can't be read: check OPENMETER_BASE_URL")
	}
	resp.Header.Del("Content-Length")
	resp.Body, resp.ContentLength = &ownEvents{Closer: resp.Body, own: own, list: list, separator: "["}, -1
	return nil
}

// ownEvents is a list of events that has one customer's alone.
type ownEvents struct {
	io.Closer
	own       string
	list      *json.Decoder
	separator string       // before the next event; "" at the end
	ready     bytes.Buffer // what wasn't read yet
}

// Read gives the next bytes of the list.
func (o *ownEvents) Read(p []byte) (int, error) {
	for o.ready.Len() == 0 {
		if o.separator == "" {
			return 0, io.EOF
		}
		if !o.list.More() {
			if _, err := o.list.Token(); err != nil { // it was cut short
				return 0, io.ErrUnexpectedEOF
			}
			if o.separator == "[" {
				o.ready.WriteByte('[')
			}
			o.ready.WriteByte(']')
			o.separator = ""
			break
		}
		var one json.RawMessage
		if err := o.list.Decode(&one); err != nil {
			return 0, err
		}
		if o.mine(one) {
			o.ready.WriteString(o.separator)
			o.ready.Write(one)
			o.separator = ","
		}
	}
	return o.ready.Read(p)
}

// mine tells whether an event of the list is the customer's, by its names exactly:
// encoding/json takes no notice of capitals in those of a struct.
func (o *ownEvents) mine(one json.RawMessage) bool {
	var listed, event map[string]json.RawMessage
	var subject string
	return json.Unmarshal(one, &listed) == nil && json.Unmarshal(listed["event"], &event) == nil &&
		json.Unmarshal(event["subject"], &subject) == nil && subject == o.own
}
