package load

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/term"
)

// The plots are SVG of our own: lines in a frame need a hundred lines of code, and so
// their colours are the page's, which has a dark form, and their text is text, which
// can be read aloud and searched. A library of charts was weighed
// (github.com/go-analyze/charts): it draws with fixed colours and text as it measures
// it in fonts of its own, and would be twenty times as much code to keep up to date.

// The frame of a plot, in its own units.
const (
	chartWidth, chartHeight = 900.0, 270.0
	chartLeft, chartRight   = 74.0, 14.0
	chartTop, chartBottom   = 26.0, 34.0
)

// chart is a plot, ready to be drawn.
type chart struct {
	ID, Title, Desc string
	Lines           []line
	XTicks, YTicks  []tick
	XGrid           bool // a line at each tick of x
	Bands           []band
}

type line struct {
	Name, Path string
	Class      string // l1, l2, l3: colour and dashes
}

type tick struct {
	At    float64
	Label string
}

// band is a phase.
type band struct {
	X, Width, Middle float64
	Label            string
	Fault            bool
}

// xy is a point; a y that is NaN interrupts the line.
type xy struct{ x, y float64 }

// axis maps values to a place in the frame.
type axis struct {
	low, high float64
	log       bool
	from, to  float64
}

func (a axis) place(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(max(v, a.low))
	}
	if high <= low {
		return a.from
	}
	return a.from + (a.to-a.from)*(min(max(v, low), high)-low)/(high-low)
}

func yAxis(low, high float64, log bool) axis {
	return axis{low, high, log, chartHeight - chartBottom, chartTop}
}

func xAxis(low, high float64) axis {
	return axis{low, high, false, chartLeft, chartWidth - chartRight}
}

// pathOf draws points as a line.
func pathOf(points []xy, x, y axis) string {
	var b strings.Builder
	pen := "M"
	for _, p := range points {
		if math.IsNaN(p.y) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x.place(p.x), y.place(p.y))
		pen = "L"
	}
	return b.String()
}

// nice are at most about six round steps from 0 to high, and the last is at least high.
func nice(high float64) []float64 {
	if !(high > 0) || math.IsInf(high, 0) {
		high = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(high/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if high <= step*m*5 {
			step *= m
			break
		}
	}
	var out []float64
	for i := 0; ; i++ {
		out = append(out, float64(i)*step)
		if float64(i)*step >= high {
			return out
		}
	}
}

// decades are powers of ten, and three times them, that hold low and high.
func decades(low, high float64) []float64 {
	var out []float64
	for e := math.Floor(math.Log10(low)); ; e++ {
		for _, m := range []float64{1, 3} {
			out = append(out, m*math.Pow(10, e))
			if m*math.Pow(10, e) >= high {
				for len(out) > 2 && out[1] <= low {
					out = out[1:]
				}
				return out
			}
		}
	}
}

// seconds are round times for an axis, from 0 to high.
func seconds(high float64) []float64 {
	step := 0.5
	for _, s := range []float64{0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400} {
		if step = s; high/s <= 10 {
			break
		}
	}
	var out []float64
	for v := 0.0; v <= high; v += step {
		out = append(out, v)
	}
	return out
}

// elapsed writes a time of the axis.
func elapsed(v float64) string {
	if v < 60 || v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', -1, 64) + " s"
	}
	h, m, sec := int(v)/3600, int(v)/60%60, int(v)%60
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit string
	}{{h, "h"}, {m, "m"}, {sec, "s"}} {
		if part.n > 0 {
			fmt.Fprint(&b, part.n, part.unit)
		}
	}
	return b.String()
}

func latencyLabel(v float64) string {
	d := time.Duration(math.Round(v * float64(time.Second)))
	switch {
	case d >= time.Second:
		return strconv.FormatFloat(v, 'g', 3, 64) + " s"
	case d >= time.Millisecond:
		return strconv.FormatFloat(v*1e3, 'g', 3, 64) + " ms"
	}
	return strconv.FormatFloat(v*1e6, 'g', 3, 64) + " µs"
}

// named is a line before it is drawn.
type named struct {
	name   string
	points []xy
}

// overTime draws lines over the run, with its phases behind them.
func (r *Report) overTime(id, title, desc string, log bool, label func(float64) string, lines ...named) chart {
	end := r.Total.For.Seconds()
	if n := len(r.Series); n > 0 {
		end = max(end, r.Series[n-1].At.Seconds())
	}
	for _, l := range lines {
		if n := len(l.points); n > 0 {
			end = max(end, l.points[n-1].x)
		}
	}
	x := xAxis(0, end)
	c := draw(chart{ID: id, Title: title, Desc: desc}, x, log, label, lines)
	for _, s := range seconds(end) {
		c.XTicks = append(c.XTicks, tick{x.place(s), elapsed(s)})
	}
	for _, p := range r.Phases {
		from, to := x.place(p.Begin.Seconds()), x.place((p.Begin + p.For).Seconds())
		name := p.Name
		if most := int((to - from) / 7); len(name) > most { // about what fits
			name = name[:max(0, most)]
		}
		c.Bands = append(c.Bands, band{from, to - from, (from + to) / 2, name, p.Fault != "" && !r.FaultsSkipped})
	}
	return c
}

