package void

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/operate"
)

const (
	// quorum is how many servers a StatefulSet must have for one of them to be drawn:
	// of fewer, one is the only one that has the data.
	quorum = 3

	// healsWithin is how long a workload may take to be ready again before the fault
	// has shown something.
	healsWithin = 2 * time.Minute

	// lookEvery is how often it is looked at meanwhile.
	lookEvery = 2 * time.Second
)

// owner is a workload whose pods may be drawn.
type owner struct {
	kind, name    string
	wanted, ready int32
	selector      map[string]string
}

func (o owner) String() string { return o.kind + " " + o.name }

// owners are the Deployments, and the StatefulSets of quorum servers or more.
func owners(o *cluster.Objects) []owner {
	var out []owner
	add := func(kind, name string, replicas *int32, ready int32, s *metav1.LabelSelector) {
		w := owner{kind: kind, name: name, wanted: 1, ready: ready}
		if replicas != nil {
			w.wanted = *replicas
		}
		if s != nil {
			w.selector = s.MatchLabels
		}
		if kind == "Deployment" || w.wanted >= quorum {
			out = append(out, w)
		}
	}
	for _, d := range o.Deployments.Items {
		add("Deployment", d.Name, d.Spec.Replicas, d.Status.ReadyReplicas, d.Spec.Selector)
	}
	for _, s := range o.StatefulSets.Items {
		add("StatefulSet", s.Name, s.Spec.Replicas, s.Status.ReadyReplicas, s.Spec.Selector)
	}
	return out
}

