package k8s

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlays are the places to deploy to, and their namespaces.
var overlays = map[string]string{"staging": "kgents-staging", "production": "kgents"}

// foreign are the kinds that an operator brings; their schema is not at hand.
var foreign = []string{
	"cert-manager.io/v1/Certificate",
	"cert-manager.io/v1/Issuer",
	"external-secrets.io/v1/ExternalSecret",
	"external-secrets.io/v1/SecretStore",
	"monitoring.coreos.com/v1/PodMonitor",
	"monitoring.coreos.com/v1/PrometheusRule",
	"monitoring.coreos.com/v1/ServiceMonitor",
}

// stagingSecrets are the files that `kgents secrets init` makes, with values that can
// be found again.
var stagingSecrets = map[string]string{
	"api.env":         "API_KEYS=secret-a\nSTRIPE_WEBHOOK_SECRET=secret-b\n",
	"meter.env":       "API_KEYS=secret-c\nOPENMETER_API_KEY=secret-c\n",
	"redis.env":       "REDIS_URL=redis://kgents:secret-d@redis:6379/0\n",
	"redis/users.acl": "user default on nopass resetkeys resetchannels -@all +ping\n",
	"nats/users.env":  "NATS_API_NKEY=U1\nNATS_API_NKEY_PREVIOUS=U2\n",
	"nats/api.nk":     "secret-e", "nats/sink.nk": "secret-f",
	"nats/system.nk": "secret-h", "nats/backup.nk": "secret-l",
	"backup/identity.txt": "secret-m", "backup/recipient.env": "BACKUP_RECIPIENT=age1test\n",
	"ages.json":   "{}\n",
	"nats/ca.crt": "secret-i", "nats/tls.crt": "secret-j", "nats/tls.key": "secret-k",
}

// rendered is what `kubectl apply -k` sends.
type rendered struct {
	overlay   string
	namespace string
	objects   []object
}

type object struct {
	id  string // kind/name
	raw map[string]any
	metav1.Object
	typed runtime.Object // nil for a foreign kind
}

// workspace is a copy of this folder with the secrets of staging.
func workspace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"manifests", "overlays", "components"} {
		if err := os.CopyFS(filepath.Join(dir, sub), withoutSecrets{os.DirFS(sub)}); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range stagingSecrets {
		path := filepath.Join(dir, "overlays/staging/secrets", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// withoutSecrets hides what a developer's own deployment has left.
type withoutSecrets struct{ fs.FS }

func (w withoutSecrets) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "secrets" }), err
}

// render builds an overlay and decodes every object strictly.
func render(t *testing.T, overlay string) rendered {
	t.Helper()
	r := rendered{overlay: overlay, namespace: overlays[overlay]}
	out, err := build(filepath.Join(workspace(t), "overlays", overlay))
	if err != nil {
		t.Fatal(err)
	}
	if r.objects, err = decode(out); err != nil {
		t.Fatal(err)
	}
	return r
}

func build(dir string) ([]byte, error) {
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	return m.AsYaml()
}

