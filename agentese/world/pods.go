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
)

func pods(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "pods", Line: "the pods: phase, restarts, node, age, and why one is not ready", Operator: true,
		Doc: `Every pod of the namespace with its phase, whether it is ready, how often its containers have restarted, on which node it is, how old it is, and, where it is not ready, why: the reason that the kubelet or the scheduler gives. ` +
			`Pods that have ended, as of backups and drills, are no fault; one that failed is. CrashLoopBackOff means that the container ends again and again: look at its log with kubectl logs --previous. ` +
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
	}
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
	t := &tree.Table{Columns: []tree.Column{{Name: "pod"}, {Name: "app"}, {Name: "phase"}, {Name: "ready"}, {Name: "restarts"}, {Name: "node"}, {Name: "age"}, {Name: "state"}, {Name: "why"}}}
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
