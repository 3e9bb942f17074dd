package tree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
)

// Args are the values of a step's clauses, checked against its parameters.
type Args struct {
	params []Param
	given  map[string]string
	at     map[string]agentese.Clause
	now    time.Time
}

// narrowing are the clauses of whatever gives a table.
var narrowing = []Param{
	{Key: "where", Line: "only rows whose column is, contains or compares so: plan=free, name~acme, used>100", Kind: Text},
	{Key: "sort", Line: "rows by this column; -column the other way round", Kind: Word},
	{Key: "columns", Line: "only these columns, separated by commas", Kind: Word},
	{Key: "first", Line: "only so many rows", Kind: Number, Min: 1, Max: MaxRows},
}

// lawful is the clause of what may be looked at again.
var lawful = []Param{
	{Key: "law_check", Line: "run it again, piped from and into the identity, and say whether the laws hold", Kind: Flag},
}

// always are the clauses that every aspect understands.
var always = []Param{
	{Key: "minimal_output", Line: "only the essential: no notes, no next steps", Kind: Flag},
	{Key: "entropy", Line: "how much of the session's entropy budget this step may use: more than 0, at most 0.01", Kind: Word},
	{Key: "span", Line: "a name under which audit lines and history keep this step, as @span=", Kind: Word},
	{Key: "phase", Line: "the phase of work that this step belongs to; filters where a node knows phases", Kind: Word},
}

// ofChange are the clauses that every aspect which changes something understands.
var ofChange = []Param{
	{Key: "dry_run", Line: "only show what would be done", Kind: Flag},
	{Key: "yes", Line: "do it without asking", Kind: Flag},
	{Key: "rollback", Line: "undo it if its check doesn't hold within this time, 1h at most (true is 30s); refused for what can't be undone", Kind: Word},
}

// commonOf are the clauses that an aspect understands besides its own. What changes
// something can't be looked at twice, and what it gives is not narrowed: a mistake in
// that would come to light when it is done.
func commonOf(a *Affordance) []Param {
	switch {
	case a.Change != nil:
		return slices.Concat(ofChange, always)
	case a.Aspect == agentese.Sip || a.Aspect == agentese.Tithe:
		return slices.Concat(narrowing, always)
	default:
		return slices.Concat(narrowing, lawful, always)
	}
}

// ParamsOf are all clauses that an aspect of a node understands, its own first.
func ParamsOf(a *Affordance) []Param {
	out := slices.Clone(a.Params)
	for _, p := range commonOf(a) {
		if !slices.ContainsFunc(out, func(q Param) bool { return q.Key == p.Key }) {
			out = append(out, p)
		}
	}
	return out
}

// readArgs checks a step's clauses.
func readArgs(s agentese.Step, a *Affordance, now time.Time) (Args, error) {
	args := Args{params: ParamsOf(a), given: map[string]string{}, at: map[string]agentese.Clause{}, now: now}
	for _, c := range s.Clauses {
		i := slices.IndexFunc(args.params, func(p Param) bool { return p.Key == strings.ToLower(c.Key) })
		if i < 0 {
			return args, &agentese.Error{
				Kind: agentese.KindClause, Pos: c.Pos, End: c.End,
				What: fmt.Sprintf("%s.%s knows no clause %s", s.Path(), s.Aspect.Text, agentese.QuoteName(c.Key)),
				Why:  "it knows " + strings.Join(keys(args.params), ", "),
			}
		}
		p := args.params[i]
		if _, twice := args.given[p.Key]; twice {
			return args, &agentese.Error{Kind: agentese.KindClause, Pos: c.Pos, End: c.End, What: "the clause " + p.Key + " is given twice"}
		}
		v := c.Value
		if c.Bare {
			if !p.bare() {
				return args, &agentese.Error{
					Kind: agentese.KindClause, Pos: c.Pos, End: c.End,
					What: fmt.Sprintf("[%s] needs a value: [%s=…]", p.Key, p.Key), Why: p.Line,
				}
			}
			v = "true"
		}
		v, err := p.Check(v, now)
		if err == nil {
			err = checkShared(p.Key, v)
		}
		if err != nil {
			return args, &agentese.Error{Kind: agentese.KindClause, Pos: c.ValuePos, End: c.End, What: fmt.Sprintf("%s: %v", c, err), Why: p.Line}
		}
		args.given[p.Key] = v
		args.at[p.Key] = c
	}
	for _, p := range args.params {
		if _, ok := args.given[p.Key]; p.Required && !ok {
			return args, &agentese.Error{
				Kind: agentese.KindClause, Pos: s.Aspect.End, End: s.Aspect.End,
				What: fmt.Sprintf("the clause %s is missing", p.Key), Why: p.Line,
				Try: []string{s.With(p.Key, p.sample()).String()},
			}
		}
	}
	return args, nil
}

