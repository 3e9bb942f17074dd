package plan

import (
	"slices"
	"strings"

	"github.com/kgents/kgents"
)

// limits reads what a plan allows of each feature.
func (r *reader) limits(e entry, p *planAt, plan string) {
	m, ok := r.mapping(e.value, "limits of "+plan, "{ tokens: 10_000 }", nil)
	if !ok {
		return
	}
	var ids []string
	for _, f := range r.features {
		ids = append(ids, f.ID)
	}
	for _, e := range m.entries {
		i := slices.Index(ids, e.key)
		if i < 0 {
			if _, hint := didYouMean(e.key, ids); !r.someFeature {
				r.wrong(e.line, "there is no feature %s%s; features are %s", quote(e.key), hint, andList(ids))
			}
			continue
		}
		before := len(r.mistakes)
		q := r.quota(e, r.features[i].Feature, plan)
		if len(r.mistakes) > before {
			continue
		}
		if p.Quotas[e.key] = q; q.Over == kgents.OverBill {
			p.billed[e.key] = e.line
		}
	}
	// Two features of one meter are sound, say calls a day and calls a period, but one
	// call must not be paid for twice.
	for i, f := range r.features {
		for _, other := range r.features[:i] {
			if line := p.billed[f.ID]; f.Metered() && f.Meter == other.Meter && line > 0 && p.billed[other.ID] > 0 {
				r.wrong(line, "%s would bill what the meter %s counts twice, as %s and as %s: bill one of them", plan, f.Meter, other.ID, f.ID)
			}
		}
	}
}

func (r *reader) quota(e entry, f kgents.Feature, plan string) kgents.Quota {
	q := kgents.Quota{Over: kgents.OverRefuse}
	if f.Metered() {
		q.Per = kgents.PerPeriod
	}
	what := "the limit of " + f.ID + " in " + plan
	if _, ok := r.scalar(e.value); ok {
		q.Limit = r.limit(e)
		return q
	}
	m, ok := r.mapping(e.value, what, "{ limit: 10_000, per: period, over: refuse }, or the number alone", limitKeys)
	if !ok {
		return q
	}
	if e, ok := r.need(m, "limit", "10_000, or unlimited"); ok {
		q.Limit = r.limit(e)
	}
	if e, ok := m.get("per"); ok {
		q.Per, _ = r.scalar(e.value)
		switch {
		case !f.Metered():
			r.wrong(e.line, "%s has no period: the feature has no meter, so the limit holds at any one time; take per out, or give the feature a meter", what)
		case q.Per == "month":
			r.wrong(e.line, "per %s is none: use period, which is the subscription's month, or day", quote(q.Per))
		case q.Per != kgents.PerPeriod && q.Per != kgents.PerDay:
			r.wrong(e.line, "per%s is none: use period or day", named(q.Per))
		}
	}
	if e, ok := m.get("over"); ok {
		text, _ := r.scalar(e.value)
		q.Over = kgents.Over(text)
		switch {
		case q.Over != kgents.OverRefuse && q.Over != kgents.OverBill:
			r.wrong(e.line, "over%s is none: use refuse or bill", named(text))
		case q.Over == kgents.OverBill && !f.Metered():
			r.wrong(e.line, "%s can't be billed: no meter counts the feature; use over: refuse", what)
		case q.Over == kgents.OverBill && q.Limit.Unlimited():
			r.wrong(e.line, "%s is unlimited, so nothing is ever over it: take over out, or write a limit", what)
		}
	}
	overage, priced := m.get("overage")
	switch {
	case priced && q.Over != kgents.OverBill:
		r.wrong(overage.line, "%s has a price for what is over it, but what is over it is refused: write over: bill, or take overage out", what)
	case !priced && q.Over == kgents.OverBill:
		r.wrong(m.line, "%s is billed and has no price: it needs overage, for example overage: { amount: 8, per: 10_000 }", what)
	case priced:
		q.Overage = r.overage(overage, what)
	}
	return q
}

