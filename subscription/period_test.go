package subscription_test

import (
	"testing"
	"time"

	. "github.com/kgents/kgents/subscription"
)

func date(s string) time.Time {
	for _, layout := range []string{time.DateOnly, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	panic(s)
}

// TestPeriodGoesOn: until the renewal is heard of, periods follow each other by the
// length of the last one.
func TestPeriodGoesOn(t *testing.T) {
	for _, test := range []struct {
		name, start, end, now string
		status                string
		wantStart, wantEnd    string
	}{
		{"in it", "2026-01-15", "2026-02-15", "2026-01-15", StatusActive, "2026-01-15", "2026-02-15"},
		{"its last second", "2026-01-15", "2026-02-15", "2026-02-14 23:59:59", StatusActive, "2026-01-15", "2026-02-15"},
		{"its end", "2026-01-15", "2026-02-15", "2026-02-15", StatusActive, "2026-02-15", "2026-03-15"},
		{"a month and a day later", "2026-01-15", "2026-02-15", "2026-03-16", StatusActive, "2026-03-15", "2026-04-15"},
		{"years later", "2026-01-15", "2026-02-15", "2030-12-31", StatusActive, "2030-12-15", "2031-01-15"},
		{"before it", "2026-01-15", "2026-02-15", "2026-01-14", StatusActive, "2025-12-15", "2026-01-15"},
		{"from the 31st", "2026-01-31", "2026-02-28", "2026-03-30", StatusActive, "2026-02-28", "2026-03-31"},
		{"from the 31st, further", "2026-01-31", "2026-02-28", "2026-04-30", StatusActive, "2026-04-30", "2026-05-31"},
		{"to the 31st", "2026-02-28", "2026-03-31", "2026-04-29", StatusActive, "2026-03-31", "2026-04-30"},
		{"from the 30th over February", "2026-01-30", "2026-02-28", "2026-03-29", StatusActive, "2026-02-28", "2026-03-30"},
		{"a leap year", "2027-02-28", "2028-02-28", "2028-02-29", StatusActive, "2028-02-28", "2029-02-28"},
		{"from a leap day", "2028-02-29", "2029-02-28", "2029-03-01", StatusActive, "2029-02-28", "2030-02-28"},
		{"to a leap day again", "2028-02-29", "2029-02-28", "2032-02-29", StatusActive, "2032-02-29", "2033-02-28"},
		{"a year", "2026-01-15", "2027-01-15", "2028-06-01", StatusActive, "2028-01-15", "2029-01-15"},
		{"a quarter", "2026-01-15", "2026-04-15", "2026-08-01", StatusActive, "2026-07-15", "2026-10-15"},
		{"a week", "2026-01-01", "2026-01-08", "2026-01-30", StatusActive, "2026-01-29", "2026-02-05"},
		{"a week, before it", "2026-01-08", "2026-01-15", "2026-01-07", StatusActive, "2026-01-01", "2026-01-08"},
		{"28 days that are weeks", "2026-01-03", "2026-01-31", "2026-02-01", StatusActive, "2026-01-31", "2026-02-28"},
		{"28 days that are a month", "2026-02-03", "2026-03-03", "2026-03-31", StatusActive, "2026-03-03", "2026-04-03"},
		{"a day", "2026-01-01", "2026-01-02", "2026-03-01 12:00:00", StatusActive, "2026-03-01", "2026-03-02"},
		{"an odd length", "2026-01-05", "2026-01-15", "2026-01-20", StatusActive, "2026-01-15", "2026-02-15"},
		{"a trial of two weeks", "2026-01-01", "2026-01-15", "2026-01-31", StatusTrialing, "2026-01-15", "2026-02-15"},
		{"a time of the day", "2026-01-15 10:30:00", "2026-02-15 10:30:00", "2026-03-15 10:29:59", StatusActive, "2026-02-15 10:30:00", "2026-03-15 10:30:00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := apply([]Change{event(Created, 0, pro, status(test.status), func(c *Change) {
				c.PeriodStart, c.PeriodEnd = date(test.start).Unix(), date(test.end).Unix()
			})})
			st := s.Standing(date(test.now), catalog)
			if !st.PeriodStart.Equal(date(test.wantStart)) || !st.PeriodEnd.Equal(date(test.wantEnd)) {
				t.Errorf("%v to %v, want %s to %s", st.PeriodStart, st.PeriodEnd, test.wantStart, test.wantEnd)
			}
		})
	}
}

