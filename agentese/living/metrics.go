package living

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics are what one process says of itself at /metrics, by the names of the metrics.
// Counters count from its start.
type Metrics map[string]*dto.MetricFamily

// Metrics asks the program for its own; of several replicas that is the one that answers.
func (s *Sources) Metrics(ctx context.Context) (Metrics, error) {
	b, err := s.API.Bytes(ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return nil, Away("/metrics of "+s.API.URL, err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	m, err := parser.TextToMetricFamilies(bytes.NewReader(b))
	if err != nil {
		return nil, Away("/metrics of "+s.API.URL, fmt.Errorf("what is there are no metrics: is it kgents?"))
	}
	return m, nil
}

// Sum adds what name has with these labels, given as name and value in turn. It is nil
// where there is none: absent is not zero.
func (m Metrics) Sum(name string, labels ...string) any {
	family, sum, found := m[name], 0.0, false
	for _, one := range family.GetMetric() {
		if !has(one, labels) {
			continue
		}
		found = true
		sum += value(one)
	}
	if !found || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return nil
	}
	return sum
}

// Count is Sum as a whole number.
func (m Metrics) Count(name string, labels ...string) any {
	if v, ok := m.Sum(name, labels...).(float64); ok {
		return int64(v)
	}
	return nil
}

// By adds what name has for each value of a label.
func (m Metrics) By(name, label string) map[string]float64 {
	out := map[string]float64{}
	for _, one := range m[name].GetMetric() {
		for _, l := range one.GetLabel() {
			if l.GetName() == label {
				out[l.GetValue()] += value(one)
			}
		}
	}
	return out
}

// Quantile is that of a histogram since the process's start, as histogram_quantile has
// it: linear within a bucket. It is nil without an observation, and the largest bound
// where it lies past that.
func (m Metrics) Quantile(name string, q float64, labels ...string) any {
	var bounds []float64
	counts := map[float64]float64{}
	total := 0.0
	for _, one := range m[name].GetMetric() {
		if one.Histogram == nil || !has(one, labels) {
			continue
		}
		total += float64(one.Histogram.GetSampleCount())
		for _, b := range one.Histogram.GetBucket() {
			if _, known := counts[b.GetUpperBound()]; !known {
				bounds = append(bounds, b.GetUpperBound())
			}
			counts[b.GetUpperBound()] += float64(b.GetCumulativeCount())
		}
	}
	if total == 0 {
		return nil
	}
	rank, lower, below := q*total, 0.0, 0.0
	for _, bound := range bounds {
		if math.IsInf(bound, 1) {
			break
		}
		if n := counts[bound]; n >= rank && n > below {
			return lower + (bound-lower)*(rank-below)/(n-below)
		}
		lower, below = bound, counts[bound]
	}
	return lower
}

func has(m *dto.Metric, labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		found := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == labels[i] {
				found = l.GetValue()
			}
		}
		if found != labels[i+1] {
			return false
		}
	}
	return true
}

func value(m *dto.Metric) float64 {
	switch {
	case m.Counter != nil:
		return m.Counter.GetValue()
	case m.Gauge != nil:
		return m.Gauge.GetValue()
	case m.Untyped != nil:
		return m.Untyped.GetValue()
	case m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount())
	}
	return math.NaN()
}
