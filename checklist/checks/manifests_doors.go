package checks

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
)

// publicRoutes are the routes that the world may ask, and how a path must be compared.
var publicRoutes = map[string]networkingv1.PathType{
	"/webhooks/stripe": networkingv1.PathTypeExact,
	"/api/v1/":         networkingv1.PathTypePrefix,
	"/v1/":             networkingv1.PathTypePrefix,
	"/openapi.json":    networkingv1.PathTypeExact,
	"/health":          networkingv1.PathTypeExact,
}

// withoutTLS are annotations that let requests through in plain text.
var withoutTLS = map[string]string{
	"nginx.ingress.kubernetes.io/ssl-redirect":       "false",
	"nginx.ingress.kubernetes.io/force-ssl-redirect": "false",
	"kubernetes.io/ingress.allow-http":               "true",
}

// ingressRules looks at each Ingress: TLS for each host, and the public routes alone.
func ingressRules(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Ingresses.Err, o.Secrets.Err); f != nil {
		return *f
	}
	if len(o.Ingresses.Items) == 0 {
		return checklist.CannotTell("there is no Ingress in namespace "+o.Name, "deploy infra/k8s/manifests/api/ingress.yaml; what else stands before the API can't be looked at here")
	}
	var wrong faults
	var hosts []string
	routes := 0
	for _, in := range o.Ingresses.Items {
		who := "Ingress " + in.Name
		for name, value := range withoutTLS {
			if in.Annotations[name] == value {
				wrong.add(who, name+" is "+value)
			}
		}
		if in.Spec.DefaultBackend != nil {
			wrong.add(who, "everything else goes to a default backend")
		}
		covered := map[string]bool{}
		for _, t := range in.Spec.TLS {
			problem := certificateProblem(o, t)
			if problem != "" {
				wrong.add(who, problem)
			}
			for _, h := range t.Hosts {
				covered[h] = true
			}
		}
		for _, rule := range in.Spec.Rules {
			switch {
			case rule.Host == "":
				wrong.add(who, "a rule is for every host")
			case !covered[rule.Host]:
				wrong.add(who, rule.Host+" is without TLS")
			default:
				hosts = append(hosts, rule.Host)
			}
			if rule.HTTP == nil {
				continue
			}
			for _, p := range rule.HTTP.Paths {
				routes++
				kind := networkingv1.PathTypeImplementationSpecific
				if p.PathType != nil {
					kind = *p.PathType
				}
				want, ok := publicRoutes[p.Path]
				switch {
				case !ok:
					wrong.add(who, "lets "+p.Path+" through")
				case kind != want && kind != networkingv1.PathTypeExact:
					wrong.add(who, fmt.Sprintf("%s is of type %s, not %s", p.Path, kind, want))
				case p.Backend.Service == nil || p.Backend.Service.Name != apiName:
					wrong.add(who, p.Path+" does not lead to Service "+apiName)
				}
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "compare with infra/k8s/manifests/api/ingress.yaml; the Secret of the certificate is the cluster's")
	}
	slices.Sort(hosts)
	return checklist.Passed("%s with TLS, %s, all public", some(slices.Compact(hosts)), plural(routes, "route"))
}

// certificateProblem says what is wrong with the certificate of an Ingress: without one
// for its host the controller shows its own.
func certificateProblem(o *cluster.Objects, t networkingv1.IngressTLS) string {
	if t.SecretName == "" {
		return "TLS names no Secret"
	}
	s, err := o.Secrets.Named(t.SecretName)
	if err != nil {
		return "Secret " + t.SecretName + " with its certificate is not there"
	}
	text, _ := s.Value(corev1.TLSCertKey)
	block, _ := pem.Decode(text)
	if block == nil {
		return "Secret " + t.SecretName + " holds no certificate"
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "Secret " + t.SecretName + " holds no certificate"
	}
	for _, h := range t.Hosts {
		if cert.VerifyHostname(strings.Replace(h, "*", "any", 1)) != nil {
			return "the certificate in Secret " + t.SecretName + " is not for " + h
		}
	}
	return ""
}

// noOtherDoors looks for every other way in from outside the cluster.
func noOtherDoors(o *cluster.Objects) checklist.Finding {
	all, f := units(o)
	if f != nil {
		return *f
	}
	if f := unread(o.Services.Err); f != nil {
		return *f
	}
	var wrong faults
	for _, s := range o.Services.Items {
		who := "Service " + s.Name
		switch {
		case s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer:
			wrong.add(who, "is a "+string(s.Spec.Type))
		case len(s.Spec.ExternalIPs) > 0:
			wrong.add(who, "has the external address "+s.Spec.ExternalIPs[0])
		}
	}
	for _, u := range all {
		if u.spec.HostNetwork {
			wrong.add(u.name, "is in its node's network")
		}
		for _, c := range containers(u.spec) {
			for _, p := range c.Ports {
				if p.HostPort != 0 && !u.spec.HostNetwork {
					wrong.add(u.name, fmt.Sprintf("port %d of its node leads to container %s", p.HostPort, c.Name))
				}
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "make the Service a ClusterIP, and take hostPort and hostNetwork away: the Ingress is the way in")
	}
	return checklist.Passed("%s of the cluster alone; no host port in %s", plural(len(o.Services.Items), "Service"), counted(o, all))
}
