package checks

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func init() { areas = append(areas, manifestRows) }

// broken is a change of the world that is well, and what is found then.
type broken struct {
	id, name, evidence string
	change             func(*world)
}

func manifestRows(t *testing.T) (rows []row) {
	all := podWorlds()
	for _, more := range [][]broken{networkWorlds(), workloadWorlds(), rightsWorlds(), secretWorlds(t), dashboardWorlds(t)} {
		all = append(all, more...)
	}
	// What is denied, and each check's first row, is by the real client; the other rows
	// don't pay for it.
	c := newClusters(t, len(all))
	for n, b := range all {
		if b.name != "passes" && !strings.HasPrefix(b.name, "cannot tell") && b.id != "logs-hold-no-secrets" {
			n = -1
		}
		rows = append(rows, row{b.id, b.name, func(t *testing.T) *System { return c.system(t, n, b.change) }, b.evidence})
	}
	for id, check := range manifests(&System{}) {
		if id != "secrets-not-in-git" && id != "secrets-age" && id != "dashboards-provisioned" && check != nil {
			rows = append(rows, row{id, "cannot tell: no cluster", func(*testing.T) *System { return &System{} }, "no cluster is known"})
		}
	}
	return append(rows, elsewhereRows(t)...)
}

// container changes the first container of the pods whose names begin so.
func container(prefix string, change func(*corev1.Container)) func(*world) {
	return func(w *world) { w.pods(prefix, func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }) }
}

func denied(resources ...string) func(*world) {
	return func(w *world) { w.Denied = resources }
}

func empty(w *world) { w.Pods = nil }