// limit reads a number, or the word.
func (r *reader) limit(e entry) kgents.Limit {
	text, _ := r.scalar(e.value)
	switch {
	case text == kgents.Unlimited:
		return kgents.NoLimit()
	case strings.EqualFold(text, kgents.Unlimited) || slices.Contains([]string{"none", "infinite", "infinity", ".inf", "no limit", "null", "~"}, strings.ToLower(text)):
		r.wrong(lineOf(e.value), "%s %s is no limit that is known here: for none write the word unlimited", e.key, quote(text))
		return kgents.Limit{}
	}
	n, _ := r.number(e, 0, MaxLimit, wordHint+" for none")
	return kgents.AtMost(n)
}

func (r *reader) overage(e entry, what string) (o kgents.Overage) {
	m, ok := r.mapping(e.value, "the overage of "+strings.TrimPrefix(what, "the limit of "), "{ amount: 8, per: 10_000 }", overageKeys)
	if !ok {
		return o
	}
	const finer = "; for less than one of the minor unit raise per: 0.8 per 1_000 is 8 per 10_000"
	if e, ok := r.need(m, "amount", "8"); ok {
		o.Amount, _ = r.number(e, 1, MaxOverage, finer)
	}
	if e, ok := r.need(m, "per", "10_000"); ok {
		o.Per, _ = r.number(e, 1, MaxPer, "")
	}
	return o
}

// defaultOf reads the plan of who has paid for none, which so has to be free.
func (r *reader) defaultOf(e entry) string {
	id, ok := r.text(e, "free")
	if !ok {
		return ""
	}
	var ids []string
	for _, p := range r.plans {
		ids = append(ids, p.ID)
		if p.ID != id {
			continue
		}
		for i, price := range p.Prices {
			if price.Amount > 0 {
				r.wrong(p.priceLines[i], "plan %s has a price and is the default: who has paid for none would have it for nothing; take the price out, or name another default", id)
				break
			}
		}
		return id
	}
	if _, hint := didYouMean(id, ids); len(ids) > 0 && !r.somePlan { // else that is the mistake
		r.wrong(lineOf(e.value), "default: there is no plan %s%s; plans are %s", quote(id), hint, andList(ids))
	}
	return ""
}

// checkPrices looks at what only several plans together can get wrong.
func (r *reader) checkPrices() {
	first := map[string]int{}
	var before *planAt
	for i := range r.plans {
		p := &r.plans[i]
		for j, price := range p.Prices {
			if line, twice := first[price.LookupKey]; twice {
				r.wrong(p.priceLines[j], "the lookup_key %s stands twice, first in line %d: a payment would not tell which plan it is for", price.LookupKey, line)
				continue
			}
			first[price.LookupKey] = p.priceLines[j]
		}
		if len(p.Prices) == 0 && !p.badPrices {
			// Stripe bills usage inside a subscription only, and without a price there is none.
			for _, f := range r.features {
				if line := p.billed[f.ID]; line > 0 {
					r.wrong(line, "plan %s bills %s and has no price: nobody subscribes to it, so nobody would get the bill; give it a price, of 0 if it costs nothing by itself", p.ID, f.ID)
				}
			}
		}
		if before != nil && !before.badPrices && !p.badPrices && yearly(p.Plan) < yearly(before.Plan) {
			r.wrong(p.line, "plan %s costs less than %s, which stands before it: plans go from the smallest to the largest, since an upgrade is one further down", p.ID, before.ID)
		}
		before = p
	}
}

// yearly is what a plan costs in a year at least.
func yearly(p kgents.Plan) int64 {
	least := int64(-1)
	for _, price := range p.Prices {
		amount := price.Amount
		if price.Interval == "month" {
			amount *= 12
		}
		if least < 0 || amount < least {
			least = amount
		}
	}
	return max(0, least)
}
