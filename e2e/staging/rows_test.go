//go:build cluster

package staging

import (
	"slices"
	"strings"
	"time"
)

// refusals is what a row allows of requests that are not acknowledged at once.
type refusals int

const (
	none       refusals = iota // not one
	retryLater                 // 503 with Retry-After, or a connection to what is dead, for less than a minute
	noQuorum                   // 503 with Retry-After for as long as it lasts
)

// form is how much of the test is run.
type form int

const (
	full  form = iota // the long form only
	both              // what every change must pass, too
	brief             // stands in for a longer row in the short form
)

// row is something that is done to the deployment under load. It returns when
// everything is as before.
type row struct {
	name   string
	allows refusals
	tool   bool // needs TEST_CLUSTER
	in     form // which form of the test it is part of
	do     func(c *cluster, l *ledger)
}

// faults are the rows of what breaks.
func faults() []row {
	return []row{
		{name: "a NATS pod is deleted, then another", in: both, do: func(c *cluster, _ *ledger) {
			leader := c.streamLeader()
			for _, pod := range append([]string{leader}, otherNATS(leader)[0]) {
				c.kubectl("delete", "pod", pod, "--timeout=2m")
				c.whole()
			}
		}},
		{name: "a node is cut off for 60 s, then healed", allows: retryLater, tool: true, do: func(c *cluster, _ *ledger) {
			node := c.nodeOf(c.streamLeader())
			c.node("partition", node)
			time.Sleep(time.Minute)
			c.node("heal", node)
			c.ready(node)
		}},
		{name: "a node crashes and returns", allows: retryLater, tool: true, do: func(c *cluster, _ *ledger) {
			node := c.nodeOf(c.streamLeader())
			c.node("crash", node)
			time.Sleep(20 * time.Second)
			c.node("restart", node)
			c.ready(node)
		}},
		{name: "Redis pod deleted", in: both, do: func(c *cluster, _ *ledger) {
			c.kubectl("delete", "pod", "redis-0", "--timeout=2m")
			c.rolledOut("statefulset/redis")
		}},
		{name: "Redis killed", do: func(c *cluster, _ *ledger) {
			c.kubectl("delete", "pod", "redis-0", "--grace-period=0", "--force")
			c.rolledOut("statefulset/redis")
		}},
		{name: "an api pod and a sink pod killed", allows: retryLater, in: both, do: func(c *cluster, _ *ledger) {
			for _, name := range []string{"kgents-api", "kgents-sink"} {
				pods := strings.Fields(c.kubectl("get", "pods", "-l", "app.kubernetes.io/name="+name, "-o", "jsonpath={.items[*].metadata.name}"))
				c.kubectl("delete", "pod", pods[0], "--grace-period=0", "--force")
			}
		}},
		{name: "meter away for 5 minutes", do: func(c *cluster, _ *ledger) { meterAway(c, 5*time.Minute) }},
		{name: "meter away for 20 s", in: brief, do: func(c *cluster, _ *ledger) { meterAway(c, 20*time.Second) }},
		{name: "two NATS pods away (no quorum)", allows: noQuorum, in: both, do: func(c *cluster, l *ledger) {
			c.kubectl("scale", "statefulset/nats", "--replicas=1")
			c.kubectl("wait", "--for=delete", "pod/nats-1", "pod/nats-2", "--timeout=3m")
			time.Sleep(15 * time.Second) // leaders need some seconds to see that they are alone
			before := l.acknowledged()
			time.Sleep(15 * time.Second)
			if after := l.acknowledged(); after != before {
				c.Errorf("%d events were acknowledged without a quorum", after-before)
			}
			c.kubectl("scale", "statefulset/nats", "--replicas=3")
		}},
	}
}

func meterAway(c *cluster, d time.Duration) {
	c.kubectl("scale", "statefulset/kgents-meter", "--replicas=0")
	c.kubectl("wait", "--for=delete", "pod/kgents-meter-0", "--timeout=2m")
	time.Sleep(d)
	c.kubectl("scale", "statefulset/kgents-meter", "--replicas=1")
}

func otherNATS(than string) []string {
	return slices.DeleteFunc([]string{"nats-0", "nats-1", "nats-2"}, func(p string) bool { return p == than })
}

// ready waits until a node is back.
func (c *cluster) ready(node string) {
	c.Helper()
	c.kubectl("wait", "--for=condition=Ready", "node/"+node, "--timeout=2m")
}

// acknowledged is how many events were acknowledged so far.
func (l *ledger) acknowledged() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, events := range l.acked {
		n += len(events)
	}
	return n
}

// operations are the rows of what operators do, by the runbook's own commands.
func operations() []row {
	return []row{
		{name: "rolling update of api and sink", in: both, do: func(c *cluster, _ *ledger) { c.follow("Deploy") }},
		{name: "rollback", do: func(c *cluster, _ *ledger) { c.follow("Roll back") }},
		{name: "rolling restart of NATS", do: func(c *cluster, _ *ledger) { c.follow("Restart NATS") }},
		{name: "each node drained in turn", do: func(c *cluster, _ *ledger) {
			for _, node := range c.nodes() {
				c.follow("Drain a node", "NODE="+node)
				c.whole()
			}
		}},
		{name: "a node drained", in: brief, do: func(c *cluster, _ *ledger) {
			c.follow("Drain a node", "NODE="+c.nodeOf(c.streamLeader()))
		}},
		{name: "api scaled 1→4→1", do: func(c *cluster, _ *ledger) {
			for _, n := range []string{"1", "4", "1", "2"} {
				c.follow("Scale", "REPLICAS="+n)
			}
		}},
		{name: "sink scaled 1→3→1", do: func(c *cluster, _ *ledger) {
			for _, n := range []string{"1", "3", "1", "2"} {
				c.follow("Scale the sink", "REPLICAS="+n)
			}
		}},
		{name: "resize of CPU and memory", do: func(c *cluster, _ *ledger) {
			c.follow("Resize")
			c.follow("Deploy") // what git says
		}},
		{name: "resize of NATS's volumes", do: func(c *cluster, _ *ledger) {
			c.kubectl("patch", "storageclass", "--patch", `{"allowVolumeExpansion":true}`, c.kubectl("get", "storageclass", "-o", "jsonpath={.items[0].metadata.name}"))
			c.follow("Resize the volumes of NATS", "SIZE=3Gi")
			c.follow("Deploy")
		}},
	}
}