func podWorlds() []broken {
	sidecar := func(w *world) {
		w.pods("kgents-api", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh", Image: "mesh:1.2"})
		})
	}
	debug := func(w *world) {
		w.pods("nats-1", func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", Image: "busybox:1.36"}}}
		})
	}
	return []broken{
		{"pods-non-root", "passes", "9 pods that run and ", nil},
		{"pods-non-root", "fails: a user who is root", "pod nats-2: container nats runs as root", container("nats-2", func(c *corev1.Container) { c.SecurityContext.RunAsUser = new(int64(0)) })},
		{"pods-non-root", "fails: a pod that doesn't say", "pod redis-0: container redis may run as root", func(w *world) {
			w.pods("redis", func(p *corev1.Pod) { p.Spec.SecurityContext.RunAsNonRoot = nil })
		}},
		{"pods-non-root", "fails: a container that says otherwise", "may run as root", container("kgents-sink", func(c *corev1.Container) { c.SecurityContext.RunAsNonRoot = new(false) })},
		{"pods-non-root", "fails: the template of a job", "CronJob kgents-verify: container verify may run", func(w *world) {
			w.cronJob("kgents-verify").Spec.JobTemplate.Spec.Template.Spec.SecurityContext = nil
		}},
		{"pods-non-root", "cannot tell: pods are denied", "no permission to read pods", denied("pods")},
		{"pods-non-root", "cannot tell: another namespace", "no pod runs in namespace kgents-staging", empty},
		{"pods-read-only", "passes", "readOnlyRootFilesystem in every container", nil},
		{"pods-read-only", "fails: one may write", "kgents-meter-0: container meter can write", container("kgents-meter", func(c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = nil })},
		{"pods-read-only", "fails: an injected container", "container mesh can write", sidecar},
		{"pods-read-only", "fails: a container to debug", "container debugger can write", debug},
		{"pods-unprivileged", "passes", "no privilege, no capability", nil},
		{"pods-unprivileged", "fails: privileged", "container nats is privileged", container("nats-0", func(c *corev1.Container) { c.SecurityContext.Privileged = new(true) })},
		{"pods-unprivileged", "fails: can gain privileges", "can gain privileges", container("nats-0", func(c *corev1.Container) { c.SecurityContext.AllowPrivilegeEscalation = nil })},
		{"pods-unprivileged", "fails: keeps capabilities", "keeps capabilities", container("nats-0", func(c *corev1.Container) { c.SecurityContext.Capabilities = nil })},
		{"pods-unprivileged", "fails: adds a capability", "has the capability NET_ADMIN", container("nats-0", func(c *corev1.Container) {
			c.SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
		})},
		{"pods-unprivileged", "fails: no seccomp profile", "has no seccomp profile", func(w *world) {
			w.pods("nats-0", func(p *corev1.Pod) { p.Spec.SecurityContext.SeccompProfile = nil })
		}},
		{"pods-unprivileged", "fails: the node's files", "mounts /var/run of its node", func(w *world) {
			w.pods("nats-0", func(p *corev1.Pod) {
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "x", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/run"}}})
			})
		}},
		{"pods-unprivileged", "fails: the node's processes", "shares a namespace of its node", func(w *world) {
			w.pods("nats-0", func(p *corev1.Pod) { p.Spec.HostPID = true })
		}},
		{"pods-unprivileged", "fails: /proc unmasked", "/proc unmasked", container("nats-0", func(c *corev1.Container) { c.SecurityContext.ProcMount = new(corev1.UnmaskedProcMount) })},
		{"pod-security-enforced", "passes", "enforces restricted, of version v1.30", nil},
		{"pod-security-enforced", "fails: baseline", "enforces baseline", func(w *world) { w.Namespaces[0].Labels["pod-security.kubernetes.io/enforce"] = "baseline" }},
		{"pod-security-enforced", "fails: warns only", "enforces nothing", func(w *world) { delete(w.Namespaces[0].Labels, "pod-security.kubernetes.io/enforce") }},
		{"pod-security-enforced", "cannot tell: the namespace is denied", "no permission", denied(stagingNamespace)},
		{"images-pinned", "passes", "3 images, each with a version or a digest", nil},
		{"images-pinned", "fails: latest", "has a tag that moves", container("kgents-api", func(c *corev1.Container) { c.Image = "ghcr.io/kgents/kgents:latest" })},
		{"images-pinned", "fails: no tag, and a registry with a port", "has no version", container("kgents-api", func(c *corev1.Container) { c.Image = "registry:5000/kgents" })},
		{"images-pinned", "fails: one tag, two images", "is another one than in other pods", func(w *world) {
			w.pods("kgents-sink-5d8f7-1", func(p *corev1.Pod) { p.Status.ContainerStatuses[0].ImageID = "sha256:other" })
		}},
		{"images-pinned", "warns: a tag that is no version", "is no version", container("kgents-api", func(c *corev1.Container) { c.Image = "ghcr.io/kgents/kgents:staging" })},
		{"images-pinned", "cannot tell: pods are denied", "no permission", denied("pods")},
		{"resource-limits", "passes", "requests and limits of cpu and memory", nil},
		{"resource-limits", "fails: no limit of memory", "container nats has no limit of memory", container("nats-0", func(c *corev1.Container) { delete(c.Resources.Limits, corev1.ResourceMemory) })},
		{"resource-limits", "fails: no request", "has no request of cpu", container("redis", func(c *corev1.Container) { c.Resources.Requests = nil })},
		{"resource-limits", "fails: an injected container", "container mesh has no request", sidecar},
		{"resource-limits", "cannot tell: another namespace", "no pod runs", empty},
	}
}

