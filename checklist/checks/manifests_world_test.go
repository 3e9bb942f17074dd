package checks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/secrets"
)

const stagingNamespace = "kgents-staging"

// world is what the API server of a cluster answers: the staging overlay, as deployed.
type world struct {
	Namespaces      []corev1.Namespace
	Nodes           []corev1.Node
	Pods            []corev1.Pod
	Deployments     []appsv1.Deployment
	StatefulSets    []appsv1.StatefulSet
	CronJobs        []batchv1.CronJob
	Autoscalers     []autoscalingv2.HorizontalPodAutoscaler
	Budgets         []policyv1.PodDisruptionBudget
	NetworkPolicies []networkingv1.NetworkPolicy
	Ingresses       []networkingv1.Ingress
	Services        []corev1.Service
	ConfigMaps      []corev1.ConfigMap
	Secrets         []corev1.Secret
	Volumes         []corev1.PersistentVolumeClaim
	Accounts        []corev1.ServiceAccount
	Roles           []rbacv1.Role
	Bindings        []rbacv1.RoleBinding
	ClusterRoles    []rbacv1.ClusterRole
	ClusterBindings []rbacv1.ClusterRoleBinding

	Denied []string          // resources that this user may not read
	Logs   map[string]string // by pod/container
}

// list is what the API server answers for a resource.
func (w *world) list(plural string) (any, bool) {
	all := map[string]any{
		"nodes": w.Nodes, "pods": w.Pods, "deployments": w.Deployments, "statefulsets": w.StatefulSets,
		"cronjobs": w.CronJobs, "jobs": []batchv1.Job{}, "horizontalpodautoscalers": w.Autoscalers,
		"poddisruptionbudgets": w.Budgets, "networkpolicies": w.NetworkPolicies, "ingresses": w.Ingresses,
		"services": w.Services, "configmaps": w.ConfigMaps, "secrets": w.Secrets,
		"persistentvolumeclaims": w.Volumes, "serviceaccounts": w.Accounts, "roles": w.Roles,
		"rolebindings": w.Bindings, "clusterroles": w.ClusterRoles, "clusterrolebindings": w.ClusterBindings,
		"resourcequotas": []corev1.ResourceQuota{}, "limitranges": []corev1.LimitRange{},
	}
	items, ok := all[plural]
	return map[string]any{"items": items}, ok
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	refuse := func(status int) {
		rw.WriteHeader(status)
		_ = json.NewEncoder(rw).Encode(map[string]any{"message": "not for you"})
	}
	switch {
	case slices.Contains(w.Denied, last):
		refuse(http.StatusForbidden)
	case last == stagingNamespace:
		_ = json.NewEncoder(rw).Encode(w.Namespaces[0])
	case last == "log":
		text, ok := w.Logs[parts[len(parts)-2]+"/"+r.URL.Query().Get("container")]
		if !ok {
			refuse(http.StatusNotFound)
			return
		}
		_, _ = rw.Write([]byte(text))
	default:
		answer, ok := w.list(last)
		if !ok {
			refuse(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(rw).Encode(answer)
	}
}

// objects is what a client that may read everything sees.
func (w *world) objects(t *testing.T) *cluster.Objects {
	t.Helper()
	o := &cluster.Objects{Name: stagingNamespace}
	o.Namespace.Items, o.Nodes.Items, o.Pods.Items = w.Namespaces, w.Nodes, w.Pods
	o.Deployments.Items, o.StatefulSets.Items, o.CronJobs.Items = w.Deployments, w.StatefulSets, w.CronJobs
	o.Autoscalers.Items, o.Budgets.Items, o.NetworkPolicies.Items = w.Autoscalers, w.Budgets, w.NetworkPolicies
	o.Ingresses.Items, o.Services.Items, o.ConfigMaps.Items = w.Ingresses, w.Services, w.ConfigMaps
	o.Volumes.Items, o.ServiceAccounts.Items = w.Volumes, w.Accounts
	o.Roles.Items, o.RoleBindings.Items = w.Roles, w.Bindings
	o.ClusterRoles.Items, o.ClusterRoleBindings.Items = w.ClusterRoles, w.ClusterBindings
	text, err := json.Marshal(w.Secrets)
	if err == nil {
		err = json.Unmarshal(text, &o.Secrets.Items)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// pods is a way to change the pods whose names begin so.
func (w *world) pods(prefix string, change func(*corev1.Pod)) {
	for i := range w.Pods {
		if strings.HasPrefix(w.Pods[i].Name, prefix) {
			change(&w.Pods[i])
		}
	}
}

func (w *world) policy(name string) *networkingv1.NetworkPolicy {
	i := slices.IndexFunc(w.NetworkPolicies, func(p networkingv1.NetworkPolicy) bool { return p.Name == name })
	return &w.NetworkPolicies[i]
}

func (w *world) cronJob(name string) *batchv1.CronJob {
	i := slices.IndexFunc(w.CronJobs, func(c batchv1.CronJob) bool { return c.Name == name })
	return &w.CronJobs[i]
}

func (w *world) secret(prefix string) *corev1.Secret {
	i := slices.IndexFunc(w.Secrets, func(s corev1.Secret) bool { return strings.HasPrefix(s.Name, prefix) })
	return &w.Secrets[i]
}

// clusters serves worlds, each at an address and in a context of its own.
type clusters struct {
	mu     sync.Mutex
	worlds map[string]*world
	base   []byte // the world that is well, as JSON
}

// newClusters renders the staging overlay and makes n contexts.
func newClusters(t *testing.T, n int) *clusters {
	t.Helper()
	base, err := json.Marshal(deployed(t))
	if err != nil {
		t.Fatal(err)
	}
	c := &clusters{worlds: map[string]*world{}, base: base}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		c.mu.Lock()
		w := c.worlds[name]
		c.mu.Unlock()
		if w == nil {
			http.Error(rw, "no such world", http.StatusTeapot)
			return
		}
		r.URL.Path = "/" + rest
		w.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	var config bytes.Buffer
	fmt.Fprintln(&config, "apiVersion: v1\nkind: Config\nusers: [{name: me, user: {token: t}}]\nclusters:")
	for i := range n {
		fmt.Fprintf(&config, "- {name: w%d, cluster: {server: %s/w%d}}\n", i, server.URL, i)
	}
	fmt.Fprintln(&config, "contexts:")
	for i := range n {
		fmt.Fprintf(&config, "- {name: w%d, context: {cluster: w%d, user: me, namespace: %s}}\n", i, i, stagingNamespace)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	return c
}

// system is the world that is well, with a change, behind context n; without a server
// when that is negative.
func (c *clusters) system(t *testing.T, n int, change func(*world)) *System {
	t.Helper()
	w := &world{}
	if err := json.Unmarshal(c.base, w); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(w)
	}
	if n < 0 {
		s := &System{Target: "kubernetes", Cluster: &cluster.Client{}}
		s.objects.Do(func() { s.objects.value = w.objects(t) })
		return s
	}
	name := fmt.Sprintf("w%d", n)
	c.mu.Lock()
	c.worlds[name] = w
	c.mu.Unlock()
	client, err := cluster.Open(cluster.Options{Context: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &System{Target: "kubernetes", Cluster: client}
}

// deployed is the staging overlay with new secrets, and what a cluster makes of it.
func deployed(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	const source = "../../infra/k8s"
	for _, sub := range []string{"manifests", "overlays", "components"} {
		if err := os.CopyFS(filepath.Join(dir, sub), noSecrets{os.DirFS(filepath.Join(source, sub))}); err != nil {
			t.Fatal(err)
		}
	}
	overlay := filepath.Join(dir, "overlays/staging")
	if _, err := secrets.Init(filepath.Join(overlay, "secrets"), stagingNamespace); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), overlay)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Logs: map[string]string{}}
	for _, doc := range bytes.Split(text, []byte("\n---\n")) {
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(doc, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.take(t, object)
	}
	w.run()
	w.Secrets = append(w.Secrets, corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "kgents-api-tls", Namespace: stagingNamespace},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{"tls.crt": certificateFor(t, "kgents.staging.example.com"), "tls.key": []byte("a key that nobody needs to know")},
	})
	return w
}

// noSecrets hides what a developer's own deployment has left.
type noSecrets struct{ fs.FS }

func (n noSecrets) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(n.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "secrets" }), err
}

