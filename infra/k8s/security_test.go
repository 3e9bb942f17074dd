package k8s

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kgents/kgents/config"
)

// podRules are what every pod must keep. Each returns what is wrong.
var podRules = map[string]func(rendered, workload) []string{
	"runs without root": func(_ rendered, w workload) (out []string) {
		s := w.pod.Spec.SecurityContext
		if s == nil || !is(s.RunAsNonRoot) || s.RunAsUser == nil || *s.RunAsUser == 0 {
			out = append(out, "the pod may run as root")
		}
		if s == nil || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			out = append(out, "the pod has no seccomp profile")
		}
		if p := w.pod.Spec; p.HostNetwork || p.HostPID || p.HostIPC {
			out = append(out, "the pod shares a namespace of the host")
		}
		return out
	},
	"container is closed": func(_ rendered, w workload) (out []string) {
		for _, c := range containers(w) {
			s := c.SecurityContext
			if s == nil || !is(s.ReadOnlyRootFilesystem) || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
				is(s.Privileged) || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				out = append(out, "container "+c.Name+" is not closed")
			}
		}
		return out
	},
	"account of its own": func(r rendered, w workload) []string {
		if w.pod.Spec.ServiceAccountName != w.name {
			return []string{"the account is " + strconv.Quote(w.pod.Spec.ServiceAccountName)}
		}
		for _, a := range all[*corev1.ServiceAccount](r) {
			if a.Name == w.name && a.AutomountServiceAccountToken != nil && !*a.AutomountServiceAccountToken {
				return nil
			}
		}
		return []string{"its account is not there, or gives its token to every pod"}
	},
	"token only for verify": func(_ rendered, w workload) []string {
		if auto := w.pod.Spec.AutomountServiceAccountToken; auto == nil || *auto != (w.name == "kgents-verify") {
			return []string{"automountServiceAccountToken is not what it must be"}
		}
		return nil
	},
	"no links": func(_ rendered, w workload) []string {
		// A service's name becomes a variable, and some would look like settings.
		if w.pod.Spec.EnableServiceLinks == nil || *w.pod.Spec.EnableServiceLinks {
			return []string{"services become environment variables"}
		}
		return nil
	},
	"requests and limits": func(_ rendered, w workload) (out []string) {
		for _, c := range containers(w) {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
				if request.IsZero() || limit.IsZero() || request.Cmp(limit) > 0 {
					out = append(out, fmt.Sprintf("container %s: no sane request and limit of %s", c.Name, name))
				}
			}
			request, limit := c.Resources.Requests[corev1.ResourceMemory], c.Resources.Limits[corev1.ResourceMemory]
			if request.Cmp(limit) != 0 {
				out = append(out, "container "+c.Name+": memory that is not requested may be gone when it is needed")
			}
		}
		return out
	},
	"collector knows the limit": func(_ rendered, w workload) (out []string) {
		for _, c := range containers(w) {
			variable, low, high := "GOMEMLIMIT", 75, 85
			if w.name == "redis" {
				variable, low, high = "REDIS_MAXMEMORY", 70, 80
			}
			limit := c.Resources.Limits[corev1.ResourceMemory]
			part := int(100 * mebibytes(env(c)[variable]) << 20 / max(1, limit.Value()))
			if part < low || part > high {
				out = append(out, fmt.Sprintf("%s is %d %% of the limit, want %d to %d", variable, part, low, high))
			}
		}
		return out
	},
	"probes": func(_ rendered, w workload) []string {
		for _, c := range containers(w) {
			if !w.job && (c.StartupProbe == nil || c.ReadinessProbe == nil || c.LivenessProbe == nil) {
				return []string{"container " + c.Name + " lacks a probe"}
			}
		}
		return nil
	},
	"image is pinned": func(_ rendered, w workload) (out []string) {
		for _, c := range containers(w) {
			_, tag, _ := strings.Cut(c.Image[strings.LastIndex(c.Image, "/")+1:], ":")
			if tag == "" || tag == "latest" || !strings.Contains(c.Image, ".") {
				out = append(out, "image "+c.Image+" is not one of its own")
			}
			if c.ImagePullPolicy != corev1.PullIfNotPresent {
				out = append(out, "imagePullPolicy "+string(c.ImagePullPolicy))
			}
		}
		return out
	},
	"labels and selector": func(_ rendered, w workload) []string {
		out := labelProblems(w.pod.Labels)
		if w.pod.Labels["app.kubernetes.io/name"] != w.name {
			out = append(out, "the pods' name label is not the workload's")
		}
		if w.job {
			return out
		}
		// It can't be changed later, so it holds only what never changes.
		want := map[string]string{"app.kubernetes.io/name": w.name, "app.kubernetes.io/part-of": "kgents"}
		if !maps.Equal(w.selector.MatchLabels, want) || len(w.selector.MatchExpressions) > 0 {
			out = append(out, "the selector is not name and part-of")
		}
		return out
	},
	"survives a node": func(r rendered, w workload) (out []string) {
		if w.replicas < 2 {
			return nil
		}
		budgets := 0
		for _, b := range all[*policyv1.PodDisruptionBudget](r) {
			if matches(b.Spec.Selector, w.pod.Labels) {
				budgets++
				if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.String() != "1" {
					out = append(out, "the disruption budget lets more than one go, or none")
				}
			}
		}
		if budgets != 1 {
			out = append(out, fmt.Sprintf("%d disruption budgets", budgets))
		}
		for _, s := range w.pod.Spec.TopologySpreadConstraints {
			if s.TopologyKey == corev1.LabelHostname && s.MaxSkew == 1 && s.WhenUnsatisfiable == corev1.DoNotSchedule && matches(s.LabelSelector, w.pod.Labels) {
				return out
			}
		}
		return append(out, "the pods may all be on one node")
	},
	"secrets are files": func(_ rendered, w workload) (out []string) {
		for _, c := range containers(w) {
			for _, e := range c.Env {
				if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil || secretSetting(e.Name) {
					out = append(out, e.Name+" is a secret in the environment")
				}
			}
			for _, e := range c.EnvFrom {
				if e.SecretRef != nil {
					out = append(out, "Secret "+e.SecretRef.Name+" is in the environment")
				}
			}
		}
		for _, v := range w.pod.Spec.Volumes {
			var mode *int32
			switch {
			case v.Secret != nil:
				mode = v.Secret.DefaultMode
			case v.Projected != nil:
				mode = v.Projected.DefaultMode
			}
			secret := v.Secret != nil || v.Projected != nil
			if secret && (mode == nil || *mode != 0o440 || w.pod.Spec.SecurityContext == nil || w.pod.Spec.SecurityContext.FSGroup == nil) {
				out = append(out, "volume "+v.Name+" is not for the pod's group alone")
			}
			if v.HostPath != nil {
				out = append(out, "volume "+v.Name+" is of the host")
			}
			if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
				out = append(out, "volume "+v.Name+" has no bound")
			}
		}
		for _, c := range containers(w) {
			for _, m := range c.VolumeMounts {
				if strings.HasPrefix(m.MountPath, "/run/secrets/") && !m.ReadOnly {
					out = append(out, m.MountPath+" can be written")
				}
			}
		}
		return out
	},
	"mounted keys exist": func(r rendered, w workload) (out []string) {
		keys := r.keys()
		for ref, want := range mounted(w) {
			have, ok := keys[ref]
			for _, key := range want {
				if !slices.Contains(have, key) {
					out = append(out, fmt.Sprintf("%s has no key %q", ref, key))
				}
			}
			if !ok {
				out = append(out, ref+" is not made by anything")
			}
		}
		return out
	},
	"settings are known": func(_ rendered, w workload) (out []string) {
		return settingProblems(w)
	},
}

