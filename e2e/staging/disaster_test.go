//go:build cluster

package staging

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/meter"
)

var disasterTable = flag.String("disasters", "", "file for the table of TestDisasters, in Markdown; without it the test does nothing")

// disaster is something that a deployment may lose, under load.
type disaster struct {
	name string

	// keeps says that no event may be lost. Else those may be that were acknowledged
	// after the backup and not yet counted.
	keeps bool

	before func(c *cluster)
	lose   func(c *cluster)
	mend   func(c *cluster) // what a person does; nil when nothing is to be done
}

func disasters() []disaster {
	return []disaster{
		{name: "one volume of NATS", keeps: true, lose: func(c *cluster) { c.loseVolumes("nats-0") }},
		{name: "two volumes of NATS at once", keeps: true, lose: func(c *cluster) { c.loseVolumes("nats-0", "nats-1") }},
		{
			name: "the cluster: all volumes of NATS and Redis, every pod of api and sink",
			before: func(c *cluster) {
				name := fmt.Sprintf("backup-before-%d", time.Now().Unix())
				c.kubectl("create", "job", "--from=cronjob/kgents-backup", name)
				c.kubectl("wait", "--for=condition=complete", "job/"+name, "--timeout=2m")
				time.Sleep(20 * time.Second) // what comes after the backup
			},
			lose: func(c *cluster) {
				c.kubectl("delete", "pod", "-l", "app.kubernetes.io/name in (kgents-api,kgents-sink)", "--grace-period=0", "--force", "--wait=false")
				c.loseVolumes("nats-0", "nats-1", "nats-2", "redis-0")
			},
			mend: func(c *cluster) { c.Log(c.run(root+"/infra/k8s/scripts/restore.sh", "--yes")) },
		},
	}
}

// loseVolumes kills pods and takes their volumes away.
func (c *cluster) loseVolumes(pods ...string) {
	c.Helper()
	claims := []string{"delete", "pvc", "--wait=false"}
	for _, pod := range pods {
		claims = append(claims, "data-"+pod)
	}
	c.kubectl(claims...)
	c.kubectl(append([]string{"delete", "pod", "--grace-period=0", "--force"}, pods...)...)
}

// What is lost when volumes are, and how long it takes to be back: measured, for
// docs/saas/disaster-recovery.md. The meter stays, as OpenMeter is elsewhere.
func TestDisasters(t *testing.T) {
	if *disasterTable == "" {
		return
	}
	if !*keep {
		(&cluster{T: t}).deploy()
	}
	var b strings.Builder
	fmt.Fprintln(&b, "| lost, under load | not taken for | whole again after | acknowledged | counted | lost | doubled |")
	fmt.Fprintln(&b, "|---|---|---|---|---|---|---|")
	for _, d := range disasters() {
		if !t.Run(d.name, func(t *testing.T) { fmt.Fprintln(&b, suffer(&cluster{T: t}, d)) }) {
			break
		}
		if err := os.WriteFile(filepath.Clean(*disasterTable), []byte(b.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
	t.Log("\n" + b.String())
}

// suffer plays one disaster and returns its row.
func suffer(c *cluster, d disaster) string {
	m, err := meter.NewClient(c.address("kgents-meter"), c.secret("meter.env", "OPENMETER_API_KEY"))
	if err != nil {
		c.Fatal(err)
	}
	defer m.Close()
	k := &keys{}
	k.set(c.secret("api.env", "API_KEYS"), c.secret("api.env", "STRIPE_WEBHOOK_SECRET"))
	l := startLoad(c.address("kgents-api"), k)
	time.Sleep(5 * time.Second)
	if d.before != nil {
		d.before(c)
	}
	began := time.Now()
	d.lose(c)
	if d.mend != nil {
		// The pods come back by themselves, and NATS begins anew: that is what an operator finds.
		c.whole()
		d.mend(c)
	}
	c.whole()
	took := time.Since(began)
	time.Sleep(5 * time.Second)
	l.finish()

	var v verdict
	best, since := -1, time.Now()
	c.eventually("the meter has counted what it will", 5*time.Minute, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if v, err = l.check(ctx, m); err != nil {
			return err
		}
		if v.Lost != best {
			best, since = v.Lost, time.Now()
		}
		if v.Lost > 0 && (d.keeps || time.Since(since) < 20*time.Second) {
			return fmt.Errorf("%d of %d events are missing, among them %s", v.Lost, v.Acked, strings.Join(v.missing, ", "))
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	gap, when := l.troubled()
	c.Logf("not taken in the seconds%s; %d requests, %d refused, %d not answered, last problem: %s", when, l.requests, l.refused, l.unanswered, l.problem)
	if v.Doubled > 0 {
		c.Errorf("%d events were counted that must not be", v.Doubled)
	}
	if v.Acked < 100 || l.bare+l.wrong > 0 {
		c.Errorf("%d acknowledged, %d answers were 503 without Retry-After, %d something else: %s", v.Acked, l.bare, l.wrong, l.problem)
	}
	return fmt.Sprintf("| %s | %.0f s | %.0f s | %d | %d | %d | %d |", d.name, gap.Seconds(), took.Seconds(), v.Acked, v.Counted, v.Lost, v.Doubled)
}
