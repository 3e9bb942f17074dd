// Package reach says who may connect to whom by the NetworkPolicies of a namespace,
// as Kubernetes defines them: where a policy selects a pod for a direction, only what
// some policy lists passes.
//
// It promises to err on the side of "may": a port that is named by a word, which only
// the pod's own ports explain, is taken for any, and so is a namespace that is selected
// by other labels than its name. It depends on nothing that could be away, and knows
// nothing of whether the cluster's network enforces policies.
package reach

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// End is one end of a connection: a pod, or an address outside the cluster.
type End struct {
	Name      string // for whoever reads about it
	Namespace string
	Labels    map[string]string
	Address   netip.Addr // of what is no pod
}

// Port is a TCP, UDP or SCTP port.
type Port struct {
	Number   int32
	Protocol corev1.Protocol
}

// TCP is a port of TCP.
func TCP(number int32) Port { return Port{number, corev1.ProtocolTCP} }

// Allowed says whether from may connect to to: out of the one and into the other.
func Allowed(policies []networkingv1.NetworkPolicy, from, to End, p Port) bool {
	return MayLeave(policies, from, to, p) && MayEnter(policies, from, to, p)
}

// MayLeave says whether the policies on from let it connect to to.
func MayLeave(policies []networkingv1.NetworkPolicy, from, to End, p Port) bool {
	return passes(policies, networkingv1.PolicyTypeEgress, from, to, p)
}

// MayEnter says whether the policies on to let from connect to it.
func MayEnter(policies []networkingv1.NetworkPolicy, from, to End, p Port) bool {
	return passes(policies, networkingv1.PolicyTypeIngress, to, from, p)
}

func passes(policies []networkingv1.NetworkPolicy, direction networkingv1.PolicyType, pod, other End, port Port) bool {
	if pod.Address.IsValid() {
		return true // no policy is about it
	}
	selected := false
	for _, p := range policies {
		if p.Namespace != pod.Namespace || !Selects(&p.Spec.PodSelector, pod.Labels) || !IsAbout(p, direction) {
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

// IsAbout says whether a policy is about a direction. One that names none is about
// what comes in, and about what goes out where it has rules for that.
func IsAbout(p networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	if len(p.Spec.PolicyTypes) > 0 {
		return slices.Contains(p.Spec.PolicyTypes, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
}

// Selects says whether a selector is for these labels. One that can't be read selects
// nothing.
func Selects(s *metav1.LabelSelector, set map[string]string) bool {
	if s != nil && len(s.MatchExpressions) == 0 { // as most; thousands of ways are tried
		for key, value := range s.MatchLabels {
			if got, ok := set[key]; !ok || got != value {
				return false
			}
		}
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(set))
}

func isPeer(namespace string, peers []networkingv1.NetworkPolicyPeer, e End) bool {
	if len(peers) == 0 {
		return true
	}
	for _, p := range peers {
		if p.IPBlock != nil {
			inside := func(cidr string) bool {
				prefix, err := netip.ParsePrefix(cidr)
				return err == nil && prefix.Contains(e.Address)
			}
			// Most network plugins apply blocks to what is outside the cluster only, and
			// so does this.
			if e.Address.IsValid() && inside(p.IPBlock.CIDR) && !slices.ContainsFunc(p.IPBlock.Except, inside) {
				return true
			}
			continue
		}
		if e.Address.IsValid() {
			continue
		}
		if p.NamespaceSelector == nil && e.Namespace != namespace {
			continue
		}
		if p.NamespaceSelector != nil && !isNamespace(p.NamespaceSelector, e.Namespace) {
			continue
		}
		if p.PodSelector == nil || Selects(p.PodSelector, e.Labels) {
			return true
		}
	}
	return false
}

// isNamespace says whether a namespace may be one of the selected: of its labels only
// the name is known.
func isNamespace(s *metav1.LabelSelector, namespace string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return false
	}
	requirements, selectable := selector.Requirements()
	for _, r := range requirements {
		if r.Key() == corev1.LabelMetadataName && !r.Matches(labels.Set{corev1.LabelMetadataName: namespace}) {
			return false
		}
	}
	return selectable
}

func isPort(ports []networkingv1.NetworkPolicyPort, port Port) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		switch {
		case protocol != port.Protocol:
			return false
		case p.Port == nil || p.Port.StrVal != "":
			return true
		case p.EndPort != nil:
			return p.Port.IntVal <= port.Number && port.Number <= *p.EndPort
		}
		return p.Port.IntVal == port.Number
	})
}
