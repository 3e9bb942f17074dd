package receive_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
)

// TestEdgeRefuses has requests that must not reach admission.
func TestEdgeRefuses(t *testing.T) {
	now := time.Now()
	large := strings.Repeat(" ", 10<<20)
	method := func(method, path string) *http.Request { return httptest.NewRequest(method, path, nil) }
	chunked := func(req *http.Request) *http.Request { req.ContentLength = -1; return req }
	for _, test := range []struct {
		name   string
		req    *http.Request
		status int
	}{
		{"a webhook without a signature", httptest.NewRequest(http.MethodPost, hooks, strings.NewReader(payment)), 400},
		{"a webhook with a garbage signature", with(signed(payment), "Stripe-Signature", "garbage"), 400},
		{"a webhook signed with another secret", hook(payment, "whsec_other", now), 400},
		{"a webhook signed 10 minutes ago", hook(payment, secret, now.Add(-10*time.Minute)), 400},
		{"a webhook signed in 10 minutes", hook(payment, secret, now.Add(10*time.Minute)), 400},
		{"a webhook with the signature of another body", with(signed(payment), "Stripe-Signature", signature(payment+" ", secret, now)), 400},
		{"a webhook that is no JSON", signed(marker), 400},
		{"a webhook that is cut", signed(payment[:len(payment)-1]), 400},
		{"a webhook that is an array", signed(`["` + marker + `"]`), 400},
		{"a webhook of the wrong shape", signed(strings.Replace(payment, "4900", `"`+marker+`"`, 1)), 400},
		{"a webhook with an id of the wrong form", signed(strings.Replace(payment, "evt_1", marker, 1)), 400},
		{"a webhook with a name twice", signed(strings.Replace(payment, `"id"`, `"id":"`+marker+`","id"`, 1)), 400},
		{"a webhook without a body", signed(""), 400},
		{"a webhook of 10 MB", signed(large), 413},
		{"a webhook of 10 MB that does not say so", chunked(signed(large)), 413},
		{"a compressed webhook", with(signed(payment), "Content-Encoding", "gzip"), 400},
		{"a webhook by GET", method(http.MethodGet, hooks), 405},
		{"the bridge's health by POST", method(http.MethodPost, hooks+"/health"), 405},

		{"an event without a key", with(one(usage), "Authorization", ""), 401},
		{"an event with another key", with(one(usage), "Authorization", "Bearer "+key+"x"), 401},
		{"an event with a key of another scheme", with(one(usage), "Authorization", "Basic "+key), 401},
		{"an event with an empty key", with(one(usage), "Authorization", "Bearer "), 401},
		{"an event from the reserved source", one(strings.Replace(usage, "agent-runner", "stripe", 1)), 400},
		{"an event from Agent Town's source", one(strings.Replace(usage, "agent-runner", "kgents.town", 1)), 400},
		{"an event from the reserved source, escaped", one(strings.Replace(usage, "agent-runner", `\u0073tripe`, 1)), 400},
		{"an event from the reserved source in a batch", post("application/json", strings.NewReader("["+usage+","+strings.Replace(usage, "agent-runner", "stripe", 1)+"]")), 400},
		{"an event of another content type", with(one(usage), "Content-Type", "text/plain"), 400},
		{"an event without a content type", with(one(usage), "Content-Type", ""), 400},
		{"an event that is no JSON", one(marker), 400},
		{"an event that is cut", one(usage[:len(usage)-1]), 400},
		{"an event that lacks a subject", one(strings.Replace(usage, `"subject":"customer-1",`, "", 1)), 400},
		{"an event with a bad source", one(strings.Replace(usage, "agent-runner", marker+" x", 1)), 400},
		{"an event with a bad time", one(strings.Replace(usage, "2026-11-23T09:30:00Z", marker, 1)), 400},
		{"an event without a body", one(""), 400},
		{"an event of 900 kB and more", one(strings.Replace(usage, marker, strings.Repeat(marker, 50_000), 1)), 413},
		{"events of 10 MB", one(large), 413},
		{"events of 10 MB that do not say so", chunked(one(large)), 413},
		{"compressed events", with(one(usage), "Content-Encoding", "gzip"), 400},
		{"events by DELETE", method(http.MethodDelete, events), 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, &admitter{}, secret)
			wantProblem(t, r.do(test.req), test.status)
			if got := r.admitter.identities(); got != nil {
				t.Errorf("admission got %q", got)
			}
			if test.status != 405 && !strings.Contains(r.log.String(), "refused") {
				t.Errorf("the log does not tell of the refusal: %q", r.log)
			}
		})
	}
}

