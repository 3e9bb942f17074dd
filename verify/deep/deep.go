// Package deep checks a deployment against its exit criteria, one verdict a line:
// the NATS servers and the streams, every api and sink pod, the path of an event,
// a duplicate of it at every pod, Redis, and what waits or was refused.
//
// It promises that a line passes only on proof. What can't be looked at, because
// it isn't configured, allowed or reachable from here, is unknown and says what to
// set; unknown is never a pass. It changes nothing but for two canaries, which
// have a subject of their own, so that runs at the same time don't count each
// other's, and three more for a pod whose circuit is half open.
//
// Each look has a deadline of its own within that of the context, and what is
// independent runs side by side: with any dependency away the report still comes,
// and says which.
package deep

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/verify"
)

// Verdict is what a line comes to.
type Verdict string

// The verdicts.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Unknown Verdict = "unknown"
)

// Line is one criterion. Check is its name, which scripts may rely on.
type Line struct {
	Check    string  `json:"check"`
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"`       // what was seen
	Next     string  `json:"next,omitempty"` // what to do; empty on a pass
}

// The criteria, in the order of a report.
const (
	checkNATS      = "nats ready"
	checkMeta      = "nats meta group"
	checkSync      = "nats synced writes"
	checkStreams   = "streams"
	checkAPI       = "api pods"
	checkSink      = "sink and meter"
	checkCanary    = "canary"
	checkDuplicate = "duplicate"
	checkRedis     = "redis"
	checkBacklog   = "backlog"
)

// Report is the outcome.
type Report struct {
	OK     bool           `json:"ok"` // every line passes
	Lines  []Line         `json:"checks"`
	Canary *verify.Result `json:"canary,omitempty"`
	Took   time.Duration  `json:"took_ns"`
}

// Config is what to check. What is empty makes its lines unknown.
type Config struct {
	Cluster      *cluster.Client
	ClusterError error // why there is no Cluster

	System stream.Remote // NATS, with the credentials of the system account
	Stream stream.Config // as the deployment has it
	Redis  string        // address, with its password
	Target verify.Target // the API and a key of it

	// RedisDial makes the connections to Redis, nil for an ordinary one.
	RedisDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Tunnels says that Target.HTTP reaches pods by their addresses, as one inside
	// the cluster does.
	Tunnels bool

	// Port is the pods', empty for 8000.
	Port string

	// Settle is how long after both canaries were counted a duplicate may still
	// come: the longest wait of an event for a flush, and some.
	Settle time.Duration
}

// looksAgain is how often the servers are looked at again, a second apart, when a
// copy is behind.
const looksAgain = 3

// pause waits, false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Bounds of one look.
const (
	clusterPatience = 10 * time.Second // at all of Kubernetes, pods included
	podPatience     = 3 * time.Second  // at one pod
	natsPatience    = 8 * time.Second  // connecting included
	redisPatience   = 2 * time.Second
	backlogPatience = 10 * time.Second

	// podsAtOnce bounds the pods that are asked side by side.
	podsAtOnce = 8
)

// Run checks everything and returns when the last line is known, at the latest
// when ctx ends. Without a deadline in ctx a canary is waited for for ever.
func Run(ctx context.Context, c Config) Report {
	began := time.Now()
	c.Port = cmp.Or(c.Port, "8000")
	var (
		k      kubernetes
		s      servers
		canary canary
		b      Line
		first  sync.WaitGroup
	)
	first.Go(func() { k = lookAtKubernetes(ctx, c) })
	first.Go(func() { s = lookAtServers(ctx, c.System) })
	first.Go(func() { canary = sendCanary(ctx, c.Target) })
	first.Go(func() { b = backlogLine(ctx, c.Target) })
	first.Wait()
	tryCircuits(ctx, c, canary, &k)
	// A copy is a write behind while that write is under way, and every canary is
	// one: only a copy that stays behind is behind.
	for range looksAgain {
		if metaLine(c, s, k).Verdict != Fail && streamsLine(c.Stream, s).Verdict != Fail || !pause(ctx, time.Second) {
			break
		}
		s = lookAtServers(ctx, c.System)
	}

	var (
		duplicate, redis Line
		second           sync.WaitGroup
	)
	second.Go(func() { duplicate = duplicateLine(ctx, c, canary, k) })
	second.Go(func() { redis = redisLine(ctx, c, canary, k) })
	second.Wait()

	r := Report{
		OK: true,
		Lines: []Line{
			natsLine(c, k), metaLine(c, s, k), syncLine(s), streamsLine(c.Stream, s),
			apiLine(k), sinkLine(k), canaryLine(c.Target, canary), duplicate, redis, b,
		},
		Took: time.Since(began),
	}
	if canary.result.ID != "" {
		r.Canary = &canary.result
	}
	for _, line := range r.Lines {
		r.OK = r.OK && line.Verdict == Pass
	}
	return r
}

func pass(check, evidence string) Line { return Line{check, Pass, evidence, ""} }

func fail(check, evidence, next string) Line { return Line{check, Fail, evidence, next} }

func unknown(check, evidence, next string) Line { return Line{check, Unknown, evidence, next} }

// within is ctx with a bound of its own.
func within(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}

// some joins what is wrong, with a bound for a cluster in which all is.
func some(problems []string) string {
	const shown = 4
	text := strings.Join(problems[:min(shown, len(problems))], "; ")
	if len(problems) > shown {
		text += "; and more"
	}
	return text
}

// inside is how to run this where everything can be reached.
const inside = "run it inside the cluster: kubectl create job --from=cronjob/kgents-verify verify-now"

// notSeen is the line for a part of Kubernetes that could not be looked at.
func notSeen(check string, err error) Line {
	if e, ok := errors.AsType[*cluster.NotFoundError](err); ok {
		return fail(check, e.Error(), "deploy it, or name its namespace with --namespace")
	}
	if e, ok := errors.AsType[*cluster.DeniedError](err); ok {
		return unknown(check, e.Error(), "use an account that may read it, or "+inside)
	}
	if errors.Is(err, cluster.ErrNone) {
		return unknown(check, "no Kubernetes is configured", "set KUBECONFIG, or "+inside)
	}
	return unknown(check, err.Error(), "look at the address and the credentials in KUBECONFIG, or "+inside)
}
