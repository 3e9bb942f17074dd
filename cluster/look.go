package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// maxObjects bounds the objects of one kind that are read. A namespace that has
	// more is not this deployment's alone, and nothing is said of it.
	maxObjects = 5000

	// lists bounds the lists that are read at the same time.
	lists = 6
)

// Objects are what is in the namespace, and the nodes, read at about the same time.
// Each kind has an error of its own: where reading one is denied, only what needs it
// can't be told.
type Objects struct {
	Name string // of the namespace

	Namespace       Part[corev1.Namespace] // one
	Nodes           Part[corev1.Node]
	Pods            Part[corev1.Pod] // also those that are ending, or have ended
	Deployments     Part[appsv1.Deployment]
	StatefulSets    Part[appsv1.StatefulSet]
	CronJobs        Part[batchv1.CronJob]
	Jobs            Part[batchv1.Job]
	Autoscalers     Part[autoscalingv2.HorizontalPodAutoscaler]
	Budgets         Part[policyv1.PodDisruptionBudget]
	NetworkPolicies Part[networkingv1.NetworkPolicy]
	Ingresses       Part[networkingv1.Ingress]
	Services        Part[corev1.Service]
	ConfigMaps      Part[corev1.ConfigMap]
	Secrets         Part[Secret]
	Volumes         Part[corev1.PersistentVolumeClaim]
	ServiceAccounts Part[corev1.ServiceAccount]
	Roles           Part[rbacv1.Role]
	RoleBindings    Part[rbacv1.RoleBinding]

	// Of the whole cluster; an operator of one namespace may not read them.
	ClusterRoles        Part[rbacv1.ClusterRole]
	ClusterRoleBindings Part[rbacv1.ClusterRoleBinding]

	Quotas      Part[corev1.ResourceQuota]
	LimitRanges Part[corev1.LimitRange]

	// PrometheusRules is a NotFoundError where the cluster doesn't know the kind.
	PrometheusRules Part[PrometheusRule]
}

// PrometheusRule is one of the Prometheus operator's.
type PrometheusRule struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec"`
}

// Part is the objects of one kind, or why they are not known.
type Part[T any] struct {
	Items []T
	Err   error

	what string
}

// Named is the object of that name. The error is that of the part, or a
// NotFoundError.
func (p Part[T]) Named(name string) (*T, error) {
	if p.Err != nil {
		return nil, p.Err
	}
	for i := range p.Items {
		if o, ok := any(&p.Items[i]).(metav1.Object); ok && o.GetName() == name {
			return &p.Items[i], nil
		}
	}
	return nil, &NotFoundError{p.what + " " + name}
}

// kind is where objects are listed.
type kind struct {
	what   string // one of them
	group  string // of the API, with its version; empty for v1
	plural string
	page   int // objects in an answer, which must stay within maxAnswer

	everywhere bool   // in no namespace
	namespace  string // if not the client's
}

var (
	kindPods     = &kind{what: "pod", plural: "pods", page: 250}
	kindServices = &kind{what: "Service", plural: "services", page: 250}
	kindBudgets  = &kind{what: "PodDisruptionBudget", group: "policy/v1", plural: "poddisruptionbudgets", page: 250}
)

// Budgets are the disruption budgets of the namespace.
func (c *Client) Budgets(ctx context.Context) ([]policyv1.PodDisruptionBudget, error) {
	return list[policyv1.PodDisruptionBudget](ctx, c, kindBudgets, nil)
}

// NamespaceLabels are the labels of the client's namespace.
func (c *Client) NamespaceLabels(ctx context.Context) (map[string]string, error) {
	var n corev1.Namespace
	err := c.get(ctx, "namespace "+c.Namespace, "/api/v1/namespaces/"+url.PathEscape(c.Namespace), nil, &n)
	return n.Labels, err
}

// Running reads the workloads alone, their pods and what scales them: the other parts of
// Objects are empty. It returns when the last list has come or failed.
func (c *Client) Running(ctx context.Context) *Objects {
	o := &Objects{Name: c.Namespace}
	r := &reader{ctx: ctx, c: c, slots: make(chan struct{}, lists)}
	r.workloads(o)
	r.looks.Wait()
	return o
}

func (r *reader) workloads(o *Objects) {
	read(r, &o.Pods, kindPods, nil)
	read(r, &o.Deployments, &kind{what: "Deployment", group: "apps/v1", plural: "deployments", page: 250}, nil)
	read(r, &o.StatefulSets, &kind{what: "StatefulSet", group: "apps/v1", plural: "statefulsets", page: 250}, nil)
	read(r, &o.Autoscalers, &kind{what: "HorizontalPodAutoscaler", group: "autoscaling/v2", plural: "horizontalpodautoscalers", page: 250}, nil)
}

