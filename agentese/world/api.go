package world

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *world) api() *tree.Node {
	return &tree.Node{
		Name: "api",
		Line: "the HTTP API: requests by route and status, errors, refusals and how fast it is",
		Doc: "What this process has answered since its start, from /metrics, by route, method and status, with the time it took, and usage events that were refused by reason. " +
			"5xx are ours: 503 means that nothing durable could take an event (alert EventsNotDurable) or that a dependency is away; the share of them against the promise of 99.9 % is the alert APIErrorBudgetBurn. " +
			"4xx are the senders': 401 a wrong key, 402 and 429 a plan's limit or a key's rate. One customer's refusals are world.customers.{customer}.limits.",
		Synonyms: []string{"http", "requests", "endpoints", "routes", "status codes", "errors", "5xx", "500s", "429", "rate limit", "latency", "response time", "traffic", "edge", "rest api"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "requests by route and status, 5xx, 429, latency, refused events by reason",
				Asks: []string{
					"is the api ok", "how many 500 errors", "are requests failing", "api latency", "why do clients get 429", "rate limited requests", "which endpoint is slow", "how much traffic do we have",
					"error rate", "what status codes do we return", "why are events refused", "is the api slow", "how many requests per second",
				},
				Examples: []tree.Example{
					{Expr: "world.api.manifest", Line: "requests, errors and latency"},
					{Expr: `world.api.manifest[where=code>=500]`, Line: "only what we have failed"},
				},
				See: w.seeAPI,
			},
			{
				Aspect: agentese.Witness, Line: "its history: requests, errors, refusals, time to answer",
				Asks: []string{
					"when did the errors start", "api errors over time", "traffic over time", "latency history", "did we have a spike", "requests last hours", "when did the api get slow",
					"error rate last night", "how did traffic develop", "were there 5xx today", "rate limiting over time",
				},
				Params:   pastParams(),
				Examples: []tree.Example{{Expr: "world.api.witness[since=6h]", Line: "six hours of it"}},
				See: w.witness(past{title: "The API", figures: []figure{
					{name: `kgents_api_requests_total{code=~"2.."}`, title: "2xx", unit: "1/s", rate: true},
					{name: `kgents_api_requests_total{code=~"4.."}`, title: "4xx", unit: "1/s", rate: true},
					{name: `kgents_api_requests_total{code=~"5.."}`, title: "5xx", unit: "1/s", rate: true},
					{name: "kgents_events_accepted_total", title: "events accepted", unit: "1/s", rate: true},
					{name: "kgents_api_request_latency_seconds_sum", over: "kgents_api_request_latency_seconds_count", title: "mean latency", unit: "seconds"},
				}}),
			},
		},
	}
}

func (w *world) seeAPI(ctx context.Context, c *tree.Call) (tree.Value, error) {
	m, err := w.Metrics(ctx)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "The API", Table: &tree.Table{Columns: []tree.Column{{Name: "route"}, {Name: "method"}, {Name: "code"}, {Name: "requests"}}}}
	byClass := map[byte]int64{}
	var limited int64
	for _, one := range m["kgents_api_requests_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range one.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		n := int64(one.GetCounter().GetValue())
		if code := labels["code"]; code != "" {
			byClass[code[0]] += n
			if code == "429" {
				limited += n
			}
		}
		if n > 0 {
			v.Table.Rows = append(v.Table.Rows, []any{labels["route"], labels["method"], codeOf(labels["code"]), n})
		}
	}
	slices.SortStableFunc(v.Table.Rows, func(a, b []any) int {
		return cmp.Or(cmp.Compare(b[3].(int64), a[3].(int64)), cmp.Compare(a[0].(string), b[0].(string)))
	})
	v.Add("requests", byClass['2']+byClass['3']+byClass['4']+byClass['5'], "").Add("4xx", byClass['4'], "").Add("429", limited, "").Add("5xx", byClass['5'], "")
	v.Add("under way", m.Count("kgents_api_requests_in_flight"), "")
	v.Add("half answered within", seconds(m.Quantile("kgents_api_request_latency_seconds", 0.5)), "")
	v.Add("99 % answered within", seconds(m.Quantile("kgents_api_request_latency_seconds", 0.99)), "")
	v.Add("events accepted", m.Count("kgents_events_accepted_total"), "").Add("duplicates", m.Count("kgents_events_duplicate_total"), "")
	for _, by := range sorted(m.By("kgents_events_refused_total", "reason")) {
		if by.value > 0 {
			v.Add("refused, "+strings.ReplaceAll(by.key, "_", " "), int64(by.value), "")
		}
	}
	rate, err := w.Rates(ctx, c.Now(), `kgents_api_requests_total{code=~"2.."}`, `kgents_api_requests_total{code=~"5.."}`)
	if rate[1] == nil && rate[0] != nil {
		rate[1] = 0.0 // there was none yet: a counter begins with what it counts
	}
	v.Add("2xx lately", rate[0], "1/s").Add("5xx lately", rate[1], "1/s")
	unknown(&v, "Rates", err)
	if state, why := w.component(ctx, "api"); state != "" {
		v.State = state
		if why != "" {
			v.Note("These alerts fire: " + why + ".")
		}
	} else {
		v.Note("Whether this is too much is told by alerts, and Prometheus is not configured or does not answer.")
	}
	v.Note("Counted since the program's start, of this process; lately is the last five minutes.")
	v.Then("world.api.witness", "its last hour")
	v.Then("world.nats.manifest", "whether events can be made durable")
	return v, nil
}

// codeOf is a status as a number, so that it can be compared.
func codeOf(code string) any {
	n := int64(0)
	for _, r := range code {
		if r < '0' || r > '9' {
			return code
		}
		n = n*10 + int64(r-'0')
	}
	return n
}

// component is the state of a component by the alerts that fire for it, and their
// names; nothing where Prometheus can't say.
func (w *world) component(ctx context.Context, name string) (tree.State, string) {
	if w.PrometheusURL == "" {
		return "", ""
	}
	active, err := w.Alerts(ctx)
	if err != nil {
		return "", ""
	}
	state, names := tree.Well, ""
	for _, a := range active {
		if a.State != "firing" || a.Labels["component"] != name {
			continue
		}
		names = joined(names, a.Name)
		if a.Severity == "critical" {
			state = tree.Bad
		} else {
			state = worse(state, tree.Warn)
		}
	}
	return state, names
}
