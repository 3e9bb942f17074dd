package living

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Fired is a time in which an alert fired.
type Fired struct {
	Alert, Severity string
	Labels          string // the others, name=value, sorted
	From, Until     time.Time
	Still           bool // it fires now, as far as is known
}

// Fired are the times in which alerts of this deployment, or one of them, fired since a
// time, as Prometheus has them, newest first, and how exact the times are. Watchdog and
// what else has no severity is left out, unless it is asked for.
func (s *Sources) Fired(ctx context.Context, since, now time.Time, only string) ([]Fired, time.Duration, error) {
	selector := `{alertstate="firing",severity!="none"}`
	if only != "" {
		selector = fmt.Sprintf(`{alertstate="firing",alertname=%s}`, quoteLabel(only))
	}
	if s.Namespace != "" {
		selector = strings.TrimSuffix(selector, "}") + fmt.Sprintf(`,namespace=~%q}`, "|"+s.Namespace)
	}
	step := max(now.Sub(since)/1000, 15*time.Second).Round(time.Second)
	m, err := s.QueryRange(ctx, "ALERTS"+selector, since, now, step)
	if err != nil {
		return nil, step, err
	}
	var out []Fired
	for _, one := range m {
		out = append(out, firedOf(one, step, now)...)
	}
	slices.SortStableFunc(out, func(a, b Fired) int { return b.From.Compare(a.From) })
	return out, step, nil
}

// firedOf has a line for each time without a gap.
func firedOf(one *model.SampleStream, step time.Duration, now time.Time) []Fired {
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
		from, to := one.Values[i].Timestamp.Time().UTC(), one.Values[j].Timestamp.Time().UTC()
		out = append(out, Fired{
			Alert: string(one.Metric["alertname"]), Severity: string(one.Metric["severity"]), Labels: strings.Join(rest, " "),
			From: from, Until: to, Still: now.Sub(to) < 2*step,
		})
		i = j + 1
	}
	return out
}
