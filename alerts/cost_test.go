package alerts_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/prometheustest"
)

const (
	replicas       = 10 // of the api and of the sink
	scrapeInterval = 15 * time.Second

	// All rules, once. It is the fastest of some rounds: the machine has others to serve.
	evaluation = 100 * time.Millisecond
)

// history writes what a Prometheus has after a while: all series that the rules read,
// of ten replicas for as long as rules look back, and what was recorded for 3 days.
func history(t *testing.T, path string, exported map[string]*dto.MetricFamily, now time.Time) (series int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	write := func(name, labels string, back time.Duration, value func(i int) float64) {
		series++
		for i, at := 0, now.Add(-back); !at.After(now); i, at = i+1, at.Add(scrapeInterval) {
			fmt.Fprintf(w, "%s{%s} %g %d\n", name, labels, value(i), at.Unix())
		}
	}
	rules := string(alerts.Source())
	for _, name := range slices.Sorted(maps.Keys(exported)) {
		if !strings.Contains(rules, name) {
			continue
		}
		back := 35 * time.Minute
		if strings.Contains(name, "canary") {
			back = 6 * time.Hour
		}
		fmt.Fprintf(w, "# TYPE %s unknown\n", name)
		for replica := range replicas {
			for _, m := range exported[name].Metric {
				labels := fmt.Sprintf(`namespace="kgents",job="kgents",instance="%d"`, replica)
				for _, l := range m.Label {
					labels += fmt.Sprintf(",%s=%q", l.GetName(), l.GetValue())
				}
				if h := m.GetHistogram(); h != nil {
					for _, b := range h.Bucket {
						le := model.SampleValue(b.GetUpperBound()).String()
						write(name+"_bucket", labels+fmt.Sprintf(",le=%q", le), back, func(i int) float64 { return float64(i * 10) })
					}
					write(name+"_count", labels, back, func(i int) float64 { return float64(i * 10) })
					continue
				}
				value := m.GetGauge().GetValue()
				write(name, labels, back, func(i int) float64 { return value + m.GetCounter().GetValue()*float64(i) })
			}
		}
	}
	fmt.Fprintln(w, "# TYPE up unknown")
	for replica := range 3 * replicas {
		write("up", fmt.Sprintf(`namespace="kgents",job="kgents",instance="%d"`, replica), 6*time.Hour, func(int) float64 { return 1 })
	}
	for _, name := range []string{"namespace:kgents_api_requests:rate5m", "namespace:kgents_api_errors:rate5m"} {
		fmt.Fprintf(w, "# TYPE %s unknown\n", name)
		write(name, `namespace="kgents"`, 72*time.Hour, func(int) float64 { return 1000 })
	}
	fmt.Fprintln(w, "# EOF")
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return series
}

// All rules together are evaluated in less than 100 ms, by a real Prometheus with the
// history of ten replicas.
func TestEvaluationTime(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	series := history(t, file("history"), distinct(roles(t)), time.Now().Truncate(time.Second))
	if out, err := promtool(t, "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=744h", file("history"), file("data")); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	prom := prometheustest.Start(t, prometheustest.Options{Rules: alerts.Source(), Data: file("data")})

	best, rounds, last := map[string]float64{}, 0, ""
	eventually(t, "the rules are evaluated a few times", func() bool {
		families := metricsOf(t, prom.URL)
		taken, when := families["prometheus_rule_group_last_duration_seconds"], families["prometheus_rule_group_last_evaluation_timestamp_seconds"]
		if taken == nil || when == nil || when.String() == last {
			return false
		}
		last = when.String()
		for _, m := range taken.Metric {
			group, seconds := m.Label[0].GetValue(), m.GetGauge().GetValue()
			if was, ok := best[group]; seconds > 0 && (!ok || seconds < was) {
				best[group] = seconds
			}
		}
		rounds++
		return rounds >= 30
	})
	failures := 0.0
	for _, m := range metricsOf(t, prom.URL)["prometheus_rule_evaluation_failures_total"].GetMetric() {
		failures += m.GetCounter().GetValue()
	}
	if failures > 0 {
		t.Errorf("%g evaluations failed", failures)
	}
	rules, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if len(best) != len(rules.Groups) {
		t.Fatalf("%d groups were evaluated, want %d", len(best), len(rules.Groups))
	}
	sum := 0.0
	for _, s := range best {
		sum += s
	}
	took := time.Duration(sum * float64(time.Second))
	t.Logf("%d series; all rules take %v", series, took.Round(10*time.Microsecond))
	if took > evaluation {
		t.Errorf("all rules take %v, want at most %v: %v", took, evaluation, best)
	}
}

// distinct leaves one series of those with the same labels, which several roles export.
func distinct(families map[string]*dto.MetricFamily) map[string]*dto.MetricFamily {
	for _, f := range families {
		seen := map[string]bool{}
		f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool {
			key := fmt.Sprint(m.Label)
			was := seen[key]
			seen[key] = true
			return was
		})
	}
	return families
}

// metricsOf is nil while nobody answers.
func metricsOf(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := client.Get(url + "/metrics")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}
