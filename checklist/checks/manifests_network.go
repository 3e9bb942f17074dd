package checks

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/reach"
)

const applyPolicies = "kubectl apply -k the overlay: infra/k8s/manifests/network-policies has them"

// strangers are who must not reach anything, beside the pods of the namespace.
func strangers(namespace string) []reach.End {
	outside := func(name, address string) reach.End {
		return reach.End{Name: name, Address: netip.MustParseAddr(address)}
	}
	return []reach.End{
		{Name: "a pod without labels", Namespace: namespace},
		{Name: "a stranger's pod in the namespace", Namespace: namespace, Labels: map[string]string{"app": "stranger"}},
		{Name: "a pod of another namespace", Namespace: elsewhere},
		{Name: "an api of another namespace", Namespace: elsewhere, Labels: map[string]string{nameLabel: apiName, partLabel: "kgents"}},
		{Name: "a nats of another namespace", Namespace: elsewhere, Labels: map[string]string{nameLabel: natsName, partLabel: "kgents"}},
		outside("the private network", "10.20.30.40"),
		outside("the internet", "198.51.100.7"),
		outside("the internet (IPv6)", "2001:db8::7"),
		outside("the cloud's metadata service", "169.254.169.254"),
	}
}

// elsewhere is a namespace that is no deployment's.
const elsewhere = "checklist-elsewhere"

// triedPorts are those that are tried: what the deployment listens on and what the world
// does, every port that a policy or a pod names, and one that nobody knows.
func triedPorts(o *cluster.Objects) []reach.Port {
	numbers := map[int32]bool{}
	for _, n := range []int32{1, 22, 53, 80, 443, 4222, 5432, 6222, 6379, 6443, 7422, 8000, 8080, 8222, 8443, 10250, 31999} {
		numbers[n] = true
	}
	note := func(listed []networkingv1.NetworkPolicyPort) {
		for _, p := range listed {
			if p.Port != nil && p.Port.IntVal > 0 {
				numbers[p.Port.IntVal] = true
			}
		}
	}
	for _, p := range o.NetworkPolicies.Items {
		for _, r := range p.Spec.Ingress {
			note(r.Ports)
		}
		for _, r := range p.Spec.Egress {
			note(r.Ports)
		}
	}
	for _, p := range o.Pods.Items {
		for _, c := range containers(p.Spec) {
			for _, port := range c.Ports {
				numbers[port.ContainerPort] = true
			}
		}
	}
	var out []reach.Port
	for n := range numbers {
		out = append(out, reach.TCP(n), reach.Port{Number: n, Protocol: corev1.ProtocolUDP})
	}
	slices.SortFunc(out, func(a, b reach.Port) int {
		if a.Number != b.Number {
			return int(a.Number - b.Number)
		}
		return strings.Compare(string(a.Protocol), string(b.Protocol))
	})
	return out
}

// defaultDeny asks what a pod that no policy is meant for may do: ask for names, and
// nothing else. It also wants no pod that runs to be open in a direction.
func defaultDeny(o *cluster.Objects) checklist.Finding {
	if f := unread(o.NetworkPolicies.Err, o.Pods.Err); f != nil {
		return *f
	}
	policies := o.NetworkPolicies.Items
	if len(policies) == 0 {
		return checklist.Failed("there is no network policy in namespace "+o.Name, applyPolicies)
	}
	var wrong faults
	for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress} {
		if !slices.ContainsFunc(policies, func(p networkingv1.NetworkPolicy) bool {
			return everyPod(p) && reach.IsAbout(p, direction)
		}) {
			wrong.add("namespace "+o.Name, "no policy for every pod denies "+strings.ToLower(string(direction)))
		}
	}
	for _, p := range policies {
		for _, r := range p.Spec.Ingress {
			if len(r.From) == 0 && len(r.Ports) == 0 {
				wrong.add("policy "+p.Name, "lets everybody in, at every port")
			}
		}
		for _, r := range p.Spec.Egress {
			if len(r.To) == 0 && len(r.Ports) == 0 {
				wrong.add("policy "+p.Name, "lets its pods out to everywhere")
			}
		}
	}
	tried := 0
	if !wrong.any() {
		nobody := reach.End{Name: "a pod of no policy", Namespace: o.Name, Labels: map[string]string{"app": "checklist"}}
		for _, other := range strangers(o.Name) {
			for _, port := range triedPorts(o) {
				tried += 2
				if reach.MayEnter(policies, other, nobody, port) {
					wrong.add(other.Name, fmt.Sprintf("may reach %s at %d", nobody.Name, port.Number))
				}
				if port.Number != 53 && reach.MayLeave(policies, nobody, other, port) {
					wrong.add(nobody.Name, fmt.Sprintf("may reach %s at %d", other.Name, port.Number))
				}
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), applyPolicies)
	}
	return checklist.Passed("both directions are denied: of %d ways in and out of a pod that no policy is meant for only DNS is open", tried)
}

