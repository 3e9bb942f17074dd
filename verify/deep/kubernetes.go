package deep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/kgents/kgents/cluster"
)

// Names of what is deployed.
const (
	natsName  = "nats"
	apiName   = "kgents-api"
	sinkName  = "kgents-sink"
	meterName = "kgents-meter"
)

// kubernetes is what was seen of the cluster.
type kubernetes struct {
	namespace string
	inside    bool // pods can be reached by their addresses
	nats      workload
	api       group
	sink      group
	meter     []cluster.Pod // none when the meter is elsewhere
	meterErr  error
}

type workload struct {
	cluster.Workload
	err error
}

// group is a deployment and how each of its pods says that it is.
type group struct {
	workload
	pods []pod
	err  error // why the pods are not known
}

type pod struct {
	cluster.Pod
	health health
	err    error
}

// health is what GET /health/saas answers, as far as it is looked at.
type health struct {
	NATS struct {
		Status, Circuit, Detail string
	}
	OpenMeter struct {
		Status, Detail string
	}
	Redis struct {
		Status, Detail string
	}
	Backlog *struct {
		Messages  int64
		OldestAge float64 `json:"oldest_age_seconds"`
	}
}

func parseHealth(body []byte) (h health, err error) {
	if json.Unmarshal(body, &h) != nil || h.NATS.Status == "" {
		return h, errors.New("what it answers to /health/saas is not kgents'")
	}
	return h, nil
}

func lookAtKubernetes(ctx context.Context, c Config) (k kubernetes) {
	if c.Cluster == nil {
		err := c.ClusterError
		if err == nil {
			err = cluster.ErrNone
		}
		k.nats.err, k.api.err, k.sink.err, k.meterErr = err, err, err, err
		return k
	}
	k.namespace, k.inside = c.Cluster.Namespace, c.Cluster.Inside || c.Tunnels
	ctx, cancel := within(ctx, clusterPatience)
	defer cancel()
	slots := make(chan struct{}, podsAtOnce)
	var looks sync.WaitGroup
	looks.Go(func() { k.nats.Workload, k.nats.err = c.Cluster.StatefulSet(ctx, natsName) })
	looks.Go(func() { k.api = lookAtGroup(ctx, c, slots, apiName) })
	looks.Go(func() { k.sink = lookAtGroup(ctx, c, slots, sinkName) })
	// The sinks say whether it answers; to ask it too would take another way
	// through the network's policies.
	looks.Go(func() { k.meter, k.meterErr = c.Cluster.Pods(ctx, meterName) })
	looks.Wait()
	return k
}

func lookAtGroup(ctx context.Context, c Config, slots chan struct{}, name string) (g group) {
	g.Workload, g.workload.err = c.Cluster.Deployment(ctx, name)
	g.pods, g.err = lookAtPods(ctx, c, slots, name)
	return g
}

func lookAtPods(ctx context.Context, c Config, slots chan struct{}, name string) ([]pod, error) {
	found, err := c.Cluster.Pods(ctx, name)
	if err != nil {
		return nil, err
	}
	pods := make([]pod, len(found))
	var looks sync.WaitGroup
	for i, p := range found {
		slots <- struct{}{}
		looks.Go(func() {
			defer func() { <-slots }()
			pods[i].Pod = p
			ctx, cancel := within(ctx, podPatience)
			defer cancel()
			body, err := c.Cluster.Get(ctx, p, c.Port, "/health/saas")
			if err == nil {
				pods[i].health, err = parseHealth(body)
			}
			pods[i].err = err
		})
	}
	looks.Wait()
	return pods, nil
}

