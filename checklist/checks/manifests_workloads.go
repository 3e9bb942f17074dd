package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/reach"
)

// replicasSpread wants each NATS server on a node of its own, and the api on more than
// one.
func replicasSpread(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Pods.Err); f != nil {
		return *f
	}
	servers, apis := named(o, natsName), named(o, apiName)
	switch {
	case len(servers) == 0:
		return *nothing(o, "NATS pod runs")
	case len(apis) == 0:
		return *nothing(o, "pod of the api runs")
	}
	const next = "give the cluster a node for each NATS server, and delete the pod that shares one: its topologySpreadConstraints place it anew"
	for _, p := range slices.Concat(servers, apis) {
		if p.Spec.NodeName == "" {
			return checklist.Failed("pod "+p.Name+" is on no node", "kubectl describe pod "+p.Name+" says why")
		}
	}
	if len(servers) < 3 {
		return checklist.Failed(fmt.Sprintf("%s: %s; a quorum that outlives one needs 3", plural(len(servers), "NATS server"), names(servers)), "scale the StatefulSet nats to 3")
	}
	for node, on := range byNode(servers) {
		if len(on) > 1 {
			return checklist.Failed(fmt.Sprintf("%s are all on node %s", names(on), node), next)
		}
	}
	nodes := byNode(apis)
	if len(nodes) < 2 {
		return checklist.Failed(fmt.Sprintf("%s on one node: %s", plural(len(apis), "api"), names(apis)), "give the api two pods and the cluster two nodes, and delete one of the pods")
	}
	seen := fmt.Sprintf("%d NATS servers on %d nodes, %d apis on %d", len(servers), len(servers), len(apis), len(nodes))
	if o.Nodes.Err != nil {
		return checklist.Passed("%s", seen)
	}
	zones, known := map[string]bool{}, map[string]bool{}
	zone := map[string]string{}
	for _, n := range o.Nodes.Items {
		zone[n.Name] = n.Labels[corev1.LabelTopologyZone]
		known[n.Labels[corev1.LabelTopologyZone]] = true
	}
	for _, p := range servers {
		zones[zone[p.Spec.NodeName]] = true
	}
	if len(known) > 1 && len(zones) == 1 {
		return checklist.Warned(fmt.Sprintf("%s, but all servers are in one of %d zones", seen, len(known)), "spread nats over topology.kubernetes.io/zone as well")
	}
	return checklist.Passed("%s", seen)
}

func byNode(pods []*corev1.Pod) map[string][]*corev1.Pod {
	out := map[string][]*corev1.Pod{}
	for _, p := range pods {
		out[p.Spec.NodeName] = append(out[p.Spec.NodeName], p)
	}
	return out
}

// dataDir is where NATS and Redis write.
const dataDir = "/data"

// volumesBound wants each NATS and Redis pod to write to a claim that is bound and
// stays when the pod goes.
func volumesBound(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Pods.Err, o.StatefulSets.Err, o.Volumes.Err); f != nil {
		return *f
	}
	var wrong faults
	var seen []string
	for _, name := range []string{natsName, redisName} {
		pods := named(o, name)
		if len(pods) == 0 {
			return *nothing(o, "pod of "+name+" runs")
		}
		for _, p := range pods {
			claim := claimAt(p.Spec, dataDir)
			if claim == "" {
				wrong.add("pod "+p.Name, dataDir+" is no volume that outlives it")
				continue
			}
			v, err := o.Volumes.Named(claim)
			switch {
			case err != nil:
				wrong.add("pod "+p.Name, "its claim "+claim+" is not there")
			case v.DeletionTimestamp != nil:
				wrong.add("claim "+claim, "is being deleted")
			case v.Status.Phase != corev1.ClaimBound:
				wrong.add("claim "+claim, "is "+strings.ToLower(string(v.Status.Phase)))
			default:
				size := v.Status.Capacity[corev1.ResourceStorage]
				seen = append(seen, claim+" "+size.String())
			}
		}
		if s, err := o.StatefulSets.Named(name); err == nil {
			if r := s.Spec.PersistentVolumeClaimRetentionPolicy; r != nil &&
				(r.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType || r.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType) {
				wrong.add("StatefulSet "+name, "deletes its claims when it is deleted or scaled")
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "kubectl describe the claim; infra/k8s/manifests/nats and redis have volumeClaimTemplates that are retained")
	}
	return checklist.Passed("bound: %s", cut(strings.Join(seen, ", "), evidence-10))
}