// Look reads all of Objects. It returns when the last list has come or failed.
func (c *Client) Look(ctx context.Context) *Objects {
	o := &Objects{Name: c.Namespace}
	r := &reader{ctx: ctx, c: c, slots: make(chan struct{}, lists)}
	r.looks.Go(func() {
		var n corev1.Namespace
		o.Namespace.what = "namespace"
		if o.Namespace.Err = c.get(ctx, "namespace "+c.Namespace, "/api/v1/namespaces/"+url.PathEscape(c.Namespace), nil, &n); o.Namespace.Err == nil {
			o.Namespace.Items = []corev1.Namespace{n}
		}
	})
	read(r, &o.Nodes, &kind{what: "node", plural: "nodes", page: 100, everywhere: true}, nil)
	r.workloads(o)
	read(r, &o.CronJobs, &kind{what: "CronJob", group: "batch/v1", plural: "cronjobs", page: 250}, nil)
	read(r, &o.Jobs, &kind{what: "Job", group: "batch/v1", plural: "jobs", page: 250}, nil)
	read(r, &o.Budgets, kindBudgets, nil)
	read(r, &o.NetworkPolicies, &kind{what: "NetworkPolicy", group: "networking.k8s.io/v1", plural: "networkpolicies", page: 250}, nil)
	read(r, &o.Ingresses, &kind{what: "Ingress", group: "networking.k8s.io/v1", plural: "ingresses", page: 250}, nil)
	read(r, &o.Services, kindServices, nil)
	// Both may be a mebibyte each.
	read(r, &o.ConfigMaps, &kind{what: "ConfigMap", plural: "configmaps", page: 10}, nil)
	// Helm's are its own notes, large and many.
	read(r, &o.Secrets, &kind{what: "Secret", plural: "secrets", page: 10}, url.Values{"fieldSelector": {"type!=helm.sh/release.v1"}})
	read(r, &o.Volumes, &kind{what: "PersistentVolumeClaim", plural: "persistentvolumeclaims", page: 250}, nil)
	read(r, &o.ServiceAccounts, &kind{what: "ServiceAccount", plural: "serviceaccounts", page: 250}, nil)
	read(r, &o.Roles, &kind{what: "Role", group: "rbac.authorization.k8s.io/v1", plural: "roles", page: 250}, nil)
	read(r, &o.RoleBindings, &kind{what: "RoleBinding", group: "rbac.authorization.k8s.io/v1", plural: "rolebindings", page: 250}, nil)
	read(r, &o.ClusterRoles, &kind{what: "ClusterRole", group: "rbac.authorization.k8s.io/v1", plural: "clusterroles", page: 250, everywhere: true}, nil)
	read(r, &o.ClusterRoleBindings, &kind{what: "ClusterRoleBinding", group: "rbac.authorization.k8s.io/v1", plural: "clusterrolebindings", page: 250, everywhere: true}, nil)
	read(r, &o.Quotas, &kind{what: "ResourceQuota", plural: "resourcequotas", page: 250}, nil)
	read(r, &o.LimitRanges, &kind{what: "LimitRange", plural: "limitranges", page: 250}, nil)
	read(r, &o.PrometheusRules, &kind{what: "PrometheusRule", group: "monitoring.coreos.com/v1", plural: "prometheusrules", page: 100}, nil)
	r.looks.Wait()
	return o
}

type reader struct {
	ctx   context.Context
	c     *Client
	slots chan struct{}
	looks sync.WaitGroup
}

func read[T any](r *reader, into *Part[T], k *kind, query url.Values) {
	into.what = k.what
	r.looks.Go(func() {
		r.slots <- struct{}{}
		defer func() { <-r.slots }()
		into.Items, into.Err = list[T](r.ctx, r.c, k, query)
	})
}

// list reads all objects of a kind, page by page.
func list[T any](ctx context.Context, c *Client, k *kind, query url.Values) ([]T, error) {
	path, where := "/api/v1", ""
	if k.group != "" {
		path = "/apis/" + k.group
	}
	if !k.everywhere {
		namespace := c.Namespace
		if k.namespace != "" {
			namespace = k.namespace
		}
		path += "/namespaces/" + url.PathEscape(namespace)
		where = " in namespace " + namespace
	}
	path += "/" + k.plural
	asked := url.Values{}
	for key, values := range query {
		asked[key] = values
	}
	asked.Set("limit", strconv.Itoa(k.page))
	var all []T
	for {
		var page struct {
			Metadata struct{ Continue string }
			Items    []T
		}
		if err := c.get(ctx, k.plural+where, path, asked, &page); err != nil {
			if _, missing := errors.AsType[*NotFoundError](err); missing {
				err = &NotFoundError{"the kind " + k.what + " of " + cmp.Or(k.group, "v1")}
			}
			return nil, err
		}
		all = append(all, page.Items...)
		if len(all) > maxObjects {
			return nil, fmt.Errorf("there are more than %d %s%s: name the namespace of the deployment", maxObjects, k.plural, where)
		}
		if page.Metadata.Continue == "" {
			return all, nil
		}
		asked.Set("continue", page.Metadata.Continue)
	}
}
