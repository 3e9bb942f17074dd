package entitle

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
)

// use has the meter say that a customer has used n of a feature in its window of now.
func (e *Engine) use(customer, feature string, n float64) {
	a, _ := e.c.Accounts.Account(customer)
	c := e.customer(customer)
	c.mu.Lock()
	defer c.mu.Unlock()
	e.fit(c)
	k := c.counter(feature)
	from, to := window(a, a.Plan.Quotas[feature].Per, e.now())
	k.turn(from, to, 0)
	k.refresh(n, 0, e.now())
}

func TestNear(t *testing.T) {
	p := newPeople()
	for customer, plan := range map[string]string{"half": "free", "most": "free", "all": "free", "past": "teams", "rich": "pro", "idle": "free", "both": "free"} {
		p.put(customer, plan)
	}
	now := time.Date(2026, 11, 20, 12, 30, 0, 0, time.UTC)
	e := newEngine(Config{Accounts: p, Catalog: p.Catalog, Log: quiet, Registerer: prometheus.NewRegistry()})
	e.now = func() time.Time { return now }
	e.live.Store(true)
	for _, use := range []struct {
		customer, feature string
		n                 float64
	}{
		{"half", "tokens", 500}, {"most", "tokens", 800}, {"all", "tokens", 1000}, {"past", "tokens", 30_000}, {"rich", "tokens", 1000},
		{"idle", "tokens", 0}, {"both", "tokens", 950}, {"both", "calls", 90},
	} {
		e.use(use.customer, use.feature, use.n)
	}
	// Who has no counter yet, or one that the meter has said nothing of, is stale.
	near := func(percent, most int) (got []string, n Near) {
		n = e.Near(percent, most)
		for _, a := range n.Answers {
			got = append(got, fmt.Sprint(a.Customer, " ", a.Feature, " ", a.Used, " ", a.Allowed, " ", len(a.Upgrade)))
		}
		return got, n
	}
	for _, tt := range []struct {
		name          string
		percent, most int
		want          []string
		total         int
	}{
		{"80 percent", 80, 100, []string{"past tokens 30000 true 0", "all tokens 1000 false 2", "both tokens 950 true 0", "both calls 90 true 0", "most tokens 800 true 0"}, 5},
		{"at or over", 100, 100, []string{"past tokens 30000 true 0", "all tokens 1000 false 2"}, 2},
		{"the nearest two of five", 80, 2, []string{"past tokens 30000 true 0", "all tokens 1000 false 2"}, 5},
		{"twice the limit", 200, 10, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, n := near(tt.percent, tt.most)
			if diff := cmp.Diff(tt.want, got); diff != "" || n.Total != tt.total || n.Looked != 7 {
				t.Errorf("%s; total %d, looked at %d", diff, n.Total, n.Looked)
			}
		})
	}
	// A day later the day's calls are none, and the period's tokens as they were.
	now = now.AddDate(0, 0, 1)
	got, _ := near(80, 100)
	if diff := cmp.Diff([]string{"past tokens 30000 true 0", "all tokens 1000 false 2", "both tokens 950 true 0", "most tokens 800 true 0"}, got); diff != "" {
		t.Error("a day later:", diff)
	}
}

// Many are near: the nearest are kept, all are counted.
func TestNearOfMany(t *testing.T) {
	p := newPeople()
	for i := range 1000 {
		p.put(fmt.Sprintf("c%04d", i), "free")
	}
	e := newEngine(Config{Accounts: p, Catalog: p.Catalog, Log: quiet, Registerer: prometheus.NewRegistry()})
	for i := range 1000 {
		e.use(fmt.Sprintf("c%04d", i), "tokens", float64(i+1))
	}
	n := e.Near(80, 3)
	var got []int64
	for _, a := range n.Answers {
		got = append(got, a.Used)
	}
	if diff := cmp.Diff([]int64{1000, 999, 998}, got); diff != "" || n.Total != 201 {
		t.Errorf("%s, %d in all", diff, n.Total)
	}
}

// A limit of nothing is past with the first use.
func TestNearALimitOfNothing(t *testing.T) {
	p := newPeople()
	p.limit("free", 0)
	p.put("acme", "free")
	e := newEngine(Config{Accounts: p, Catalog: p.Catalog, Log: quiet, Registerer: prometheus.NewRegistry()})
	e.use("acme", "tokens", 1)
	if n := e.Near(1000, 1); n.Total != 1 || n.Answers[0].Reason != ReasonLimit || n.Answers[0].Limit != kgents.AtMost(0) {
		t.Errorf("%+v", n)
	}
}

func BenchmarkNear(b *testing.B) {
	p := newPeople()
	for i := range 10_000 {
		p.put(fmt.Sprintf("c%05d", i), "free")
	}
	e := newEngine(Config{Accounts: p, Catalog: p.Catalog, Log: quiet, Registerer: prometheus.NewRegistry()})
	for i := range 10_000 {
		e.use(fmt.Sprintf("c%05d", i), "tokens", float64(i%1200))
	}
	for b.Loop() {
		if n := e.Near(80, 100); n.Looked != 10_000 {
			b.Fatal(n.Looked)
		}
	}
}