// pods are an owner's that run.
func (w owner) pods(o *cluster.Objects) []corev1.Pod {
	var out []corev1.Pod
	for _, p := range o.Pods.Items {
		own := len(w.selector) > 0 && p.DeletionTimestamp.IsZero() && p.Status.Phase == corev1.PodRunning
		for k, v := range w.selector {
			own = own && p.Labels[k] == v
		}
		if own {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// look reads what runs, or says why that can't be read.
func look(ctx context.Context, client *cluster.Client) (*cluster.Objects, error) {
	o := client.Running(ctx)
	err := errors.Join(o.Pods.Err, o.Deployments.Err, o.StatefulSets.Err)
	return o, living.Away("Kubernetes", err)
}

// cluster is the client, on a namespace that says that it is staging.
func (v *view) staging(ctx context.Context) (*cluster.Client, error) {
	if v.from.Cluster == nil {
		return nil, noCluster()
	}
	client, err := v.from.Cluster()
	if errors.Is(err, cluster.ErrNone) || err == nil && client == nil {
		return nil, noCluster()
	}
	if err != nil {
		return nil, living.Away("Kubernetes", err)
	}
	if ok, why := operate.Staging(ctx, client); !ok {
		return nil, &agentese.Error{
			Kind: agentese.KindDeclined, What: "faults are made on staging and nowhere else", Why: why,
			Try: []string{"choose the namespace of staging"},
		}
	}
	return client, nil
}

func noCluster() error {
	return living.Absent("Kubernetes", "run it inside the cluster, or set KUBECONFIG; kgents up on one machine has none")
}

// fault plans the deletion of a random pod. Where anything is not ready already, there is
// fault enough.
func (v *view) fault(ctx context.Context, c *tree.Call) (*tree.Change, error) {
	if c.Observer < tree.Admin {
		return nil, &agentese.Error{
			Kind: agentese.KindDenied, What: "faults are not open to the observer " + c.Observer.String(), Why: "it needs admin", Try: []string{"/observer admin"},
		}
	}
	for _, key := range []string{"customer", "since", "n"} {
		if c.Args.Has(key) {
			return nil, &agentese.Error{Kind: agentese.KindClause, What: "[" + key + "=…] is for [of=events]: a fault is one pod", Try: []string{"void.entropy.sip[of=fault][dry_run]"}}
		}
	}
	seed, shown, err := seedOf(c.Args.Get("seed"))
	if err != nil {
		return nil, err
	}
	if err := affordable(c); err != nil {
		return nil, err
	}
	client, err := v.staging(ctx)
	if err != nil {
		return nil, err
	}
	o, err := look(ctx, client)
	if err != nil {
		return nil, err
	}
	type candidate struct {
		owner
		pod string
	}
	var all []candidate
	for _, w := range owners(o) {
		if w.ready < w.wanted {
			return nil, &agentese.Error{
				Kind: agentese.KindDeclined, What: fmt.Sprintf("%s has %d of %d ready, which is fault enough", w, w.ready, w.wanted),
				Try: []string{"world.kubernetes.manifest"},
			}
		}
		for _, p := range w.pods(o) {
			all = append(all, candidate{w, p.Name})
		}
	}
	if len(all) == 0 {
		return nil, &agentese.Error{Kind: agentese.KindDeclined, What: "no pod runs in namespace " + client.Namespace + " that could be drawn", Try: []string{"world.kubernetes.manifest"}}
	}
	drawn := all[rand.New(rand.NewChaCha8(seed)).IntN(len(all))]
	return &tree.Change{
		Does:    []string{fmt.Sprintf("delete pod %s of %s in namespace %s, one of %d, drawn with the seed %s", drawn.pod, drawn.owner, client.Namespace, len(all), shown)},
		Affects: 1,
		Warnings: []string{
			"Another run draws another pod: [seed=" + shown + "] draws from the same chance again.",
			fmt.Sprintf("It waits until %s is ready again, %s at most.", drawn.owner, healsWithin),
		},
		Do: func(ctx context.Context) (tree.Value, error) {
			// The label may have changed while the question stood.
			if _, err := v.staging(ctx); err != nil {
				return tree.Value{}, err
			}
			if err := pay(c); err != nil {
				return tree.Value{}, err
			}
			if err := operate.DeletePod(ctx, client, drawn.pod); err != nil {
				return tree.Value{}, living.Away("Kubernetes", err)
			}
			return healed(ctx, c, client, drawn.owner, drawn.pod)
		},
		Holds: func(ctx context.Context) error { return back(ctx, client, drawn.owner, drawn.pod) },
		Final: "a pod that is deleted is gone: its owner makes another",
	}, nil
}

// back is nil when all of an owner's pods are ready, and the deleted one isn't among
// them. A StatefulSet's new pod has the name of the old one, which is not ready at first.
func back(ctx context.Context, client *cluster.Client, w owner, deleted string) error {
	o, err := look(ctx, client)
	if err != nil {
		return err
	}
	for _, now := range owners(o) {
		if now.kind != w.kind || now.name != w.name {
			continue
		}
		// The pods tell sooner than the counts of their owner.
		ready := int32(0)
		for _, p := range now.pods(o) {
			if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				ready++
			}
		}
		if ready = min(ready, now.ready); ready < now.wanted {
			return fmt.Errorf("%s has %d of %d ready", w, ready, now.wanted)
		}
		for _, p := range o.Pods.Items {
			if p.Name == deleted && !p.DeletionTimestamp.IsZero() {
				return fmt.Errorf("pod %s is still ending", deleted)
			}
		}
		return nil
	}
	return fmt.Errorf("%s is not there any more", w)
}

// healed waits until the owner is ready again, and says how long that took.
func healed(ctx context.Context, c *tree.Call, client *cluster.Client, w owner, pod string) (tree.Value, error) {
	v := tree.Value{Title: "Pod " + pod + " was deleted", State: tree.Bad}
	v.Add("pod", pod, "").Add("of", w.String(), "").Add("namespace", client.Namespace, "")
	v.Then("world.alerts.manifest", "whether anybody was told")
	v.Then("world.openmeter.reconciliation.manifest", "whether anything is missing")
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, healsWithin)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-within.Done():
			if err := ctx.Err(); err != nil {
				return v, err
			}
			v.Add("ready again after", nil, "")
			v.Note(fmt.Sprintf("%s was not ready again within %s: that is what the fault has shown.", w, healsWithin))
			v.Then("world.kubernetes.pods.manifest", "why not")
			return v, nil
		case <-tick.C:
		}
		err := back(within, client, w, pod)
		if err == nil {
			v.State = tree.Well
			v.Add("ready again after", time.Since(began).Round(time.Second), "")
			return v, nil
		}
		if c.Session.Progress != nil && within.Err() == nil {
			c.Session.Progress(err.Error())
		}
	}
}
