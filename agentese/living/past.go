package living

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/kgents/kgents/api/client"
)

// Ask names a figure whose past is wanted: a metric, of a histogram with _count or _sum,
// and with labels in braces where a part of it is meant, as the program's own memory
// lists them (GET /api/v1/history/series).
type Ask struct {
	Name string
	Rate bool // of a counter: its increase in a second
}

// Point is a figure at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// Series is the past of one figure, oldest first. What could not be had has no points.
type Series struct {
	Ask
	Points []Point
}

// Past is what a source remembers.
type Past struct {
	Series []Series  // in the order in which they were asked for
	From   string    // which source: Prometheus, or the program's own memory
	Since  time.Time // from when on; later than asked for where nothing older is kept
	Step   time.Duration
}

// Bounds of what is asked for.
const (
	leastStep = 10 * time.Second // what the program's memory keeps
	mostSteps = 400
	rateOver  = 2 * time.Minute // the least window of a rate: some scrapes of Prometheus
)

// Series gives the past of some figures since a time, a point each step, from Prometheus
// where it is configured, else from the program's own memory, which has the last six
// hours of the one process that answers. A step of 0 chooses one of some 60, in what is
// kept of the time. A figure that the source doesn't have has no points; the error is that
// of a source that is away or, of a program older than this one, absent.
func (s *Sources) Series(ctx context.Context, since, now time.Time, step time.Duration, asks ...Ask) (Past, error) {
	p, err := s.series(ctx, since, now, step, asks)
	if err == nil && step <= 0 && p.Since.Sub(since) > now.Sub(since)/10 && p.Since.Before(now) {
		return s.series(ctx, p.Since, now, 0, asks) // closer together, where less is kept
	}
	return p, err
}

func (s *Sources) series(ctx context.Context, since, now time.Time, step time.Duration, asks []Ask) (Past, error) {
	length := now.Sub(since)
	if step <= 0 {
		step = length / 60
	}
	step = max(step, leastStep, length/mostSteps).Round(time.Second)
	p := Past{Since: since, Step: step}
	var err error
	if s.PrometheusURL != "" {
		p.From = "Prometheus"
		err = s.seriesOfPrometheus(ctx, &p, now, asks)
	} else {
		p.From = "the program's own memory"
		err = s.seriesOfProgram(ctx, &p, asks)
	}
	return p, err
}

// aggregate says how replicas' figures make one: those that count add up, what is good
// at 1 is as bad as the worst, and of what all replicas say alike the largest is the
// newest (docs/saas/metrics.md).
func aggregate(name string) string {
	metric, _, _ := strings.Cut(name, "{")
	switch {
	case strings.HasSuffix(metric, "_total"), strings.HasSuffix(metric, "_count"), strings.HasSuffix(metric, "_sum"), strings.HasSuffix(metric, "_in_flight"),
		strings.HasSuffix(metric, "_buffered"), strings.HasSuffix(metric, "_waiting") && strings.Contains(metric, "idempotency"),
		strings.HasPrefix(metric, "kgents_nats_fallback_queue"):
		return "sum"
	case strings.HasSuffix(metric, "_up"), strings.HasSuffix(metric, "_connected"), strings.HasSuffix(metric, "_has_leader"), strings.HasSuffix(metric, "_free_bytes"):
		return "min"
	}
	return "max"
}

// selector is a figure's name as Prometheus selects it, of this deployment alone.
func (s *Sources) selector(name string) string {
	if s.Namespace == "" {
		return name
	}
	metric, labels, has := strings.Cut(name, "{")
	only := "namespace=" + quoteLabel(s.Namespace)
	if has {
		return metric + "{" + only + "," + labels
	}
	return metric + "{" + only + "}"
}

func quoteLabel(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v) + `"`
}

func (s *Sources) seriesOfPrometheus(ctx context.Context, p *Past, now time.Time, asks []Ask) error {
	from := now.Add(-now.Sub(p.Since).Truncate(p.Step)) // the last point is of now
	var first time.Time
	for _, a := range asks {
		query := aggregate(a.Name) + "(" + s.selector(a.Name) + ")"
		if a.Rate {
			query = "sum(rate(" + s.selector(a.Name) + "[" + model.Duration(max(p.Step, rateOver)).String() + "]))"
		}
		m, err := s.QueryRange(ctx, query, from, now, p.Step)
		if err != nil {
			return err
		}
		one := Series{Ask: a}
		if len(m) > 0 {
			for _, v := range m[0].Values {
				if f := float64(v.Value); !math.IsNaN(f) && !math.IsInf(f, 0) {
					one.Points = append(one.Points, Point{v.Timestamp.Time().UTC(), f})
				}
			}
		}
		if len(one.Points) > 0 && (first.IsZero() || one.Points[0].Time.Before(first)) {
			first = one.Points[0].Time
		}
		p.Series = append(p.Series, one)
	}
	if first.Sub(from) >= p.Step { // a point is as old as its step
		p.Since = first.Add(-p.Step)
	}
	return nil
}

