package k8s

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// natsManifest builds the base and returns the object of this kind and name. A
// field that Kubernetes doesn't know fails the test.
func natsManifest[T any](t *testing.T, kind, name string) T {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), natsDir)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	for _, r := range built.Resources() {
		if r.GetKind() != kind || r.GetName() != name {
			continue
		}
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	t.Fatalf("%s makes no %s %s", natsDir, kind, name)
	return out
}

func environment(c corev1.Container) map[string]string {
	out := map[string]string{}
	for _, e := range c.Env {
		out[e.Name] = e.Value
	}
	return out
}

// What nats.conf says and what the StatefulSet gives it fit together.
func TestNATSStatefulSet(t *testing.T) {
	set := natsManifest[appsv1.StatefulSet](t, "StatefulSet", "nats")
	pod := set.Spec.Template.Spec
	server := pod.Containers[0]
	env := environment(server)
	conf := newNATSBed(t).options(t, t.TempDir())

	t.Run("disk", func(t *testing.T) {
		if env["NATS_MAX_FILE_STORE"] != maxFileStore {
			t.Fatalf("NATS_MAX_FILE_STORE is %q; the tests read nats.conf with %q", env["NATS_MAX_FILE_STORE"], maxFileStore)
		}
		claim := set.Spec.VolumeClaimTemplates[0]
		volume := claim.Spec.Resources.Requests[corev1.ResourceStorage]
		if share := float64(conf.JetStreamMaxStore) / float64(volume.Value()); share < 0.80 || share > 0.92 {
			t.Errorf("max_file_store is %.0f %% of the volume, want 80 to 92: the file system and Raft's logs need the rest", 100*share)
		}
		if set.Spec.PersistentVolumeClaimRetentionPolicy == nil ||
			set.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType {
			t.Error("deleting the StatefulSet deletes the volumes")
		}
	})
	t.Run("memory", func(t *testing.T) {
		if d := cmp.Diff(server.Resources.Requests, server.Resources.Limits); d != "" || len(server.Resources.Limits) != 2 {
			t.Errorf("requests are not limits:\n%s", d)
		}
		limit := server.Resources.Limits[corev1.ResourceMemory]
		soft, err := resource.ParseQuantity(strings.TrimSuffix(env["GOMEMLIMIT"], "B"))
		if err != nil {
			t.Fatalf("GOMEMLIMIT: %v", err)
		}
		if share := soft.AsApproximateFloat64() / limit.AsApproximateFloat64(); share < 0.75 || share > 0.85 {
			t.Errorf("GOMEMLIMIT is %.0f %% of the limit, want 75 to 85", 100*share)
		}
	})
	t.Run("stopping", func(t *testing.T) {
		grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
		if least := conf.LameDuckDuration + conf.LameDuckGracePeriod + 5*time.Second; grace < least {
			t.Errorf("the pod has %v to stop, want %v", grace, least)
		}
		text := readFile(t, natsFile)
		pid := strings.TrimPrefix(server.Lifecycle.PreStop.Exec.Command[1], "-sl=ldm=")
		if !strings.Contains(text, fmt.Sprintf("pid_file: %q", pid)) {
			t.Errorf("preStop reads %s, nats.conf writes another file", pid)
		}
	})
	t.Run("ports", func(t *testing.T) {
		got := map[string]int32{}
		for _, p := range server.Ports {
			got[p.Name] = p.ContainerPort
		}
		want := map[string]int32{"client": int32(conf.Port), "cluster": int32(conf.Cluster.Port), "monitor": int32(conf.HTTPPort)}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("ports (-nats.conf +pod):\n%s", d)
		}
	})
	t.Run("mounts", func(t *testing.T) {
		text := readFile(t, natsFile)
		for _, m := range server.VolumeMounts {
			if m.MountPath != "/etc/nats" && !strings.Contains(text, m.MountPath) {
				t.Errorf("%s is mounted but nats.conf doesn't use it", m.MountPath)
			}
			if wants := m.MountPath == dataMount || m.MountPath == runMount; m.ReadOnly == wants {
				t.Errorf("%s: read-only is %v", m.MountPath, m.ReadOnly)
			}
		}
	})
	t.Run("probes", func(t *testing.T) {
		got := []string{
			server.StartupProbe.HTTPGet.Path, server.ReadinessProbe.HTTPGet.Path, server.LivenessProbe.HTTPGet.Path,
			(time.Duration(server.StartupProbe.PeriodSeconds*server.StartupProbe.FailureThreshold) * time.Second).String(),
		}
		if d := cmp.Diff([]string{"/healthz", "/healthz?js-server-only=true", "/healthz?js-enabled-only=true", "15m0s"}, got); d != "" {
			t.Errorf("probes (-want +got):\n%s", d)
		}
	})
	t.Run("members", func(t *testing.T) {
		if len(conf.Routes) != int(*set.Spec.Replicas) {
			t.Errorf("%d servers, %d routes", *set.Spec.Replicas, len(conf.Routes))
		}
		for i, r := range conf.Routes {
			if want := fmt.Sprintf("%s-%d.%s:%d", set.Name, i, set.Spec.ServiceName, conf.Cluster.Port); r.Host != want {
				t.Errorf("route %d is to %s, want %s", i, r.Host, want)
			}
		}
		if set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
			t.Error("servers start one after the other, but one alone does not become ready")
		}
		spread := pod.TopologySpreadConstraints[0]
		if spread.TopologyKey != corev1.LabelHostname || spread.MaxSkew != 1 || spread.WhenUnsatisfiable != corev1.DoNotSchedule {
			t.Errorf("two servers may share a node: %+v", spread)
		}
		if d := cmp.Diff(set.Spec.Selector, spread.LabelSelector); d != "" {
			t.Errorf("the spread counts other pods than the set's (-set +spread):\n%s", d)
		}
	})
	t.Run("rights", func(t *testing.T) {
		p, c := pod.SecurityContext, server.SecurityContext
		if !*p.RunAsNonRoot || *p.RunAsUser == 0 || *p.FSGroup == 0 || p.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("the pod is not restricted: %+v", p)
		}
		if *c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("the container is not restricted: %+v", c)
		}
		if *pod.AutomountServiceAccountToken || *natsManifest[corev1.ServiceAccount](t, "ServiceAccount", pod.ServiceAccountName).AutomountServiceAccountToken {
			t.Error("the server has a token of Kubernetes")
		}
	})
}

// Services and budget choose the set's pods, and servers find each other before
// they are ready.
func TestNATSServices(t *testing.T) {
	set := natsManifest[appsv1.StatefulSet](t, "StatefulSet", "nats")
	labels := set.Spec.Selector.MatchLabels
	for name, headless := range map[string]bool{set.Spec.ServiceName: true, "nats": false} {
		s := natsManifest[corev1.Service](t, "Service", name)
		if d := cmp.Diff(labels, s.Spec.Selector); d != "" {
			t.Errorf("%s (-set +service):\n%s", name, d)
		}
		if got := s.Spec.ClusterIP == corev1.ClusterIPNone; got != headless {
			t.Errorf("%s: headless is %v", name, got)
		}
		if s.Spec.PublishNotReadyAddresses != headless {
			t.Errorf("%s: addresses that aren't ready: %v", name, s.Spec.PublishNotReadyAddresses)
		}
	}
	budget := natsManifest[policyv1.PodDisruptionBudget](t, "PodDisruptionBudget", "nats")
	if d := cmp.Diff(labels, budget.Spec.Selector.MatchLabels); d != "" || budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("the budget allows %v of these pods:\n%s", budget.Spec.MaxUnavailable, d)
	}
}
