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
)

// endpoint is a pod, or an address outside the cluster.
type endpoint struct {
	name      string
	namespace string
	labels    map[string]string
	address   netip.Addr // of what is no pod
}

// at is a TCP or UDP port.
type at struct {
	port     int32
	protocol corev1.Protocol
}

// ports are those that anything in or around the deployment listens on.
var ports = []at{
	{53, corev1.ProtocolUDP}, {53, corev1.ProtocolTCP}, {80, corev1.ProtocolTCP}, {443, corev1.ProtocolTCP},
	{4222, corev1.ProtocolTCP}, {6222, corev1.ProtocolTCP}, {6379, corev1.ProtocolTCP}, {6443, corev1.ProtocolTCP},
	{8000, corev1.ProtocolTCP}, {8222, corev1.ProtocolTCP}, {8443, corev1.ProtocolTCP},
}

// around are who else there may be.
func around(namespace string) []endpoint {
	ours := func(name string) map[string]string {
		return map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "kgents"}
	}
	outside := func(name, address string) endpoint {
		return endpoint{name: name, address: netip.MustParseAddr(address)}
	}
	return []endpoint{
		{name: "stranger", namespace: namespace, labels: map[string]string{"app": "stranger"}},
		{name: "api of others", namespace: "elsewhere", labels: ours("kgents-api")},
		{name: "nats of others", namespace: "elsewhere", labels: ours("nats")},
		{name: "ingress", namespace: "ingress-nginx"},
		{name: "prometheus", namespace: "monitoring"},
		{name: "dns", namespace: "kube-system", labels: map[string]string{"k8s-app": "kube-dns"}},
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

// allowed says whether from may connect to to, as Kubernetes defines it: where a
// policy selects the pod for a direction, only what some policy lists passes.
func allowed(policies []*networkingv1.NetworkPolicy, from, to endpoint, port at) bool {
	return passes(policies, networkingv1.PolicyTypeEgress, from, to, port) &&
		passes(policies, networkingv1.PolicyTypeIngress, to, from, port)
}

func passes(policies []*networkingv1.NetworkPolicy, direction networkingv1.PolicyType, pod, other endpoint, port at) bool {
	if pod.address.IsValid() {
		return true // no policy is about it
	}
	selected := false
	for _, p := range policies {
		if p.Namespace != pod.namespace || !matches(&p.Spec.PodSelector, pod.labels) || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		selected = true
		if direction == networkingv1.PolicyTypeEgress {
			for _, rule := range p.Spec.Egress {
				if isPeer(p.Namespace, rule.To, other) && isPort(rule.Ports, port) {
					return true
				}
			}
			continue
		}
		for _, rule := range p.Spec.Ingress {
			if isPeer(p.Namespace, rule.From, other) && isPort(rule.Ports, port) {
				return true
			}
		}
	}
	return !selected
}

func isPeer(namespace string, peers []networkingv1.NetworkPolicyPeer, e endpoint) bool {
	if len(peers) == 0 {
		return true
	}
	for _, p := range peers {
		if p.IPBlock != nil {
			inside := func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(e.address) }
			// Most network plugins apply blocks to what is outside the cluster only, and
			// so does this.
			if e.address.IsValid() && inside(p.IPBlock.CIDR) && !slices.ContainsFunc(p.IPBlock.Except, inside) {
				return true
			}
			continue
		}
		if e.address.IsValid() {
			continue
		}
		if p.NamespaceSelector == nil && e.namespace != namespace {
			continue
		}
		if p.NamespaceSelector != nil && !matches(p.NamespaceSelector, map[string]string{corev1.LabelMetadataName: e.namespace}) {
			continue
		}
		if p.PodSelector == nil || matches(p.PodSelector, e.labels) {
			return true
		}
	}
	return false
}

func isPort(ports []networkingv1.NetworkPolicyPort, port at) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		return *p.Protocol == port.protocol && (p.Port == nil || p.Port.IntVal == port.port)
	})
}

// mayTalk is who may talk to whom, without DNS. What is not here may not.
var mayTalk = []string{
	"kgents-api → nats:4222",
	"kgents-api → redis:6379",
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
		"kgents-sink → internet 6:443",
		"kgents-sink → internet:443",
	},
}

// TestWhoMayTalkToWhom looks at every pair and every port.
func TestWhoMayTalkToWhom(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		policies := all[*networkingv1.NetworkPolicy](r)
		for _, p := range policies {
			checkPorts(t, p)
		}
		ours := map[string]bool{}
		ends := around(r.namespace)
		for _, w := range r.workloads() {
			ours[w.name] = true
			ends = append(ends, endpoint{name: w.name, namespace: r.namespace, labels: w.pod.Labels})
		}
		var got []string
		for _, from := range ends {
			for _, to := range ends {
				if !ours[from.name] && !ours[to.name] {
					continue
				}
				for _, port := range ports {
					if port.port != 53 && allowed(policies, from, to, port) {
						got = append(got, fmt.Sprintf("%s → %s:%d", from.name, to.name, port.port))
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

// checkPorts refuses what the evaluator can't judge, and rules without a port.
func checkPorts(t *testing.T, p *networkingv1.NetworkPolicy) {
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
		policies := all[*networkingv1.NetworkPolicy](r)
		for _, w := range r.workloads() {
			pod := endpoint{name: w.name, namespace: r.namespace, labels: w.pod.Labels}
			for _, other := range around(r.namespace) {
				for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
					want := strings.HasPrefix(other.name, "dns")
					if got := allowed(policies, pod, other, at{53, protocol}); got != want {
						t.Errorf("%s may ask %s over %s: %v, want %v", w.name, other.name, protocol, got, want)
					}
				}
			}
		}
	})
}

// TestEvaluator: the judge itself, on what Kubernetes documents.
func TestEvaluator(t *testing.T) {
	const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: x
  namespace: here
spec:
  podSelector:
    matchLabels:
      app: server
  policyTypes:
  - Ingress
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: there
      podSelector:
        matchLabels:
          app: client
    - ipBlock:
        cidr: 10.0.0.0/8
        except:
        - 10.1.0.0/16
    ports:
    - port: 1
      protocol: TCP
`
	objects, err := decode([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	policies := all[*networkingv1.NetworkPolicy](rendered{objects: objects})
	pod := func(namespace, app string) endpoint {
		return endpoint{namespace: namespace, labels: map[string]string{"app": app}}
	}
	ip := func(a string) endpoint { return endpoint{address: netip.MustParseAddr(a)} }
	server, one, two := pod("here", "server"), at{1, corev1.ProtocolTCP}, at{2, corev1.ProtocolTCP}
	for name, c := range map[string]struct {
		from, to endpoint
		port     at
		want     bool
	}{
		"selected by both":                    {pod("there", "client"), server, one, true},
		"another port":                        {pod("there", "client"), server, two, false},
		"another protocol":                    {pod("there", "client"), server, at{1, corev1.ProtocolUDP}, false},
		"the namespace alone is not enough":   {pod("there", "other"), server, one, false},
		"the label alone is not enough":       {pod("here", "client"), server, one, false},
		"an address in the block":             {ip("10.2.0.1"), server, one, true},
		"an exception":                        {ip("10.1.0.1"), server, one, false},
		"an address outside":                  {ip("11.0.0.1"), server, one, false},
		"a pod that is not selected is open":  {pod("there", "other"), pod("here", "other"), two, true},
		"a policy is for its namespace alone": {pod("there", "other"), pod("there", "server"), two, true},
		"the other direction is open":         {server, pod("there", "other"), two, true},
	} {
		if got := allowed(policies, c.from, c.to, c.port); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