// claimAt is the claim that is mounted at a directory, empty when none is.
func claimAt(spec corev1.PodSpec, dir string) string {
	for _, c := range spec.Containers {
		for _, m := range c.VolumeMounts {
			if m.MountPath != dir {
				continue
			}
			for _, v := range spec.Volumes {
				if v.Name == m.Name && v.PersistentVolumeClaim != nil {
					return v.PersistentVolumeClaim.ClaimName
				}
			}
		}
	}
	return ""
}

// disruptionBudgets wants each kind of two pods or more to lose one at a time, and no
// budget that lets none go.
func disruptionBudgets(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Pods.Err, o.Deployments.Err, o.StatefulSets.Err, o.Budgets.Err); f != nil {
		return *f
	}
	if len(o.Deployments.Items)+len(o.StatefulSets.Items) == 0 {
		return *nothing(o, "workload is")
	}
	var wrong faults
	guarded, used := 0, map[string]bool{}
	judge := func(who string, count int, set map[string]string) {
		budgets := 0
		for _, b := range o.Budgets.Items {
			if !reach.Selects(b.Spec.Selector, set) {
				continue
			}
			budgets++
			used[b.Name] = true
			most := 0
			switch {
			case b.Spec.MaxUnavailable != nil:
				most, _ = intstr.GetScaledValueFromIntOrPercent(b.Spec.MaxUnavailable, count, true)
			case b.Spec.MinAvailable != nil:
				least, _ := intstr.GetScaledValueFromIntOrPercent(b.Spec.MinAvailable, count, true)
				most = count - least
			}
			switch {
			case most <= 0:
				wrong.add(who, "budget "+b.Name+" lets no pod go, so a drain never ends")
			case most > 1:
				wrong.add(who, fmt.Sprintf("budget %s lets %d of %d pods go at once", b.Name, most, count))
			}
		}
		switch {
		case budgets == 0 && count > 1:
			wrong.add(who, fmt.Sprintf("no budget for its %d pods", count))
		case budgets > 1:
			wrong.add(who, "several budgets, with which no pod can be evicted")
		case budgets == 1:
			guarded++
		}
	}
	for _, d := range o.Deployments.Items {
		judge("Deployment "+d.Name, wantedOf(d.Spec.Replicas), d.Spec.Template.Labels)
	}
	for _, s := range o.StatefulSets.Items {
		judge("StatefulSet "+s.Name, wantedOf(s.Spec.Replicas), s.Spec.Template.Labels)
	}
	for _, b := range o.Budgets.Items {
		if !used[b.Name] {
			wrong.add("budget "+b.Name, "selects nothing")
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "deploy the PodDisruptionBudgets of infra/k8s: maxUnavailable 1 for each kind of two pods or more")
	}
	if guarded == 0 {
		return checklist.Failed("no workload has two pods or more, so a drain takes the only one", "scale the api to 2 and nats to 3")
	}
	return checklist.Passed("%s lose one pod at a time; %s with a single pod", plural(guarded, "workload"), plural(len(o.Deployments.Items)+len(o.StatefulSets.Items)-guarded, "other"))
}

// wantedOf is what Kubernetes takes an absent number for.
func wantedOf(n *int32) int {
	if n == nil {
		return 1
	}
	return int(*n)
}

