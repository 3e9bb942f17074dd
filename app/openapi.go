package app

import (
	"net/http"
	"regexp"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/system"
	"github.com/kgents/kgents/trace"
)

// described is a route that isn't one of package api's.
type described struct {
	method, path, id, tag, summary string
	detail                         string
	open                           bool     // needs no key
	takes                          []string // content types of the body
	query                          []string
	answers                        map[string]string // status to what it means
	gives                          string            // content type of success
}

// The problems that routes with a key have in common.
var problems = map[string]string{
	"400": "Something about the request is wrong; the problem says what", "401": "No key, or one that is not known",
	"403": "The key is good, but not for this", "429": "Too many requests: wait as Retry-After says",
}

// pathParameter is one of a path: {seq}.
var pathParameter = regexp.MustCompile(`\{([a-z]+)\}`)

const (
	jsonType    = "application/json"
	textType    = "text/plain"
	problemType = "application/problem+json"
)

// olderRoutes are those that were there before package api, as they are documented.
var olderRoutes = []described{
	{
		method: http.MethodPost, path: "/api/v1/events", id: "ingest-events", tag: "Usage", summary: "Send usage events",
		detail: "CloudEvents 1.0, one or a batch, as OpenMeter's ingest takes them. 204 is a receipt: every event is on disk. Sent again, an event still counts once. With a customer's key the subject is that customer, and may be left out, and the source is put below it (`acme/agent-runner`), so that ids are the customer's own. Needs a key with the scope `ingest`.",
		takes:  []string{"application/cloudevents+json", "application/cloudevents-batch+json", jsonType},
		answers: map[string]string{
			"204": "Every event is durable", "408": "The body came too slowly", "413": "Over a limit that the problem names",
			"503": "Nothing durable can take it now: send it again after Retry-After",
		},
	},
	{
		method: http.MethodPost, path: "/webhooks/stripe", id: "stripe-webhook", tag: "Stripe", summary: "Stripe's webhooks", open: true,
		detail: "Signed by Stripe (`Stripe-Signature`). 200 is sent only when the event is durable, or is none that counts.",
		takes:  []string{jsonType}, gives: jsonType,
		answers: map[string]string{
			"200": "Durable, or noted", "400": "A missing or bad signature, or an unreadable body", "408": "The body came too slowly", "413": "More than 1 MiB",
			"500": "No webhook secret is set", "503": "Nothing durable can take it now: Stripe delivers it again",
		},
	},
	{method: http.MethodGet, path: "/webhooks/stripe/health", id: "stripe-health", tag: "Health", summary: "The Stripe bridge and its counts", open: true, gives: jsonType},
	{method: http.MethodGet, path: "/api/v1/meters", id: "list-meters", tag: "Usage", summary: "The meters, as OpenMeter lists them", gives: jsonType,
		detail: "Needs a key with the scope `read`."},
	{method: http.MethodGet, path: "/api/v1/meters/{slug}", id: "get-meter", tag: "Usage", summary: "One meter", gives: jsonType,
		detail: "Needs a key with the scope `read`.", answers: map[string]string{"404": "No such meter"}},
	{method: http.MethodGet, path: "/api/v1/meters/{slug}/query", id: "query-meter", tag: "Usage", summary: "A meter's values", gives: jsonType,
		detail: "OpenMeter's query. A customer's key sees that customer's values alone. Needs a key with the scope `read`.",
		query:  []string{"from", "to", "windowSize", "windowTimeZone", "subject", "groupBy", "filterGroupBy"}, answers: map[string]string{"404": "No such meter"}},
	{method: http.MethodGet, path: "/api/v1/events", id: "list-events", tag: "Usage", summary: "Stored events, newest first", gives: jsonType,
		detail: "OpenMeter's list. A customer's key sees that customer's events alone. Needs a key with the scope `read`.", query: []string{"id", "subject", "from", "to", "limit"}},
	{method: http.MethodPost, path: "/api/v1/canaries", id: "send-canaries", tag: "Operation", summary: "Show whether the meter counts once", gives: jsonType, detail: "For the operator's keys only."},
	{method: http.MethodPost, path: "/api/v1/reconcile", id: "reconcile", tag: "Operation", summary: "Compare the meter with the stream", gives: jsonType,
		detail: "With `fix=true` it sends again what is missing; each event counts once. `since` and `until` are times, or how long ago that was; `settle` is an `until` that is a length of time. To send what an earlier run has found and nothing else, give its report's `since`, `until` and `last`, and as `most` how many it missed: what was counted meanwhile is not sent. For the operator's keys only.",
		query:  reconcile.Parameters, answers: map[string]string{"409": "Another run is under way, or more is missing than `most` says"}},
	{method: http.MethodGet, path: "/api/v1/deadletters", id: "list-dead-letters", tag: "Operation", summary: "Events that the meter refused", gives: jsonType, detail: "For the operator's keys only.",
		query: []string{"reason", "type", "customer", "since", "until", "after", "limit"}},
	{method: http.MethodGet, path: "/api/v1/deadletters/{seq}", id: "get-dead-letter", tag: "Operation", summary: "One of them, with its event", gives: jsonType, detail: "For the operator's keys only.", answers: map[string]string{"404": "No such letter"}},
	{method: http.MethodDelete, path: "/api/v1/deadletters/{seq}", id: "drop-dead-letter", tag: "Operation", summary: "Delete it", detail: "For the operator's keys only.", answers: map[string]string{"404": "No such letter"}},
	{method: http.MethodPost, path: "/api/v1/deadletters/{seq}/replay", id: "replay-dead-letter", tag: "Operation", summary: "Send its event again", detail: "For the operator's keys only.", answers: map[string]string{"404": "No such letter"}},
	{method: http.MethodGet, path: history.Path, id: "get-history", tag: "Operation", summary: "What has happened in the program, newest first", gives: jsonType,
		detail: "Starts, stops, changes of health and of the circuit, what operators have changed, differences that reconciliation has found, backups; of all replicas, for 30 days. For the operator's keys only.",
		query:  []string{"since", "kind", "limit"}},
	{method: http.MethodGet, path: history.SeriesPath, id: "get-history-series", tag: "Operation", summary: "What the program's figures were in the last six hours", gives: jsonType,
		detail: "A sample every ten seconds of the figures that are listed without a name, of this replica, since its start. `name` may come more than once. For the operator's keys only.",
		query:  []string{"name", "since", "step"}, answers: map[string]string{"404": "The past of this figure is not kept"}},
	{method: http.MethodGet, path: trace.Path, id: "trace-event", tag: "Operation", summary: "How far an event has come", gives: jsonType,
		detail: "By its CloudEvents id, a Stripe event's `evt_…` or a usage event's: when it was received, where it is in the stream, whether it was delivered and metered, or is a dead letter, and how far was looked. Without its data. For the operator's keys only.",
		query:  []string{"source", "since"}},
	{method: http.MethodGet, path: system.Path, id: "get-system", tag: "Operation", summary: "What the program and its servers are", gives: jsonType, detail: "For the operator's keys only."},
	{
		method: http.MethodGet, path: "/v1/billing/checkout/{token}", id: "open-checkout-link", tag: "Billing", summary: "Open a link to checkout in a browser", open: true,
		detail: "The link that a 402 carries (`upgrade[].checkout`), for one customer and plan, signed, good for a day. It needs no key. Opened again it leads to the same page. HEAD only says whether it is good, with 204.",
		answers: map[string]string{
			"303": "To Stripe's checkout", "404": "The link is not good, or not any more, or its customer is not there", "409": "The customer has a subscription, or the plan is not sold any more",
			"429": "Links are opened too often: wait as Retry-After says", "503": "Stripe can't be reached",
		},
	},
	{method: http.MethodGet, path: "/health", id: "health", tag: "Health", summary: "Overall health, a line a component", open: true, gives: jsonType, answers: map[string]string{"503": "error"}},
	{method: http.MethodGet, path: "/health/saas", id: "health-saas", tag: "Health", summary: "The pipeline: NATS, the meter, Redis, the backlog, and what plans rest on", open: true, gives: jsonType},
	{method: http.MethodGet, path: "/livez", id: "livez", tag: "Health", summary: "Kubernetes' liveness", open: true, gives: textType},
	{method: http.MethodGet, path: "/readyz", id: "readyz", tag: "Health", summary: "Kubernetes' readiness", open: true, gives: jsonType, answers: map[string]string{"503": "not ready"}},
	{method: http.MethodGet, path: "/metrics", id: "metrics", tag: "Health", summary: "Prometheus metrics", open: true, gives: "text/plain; version=0.0.4"},
	{method: http.MethodGet, path: api.Path, id: "openapi", tag: "Health", summary: "This document", open: true, gives: "application/vnd.oai.openapi+json;version=3.1"},
}

