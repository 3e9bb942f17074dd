package invoice

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
	"github.com/kgents/kgents/meter"
)

// Bounds of one question about usage. Past one it is CodeInvalid.
const (
	maxRows = 10_000
	maxBy   = 6
)

// windows are the times that usage is split by, with the longest time asked for.
var windows = map[string]struct {
	size string
	most time.Duration
}{
	"":      {"", 3 * 366 * 24 * time.Hour},
	"hour":  {meter.Hour, 32 * 24 * time.Hour},
	"day":   {meter.Day, 366 * 24 * time.Hour},
	"month": {meter.Month, 3 * 366 * 24 * time.Hour},
}

// Usage is what a customer has used.
type Usage struct {
	Customer string     `json:"customer" doc:"Id of the customer"`
	From     time.Time  `json:"from" doc:"Begin of the time asked for"`
	To       time.Time  `json:"to" doc:"Its end, not included"`
	By       []string   `json:"by" doc:"What it is split by" nullable:"false"`
	Rows     []UsageRow `json:"rows" doc:"By meter, then by time, then by group. What was not used has no row" nullable:"false"`
}

// UsageRow is one value.
type UsageRow struct {
	Meter string             `json:"meter" example:"agent_tokens"`
	Unit  string             `json:"unit,omitempty" doc:"What one is called, if a plan limits it" example:"token"`
	From  time.Time          `json:"from"`
	To    time.Time          `json:"to"`
	Group map[string]*string `json:"group,omitempty" doc:"Values of what it is split by; null where an event had none"`
	Value float64            `json:"value" example:"1200"`
}

// usageIn is what GET /v1/usage takes.
type usageIn struct {
	api.Format
	Customer string   `query:"customer" maxLength:"63" doc:"Whose; a customer's key may leave it out"`
	From     string   `query:"from" maxLength:"40" doc:"RFC 3339 or a date" example:"2026-11-01"`
	To       string   `query:"to" maxLength:"40" doc:"RFC 3339 or a date, not included" example:"2026-12-01"`
	Meter    string   `query:"meter" maxLength:"64" doc:"Only this meter"`
	By       []string `query:"by" maxItems:"6" doc:"hour, day or month, and what the meter is grouped by" example:"day,agent"`
}

func (s *Service) usage(ctx context.Context, caller kgents.Principal, in *usageIn) (*Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	customer, err := caller.For(in.Customer)
	if err != nil {
		return nil, err
	}
	u := &Usage{By: slices.Clone(in.By), Rows: []UsageRow{}}
	if u.By == nil {
		u.By = []string{}
	}
	window, groups, err := split(u.By)
	if err != nil {
		return nil, err
	}
	if err := s.span(u, customer, in, windows[window].most); err != nil {
		return nil, err
	}
	all, err := s.c.Meter.Meters(ctx)
	if err != nil {
		return nil, meterError(err, in.Meter)
	}
	catalog := s.c.Catalog()
	meters, err := choose(all, catalog, in.Meter, caller.Operator(), groups)
	if err != nil {
		return nil, err
	}
	for _, m := range meters {
		groups := groups
		if _, money := m.GroupBy["currency"]; money && !slices.Contains(groups, "currency") {
			groups = append(slices.Clone(groups), "currency") // currencies can't be added up
		}
		r, err := s.c.Meter.Query(ctx, meter.Query{
			Meter: m.Slug, From: u.From, To: u.To, Subjects: []string{u.Customer}, WindowSize: windows[window].size, GroupBy: groups,
		})
		if err != nil {
			return nil, meterError(err, m.Slug)
		}
		if len(u.Rows)+len(r.Data) > maxRows {
			return nil, kgents.Errorf(kgents.CodeInvalid, "the answer has more than %d rows: ask for a shorter time, one meter or fewer groups", maxRows)
		}
		u.add(m.Slug, unitOf(catalog, m.Slug), r.Data, groups)
	}
	return u, nil
}

// split tells times from groups in by.
func split(by []string) (window string, groups []string, err error) {
	if len(by) > maxBy {
		return "", nil, kgents.Errorf(kgents.CodeInvalid, "by has more than %d names", maxBy)
	}
	for i, name := range by {
		_, isWindow := windows[name]
		switch {
		case name == "":
			return "", nil, kgents.Errorf(kgents.CodeInvalid, "by has an empty name: use for example by=day,agent")
		case name == "subject":
			return "", nil, kgents.Errorf(kgents.CodeInvalid, "by=subject says nothing: it is one customer's usage")
		case slices.Contains(by[:i], name):
			return "", nil, kgents.Errorf(kgents.CodeInvalid, "by names %.64q twice", name)
		case isWindow && window != "":
			return "", nil, kgents.Errorf(kgents.CodeInvalid, "by has both %s and %s: choose one", window, name)
		case isWindow:
			window = name
		default:
			groups = append(groups, name)
		}
	}
	return window, groups, nil
}