// bare says whether [key] can be one: true is no name and no text that anybody means.
func (p Param) bare() bool {
	return len(p.Values) > 0 || p.Key == "rollback" || p.Kind != "" && p.Kind != Word && p.Kind != Text
}

// checkShared says what is wrong with a value of a clause that many aspects share.
func checkShared(key, v string) error {
	switch key {
	case "rollback":
		_, err := readRollback(v)
		return err
	case "entropy":
		n, err := strconv.ParseFloat(v, 64)
		switch {
		case err != nil || !(n > 0) || n > SessionEntropy+tiny:
			return fmt.Errorf("use more than 0, and at most %.2f", CallEntropy)
		case n > CallEntropy+tiny:
			return fmt.Errorf("one step may use at most %.2f of the session's %.2f", CallEntropy, SessionEntropy)
		}
	}
	return nil
}

// entropyOf is what a step may draw.
func entropyOf(args Args) float64 {
	if n, err := strconv.ParseFloat(args.Get("entropy"), 64); err == nil {
		return n
	}
	return CallEntropy
}

func isLawCheck(key string) bool { return strings.EqualFold(key, lawful[0].Key) }

var annotations = []Param{
	{Key: "span", Line: "a name under which audit lines and history keep this step"},
	{Key: "phase", Line: "the phase of work that this step belongs to"},
	{Key: "note", Line: "why it is done, for who reads the audit"},
}

// Annotations are those that there are.
func Annotations() []Param { return slices.Clone(annotations) }

// readAnnotations checks a step's annotations.
func readAnnotations(s agentese.Step) (map[string]string, error) {
	out := map[string]string{}
	for _, n := range s.Annotations {
		key := strings.ToLower(n.Key)
		e := &agentese.Error{Kind: agentese.KindAnnotation, Pos: n.Pos, End: n.End}
		if !slices.ContainsFunc(annotations, func(p Param) bool { return p.Key == key }) {
			e.What, e.Why = "there is no annotation @"+agentese.QuoteName(n.Key), "they are "+join(keys(annotations), "and")
			return nil, e
		}
		if _, twice := out[key]; twice {
			e.What = "the annotation @" + key + " is given twice"
			return nil, e
		}
		if n.Value == "" {
			e.What, e.Why = "the annotation @"+key+" has no value", "it is written @"+key+"=…"
			return nil, e
		}
		out[key] = n.Value
	}
	return out, nil
}

func keys(params []Param) []string {
	out := make([]string, len(params))
	for i, p := range params {
		out[i] = p.Key
	}
	return out
}

// sample is a value for a text that says what to try.
func (p Param) sample() string {
	switch {
	case len(p.Values) > 0:
		return p.Values[0]
	case p.Default != "":
		return p.Default
	case p.Kind == Duration:
		return "1h"
	case p.Kind == Number || p.Kind == Percent:
		return strconv.Itoa(max(1, p.Min))
	default:
		return "…"
	}
}

