// Package clustertest answers as the Kubernetes API server does, on this machine, for
// tests of what reads a deployment and changes it.
//
// It keeps to the API's documents for what it knows: lists of pods, Deployments,
// StatefulSets and HorizontalPodAutoscalers, one Deployment or StatefulSet, a merge
// patch of a Deployment's scale (which raises its generation and, unless Stuck, brings
// its pods), one of a workload's RestartedAt (which replaces its pods at once), the
// deletion of a pod, which its owner makes anew, disruption budgets, and the logs of pods. Whatever else is
// asked for is answered with 404, as a kind that the server doesn't know. It promises
// that each change is in Requests.
package clustertest

import (
	"cmp"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/cluster"
)

// Token is the credential that the server takes, and that nothing may show.
const Token = "kube-token-never-shown"

// Namespace is the one that there is.
const Namespace = "kgents-staging"

// Workload is a Deployment or a StatefulSet.
type Workload struct {
	Kind, Name string
	Replicas   int
	Image      string

	// Stuck keeps new pods from becoming ready.
	Stuck bool

	// Least and Most are the bounds of an autoscaler; 0 is none.
	Least, Most int

	// Breaks keeps the first pod that a restart makes from becoming ready, so that the
	// others stay as they are.
	Breaks bool

	// Strategy is how its pods are replaced: RollingUpdate, unless another is named.
	Strategy string
	Paused   bool

	// Log is what each pod's container has written, with ten seconds between the lines and
	// the last one a minute ago, and Previous what the one before it has.
	Log, Previous []string

	// Budget is how many a disruption budget lets be away; 0 is none.
	Budget int

	generation, pods, ready, updated int
	restarted                        string
}

// Server is the API server. Its fields are set before it is asked.
type Server struct {
	URL    string
	Labels map[string]string // of the namespace

	// Refuse answers a change with a status; 0 lets it through. It may be nil.
	Refuse func(method, path string) int

	t         testing.TB
	ca        []byte
	mu        sync.Mutex
	workloads []*Workload
	pods      []pod
	made      int
	requests  []string
}

type pod struct {
	name     string
	of       *Workload
	ready    bool
	revision string // the workload's restarted when it was made
}

// New starts a server with workloads whose pods are all ready, unless they are stuck.
func New(t testing.TB, workloads ...Workload) *Server {
	t.Helper()
	s := &Server{t: t, Labels: map[string]string{}}
	for _, w := range workloads {
		w.generation = 1
		s.workloads = append(s.workloads, &w)
		s.fit(&w)
	}
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS() // credentials are sent to nothing else
	t.Cleanup(server.Close)
	s.URL, s.ca = server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return s
}

