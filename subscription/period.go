package subscription

import (
	"math"
	"time"
)

// month is the calendar month of now in UTC.
func month(now time.Time) (start, end time.Time) {
	start = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	return start, start.AddDate(0, 1, 0)
}

// around is the period that now falls into, of a subscription that was last seen in the
// period from start to end. Periods follow each other without gaps, by the length of
// the known one: a day, weeks, or 1, 2, 3, 6, 12, 24 or 36 months of the calendar. After
// one of any other length, such as a trial, come months.
//
// It is for the time in which a renewal is late, and always includes now.
func around(start, end, now time.Time, trial bool) (time.Time, time.Time) {
	if !now.Before(start) && now.Before(end) {
		return start, end
	}
	first := end
	if now.Before(start) {
		first = start
	}
	months, length := interval(start, end, trial)
	if length > 0 {
		n := math.Floor(float64(now.Sub(first)) / float64(length))
		from := first.Add(time.Duration(n) * length)
		return from, from.Add(length)
	}
	day := first.Day()
	if months > 0 { // from the 31st to the 28th, or back: the months after it end on the 31st
		day = max(start.Day(), end.Day())
	}
	months = max(1, months)
	between := (now.Year()-first.Year())*12 + int(now.Month()) - int(first.Month())
	n := int(math.Floor(float64(between)/float64(months))) + 1
	for later(first, n*months, day).After(now) {
		n--
	}
	return later(first, n*months, day), later(first, (n+1)*months, day)
}

// interval is the length of a period: months of the calendar, or days that are always
// as many, or neither.
func interval(start, end time.Time, trial bool) (months int, length time.Duration) {
	if trial {
		return 0, 0
	}
	for _, n := range []int{1, 2, 3, 6, 12, 24, 36} {
		if sameDay(start, end, n) {
			return n, 0
		}
	}
	const day, week = 24 * time.Hour, 7 * 24 * time.Hour
	if length = end.Sub(start); length == day || length%week == 0 && length <= 52*week {
		return 0, length
	}
	return 0, 0
}

// sameDay tells whether end lies n months after start, on the same day of the month or
// on the last one of a month that lacks it.
func sameDay(start, end time.Time, n int) bool {
	there := later(start, n, start.Day())
	if d := end.Sub(there).Abs(); d < 24*time.Hour {
		return true
	}
	return later(start, n, 31).Sub(end).Abs() < 24*time.Hour && start.AddDate(0, 0, 1).Day() == 1
}

// later is t moved by n months, to the day of the month, or to the month's last one if
// it has fewer.
func later(t time.Time, n, day int) time.Time {
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(day, last)-1)
}