func networkWorlds() []broken {
	open := func(name string, rule networkingv1.NetworkPolicyIngressRule) func(*world) {
		return func(w *world) {
			p := w.policy(name)
			p.Spec.Ingress = append(p.Spec.Ingress, rule)
		}
	}
	drop := func(name string) func(*world) {
		return func(w *world) {
			var left []networkingv1.NetworkPolicy
			for _, p := range w.NetworkPolicies {
				if p.Name != name {
					left = append(left, p)
				}
			}
			w.NetworkPolicies = left
		}
	}
	cidr := func(c string) []networkingv1.NetworkPolicyPeer {
		return []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: c}}}
	}
	at := func(port int32) []networkingv1.NetworkPolicyPort {
		return []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(port))}}
	}
	everyone := []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}
	ingress := func(change func(*networkingv1.Ingress)) func(*world) {
		return func(w *world) { change(&w.Ingresses[0]) }
	}
	service := func(change func(*corev1.Service)) func(*world) {
		return func(w *world) { change(&w.Services[0]) }
	}
	return []broken{
		{"network-default-deny", "passes", "only DNS is open", nil},
		{"network-default-deny", "fails: no policy at all", "there is no network policy", func(w *world) { w.NetworkPolicies = nil }},
		{"network-default-deny", "fails: the default is gone", "no policy for every pod denies ingress", drop("default-deny")},
		{"network-default-deny", "fails: a way out for all", "may reach", func(w *world) {
			p := w.policy("dns")
			p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: cidr("0.0.0.0/0"), Ports: at(443)})
		}},
		{"network-default-deny", "fails: a way in for all", "may reach a pod of no policy at 22", open("default-deny", networkingv1.NetworkPolicyIngressRule{From: everyone, Ports: at(22)})},
		{"network-default-deny", "fails: a rule without bounds", "policy redis: lets everybody in, at every port", open("redis", networkingv1.NetworkPolicyIngressRule{})},
		{"network-default-deny", "cannot tell: policies are denied", "no permission to read networkpolicies", denied("networkpolicies")},
		{"network-policies-select-pods", "passes", "and each of those has one of its own", nil},
		{"network-policies-select-pods", "fails: a label that nobody has", "no pod is selected by redis", func(w *world) { w.policy("redis").Spec.PodSelector.MatchLabels[nameLabel] = "reddis" }},
		{"network-policies-select-pods", "fails: its pods don't run", "no pod is selected by redis", func(w *world) { w.pods("redis", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }) }},
		{"network-policies-select-pods", "fails: a pod without a policy", "no policy of its own is for pod stranger", func(w *world) {
			w.Pods = append(w.Pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "stranger"}, Status: corev1.PodStatus{Phase: corev1.PodRunning}})
		}},
		{"network-policies-select-pods", "fails: no policy at all", "there is no network policy", func(w *world) { w.NetworkPolicies = nil }},
		{"network-policies-select-pods", "cannot tell: policies are denied", "no permission", denied("networkpolicies")},
		{"nats-isolation", "passes", "only those of kgents-api, kgents-sink, kgents-verify", nil},
		{"nats-isolation", "fails: monitoring is open", "at 8222", open("nats", networkingv1.NetworkPolicyIngressRule{From: everyone, Ports: at(8222)})},
		{"nats-isolation", "fails: a client may join the cluster", "may reach nats-0 at 6222", open("nats", networkingv1.NetworkPolicyIngressRule{
			From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{nameLabel: apiName}}}}, Ports: at(6222),
		})},
		{"nats-isolation", "fails: everybody in the namespace", "a pod without labels", open("nats", networkingv1.NetworkPolicyIngressRule{
			From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}, Ports: at(4222),
		})},
		{"nats-isolation", "fails: the internet", "the internet", open("nats", networkingv1.NetworkPolicyIngressRule{From: cidr("0.0.0.0/0"), Ports: at(4222)})},
		{"nats-isolation", "fails: no policy is about it", "may reach nats-0", func(w *world) { w.NetworkPolicies = nil }},
		{"nats-isolation", "cannot tell: no NATS", "no NATS pod runs", empty},
		{"ingress-rules", "passes", "kgents.staging.example.com with TLS, 5 routes", nil},
		{"ingress-rules", "fails: without TLS", "kgents.staging.example.com is without TLS", ingress(func(i *networkingv1.Ingress) { i.Spec.TLS = nil })},
		{"ingress-rules", "fails: metrics are public", "lets /metrics through", ingress(func(i *networkingv1.Ingress) {
			p := &i.Spec.Rules[0].HTTP.Paths[4]
			p.Path = "/metrics"
		})},
		{"ingress-rules", "fails: everything below", "/health is of type Prefix", ingress(func(i *networkingv1.Ingress) {
			i.Spec.Rules[0].HTTP.Paths[4].PathType = new(networkingv1.PathTypePrefix)
		})},
		{"ingress-rules", "fails: another service", "does not lead to Service kgents-api", ingress(func(i *networkingv1.Ingress) {
			i.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name = "kgents-sink"
		})},
		{"ingress-rules", "fails: a default backend", "default backend", ingress(func(i *networkingv1.Ingress) {
			i.Spec.DefaultBackend = &networkingv1.IngressBackend{}
		})},
		{"ingress-rules", "fails: every host", "for every host", ingress(func(i *networkingv1.Ingress) { i.Spec.Rules[0].Host = "" })},
		{"ingress-rules", "fails: plain text is allowed", "ssl-redirect is false", ingress(func(i *networkingv1.Ingress) {
			i.Annotations = map[string]string{"nginx.ingress.kubernetes.io/ssl-redirect": "false"}
		})},
		{"ingress-rules", "fails: no certificate", "Secret kgents-api-tls with its certificate is not there", func(w *world) { w.secret("kgents-api-tls").Name = "other" }},
		{"ingress-rules", "fails: a certificate for another host", "is not for kgents.staging.example.com", func(w *world) {
			w.Ingresses[0].Spec.TLS[0].SecretName = w.secret("nats-tls").Name
		}},
		{"ingress-rules", "cannot tell: no Ingress", "there is no Ingress", func(w *world) { w.Ingresses = nil }},
		{"ingress-rules", "cannot tell: Secrets are denied", "no permission to read secrets", denied("secrets")},
		{"no-other-doors", "passes", "of the cluster alone", nil},
		{"no-other-doors", "fails: a node's port", "is a NodePort", service(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort })},
		{"no-other-doors", "fails: a load balancer", "is a LoadBalancer", service(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })},
		{"no-other-doors", "fails: an external address", "has the external address 203.0.113.7", service(func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"203.0.113.7"} })},
		{"no-other-doors", "fails: a host port", "port 4222 of its node leads to container nats", container("nats-0", func(c *corev1.Container) { c.Ports[0].HostPort = 4222 })},
		{"no-other-doors", "fails: the node's network", "is in its node's network", func(w *world) { w.pods("redis", func(p *corev1.Pod) { p.Spec.HostNetwork = true }) }},
		{"no-other-doors", "cannot tell: services are denied", "no permission", denied("services")},
	}
}