// Client is a cluster client of the server, through a kubeconfig as a user has one.
func (s *Server) Client() *cluster.Client {
	s.t.Helper()
	config, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "one",
		"clusters": []any{map[string]any{"name": "c", "cluster": map[string]any{"server": s.URL, "certificate-authority-data": s.ca}}},
		"users":    []any{map[string]any{"name": "u", "user": map[string]any{"token": Token}}},
		"contexts": []any{map[string]any{"name": "one", "context": map[string]any{"cluster": "c", "user": "u", "namespace": Namespace}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("KUBECONFIG", file)
	c, err := cluster.Open(cluster.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// Requests are the changes that were asked for: method, path and body.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Replicas is how many of a workload are wanted.
func (s *Server) Replicas(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.named(name); w != nil {
		return w.Replicas
	}
	return -1
}

// Pods are the names of the pods.
func (s *Server) Pods() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, p := range s.pods {
		out = append(out, p.name)
	}
	return out
}

func (s *Server) named(name string) *Workload {
	for _, w := range s.workloads {
		if w.Name == name {
			return w
		}
	}
	return nil
}

// fit gives a workload the pods that it wants.
func (s *Server) fit(w *Workload) {
	have := 0
	s.pods = slices.DeleteFunc(s.pods, func(p pod) bool {
		if p.of == w {
			have++
		}
		return p.of == w && have > w.Replicas
	})
	for ; have < w.Replicas; have++ {
		s.made++
		s.pods = append(s.pods, pod{fmt.Sprintf("%s-%d", w.Name, s.made), w, !w.Stuck, w.restarted})
	}
	s.count(w)
}

func (s *Server) count(w *Workload) {
	w.pods, w.ready, w.updated = 0, 0, 0
	for _, p := range s.pods {
		if p.of != w {
			continue
		}
		w.pods++
		if p.ready {
			w.ready++
		}
		if p.revision == w.restarted {
			w.updated++
		}
	}
}

// log answers as the kubelet does: the newest tailLines, of which limitBytes from the
// first on.
func (s *Server) log(w http.ResponseWriter, name string, query url.Values) {
	i := slices.IndexFunc(s.pods, func(p pod) bool { return p.name == name })
	if i < 0 {
		status(w, http.StatusNotFound, fmt.Sprintf("pods %q not found", name))
		return
	}
	lines := s.pods[i].of.Log
	if query.Get("previous") == "true" {
		if lines = s.pods[i].of.Previous; lines == nil {
			status(w, http.StatusBadRequest, fmt.Sprintf("previous terminated container %q in pod %q not found", query.Get("container"), name))
			return
		}
	} else if lines == nil && !s.pods[i].ready {
		status(w, http.StatusBadRequest, fmt.Sprintf("container %q in pod %q is waiting to start: ContainerCreating", query.Get("container"), name))
		return
	}
	since, err := time.Parse(time.RFC3339, query.Get("sinceTime"))
	timed := err == nil
	var out []string
	for i, line := range lines {
		at := time.Now().UTC().Add(time.Duration(i-len(lines))*10*time.Second - time.Minute)
		if !timed || !at.Before(since) {
			out = append(out, at.Format(time.RFC3339Nano)+" "+line+"\n")
		}
	}
	if tail, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		out = out[max(0, len(out)-tail):]
	}
	text := strings.Join(out, "")
	if limit, err := strconv.Atoi(query.Get("limitBytes")); err == nil {
		text = text[:min(len(text), limit)]
	}
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(w, text)
}

// restart replaces a workload's pods by such of its newest template.
func (s *Server) restart(w http.ResponseWriter, r *http.Request, of *Workload, body []byte) {
	var patch struct {
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]*string }
			}
		}
	}
	at, ok := (*string)(nil), false
	if json.Unmarshal(body, &patch) == nil {
		at, ok = patch.Spec.Template.Metadata.Annotations[cluster.RestartedAt]
	}
	if r.Header.Get("Content-Type") != "application/merge-patch+json" || !ok {
		status(w, http.StatusUnprocessableEntity, "this is no restart")
		return
	}
	of.restarted = ""
	if at != nil {
		of.restarted = *at
	}
	of.generation++
	s.pods = slices.DeleteFunc(s.pods, func(p pod) bool {
		return p.of == of && p.revision != of.restarted && (!of.Breaks || !p.ready)
	})
	if of.Breaks && !slices.ContainsFunc(s.pods, func(p pod) bool { return p.of == of && p.revision == of.restarted }) {
		s.made++
		s.pods = append(s.pods, pod{fmt.Sprintf("%s-%d", of.Name, s.made), of, false, of.restarted})
		s.count(of)
	} else {
		s.fit(of)
	}
	answer(w, object(of))
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+Token {
		status(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		status(w, http.StatusBadRequest, err.Error())
		return
	}
	if r.Method != http.MethodGet {
		s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
		if s.Refuse != nil {
			if code := s.Refuse(r.Method, r.URL.Path); code != 0 {
				status(w, code, "this is refused")
				return
			}
		}
	}
	const (
		apps = "/apis/apps/v1/namespaces/" + Namespace
		pods = "/api/v1/namespaces/" + Namespace + "/pods/"
	)
	path, ok := strings.CutPrefix(r.URL.Path, apps+"/")
	switch parts := strings.Split(path, "/"); {
	case ok && r.Method == http.MethodGet && len(parts) == 1:
		s.list(w, map[string]string{"deployments": "Deployment", "statefulsets": "StatefulSet"}[parts[0]])
	case ok && r.Method == http.MethodGet && len(parts) == 2 && s.named(parts[1]) != nil:
		answer(w, object(s.named(parts[1])))
	case ok && r.Method == http.MethodPatch && len(parts) == 3 && parts[0] == "deployments" && parts[2] == "scale" && s.named(parts[1]) != nil:
		s.scale(w, r, s.named(parts[1]), body)
	case ok && r.Method == http.MethodPatch && len(parts) == 2 && s.named(parts[1]) != nil:
		s.restart(w, r, s.named(parts[1]), body)
	case r.Method == http.MethodGet && r.URL.Path == "/apis/policy/v1/namespaces/"+Namespace+"/poddisruptionbudgets":
		s.listBudgets(w)
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/namespaces/"+Namespace:
		answer(w, map[string]any{"metadata": map[string]any{"name": Namespace, "labels": maps.Clone(s.Labels)}})
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/namespaces/"+Namespace+"/pods":
		s.listPods(w)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, pods) && strings.HasSuffix(r.URL.Path, "/log"):
		s.log(w, strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, pods), "/log"), r.URL.Query())
	case r.Method == http.MethodGet && r.URL.Path == "/apis/autoscaling/v2/namespaces/"+Namespace+"/horizontalpodautoscalers":
		s.listScalers(w)
	case r.Method == http.MethodDelete && strings.HasPrefix(r.URL.Path, pods):
		s.deletePod(w, strings.TrimPrefix(r.URL.Path, pods))
	default:
		status(w, http.StatusNotFound, "the server could not find the requested resource")
	}
}

