package load

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/term"
)

// Threshold is a line that a run must not cross: `metric: latency_p99`, with
// `max: 250ms` or `min: …`, and `phase: …` where only one counts.
type Threshold struct {
	Metric string `yaml:"metric" json:"metric"`
	Phase  string `yaml:"phase" json:"phase,omitempty"`
	Max    string `yaml:"max" json:"max,omitempty"`
	Min    string `yaml:"min" json:"min,omitempty"`
}

// metric is something that a threshold can be on.
type metric struct {
	name    string
	means   string
	latency bool // a duration
	phased  bool // of one phase, too
}

var metrics = []metric{
	{"accepted_ratio", "requests that were accepted in the end, of all", false, true},
	{"errors", "requests that were not accepted in the end", false, true},
	{"latency_p50", "from due until accepted, of half of the requests", true, true},
	{"latency_p95", "from due until accepted, of 95 of 100", true, true},
	{"latency_p99", "from due until accepted, of 99 of 100", true, true},
	{"latency_p999", "from due until accepted, of 999 of 1,000", true, true},
	{"latency_max", "from due until accepted, of all", true, true},
	{"late_ratio", "requests that this program sent over 10 ms after they were due, of all", false, true},
	{"drained", "from the last answer until the meter had counted all", true, false},
	{"lost", "accepted events that the meter has not counted", false, false},
	{"doubled", "events that the meter has counted more than once", false, false},
	{"backlog_max", "messages that waited for the meter at once", false, false},
}

func metricOf(name string) (metric, bool) {
	i := slices.IndexFunc(metrics, func(m metric) bool { return m.name == name })
	if i < 0 {
		return metric{}, false
	}
	return metrics[i], true
}

func (t Threshold) check(phases map[string]bool) error {
	m, ok := metricOf(t.Metric)
	if !ok {
		var names []string
		for _, m := range metrics {
			names = append(names, m.name)
		}
		return fmt.Errorf("metric %q is not known: use %s", t.Metric, strings.Join(names, ", "))
	}
	switch {
	case t.Phase != "" && !m.phased:
		return fmt.Errorf("metric %s is of the whole run: leave phase out", t.Metric)
	case t.Phase != "" && !phases[t.Phase]:
		return fmt.Errorf("phase %q is not one of the profile's", t.Phase)
	case (t.Max == "") == (t.Min == ""):
		return errors.New("needs max or min, one of them")
	}
	_, err := m.parse(t.Max + t.Min)
	return err
}

// parse reads a bound, of a latency in seconds.
func (m metric) parse(s string) (float64, error) {
	if m.latency {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%s: %q is no duration: use for example 250ms", m.name, s)
		}
		return d.Seconds(), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= 1e15) {
		return 0, fmt.Errorf("%s: %q is no number", m.name, s)
	}
	return v, nil
}

// Verdict is a threshold and what became of it.
type Verdict struct {
	Threshold
	Means string   `json:"means,omitempty"`
	Value *float64 `json:"value"` // seconds of a latency; null = not known, which is no pass
	Shown string   `json:"shown"`
	Bound string   `json:"bound"`
	OK    bool     `json:"ok"`
}

// judge compares a report with the profile's thresholds.
func (r *Report) judge(thresholds []Threshold) {
	r.Verdicts = []Verdict{}
	for _, t := range thresholds {
		m, _ := metricOf(t.Metric)
		bound, err := m.parse(t.Max + t.Min)
		v := Verdict{Threshold: t, Means: m.means, Bound: "at most " + t.Max, Shown: "not known"}
		if t.Min != "" {
			v.Bound = "at least " + t.Min
		}
		if value, ok := r.value(m.name, t.Phase); ok && err == nil {
			v.Value, v.Shown = &value, m.show(value)
			v.OK = t.Max != "" && value <= bound || t.Min != "" && value >= bound
		}
		r.Verdicts = append(r.Verdicts, v)
	}
	r.OK = !r.Interrupted && !slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return !v.OK })
}

func (m metric) show(v float64) string {
	switch {
	case m.latency:
		return term.Duration(time.Duration(v * float64(time.Second)))
	case strings.HasSuffix(m.name, "_ratio"):
		return strconv.FormatFloat(v*100, 'f', -1, 32) + " %"
	default:
		return term.Number(v)
	}
}

// value is a metric's, of a phase or of the run; false when it is not known.
func (r *Report) value(name, phase string) (float64, bool) {
	part := &r.Total
	for i := range r.Phases {
		if phase != "" && r.Phases[i].Name == phase {
			part = &r.Phases[i]
		}
	}
	switch name {
	case "accepted_ratio":
		if part.Requests == 0 {
			return 0, false
		}
		return float64(part.Accepted) / float64(part.Requests), true
	case "errors":
		return float64(part.Requests - part.Accepted), true
	case "late_ratio":
		return float64(part.Late) / float64(max(1, part.Requests)), part.Requests > 0
	case "latency_p50":
		return part.Latency.P50.Seconds(), part.Requests > 0
	case "latency_p95":
		return part.Latency.P95.Seconds(), part.Requests > 0
	case "latency_p99":
		return part.Latency.P99.Seconds(), part.Requests > 0
	case "latency_p999":
		return part.Latency.P999.Seconds(), part.Requests > 0
	case "latency_max":
		return part.Latency.Max.Seconds(), part.Requests > 0
	case "drained":
		return r.Count.Drained.Seconds(), r.Count.Known && r.Count.Complete
	case "lost":
		return float64(r.Count.Lost), r.Count.Known
	case "doubled":
		return float64(r.Count.Doubled), r.Count.Known
	case "backlog_max":
		return r.BacklogMax, len(r.Seen) > 0
	}
	return 0, false
}
