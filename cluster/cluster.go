// Package cluster reads what Kubernetes says of a deployment: how its workloads and
// pods are, every object that a checklist looks at (Look), what a container is given
// (Given), and what a pod answers.
//
// It promises to change nothing, that every answer it reads is bounded, and that
// no error, and no Secret that is printed, holds a credential. Inside a cluster it
// uses the service account and asks pods by their address; outside it uses a
// kubeconfig and reaches pods through the API server: Get by its proxy, everything
// else by tunnels, which DialContext makes (see Inside).
//
// When no cluster is configured, Open returns ErrNone. When the API server is
// away, every call fails within its context's deadline.
package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// maxAnswer bounds what is read of one answer: a list of a few hundred pods.
	maxAnswer = 16 << 20

	// timeout bounds one request whose context has no deadline.
	timeout = 30 * time.Second

	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
)

// ErrNone is the error when neither a service account nor a kubeconfig is there.
var ErrNone = errors.New("no Kubernetes is configured: run it inside the cluster, or set KUBECONFIG")

// Options choose the cluster. Empty fields are found out.
type Options struct {
	Context   string // of the kubeconfig; never the service account then
	Namespace string // else the service account's, else the context's
}

// Client is safe for concurrent use.
type Client struct {
	Namespace string

	// Inside says that this program runs in a pod of the cluster and reaches pods
	// by their address.
	Inside bool

	base   *url.URL
	config *rest.Config
	api    *http.Client
	pods   *http.Client // without the credentials of api

	slots   chan struct{} // one for each tunnel
	mu      sync.Mutex
	tunnels map[*tunnel]struct{}
	closed  bool
}

// Open finds the cluster: the context that is named, else KUBECONFIG, else the
// service account of this pod, else the user's kubeconfig. Nothing is sent.
func Open(o Options) (*Client, error) {
	if o.Context == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		config, err := rest.InClusterConfig()
		if err == nil {
			namespace, _ := os.ReadFile(namespaceFile) // without one it is `default`
			return newClient(config, cmp.Or(o.Namespace, strings.TrimSpace(string(namespace)), "default"), true)
		}
		if !errors.Is(err, rest.ErrNotInCluster) && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("the pod's service account can't be used: %w", err)
		}
	}
	found := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(),
		&clientcmd.ConfigOverrides{CurrentContext: o.Context})
	// A broken file is an error of ClientConfig's as well.
	if raw, err := found.RawConfig(); err == nil && o.Context != "" && raw.Contexts[o.Context] == nil {
		return nil, fmt.Errorf("the kubeconfig has no context %q: 'kubectl config get-contexts' lists them", o.Context)
	}
	config, err := found.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster):
		return nil, ErrNone
	case err != nil:
		return nil, fmt.Errorf("the kubeconfig can't be used: %w", err)
	}
	namespace, _, err := found.Namespace()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig can't be used: %w", err)
	}
	return newClient(config, cmp.Or(o.Namespace, namespace, "default"), false)
}

// name is what Kubernetes takes for the name of a namespace.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func newClient(config *rest.Config, namespace string, inside bool) (*Client, error) {
	if !name.MatchString(namespace) {
		return nil, fmt.Errorf("%q is no name of a namespace: use lower-case letters, digits and -", namespace)
	}
	config = rest.CopyConfig(config)
	config.UserAgent = "kgents"
	config.Timeout = timeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("the credentials for Kubernetes can't be used: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("the address of the Kubernetes API can't be used: %w", err)
	}
	client.CheckRedirect = noRedirect
	return &Client{
		Namespace: namespace, Inside: inside, base: base, config: config, api: client,
		slots: make(chan struct{}, maxTunnels), tunnels: map[*tunnel]struct{}{},
		pods: &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: noRedirect},
	}, nil
}

// Config is a copy of how the API server is reached, with the credentials: for package
// operate, which changes what this one only reads.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.config) }

// noRedirect keeps credentials from going elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close ends all tunnels and gives idle connections back.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	open := slices.Collect(maps.Keys(c.tunnels))
	c.mu.Unlock()
	for _, t := range open {
		_ = t.Close()
	}
	c.api.CloseIdleConnections()
	c.pods.CloseIdleConnections()
}

// NotFoundError says that an object is not there.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return e.What + " is not there" }

// DeniedError says that these credentials may not read something.
type DeniedError struct{ What, Reason string }

func (e *DeniedError) Error() string { return "no permission to read " + e.What + ": " + e.Reason }

// get asks the API server for path below its root. What names it for an error.
func (c *Client) get(ctx context.Context, what, path string, query url.Values, out any) error {
	body, status, err := c.ask(ctx, path, query)
	if err != nil {
		return err
	}
	switch status {
	case http.StatusOK:
		if err := json.Unmarshal(body, out); err != nil {
			return fmt.Errorf("the Kubernetes API answered with something that is no %s", what)
		}
		return nil
	case http.StatusNotFound:
		return &NotFoundError{what}
	}
	return refused(what, status, body)
}

// refused is the API server's own reason for an answer that is no success.
func refused(what string, status int, body []byte) error {
	var answer struct{ Message string }
	_ = json.Unmarshal(body, &answer) // without a message the status has to do
	return refusal(what, status, answer.Message)
}

func refusal(what string, status int, reason string) error {
	reason = cmp.Or(reason, http.StatusText(status))
	switch status {
	case http.StatusUnauthorized:
		return errors.New("the Kubernetes API does not know these credentials (401): log in again")
	case http.StatusForbidden:
		return &DeniedError{what, reason}
	}
	return fmt.Errorf("the Kubernetes API answered %d for %s: %s", status, what, reason)
}

func (c *Client) ask(ctx context.Context, path string, query url.Values) (body []byte, status int, err error) {
	target := c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/json")
	body, status, err = do(c.api, req)
	if err != nil {
		return nil, 0, fmt.Errorf("the Kubernetes API does not answer: %w", err)
	}
	return body, status, nil
}

// do reads one bounded answer.
func do(client *http.Client, req *http.Request) ([]byte, int, error) {
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // the address is said by the caller
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("the time was up")
		}
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, 0, err
	}
	if len(body) > maxAnswer {
		return nil, 0, fmt.Errorf("an answer of more than %d MiB", maxAnswer>>20)
	}
	return body, resp.StatusCode, nil
}

// URL is the address of a pod's port, for use Inside.
func (p Pod) URL(port string) string { return "http://" + net.JoinHostPort(p.IP, port) }
