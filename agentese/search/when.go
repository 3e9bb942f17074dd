package search

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// span is a time that a question speaks of.
type span struct {
	text     string        // as it was written
	ago      time.Duration // how long ago it begins; 0 if it lies ahead
	ahead    bool          // "for 2 hours", "in two days": a length, not a past
	exact    bool          // it was given by a number
	from, to int           // tokens
}

// value is the span as a clause has it: 90s, 15m, 6h, 2d; hours up to two days.
func (s span) value() string {
	d := s.ago
	switch {
	case d >= 72*time.Hour && d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d >= time.Minute && d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	default:
		return fmt.Sprintf("%ds", max(1, int(d/time.Second)))
	}
}

var units = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": day, "day": day, "days": day, "w": 7 * day, "week": 7 * day, "weeks": 7 * day, "month": 30 * day, "months": 30 * day,
}

const day = 24 * time.Hour

var counts = map[string]int{
	"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
	"eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "couple": 2, "few": 3, "half": 0, "dozen": 12,
}

// named are times that have a word. Their length is from the hour at which they began.
var named = map[string]func(now time.Time) time.Duration{
	"yesterday": func(time.Time) time.Duration { return day },
	"overnight": func(time.Time) time.Duration { return 12 * time.Hour },
	"tonight":   func(time.Time) time.Duration { return 12 * time.Hour },
	"today":     func(now time.Time) time.Duration { return now.Sub(now.Truncate(day)).Truncate(time.Hour) },
	"weekend":   func(time.Time) time.Duration { return 3 * day },
	"noon":      sinceHour(12),
	"midday":    sinceHour(12),
	"lunch":     sinceHour(12),
	"lunchtime": sinceHour(12),
	"midnight":  sinceHour(0),
	"monday":    sinceDay(time.Monday),
	"tuesday":   sinceDay(time.Tuesday),
	"wednesday": sinceDay(time.Wednesday),
	"thursday":  sinceDay(time.Thursday),
	"friday":    sinceDay(time.Friday),
	"saturday":  sinceDay(time.Saturday),
	"sunday":    sinceDay(time.Sunday),
}

// sinceHour is the time since an hour of the day, the last time that it was.
func sinceHour(hour int) func(time.Time) time.Duration {
	return func(now time.Time) time.Duration {
		d := now.Sub(now.Truncate(day).Add(time.Duration(hour) * time.Hour))
		if d <= 0 {
			d += day
		}
		return (d + time.Hour - 1).Truncate(time.Hour)
	}
}

// sinceDay is the time since the last day of that name began; today's name is a week ago.
func sinceDay(weekday time.Weekday) func(time.Time) time.Duration {
	return func(now time.Time) time.Duration {
		days := (int(now.Weekday()-weekday) + 7) % 7
		if days == 0 {
			days = 7
		}
		return (now.Sub(now.Truncate(day)) + time.Duration(days)*day + time.Hour - 1).Truncate(time.Hour)
	}
}

var weekdays = set("monday tuesday wednesday thursday friday saturday sunday")

// spans are the times in a question, at most four.
func spans(ts []token, now time.Time) []span {
	var out []span
	for i := 0; i < len(ts) && len(out) < 4; i++ {
		if s, n := spanAt(ts, i, now); n > 0 {
			s.from, s.to = i, i+n
			words := make([]string, n)
			for k := range n {
				words[k] = ts[i+k].text
			}
			s.text = strings.Join(words, " ")
			out = append(out, s)
			i += n - 1
		}
	}
	return out
}

