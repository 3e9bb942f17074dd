package tree

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/term"
)

// Human is a figure as people write it, in one line and without anything that a
// terminal would obey. What is not known is "unknown". A time is in UTC, with how long
// ago it was where that is less than ten days.
func Human(v any, unit string, now time.Time) string {
	switch x := v.(type) {
	case nil:
		return "unknown"
	case bool:
		if x {
			return "yes"
		}
		return "no"
	case time.Time:
		return instant(x, now)
	case time.Duration:
		return span(x)
	case string:
		return oneLine(x)
	case State:
		return oneLine(string(x))
	}
	n, ok := number(v)
	if !ok {
		return oneLine(fmt.Sprint(v))
	}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return "unknown"
	}
	switch unit = oneLine(unit); unit {
	case "":
		if math.Abs(n) < 100 && math.Abs(n) >= 0.001 {
			n, _ = strconv.ParseFloat(strconv.FormatFloat(n, 'g', 3, 64), 64) // a figure, no measurement
		}
		return term.Number(n)
	case "bytes":
		return size(n)
	case "seconds":
		return span(time.Duration(min(max(n*float64(time.Second), math.MinInt64), math.MaxInt64-1024)))
	case "percent":
		if n > 0 && n < 0.01 {
			return "< 0.01 %" // how little of it doesn't matter, but it isn't nothing
		}
		return rounded(n) + " %"
	case "1/s":
		return rounded(n) + "/s"
	}
	if currency, ok := strings.CutPrefix(unit, "money:"); ok {
		return term.Money(n, currency)
	}
	return term.Number(n) + " " + unit
}

// rounded has as many decimals as are of use: none from 100 on, else one or two.
func rounded(n float64) string {
	switch decimals := math.Abs(n); {
	case n == math.Trunc(n), decimals >= 100:
		return term.Number(math.Round(n))
	case decimals >= 10:
		return strconv.FormatFloat(n, 'f', 1, 64)
	case decimals >= 0.01:
		return strconv.FormatFloat(n, 'f', 2, 64)
	default:
		return strconv.FormatFloat(n, 'g', 2, 64)
	}
}

// size writes bytes in units of 1024 (IEC 80000-13).
func size(n float64) string {
	for i, unit := range []string{"B", "KiB", "MiB", "GiB", "TiB"} {
		if v := n / math.Pow(1024, float64(i)); math.Abs(v) < 1024 {
			return rounded(v) + " " + unit
		}
	}
	return rounded(n/math.Pow(1024, 5)) + " PiB"
}

// span is a duration with its two greatest units from a minute on.
func span(d time.Duration) string {
	if d < 0 {
		if d == math.MinInt64 {
			d++
		}
		return "-" + span(-d)
	}
	if d < time.Minute {
		if d%time.Second == 0 {
			return fmt.Sprintf("%ds", d/time.Second)
		}
		return term.Duration(d)
	}
	two := func(big, small time.Duration, a, b string) string {
		d = d.Round(small)
		if rest := d % big / small; rest > 0 {
			return fmt.Sprintf("%d%s %d%s", d/big, a, rest, b)
		}
		return fmt.Sprintf("%d%s", d/big, a)
	}
	switch {
	case d < time.Hour:
		return two(time.Minute, time.Second, "m", "s")
	case d < 48*time.Hour:
		return two(time.Hour, time.Minute, "h", "m")
	default:
		return two(24*time.Hour, time.Hour, "d", "h")
	}
}

func instant(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	text := t.UTC().Format("2006-01-02 15:04:05")
	switch ago := now.Sub(t).Truncate(time.Second); {
	case now.IsZero():
		return text
	case ago > -time.Second && ago < time.Second:
		return text + " (now)"
	case ago > 0 && ago < 10*24*time.Hour:
		return text + " (" + coarse(ago) + " ago)"
	case ago < 0 && ago > -10*24*time.Hour:
		return text + " (in " + coarse(-ago) + ")"
	}
	return text
}

// coarse is a duration of a second or more in its greatest unit.
func coarse(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// short is an instant where there is little room: the time of today, else the day with
// it, and the year alone where it is another.
func short(t, now time.Time) string {
	if t.IsZero() {
		return Human(t, "", now)
	}
	t, now = t.UTC(), now.UTC()
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format(time.TimeOnly)
	case t.Year() == now.Year():
		return t.Format("01-02 15:04")
	default:
		return t.Format(time.DateOnly)
	}
}
