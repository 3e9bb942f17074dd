//go:build linux

package firedrill

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/prometheustest"
)

// Rules wait a 60th of their time, and look back a 60th; between these bounds. The
// program's own times stay: a window must be longer than the 7 s for which the circuit
// breaker is half-open during a try.
const (
	pace                  = 60
	leastFor, mostFor     = time.Second, 10 * time.Second
	leastBack, mostBack   = 10 * time.Second, time.Minute
	betweenScrapes        = prometheustest.Every
	canaryEvery, deadWait = 15, 10
)

// thresholds are ages that alerts compare with, in seconds: nobody waits a day for a
// drill.
var thresholds = []struct {
	alert, from, to string
}{
	{"PipelineStalled", "kgents_backlog_oldest_age_seconds[1m])) > 300", "kgents_backlog_oldest_age_seconds[1m])) > 20"},
	{"PipelineStalled", "[6h]) > 0) > 900", fmt.Sprintf("[6h]) > 0) > %d", canaryEvery)},
	{"SubscriptionsNotApplied", "> 300", "> 20"},
	{"DeadLettersGrowing", "< 1800", "< 60"},
	{"DeadLettersWaiting", "> 86400", fmt.Sprintf("> %d", deadWait)},
}

var (
	window   = regexp.MustCompile(`\[([0-9a-z]+)(:[0-9a-z]+)?\]`)
	duration = regexp.MustCompile(`^(\d+)([smhd])$`)
)

func parse(t *testing.T, text string) time.Duration {
	t.Helper()
	m := duration.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%q is no duration that the drill knows", text)
	}
	var n int64
	if _, err := fmt.Sscan(m[1], &n); err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
}

// quicken makes the rules of the drill of those that are deployed.
func quicken(t *testing.T, f alerts.File) []byte {
	t.Helper()
	used := make([]int, len(thresholds))
	for _, g := range f.Groups {
		for i := range g.Rules {
			r := &g.Rules[i]
			for n, th := range thresholds {
				if r.Alert == th.alert && strings.Contains(r.Expr, th.from) {
					r.Expr = strings.Replace(r.Expr, th.from, th.to, 1)
					used[n]++
				}
			}
			if r.For != "" && r.For != "0s" {
				r.For = shorter(parse(t, r.For), leastFor, mostFor)
			}
			r.Expr = window.ReplaceAllStringFunc(r.Expr, func(s string) string {
				m := window.FindStringSubmatch(s)
				back := shorter(parse(t, m[1]), leastBack, mostBack)
				if m[2] != "" {
					return fmt.Sprintf("[%s:%s]", back, betweenScrapes)
				}
				return fmt.Sprintf("[%s]", back)
			})
		}
	}
	for n, th := range thresholds {
		if used[n] != 1 {
			t.Fatalf("%d rules %s have %q, want 1: the drill must follow the rules", used[n], th.alert, th.from)
		}
	}
	text, err := yaml.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func shorter(d, least, most time.Duration) string {
	return fmt.Sprintf("%ds", int(min(max(d/pace, least), most).Seconds()))
}
