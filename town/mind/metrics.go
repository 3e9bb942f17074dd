package mind

import "github.com/prometheus/client_golang/prometheus"

// result is how a decision ended.
type result string

const (
	decided      result = "decided"
	none         result = "none"         // the answer is none of the options
	refused      result = "refused"      // the model didn't want to
	noUsage      result = "no_usage"     // the answer doesn't say what it cost
	garbage      result = "garbage"      // the answer can't be read, or is too long
	timeout      result = "timeout"      // no answer in time
	limited      result = "limited"      // 429
	unauthorized result = "unauthorized" // 401, 403
	unreachable  result = "unreachable"  // no connection, or one that broke
	broken       result = "broken"       // another status
	givenUp      result = "given_up"     // the caller's context ended
	resting      result = "paused"       // not asked: it failed a moment ago
	overBudget   result = "budget"       // not asked: the town's day is spent
)

var results = []result{
	decided, none, refused, noUsage, garbage, timeout, limited, unauthorized, unreachable, broken, givenUp, resting, overBudget,
}

type metrics struct {
	decisions *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	seconds   prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_town_model_decisions_total",
			Help: "Decisions that a language model was to make for citizens of towns, by how it ended; all but 'decided' were made by rules.",
		}, []string{"result"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_town_model_tokens_total",
			Help: "Tokens of the language model, in and out; billed 'no' are those of calls that decided nothing, estimated from above where the answer is missing.",
		}, []string{"direction", "billed"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kgents_town_model_seconds",
			Help:    "How long the language model took to answer, a repetition included.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
	}
	for _, res := range results {
		m.decisions.WithLabelValues(string(res))
	}
	for _, direction := range []string{"in", "out"} {
		for _, billed := range []string{"yes", "no"} {
			m.tokens.WithLabelValues(direction, billed)
		}
	}
	r.MustRegister(m.decisions, m.tokens, m.seconds)
	return m
}
