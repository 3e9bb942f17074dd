package cluster_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/cluster"
)

const token = "never-shown"

// kubeconfig writes one with two contexts and makes it the user's. The token is
// sent over TLS only.
func kubeconfig(t *testing.T, server string, ca []byte) {
	t.Helper()
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"one",
"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],"users":[{"name":"u","user":{"token":%q}}],
"contexts":[{"name":"one","context":{"cluster":"c","user":"u"}},{"name":"two","context":{"cluster":"c","user":"u","namespace":"other"}}]}`, server, base64.StdEncoding.EncodeToString(ca), token)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
}

func TestOpen(t *testing.T) {
	kubeconfig(t, "https://127.0.0.1:1", nil)
	for _, test := range []struct {
		name      string
		options   cluster.Options
		namespace string
		problem   string
	}{
		{"the current context", cluster.Options{}, "default", ""},
		{"another context", cluster.Options{Context: "two"}, "other", ""},
		{"a namespace", cluster.Options{Context: "two", Namespace: "mine"}, "mine", ""},
		{"no such context", cluster.Options{Context: "three"}, "", `no context "three"`},
		{"a path for a namespace", cluster.Options{Namespace: "../nodes"}, "", "no name of a namespace"},
	} {
		c, err := cluster.Open(test.options)
		switch {
		case test.problem != "":
			if err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("%s: the error is %v", test.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case c.Namespace != test.namespace || c.Inside:
			t.Errorf("%s: the client is %+v", test.name, c)
		}
	}
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	if _, err := cluster.Open(cluster.Options{}); !errors.Is(err, cluster.ErrNone) {
		t.Errorf("without a kubeconfig: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("token: "+token+"\n\t:"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", broken)
	if _, err := cluster.Open(cluster.Options{}); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("with a broken kubeconfig: %v", err)
	}
}

// answering is a client of an API server that gives one answer, and what it was
// asked.
func answering(t *testing.T, status int, body string) (*cluster.Client, *http.Request) {
	t.Helper()
	var asked http.Request
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = *r
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	kubeconfig(t, s.URL+"/prefix", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	c, err := cluster.Open(cluster.Options{Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, &asked
}

func TestWorkload(t *testing.T) {
	for _, test := range []struct {
		name    string
		status  int
		body    string
		want    cluster.Workload
		settled bool
		problem string
	}{
		{"settled", 200, `{"metadata":{"generation":3},"spec":{"replicas":2},"status":{"observedGeneration":3,"readyReplicas":2,"updatedReplicas":2}}`,
			cluster.Workload{Wanted: 2, Ready: 2, Updated: 2, Observed: true}, true, ""},
		{"one by default", 200, `{"spec":{},"status":{"readyReplicas":1,"updatedReplicas":1}}`, cluster.Workload{Wanted: 1, Ready: 1, Updated: 1, Observed: true}, true, ""},
		{"not looked at yet", 200, `{"metadata":{"generation":3},"spec":{"replicas":1},"status":{"observedGeneration":2,"readyReplicas":1,"updatedReplicas":1}}`,
			cluster.Workload{Wanted: 1, Ready: 1, Updated: 1}, false, ""},
		{"not there", 404, `{}`, cluster.Workload{}, false, "StatefulSet nats in namespace test is not there"},
		{"denied", 403, `{"message":"may not"}`, cluster.Workload{}, false, "no permission to read StatefulSet nats in namespace test: may not"},
		{"not known", 401, `{}`, cluster.Workload{}, false, "401"},
		{"a redirect", 302, ``, cluster.Workload{}, false, "302"},
		{"no JSON", 200, `<html>`, cluster.Workload{}, false, "no StatefulSet"},
		{"ill", 500, `{"message":"etcd is away"}`, cluster.Workload{}, false, "etcd is away"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, asked := answering(t, test.status, test.body)
			got, err := c.StatefulSet(t.Context(), "nats")
			if diff := cmp.Diff(test.want, got); diff != "" || got.Settled() != test.settled {
				t.Errorf("settled is %v; -want +got:\n%s", got.Settled(), diff)
			}
			if (err == nil) != (test.problem == "") || err != nil && (!strings.Contains(err.Error(), test.problem) || strings.Contains(err.Error(), token)) {
				t.Errorf("the error is %v", err)
			}
			if asked.URL.Path != "/prefix/apis/apps/v1/namespaces/test/statefulsets/nats" || asked.Header.Get("Authorization") != "Bearer "+token {
				t.Errorf("asked for %s", asked.URL)
			}
		})
	}
}

func TestPods(t *testing.T) {
	c, asked := answering(t, 200, `{"items":[
{"metadata":{"name":"b"},"status":{"phase":"Pending"}},
{"metadata":{"name":"a"},"status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}]}},
{"metadata":{"name":"ending","deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Running"}},
{"metadata":{"name":"evicted"},"status":{"phase":"Failed"}},
{"metadata":{"name":"done"},"status":{"phase":"Succeeded"}}]}`)
	pods, err := c.Pods(t.Context(), "kgents-api")
	if err != nil {
		t.Fatal(err)
	}
	want := []cluster.Pod{{Name: "a", IP: "10.0.0.1", Phase: "Running", Ready: true}, {Name: "b", Phase: "Pending"}}
	if diff := cmp.Diff(want, pods); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, want := asked.URL.Query(), (url.Values{"labelSelector": {"app.kubernetes.io/part-of=kgents,app.kubernetes.io/name=kgents-api"}}); !cmp.Equal(got, want) {
		t.Errorf("asked with %v", got)
	}
}

// From outside a pod is reached through the API server; from inside by its
// address, and then never with the credentials for Kubernetes.
func TestGet(t *testing.T) {
	c, asked := answering(t, 200, "healthy")
	body, err := c.Get(t.Context(), cluster.Pod{Name: "p"}, "8000", "/health/saas")
	if err != nil || string(body) != "healthy" || asked.URL.Path != "/prefix/api/v1/namespaces/test/pods/p:8000/proxy/health/saas" {
		t.Errorf("%q, %v, asked for %s", body, err, asked.URL)
	}
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the pod was sent credentials")
		}
		if r.URL.Path != "/health/saas" {
			w.WriteHeader(503)
		}
		fmt.Fprint(w, "inside")
	}))
	defer pod.Close()
	at, _ := url.Parse(pod.URL)
	c.Inside = true
	p := cluster.Pod{Name: "p", IP: at.Hostname(), Phase: "Running"}
	if body, err := c.Get(t.Context(), p, at.Port(), "/health/saas"); err != nil || string(body) != "inside" {
		t.Errorf("%q, %v", body, err)
	}
	if _, err := c.Get(t.Context(), p, at.Port(), "/other"); err == nil || !strings.Contains(err.Error(), "pod p answered 503") {
		t.Errorf("the error is %v", err)
	}
	if _, err := c.Get(t.Context(), cluster.Pod{Name: "new", Phase: "Pending"}, "1", "/"); err == nil || !strings.Contains(err.Error(), "no address yet (Pending)") {
		t.Errorf("the error is %v", err)
	}
}

func TestGetDenied(t *testing.T) {
	c, _ := answering(t, 403, `{"message":"may not"}`)
	_, err := c.Get(t.Context(), cluster.Pod{Name: "p"}, "8000", "/")
	if _, ok := errors.AsType[*cluster.DeniedError](err); !ok {
		t.Errorf("the error is %v", err)
	}
}
