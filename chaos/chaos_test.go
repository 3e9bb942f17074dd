//go:build linux

package chaos

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/chaos/world"
)

var (
	rounds = flag.Int("rounds", 0, "rounds of every row; 0 = one round of the rows of the short form")
	only   = flag.String("row", "", "regular expression of the rows to run")
	seed   = flag.Uint64("seed", 0, "run one round with this seed, which a failure has printed; with -row")
	table  = flag.String("table", "", "file for the table, in Markdown")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(world.Main(m, ".."))
}

// The recovery that the issue allows: 5 s, and the breaker's 30 s.
const recovery = 35 * time.Second

// result is what a round found.
type result struct {
	row            string
	events         int64
	sent, refusals int64
	verdict
	recovered time.Duration

	// What the trade says: interactions that towns lived and those that the meter has,
	// Stripe's events that customers' plans were made of, and plans that came out right.
	lived, metered, applied, plans int64
}

func TestChaos(t *testing.T) {
	var mu sync.Mutex
	var results []result
	pattern := regexp.MustCompile(*only)
	t.Run("rows", func(t *testing.T) {
		// Round by round, so that the rounds of one row don't run side by side.
		for n := range max(1, *rounds) {
			for _, row := range rows() {
				if !pattern.MatchString(row.name) || *rounds == 0 && *only == "" && !row.short {
					continue
				}
				s := *seed
				if s == 0 {
					s = rand.Uint64()
				}
				t.Run(fmt.Sprintf("%d/%s/seed=%d", n+1, row.name, s), func(t *testing.T) {
					t.Parallel()
					res := round(t, row, s)
					mu.Lock()
					defer mu.Unlock()
					results = append(results, res)
				})
			}
		}
	})
	text := render(results)
	t.Log("\n" + text)
	if *table != "" {
		if err := os.WriteFile(*table, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// round runs one fault under load.
func round(t *testing.T, row row, seed uint64) result {
	r := rand.New(rand.NewPCG(seed, 0))
	var o world.Options
	if row.setup != nil {
		row.setup(t, &o)
	}
	w := world.New(t, o)
	business := newTrade(w, seed)
	load := newLedger(w, seed)
	time.Sleep(time.Duration(200+r.IntN(500)) * time.Millisecond)

	row.harm(w, r)
	if row.truth != nil {
		w.Eventually("health tells of the fault", 30*time.Second, func() bool { return row.truth(w) })
	}
	if row.heal != nil {
		row.heal(w)
	}
	healed := time.Now()
	time.Sleep(500 * time.Millisecond)
	load.finish()
	business.finish()
	w.Eventually(fmt.Sprintf("everything acknowledged is counted (%d missing)", load.missing()), 2*recovery, func() bool { return load.missing() == 0 })
	res := result{row: row.name, events: load.events.Load(), sent: load.sent.Load(), refusals: load.refusals.Load(), recovered: time.Since(healed)}
	w.Eventually("health says that all is well", 2*recovery, func() bool {
		for _, p := range append(w.APIs, w.Sinks...) {
			if p.Address() == "" {
				continue // killed for good
			}
			if s, ok := p.Health(); !ok || s.Status != "ok" || s.Backlog.Messages != 0 || s.NATS.Spooled != 0 {
				return false
			}
		}
		return true
	})
	var wrong []string
	patience := time.Now().Add(2 * recovery)
	for wrong = business.open(); len(wrong) > 0 && time.Now().Before(patience); wrong = business.open() {
		time.Sleep(250 * time.Millisecond)
	}
	for _, what := range wrong {
		t.Error(what)
	}
	business.count(&res)
	res.verdict = load.verdict()
	if res.lost+res.surplus+res.changed > 0 {
		t.Errorf("%+v: an event was lost, doubled or changed", res.verdict)
	}
	if res.acked < 20 {
		t.Errorf("only %d events were acknowledged: the load tests nothing", res.acked)
	}
	if res.recovered > recovery+5*time.Second { // and the time that a busy machine takes
		t.Errorf("recovery took %v, want at most %v", res.recovered, recovery)
	}
	return res
}

// render prints a row for each fault, over its rounds.
func render(results []result) string {
	slices.SortStableFunc(results, func(a, b result) int { return cmp.Compare(a.row, b.row) })
	var b strings.Builder
	fmt.Fprintln(&b, "| fault | rounds | requests | answered 503 or not at all | events sent | acknowledged | counted | lost | doubled | interactions lived | metered | Stripe's events | plans right | recovered within |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	var sum result
	for i := 0; i < len(results); {
		n, total := 0, result{row: results[i].row}
		for ; i < len(results) && results[i].row == total.row; i++ {
			n++
			total.add(results[i])
		}
		sum.add(total)
		total.print(&b, n)
	}
	sum.row = "**all**"
	sum.print(&b, len(results))
	return b.String()
}

func (r *result) add(o result) {
	r.events += o.events
	r.sent += o.sent
	r.refusals += o.refusals
	r.acked += o.acked
	r.counted += o.counted
	r.lost += o.lost
	r.surplus += o.surplus
	r.changed += o.changed
	r.lived += o.lived
	r.metered += o.metered
	r.applied += o.applied
	r.plans += o.plans
	r.recovered = max(r.recovered, o.recovered)
}

func (r *result) print(b *strings.Builder, rounds int) {
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %.1f s |\n", r.row, rounds, r.sent, r.refusals, r.events, r.acked, r.counted, r.lost, r.surplus,
		r.lived, r.metered, r.applied, r.plans, r.recovered.Seconds())
}
