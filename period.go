package kgents

import "time"

// sliver is what is left behind a period's last month and belongs to it, so that a
// subscription of the 31st has whole months too.
const sliver = 4 * 24 * time.Hour

// UsagePeriod is the part of a subscription's period over which a quota of PerPeriod
// counts: a month, also where the price is a year's, so that a year's price doesn't
// spread a month's quota over the year. Months begin on the day and at the time at which
// the period does, on a shorter month's last day if need be, as Stripe's do. A period of
// a month or less is its own. An at outside is taken for the nearest inside.
//
// Times are in UTC. The parts of a period meet without a gap: the first begins with it
// and the last ends with it.
func UsagePeriod(start, end, at time.Time) (from, to time.Time) {
	start, end = start.UTC(), end.UTC()
	from = start
	for k := 1; ; k++ {
		if to = addMonths(start, k); end.Sub(to) < sliver {
			return from, end
		}
		if at.Before(to) {
			return from, to
		}
		from = to
	}
}

// addMonths is t n months on, on the month's last day where it has no such day.
func addMonths(t time.Time, n int) time.Time {
	y, m, d := t.Date()
	last := time.Date(y, m+time.Month(n)+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return time.Date(y, m+time.Month(n), min(d, last), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}
