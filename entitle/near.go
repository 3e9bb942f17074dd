package entitle

import (
	"cmp"
	"math"
	"slices"

	"github.com/kgents/kgents"
)

// Near is who has used a percent of a limit, or more.
type Near struct {
	Answers []Answer // the nearest first: by the part of the limit that is used
	Total   int      // how many there are, of which Answers are the first
	Looked  int      // customers that were looked at: all
	Stale   bool     // of some, what was used may be too low
}

// nearest is one that is near, as it is found.
type nearest struct {
	account Account
	feature string
	used    int64
	held    int64
	part    float64 // of the limit
	stale   bool
}

// Near looks through all customers for those who have used percent of a limit, or more,
// of a feature with a meter, and returns at most the nearest. It answers from memory, in
// about a microsecond a customer and feature; nobody is asked, and nothing is reserved. A
// feature that the plan doesn't have, or has without a limit, has no one near it.
func (e *Engine) Near(percent, most int) Near {
	var out Near
	var found []nearest
	cat := e.c.Catalog()
	cut := func() {
		slices.SortFunc(found, func(a, b nearest) int {
			return cmp.Or(cmp.Compare(b.part, a.part), cmp.Compare(b.used, a.used), cmp.Compare(a.account.ID, b.account.ID), cmp.Compare(a.feature, b.feature))
		})
		found = found[:min(len(found), most)]
	}
	e.c.Accounts.Each(func(a Account) {
		out.Looked++
		for _, f := range cat.Features {
			quota, has := a.Plan.Quotas[f.ID]
			if !has || quota.Limit.Unlimited() || !f.Metered() {
				continue
			}
			n, ok := e.peek(a, f.ID, quota)
			out.Stale = out.Stale || !ok || n.stale
			if !ok || n.used == 0 || n.part*100 < float64(percent) {
				continue
			}
			out.Total++
			if found = append(found, n); len(found) >= 2*most+64 {
				cut() // so that memory is bounded by most, whoever is near
			}
		}
	})
	cut()
	for _, n := range found {
		a := Answer{Customer: n.account.ID, Plan: n.account.Plan.ID, Feature: n.feature, Subscribed: n.account.Subscribed, Used: n.used, Stale: n.stale}
		quota := n.account.Plan.Quotas[n.feature]
		_, to := window(n.account, quota.Per, e.now())
		a.ResetsAt = minuteTime(to)
		a.judge(quota, true, n.held, 1)
		if !a.Allowed {
			a.Upgrade = options(cat, a.Plan, a.Feature, a.Used, 1)
		}
		out.Answers = append(out.Answers, a)
	}
	return out
}

// peek is what a customer has used of a feature, without waking anybody. It is not ok
// for a customer who is too new to be known.
func (e *Engine) peek(a Account, feature string, quota kgents.Quota) (n nearest, ok bool) {
	e.mu.RLock()
	c := e.customers[a.ID]
	e.mu.RUnlock()
	if c == nil {
		return n, false
	}
	now := e.now()
	c.mu.Lock()
	e.fit(c)
	k := c.counter(feature)
	if k == nil { // the catalog was changed just now
		c.mu.Unlock()
		return n, false
	}
	from, to := window(a, quota.Per, now)
	turned := from != k.from || to != k.to
	k.turn(from, to, e.reading.Load())
	n = nearest{account: a, feature: feature, used: k.used(), held: k.held(now, e.at.Load())}
	n.stale = !e.live.Load() || !k.whole() || now.Sub(k.asked) > old && e.failing.Load()
	c.mu.Unlock()
	if turned {
		e.touch(c)
	}
	n.part = math.Inf(1) // past a limit of nothing
	if limit := quota.Limit.N(); limit > 0 {
		n.part = float64(n.used) / float64(limit)
	}
	return n, true
}