func TestPods(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, w := range r.workloads() {
			for rule, check := range podRules {
				for _, problem := range check(r, w) {
					t.Errorf("%s: %s: %s", w.id, rule, problem)
				}
			}
		}
	})
}

// TestPodRulesBite: each rule finds the mistake that it is for.
func TestPodRulesBite(t *testing.T) {
	container := func(f func(*corev1.Container)) func(*workload) {
		return func(w *workload) { f(&w.pod.Spec.Containers[0]) }
	}
	setEnv := func(e corev1.EnvVar) func(*workload) {
		return container(func(c *corev1.Container) { c.Env = append(c.Env, e) })
	}
	broken := map[string][]func(*workload){
		"runs without root":         {func(w *workload) { w.pod.Spec.SecurityContext.RunAsNonRoot = nil }, func(w *workload) { w.pod.Spec.HostNetwork = true }},
		"container is closed":       {container(func(c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = nil }), container(func(c *corev1.Container) { c.SecurityContext.Capabilities = nil })},
		"account of its own":        {func(w *workload) { w.pod.Spec.ServiceAccountName = "default" }},
		"token only for verify":     {func(w *workload) { w.pod.Spec.AutomountServiceAccountToken = nil }},
		"no links":                  {func(w *workload) { w.pod.Spec.EnableServiceLinks = nil }},
		"requests and limits":       {container(func(c *corev1.Container) { c.Resources.Limits = nil })},
		"collector knows the limit": {setEnv(corev1.EnvVar{Name: "GOMEMLIMIT", Value: "512MiB"})},
		"probes":                    {container(func(c *corev1.Container) { c.ReadinessProbe = nil })},
		"image is pinned": {
			container(func(c *corev1.Container) { c.Image = "ghcr.io/kgents/kgents" }),
			container(func(c *corev1.Container) { c.Image = "localhost:5000/kgents:latest" }),
		},
		"labels and selector": {func(w *workload) { w.selector.MatchLabels["app.kubernetes.io/version"] = "1" }, func(w *workload) { w.pod.Labels = nil }},
		"survives a node":     {func(w *workload) { w.pod.Spec.TopologySpreadConstraints = nil }},
		"secrets are files": {
			setEnv(corev1.EnvVar{Name: "REDIS_URL", Value: "redis://redis"}),
			func(w *workload) { *w.pod.Spec.Volumes[0].Projected.DefaultMode = 0o444 },
		},
		"mounted keys exist": {func(w *workload) { w.pod.Spec.Volumes[0].Projected.Sources[0].Secret.Items[0].Key = "KEY" }},
		"settings are known": {
			setEnv(corev1.EnvVar{Name: "NATS_SERVER", Value: "nats://nats:4222"}),
			setEnv(corev1.EnvVar{Name: "NATS_REPLICAS", Value: "2"}),
			setEnv(corev1.EnvVar{Name: "API_KEYS_FILE", Value: "/run/secrets/kgents/keys"}),
		},
	}
	for rule, check := range podRules {
		if len(broken[rule]) == 0 {
			t.Errorf("nothing breaks %q", rule)
		}
		for i, breakIt := range broken[rule] {
			r := render(t, "staging")
			for _, w := range r.workloads() {
				if w.name != "kgents-api" {
					continue
				}
				breakIt(&w)
				if len(check(r, w)) == 0 {
					t.Errorf("%q does not find mistake %d", rule, i)
				}
			}
		}
	}
}

