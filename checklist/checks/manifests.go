package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
)

// lookTime bounds the reading of all objects of the namespace.
const lookTime = 30 * time.Second

// The names of the pods of an event's path, and what carries them.
const (
	nameLabel = "app.kubernetes.io/name"
	partLabel = "app.kubernetes.io/part-of"

	apiName   = "kgents-api"
	natsName  = "nats"
	redisName = "redis"
)

// manifests looks at the objects of Kubernetes as they are, not as they were written:
// each pod that runs, whoever made it or put a container into it.
type manifestArea struct{ *System }

func manifests(s *System) map[string]checklist.Check {
	m := &manifestArea{System: s}
	out := map[string]checklist.Check{
		"secrets-age":                m.secretsAge,
		"secrets-not-in-git":         m.notInGit,
		"secrets-not-in-configmaps":  m.over(m.notInConfigMaps),
		"secrets-not-in-environment": m.over(m.notInEnvironment),
		"logs-hold-no-secrets":       m.logsHoldNoSecrets,
		"dashboards-provisioned":     m.dashboard,
	}
	for id, judge := range map[string]func(*cluster.Objects) checklist.Finding{
		"secrets-unread-by-roles":      rolesReadNoSecrets,
		"service-account-tokens":       tokens,
		"network-default-deny":         defaultDeny,
		"network-policies-select-pods": policiesSelect,
		"nats-isolation":               natsIsolation,
		"ingress-rules":                ingressRules,
		"no-other-doors":               noOtherDoors,
		"replicas-spread":              replicasSpread,
		"volumes-bound":                volumesBound,
		"resource-limits":              resourceLimits,
		"disruption-budgets":           disruptionBudgets,
		"replicas":                     replicas,
		"pods-non-root":                podsNonRoot,
		"pods-read-only":               podsReadOnly,
		"pods-unprivileged":            podsUnprivileged,
		"pod-security-enforced":        podSecurity,
		"images-pinned":                imagesPinned,
		"rollout-settled":              func(o *cluster.Objects) checklist.Finding { return rolloutSettled(o, time.Now()) },
	} {
		out[id] = m.over(judge)
	}
	return out
}

// Objects are what is in the deployment's namespace, read once for a run; nil when no
// cluster is known.
func (s *System) Objects(ctx context.Context) *cluster.Objects {
	if s.Cluster == nil {
		return nil
	}
	o, _ := s.objects.get(ctx, lookTime, func(ctx context.Context) (*cluster.Objects, error) {
		return s.Cluster.Look(ctx), nil
	})
	return o
}

var noCluster = checklist.CannotTell("no cluster is known", "set KUBECONFIG, or --context and --namespace")

// over makes a check of what a pure function says of the objects.
func (m *manifestArea) over(judge func(*cluster.Objects) checklist.Finding) checklist.Check {
	return func(ctx context.Context) checklist.Finding {
		o := m.Objects(ctx)
		if o == nil {
			return noCluster
		}
		return judge(o)
	}
}

// unread is the finding when one of the parts that a check needs is not known, else
// nil.
func unread(errs ...error) *checklist.Finding {
	for _, err := range errs {
		if err == nil {
			continue
		}
		next := "look whether the Kubernetes API can be reached with this kubeconfig"
		if denied, ok := errors.AsType[*cluster.DeniedError](err); ok {
			next = "let this user get and list " + denied.What + ", or use another --context"
		}
		f := checklist.CannotTell(cut(err.Error(), evidence), next)
		return &f
	}
	return nil
}

// evidence bounds what is said of a finding, in characters.
const evidence = 200

// unit is a pod that runs, or the template that pods come of.
type unit struct {
	name   string // "pod nats-0", "CronJob kgents-verify"
	labels map[string]string
	spec   corev1.PodSpec
}

// ended says that no container of a pod will run again.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// running are the pods that have not ended, also those that are ending.
func running(o *cluster.Objects) (out []*corev1.Pod) {
	for i := range o.Pods.Items {
		if p := &o.Pods.Items[i]; !ended(p) {
			out = append(out, p)
		}
	}
	return out
}

