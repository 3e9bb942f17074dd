package world

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster"
)

func pods(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "pods", Line: "the pods: phase, restarts, node, age, and why one is not ready", Operator: true,
		Doc: `Every pod of the namespace with its phase, whether it is ready, how often its containers have restarted, on which node it is, how old it is, and, where it is not ready, why: the reason that the kubelet or the scheduler gives. ` +
			`Pods that have ended, as of backups and drills, are no fault; one that failed is. CrashLoopBackOff means that the container ends again and again: look at its log with witness[previous]. ` +
			`Unschedulable means that no node has room. Read from the API server, as it is now.`,
		Synonyms: []string{"containers", "instances", "crash loop", "crashloopbackoff", "restarts", "oom killed", "evicted", "pending pods", "kubectl get pods", "replicas", "processes", "nodes"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all pods, or those of one app",
			Asks: []string{
				"list pods", "why is the pod not ready", "which pods crash", "is anything crash looping", "which pods restarted", "on which node does it run", "how old are the pods", "what is pending",
				"was a pod oom killed", "pods of the api", "why does the pod not start", "image pull error", "which pods failed", "did the api restart",
			},
			Params: []tree.Param{{Key: "app", Line: "only pods with this app.kubernetes.io/name, for example kgents-api"}},
			Examples: []tree.Example{
				{Expr: "world.kubernetes.pods.manifest", Line: "all pods"},
				{Expr: "world.kubernetes.pods.manifest[app=kgents-api]", Line: "those of the API"},
			},
			See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seePods(ctx, from, c) },
		}},
		Live: &tree.Live{
			Node: onePod(from),
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				_, o, err := look(ctx, from)
				if err != nil {
					return nil, err
				}
				var out []tree.Entry
				for _, p := range o.Pods.Items {
					state, why := podState(p)
					if why == "" {
						why = string(p.Status.Phase)
					}
					out = append(out, tree.Entry{Name: p.Name, Line: string(state) + ", " + why})
				}
				return out[:min(len(out), tree.MaxNames)], nil
			},
		},
	}
}

func onePod(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "pod", Line: "one pod: its containers, why one is not ready, and its log", Operator: true,
		Doc: `One pod by its name: phase, node, age, and each of its containers with its restarts, its image, and how it ended the last time. ` + logDoc +
			` The log of all pods of a Deployment or StatefulSet together is the witness of world.kubernetes.deployments.{workload}.`,
		Synonyms: []string{"container", "instance", "kubectl logs", "pod log", "container log", "stdout", "stderr", "kubectl describe pod", "one replica", "crashed container"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "its containers, and why one is not ready",
				Asks: []string{
					"describe the pod nats-0", "kubectl describe pod redis-0", "why does the pod nats-2 crash", "what is wrong with the pod nats-0", "containers of pod kgents-meter-0", "exit code of redis-0", "how did nats-1 end",
					"which image does pod nats-0 run", "when was the pod redis-0 started", "is the pod nats-1 ready", "why was nats-2 restarted", "was redis-0 oom killed", "show pod redis-0", "on which node is the pod redis-0", "last termination of nats-0",
				},
				Examples: []tree.Example{{Expr: "world.kubernetes.pods.nats-0.manifest", Line: "NATS' first pod"}},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) {
					_, p, err := findPod(ctx, from, c.Name("pod"))
					if err != nil {
						return tree.Value{}, err
					}
					return showPod(c, p), nil
				},
			},
			{
				Aspect: agentese.Witness, Line: "the newest lines of its log",
				Asks: []string{
					"kubectl logs of a pod", "log of the pod nats-0", "tail the log of redis-0", "what did pod nats-0 write", "last words of the crashed pod redis-0", "log of the container that crashed", "kubectl logs --previous",
					"log of the previous container", "stack trace of the pod kgents-meter-0", "stdout of the pod nats-2", "stderr of nats-1", "show me the pod's log since 2am", "grep for timeout in the log of pod redis-0", "last 200 lines of the pod's log",
					"output of the backup job's pod", "what did nats-2 print before it died",
				},
				Params: logParams(),
				Examples: []tree.Example{
					{Expr: "world.kubernetes.pods.nats-0.witness[since=1h][word=error]", Line: "lines with the word error in an hour"},
					{Expr: "world.kubernetes.pods.redis-0.witness[previous][limit=50]", Line: "the last 50 lines before it crashed"},
				},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seePodLogs(ctx, from, c) },
			},
		},
	}
}

func findPod(ctx context.Context, from *living.Sources, name string) (*cluster.Client, corev1.Pod, error) {
	client, o, err := look(ctx, from)
	if err != nil {
		return nil, corev1.Pod{}, err
	}
	for _, p := range o.Pods.Items {
		if p.Name == name {
			return client, p, nil
		}
	}
	missing := &agentese.Error{Kind: agentese.KindNotFound, What: "there is no pod " + agentese.QuoteName(name) + " in " + o.Name, Try: []string{"world.kubernetes.pods.manifest"}}
	for _, w := range workloads(o) {
		if w.name == name {
			missing.Why = name + " is a " + w.kind + ", with pods of other names"
			missing.Try = []string{"world.kubernetes.deployments." + agentese.QuoteName(name) + ".witness"}
		}
	}
	return nil, corev1.Pod{}, missing
}