func (w *world) take(t *testing.T, object runtime.Object) {
	t.Helper()
	switch o := object.(type) {
	case *corev1.Namespace:
		w.Namespaces = append(w.Namespaces, *o)
	case *appsv1.Deployment:
		w.Deployments = append(w.Deployments, *o)
	case *appsv1.StatefulSet:
		w.StatefulSets = append(w.StatefulSets, *o)
	case *batchv1.CronJob:
		w.CronJobs = append(w.CronJobs, *o)
	case *autoscalingv2.HorizontalPodAutoscaler:
		w.Autoscalers = append(w.Autoscalers, *o)
	case *policyv1.PodDisruptionBudget:
		w.Budgets = append(w.Budgets, *o)
	case *networkingv1.NetworkPolicy:
		w.NetworkPolicies = append(w.NetworkPolicies, *o)
	case *networkingv1.Ingress:
		w.Ingresses = append(w.Ingresses, *o)
	case *corev1.Service:
		w.Services = append(w.Services, *o)
	case *corev1.ConfigMap:
		w.ConfigMaps = append(w.ConfigMaps, *o)
	case *corev1.Secret:
		w.Secrets = append(w.Secrets, *o)
	case *corev1.ServiceAccount:
		w.Accounts = append(w.Accounts, *o)
	case *rbacv1.Role:
		w.Roles = append(w.Roles, *o)
	case *rbacv1.RoleBinding:
		w.Bindings = append(w.Bindings, *o)
	case *corev1.ResourceQuota, *corev1.LimitRange, *corev1.PersistentVolumeClaim:
	default:
		t.Fatalf("the overlay has a %T, which this world does not know", object)
	}
}