// units are all pods that run and all that will: the templates of what makes pods. It
// has a finding of its own when they are not known, or when there is none.
func units(o *cluster.Objects) ([]unit, *checklist.Finding) {
	if f := unread(o.Pods.Err, o.Deployments.Err, o.StatefulSets.Err, o.CronJobs.Err); f != nil {
		return nil, f
	}
	var out []unit
	for _, p := range running(o) {
		out = append(out, unit{"pod " + p.Name, p.Labels, p.Spec})
	}
	pods := len(out)
	for _, d := range o.Deployments.Items {
		out = append(out, unit{"Deployment " + d.Name, d.Spec.Template.Labels, d.Spec.Template.Spec})
	}
	for _, s := range o.StatefulSets.Items {
		out = append(out, unit{"StatefulSet " + s.Name, s.Spec.Template.Labels, s.Spec.Template.Spec})
	}
	for _, c := range o.CronJobs.Items {
		out = append(out, unit{"CronJob " + c.Name, podsOf(c).Labels, podsOf(c).Spec})
	}
	if pods == 0 {
		return nil, nothing(o, "pod runs")
	}
	return out, nil
}

func podsOf(c batchv1.CronJob) corev1.PodTemplateSpec { return c.Spec.JobTemplate.Spec.Template }

// nothing is the finding for a namespace in which there is nothing to look at.
func nothing(o *cluster.Objects, what string) *checklist.Finding {
	f := checklist.CannotTell(fmt.Sprintf("no %s in namespace %s", what, o.Name), "name the deployment's namespace: --namespace")
	return &f
}

// named are the pods that run with this app.kubernetes.io/name, sorted by name.
func named(o *cluster.Objects, name string) (out []*corev1.Pod) {
	for _, p := range running(o) {
		if p.Labels[nameLabel] == name && p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// names of pods, for people.
func names(pods []*corev1.Pod) string {
	var out []string
	for _, p := range pods {
		out = append(out, p.Name)
	}
	return some(out)
}

// containers are all of a pod: before the others, beside them, and by `kubectl debug`.
func containers(spec corev1.PodSpec) []corev1.Container {
	out := slices.Concat(spec.InitContainers, spec.Containers)
	for _, e := range spec.EphemeralContainers {
		out = append(out, corev1.Container(e.EphemeralContainerCommon))
	}
	return out
}

// faults are what is wrong, each with all who have it.
type faults struct {
	order []string
	who   map[string][]string
}

func (f *faults) add(who, what string) {
	if f.who == nil {
		f.who = map[string][]string{}
	}
	if f.who[what] == nil {
		f.order = append(f.order, what)
	}
	if !slices.Contains(f.who[what], who) {
		f.who[what] = append(f.who[what], who)
	}
}

func (f *faults) any() bool { return len(f.order) > 0 }

// String is one line for people, bounded.
func (f *faults) String() string {
	var out []string
	for _, what := range f.order {
		out = append(out, some(f.who[what])+": "+what)
	}
	return cut(strings.Join(out, "; "), evidence)
}

// eachUnit judges every pod and template by itself.
func eachUnit(o *cluster.Objects, judge func(unit) []string, holds, next string) checklist.Finding {
	all, f := units(o)
	if f != nil {
		return *f
	}
	var wrong faults
	for _, u := range all {
		for _, what := range judge(u) {
			wrong.add(u.name, what)
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), next)
	}
	return checklist.Passed("%s: %s", counted(o, all), holds)
}

// counted says what was looked at.
func counted(o *cluster.Objects, all []unit) string {
	pods := len(running(o))
	return fmt.Sprintf("%s that run and %s", plural(pods, "pod"), plural(len(all)-pods, "template"))
}

// eachContainer judges every container of every pod by itself.
func eachContainer(o *cluster.Objects, judge func(corev1.PodSpec, corev1.Container) []string, holds, next string) checklist.Finding {
	return eachUnit(o, func(u unit) (out []string) {
		for _, c := range containers(u.spec) {
			for _, what := range judge(u.spec, c) {
				out = append(out, "container "+c.Name+" "+what)
			}
		}
		return out
	}, holds, next)
}