// TestEdgeReadsNoBodyWithoutAKey: who may not send costs nothing.
func TestEdgeReadsNoBodyWithoutAKey(t *testing.T) {
	r := newRig(t, &admitter{}, secret)
	body := &reads{Reader: strings.NewReader(usage)}
	wantProblem(t, r.do(with(post("application/json", body), "Authorization", "Bearer x")), http.StatusUnauthorized)
	if body.n != 0 {
		t.Errorf("the body was read %d times", body.n)
	}
}

type reads struct {
	io.Reader
	n int
}

func (r *reads) Read(b []byte) (int, error) { r.n++; return r.Reader.Read(b) }

func TestEdgeWithoutSecrets(t *testing.T) {
	r := newRig(t, &admitter{})
	wantProblem(t, r.do(signed(payment)), http.StatusInternalServerError)
	if got := r.admitter.identities(); got != nil {
		t.Errorf("admission got %q", got)
	}
}

// TestEdgeWhenAdmissionFails: no 2xx, and the cause is for the log alone.
func TestEdgeWhenAdmissionFails(t *testing.T) {
	cause := errors.New("private cause")
	for _, test := range []struct {
		name       string
		err        error
		status     int
		retryAfter string
	}{
		{"for a while", kgents.Unavailable(1500*time.Millisecond, "come again", cause), 503, "2"},
		{"for a time unknown", kgents.Unavailable(0, "come again", cause), 503, "1"},
		{"at an event's size", &kgents.Error{Code: kgents.CodeTooLarge, Message: "too large", Err: cause}, 413, ""},
		{"by a defect", cause, 500, ""},
	} {
		for path, req := range map[string]*http.Request{hooks: signed(payment), events: one(usage)} {
			t.Run(test.name+path, func(t *testing.T) {
				r := newRig(t, &admitter{err: test.err}, secret)
				res := r.do(req)
				if got := res.Header.Get("Retry-After"); got != test.retryAfter {
					t.Errorf("Retry-After is %q, want %q", got, test.retryAfter)
				}
				body := &strings.Builder{}
				res.Body = io.NopCloser(io.TeeReader(res.Body, body))
				wantProblem(t, res, test.status)
				if strings.Contains(body.String(), cause.Error()) {
					t.Errorf("the answer shows the cause: %s", body)
				}
				if !strings.Contains(r.log.String(), cause.Error()) {
					t.Errorf("the log does not show the cause: %s", r.log)
				}
			})
		}
	}
}

// TestEdgeTakes: good requests, and the same webhook once more, which is no error
// and has the same identity.
func TestEdgeTakes(t *testing.T) {
	for _, test := range []struct {
		name  string
		reqs  []*http.Request
		wants []string // status and body of each answer
		got   []string // by admission
	}{
		{"a webhook", []*http.Request{signed(payment)}, []string{`200 {"duplicate":false,"received":true}`}, []string{"stripe evt_1"}},
		{"a webhook again", []*http.Request{signed(payment), signed(payment)},
			[]string{`200 {"duplicate":false,"received":true}`, `200 {"duplicate":true,"received":true}`}, []string{"stripe evt_1", "stripe evt_1"}},
		{"a webhook without a customer", []*http.Request{signed(strings.Replace(payment, `"cus_1"`, "null", 1))}, []string{`200 {"duplicate":false,"received":true}`}, []string{"stripe evt_1"}},
		{"a webhook of an unhandled type", []*http.Request{signed(strings.Replace(payment, "invoice.paid", marker, 1))}, []string{`200 {"received":true,"skipped":"unhandled_type"}`}, nil},
		{"a thin webhook", []*http.Request{signed(`{"object":"v2.core.event","type":"` + marker + `"}`)}, []string{`200 {"received":true,"skipped":"thin_event"}`}, nil},
		{"an event", []*http.Request{one(usage)}, []string{"204 "}, []string{"agent-runner 1"}},
		{"an event again", []*http.Request{one(usage), one(usage)}, []string{"204 ", "204 "}, []string{"agent-runner 1", "agent-runner 1"}},
		{"a batch", []*http.Request{post("application/cloudevents-batch+json", strings.NewReader("["+usage+","+strings.Replace(usage, `"1"`, `"2"`, 1)+"]"))}, []string{"204 "}, []string{"agent-runner 1", "agent-runner 2"}},
		{"a scheme in small letters", []*http.Request{with(one(usage), "Authorization", "bearer "+key)}, []string{"204 "}, []string{"agent-runner 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, &admitter{}, secret)
			var answers []string
			for _, req := range test.reqs {
				res := r.do(req)
				body, _ := io.ReadAll(res.Body)
				answers = append(answers, res.Status[:4]+strings.TrimSpace(string(body)))
			}
			if diff := cmp.Diff(test.wants, answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.got, r.admitter.identities()); diff != "" {
				t.Errorf("admission (-want +got):\n%s", diff)
			}
		})
	}
}
