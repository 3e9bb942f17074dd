package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// dialPatience bounds a connection that needs no tunnel.
const dialPatience = 5 * time.Second

// DialContext connects to addr, a host and a port, as a pod in the namespace would.
// It fits http.Transport, go-redis and, as a nats.CustomDialer's, nats.go.
//
// Outside the cluster it makes a tunnel to a pod for what is the cluster's: a service
// of the namespace, service.namespace, pod.service of a headless service, each with
// or without .svc.cluster.local behind it, and the address of a pod or of a service of
// the namespace. A service's port, by number, leads to a pod of it that is ready;
// a pod that is named itself need not be. Anything else is dialed from here. One
// label alone and a name in .svc are never looked for outside the cluster.
//
// At most 64 tunnels are open at a time. That nothing listens at a pod's port shows
// with the first read: Kubernetes tells it no sooner. It needs the permissions to
// get services, to list pods and services, and to get and create pods/portforward.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	outside := &net.Dialer{Timeout: dialPatience}
	if c.Inside {
		return outside.DialContext(ctx, network, addr)
	}
	if !strings.HasPrefix(network, "tcp") {
		return nil, fmt.Errorf("no tunnel carries %s: only TCP", network)
	}
	host, digits, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("%q is no port: use a number", digits)
	}
	namespace, to, err := c.find(ctx, host, int(port))
	if errors.Is(err, errElsewhere) {
		return outside.DialContext(ctx, network, addr)
	}
	if err != nil {
		return nil, err
	}
	return c.open(ctx, namespace, to)
}

// errElsewhere says that a host is none of the cluster's.
var errElsewhere = errors.New("not in the cluster")

// find is the pod and its port behind a host and a port.
func (c *Client) find(ctx context.Context, host string, port int) (namespace string, to address, err error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		to, err := c.findAddress(ctx, ip.Unmap().String(), port)
		return c.Namespace, to, err
	}
	host = strings.TrimSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".cluster.local")
	host, sure := strings.CutSuffix(host, ".svc")
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if !name.MatchString(l) {
			if sure || len(labels) == 1 {
				return "", to, fmt.Errorf("%q is no name in the cluster", host)
			}
			return "", to, errElsewhere
		}
	}
	// Each way to read it, in the order in which the cluster's own names are tried.
	type reading struct{ pod, service, namespace string }
	var readings []reading
	switch len(labels) {
	case 1:
		readings, sure = []reading{{"", labels[0], c.Namespace}}, true
	case 2:
		if !sure {
			readings = append(readings, reading{labels[0], labels[1], c.Namespace})
		}
		readings = append(readings, reading{"", labels[0], labels[1]})
	case 3:
		readings = []reading{{labels[0], labels[1], labels[2]}}
	}
	err = errElsewhere
	for _, r := range readings {
		var s corev1.Service
		what := "service " + r.service + " in namespace " + r.namespace
		err = c.get(ctx, what, "/api/v1/namespaces/"+url.PathEscape(r.namespace)+"/services/"+url.PathEscape(r.service), nil, &s)
		if err == nil {
			to, err := c.findPod(ctx, s, r.pod, port)
			return r.namespace, to, err
		}
		_, missing := errors.AsType[*NotFoundError](err)
		_, denied := errors.AsType[*DeniedError](err)
		if !missing && (!denied || r.namespace == c.Namespace) {
			return "", to, err
		}
	}
	if !sure {
		err = errElsewhere
	}
	return "", to, err
}

// findAddress looks for the pod, or the service, of an address.
func (c *Client) findAddress(ctx context.Context, ip string, port int) (to address, err error) {
	pods, err := list[corev1.Pod](ctx, c, kindPods, url.Values{"fieldSelector": {"status.podIP=" + ip}})
	if err != nil {
		return to, err
	}
	for _, p := range pods {
		if p.Status.PodIP == ip && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return address{p.Name, port}, nil
		}
	}
	services, err := list[corev1.Service](ctx, c, kindServices, nil)
	if err != nil {
		return to, err
	}
	for _, s := range services {
		if s.Spec.ClusterIP == ip {
			return c.findPod(ctx, s, "", port)
		}
	}
	return to, errElsewhere
}

// findPod chooses a pod of a service, or takes the one that is named.
func (c *Client) findPod(ctx context.Context, s corev1.Service, pod string, port int) (to address, err error) {
	headless := s.Spec.ClusterIP == corev1.ClusterIPNone
	target := intstr.FromInt(port) // who asks for a headless service gets the pods' own addresses
	if !headless {
		found := false
		for _, p := range s.Spec.Ports {
			if int(p.Port) == port {
				target, found = p.TargetPort, true
				if target.Type == intstr.Int && target.IntVal == 0 {
					target = intstr.FromInt(port)
				}
			}
		}
		if !found {
			return to, fmt.Errorf("service %s has no port %d", s.Name, port)
		}
	}
	if pod != "" {
		if !headless {
			return to, fmt.Errorf("service %s is not headless: its pods have no names of their own", s.Name)
		}
		return address{pod, port}, nil
	}
	if len(s.Spec.Selector) == 0 {
		return to, fmt.Errorf("service %s selects no pods: no tunnel leads to it", s.Name)
	}
	var selector []string
	for k, v := range s.Spec.Selector {
		selector = append(selector, k+"="+v)
	}
	in := *kindPods
	in.namespace = s.Namespace
	pods, err := list[corev1.Pod](ctx, c, &in, url.Values{"labelSelector": {strings.Join(selector, ",")}})
	if err != nil {
		return to, err
	}
	var ready []address
	for _, p := range pods {
		if p.DeletionTimestamp != nil || p.Status.Phase != corev1.PodRunning || !isReady(p) && !s.Spec.PublishNotReadyAddresses {
			continue
		}
		if n := portOf(p, target); n != 0 {
			ready = append(ready, address{p.Name, n})
		}
	}
	if len(ready) == 0 {
		return to, fmt.Errorf("no pod of service %s is ready: it has %d", s.Name, len(pods))
	}
	return ready[rand.N(len(ready))], nil
}

func isReady(p corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// portOf is the number of a pod's port, 0 when it has none of that name.
func portOf(p corev1.Pod, target intstr.IntOrString) int {
	if target.Type == intstr.Int {
		return target.IntValue()
	}
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.Name == target.StrVal {
				return int(port.ContainerPort)
			}
		}
	}
	return 0
}
