package subscription_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/kgents/kgents/subscription"
)

// What a period was in fact, whatever happened later.
func TestTerms(t *testing.T) {
	created := event(Created, 0, pro)
	renewed := event(Updated, 31, pro, period(31, 59), id("renewed"))
	for name, test := range map[string]struct {
		changes          []Change
		from, until, now float64
		want             string // plan, from and to of each part, a term a line
	}{
		"nothing":                  {nil, 3, 5, 5, "free 0-31"},
		"a paid period":            {[]Change{created}, 3, 5, 5, "pro 0-31"},
		"a renewal":                {[]Change{created, renewed}, 30, 32, 32, "pro 0-31\npro 31-59"},
		"a renewal that is late":   {[]Change{created}, 30, 32, 32, "pro 0-31\npro 31-59"},
		"canceled in the middle":   {[]Change{created, event(Deleted, 10, pro)}, 9, 11, 11, "pro 0-10\nfree 10-31"},
		"canceled later":           {[]Change{created, renewed, event(Deleted, 40, pro)}, 15, 41, 50, "pro 0-31\npro 31-40\nfree 40-59"},
		"canceled at the end":      {[]Change{created, event(Updated, 10, pro, cancelAtEnd)}, 30, 32, 32, "pro 0-31\nfree 31-59"},
		"up":                       {[]Change{created, event(Updated, 10, teams)}, 9, 11, 11, "pro 0-10, teams 10-31"},
		"up, before it":            {[]Change{created, event(Updated, 10, teams)}, 9, 31, 40, "pro 0-10, teams 10-31\nteams 31-59"},
		"up, with a period anew":   {[]Change{created, event(Updated, 10.0001, teams, period(10, 41))}, 9, 11, 11, "pro 0-10\nteams 10-41"},
		"down and up again":        {[]Change{created, event(Updated, 10, teams), event(Updated, 20, pro, id("down"))}, 9, 21, 21, "pro 0-10, teams 10-20, pro 20-31"},
		"only the quantity":        {[]Change{created, event(Updated, 10, pro, quantity(2))}, 9, 11, 11, "pro 0-31"},
		"grace that ran out":       {[]Change{created, event(Failed, 2, invoice("in_1", 1900))}, 8, 12, 12, "pro 0-9\nfree 9-31"},
		"paid after the grace":     {[]Change{created, event(Failed, 2, invoice("in_1", 1900)), event(Paid, 12, invoice("in_1", 1900))}, 8, 13, 13, "pro 0-9, pro 12-31\nfree 9-12"},
		"asked in the gap":         {[]Change{created, event(Failed, 2, invoice("in_1", 1900)), event(Paid, 12, invoice("in_1", 1900))}, 11, 13, 13, "pro 0-9, pro 12-31\nfree 9-12"},
		"a second subscription":    {[]Change{created, event(Created, 10, teams, sub("sub_2"), period(10, 41)), event(Deleted, 20, teams, sub("sub_2"))}, 9, 21, 21, "pro 0-10, pro 20-31\nteams 10-20"},
		"what is told a bit later": {[]Change{event(Created, 5.001, pro, period(5, 36))}, 4, 6, 6, "free 0-5\npro 5-36"},
		"asked in between":         {[]Change{event(Created, 5.001, pro, period(5, 36))}, 5.0005, 6, 6, "free 0-5\npro 5-36"},
	} {
		t.Run(name, func(t *testing.T) {
			var s State
			for _, c := range test.changes {
				s = s.Apply(c)
			}
			var lines []string
			for _, term := range s.Terms(day(test.from), day(test.until), day(test.now), catalog) {
				var parts []string
				for _, p := range term.Parts {
					days := func(at time.Time) float64 { return at.Sub(zero).Hours() / 24 }
					parts = append(parts, fmt.Sprintf("%s %g-%g", p.Plan, days(p.From), days(p.To)))
				}
				lines = append(lines, strings.Join(parts, ", "))
			}
			if got := strings.Join(lines, "\n"); got != test.want {
				t.Errorf("terms are\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
