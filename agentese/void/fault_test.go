package void_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/void"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/cluster"
)

// kubernetes answers what a fault asks: a namespace, a Deployment of two pods and a
// StatefulSet of one, and makes a new pod for one that is deleted.
type kubernetes struct {
	mu          sync.Mutex
	environment string // the label; empty: none
	short       bool   // a pod is not ready
	pods        []string
	deleted     []string
}

func (k *kubernetes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	const namespace = "/api/v1/namespaces/demo"
	labels := map[string]any{"app.kubernetes.io/name": "kgents-api", "app.kubernetes.io/part-of": "kgents"}
	ready := len(k.pods)
	if k.short {
		ready--
	}
	var answer any
	switch {
	case r.Method == http.MethodDelete:
		name := strings.TrimPrefix(r.URL.Path, namespace+"/pods/")
		k.deleted = append(k.deleted, name)
		for i, p := range k.pods {
			if p == name {
				k.pods[i] = name + "-again"
			}
		}
		answer = map[string]any{}
	case r.URL.Path == namespace:
		meta := map[string]any{"name": "demo", "labels": map[string]any{}}
		if k.environment != "" {
			meta["labels"] = map[string]any{"kgents/environment": k.environment}
		}
		answer = map[string]any{"metadata": meta}
	case strings.HasSuffix(r.URL.Path, "/pods"):
		var items []any
		for _, p := range k.pods {
			items = append(items, map[string]any{
				"metadata": map[string]any{"name": p, "labels": labels},
				"status":   map[string]any{"phase": "Running", "conditions": []any{map[string]any{"type": "Ready", "status": "True"}}},
			})
		}
		answer = map[string]any{"items": append(items, map[string]any{
			"metadata": map[string]any{"name": "redis-0", "labels": map[string]any{"app": "redis"}}, "status": map[string]any{"phase": "Running"},
		})}
	case strings.HasSuffix(r.URL.Path, "/deployments"):
		answer = map[string]any{"items": []any{map[string]any{
			"metadata": map[string]any{"name": "kgents-api", "labels": labels},
			"spec":     map[string]any{"replicas": 2, "selector": map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/name": "kgents-api"}}},
			"status":   map[string]any{"readyReplicas": ready, "updatedReplicas": 2},
		}}}
	case strings.HasSuffix(r.URL.Path, "/statefulsets"):
		answer = map[string]any{"items": []any{map[string]any{
			"metadata": map[string]any{"name": "redis"},
			"spec":     map[string]any{"replicas": 1, "selector": map[string]any{"matchLabels": map[string]any{"app": "redis"}}},
			"status":   map[string]any{"readyReplicas": 1},
		}}}
	default:
		answer = map[string]any{"items": []any{}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// open is a client of it.
func open(t *testing.T, k *kubernetes) *cluster.Client {
	t.Helper()
	s := httptest.NewTLSServer(k)
	t.Cleanup(s.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"one","clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],
"users":[{"name":"u","user":{"token":"never-shown"}}],"contexts":[{"name":"one","context":{"cluster":"c","user":"u","namespace":"demo"}}]}`, s.URL, ca)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	c, err := cluster.Open(cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A fault is made on what says that it is staging, by an admin, after a preview; never
// elsewhere.
func TestFault(t *testing.T) {
	for _, test := range []struct {
		name        string
		environment string
		short       bool
		observer    tree.Observer
		clauses     string
		want        agentese.Kind // empty: it is made
		says        string
	}{
		{"staging", "staging", false, tree.Admin, "[yes]", "", ""},
		{"production", "production", false, tree.Admin, "[yes]", agentese.KindDeclined, "is production"},
		{"unknown", "", false, tree.Admin, "[yes]", agentese.KindDeclined, "taken for production"},
		{"hurt already", "staging", true, tree.Admin, "[yes]", agentese.KindDeclined, "fault enough"},
		{"an architect", "staging", false, tree.Architect, "[yes]", agentese.KindDenied, "needs admin"},
		{"nobody to ask", "staging", false, tree.Admin, "", agentese.KindDeclined, "nobody to ask"},
		{"a clause of samples", "staging", false, tree.Admin, "[customer=acme][yes]", agentese.KindClause, "is for [of=events]"},
		{"to be undone", "staging", false, tree.Admin, "[rollback][yes]", agentese.KindDeclined, "can't be undone"},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			k := &kubernetes{environment: test.environment, short: test.short, pods: []string{"api-1", "api-2"}}
			c := open(t, k)
			from := &living.Sources{API: &client.Client{URL: "http://127.0.0.1:1", HTTP: &http.Client{}}, Cluster: func() (*cluster.Client, error) { return c, nil }}
			tr, err := tree.New(void.Context(from))
			if err != nil {
				t.Fatal(err)
			}
			e, err := agentese.Parse("void.entropy.sip[of=fault][seed=one]" + test.clauses)
			if err != nil {
				t.Fatal(err)
			}
			var audit []string
			s := &tree.Session{Observer: test.observer, Budget: tree.NewBudget(), Audit: func(e tree.AuditEntry) error { audit = append(audit, e.Outcome); return nil }}
			v, err := tr.Run(t.Context(), e, s)
			if test.want != "" {
				if kind(err) != test.want || !strings.Contains(err.Error(), test.says) || len(k.deleted) > 0 || len(audit) > 0 {
					t.Errorf("got %v, with %v deleted and the audit %v", err, k.deleted, audit)
				}
				if _, left, _ := s.Budget.State(); left != tree.SessionEntropy {
					t.Errorf("it has cost something: %v are left", left)
				}
				return
			}
			if err != nil || len(k.deleted) != 1 || !strings.HasPrefix(k.deleted[0], "api-") || v.State != tree.Well || !v.Changed || fmt.Sprint(audit) != "[begun done]" {
				t.Errorf("got %+v, %v, with %v deleted and the audit %v", v, err, k.deleted, audit)
			}
			if _, left, _ := s.Budget.State(); left > tree.SessionEntropy-tree.CallEntropy+1e-9 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// The preview names the pod that the same seed would delete, and deletes nothing.
func TestFaultPreview(t *testing.T) {
	k := &kubernetes{environment: "staging", pods: []string{"api-1", "api-2"}}
	c := open(t, k)
	tr, err := tree.New(void.Context(&living.Sources{Cluster: func() (*cluster.Client, error) { return c, nil }}))
	if err != nil {
		t.Fatal(err)
	}
	e, err := agentese.Parse("void.entropy.sip[of=fault][seed=two][dry_run]")
	if err != nil {
		t.Fatal(err)
	}
	s := &tree.Session{Observer: tree.Admin, Budget: tree.NewBudget()}
	first, err := tr.Run(t.Context(), e, s)
	if err != nil {
		t.Fatal(err)
	}
	second, err := tr.Run(t.Context(), e, s)
	if err != nil || first.Text != second.Text || !strings.Contains(first.Text, "delete pod api-") || !strings.Contains(first.Text, "one of 2") || len(k.deleted) > 0 {
		t.Errorf("%q, then %q, %v, and %v are deleted", first.Text, second.Text, err, k.deleted)
	}
}
