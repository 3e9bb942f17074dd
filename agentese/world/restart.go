package world

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/operate"
)

// longestWait bounds how long a restart is waited for.
const longestWait = 30 * time.Minute

// rolling is how the pods of a workload are replaced.
type rolling struct {
	pods     int    // how many
	how      string // in which order, and how many at once
	stays    string // why none would be; empty: they are
	warnings []string
	labels   labels.Set // of the pods
}

func rollingOf(o *cluster.Objects, w workload) (rolling, error) {
	if w.kind == "Deployment" {
		d, err := o.Deployments.Named(w.name)
		if err != nil {
			return rolling{}, kubernetesAway(err)
		}
		return rollingDeployment(*d, w), nil
	}
	s, err := o.StatefulSets.Named(w.name)
	if err != nil {
		return rolling{}, kubernetesAway(err)
	}
	return rollingSet(*s, w), nil
}

func rollingDeployment(d appsv1.Deployment, w workload) rolling {
	r := rolling{pods: int(w.wanted), labels: d.Spec.Template.Labels}
	if d.Spec.Paused {
		r.stays = "its rollout is paused; kubectl rollout resume lets it go on"
		return r
	}
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		r.how = "all at once: every pod ends before the first new one is made (Recreate)"
		r.warnings = append(r.warnings, "Nothing of "+w.name+" runs until new pods are ready.")
		return r
	}
	// What Kubernetes takes absent numbers for.
	surge, away := intstr.FromString("25%"), intstr.FromString("25%")
	if u := d.Spec.Strategy.RollingUpdate; u != nil {
		if u.MaxSurge != nil {
			surge = *u.MaxSurge
		}
		if u.MaxUnavailable != nil {
			away = *u.MaxUnavailable
		}
	}
	more, _ := intstr.GetScaledValueFromIntOrPercent(&surge, r.pods, true)
	fewer, _ := intstr.GetScaledValueFromIntOrPercent(&away, r.pods, false)
	if more == 0 && fewer == 0 {
		fewer = 1
	}
	if fewer == 0 {
		r.how = fmt.Sprintf("%d at a time: an old pod ends when a new one is ready (RollingUpdate, maxSurge %s, maxUnavailable %s)", more, surge.String(), away.String())
		return r
	}
	r.how = fmt.Sprintf("at most %d more than %d at a time, and at most %d of them not ready (RollingUpdate, maxSurge %s, maxUnavailable %s)", more, r.pods, fewer, surge.String(), away.String())
	if fewer >= r.pods {
		r.warnings = append(r.warnings, "All pods of "+w.name+" may be away at once.")
	}
	return r
}

func rollingSet(s appsv1.StatefulSet, w workload) rolling {
	r := rolling{pods: int(w.wanted), labels: s.Spec.Template.Labels}
	if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		r.stays = "its pods are replaced only when they are deleted (OnDelete)"
		return r
	}
	first := int32(0)
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		first = *u.Partition
	}
	r.pods = int(max(0, w.wanted-first))
	switch {
	case r.pods == 0:
		r.stays = fmt.Sprintf("none of its pods has a number from %d on (partition)", first)
	case w.wanted == 1:
		r.how = "its one pod ends, and is made anew with its volume"
		r.warnings = append(r.warnings, "Nothing of "+w.name+" runs until the new pod is ready.")
	default:
		r.how = fmt.Sprintf("one at a time, from %s-%d down to %s-%d, each when the one before is ready (RollingUpdate)", w.name, w.wanted-1, w.name, first)
	}
	if w.wanted > 1 && w.ready < w.wanted {
		r.warnings = append(r.warnings, fmt.Sprintf("Only %d of %d are ready, and one that is ready may be the first to end: that can cost the majority.", w.ready, w.wanted))
	}
	return r
}

// budgetOf says which disruption budget covers pods, and what it lets be away.
func budgetOf(ctx context.Context, client *cluster.Client, pods labels.Set) (line, warning string) {
	budgets, err := client.Budgets(ctx)
	if err != nil {
		return "", "Disruption budgets can't be read: " + err.Error()
	}
	for _, b := range budgets {
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil || selector.Empty() || !selector.Matches(pods) {
			continue
		}
		bound := "no"
		switch {
		case b.Spec.MaxUnavailable != nil:
			bound = "at most " + b.Spec.MaxUnavailable.String() + " unavailable"
		case b.Spec.MinAvailable != nil:
			bound = "at least " + b.Spec.MinAvailable.String() + " available"
		}
		if b.Status.DisruptionsAllowed == 0 {
			warning = "The disruption budget " + b.Name + " lets none be away now: not all is well. A restart doesn't ask it."
		}
		return fmt.Sprintf("its disruption budget %s wants %s, and lets %d be away now; a restart keeps to the strategy, not to the budget", b.Name, bound, b.Status.DisruptionsAllowed), warning
	}
	return "no disruption budget covers it", ""
}