// replicas wants two apis or more, now and at the autoscaler's least.
func replicas(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Deployments.Err, o.Autoscalers.Err); f != nil {
		return *f
	}
	d, err := o.Deployments.Named(apiName)
	if err != nil {
		return *nothing(o, "Deployment "+apiName+" is")
	}
	const next = "kubectl scale deployment " + apiName + " --replicas 2, or minReplicas 2 in its autoscaler"
	wanted, ready := wantedOf(d.Spec.Replicas), int(d.Status.ReadyReplicas)
	least := wanted
	for _, h := range o.Autoscalers.Items {
		if h.Spec.ScaleTargetRef.Kind == "Deployment" && h.Spec.ScaleTargetRef.Name == apiName {
			least = min(least, wantedOf(h.Spec.MinReplicas))
		}
	}
	switch {
	case wanted < 2:
		return checklist.Failed(fmt.Sprintf("the api is meant to have %s", plural(wanted, "pod")), next)
	case least < 2:
		return checklist.Failed(fmt.Sprintf("the api has %d pods, but its autoscaler may leave %d", wanted, least), next)
	case ready < wanted:
		return checklist.Failed(fmt.Sprintf("%d of %d pods of the api are ready", ready, wanted), "kubectl get pods -l "+nameLabel+"="+apiName+", and describe the one that is not ready")
	}
	return checklist.Passed("%d pods of the api are ready, of %d wanted; never fewer than %d", ready, wanted, least)
}

// restless is for how long after a restart a container isn't believed to be well.
const restless = time.Hour

// rolloutSettled wants every workload to have what it declares, and no container to
// have come back within the hour.
func rolloutSettled(o *cluster.Objects, now time.Time) checklist.Finding {
	if f := unread(o.Pods.Err, o.Deployments.Err, o.StatefulSets.Err, o.CronJobs.Err); f != nil {
		return *f
	}
	if len(o.Deployments.Items)+len(o.StatefulSets.Items) == 0 {
		return *nothing(o, "workload is")
	}
	var wrong faults
	judge := func(who string, wanted, ready, updated int32, seen bool) {
		switch {
		case !seen:
			wrong.add(who, "its newest definition isn't looked at yet")
		case updated < wanted:
			wrong.add(who, fmt.Sprintf("%d of %d pods are of the newest revision", updated, wanted))
		case ready < wanted:
			wrong.add(who, fmt.Sprintf("%d of %d pods are ready", ready, wanted))
		}
	}
	for _, d := range o.Deployments.Items {
		wanted := int32(wantedOf(d.Spec.Replicas))
		judge("Deployment "+d.Name, wanted, d.Status.ReadyReplicas, d.Status.UpdatedReplicas, d.Status.ObservedGeneration >= d.Generation)
		if d.Status.Replicas > wanted {
			wrong.add("Deployment "+d.Name, fmt.Sprintf("has %d pods, wants %d", d.Status.Replicas, wanted))
		}
		if d.Spec.Paused {
			wrong.add("Deployment "+d.Name, "its roll-out is paused")
		}
	}
	for _, s := range o.StatefulSets.Items {
		updated := s.Status.UpdatedReplicas
		if s.Status.CurrentRevision == s.Status.UpdateRevision && s.Status.CurrentRevision != "" {
			updated = max(updated, s.Status.CurrentReplicas)
		}
		judge("StatefulSet "+s.Name, int32(wantedOf(s.Spec.Replicas)), s.Status.ReadyReplicas, updated, s.Status.ObservedGeneration >= s.Generation)
	}
	for _, c := range o.CronJobs.Items {
		if yes(c.Spec.Suspend) {
			wrong.add("CronJob "+c.Name, "is suspended")
		}
	}
	pods := running(o)
	for _, p := range pods {
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			last := s.LastTerminationState.Terminated
			switch {
			case s.State.Waiting != nil && s.RestartCount > 0:
				wrong.add("pod "+p.Name, fmt.Sprintf("container %s is in %s", s.Name, s.State.Waiting.Reason))
			case last != nil && now.Sub(last.FinishedAt.Time) < restless:
				wrong.add("pod "+p.Name, fmt.Sprintf("container %s restarted %s ago (%s)", s.Name, now.Sub(last.FinishedAt.Time).Round(time.Minute), last.Reason))
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "kubectl describe the pod and kubectl logs --previous; the runbook's 'deploy failed' says more")
	}
	return checklist.Passed("%s as declared; none of %s restarted within the hour", plural(len(o.Deployments.Items)+len(o.StatefulSets.Items), "workload"), plural(len(pods), "pod"))
}
