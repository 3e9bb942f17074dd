// Package operate has the only functions that change what runs in Kubernetes: how many
// replicas a Deployment has, that a workload's pods are replaced one after the other, and
// that a pod is deleted and made anew by its owner.
// Package cluster reads, and changes nothing.
//
// It promises one request that changes something for each call, that a name can't lead
// to another object, that answers are bounded, and that no error holds a credential.
// It decides nothing: who may do this, and whether it is wise, is for the caller to know;
// Staging tells whether a namespace may be hurt on purpose.
//
// The user's own credentials are used: changing replicas needs the permission to patch
// deployments/scale, replacing the pods of a workload to patch deployments or statefulsets,
// deleting a pod to delete pods.
package operate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kgents/kgents/cluster"
)

const (
	// timeout bounds one request whose context has no deadline.
	timeout = 30 * time.Second

	// maxAnswer bounds what is read of one answer: a pod with its status.
	maxAnswer = 4 << 20

	// MaxReplicas bounds a Scale: a slip of the finger is no thousand pods.
	MaxReplicas = 100
)

// Error is that the API server has refused a change.
type Error struct {
	Status int    // of HTTP
	What   string // what was to be done
	Reason string // in the server's words
}

func (e *Error) Error() string {
	return fmt.Sprintf("the Kubernetes API answered %d to %s: %s", e.Status, e.What, e.Reason)
}

// Refused says that nothing was changed.
func (e *Error) Refused() bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout
}

// Scale sets how many replicas a Deployment has, from 0 to MaxReplicas. Nil means that
// the number is set, not that the pods are there. The error is a *cluster.NotFoundError
// where there is no such Deployment, and an *Error where it was refused.
func Scale(ctx context.Context, c *cluster.Client, deployment string, replicas int) error {
	if replicas < 0 || replicas > MaxReplicas {
		return fmt.Errorf("replicas are 0 to %d", MaxReplicas)
	}
	what := fmt.Sprintf("scale Deployment %s in namespace %s to %d", deployment, c.Namespace, replicas)
	path, err := object(c, "/apis/apps/v1", "deployments", deployment)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": replicas}})
	if err != nil {
		return err
	}
	return send(ctx, c, "Deployment "+deployment+" in namespace "+c.Namespace, what, http.MethodPatch, path+"/scale", "application/merge-patch+json", body)
}

// Restart has a Deployment or a StatefulSet (kind) replace its pods by its own strategy, as
// 'kubectl rollout restart' does: it sets cluster.RestartedAt of the pod template to at, a
// time in RFC 3339. Empty takes it away. Set back to what it was, it ends a restart: the
// template is that of the pods that were not replaced yet. Nil means that the template is
// changed, not that a pod is. The error is as that of Scale.
func Restart(ctx context.Context, c *cluster.Client, kind, name, at string) error {
	plural, ok := map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets"}[kind]
	if !ok {
		return fmt.Errorf("a %s is not restarted from here", kind)
	}
	var stamp any // null takes it away
	if at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			return fmt.Errorf("%q is no time in RFC 3339", at)
		}
		stamp = at
	}
	path, err := object(c, "/apis/apps/v1", plural, name)
	if err != nil {
		return err
	}
	type m map[string]any
	body, err := json.Marshal(m{"spec": m{"template": m{"metadata": m{"annotations": m{cluster.RestartedAt: stamp}}}}})
	if err != nil {
		return err
	}
	of := kind + " " + name + " in namespace " + c.Namespace
	return send(ctx, c, of, "restart "+of, http.MethodPatch, path, "application/merge-patch+json", body)
}

// DeletePod deletes a pod with the grace that it asks for, so that its owner makes a new
// one. Nil means that the deletion has begun. The error is as that of Scale.
func DeletePod(ctx context.Context, c *cluster.Client, pod string) error {
	path, err := object(c, "/api/v1", "pods", pod)
	if err != nil {
		return err
	}
	return send(ctx, c, "pod "+pod+" in namespace "+c.Namespace, "delete pod "+pod+" in namespace "+c.Namespace, http.MethodDelete, path, "", nil)
}

// name is what Kubernetes takes for the name of a Deployment or a pod (RFC 1123).
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func object(c *cluster.Client, group, plural, of string) (string, error) {
	if len(of) > 253 || !name.MatchString(of) {
		return "", fmt.Errorf("%q is no name of an object: use lower-case letters, digits, hyphens and dots", of)
	}
	return group + "/namespaces/" + url.PathEscape(c.Namespace) + "/" + plural + "/" + of, nil
}

// send makes the one request. object is what may be missing.
func send(ctx context.Context, c *cluster.Client, object, what, method, path, contentType string, body []byte) error {
	config := c.Config()
	config.Timeout = timeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("the credentials for Kubernetes can't be used: %w", err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // credentials go nowhere else
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return fmt.Errorf("the address of the Kubernetes API can't be used: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return fmt.Errorf("the Kubernetes API does not answer: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the Kubernetes API does not answer: %w", err)
	}
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode == http.StatusNotFound:
		return &cluster.NotFoundError{What: object}
	}
	var said struct{ Message string }
	_ = json.Unmarshal(answer, &said) // without a message the status has to do
	if said.Message == "" {
		said.Message = http.StatusText(resp.StatusCode)
	}
	return &Error{Status: resp.StatusCode, What: what, Reason: said.Message}
}
