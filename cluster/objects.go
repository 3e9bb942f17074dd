package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// PartOf is the label that all of this project's objects carry, with the name in
// app.kubernetes.io/name.
const PartOf = "app.kubernetes.io/part-of=kgents"

// Workload is how a StatefulSet or a Deployment stands.
type Workload struct {
	Wanted   int  // replicas that are asked for
	Ready    int  // replicas that pass their readiness probe
	Updated  int  // replicas of the newest revision
	Observed bool // the numbers belong to the newest definition

	Pods      int    // replicas that there are, those of older revisions among them
	Restarted string // what RestartedAt says; empty: it was never restarted so
}

// RestartedAt is the annotation of a pod template by which its pods are replaced without
// any other change, as 'kubectl rollout restart' does it: a time in RFC 3339.
const RestartedAt = "kubectl.kubernetes.io/restartedAt"

// Settled says that all wanted replicas are ready and of the newest revision.
func (w Workload) Settled() bool {
	return w.Observed && w.Wanted > 0 && w.Ready == w.Wanted && w.Updated == w.Wanted
}

// StatefulSet looks at one by its name.
func (c *Client) StatefulSet(ctx context.Context, name string) (Workload, error) {
	return c.workload(ctx, "statefulsets", "StatefulSet", name)
}

// Deployment looks at one by its name.
func (c *Client) Deployment(ctx context.Context, name string) (Workload, error) {
	return c.workload(ctx, "deployments", "Deployment", name)
}

func (c *Client) workload(ctx context.Context, plural, kind, name string) (Workload, error) {
	var object struct {
		Metadata struct{ Generation int64 }
		Spec     struct {
			Replicas *int
			Template struct {
				Metadata struct{ Annotations map[string]string }
			}
		}
		Status struct {
			ObservedGeneration int64
			Replicas           int
			ReadyReplicas      int
			UpdatedReplicas    int
		}
	}
	path := "/apis/apps/v1/namespaces/" + url.PathEscape(c.Namespace) + "/" + plural + "/" + url.PathEscape(name)
	if err := c.get(ctx, fmt.Sprintf("%s %s in namespace %s", kind, name, c.Namespace), path, nil, &object); err != nil {
		return Workload{}, err
	}
	wanted := 1 // what Kubernetes takes an absent number for
	if object.Spec.Replicas != nil {
		wanted = *object.Spec.Replicas
	}
	return Workload{
		Wanted: wanted, Ready: object.Status.ReadyReplicas, Updated: object.Status.UpdatedReplicas,
		Observed: object.Status.ObservedGeneration >= object.Metadata.Generation,
		Pods:     object.Status.Replicas, Restarted: object.Spec.Template.Metadata.Annotations[RestartedAt],
	}, nil
}

// Pod is one that is meant to serve: pods that are ending, or have ended, are
// not listed.
type Pod struct {
	Name  string
	IP    string // empty until it has one
	Phase string
	Ready bool
}

// Pods lists the pods with this app.kubernetes.io/name, sorted by name.
func (c *Client) Pods(ctx context.Context, name string) ([]Pod, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string
				DeletionTimestamp string
			}
			Status struct {
				PodIP      string
				Phase      string
				Conditions []struct{ Type, Status string }
			}
		}
	}
	query := url.Values{"labelSelector": {PartOf + ",app.kubernetes.io/name=" + name}}
	path := "/api/v1/namespaces/" + url.PathEscape(c.Namespace) + "/pods"
	if err := c.get(ctx, "pods in namespace "+c.Namespace, path, query, &list); err != nil {
		return nil, err
	}
	var pods []Pod
	for _, item := range list.Items {
		if item.Metadata.DeletionTimestamp != "" || item.Status.Phase == "Succeeded" || item.Status.Phase == "Failed" {
			continue
		}
		p := Pod{Name: item.Metadata.Name, IP: item.Status.PodIP, Phase: item.Status.Phase}
		for _, condition := range item.Status.Conditions {
			p.Ready = p.Ready || condition.Type == "Ready" && condition.Status == "True"
		}
		pods = append(pods, p)
	}
	slices.SortFunc(pods, func(a, b Pod) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return pods, nil
}

// Get asks a pod for path on port, at its address when Inside, else through the
// API server, which needs the permission `get` on `pods/proxy`. Any status but
// 200 is an error.
func (c *Client) Get(ctx context.Context, p Pod, port, path string) ([]byte, error) {
	var (
		body   []byte
		status int
		err    error
	)
	if !c.Inside {
		body, status, err = c.ask(ctx, "/api/v1/namespaces/"+url.PathEscape(c.Namespace)+"/pods/"+url.PathEscape(p.Name+":"+port)+"/proxy"+path, nil)
		if err == nil && (status == http.StatusForbidden || status == http.StatusUnauthorized) {
			return nil, refused("pods/proxy in namespace "+c.Namespace, status, body)
		}
	} else if p.IP == "" {
		return nil, fmt.Errorf("pod %s has no address yet (%s)", p.Name, p.Phase)
	} else {
		var req *http.Request
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, p.URL(port)+path, nil); err != nil {
			return nil, err
		}
		body, status, err = do(c.pods, req)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("pod %s: %w", p.Name, err)
	case status != http.StatusOK:
		return nil, fmt.Errorf("pod %s answered %d", p.Name, status)
	}
	return body, nil
}
