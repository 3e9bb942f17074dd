package world

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/operate"
)

// kubernetes is the deployment in the cluster.
func kubernetes(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "kubernetes", Line: "the deployment in the cluster: workloads, pods, restarts, images", Operator: true,
		Doc: `The deployment in Kubernetes: each Deployment and StatefulSet of the namespace with how many replicas are ready of those that are wanted, how often its containers have restarted, and which image runs. ` +
			`It is read from the API server with the user's kubeconfig, or the service account inside a pod; nothing is stored. Fewer ready than wanted is degraded, none ready is an error: look at the pods and why they are not ready. ` +
			`Without a cluster, as with 'kgents up' on one machine, it says that none is configured, and everything else works.`,
		Synonyms: []string{
			"k8s", "cluster", "deployment", "kubectl", "workloads", "infrastructure", "rollout", "containers", "namespace", "replicas", "helm", "images", "what is deployed", "which version runs",
		},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all workloads: ready of wanted, restarts, images",
			Asks: []string{
				"how is the cluster", "is everything running in kubernetes", "are all deployments ready", "which version is deployed", "which image runs", "did the rollout finish", "kubectl get all",
				"why is a deployment not ready", "is anything crash looping", "how many replicas do we run", "how often did pods restart", "state of the cluster", "is the autoscaler at its maximum",
			},
			Examples: []tree.Example{{Expr: "world.kubernetes.manifest", Line: "the deployment at a glance"}},
			See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeKubernetes(ctx, from) },
		}},
		Children: []*tree.Node{pods(from), deployments(from)},
	}
}

// openCluster is the client, or what to do without one.
func openCluster(from *living.Sources) (*cluster.Client, error) {
	if from.Cluster == nil {
		return nil, noCluster()
	}
	client, err := from.Cluster()
	if errors.Is(err, cluster.ErrNone) || err == nil && client == nil {
		return nil, noCluster()
	}
	return client, living.Away("Kubernetes", err)
}

func noCluster() error {
	return living.Absent("Kubernetes", "run it inside the cluster, or set KUBECONFIG; kgents up on one machine has none")
}

// look reads what runs in the namespace.
func look(ctx context.Context, from *living.Sources) (*cluster.Client, *cluster.Objects, error) {
	client, err := openCluster(from)
	if err != nil {
		return nil, nil, err
	}
	o := client.Running(ctx)
	// Without any of them there is nothing to say.
	for _, err := range []error{o.Pods.Err, o.Deployments.Err, o.StatefulSets.Err} {
		if err != nil {
			return client, o, kubernetesAway(err)
		}
	}
	return client, o, nil
}

// kubernetesAway makes an error of Kubernetes' one of the language's.
func kubernetesAway(err error) error {
	if e, ok := errors.AsType[*cluster.DeniedError](err); ok {
		return &agentese.Error{Kind: agentese.KindDenied, What: "these credentials may not do that in Kubernetes", Why: e.Error(), Try: []string{"use a kubeconfig whose user may"}, Cause: err}
	}
	if e, ok := errors.AsType[*operate.Error](err); ok {
		kind := agentese.KindFailed
		if e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized {
			kind = agentese.KindDenied
		}
		return &agentese.Error{Kind: kind, What: "Kubernetes has refused to " + e.What, Why: e.Reason, Cause: err}
	}
	if e, ok := errors.AsType[*cluster.NotFoundError](err); ok {
		return &agentese.Error{Kind: agentese.KindNotFound, What: e.Error(), Try: []string{"world.kubernetes.manifest"}, Cause: err}
	}
	return living.Away("Kubernetes", err)
}

// workload is a Deployment or a StatefulSet.
type workload struct {
	kind, name     string
	app            string // app.kubernetes.io/name
	wanted         int32
	ready, updated int32
	observed       bool // the numbers belong to the newest definition
	images         []string
	selector       map[string]string
}

func (w workload) state() tree.State {
	switch {
	case w.wanted > 0 && w.ready == 0:
		return tree.Bad
	case w.ready < w.wanted || w.updated < w.wanted || !w.observed || w.wanted == 0:
		return tree.Warn
	}
	return tree.Well
}