func workloadWorlds() []broken {
	hour := func(ago time.Duration, reason string) func(*world) {
		return func(w *world) {
			w.pods("kgents-sink-5d8f7-0", func(p *corev1.Pod) {
				s := &p.Status.ContainerStatuses[0]
				s.RestartCount = 1
				s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: reason, FinishedAt: metav1.NewTime(time.Now().Add(-ago))}
			})
		}
	}
	return []broken{
		{"replicas-spread", "passes", "3 NATS servers on 3 nodes, 2 apis on 2", nil},
		{"replicas-spread", "passes: nodes are denied", "3 NATS servers on 3 nodes", denied("nodes")},
		{"replicas-spread", "fails: two servers on a node", "nats-0, nats-1 are all on node node-0", func(w *world) { w.pods("nats-1", func(p *corev1.Pod) { p.Spec.NodeName = "node-0" }) }},
		{"replicas-spread", "fails: the api on one node", "2 apis on one node", func(w *world) { w.pods("kgents-api", func(p *corev1.Pod) { p.Spec.NodeName = "node-1" }) }},
		{"replicas-spread", "fails: a pod without a node", "pod nats-2 is on no node", func(w *world) { w.pods("nats-2", func(p *corev1.Pod) { p.Spec.NodeName = "" }) }},
		{"replicas-spread", "fails: one server", "2 NATS servers", func(w *world) { w.pods("nats-2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }) }},
		{"replicas-spread", "warns: one zone", "all servers are in one of 2 zones", func(w *world) {
			for i := range w.Nodes {
				w.Nodes[i].Labels[corev1.LabelTopologyZone] = "a"
			}
			w.Nodes = append(w.Nodes, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-3", Labels: map[string]string{corev1.LabelTopologyZone: "b"}}})
		}},
		{"replicas-spread", "cannot tell: pods are denied", "no permission", denied("pods")},
		{"volumes-bound", "passes", "data-nats-0 2Gi, data-nats-1 2Gi, data-nats-2 2Gi, data-redis-0 2Gi", nil},
		{"volumes-bound", "fails: a directory of the pod", "pod redis-0: /data is no volume that outlives it", func(w *world) {
			w.pods("redis", func(p *corev1.Pod) {
				p.Spec.Volumes[len(p.Spec.Volumes)-1].VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
			})
		}},
		{"volumes-bound", "fails: a claim is pending", "is pending", func(w *world) { w.Volumes[0].Status.Phase = corev1.ClaimPending }},
		{"volumes-bound", "fails: a claim is missing", "is not there", func(w *world) { w.Volumes = w.Volumes[1:] }},
		{"volumes-bound", "fails: a claim is being deleted", "is being deleted", func(w *world) { w.Volumes[0].DeletionTimestamp = &metav1.Time{Time: time.Now()} }},
		{"volumes-bound", "fails: claims go with the set", "deletes its claims", func(w *world) {
			for i := range w.StatefulSets {
				if r := w.StatefulSets[i].Spec.PersistentVolumeClaimRetentionPolicy; r != nil {
					r.WhenScaled = "Delete"
				}
			}
		}},
		{"volumes-bound", "cannot tell: claims are denied", "no permission", denied("persistentvolumeclaims")},
		{"disruption-budgets", "passes", "3 workloads lose one pod at a time", nil},
		{"disruption-budgets", "fails: none for nats", "StatefulSet nats: no budget for its 3 pods", func(w *world) {
			var left = w.Budgets[:0]
			for _, b := range w.Budgets {
				if b.Name != natsName {
					left = append(left, b)
				}
			}
			w.Budgets = left
		}},
		{"disruption-budgets", "fails: two at once", "lets 2 of 3 pods go at once", func(w *world) {
			for i := range w.Budgets {
				if w.Budgets[i].Name == natsName {
					w.Budgets[i].Spec.MaxUnavailable = new(intstr.FromString("60%"))
				}
			}
		}},
		{"disruption-budgets", "fails: none may go", "lets no pod go", func(w *world) { w.Budgets[0].Spec.MaxUnavailable = new(intstr.FromInt32(0)) }},
		{"disruption-budgets", "fails: two budgets", "several budgets", func(w *world) {
			second := *w.Budgets[0].DeepCopy()
			second.Name = "second"
			w.Budgets = append(w.Budgets, second)
		}},
		{"disruption-budgets", "fails: it selects nothing", "selects nothing", func(w *world) {
			other := *w.Budgets[0].DeepCopy()
			other.Name, other.Spec.Selector = "other", &metav1.LabelSelector{MatchLabels: map[string]string{"app": "gone"}}
			w.Budgets = append(w.Budgets, other)
		}},
		{"disruption-budgets", "cannot tell: budgets are denied", "no permission", denied("poddisruptionbudgets")},
		{"replicas", "passes", "2 pods of the api are ready", nil},
		{"replicas", "fails: one is wanted", "meant to have 1 pod", func(w *world) {
			for i := range w.Deployments {
				w.Deployments[i].Spec.Replicas = new(int32(1))
			}
		}},
		{"replicas", "fails: the autoscaler may leave one", "its autoscaler may leave 1", func(w *world) { w.Autoscalers[0].Spec.MinReplicas = nil }},
		{"replicas", "fails: one is not ready", "1 of 2 pods of the api are ready", func(w *world) {
			for i := range w.Deployments {
				w.Deployments[i].Status.ReadyReplicas = 1
			}
		}},
		{"replicas", "cannot tell: no api", "no Deployment kgents-api", func(w *world) { w.Deployments = nil }},
		{"rollout-settled", "passes", "5 workloads as declared", nil},
		{"rollout-settled", "passes: a restart long ago", "none of 9 pods restarted", hour(2*time.Hour, "OOMKilled")},
		{"rollout-settled", "fails: a restart within the hour", "container sink restarted 20m0s ago (OOMKilled)", hour(20*time.Minute, "OOMKilled")},
		{"rollout-settled", "fails: a crash loop", "container sink is in CrashLoopBackOff", func(w *world) {
			w.pods("kgents-sink-5d8f7-0", func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].RestartCount = 3
				p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			})
		}},
		{"rollout-settled", "fails: an old revision", "1 of 2 pods are of the newest revision", func(w *world) {
			for i := range w.Deployments {
				w.Deployments[i].Status.UpdatedReplicas = 1
			}
		}},
		{"rollout-settled", "fails: a server is not ready", "StatefulSet nats: 2 of 3 pods are ready", func(w *world) {
			for i := range w.StatefulSets {
				if w.StatefulSets[i].Name == natsName {
					w.StatefulSets[i].Status.ReadyReplicas = 2
				}
			}
		}},
		{"rollout-settled", "fails: not looked at yet", "isn't looked at yet", func(w *world) { w.StatefulSets[0].Generation = 2 }},
		{"rollout-settled", "fails: a paused roll-out", "is paused", func(w *world) { w.Deployments[0].Spec.Paused = true }},
		{"rollout-settled", "fails: a suspended job", "CronJob kgents-verify: is suspended", func(w *world) { w.cronJob("kgents-verify").Spec.Suspend = new(true) }},
		{"rollout-settled", "cannot tell: workloads are denied", "no permission", denied("statefulsets")},
	}
}

func rightsWorlds() []broken {
	rule := func(verbs, resources string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Verbs: []string{verbs}, Resources: []string{resources}}
	}
	may := func(verb, resource string) func(*world) {
		return func(w *world) { w.Roles[0].Rules = append(w.Roles[0].Rules, rule(verb, resource)) }
	}
	admin := func(s rbacv1.Subject) func(*world) {
		return func(w *world) { w.ClusterBindings = append(w.ClusterBindings, binding("too-much", "cluster-admin", s)) }
	}
	return []broken{
		{"secrets-unread-by-roles", "passes", "none reads Secrets, none has a wildcard", nil},
		{"secrets-unread-by-roles", "fails: a role reads Secrets", "Role kgents-verify: it may read Secrets", may("list", "secrets")},
		{"secrets-unread-by-roles", "fails: any verb", "it has a wildcard", may("*", "pods")},
		{"secrets-unread-by-roles", "fails: any resource", "it has a wildcard", may("get", "*")},
		{"secrets-unread-by-roles", "fails: a role enters pods", "it may enter pods (pods/exec)", may("create", "pods/exec")},
		{"secrets-unread-by-roles", "fails: a role makes pods", "it may make deployments", may("patch", "deployments")},
		{"secrets-unread-by-roles", "fails: a role makes tokens", "it may make tokens", may("create", "serviceaccounts/token")},
		{"secrets-unread-by-roles", "fails: an account is the cluster's admin", "ClusterRoleBinding too-much: gives our pods ClusterRole cluster-admin: it has a wildcard", admin(rbacv1.Subject{Kind: "ServiceAccount", Name: "kgents-verify", Namespace: stagingNamespace})},
		{"secrets-unread-by-roles", "fails: all accounts are", "cluster-admin", admin(rbacv1.Subject{Kind: "Group", Name: "system:serviceaccounts"})},
		{"secrets-unread-by-roles", "passes: an operator is", "none reads Secrets", admin(rbacv1.Subject{Kind: "User", Name: "alice"})},
		{"secrets-unread-by-roles", "fails: a role of the cluster in the namespace", "RoleBinding kgents-verify", func(w *world) {
			w.Bindings[0].RoleRef = rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"}
		}},
		{"secrets-unread-by-roles", "cannot tell: bindings of the cluster are denied", "no permission to read clusterrolebindings", denied("clusterrolebindings")},
		{"service-account-tokens", "passes", "only kgents-verify carries a token", nil},
		{"service-account-tokens", "fails: a pod carries one", "pod nats-0: carries a token, and its account nats has no role", func(w *world) {
			w.pods("nats-0", func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) })
		}},
		{"service-account-tokens", "fails: one was put in", "carries a token", func(w *world) {
			w.pods("redis", func(p *corev1.Pod) {
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
					Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}},
				}}})
			})
		}},
		{"service-account-tokens", "passes: a token for a vault", "only kgents-verify", func(w *world) {
			w.pods("redis", func(p *corev1.Pod) {
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
					Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "vault"}}},
				}}})
			})
		}},
		{"service-account-tokens", "fails: neither pod nor account says no", "carries a token", func(w *world) {
			w.pods("redis", func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken, p.Spec.ServiceAccountName = nil, "redis" })
			for i := range w.Accounts {
				w.Accounts[i].AutomountServiceAccountToken = nil
			}
		}},
		{"service-account-tokens", "fails: a token that never ends", "is a token that never ends", func(w *world) {
			w.secret("nats-api").Type = corev1.SecretTypeServiceAccountToken
		}},
		{"service-account-tokens", "cannot tell: accounts are denied", "no permission", denied("serviceaccounts")},
	}
}