// standing is how a workload stands now.
func standing(ctx context.Context, client *cluster.Client, w workload) (cluster.Workload, error) {
	if w.kind == "Deployment" {
		now, err := client.Deployment(ctx, w.name)
		return now, kubernetesAway(err)
	}
	now, err := client.StatefulSet(ctx, w.name)
	return now, kubernetesAway(err)
}

// finalSet is why a StatefulSet's restart is not undone: Kubernetes itself waits for the
// pod that doesn't become ready, whatever the template says by then.
const finalSet = "a pod that has ended is not had back, and a StatefulSet waits for the one that doesn't become ready"

func restart(ctx context.Context, from *living.Sources, c *tree.Call) (*tree.Change, error) {
	if c.Args.Has("replicas") {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause replicas is for [do=scale]", Why: "a restart leaves their number as it is"}
	}
	client, o, w, err := findWorkload(ctx, from, c.Name("workload"))
	if err != nil {
		return nil, err
	}
	if w.wanted == 0 {
		return &tree.Change{Nothing: true, Does: []string{w.name + " is scaled to 0: nothing of it runs that could be restarted."}}, nil
	}
	r, err := rollingOf(o, w)
	if err != nil {
		return nil, err
	}
	if r.stays != "" {
		return nil, &agentese.Error{Kind: agentese.KindDeclined, What: "a restart of " + w.name + " would replace no pod", Why: r.stays, Try: []string{c.Path + ".manifest"}}
	}
	before, err := standing(ctx, client, w)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range podsOf(o, w) {
		names = append(names, p.Name)
	}
	change := &tree.Change{
		Does:    []string{fmt.Sprintf("restart %s %s in %s: %s of it replaced by new ones of the same image", w.kind, w.name, o.Name, howMany(r.pods, "pod"))},
		Affects: r.pods, Warnings: r.warnings, Within: c.Args.Duration("wait"),
	}
	if len(names) > 0 {
		change.Does = append(change.Does, "its pods now: "+strings.Join(names[:min(len(names), 10)], ", "))
		if len(names) > 10 {
			change.Does[1] += fmt.Sprintf(" and %d more", len(names)-10)
		}
	}
	change.Does = append(change.Does, r.how)
	line, warning := budgetOf(ctx, client, r.labels)
	if line != "" {
		change.Does = append(change.Does, line)
	}
	if warning != "" {
		change.Warnings = append(change.Warnings, warning)
	}
	if before.Updated < r.pods || !before.Observed || before.Pods > before.Wanted {
		change.Warnings = append(change.Warnings, fmt.Sprintf("A rollout is under way, with %d of %d of the newest revision: this begins it anew.", before.Updated, r.pods))
	}
	var stamp string
	change.Do = func(ctx context.Context) (tree.Value, error) {
		// Another may have restarted it while the question stood.
		now, err := standing(ctx, client, w)
		if err != nil {
			return tree.Value{}, err
		}
		if now.Restarted != before.Restarted {
			return tree.Value{}, restarted(c, w, now)
		}
		stamp = c.Now().UTC().Format(time.RFC3339)
		if err := operate.Restart(ctx, client, w.kind, w.name, stamp); err != nil {
			return tree.Value{}, kubernetesAway(err)
		}
		v := tree.Value{Title: w.name + " restarts"}
		if _, o, now, err := findWorkload(ctx, from, w.name); err == nil {
			v = showWorkload(c, o, now)
			v.Title = w.kind + " " + w.name + " restarts"
			v.Next = nil
		}
		v.Then(c.Path+".manifest", "how far it is")
		return v, nil
	}
	change.Holds = func(ctx context.Context) error {
		now, err := standing(ctx, client, w)
		switch {
		case err != nil:
			return err
		case now.Restarted != stamp:
			return fmt.Errorf("something else has restarted it")
		}
		need := now.Wanted - (int(w.wanted) - r.pods) // less those that a partition keeps
		if !now.Observed || now.Updated < need || now.Pods > now.Wanted || now.Ready < now.Wanted {
			return fmt.Errorf("%d of %d pods are new, and %d of %d ready", min(now.Updated, need), need, now.Ready, now.Wanted)
		}
		return nil
	}
	if w.kind != "Deployment" {
		change.Final = finalSet
		return change, nil
	}
	change.Undo = func(ctx context.Context) error {
		now, err := standing(ctx, client, w)
		switch {
		case err != nil:
			return err
		case now.Restarted == before.Restarted:
			return nil
		case now.Restarted != stamp:
			return restarted(c, w, now)
		}
		// Pods that were not replaced yet stay; those that were are replaced once more.
		return kubernetesAway(operate.Restart(ctx, client, w.kind, w.name, before.Restarted))
	}
	return change, nil
}

// restarted is that another has restarted a workload meanwhile, which is left alone.
func restarted(c *tree.Call, w workload, now cluster.Workload) error {
	why := "its template was set back"
	if now.Restarted != "" {
		why = "at " + now.Restarted
	}
	return &agentese.Error{Kind: agentese.KindDeclined, What: w.name + " was restarted by another meanwhile, and is left so", Why: why, Try: []string{c.Path + ".manifest"}}
}

// howMany is a number with what it counts.
func howMany(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