// Check says whether a value is one, and gives it in its canonical form.
func (p Param) Check(v string, now time.Time) (string, error) {
	if p.Kind != Text {
		v = strings.TrimSpace(v)
	}
	if len(p.Values) > 0 {
		for _, w := range p.Values {
			if strings.EqualFold(v, w) {
				return w, nil
			}
		}
		return v, fmt.Errorf("use %s", join(p.Values, "or"))
	}
	switch p.Kind {
	case Number, Percent:
		most := p.Max
		if p.Kind == Percent {
			v, most = strings.TrimSpace(strings.TrimSuffix(v, "%")), cmp.Or(most, 1000)
		}
		n, err := strconv.Atoi(v)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return v, fmt.Errorf("this number is too big")
		case err != nil:
			return v, fmt.Errorf("this is no number")
		case most > 0 && (n < p.Min || n > most):
			return v, fmt.Errorf("use %d to %d", p.Min, most)
		case n < p.Min:
			return v, fmt.Errorf("use %d or more", p.Min)
		}
		return strconv.Itoa(n), nil
	case Duration:
		d, err := ParseDuration(v)
		if err != nil {
			return v, err
		}
		if p.Longest > 0 && d > p.Longest {
			return v, fmt.Errorf("use at most %s", span(p.Longest))
		}
		return v, nil
	case Time:
		_, err := ParseTime(v, now)
		return v, err
	case Flag:
		switch strings.ToLower(v) {
		case "true", "yes", "on", "1":
			return "true", nil
		case "false", "no", "off", "0":
			return "false", nil
		}
		return v, fmt.Errorf("use true or false")
	}
	return v, nil
}

func join(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// units are those of a duration.
var units = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

// ParseDuration reads 90s, 15m, 6h, 2d, 1w and sums of them; it is more than 0 and at
// most ten years.
func ParseDuration(v string) (time.Duration, error) {
	const longest = 10 * 365 * 24 * time.Hour
	figure := func(r rune) bool { return r >= '0' && r <= '9' || r == '.' }
	total, rest := time.Duration(0), v
	for rest != "" {
		number := rest[:len(rest)-len(strings.TrimLeftFunc(rest, figure))]
		rest = rest[len(number):]
		name := rest
		if i := strings.IndexFunc(rest, figure); i >= 0 {
			name = rest[:i]
		}
		rest = rest[len(name):]
		n, err := strconv.ParseFloat(number, 64)
		unit, ok := units[name]
		if err != nil || !ok || n*float64(unit) > float64(longest-total) {
			return 0, errDuration
		}
		total += time.Duration(n * float64(unit))
	}
	if total <= 0 {
		return 0, errDuration
	}
	return total, nil
}

var errDuration = errors.New("use for example 90s, 15m, 6h or 2d, ten years at most")

// ParseTime reads a time: how long ago (6h), now, today, yesterday, a date, a date and
// time (UTC), or RFC 3339.
func ParseTime(v string, now time.Time) (time.Time, error) {
	day := now.UTC().Truncate(24 * time.Hour)
	switch strings.ToLower(v) {
	case "now":
		return now, nil
	case "today":
		return day, nil
	case "yesterday":
		return day.AddDate(0, 0, -1), nil
	}
	if d, err := ParseDuration(v); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, v); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("use how long ago (6h), yesterday, a date (2026-01-31) or a time (2026-01-31T08:00Z)")
}

// Has says whether the clause was written.
func (a Args) Has(key string) bool { _, ok := a.given[key]; return ok }

// Get is the value, or the parameter's default, or nothing.
func (a Args) Get(key string) string {
	if v, ok := a.given[key]; ok {
		return v
	}
	for _, p := range a.params {
		if p.Key == key {
			return p.Default
		}
	}
	return ""
}

// Int is a Number's or a Percent's value; 0 without one.
func (a Args) Int(key string) int { n, _ := strconv.Atoi(a.Get(key)); return n }

// Flag is a Flag's value.
func (a Args) Flag(key string) bool { return a.Get(key) == "true" }

// Duration is a Duration's value; 0 without one.
func (a Args) Duration(key string) time.Duration { d, _ := ParseDuration(a.Get(key)); return d }

// Time is a Time's value; the zero time without one.
func (a Args) Time(key string) time.Time { t, _ := ParseTime(a.Get(key), a.now); return t }

// Map is what was written, by key.
func (a Args) Map() map[string]string { return a.given }