func decode(stream []byte) (objects []object, err error) {
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, doc := range bytes.Split(stream, []byte("\n---\n")) {
		o := object{}
		if err := yaml.UnmarshalStrict(doc, &o.raw); err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{Object: o.raw}
		o.Object, o.id = u, u.GetKind()+"/"+u.GetName()
		if !slices.Contains(foreign, u.GetAPIVersion()+"/"+u.GetKind()) {
			if o.typed, _, err = strict.Decode(doc, nil, nil); err != nil {
				return nil, fmt.Errorf("%s: %w", o.id, err)
			}
			o.Object = o.typed.(metav1.Object)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// all returns the objects of one type.
func all[T runtime.Object](r rendered) (out []T) {
	for _, o := range r.objects {
		if v, ok := o.typed.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

// workload is what has pods, of whatever kind.
type workload struct {
	id, name string
	replicas int32 // at most, without surge
	surge    int32
	job      bool
	selector *metav1.LabelSelector
	claims   []corev1.PersistentVolumeClaim
	pod      corev1.PodTemplateSpec
}

func (r rendered) workloads() (out []workload) {
	most := map[string]int32{}
	for _, h := range all[*autoscalingv2.HorizontalPodAutoscaler](r) {
		most[h.Spec.ScaleTargetRef.Kind+"/"+h.Spec.ScaleTargetRef.Name] = h.Spec.MaxReplicas
	}
	for _, o := range r.objects {
		w := workload{id: o.id, name: o.GetName(), replicas: 1}
		count := func(n *int32) {
			if n != nil {
				w.replicas = *n
			}
			w.replicas = max(w.replicas, most[o.id])
		}
		switch v := o.typed.(type) {
		case *appsv1.Deployment:
			count(v.Spec.Replicas)
			w.selector, w.pod = v.Spec.Selector, v.Spec.Template
			w.surge = v.Spec.Strategy.RollingUpdate.MaxSurge.IntVal
		case *appsv1.StatefulSet:
			count(v.Spec.Replicas)
			w.selector, w.pod, w.claims = v.Spec.Selector, v.Spec.Template, v.Spec.VolumeClaimTemplates
		case *batchv1.CronJob:
			w.job, w.pod = true, v.Spec.JobTemplate.Spec.Template
			w.surge = 1 // one more by hand
		default:
			continue
		}
		out = append(out, w)
	}
	return out
}

// eachOverlay runs f as a test of each overlay.
func eachOverlay(t *testing.T, f func(*testing.T, rendered)) {
	for name := range overlays {
		t.Run(name, func(t *testing.T) { f(t, render(t, name)) })
	}
}

// TestEveryKustomizationBuilds: each base alone, too, since a user may take one and
// leave another.
func TestEveryKustomizationBuilds(t *testing.T) {
	dir := workspace(t)
	built := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "kustomization.yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), "kind: Component") {
			return nil // a part of an overlay, which builds it
		}
		built++
		out, err := build(filepath.Dir(path))
		if err == nil {
			_, err = decode(out)
		}
		if err != nil {
			t.Errorf("%s: %v", strings.TrimPrefix(path, dir), err)
		}
		return nil
	})
	if err != nil || built < len(overlays)+7 {
		t.Errorf("%d kustomizations were built, %v", built, err)
	}
}

// TestUnknownFieldIsFound: the schema check is one.
func TestUnknownFieldIsFound(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Service\nmetadata:\n  name: x\nspec:\n  port: 1\n",
		"apiVersion: v1\nkind: Service\nmetadata:\n  name: x\nspec:\n  type: A\n  type: B\n",
		"apiVersion: v1\nkind: Sevice\nmetadata:\n  name: x\n",
		"apiVersion: external-secrets.io/v1beta1\nkind: ExternalSecret\nmetadata:\n  name: x\n",
	} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("accepted:\n%s", text)
		}
	}
}

// TestObjectsAreInTheirPlace: one namespace, no name twice, labels on all.
func TestObjectsAreInTheirPlace(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		seen := map[string]bool{}
		for _, o := range r.objects {
			if seen[o.id] {
				t.Errorf("%s is there twice", o.id)
			}
			seen[o.id] = true
			if _, ok := o.typed.(*corev1.Namespace); ok {
				if o.GetName() != r.namespace {
					t.Errorf("the namespace is %s, want %s", o.GetName(), r.namespace)
				}
			} else if o.GetNamespace() != r.namespace {
				t.Errorf("%s is in namespace %q, want %q", o.id, o.GetNamespace(), r.namespace)
			}
			for _, p := range labelProblems(o.GetLabels()) {
				t.Errorf("%s %s", o.id, p)
			}
		}
		if len(seen) < 30 {
			t.Errorf("only %d objects", len(seen))
		}
	})
}

func labelProblems(labels map[string]string) (problems []string) {
	for _, l := range []string{"name", "component"} {
		if labels["app.kubernetes.io/"+l] == "" {
			problems = append(problems, "lacks the label app.kubernetes.io/"+l)
		}
	}
	if labels["app.kubernetes.io/part-of"] != "kgents" || labels["app.kubernetes.io/managed-by"] != "kustomize" {
		problems = append(problems, "lacks part-of kgents or managed-by kustomize")
	}
	return problems
}

// TestMissingSecretFileStopsTheBuild: nothing is deployed with an empty secret.
func TestMissingSecretFileStopsTheBuild(t *testing.T) {
	for name := range stagingSecrets {
		dir := workspace(t)
		overlay := filepath.Join(dir, "overlays/staging")
		if err := os.Remove(filepath.Join(overlay, "secrets", name)); err != nil {
			t.Fatal(err)
		}
		if _, err := build(overlay); err == nil {
			t.Errorf("built without %s", name)
		} else if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("the error doesn't name %s: %v", name, err)
		}
	}
}