func (s *Sources) seriesOfProgram(ctx context.Context, p *Past, asks []Ask) error {
	var names []string
	for _, a := range asks {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	lines := map[string][][2]float64{}
	for _, name := range slices.Compact(names) {
		var answer struct {
			Series []struct {
				Name   string       `json:"name"`
				Points [][2]float64 `json:"points"`
			} `json:"series"`
			KeptSince time.Time `json:"kept_since"`
		}
		query := url.Values{"name": {name}, "since": {p.Since.UTC().Format(time.RFC3339)}, "step": {p.Step.String()}}
		err := s.API.Get(ctx, "/api/v1/history/series", query, &answer)
		if client.Status(err) == http.StatusNotFound {
			if !s.remembers(ctx) {
				return Absent("a memory of the program's figures", "set PROMETHEUS_URL, or run a kgents as new as this one")
			}
			continue // this figure is none that is kept
		}
		if err != nil {
			return Away("the program's history", err)
		}
		for _, l := range answer.Series {
			if l.Name == name || len(answer.Series) == 1 {
				lines[name] = l.Points
			}
		}
		if answer.KeptSince.After(p.Since) {
			p.Since = answer.KeptSince
		}
	}
	for _, a := range asks {
		one := Series{Ask: a}
		for _, v := range lines[a.Name] {
			one.Points = append(one.Points, Point{time.Unix(int64(v[0]), 0).UTC(), v[1]})
		}
		if a.Rate {
			one.Points = rates(one.Points)
		}
		p.Series = append(p.Series, one)
	}
	return nil
}

// remembers says whether the program has the route at all.
func (s *Sources) remembers(ctx context.Context) bool {
	_, err := s.API.Bytes(ctx, http.MethodGet, "/api/v1/history/series", nil, nil)
	return client.Status(err) != http.StatusNotFound
}

// rates are the increases in a second between neighbours. A counter that has gone down
// began again at 0.
func rates(points []Point) []Point {
	var out []Point
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		if took := b.Time.Sub(a.Time).Seconds(); took > 0 {
			grew := b.Value - a.Value
			if grew < 0 {
				grew = b.Value
			}
			out = append(out, Point{b.Time, grew / took})
		}
	}
	return out
}

// Rates are the figures' increases in a second over the last five minutes, in the order
// of names; nil for what could not be had, with why.
func (s *Sources) Rates(ctx context.Context, now time.Time, names ...string) ([]any, error) {
	asks := make([]Ask, len(names))
	for i, n := range names {
		asks[i] = Ask{Name: n, Rate: true}
	}
	out := make([]any, len(names))
	p, err := s.Series(ctx, now.Add(-5*time.Minute), now, 0, asks...)
	if err != nil {
		return out, err
	}
	for i, one := range p.Series {
		if n := len(one.Points); n > 0 {
			total := 0.0
			for _, v := range one.Points {
				total += v.Value
			}
			out[i] = total / float64(n)
		}
	}
	return out, nil
}

// Entry is something that has happened to the program, as its history keeps it.
type Entry struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // start, stop, circuit, health, change, reconciliation, backup
	What    string    `json:"what"`
	Detail  string    `json:"detail"`
	Who     string    `json:"who"`
	Replica string    `json:"replica"`
}

// Entries are what the program remembers since a time, of these kinds or of all, newest
// first, 1,000 at most. The note says what is missing of it, if something is.
func (s *Sources) Entries(ctx context.Context, since time.Time, kinds ...string) (out []Entry, note string, err error) {
	query := url.Values{"since": {since.UTC().Format(time.RFC3339)}, "limit": {"1000"}}
	if len(kinds) == 1 {
		query.Set("kind", kinds[0])
	}
	var answer struct {
		Entries   []Entry   `json:"entries"`
		KeptSince time.Time `json:"kept_since"`
		More      bool      `json:"more"`
		Partial   bool      `json:"partial"`
	}
	err = s.API.Get(ctx, "/api/v1/history", query, &answer)
	switch {
	case client.Status(err) == http.StatusNotFound:
		return nil, "", Absent("a history of the program", "run a kgents as new as this one")
	case err != nil:
		return nil, "", Away("the program's history", err)
	}
	for _, e := range answer.Entries {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			out = append(out, e)
		}
	}
	switch {
	case answer.Partial:
		note = "NATS doesn't answer: what happened is that of one replica, since its start."
	case answer.More:
		note = "There is more than these 1,000: ask for less with [since=…]."
	case answer.KeptSince.IsZero():
		note = "Nothing has been kept yet."
	case answer.KeptSince.After(since):
		note = "What happened is kept since " + answer.KeptSince.UTC().Format("2006-01-02 15:04:05") + " UTC."
	}
	return out, note, nil
}