func natsLine(c Config, k kubernetes) Line {
	w := k.nats
	if w.err != nil {
		return notSeen(checkNATS, w.err)
	}
	seen := fmt.Sprintf("%d of %d servers are ready", w.Ready, w.Wanted)
	look := fmt.Sprintf("kubectl -n %s rollout status statefulset/%s, then describe the pod that is not ready", k.namespace, natsName)
	switch {
	case w.Wanted < c.Stream.Replicas:
		return fail(checkNATS, fmt.Sprintf("the StatefulSet has %d replicas for streams with %d", w.Wanted, c.Stream.Replicas),
			fmt.Sprintf("give it %d replicas", c.Stream.Replicas))
	case w.Ready == w.Wanted && !w.Settled():
		return fail(checkNATS, seen+fmt.Sprintf(", but %d of the newest revision", w.Updated), "wait for the update to end: "+look)
	case !w.Settled():
		return fail(checkNATS, seen, look)
	}
	return pass(checkNATS, seen)
}

// problems are the pods of g that are not as they should be, by ok.
func (g group) problems(name string, ok func(health) string) (problems []string, denied error) {
	if !g.Settled() {
		problems = append(problems, fmt.Sprintf("deployment %s has %d of %d pods ready, %d of the newest revision", name, g.Ready, g.Wanted, g.Updated))
	}
	for _, p := range g.pods {
		if _, is := errors.AsType[*cluster.DeniedError](p.err); is {
			denied = p.err
			continue
		}
		problem := ""
		switch {
		case p.err != nil:
			problem = p.err.Error()
		default:
			if said := ok(p.health); said != "" {
				problem = p.Name + ": " + said
			} else if !p.Ready {
				problem = p.Name + " is not ready"
			}
		}
		if problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(g.pods) == 0 {
		problems = append(problems, "no pod of "+name+" is there")
	}
	return problems, denied
}

func natsProblem(h health) string {
	if h.NATS.Status != "healthy" {
		return detailed("NATS is "+h.NATS.Status, h.NATS.Detail)
	}
	return ""
}

func detailed(what, detail string) string {
	if detail == "" {
		return what
	}
	return what + " (" + detail + ")"
}

func apiLine(k kubernetes) Line {
	if k.api.err != nil {
		return notSeen(checkAPI, k.api.err)
	}
	if k.api.workload.err != nil {
		return notSeen(checkAPI, k.api.workload.err)
	}
	problems, denied := k.api.problems(apiName, func(h health) string {
		if p := natsProblem(h); p != "" {
			return p
		}
		if h.NATS.Circuit != "closed" {
			return detailed(fmt.Sprintf("the circuit is %q", h.NATS.Circuit), h.NATS.Detail)
		}
		return ""
	})
	switch {
	case len(problems) > 0:
		return fail(checkAPI, some(problems), fmt.Sprintf("look at NATS first, then kubectl -n %s logs deployment/%s", k.namespace, apiName))
	case denied != nil:
		return notSeen(checkAPI, denied)
	}
	return pass(checkAPI, fmt.Sprintf("%d of %d connected, circuit closed", len(k.api.pods), k.api.Wanted))
}

func sinkLine(k kubernetes) Line {
	for _, err := range []error{k.sink.err, k.sink.workload.err, k.meterErr} {
		if err != nil {
			return notSeen(checkSink, err)
		}
	}
	problems, denied := k.sink.problems(sinkName, func(h health) string {
		if p := natsProblem(h); p != "" {
			return p
		}
		if h.OpenMeter.Status != "healthy" {
			return detailed("the meter is "+h.OpenMeter.Status, h.OpenMeter.Detail)
		}
		return ""
	})
	for _, p := range k.meter {
		if !p.Ready {
			problems = append(problems, p.Name+" is not ready")
		}
	}
	switch {
	case len(problems) > 0:
		return fail(checkSink, some(problems), fmt.Sprintf("look at NATS and the meter, then kubectl -n %s logs deployment/%s", k.namespace, sinkName))
	case denied != nil:
		return notSeen(checkSink, denied)
	}
	return pass(checkSink, fmt.Sprintf("%d of %d sinks connected, the meter is healthy", len(k.sink.pods), k.sink.Wanted))
}