// describe adds them to the document.
func describe(web *api.API) {
	for _, d := range olderRoutes {
		op := &huma.Operation{OperationID: d.id, Method: d.method, Path: d.path, Tags: []string{d.tag}, Summary: d.summary, Description: d.detail, Responses: map[string]*huma.Response{}}
		anything := func(contentType string) map[string]*huma.MediaType {
			s := &huma.Schema{Type: "object"}
			if contentType != jsonType && contentType != problemType {
				s = &huma.Schema{Type: "string"}
			}
			return map[string]*huma.MediaType{contentType: {Schema: s}}
		}
		for _, name := range pathParameter.FindAllStringSubmatch(d.path, -1) {
			op.Parameters = append(op.Parameters, &huma.Param{Name: name[1], In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
		}
		for _, name := range d.query {
			op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Schema: &huma.Schema{Type: "string"}})
		}
		if len(d.takes) > 0 {
			op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{}}
			for _, contentType := range d.takes {
				op.RequestBody.Content[contentType] = anything(jsonType)[jsonType]
			}
		}
		answers := map[string]string{}
		if !d.open {
			op.Security = []map[string][]string{{"key": {}}}
			for status, meaning := range problems {
				answers[status] = meaning
			}
		}
		for status, meaning := range d.answers {
			answers[status] = meaning
		}
		if d.gives != "" {
			op.Responses["200"] = &huma.Response{Description: d.summary, Content: anything(d.gives)}
		} else if answers["204"] == "" && answers["303"] == "" {
			op.Responses["204"] = &huma.Response{Description: "Done"}
		}
		for status, meaning := range answers {
			r := &huma.Response{Description: meaning}
			switch {
			case status == "200":
				r.Content = anything(d.gives)
			case status != "204" && status != "303":
				r.Content = anything(problemType)
			}
			op.Responses[status] = r
		}
		web.Describe(op)
	}
}