// TestServicesReachPods: every service and Ingress leads to a port that is open.
func TestServicesReachPods(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		services := map[string]*corev1.Service{}
		for _, s := range all[*corev1.Service](r) {
			services[s.Name] = s
			for _, p := range s.Spec.Ports {
				reached := false
				for _, w := range r.workloads() {
					if labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.pod.Labels)) {
						reached = reached || slices.ContainsFunc(w.pod.Spec.Containers[0].Ports, func(c corev1.ContainerPort) bool {
							return c.Name == p.TargetPort.StrVal || c.ContainerPort == p.TargetPort.IntVal
						})
					}
				}
				if !reached || s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer {
					t.Errorf("service %s: port %s leads nowhere, or to the world", s.Name, p.Name)
				}
			}
		}
		public := map[string]string{}
		for _, in := range all[*networkingv1.Ingress](r) {
			for _, rule := range in.Spec.Rules {
				if len(in.Spec.TLS) != 1 || !slices.Contains(in.Spec.TLS[0].Hosts, rule.Host) {
					t.Errorf("host %s is without TLS", rule.Host)
				}
				for _, p := range rule.HTTP.Paths {
					public[p.Path] = string(*p.PathType)
					if b := p.Backend.Service; services[b.Name] == nil || services[b.Name].Spec.Ports[0].Name != b.Port.Name {
						t.Errorf("path %s leads to no service", p.Path)
					}
				}
			}
		}
		want := map[string]string{"/webhooks/stripe": "Exact", "/api/v1/": "Prefix", "/v1/": "Prefix", "/openapi.json": "Exact", "/health": "Exact"}
		if !maps.Equal(public, want) {
			t.Errorf("the public paths are %v, want %v", public, want)
		}
	})
}

// TestOnlyVerifyReadsKubernetes: nobody may write, nobody may read Secrets.
func TestOnlyVerifyReadsKubernetes(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		if n := len(all[*rbacv1.ClusterRole](r)) + len(all[*rbacv1.ClusterRoleBinding](r)); n > 0 {
			t.Errorf("%d roles are for the whole cluster", n)
		}
		for _, role := range all[*rbacv1.Role](r) {
			for _, rule := range role.Rules {
				for _, v := range slices.Concat(rule.Verbs, rule.Resources) {
					if !slices.Contains([]string{"get", "list", "pods", "deployments", "statefulsets"}, v) {
						t.Errorf("role %s may %s", role.Name, v)
					}
				}
			}
		}
		for _, b := range all[*rbacv1.RoleBinding](r) {
			want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "kgents-verify", Namespace: r.namespace}}
			if !slices.Equal(b.Subjects, want) {
				t.Errorf("binding %s is for %v", b.Name, b.Subjects)
			}
		}
	})
}

// TestPodSecurity: the namespace refuses what the rules above forbid.
func TestPodSecurity(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, mode := range []string{"enforce", "audit", "warn"} {
			if got := all[*corev1.Namespace](r)[0].Labels["pod-security.kubernetes.io/"+mode]; got != "restricted" {
				t.Errorf("%s is %q", mode, got)
			}
		}
	})
}

// secretSetting says whether the program takes name for a secret.
func secretSetting(name string) bool {
	return slices.ContainsFunc(config.Variables(), func(v config.Variable) bool { return v.Secret && v.Name == name })
}

func containers(w workload) []corev1.Container {
	return slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers)
}

// env is c's environment, as far as it is known here.
func env(c corev1.Container) map[string]string {
	out := map[string]string{}
	for _, e := range c.Env {
		out[e.Name] = e.Value
	}
	return out
}

func is(b *bool) bool { return b != nil && *b }

func matches(s *metav1.LabelSelector, set map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(set))
}

// mebibytes reads the sizes of Go's runtime and of Redis; 0 for any other.
func mebibytes(s string) int64 {
	number := strings.TrimSuffix(strings.TrimSuffix(s, "MiB"), "mb")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || number == s {
		return 0
	}
	return n
}