func (s *Server) scale(w http.ResponseWriter, r *http.Request, of *Workload, body []byte) {
	if r.Header.Get("Content-Type") != "application/merge-patch+json" {
		status(w, http.StatusUnsupportedMediaType, "the body of the request was in an unknown format")
		return
	}
	var patch struct{ Spec struct{ Replicas *int } }
	if json.Unmarshal(body, &patch) != nil || patch.Spec.Replicas == nil || *patch.Spec.Replicas < 0 {
		status(w, http.StatusUnprocessableEntity, "spec.replicas is invalid")
		return
	}
	of.Replicas = *patch.Spec.Replicas
	of.generation++
	s.fit(of)
	answer(w, map[string]any{"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": map[string]any{"replicas": of.Replicas}})
}

func (s *Server) deletePod(w http.ResponseWriter, name string) {
	i := slices.IndexFunc(s.pods, func(p pod) bool { return p.name == name })
	if i < 0 {
		status(w, http.StatusNotFound, fmt.Sprintf("pods %q not found", name))
		return
	}
	of := s.pods[i].of
	s.pods = slices.Delete(s.pods, i, i+1)
	s.fit(of)
	answer(w, map[string]any{"kind": "Pod", "metadata": map[string]any{"name": name}})
}

func labels(w *Workload) map[string]any {
	return map[string]any{"app.kubernetes.io/name": w.Name, "app.kubernetes.io/part-of": "kgents"}
}

func object(w *Workload) map[string]any {
	annotations := map[string]any{}
	if w.restarted != "" {
		annotations[cluster.RestartedAt] = w.restarted
	}
	strategy := map[string]any{"type": cmp.Or(w.Strategy, "RollingUpdate")}
	if w.Kind == "Deployment" && w.Strategy == "" {
		strategy["rollingUpdate"] = map[string]any{"maxSurge": 1, "maxUnavailable": 0}
	}
	return map[string]any{
		"metadata": map[string]any{"name": w.Name, "namespace": Namespace, "generation": w.generation, "labels": labels(w)},
		"spec": map[string]any{
			"replicas": w.Replicas, "selector": map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/name": w.Name}},
			"strategy": strategy, "updateStrategy": strategy, "paused": w.Paused,
			"template": map[string]any{"metadata": map[string]any{"labels": labels(w), "annotations": annotations}, "spec": map[string]any{"containers": []any{map[string]any{"name": "main", "image": w.Image}}}},
		},
		"status": map[string]any{"observedGeneration": w.generation, "replicas": w.pods, "readyReplicas": w.ready, "updatedReplicas": w.updated},
	}
}

func (s *Server) list(w http.ResponseWriter, kind string) {
	items := []any{}
	for _, one := range s.workloads {
		if one.Kind == kind {
			items = append(items, object(one))
		}
	}
	answer(w, map[string]any{"items": items})
}

func (s *Server) listPods(w http.ResponseWriter) {
	items := []any{}
	for _, p := range s.pods {
		ready, state := "True", map[string]any{"running": map[string]any{}}
		if !p.ready {
			ready, state = "False", map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}
		}
		last := map[string]any{}
		if p.of.Previous != nil {
			last["terminated"] = map[string]any{"exitCode": 2, "reason": "Error", "finishedAt": time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)}
		}
		items = append(items, map[string]any{
			"metadata": map[string]any{"name": p.name, "namespace": Namespace, "labels": labels(p.of), "creationTimestamp": time.Now().UTC().Format(time.RFC3339)},
			"spec":     map[string]any{"nodeName": "node-1", "containers": []any{map[string]any{"name": "main", "image": p.of.Image}}},
			"status": map[string]any{
				"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": ready}},
				"containerStatuses": []any{map[string]any{"name": "main", "restartCount": 1, "ready": p.ready, "state": state, "lastState": last}},
			},
		})
	}
	answer(w, map[string]any{"items": items})
}

func (s *Server) listScalers(w http.ResponseWriter) {
	items := []any{}
	for _, one := range s.workloads {
		if one.Most > 0 {
			items = append(items, map[string]any{
				"metadata": map[string]any{"name": one.Name},
				"spec": map[string]any{
					"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": one.Kind, "name": one.Name}, "minReplicas": one.Least, "maxReplicas": one.Most,
				},
			})
		}
	}
	answer(w, map[string]any{"items": items})
}

func (s *Server) listBudgets(w http.ResponseWriter) {
	items := []any{}
	for _, one := range s.workloads {
		if one.Budget > 0 {
			items = append(items, map[string]any{
				"metadata": map[string]any{"name": one.Name},
				"spec":     map[string]any{"maxUnavailable": one.Budget, "selector": map[string]any{"matchLabels": labels(one)}},
				"status":   map[string]any{"disruptionsAllowed": max(0, one.Budget-one.Replicas+one.ready)},
			})
		}
	}
	answer(w, map[string]any{"items": items})
}

func answer(w http.ResponseWriter, o any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o)
}

// status is a failure as Kubernetes tells it.
func status(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code})
}