// run makes of the workloads what a cluster of three nodes does.
func (w *world) run() {
	for i := range 3 {
		w.Nodes = append(w.Nodes, corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("node-%d", i), Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i)},
		}})
	}
	// Two of those that every cluster has.
	w.ClusterRoles = []rbacv1.ClusterRole{
		{ObjectMeta: metav1.ObjectMeta{Name: "system:discovery"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/api/*"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "cluster-admin"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}},
	}
	w.ClusterBindings = []rbacv1.ClusterRoleBinding{
		binding("system:discovery", "system:discovery", rbacv1.Subject{Kind: "Group", Name: "system:authenticated"}),
		binding("cluster-admin", "cluster-admin", rbacv1.Subject{Kind: "Group", Name: "system:masters"}),
	}
	for i := range w.Deployments {
		d := &w.Deployments[i]
		n := int32(wantedOf(d.Spec.Replicas))
		if d.Name == apiName {
			n, d.Spec.Replicas = 2, new(int32(2)) // the autoscaler's least
		}
		d.Generation, d.Status = 1, appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: n, ReadyReplicas: n, UpdatedReplicas: n}
		for k := range n {
			w.start(fmt.Sprintf("%s-5d8f7-%d", d.Name, k), int(k), &d.Spec.Template)
		}
	}
	for i := range w.StatefulSets {
		s := &w.StatefulSets[i]
		n := int32(wantedOf(s.Spec.Replicas))
		s.Generation = 1
		s.Status = appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: n, ReadyReplicas: n, UpdatedReplicas: n, CurrentReplicas: n, CurrentRevision: "1", UpdateRevision: "1"}
		for k := range n {
			p := w.start(fmt.Sprintf("%s-%d", s.Name, k), int(k), &s.Spec.Template)
			for _, c := range s.Spec.VolumeClaimTemplates {
				claim := c.Name + "-" + p.Name
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: c.Name, VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
				}})
				w.Volumes = append(w.Volumes, corev1.PersistentVolumeClaim{
					ObjectMeta: metav1.ObjectMeta{Name: claim, Namespace: stagingNamespace},
					Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, Capacity: corev1.ResourceList{
						corev1.ResourceStorage: c.Spec.Resources.Requests[corev1.ResourceStorage],
					}},
				})
			}
		}
	}
	for i := range w.CronJobs {
		c := &w.CronJobs[i]
		pods := c.Spec.JobTemplate.Spec.Template
		p := w.start(c.Name+"-29000000-x", 0, &pods)
		c.Spec.JobTemplate.Spec.Template = pods
		p.Status.Phase = corev1.PodSucceeded
		// As the API server's admission puts it in.
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "kube-api-access-x", VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}},
		}})
	}
}

func binding(name, role string, subjects ...rbacv1.Subject) rbacv1.ClusterRoleBinding {
	return rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: role}, Subjects: subjects,
	}
}

// start makes a pod of a template on a node, with a release's image.
func (w *world) start(name string, node int, from *corev1.PodTemplateSpec) *corev1.Pod {
	for i := range from.Spec.Containers {
		c := &from.Spec.Containers[i]
		c.Image = strings.Replace(c.Image, ":staging", ":v0.1.0", 1)
	}
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: stagingNamespace, Labels: from.Labels},
		Spec:       *from.Spec.DeepCopy(),
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	p.Spec.NodeName = fmt.Sprintf("node-%d", node%3)
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: "sha256:" + c.Image, Ready: true,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
		w.Logs[name+"/"+c.Name] = `{"level":"INFO","msg":"listening","address":"0.0.0.0:8000"}` + "\n" + `{"level":"INFO","msg":"stream kgent-events at tls://nats-0.nats-headless:4222","commit":"a57cf9e0c1"}` + "\n"
	}
	w.Pods = append(w.Pods, p)
	return &w.Pods[len(w.Pods)-1]
}

func certificateFor(t *testing.T, host string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