func spanAt(ts []token, i int, now time.Time) (span, int) {
	at := func(k int) string {
		if k < 0 || k >= len(ts) {
			return ""
		}
		return ts[k].text
	}
	w := at(i)
	if f, ok := named[w]; ok {
		if w == "yesterday" && (at(i-1) == "before" || at(i-1) == "day") {
			return span{ago: 2 * day}, 1
		}
		ago := max(time.Hour, f(now))
		// "tuesday at 14:00": the hour is that day's.
		if k := i + 1; weekdays[w] {
			if at(k) == "at" {
				k++
			}
			if k < len(ts) {
				if h, n, ok := clock(ts, k); ok {
					return span{ago: max(time.Hour, (ago - h).Truncate(time.Hour)), exact: true}, k - i + n
				}
			}
		}
		return span{ago: ago}, 1
	}
	if (w == "last" || w == "this" || w == "my") && at(i+1) == "shift" {
		return span{ago: 8 * time.Hour}, 2
	}
	if w == "this" && at(i+1) == "month" { // the calendar's: it is asked for where money is
		first := now.Truncate(day).AddDate(0, 0, 1-now.Day())
		return span{ago: max(time.Hour, (now.Sub(first) + time.Hour - 1).Truncate(time.Hour))}, 2
	}
	if unitWord, ok := map[string]time.Duration{"night": 12 * time.Hour, "evening": 18 * time.Hour, "week": 7 * day, "month": 30 * day, "hour": time.Hour, "day": day}[at(i+1)]; ok &&
		(w == "last" || w == "past" || w == "this" && at(i+1) != "day") {
		return span{ago: unitWord}, 2
	}
	if w == "this" && at(i+1) == "morning" {
		return span{ago: 12 * time.Hour}, 2
	}
	// 3am, 3 am, 14:00: the last time that it was so.
	if h, n, ok := clock(ts, i); ok {
		d := now.Sub(now.Truncate(day).Add(h))
		for d <= 0 {
			d += day
		}
		d = (d + time.Hour - 1).Truncate(time.Hour)
		return span{ago: max(time.Hour, d), exact: true}, n
	}
	d, n := length(ts, i)
	if n == 0 {
		return span{}, 0
	}
	s := span{ago: d, exact: true}
	before := at(i - 1)
	s.ahead = before == "for" || before == "in" || before == "every" || before == "within"
	if at(i+n) == "ago" || at(i+n) == "back" || at(i+n) == "before" {
		s.ahead = false
		n++
	}
	return s, n
}

// length reads 6h, 6 hours, two days, half an hour, a couple of days.
func length(ts []token, i int) (time.Duration, int) {
	w := ts[i].text
	cut := strings.IndexFunc(w, func(r rune) bool { return r < '0' || r > '9' })
	if cut > 0 && cut <= 6 {
		if u, ok := units[w[cut:]]; ok {
			n, _ := strconv.Atoi(w[:cut])
			return bounded(n, u), 1
		}
		return 0, 0
	}
	if w == "half" && i+2 < len(ts) && (ts[i+1].text == "an" || ts[i+1].text == "a") {
		if u, ok := units[ts[i+2].text]; ok && len(ts[i+2].text) > 1 {
			return u / 2, 3
		}
	}
	n, ok := counts[w]
	if !ok {
		if cut != -1 || len(w) > 6 || !digits(w) {
			return 0, 0
		}
		n, _ = strconv.Atoi(w)
	}
	if n == 0 {
		return 0, 0
	}
	for k := i + 1; k < len(ts) && k <= i+3; k++ {
		x := ts[k].text
		if x == "couple" || x == "few" {
			n, w = counts[x], x
		}
		if u, ok := units[x]; ok {
			if (w == "a" || w == "an") && !(k+1 < len(ts) && (ts[k+1].text == "ago" || ts[k+1].text == "back")) {
				return 0, 0 // "a day" is no time, "a day ago" is
			}
			return bounded(n, u), k - i + 1
		}
		if x != "of" && x != "more" && x != "couple" && x != "few" {
			return 0, 0
		}
	}
	return 0, 0
}

// bounded is a length within what clauses take: at most ten years.
func bounded(n int, u time.Duration) time.Duration {
	if n <= 0 || n > int(3650*day/u) {
		return day
	}
	return time.Duration(n) * u
}

// clock reads 3am, 3 am, 14:00.
func clock(ts []token, i int) (time.Duration, int, bool) {
	w := ts[i].text
	for _, half := range []string{"am", "pm"} {
		num, used := "", 1
		if s, ok := strings.CutSuffix(w, half); ok && s != "" {
			num = s
		} else if i+1 < len(ts) && ts[i+1].text == half {
			num, used = w, 2
		}
		if h, err := strconv.Atoi(num); err == nil && h >= 1 && h <= 12 {
			h %= 12
			if half == "pm" {
				h += 12
			}
			return time.Duration(h) * time.Hour, used, true
		}
	}
	if i+1 < len(ts) && len(ts[i+1].text) == 2 && ts[i+1].from == ts[i].to+1 && len(w) <= 2 {
		h, err1 := strconv.Atoi(w)
		m, err2 := strconv.Atoi(ts[i+1].text)
		if err1 == nil && err2 == nil && h >= 0 && h < 24 && m >= 0 && m < 60 {
			return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute, 2, true
		}
	}
	return 0, 0, false
}