func everyPod(p networkingv1.NetworkPolicy) bool {
	return len(p.Spec.PodSelector.MatchLabels) == 0 && len(p.Spec.PodSelector.MatchExpressions) == 0
}

// policiesSelect wants each policy to be about a pod that runs, or about the pods of a
// CronJob, which come and go.
func policiesSelect(o *cluster.Objects) checklist.Finding {
	all, f := units(o)
	if f != nil {
		return *f
	}
	if f := unread(o.NetworkPolicies.Err); f != nil {
		return *f
	}
	if len(o.NetworkPolicies.Items) == 0 {
		return checklist.Failed("there is no network policy in namespace "+o.Name, applyPolicies)
	}
	all = slices.DeleteFunc(all, func(u unit) bool {
		return !strings.HasPrefix(u.name, "pod ") && !strings.HasPrefix(u.name, "CronJob ")
	})
	var idle, bare []string
	chosen := map[string]bool{}
	for _, p := range o.NetworkPolicies.Items {
		selects := false
		for _, u := range all {
			if !reach.Selects(&p.Spec.PodSelector, u.labels) {
				continue
			}
			selects = true
			chosen[u.name] = chosen[u.name] || !everyPod(p)
		}
		if !selects {
			idle = append(idle, p.Name)
		}
	}
	for _, u := range all {
		if !chosen[u.name] {
			bare = append(bare, u.name)
		}
	}
	switch {
	case len(idle) > 0:
		return checklist.Failed(cut("no pod is selected by "+some(idle), evidence), "compare the policy's labels with kubectl get pods --show-labels, or delete it")
	case len(bare) > 0:
		return checklist.Failed(cut("no policy of its own is for "+some(bare), evidence), "is it ours? then add a policy for it; else delete it")
	}
	return checklist.Passed("each of %d policies selects some of %d pods and CronJobs, and each of those has one of its own", len(o.NetworkPolicies.Items), len(all))
}

// natsClients are the pods that may be clients of NATS.
var natsClients = []string{apiName, "kgents-sink", "kgents-verify", "kgents-backup", "kgents-backup-drill"}

// natsIsolation tries each way to a NATS server by the policies on it, whatever the
// policies on the other side say.
func natsIsolation(o *cluster.Objects) checklist.Finding {
	if f := unread(o.NetworkPolicies.Err, o.Pods.Err, o.CronJobs.Err); f != nil {
		return *f
	}
	servers := named(o, natsName)
	if len(servers) == 0 {
		return *nothing(o, "NATS pod runs")
	}
	from := strangers(o.Name)
	for _, p := range running(o) {
		from = append(from, reach.End{Name: "pod " + p.Name, Namespace: o.Name, Labels: p.Labels})
	}
	for _, c := range o.CronJobs.Items {
		from = append(from, reach.End{Name: "CronJob " + c.Name, Namespace: o.Name, Labels: podsOf(c).Labels})
	}
	var wrong faults
	clients := map[string]bool{}
	tried := 0
	for _, s := range servers {
		to := reach.End{Namespace: o.Name, Labels: s.Labels}
		for _, f := range from {
			ours := f.Namespace == o.Name && f.Labels[partLabel] == "kgents"
			for _, port := range triedPorts(o) {
				tried++
				if !reach.MayEnter(o.NetworkPolicies.Items, f, to, port) {
					continue
				}
				switch {
				case port == reach.TCP(4222) && ours && slices.Contains(natsClients, f.Labels[nameLabel]):
					clients[f.Labels[nameLabel]] = true
				case port == reach.TCP(6222) && ours && f.Labels[nameLabel] == natsName:
				default:
					wrong.add(f.Name, fmt.Sprintf("may reach %s at %d", s.Name, port.Number))
				}
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "let only the pods of the path in at 4222 and only nats at 6222: infra/k8s/manifests/network-policies/nats.yaml")
	}
	var who []string
	for _, name := range natsClients {
		if clients[name] {
			who = append(who, name)
		}
	}
	return checklist.Passed("of %d ways to %s only those of %s to 4222 and of nats to 6222 are open", tried, names(servers), strings.Join(who, ", "))
}
