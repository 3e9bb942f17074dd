package living

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Fired is a time in which an alert fired.
type Fired struct {
	Alert, Severity string
	Labels          string // the others, name=value, sorted
	From, Until     time.Time
	Before          bool // it fired before the time that was asked for began; From is when that is
	Still           bool // it fires now, as far as is known
}

// Fired are the times in which alerts of this deployment, or one of them, fired since a
// time, as Prometheus has them, newest first, and how exact the times are: each is at
// most so much too late. What fires now is always among them. Watchdog and what else has
// no severity is left out, unless it is asked for.
func (s *Sources) Fired(ctx context.Context, since, now time.Time, only string) ([]Fired, time.Duration, error) {
	selector := `{alertstate="firing",severity!="none"}`
	if only != "" {
		selector = fmt.Sprintf(`{alertstate="firing",alertname=%s}`, quoteLabel(only))
	}
	if s.Namespace != "" {
		selector = strings.TrimSuffix(selector, "}") + fmt.Sprintf(`,namespace=~%q}`, "|"+s.Namespace)
	}
	step := max(now.Sub(since)/1000, leastFired).Truncate(time.Second) + time.Second
	// The last step is now; each has what fired at its end, or at any time within it.
	from := now.Add(-now.Sub(since).Truncate(step))
	query := fmt.Sprintf("(ALERTS%s + 0) or max_over_time(ALERTS%[1]s[%s])", selector, model.Duration(step))
	m, err := s.QueryRange(ctx, query, from, now, step)
	if err != nil {
		return nil, step, err
	}
	active, err := s.Alerts(ctx)
	if err != nil {
		return nil, step, err
	}
	firing := map[string]bool{}
	for _, a := range active {
		if a.State == string(promv1.AlertStateFiring) {
			firing[labelsOf(a.Labels)] = true
		}
	}
	var out []Fired
	for _, one := range m {
		out = append(out, firedOf(one, from, step, now, firing)...)
	}
	slices.SortStableFunc(out, func(a, b Fired) int { return b.From.Compare(a.From) })
	return out, step, nil
}

// leastFired is the least time between two looks at what fired, a second less.
const leastFired = 14 * time.Second

// labelsOf are an alert's labels as one text, without those that only the series has.
func labelsOf[K, V ~string](labels map[K]V) string {
	var out []string
	for k, v := range labels {
		if k != "__name__" && k != "alertstate" {
			out = append(out, string(k)+"="+string(v))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\x00")
}

// firedOf has a line for each time without a gap. The first began before if it was there
// at the beginning; the last one goes on if the alert is among those that fire now.
func firedOf(one *model.SampleStream, begin time.Time, step time.Duration, now time.Time, firing map[string]bool) []Fired {
	var rest []string
	for k, l := range one.Metric {
		if k != "__name__" && k != "alertname" && k != "alertstate" && k != "severity" {
			rest = append(rest, string(k)+"="+string(l))
		}
	}
	slices.Sort(rest)
	var out []Fired
	for i := 0; i < len(one.Values); {
		j := i
		for j+1 < len(one.Values) && one.Values[j+1].Timestamp.Sub(one.Values[j].Timestamp) < 2*step {
			j++
		}
		f := Fired{
			Alert: string(one.Metric["alertname"]), Severity: string(one.Metric["severity"]), Labels: strings.Join(rest, " "),
			From: one.Values[i].Timestamp.Time().UTC(), Until: one.Values[j].Timestamp.Time().UTC(),
		}
		f.Before = f.From.Sub(begin) < step/2
		f.Still = j == len(one.Values)-1 && now.Sub(f.Until) < step && firing[labelsOf(one.Metric)]
		out = append(out, f)
		i = j + 1
	}
	return out
}