func showPod(c *tree.Call, p corev1.Pod) tree.Value {
	state, why := podState(p)
	v := tree.Value{Title: "Pod " + p.Name, State: state, Table: &tree.Table{Columns: []tree.Column{
		{Name: "container"}, {Name: "ready"}, {Name: "restarts"}, {Name: "is"}, {Name: "ended before"}, {Name: "ended_at"}, {Name: "image"},
	}}}
	v.Add("phase", string(p.Status.Phase), "").Add("ready", podReady(p), "").Add("app", text(p.Labels[nameLabel]), "").Add("node", text(p.Spec.NodeName), "").Add("age", tree.Ago(p.CreationTimestamp.Time, c.Now()), "")
	if why != "" {
		v.Fields = append(v.Fields, tree.Field{Name: "why", Value: why, State: state})
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		is := "running"
		if w := s.State.Waiting; w != nil {
			is = because(w.Reason, w.Message)
		} else if e := s.State.Terminated; e != nil {
			is = fmt.Sprintf("ended with %d, %s", e.ExitCode, e.Reason)
		}
		ended, at := any(nil), any(nil)
		if e := s.LastTerminationState.Terminated; e != nil {
			ended, at = fmt.Sprintf("with %d, %s", e.ExitCode, e.Reason), moment(e.FinishedAt.Time)
		}
		v.Table.Rows = append(v.Table.Rows, []any{s.Name, s.Ready, s.RestartCount, is, ended, at, s.Image})
	}
	own := "world.kubernetes.pods." + agentese.QuoteName(p.Name)
	v.Then(own+".witness", "its log")
	if endedBefore(p) {
		v.Then(own+".witness[previous]", "what it wrote before it ended the last time")
	}
	return v
}

func seePods(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	_, o, err := look(ctx, from)
	if err != nil {
		return tree.Value{}, err
	}
	app := c.Args.Get("app")
	all := slices.DeleteFunc(slices.Clone(o.Pods.Items), func(p corev1.Pod) bool { return app != "" && !strings.EqualFold(p.Labels[nameLabel], app) })
	v := tree.Value{Title: "Pods in " + o.Name, State: tree.Well, Table: podTable(all, c)}
	ready, states := 0, v.Table.Rows
	for i, p := range all {
		if podReady(p) {
			ready++
		}
		v.State = worse(v.State, states[i][len(states[i])-2].(tree.State))
	}
	v.Add("pods", len(all), "").Add("ready", ready, "").Add("restarts", restarts(all), "")
	if app != "" && len(all) == 0 {
		v.State = tree.Unknown
		v.Note(fmt.Sprintf("No pod has the app.kubernetes.io/name %s.", app))
	}
	return v, nil
}

func podTable(all []corev1.Pod, c *tree.Call) *tree.Table {
	t := &tree.Table{Columns: []tree.Column{{Name: "pod", Link: "world.kubernetes.pods.{}"}, {Name: "app"}, {Name: "phase"}, {Name: "ready"}, {Name: "restarts"}, {Name: "node"}, {Name: "age"}, {Name: "state"}, {Name: "why"}}}
	for _, p := range all {
		state, why := podState(p)
		t.Rows = append(t.Rows, []any{p.Name, p.Labels[nameLabel], string(p.Status.Phase), podReady(p), restarts([]corev1.Pod{p}), p.Spec.NodeName, tree.Ago(p.CreationTimestamp.Time, c.Now()), state, why})
	}
	return t
}

func podReady(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podState says how a pod is, and, where it isn't well, why.
func podState(p corev1.Pod) (tree.State, string) {
	if p.DeletionTimestamp != nil {
		return tree.Warn, "it is ending"
	}
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		return tree.Well, ""
	case corev1.PodFailed:
		return tree.Bad, because(p.Status.Reason, p.Status.Message)
	}
	if podReady(p) {
		return tree.Well, ""
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch w := s.State; {
		case w.Waiting != nil && w.Waiting.Reason != "" && w.Waiting.Reason != "PodInitializing" && w.Waiting.Reason != "ContainerCreating":
			why := s.Name + ": " + because(w.Waiting.Reason, w.Waiting.Message)
			if last := s.LastTerminationState.Terminated; last != nil {
				why += fmt.Sprintf("; it ended before with %d, %s", last.ExitCode, last.Reason)
			}
			return tree.Bad, why
		case w.Terminated != nil && w.Terminated.ExitCode != 0:
			return tree.Bad, fmt.Sprintf("%s ended with %d, %s", s.Name, w.Terminated.ExitCode, w.Terminated.Reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && (c.Reason != "" || c.Message != "") && (c.Type == corev1.PodScheduled || c.Type == corev1.PodReady) {
			return tree.Warn, because(c.Reason, c.Message)
		}
	}
	return tree.Warn, "it is starting"
}

func because(reason, message string) string {
	if reason != "" && message != "" {
		return reason + ": " + message
	}
	return reason + message
}