func workloads(o *cluster.Objects) []workload {
	var out []workload
	for _, d := range o.Deployments.Items {
		w := workload{kind: "Deployment", name: d.Name, app: d.Labels[nameLabel], wanted: 1, ready: d.Status.ReadyReplicas, updated: d.Status.UpdatedReplicas, observed: d.Status.ObservedGeneration >= d.Generation, images: images(d.Spec.Template.Spec)}
		if d.Spec.Replicas != nil {
			w.wanted = *d.Spec.Replicas
		}
		if d.Spec.Selector != nil {
			w.selector = d.Spec.Selector.MatchLabels
		}
		out = append(out, w)
	}
	for _, s := range o.StatefulSets.Items {
		w := workload{kind: "StatefulSet", name: s.Name, app: s.Labels[nameLabel], wanted: 1, ready: s.Status.ReadyReplicas, updated: s.Status.UpdatedReplicas, observed: s.Status.ObservedGeneration >= s.Generation, images: images(s.Spec.Template.Spec)}
		if s.Spec.Replicas != nil {
			w.wanted = *s.Spec.Replicas
		}
		if s.Spec.Selector != nil {
			w.selector = s.Spec.Selector.MatchLabels
		}
		out = append(out, w)
	}
	return out
}

// nameLabel is the label with a workload's name.
const nameLabel = "app.kubernetes.io/name"

func images(spec corev1.PodSpec) []string {
	out := make([]string, len(spec.Containers))
	for i, c := range spec.Containers {
		out[i] = c.Image
	}
	return out
}

// podsOf are those that a workload's selector chooses.
func podsOf(o *cluster.Objects, w workload) []corev1.Pod {
	var out []corev1.Pod
	for _, p := range o.Pods.Items {
		chosen := len(w.selector) > 0
		for k, v := range w.selector {
			chosen = chosen && p.Labels[k] == v
		}
		if chosen {
			out = append(out, p)
		}
	}
	return out
}

func restarts(pods []corev1.Pod) int32 {
	var n int32
	for _, p := range pods {
		for _, s := range p.Status.ContainerStatuses {
			n += s.RestartCount
		}
	}
	return n
}

// scaledBy is the autoscaler of a Deployment with its bounds; empty without one.
func scaledBy(o *cluster.Objects, w workload) (name string, least, most int32) {
	for _, a := range o.Autoscalers.Items {
		if a.Spec.ScaleTargetRef.Kind == w.kind && a.Spec.ScaleTargetRef.Name == w.name {
			least = 1
			if a.Spec.MinReplicas != nil {
				least = *a.Spec.MinReplicas
			}
			return a.Name, least, a.Spec.MaxReplicas
		}
	}
	return "", 0, 0
}

func seeKubernetes(ctx context.Context, from *living.Sources) (tree.Value, error) {
	_, o, err := look(ctx, from)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "Kubernetes, namespace " + o.Name, State: tree.Well, Table: &tree.Table{Columns: []tree.Column{
		{Name: "workload", Link: "world.kubernetes.deployments.{}"}, {Name: "kind"}, {Name: "ready"}, {Name: "wanted"}, {Name: "updated"}, {Name: "restarts"}, {Name: "scales"}, {Name: "image"}, {Name: "state"},
	}}}
	all, ready, total := workloads(o), 0, int32(0)
	for _, w := range all {
		n := restarts(podsOf(o, w))
		total += n
		if w.state() == tree.Well {
			ready++
		}
		v.State = worse(v.State, w.state())
		scales := any("")
		if name, least, most := scaledBy(o, w); name != "" {
			scales = fmt.Sprintf("%d to %d", least, most)
		}
		if o.Autoscalers.Err != nil {
			scales = nil
		}
		v.Table.Rows = append(v.Table.Rows, []any{w.name, w.kind, w.ready, w.wanted, w.updated, n, scales, strings.Join(w.images, ", "), w.state()})
	}
	v.Add("workloads", len(all), "").Add("ready", ready, "").Add("pods", len(o.Pods.Items), "").Add("restarts", total, "")
	if len(all) == 0 {
		v.State = tree.Bad
		v.Note("There is no workload in this namespace: is it the right one?")
	}
	if o.Autoscalers.Err != nil {
		v.Note("Autoscalers can't be read: " + o.Autoscalers.Err.Error())
	}
	v.Then("world.kubernetes.pods.manifest", "its pods, and why one is not ready")
	return v, nil
}