// span fills in whose usage it is and of which time.
func (s *Service) span(u *Usage, customer string, in *usageIn, most time.Duration) (err error) {
	if u.To, err = parseTime("to", in.To, nextMinute(time.Now().UTC())); err != nil {
		return err
	}
	u.To = u.To.Truncate(time.Minute)
	a, err := s.c.Accounts.Account(customer, u.To.Add(-1))
	if err != nil {
		return err
	}
	u.Customer = a.ID
	begin, _ := kgents.UsagePeriod(a.PeriodStart, a.PeriodEnd, u.To.Add(-1))
	if u.From, err = parseTime("from", in.From, begin); err != nil {
		return err
	}
	u.From = u.From.Truncate(time.Minute)
	switch {
	case !u.From.Before(u.To):
		return kgents.Errorf(kgents.CodeInvalid, "from must be before to by a minute at least: it is %s and %s", u.From.Format(time.RFC3339), u.To.Format(time.RFC3339))
	case u.To.Sub(u.From) > most:
		return kgents.Errorf(kgents.CodeInvalid, "from and to are more than %d days apart: ask for a shorter time, or for larger windows", int(most.Hours())/24)
	}
	return nil
}

// choose returns the meters to ask: those that plans limit, in the order of the
// features, since the others may be the operator's own business; of these, those that
// have every group.
func choose(all []meter.Meter, c *kgents.Catalog, only string, operator bool, groups []string) ([]meter.Meter, error) {
	var known []string
	for _, f := range c.Features {
		if f.Metered() && !slices.Contains(known, f.Meter) {
			known = append(known, f.Meter)
		}
	}
	if only != "" {
		if !operator && !slices.Contains(known, only) {
			return nil, kgents.Errorf(kgents.CodeNotFound, "there is no meter %.64q: choose from %s", only, strings.Join(known, ", "))
		}
		known = []string{only}
	}
	var chosen []meter.Meter
	var could []string // what the meters can be grouped by
	for _, slug := range known {
		i := slices.IndexFunc(all, func(m meter.Meter) bool { return m.Slug == slug })
		if i < 0 {
			if only != "" {
				return nil, kgents.Errorf(kgents.CodeNotFound, "there is no meter %.64q", only)
			}
			continue
		}
		has := slices.Sorted(maps.Keys(all[i].GroupBy))
		could = append(could, has...)
		if !slices.ContainsFunc(groups, func(g string) bool { return !slices.Contains(has, g) }) {
			chosen = append(chosen, all[i])
		}
	}
	if len(chosen) == 0 && len(groups) > 0 {
		slices.Sort(could)
		return nil, kgents.Errorf(kgents.CodeInvalid, "no meter asked for can be split by %.200q: there are hour, day, month, %s", strings.Join(groups, ","), strings.Join(slices.Compact(could), ", "))
	}
	return chosen, nil
}

// unitOf is what one of what a meter counts is called, empty if no plan limits it.
func unitOf(c *kgents.Catalog, slug string) string {
	for _, f := range c.Features {
		if f.Meter == slug {
			return f.Unit
		}
	}
	return ""
}

// add appends what a meter says, in an order that is the same each time.
func (u *Usage) add(slug, unit string, data []meter.Row, groups []string) {
	first := len(u.Rows)
	for _, r := range data {
		row := UsageRow{Meter: slug, Unit: unit, From: r.WindowStart.UTC(), To: r.WindowEnd.UTC(), Value: r.Value}
		if row.From.Before(u.From) {
			row.From = u.From
		}
		if row.To.After(u.To) {
			row.To = u.To
		}
		if len(groups) > 0 {
			row.Group = map[string]*string{}
			for _, g := range groups {
				row.Group[g] = r.GroupBy[g]
			}
		}
		u.Rows = append(u.Rows, row)
	}
	slices.SortStableFunc(u.Rows[first:], func(a, b UsageRow) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		for _, g := range groups {
			if c := compareGroup(a.Group[g], b.Group[g]); c != 0 {
				return c
			}
		}
		return 0
	})
}

// compareGroup sorts null before every text.
func compareGroup(a, b *string) int {
	if a == nil || b == nil {
		return cmp.Compare(bit(a != nil), bit(b != nil))
	}
	return strings.Compare(*a, *b)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Sheet is the usage as a table.
func (u *Usage) Sheet() (string, [][]any) {
	titles := []any{"customer", "meter", "unit", "from", "to"}
	var groups []string
	for _, name := range u.By {
		if _, isWindow := windows[name]; !isWindow {
			groups, titles = append(groups, name), append(titles, name)
		}
	}
	money := func(r UsageRow) bool { _, ok := r.Group["currency"]; return ok }
	if !slices.Contains(groups, "currency") && slices.ContainsFunc(u.Rows, money) {
		groups, titles = append(groups, "currency"), append(titles, "currency")
	}
	rows := [][]any{append(titles, "value")}
	for _, r := range u.Rows {
		row := []any{u.Customer, r.Meter, r.Unit, r.From, r.To}
		for _, g := range groups {
			if v := r.Group[g]; v != nil {
				row = append(row, *v)
			} else {
				row = append(row, nil)
			}
		}
		rows = append(rows, append(row, r.Value))
	}
	return "usage-" + u.Customer + "-" + u.From.Format(time.DateOnly), rows
}
