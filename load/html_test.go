package load

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sample is a report with what a page may have to show, and a detail from a stranger.
func sample() Report {
	r := Report{
		Profile: Profile{Name: "storm", About: "About it", Text: "name: storm <&>\n"}, URL: "http://127.0.0.1:1", Run: "abc", Local: true,
		Began: time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC), Elapsed: 10 * time.Second,
		Total:    Part{Name: "all", For: 10 * time.Second, Requests: 100, Accepted: 99, Latency: Latency{P50: time.Millisecond, P99: time.Second, Max: 2 * time.Second}},
		Phases:   []Part{{Name: "calm", For: 5 * time.Second}, {Name: "outage", Begin: 5 * time.Second, For: 5 * time.Second, Fault: FaultCrash}},
		Failures: []Failure{{Status: 502, Count: 1, Detail: `<script src="http://evil.example/x.js">alert(1)</script>`}},
		Count:    Count{Known: true, Complete: true, Accepted: 99},
		Verdicts: []Verdict{{Threshold: Threshold{Metric: "lost", Max: "0"}, Shown: "0", Bound: "at most 0", OK: true}, {Threshold: Threshold{Metric: "latency_p99", Phase: "calm"}, Shown: "1s", Bound: "at most 250ms"}},
	}
	for i := range 10 {
		r.Series = append(r.Series, Point{At: time.Duration(i) * time.Second, Due: 10, Accepted: float64(i), P50: time.Duration(i) * time.Millisecond, P99: time.Second, Max: 2 * time.Second})
		r.Seen = append(r.Seen, Seen{At: time.Duration(i*i) * time.Second / 2, Backlog: float64(i), Memory: 5e7})
	}
	r.Curve = []Quantile{{0, time.Millisecond}, {0.5, 2 * time.Millisecond}, {0.999, time.Second}, {1, 2 * time.Second}}
	r.BacklogMax, r.MemoryMax = 9, 5e7
	return r
}

// The page needs nothing from elsewhere, runs nothing, and what strangers say in it is
// text.
func TestPage(t *testing.T) {
	for name, r := range map[string]Report{"full": sample(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := r.HTML(&b); err != nil {
				t.Fatal(err)
			}
			page := b.String()
			for _, pattern := range []string{`(?i)<(script|link|img|iframe|object|embed|form|a)\b`, `(?i)\b(src|href|action|style)\s*=\s*"`, `(?i)\bon[a-z]+\s*=\s*"`, `@import|url\(`, `NaN|Inf|ZgotmplZ|%!`} {
				if found := regexp.MustCompile(pattern).FindString(page); found != "" {
					t.Errorf("the page has %q", found)
				}
			}
			for _, want := range []string{`<html lang="en">`, `<title>`, `prefers-color-scheme: dark`, `default-src 'none'`} {
				if !strings.Contains(page, want) {
					t.Errorf("the page has no %s", want)
				}
			}
			if name == "empty" {
				return
			}
			for _, want := range []string{
				`✗ It does not hold`, `&lt;script src=`, `name: storm &lt;&amp;&gt;`, `class="band fault"`, `Memory of kgents`, `Messages that wait`, `cus_load_abc_`,
			} {
				if !strings.Contains(page, want) {
					t.Errorf("the page has no %s", want)
				}
			}
		})
	}
}

// Each plot is well-formed, has a title and a description that name it, lies within its
// frame, and no two things share an id.
func TestPlots(t *testing.T) {
	var b strings.Builder
	if err := sample().HTML(&b); err != nil {
		t.Fatal(err)
	}
	plots := regexp.MustCompile(`(?s)<svg class="plot".*?</svg>`).FindAllString(b.String(), -1)
	if len(plots) != 5 {
		t.Fatalf("%d plots, not 5", len(plots))
	}
	ids := map[string]bool{}
	for _, plot := range plots {
		d := xml.NewDecoder(strings.NewReader(plot))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in %s", err, plot)
			}
			start, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			for _, a := range start.Attr {
				if a.Name.Local == "id" {
					if ids[a.Value] {
						t.Errorf("two things have the id %s", a.Value)
					}
					ids[a.Value] = true
				}
			}
		}
		for _, id := range regexp.MustCompile(`aria-labelledby="([^"]+) ([^"]+)"`).FindStringSubmatch(plot)[1:] {
			if !ids[id] {
				t.Errorf("a plot is said to be described by %s, which isn't there", id)
			}
		}
		for _, m := range regexp.MustCompile(`[ML](-?[0-9.]+) (-?[0-9.]+)`).FindAllStringSubmatch(plot, -1) {
			if x, y := number(t, m[1]), number(t, m[2]); x < chartLeft || x > chartWidth-chartRight+0.1 || y < chartTop || y > chartHeight-chartBottom+0.1 {
				t.Errorf("%s lies outside of the frame", m[0])
			}
		}
	}
	if drawn := regexp.MustCompile(`class="line l1" d="([^"]+)"`).FindStringSubmatch(plots[3]); strings.Count(drawn[1], "M") < 2 {
		t.Errorf("the backlog's line isn't interrupted where nothing was seen: %s", drawn[1])
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	var d time.Duration
	d, err := time.ParseDuration(s + "s")
	if err != nil {
		t.Fatal(err)
	}
	return d.Seconds()
}

func TestTicks(t *testing.T) {
	for _, high := range []float64{0, 1e-9, 0.7, 1, 9, 99, 101, 540, 10_000, 3e9, math.NaN(), math.Inf(1)} {
		steps := nice(high)
		if len(steps) < 2 || len(steps) > 7 || steps[0] != 0 || steps[len(steps)-1] < high && !math.IsInf(high, 0) {
			t.Errorf("nice(%v): %v", high, steps)
		}
	}
	for _, r := range [][2]float64{{1e-6, 1e-6}, {0.001, 0.004}, {0.002, 6.3}, {0.0005, 1800}} {
		steps := decades(r[0], r[1])
		if steps[0] > r[0] || steps[len(steps)-1] < r[1] || len(steps) > 20 {
			t.Errorf("decades(%v): %v", r, steps)
		}
	}
	for _, high := range []float64{0.2, 3, 50, 60, 3600, 86400} {
		if steps := seconds(high); len(steps) > 13 || steps[len(steps)-1] > high {
			t.Errorf("seconds(%v): %v", high, steps)
		}
	}
	for v, want := range map[float64]string{0: "0 s", 2.5: "2.5 s", 60: "1m", 90: "1m30s", 3600: "1h", 5400: "1h30m"} {
		if got := elapsed(v); got != want {
			t.Errorf("elapsed(%v) is %q, want %q", v, got, want)
		}
	}
}
