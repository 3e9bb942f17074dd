package kgents_test

import (
	"testing"
	"time"

	"github.com/kgents/kgents"
)

func day(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestUsagePeriod(t *testing.T) {
	for _, test := range []struct{ name, start, end, at, from, to string }{
		{"a month is its own", "2026-11-01 00:00", "2026-12-01 00:00", "2026-11-30 23:59", "2026-11-01 00:00", "2026-12-01 00:00"},
		{"February too", "2027-02-01 00:00", "2027-03-01 00:00", "2027-02-10 00:00", "2027-02-01 00:00", "2027-03-01 00:00"},
		{"from the 31st to a short month's end", "2027-01-31 09:30", "2027-02-28 09:30", "2027-02-10 00:00", "2027-01-31 09:30", "2027-02-28 09:30"},
		{"from a short month's end to the 31st", "2027-02-28 09:30", "2027-03-31 09:30", "2027-03-30 00:00", "2027-02-28 09:30", "2027-03-31 09:30"},
		{"a trial of two weeks", "2026-11-10 08:00", "2026-11-24 08:00", "2026-11-20 00:00", "2026-11-10 08:00", "2026-11-24 08:00"},
		{"a year's first month", "2026-11-10 08:00", "2027-11-10 08:00", "2026-11-10 08:00", "2026-11-10 08:00", "2026-12-10 08:00"},
		{"a month's last moment", "2026-11-10 08:00", "2027-11-10 08:00", "2026-12-10 07:59", "2026-11-10 08:00", "2026-12-10 08:00"},
		{"a month's first moment", "2026-11-10 08:00", "2027-11-10 08:00", "2026-12-10 08:00", "2026-12-10 08:00", "2027-01-10 08:00"},
		{"a year's last month", "2026-11-10 08:00", "2027-11-10 08:00", "2027-11-09 00:00", "2027-10-10 08:00", "2027-11-10 08:00"},
		{"a year from the 31st", "2026-12-31 00:00", "2027-12-31 00:00", "2027-03-01 00:00", "2027-02-28 00:00", "2027-03-31 00:00"},
		{"a year that ends on a leap day", "2027-02-28 00:00", "2028-02-29 00:00", "2028-02-28 12:00", "2028-01-28 00:00", "2028-02-29 00:00"},
		{"before the start", "2026-11-10 08:00", "2027-11-10 08:00", "2020-01-01 00:00", "2026-11-10 08:00", "2026-12-10 08:00"},
		{"after the end", "2026-11-10 08:00", "2027-11-10 08:00", "2030-01-01 00:00", "2027-10-10 08:00", "2027-11-10 08:00"},
		{"two months", "2026-11-10 08:00", "2027-01-10 08:00", "2027-01-01 00:00", "2026-12-10 08:00", "2027-01-10 08:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			from, to := kgents.UsagePeriod(day(t, test.start), day(t, test.end), day(t, test.at))
			if !from.Equal(day(t, test.from)) || !to.Equal(day(t, test.to)) {
				t.Errorf("%s to %s, want %s to %s", from, to, test.from, test.to)
			}
		})
	}
}

// However long a period is and whenever it begins, its parts meet, and each is a month.
func TestUsagePeriodsMeet(t *testing.T) {
	for start := day(t, "2027-01-01 07:13"); start.Before(day(t, "2028-04-01 00:00")); start = start.AddDate(0, 0, 1) {
		for _, end := range []time.Time{start.AddDate(0, 1, 0), start.AddDate(1, 0, 0), start.AddDate(0, 0, 45), start.AddDate(0, 0, 1)} {
			at, months := start, 0
			for at.Before(end) {
				from, to := kgents.UsagePeriod(start, end, at)
				if !from.Equal(at) || !to.After(from) || to.After(end) || to.Sub(from) > 35*24*time.Hour {
					t.Fatalf("of %s to %s, %s lies in %s to %s", start, end, at, from, to)
				}
				if last, _ := kgents.UsagePeriod(start, end, to.Add(-1)); !last.Equal(from) {
					t.Fatalf("of %s to %s, the last moment before %s lies in another part", start, end, to)
				}
				at, months = to, months+1
			}
			if end.Equal(start.AddDate(1, 0, 0)) && months != 12 {
				t.Fatalf("the year from %s has %d months", start, months)
			}
		}
	}
}