// TestPeriodsTouch: where one period ends the next one begins, for ten years, whatever
// the day and the interval.
func TestPeriodsTouch(t *testing.T) {
	for startDay := range 31 {
		for _, months := range []int{1, 2, 3, 6, 12, 24} {
			start := time.Date(2027, 1, 1+startDay, 7, 0, 0, 0, time.UTC)
			end := time.Date(2027, time.Month(1+months), 1, 7, 0, 0, 0, time.UTC)
			end = end.AddDate(0, 0, min(startDay, end.AddDate(0, 1, -1).Day()-1))
			s := apply([]Change{event(Created, 0, pro, func(c *Change) { c.PeriodStart, c.PeriodEnd = start.Unix(), end.Unix() })})
			at := start.AddDate(-3, 0, 0)
			last := time.Time{}
			for n := 0; at.Before(start.AddDate(10, 0, 0)); n++ {
				st := s.Brief(at, catalog)
				if !last.IsZero() && !st.PeriodStart.Equal(last) {
					t.Fatalf("every %d months from %v: after %v comes %v", months, start, last, st.PeriodStart)
				}
				if before := s.Brief(st.PeriodEnd.Add(-time.Second), catalog); !before.PeriodStart.Equal(st.PeriodStart) {
					t.Fatalf("every %d months from %v: one period begins %v and %v", months, start, st.PeriodStart, before.PeriodStart)
				}
				if days := st.PeriodEnd.Sub(st.PeriodStart).Hours() / 24; days < float64(months)*28 || days > float64(months)*31 {
					t.Fatalf("every %d months from %v: %v to %v", months, start, st.PeriodStart, st.PeriodEnd)
				}
				last, at = st.PeriodEnd, st.PeriodEnd
			}
		}
	}
}

// TestPeriodWithoutAPlan: it is the calendar month, less what a plan has covered.
func TestPeriodWithoutAPlan(t *testing.T) {
	for _, test := range []struct {
		name    string
		changes []Change
		now     string
		want    [2]string
	}{
		{"nothing", nil, "2026-02-28 23:59:59", [2]string{"2026-02-01", "2026-03-01"}},
		{"elsewhere it is March already", nil, "2026-03-01", [2]string{"2026-03-01", "2026-04-01"}},
		{"canceled this month", []Change{event(Created, 0, pro), event(Deleted, 10, pro)}, "2026-01-20", [2]string{"2026-01-11", "2026-02-01"}},
		{"canceled last month", []Change{event(Created, 0, pro), event(Deleted, 10, pro)}, "2026-02-20", [2]string{"2026-02-01", "2026-03-01"}},
		{"the grace ended this month", []Change{event(Created, 0, pro), event(Failed, 1, invoice("in_1", 1))}, "2026-01-20", [2]string{"2026-01-09", "2026-02-01"}},
		{"and then it was canceled", []Change{event(Created, 0, pro), event(Failed, 1, invoice("in_1", 1)), event(Deleted, 15, pro)}, "2026-01-20", [2]string{"2026-01-09", "2026-02-01"}},
		{"paused this month", []Change{event(Created, 0, pro, status(StatusTrialing)), event(Updated, 14, pro, status(StatusPaused)), event(Updated, 16, pro, status(StatusPaused))}, "2026-01-20", [2]string{"2026-01-15", "2026-02-01"}},
		{"ended earlier than it was told", []Change{event(Created, 0, pro), event(Deleted, 10, pro, func(c *Change) { c.EndedAt = unix(9) })}, "2026-01-20", [2]string{"2026-01-10", "2026-02-01"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := apply(test.changes).Standing(date(test.now), catalog)
			if st.Plan != "free" || !st.PeriodStart.Equal(date(test.want[0])) || !st.PeriodEnd.Equal(date(test.want[1])) {
				t.Errorf("%s, %v to %v, want %v", st.Plan, st.PeriodStart, st.PeriodEnd, test.want)
			}
		})
	}
}
