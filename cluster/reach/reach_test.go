package reach_test

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/kgents/kgents/cluster/reach"
)

// TestAllowed: the judge itself, on what Kubernetes documents.
func TestAllowed(t *testing.T) {
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
	var p networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict([]byte(policy), &p); err != nil {
		t.Fatal(err)
	}
	policies := []networkingv1.NetworkPolicy{p}
	pod := func(namespace, app string) reach.End {
		return reach.End{Namespace: namespace, Labels: map[string]string{"app": app}}
	}
	ip := func(a string) reach.End { return reach.End{Address: netip.MustParseAddr(a)} }
	server, one, two := pod("here", "server"), reach.TCP(1), reach.TCP(2)
	for name, c := range map[string]struct {
		from, to reach.End
		port     reach.Port
		want     bool
	}{
		"selected by both":                    {pod("there", "client"), server, one, true},
		"another port":                        {pod("there", "client"), server, two, false},
		"another protocol":                    {pod("there", "client"), server, reach.Port{Number: 1, Protocol: corev1.ProtocolUDP}, false},
		"the namespace alone is not enough":   {pod("there", "other"), server, one, false},
		"the label alone is not enough":       {pod("here", "client"), server, one, false},
		"an address in the block":             {ip("10.2.0.1"), server, one, true},
		"an exception":                        {ip("10.1.0.1"), server, one, false},
		"an address outside":                  {ip("11.0.0.1"), server, one, false},
		"a pod that is not selected is open":  {pod("there", "other"), pod("here", "other"), two, true},
		"a policy is for its namespace alone": {pod("there", "other"), pod("there", "server"), two, true},
		"the other direction is open":         {server, pod("there", "other"), two, true},
	} {
		if got := reach.Allowed(policies, c.from, c.to, c.port); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestInDoubtItMay: what can't be known here is taken for a way through.
func TestInDoubtItMay(t *testing.T) {
	tcp, high, word := corev1.ProtocolTCP, int32(20), intstr.FromString("http")
	low := intstr.FromInt32(10)
	server := reach.End{Namespace: "here", Labels: map[string]string{"app": "server"}}
	other := reach.End{Namespace: "there"}
	for name, c := range map[string]struct {
		rule networkingv1.NetworkPolicyIngressRule
		port int32
		want bool
	}{
		"a port with a word for a name": {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &word}}}, 1, true},
		"no protocol is TCP":            {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: &low}}}, 10, true},
		"in a range":                    {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: &low, EndPort: &high}}}, 15, true},
		"past a range":                  {networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: &low, EndPort: &high}}}, 21, false},
		"a namespace by a label of its own": {networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{
			{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "billing"}}},
		}}, 1, true},
		"a namespace by another name": {networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{
			{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "billing", corev1.LabelMetadataName: "else"}}},
		}}, 1, false},
		"an address that is none": {networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{
			{IPBlock: &networkingv1.IPBlock{CIDR: "everywhere"}},
		}}, 1, false},
	} {
		// Without types a policy is about what comes in.
		p := networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "here"}, Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{c.rule}}}
		if got := reach.Allowed([]networkingv1.NetworkPolicy{p}, other, server, reach.TCP(c.port)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
