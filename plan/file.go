package plan

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/term"
)

// The keys of a file. docs/saas/plans.md explains each; a test looks.
var (
	fileKeys    = []string{"currency", "default", "trial", "grace", "alerts", "features", "plans"}
	featureKeys = []string{"id", "name", "unit", "meter"}
	planKeys    = []string{"id", "name", "prices", "rate", "limits", "perks"}
	priceKeys   = []string{"interval", "amount", "lookup_key"}
	rateKeys    = []string{"per_minute", "burst"}
	limitKeys   = []string{"limit", "per", "over", "overage"}
	overageKeys = []string{"amount", "per"}
)

var (
	idPattern     = regexp.MustCompile(`^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$`)
	slugPattern   = regexp.MustCompile(`^[a-z0-9]+(?:_[a-z0-9]+)*$`) // as the meter's
	lookupPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$`)
	daysPattern   = regexp.MustCompile(`^([0-9]{1,6}) ?(?:d|day|days)$`)
)

const wordHint = ", or the word unlimited"

type featureAt struct {
	kgents.Feature
	line, meterLine int
}

type planAt struct {
	kgents.Plan
	line       int
	badPrices  bool // some could not be read
	priceLines []int
	billed     map[string]int // lines of the limits that bill, by feature
}

func (r *reader) file(source []byte) *kgents.Catalog {
	c := &kgents.Catalog{}
	root := r.root(source)
	if root == nil {
		return c
	}
	m, ok := r.mapping(root, "the file", "currency: usd", fileKeys)
	if !ok {
		return c
	}
	if e, ok := r.need(m, "currency", "usd"); ok {
		c.Currency = r.currencyOf(e)
	}
	c.Trial = r.days(m, "trial", "14 days", maxTrialDays)
	c.Grace = r.days(m, "grace", "7 days", maxGraceDays)
	if e, ok := m.get("alerts"); ok {
		c.AlertAt = r.alerts(e)
	}
	if e, ok := r.need(m, "features", "[{ id: tokens, name: Tokens, unit: token, meter: agent_tokens }]"); ok {
		for _, n := range r.list(e, MaxFeatures, "- { id: tokens, name: Tokens, unit: token, meter: agent_tokens }") {
			r.feature(n)
		}
		if len(r.features) == 0 {
			r.wrong(e.line, "there is no feature: plans would limit nothing")
		}
	}
	if e, ok := r.need(m, "plans", "[{ id: free, name: Free, rate: unlimited, limits: {} }]"); ok {
		for _, n := range r.list(e, MaxPlans, "- { id: free, name: Free, rate: unlimited, limits: {} }") {
			r.plan(n)
		}
		if len(r.plans) == 0 {
			r.wrong(e.line, "there is no plan: nobody could do anything")
		}
	}
	for _, f := range r.features {
		c.Features = append(c.Features, f.Feature)
	}
	for _, p := range r.plans {
		c.Plans = append(c.Plans, p.Plan)
	}
	if e, ok := r.need(m, "default", "free"); ok {
		c.Default = r.defaultOf(e)
	}
	r.checkPrices()
	return c
}

func (r *reader) currencyOf(e entry) string {
	text, ok := r.text(e, "usd")
	if !ok {
		return ""
	}
	if !slices.Contains(currencies, text) {
		hint := "use one that Stripe charges in, for example usd, eur or jpy"
		if lower := strings.ToLower(strings.TrimSpace(text)); slices.Contains(currencies, lower) {
			hint, r.currency = "write it in small letters, "+lower, lower
		}
		r.wrong(lineOf(e.value), "currency %s is no currency's code (ISO 4217): %s", quote(text), hint)
		return ""
	}
	r.currency = text
	return text
}

// days reads a length of time in days.
func (r *reader) days(m *mapping, key, example string, most int64) time.Duration {
	e, ok := r.need(m, key, example)
	if !ok {
		return 0
	}
	text, _ := r.scalar(e.value)
	if text == "none" {
		return 0
	}
	found := daysPattern.FindStringSubmatch(text)
	if found == nil {
		r.wrong(lineOf(e.value), "%s%s is no number of days: write for example %s, or none", key, named(text), example)
		return 0
	}
	n, _ := strconv.ParseInt(found[1], 10, 64)
	if n > most {
		r.wrong(lineOf(e.value), "%s %s is too long: the most is %d days", key, quote(text), most)
		return 0
	}
	return time.Duration(n) * 24 * time.Hour
}

func (r *reader) alerts(e entry) []int {
	var all []int
	for _, n := range r.list(e, MaxAlerts, "[50, 80, 100]") {
		percent, ok := r.number(entry{"an alert's percent", lineOf(n), n}, 1, maxPercent, "")
		if !ok {
			continue
		}
		if len(all) > 0 && int(percent) <= all[len(all)-1] {
			r.wrong(lineOf(n), "alerts rise: %d stands behind %d", percent, all[len(all)-1])
			continue
		}
		all = append(all, int(percent))
	}
	return all
}

func (r *reader) feature(n ast.Node) {
	m, ok := r.mapping(n, "a feature", "{ id: tokens, name: Tokens, unit: token, meter: agent_tokens }", featureKeys)
	if !ok {
		r.someFeature = true
		return
	}
	f := featureAt{line: m.line}
	f.ID = r.id(m, "tokens")
	r.someFeature = r.someFeature || f.ID == ""
	f.Name = r.name(m, "name", "Tokens")
	f.Unit = r.name(m, "unit", "token")
	if e, ok := m.get("meter"); ok {
		f.Meter = "?" // it has one, whatever is wrong with its name
		if slug, ok := r.text(e, "agent_tokens"); ok {
			f.meterLine = lineOf(e.value)
			if f.Meter = slug; !slugPattern.MatchString(slug) || len(slug) > 64 {
				r.wrong(f.meterLine, "meter %s is no meter's slug: small letters, digits and single _, at most 64", quote(slug))
			}
		}
	}
	for _, other := range r.features {
		if f.ID != "" && other.ID == f.ID {
			r.wrong(f.line, "the feature %s is there already, in line %d: give it another id", f.ID, other.line)
			r.someFeature = true
			return
		}
	}
	r.features = append(r.features, f)
}

func (r *reader) id(m *mapping, example string) string {
	e, ok := r.need(m, "id", example)
	if !ok {
		return ""
	}
	id, ok := r.text(e, example)
	if ok && (!idPattern.MatchString(id) || len(id) > maxID) {
		r.wrong(lineOf(e.value), "id %s: an id is small letters, digits and single _, begins with a letter and has at most %d", quote(id), maxID)
		return ""
	}
	return id
}

// name reads words for people.
func (r *reader) name(m *mapping, key, example string) string {
	e, ok := r.need(m, key, example)
	if !ok {
		return ""
	}
	text, ok := r.text(e, example)
	if ok {
		r.words(entry{key, lineOf(e.value), e.value}, text)
	}
	return text
}

func (r *reader) words(e entry, text string) {
	switch {
	case strings.TrimSpace(text) == "":
		r.wrong(e.line, "%s is empty", e.key)
	case utf8.RuneCountInString(text) > maxName:
		r.wrong(e.line, "%s has more than %d letters", e.key, maxName)
	case strings.TrimSpace(text) != text || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.wrong(e.line, "%s %s: one line, without spaces around it", e.key, quote(text))
	}
}

// planName is how messages call a plan: by its id, if it has a good one.
func planName(n ast.Node) string {
	if node, ok := n.(ast.MapNode); ok {
		for it := node.MapRange(); it.Next(); {
			id, text := it.Value().(*ast.StringNode)
			if key := it.Key().GetToken(); text && key.Value == "id" && idPattern.MatchString(id.Value) && len(id.Value) <= maxID {
				return "plan " + id.Value
			}
		}
	}
	return "a plan"
}

func (r *reader) plan(n ast.Node) {
	m, ok := r.mapping(n, planName(n), "{ id: free, name: Free, rate: unlimited, limits: {} }", planKeys)
	if !ok {
		r.somePlan = true
		return
	}
	p := planAt{line: m.line, billed: map[string]int{}}
	p.ID = r.id(m, "free")
	r.somePlan = r.somePlan || p.ID == ""
	p.Name = r.name(m, "name", "Free")
	if e, ok := m.get("prices"); ok {
		before := len(r.mistakes)
		for _, n := range r.list(e, MaxPrices, "- { interval: month, amount: 1900, lookup_key: pro_monthly }") {
			if price, line, ok := r.price(n, m.what); ok {
				p.Prices, p.priceLines = append(p.Prices, price), append(p.priceLines, line)
			}
		}
		p.badPrices = len(r.mistakes) > before
	}
	if e, ok := r.need(m, "rate", "{ per_minute: 60, burst: 10 }, or unlimited"); ok {
		p.Rate = r.rate(e, m.what)
	}
	p.Quotas = map[string]kgents.Quota{}
	if e, ok := r.need(m, "limits", "{ tokens: 10_000 }"); ok {
		r.limits(e, &p, m.what)
	}
	if e, ok := m.get("perks"); ok {
		for _, n := range r.list(e, MaxPerks, "[E-mail support]") {
			perk := entry{"a perk", lineOf(n), n}
			if text, ok := r.text(perk, "E-mail support"); ok {
				r.words(perk, text)
				p.Perks = append(p.Perks, text)
			}
		}
	}
	for _, other := range r.plans {
		if p.ID != "" && other.ID == p.ID {
			r.wrong(p.line, "the plan %s is there already, in line %d: give it another id", p.ID, other.line)
			r.somePlan = true
			return
		}
	}
	r.plans = append(r.plans, p)
}

func (r *reader) price(n ast.Node, plan string) (p kgents.Price, line int, ok bool) {
	before := len(r.mistakes)
	m, isMap := r.mapping(n, "a price of "+plan, "{ interval: month, amount: 1900, lookup_key: pro_monthly }", priceKeys)
	if !isMap {
		return p, 0, false
	}
	if e, ok := r.need(m, "interval", "month"); ok {
		if p.Interval, _ = r.scalar(e.value); p.Interval != "month" && p.Interval != "year" {
			r.wrong(lineOf(e.value), "interval%s is none: use month or year", named(p.Interval))
		}
	}
	if e, ok := r.need(m, "amount", "1900"); ok {
		p.Amount, _ = r.number(e, 0, MaxAmount, r.amountHint(e))
	}
	if e, ok := r.need(m, "lookup_key", "pro_monthly"); ok {
		if key, ok := r.text(e, "pro_monthly"); ok {
			switch {
			case strings.HasPrefix(key, "price_"):
				r.wrong(lineOf(e.value), "lookup_key %s looks like an id of Stripe's, which differs from environment to environment: choose a name such as pro_monthly", quote(key))
			case !lookupPattern.MatchString(key):
				r.wrong(lineOf(e.value), "lookup_key %s: letters, digits, and _ . - behind the first, at most 200", quote(key))
			}
			p.LookupKey = key
		}
	}
	return p, m.line, len(r.mistakes) == before
}

// amountHint tells who wrote 19.00 what that is in the minor unit.
func (r *reader) amountHint(e entry) string {
	text, _ := r.scalar(e.value)
	whole, decimals, point := strings.Cut(text, ".")
	digits := term.Decimals(r.currency)
	if !point || r.currency == "" || len(decimals) > digits {
		return ""
	}
	n, err := strconv.ParseInt(whole+decimals+strings.Repeat("0", digits-len(decimals)), 10, 64)
	if err != nil || n <= 0 || n > MaxAmount {
		return ""
	}
	return "; amounts are in the minor unit, so " + text + " " + strings.ToUpper(r.currency) + " is " + group(n)
}

func (r *reader) rate(e entry, plan string) kgents.Rate {
	const example = "{ per_minute: 60, burst: 10 }"
	if text, ok := r.scalar(e.value); ok {
		if text == kgents.Unlimited {
			return kgents.Rate{PerMinute: kgents.NoLimit(), Burst: 1}
		}
		r.wrong(lineOf(e.value), "rate%s of %s is none: write for example %s, or the word unlimited", named(text), plan, example)
		return kgents.Rate{}
	}
	m, ok := r.mapping(e.value, "the rate of "+plan, example, rateKeys)
	if !ok {
		return kgents.Rate{}
	}
	rate := kgents.Rate{Burst: 1}
	if e, ok := r.need(m, "per_minute", "60"); ok {
		if text, _ := r.scalar(e.value); text == kgents.Unlimited {
			r.wrong(lineOf(e.value), "per_minute: unlimited is no rate: write rate: unlimited, without a burst")
		} else if n, ok := r.number(e, 1, MaxRate, "; for no limit write rate: unlimited"); ok {
			rate.PerMinute = kgents.AtMost(n)
		}
	}
	if e, ok := r.need(m, "burst", "10"); ok {
		rate.Burst, _ = r.number(e, 1, MaxBurst, "")
	}
	return rate
}
