//go:build cluster

package staging

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/meter"
)

var (
	short = flag.Bool("brief", false, "only the rows that every change must pass")
	only  = flag.String("row", "", "regular expression of the rows to run")
	keep  = flag.Bool("keep", false, "test the deployment that is there, instead of an empty cluster")
	table = flag.String("table", "", "file for the table, in Markdown")
)

// nextImage is a second version of the program that make e2e has put on the nodes.
const nextImage = "ghcr.io/kgents/kgents:e2e-next"

// fromEmpty is how long a deployment may take on a cluster that has the images.
const fromEmpty = 5 * time.Minute

// forgiven is for how long a row that takes a node away may refuse.
const forgiven = time.Minute

// result is what a row found.
type result struct {
	name                        string
	requests, refused, unheard  int
	acked, counted, lost, twice int
	took                        time.Duration // of what was done
	gap                         time.Duration // for how long requests were not taken
	slowest                     time.Duration
}

func TestStaging(t *testing.T) {
	c := &cluster{T: t, tool: os.Getenv("TEST_CLUSTER")}
	if os.Getenv("KUBECONFIG") == "" {
		t.Fatal("KUBECONFIG is not set: name the cluster to test on, which loses its namespace " + namespace)
	}
	if !*keep {
		c.deploy("--delete", "--yes")
		began := time.Now()
		out := c.deploy()
		took := time.Since(began)
		t.Logf("from empty to verified in %v\n%s", took.Round(time.Second), out)
		if took > fromEmpty {
			t.Errorf("the deployment took %v, want at most %v", took, fromEmpty)
		}
	}
	c.whole()
	t.Run("applied twice", func(t *testing.T) { appliedTwice(&cluster{T: t}) })
	t.Run("the server's dry run", func(t *testing.T) { dryRun(&cluster{T: t}) })
	t.Run("verified from outside", func(t *testing.T) { verifiedFromOutside(&cluster{T: t}) })
	t.Run("sold", func(t *testing.T) { sold(&cluster{T: t}) })
	t.Run("expressed", func(t *testing.T) { expressed(&cluster{T: t}) })

	var results []result
	pattern := regexp.MustCompile(*only)
	for _, row := range append(append(operations(), rotations()...), faults()...) {
		left := full
		if !*short {
			left = brief
		}
		if row.in == left && *only == "" || !pattern.MatchString(row.name) {
			continue
		}
		if !t.Run(row.name, func(t *testing.T) {
			c := &cluster{T: t, tool: c.tool}
			if row.tool && c.tool == "" {
				t.Fatal("this row takes a node's network or life: set TEST_CLUSTER to the folder of a tool that can, or leave the row out with -row")
			}
			results = append(results, play(c, row))
		}) {
			t.Log(c.kubectl("get", "pods", "-o", "wide"))
			break // what follows would stand on something broken
		}
	}
	text := render(results)
	t.Log("\n" + text)
	if *table != "" {
		if err := os.WriteFile(*table, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// play runs one row under load.
func play(c *cluster, row row) result {
	m, err := meter.NewClient(c.address("kgents-meter"), c.secret("meter.env", "OPENMETER_API_KEY"))
	if err != nil {
		c.Fatal(err)
	}
	defer func() { m.Close() }()
	k := &keys{}
	k.set(c.secret("api.env", "API_KEYS"), c.secret("api.env", "STRIPE_WEBHOOK_SECRET"))
	l := startLoad(c.address("kgents-api"), k)
	time.Sleep(2 * time.Second)
	began := time.Now()
	row.do(c, l)
	took := time.Since(began)
	c.whole()
	time.Sleep(2 * time.Second)
	l.finish()

	if key := c.secret("meter.env", "OPENMETER_API_KEY"); key != "" { // the row may have rotated it
		m.Close()
		if m, err = meter.NewClient(c.address("kgents-meter"), key); err != nil {
			c.Fatal(err)
		}
	}
	var v verdict
	c.eventually("everything acknowledged is counted", 3*time.Minute, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if v, err = l.check(ctx, m); err != nil {
			return err
		}
		if v.Lost > 0 {
			return fmt.Errorf("%d of %d events are missing, among them %s", v.Lost, v.Acked, strings.Join(v.missing, ", "))
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	gap, when := l.troubled()
	res := result{
		name: row.name, requests: l.requests, refused: l.refused, unheard: l.unanswered,
		acked: v.Acked, counted: v.Counted, lost: v.Lost, twice: v.Doubled, took: took, gap: gap, slowest: l.slowest,
	}
	c.Logf("%+v, in the seconds%s, last problem: %s", res, when, l.problem)
	if v.Doubled > 0 {
		c.Errorf("%d events were counted that must not be", v.Doubled)
	}
	if v.Acked < 100 {
		c.Errorf("only %d events were acknowledged: the load tests nothing", v.Acked)
	}
	if l.bare+l.wrong > 0 {
		c.Errorf("%d answers were 503 without Retry-After, %d something else: %s", l.bare, l.wrong, l.problem)
	}
	switch row.allows {
	case none:
		if l.refused+l.unanswered > 0 {
			c.Errorf("%d requests were refused and %d not answered, want none: %s", l.refused, l.unanswered, l.problem)
		}
	case retryLater:
		if res.gap > forgiven {
			c.Errorf("requests were not taken for %v, want at most %v", res.gap, forgiven)
		}
	case noQuorum:
		if l.refused == 0 {
			c.Errorf("no request was refused, though nothing durable could take it")
		}
	}
	return res
}

func render(results []result) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| while | took | requests | 503 with Retry-After | no answer | not taken for | slowest answer | acknowledged | counted | lost | doubled |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %.0f s | %d | %d | %d | %.0f s | %.1f s | %d | %d | %d | %d |\n",
			r.name, r.took.Seconds(), r.requests, r.refused, r.unheard, r.gap.Seconds(), r.slowest.Seconds(), r.acked, r.counted, r.lost, r.twice)
	}
	return b.String()
}