// draw draws lines with a vertical axis that holds them.
func draw(c chart, x axis, log bool, label func(float64) string, lines []named) chart {
	low, high := math.Inf(1), 0.0
	for _, l := range lines {
		for _, p := range l.points {
			if p.y > 0 {
				low, high = min(low, p.y), max(high, p.y)
			}
		}
	}
	var steps []float64
	if log && high > 0 {
		steps = decades(low, high)
	} else {
		log, steps = false, nice(high)
	}
	y := yAxis(steps[0], steps[len(steps)-1], log)
	for _, s := range steps {
		c.YTicks = append(c.YTicks, tick{y.place(s), label(s)})
	}
	for i, l := range lines {
		c.Lines = append(c.Lines, line{l.name, pathOf(l.points, x, y), "l" + strconv.Itoa(i+1)})
	}
	return c
}

// charts are the plots of a report.
func (r *Report) charts() []chart {
	var due, accepted, p50, p99, most, backlog, memory []xy
	orNothing := func(d time.Duration) float64 { // a moment without requests has no latency
		if d == 0 {
			return math.NaN()
		}
		return d.Seconds()
	}
	for i, p := range r.Series {
		at := p.At.Seconds()
		if i > 0 && i == len(r.Series)-1 && p.Due == 0 && p.Accepted == 0 {
			break // the point that begins where the run ends
		}
		due, accepted = append(due, xy{at, p.Due}), append(accepted, xy{at, p.Accepted})
		p50, p99, most = append(p50, xy{at, orNothing(p.P50)}), append(p99, xy{at, orNothing(p.P99)}), append(most, xy{at, orNothing(p.Max)})
	}
	for i, s := range r.Seen {
		if i > 0 && s.At-r.Seen[i-1].At > 3*time.Second { // it did not answer meanwhile
			backlog, memory = append(backlog, xy{y: math.NaN()}), append(memory, xy{y: math.NaN()})
		}
		backlog, memory = append(backlog, xy{s.At.Seconds(), s.Backlog}), append(memory, xy{s.At.Seconds(), s.Memory / 1e6})
	}
	out := []chart{
		r.overTime("rate", "Events a second", fmt.Sprintf("Events a second that were due and that were accepted. At most %s were due.", term.Number(math.Round(highest(due)))),
			false, term.Number, named{"due", due}, named{"accepted", accepted}),
		r.overTime("latency", "Latency, by when a request was due", fmt.Sprintf("Half of the requests took at most %s, 99 of 100 at most %s, the slowest %s. The scale is logarithmic.",
			term.Duration(r.Total.Latency.P50), term.Duration(r.Total.Latency.P99), term.Duration(r.Total.Latency.Max)),
			true, latencyLabel, named{"median", p50}, named{"p99", p99}, named{"longest", most}),
		r.curve(),
	}
	if len(r.Seen) > 1 {
		out = append(out, r.overTime("backlog", "Messages that wait for the meter", fmt.Sprintf("At most %s messages, of one or more events each, waited.", term.Number(r.BacklogMax)),
			false, term.Number, named{"waiting", backlog}))
		if r.MemoryMax > 0 {
			out = append(out, r.overTime("memory", "Memory of kgents, in MB", fmt.Sprintf("At most %.0f MB were in use.", r.MemoryMax/1e6), false, term.Number, named{"resident", memory}))
		}
	}
	return out
}

func highest(points []xy) float64 {
	return slices.MaxFunc(append(points, xy{}), func(a, b xy) int { return int(math.Copysign(1, a.y-b.y)) }).y
}

// curve is the distribution of all latencies: the further right, the rarer.
func (r *Report) curve() chart {
	var points []xy
	end := 1.0
	for _, q := range r.Curve {
		nines := -math.Log10(1 - q.Of)
		if q.Of == 1 {
			nines = end
		}
		end = max(end, nines)
		points = append(points, xy{nines, q.Latency.Seconds()})
	}
	x := xAxis(0, end)
	c := draw(chart{
		ID: "curve", Title: "Latency, by how many requests took at most so long", XGrid: true,
		Desc: fmt.Sprintf("999 of 1,000 requests took at most %s. Towards the right each 9 is ten times rarer. The scale of latency is logarithmic.", term.Duration(r.Total.Latency.P999)),
	}, x, true, latencyLabel, []named{{"all requests", points}})
	for _, s := range []struct {
		of    float64
		label string
	}{{0, "0 %"}, {0.5, "50 %"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {0.9999, "99.99 %"}, {0.99999, "99.999 %"}} {
		if nines := -math.Log10(1 - s.of); nines <= end {
			c.XTicks = append(c.XTicks, tick{x.place(nines), s.label})
		}
	}
	return c
}
