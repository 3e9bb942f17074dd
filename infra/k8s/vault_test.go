package k8s

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// secretStore and externalSecret are what these manifests use of External Secrets' API
// (external-secrets.io/v1), so that a field of another name is found.
type secretStore struct {
	APIVersion, Kind string
	Metadata         json.RawMessage
	Spec             struct {
		Provider struct {
			Vault struct {
				Server, Path, Version string
				CAProvider            struct{ Type, Name, Key string }
				Auth                  struct {
					Kubernetes struct {
						MountPath, Role   string
						ServiceAccountRef struct {
							Name      string
							Audiences []string
						}
					}
				}
			}
		}
	}
}

type externalSecret struct {
	APIVersion, Kind string
	Metadata         json.RawMessage
	Spec             struct {
		RefreshInterval string
		SecretStoreRef  struct{ Kind, Name string }
		Target          struct{ Name string }
		Data            []struct {
			SecretKey string
			RemoteRef struct{ Key, Property string }
		}
	}
}

// vaulted is production with Vault behind its secrets.
func vaulted(t *testing.T) rendered {
	t.Helper()
	dir := filepath.Join(workspace(t), "overlays/production")
	file := filepath.Join(dir, "kustomization.yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const before = "- ../../components/external-secrets\n"
	with := strings.Replace(string(b), before, before+"- ../../components/vault\n", 1)
	if err := os.WriteFile(file, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := build(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := rendered{overlay: "vaulted", namespace: "kgents"}
	if r.objects, err = decode(out); err != nil {
		t.Fatal(err)
	}
	return r
}

// foreignObjects are those of a kind, strictly read.
func foreignObjects[T any](t *testing.T, r rendered, kind string) (out []T) {
	t.Helper()
	for _, o := range r.objects {
		if !strings.HasPrefix(o.id, kind+"/") {
			continue
		}
		b, err := yaml.Marshal(o.raw)
		if err != nil {
			t.Fatal(err)
		}
		var v T
		if err := yaml.UnmarshalStrict(b, &v); err != nil {
			t.Errorf("%s: %v", o.id, err)
		}
		if o.GetNamespace() != r.namespace {
			t.Errorf("%s is in namespace %q", o.id, o.GetNamespace())
		}
		out = append(out, v)
	}
	return out
}

// Every Secret comes from the one store, which is of this namespace, signs in as an
// account of its own over a connection that is checked, and may read just what is
// asked for.
func TestVault(t *testing.T) {
	r := vaulted(t)
	stores := foreignObjects[secretStore](t, r, "SecretStore")
	if len(stores) != 1 {
		t.Fatalf("%d stores", len(stores))
	}
	vault := stores[0].Spec.Provider.Vault
	account := vault.Auth.Kubernetes.ServiceAccountRef
	if !strings.HasPrefix(vault.Server, "https://") || vault.Version != "v2" || vault.CAProvider.Name == "" ||
		vault.Auth.Kubernetes.Role != "kgents" || vault.Auth.Kubernetes.MountPath != "kubernetes" || len(account.Audiences) != 1 {
		t.Errorf("%+v", vault)
	}
	found := false
	for _, a := range all[*corev1.ServiceAccount](r) {
		found = found || a.Name == account.Name && a.AutomountServiceAccountToken != nil && !*a.AutomountServiceAccountToken
	}
	if !found {
		t.Errorf("there is no account %q without a token in pods", account.Name)
	}
	for _, w := range r.workloads() {
		if w.pod.Spec.ServiceAccountName == account.Name {
			t.Errorf("%s runs as the account that may read the vault", w.id)
		}
	}

	policy, err := os.ReadFile("components/vault/policy.hcl")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`path "([^"]*)" \{\s*capabilities = \[([^\]]*)\]`).FindAllStringSubmatch(string(policy), -1)
	if len(rules) != 1 || rules[0][2] != `"read"` {
		t.Fatalf("the policy allows %q", rules)
	}
	allowed := strings.TrimSuffix(rules[0][1], "*")
	page, err := os.ReadFile("../../docs/saas/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	all := foreignObjects[externalSecret](t, r, "ExternalSecret")
	if len(all) < 10 {
		t.Errorf("only %d Secrets come from the vault", len(all))
	}
	for _, e := range all {
		if e.Spec.SecretStoreRef.Kind != "SecretStore" || e.Spec.SecretStoreRef.Name != "kgents" || e.Spec.RefreshInterval == "" || e.Spec.Target.Name == "" {
			t.Errorf("%+v", e.Spec)
		}
		for _, d := range e.Spec.Data {
			if !strings.HasPrefix(vault.Path+"/data/"+d.RemoteRef.Key, allowed) || d.RemoteRef.Property == "" || d.SecretKey == "" {
				t.Errorf("%s: %+v is not in what the policy allows, %s", e.Spec.Target.Name, d, allowed)
			}
			puts := regexp.MustCompile(`(?s)vault kv put -mount=secret ` + d.RemoteRef.Key + ` [^\n]*(?:\\\n[^\n]*)*\b` + d.RemoteRef.Property + `=`)
			if !puts.Match(page) {
				t.Errorf("secrets.md doesn't put %s into %s", d.RemoteRef.Property, d.RemoteRef.Key)
			}
		}
	}
}

// A changed value reaches the pods: what has no hash in its name is watched.
func TestReloader(t *testing.T) {
	r := vaulted(t)
	n := 0
	for _, o := range r.objects {
		kind, _, _ := strings.Cut(o.id, "/")
		if kind != "Deployment" && kind != "StatefulSet" {
			continue
		}
		n++
		if o.GetAnnotations()["secret.reloader.stakater.com/auto"] != "true" {
			t.Errorf("%s goes on with the secrets of its start", o.id)
		}
	}
	if n < 4 {
		t.Errorf("only %d workloads", n)
	}
}
