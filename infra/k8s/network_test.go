package k8s

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/kgents/kgents/cluster/reach"
)

// ports are those that anything in or around the deployment listens on.
var ports = []reach.Port{
	{Number: 53, Protocol: corev1.ProtocolUDP}, reach.TCP(53), reach.TCP(80), reach.TCP(443),
	reach.TCP(4222), reach.TCP(6222), reach.TCP(6379), reach.TCP(6443),
	reach.TCP(8000), reach.TCP(8222), reach.TCP(8443),
}

// around are who else there may be.
func around(namespace string) []reach.End {
	ours := func(name string) map[string]string {
		return map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "kgents"}
	}
	outside := func(name, address string) reach.End {
		return reach.End{Name: name, Address: netip.MustParseAddr(address)}
	}
	return []reach.End{
		{Name: "stranger", Namespace: namespace, Labels: map[string]string{"app": "stranger"}},
		{Name: "api of others", Namespace: "elsewhere", Labels: ours("kgents-api")},
		{Name: "nats of others", Namespace: "elsewhere", Labels: ours("nats")},
		{Name: "ingress", Namespace: "ingress-nginx"},
		{Name: "prometheus", Namespace: "monitoring"},
		{Name: "dns", Namespace: "kube-system", Labels: map[string]string{"k8s-app": "kube-dns"}},
		outside("dns on the node", "169.254.20.10"),
		outside("metadata", "169.254.169.254"),
		outside("kubernetes", "10.96.0.1"),
		outside("office", "192.168.1.1"),
		outside("carrier", "100.64.0.1"),
		outside("office 6", "fd12::1"),
		outside("link 6", "fe80::1"),
		outside("internet", "198.51.100.7"),
		outside("internet 6", "2001:db8::7"),
	}
}

// mayTalk is who may talk to whom, without DNS. What is not here may not.
var mayTalk = []string{
	"kgents-api → nats:4222",
	"kgents-api → redis:6379",
	"kgents-backup → nats:4222",
	"kgents-backup-drill → nats:4222",
	"kgents-sink → nats:4222",
	"kgents-verify → internet 6:443", // where the API server of Kubernetes may be
	"kgents-verify → internet 6:6443",
	"kgents-verify → internet:443",
	"kgents-verify → internet:6443",
	"kgents-verify → kgents-api:8000",
	"kgents-verify → kgents-sink:8000",
	"kgents-verify → kubernetes:443",
	"kgents-verify → kubernetes:6443",
	"kgents-verify → carrier:443",
	"kgents-verify → carrier:6443",
	"kgents-verify → office 6:443",
	"kgents-verify → office 6:6443",
	"kgents-verify → office:443",
	"kgents-verify → office:6443",
	"kgents-verify → nats:4222",
	"kgents-verify → redis:6379",
	"nats → nats:6222",
	"prometheus → kgents-sink:8000",
	// Everybody with a key: the Ingress controller is somewhere.
	"api of others → kgents-api:8000",
	"carrier → kgents-api:8000",
	"dns on the node → kgents-api:8000",
	"dns → kgents-api:8000",
	"ingress → kgents-api:8000",
	"internet 6 → kgents-api:8000",
	"internet → kgents-api:8000",
	"kubernetes → kgents-api:8000",
	"link 6 → kgents-api:8000",
	"metadata → kgents-api:8000",
	"nats of others → kgents-api:8000",
	"office 6 → kgents-api:8000",
	"office → kgents-api:8000",
	"prometheus → kgents-api:8000",
}

// mayTalkAlso is what an overlay adds.
var mayTalkAlso = map[string][]string{
	"staging": {
		"kgents-api → kgents-meter:8000",
		"kgents-sink → kgents-meter:8000",
		"kgents-verify → kgents-meter:8000",
		"prometheus → kgents-meter:8000",
	},
	"production": {
		"kgents-api → internet 6:443",
		"kgents-api → internet:443",
		"kgents-backup → internet 6:443",
		"kgents-backup → internet:443",
		"kgents-backup-drill → internet 6:443",
		"kgents-backup-drill → internet:443",
		"kgents-sink → internet 6:443",
		"kgents-sink → internet:443",
	},
}

// TestWhoMayTalkToWhom looks at every pair and every port.
func TestWhoMayTalkToWhom(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		policies := policiesOf(r)
		for _, p := range policies {
			checkPorts(t, p)
		}
		ours := map[string]bool{}
		ends := around(r.namespace)
		for _, w := range r.workloads() {
			ours[w.name] = true
			ends = append(ends, reach.End{Name: w.name, Namespace: r.namespace, Labels: w.pod.Labels})
		}
		var got []string
		for _, from := range ends {
			for _, to := range ends {
				if !ours[from.Name] && !ours[to.Name] {
					continue
				}
				for _, port := range ports {
					if port.Number != 53 && reach.Allowed(policies, from, to, port) {
						got = append(got, fmt.Sprintf("%s → %s:%d", from.Name, to.Name, port.Number))
					}
				}
			}
		}
		want := slices.Concat(mayTalk, mayTalkAlso[r.overlay])
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-wanted +allowed):\n%s", diff)
		}
	})
}

func policiesOf(r rendered) (out []networkingv1.NetworkPolicy) {
	for _, p := range all[*networkingv1.NetworkPolicy](r) {
		out = append(out, *p)
	}
	return out
}

// checkPorts refuses what would be taken for any port, and rules without a port.
func checkPorts(t *testing.T, p networkingv1.NetworkPolicy) {
	var listed [][]networkingv1.NetworkPolicyPort
	for _, rule := range p.Spec.Ingress {
		listed = append(listed, rule.Ports)
	}
	for _, rule := range p.Spec.Egress {
		listed = append(listed, rule.Ports)
	}
	for _, ports := range listed {
		if len(ports) == 0 {
			t.Errorf("policy %s has a rule for every port", p.Name)
		}
		for _, port := range ports {
			if port.Protocol == nil || port.Port == nil || port.Port.StrVal != "" || port.EndPort != nil {
				t.Errorf("policy %s: give a protocol and one port by its number", p.Name)
			}
		}
	}
}

// TestEveryPodAsksDNS, and nobody else for names.
func TestEveryPodAsksDNS(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		policies := policiesOf(r)
		for _, w := range r.workloads() {
			pod := reach.End{Name: w.name, Namespace: r.namespace, Labels: w.pod.Labels}
			for _, other := range around(r.namespace) {
				for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
					want := strings.HasPrefix(other.Name, "dns")
					if got := reach.Allowed(policies, pod, other, reach.Port{Number: 53, Protocol: protocol}); got != want {
						t.Errorf("%s may ask %s over %s: %v, want %v", w.name, other.Name, protocol, got, want)
					}
				}
			}
		}
	})
}
