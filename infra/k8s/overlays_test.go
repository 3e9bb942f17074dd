package k8s

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kgents/kgents/secrets"
)

// kustomizeHash is what a generated name ends in.
var kustomizeHash = regexp.MustCompile(`-[2456789bcdfghkmt]{10}$`)

// TestGeneratedNames: what staging makes has a hash in its name, so that a change of
// it rolls the pods.
func TestGeneratedNames(t *testing.T) {
	r := render(t, "staging")
	var got []string
	for ref := range r.keys() {
		if ref == "ConfigMap/"+secrets.AgesConfigMap {
			continue // no pod reads it: TestSecretAges
		}
		if ref == "ConfigMap/kgents-plans" {
			continue // pods follow its changes: TestPlansOfTheManifests
		}
		if !kustomizeHash.MatchString(ref) {
			t.Errorf("%s has no hash", ref)
		}
		got = append(got, kustomizeHash.ReplaceAllString(ref, ""))
	}
	slices.Sort(got)
	want := []string{
		"ConfigMap/kgents-backup", "ConfigMap/nats-config", "ConfigMap/nats-users", "ConfigMap/redis-config",
		"Secret/kgents-api", "Secret/kgents-backup-identity", "Secret/kgents-meter", "Secret/kgents-redis",
		"Secret/nats-api", "Secret/nats-backup", "Secret/nats-sink", "Secret/nats-system", "Secret/nats-tls", "Secret/redis-acl",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestSecretAges: a cluster is told when each secret was made, where the program looks
// for it, and by nothing that a pod waits for.
func TestSecretAges(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, c := range all[*corev1.ConfigMap](r) {
			if c.Name != secrets.AgesConfigMap {
				continue
			}
			ages, err := secrets.ReadAges([]byte(c.Data[secrets.AgesKey]))
			if err != nil || len(ages) != len(secrets.Names()) || len(c.Data) != 1 {
				t.Errorf("%d ages of %d secrets in %d keys: %v", len(ages), len(secrets.Names()), len(c.Data), err)
			}
			return
		}
		t.Errorf("there is no ConfigMap %s", secrets.AgesConfigMap)
	})
}

// TestEverythingFitsTheQuota: at its most, with every rolling update under way.
func TestEverythingFitsTheQuota(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		most := corev1.ResourceList{}
		add := func(name string, q resource.Quantity, times int32) {
			sum := most[corev1.ResourceName(name)]
			for range times {
				sum.Add(q)
			}
			most[corev1.ResourceName(name)] = sum
		}
		one := resource.MustParse("1")
		for _, w := range r.workloads() {
			n := w.replicas + w.surge
			if w.name == "kgents-sink" {
				n++ // the runbook scales staging's from two to three
			}
			add("pods", one, n)
			for _, c := range w.pod.Spec.Containers {
				for name, q := range c.Resources.Requests {
					add("requests."+string(name), q, n)
				}
				for name, q := range c.Resources.Limits {
					add("limits."+string(name), q, n)
				}
			}
			for _, c := range w.claims {
				add("persistentvolumeclaims", one, n)
				add("requests.storage", c.Spec.Resources.Requests[corev1.ResourceStorage], n)
			}
		}
		for _, c := range all[*corev1.PersistentVolumeClaim](r) {
			add("persistentvolumeclaims", one, 1)
			add("requests.storage", c.Spec.Resources.Requests[corev1.ResourceStorage], 1)
		}
		for _, q := range all[*corev1.ResourceQuota](r) {
			for name, need := range most {
				if hard := q.Spec.Hard[name]; hard.Cmp(need) < 0 {
					t.Errorf("%s: up to %s are needed, the quota is %s", name, need.String(), hard.String())
				}
			}
		}
		for _, l := range all[*corev1.LimitRange](r)[0].Spec.Limits {
			for _, w := range r.workloads() {
				for _, c := range w.pod.Spec.Containers {
					for name, limit := range c.Resources.Limits {
						if top, ok := l.Max[name]; ok && l.Type == corev1.LimitTypeContainer && limit.Cmp(top) > 0 {
							t.Errorf("%s: %s of %s is over the limit range", w.id, limit.String(), name)
						}
					}
				}
			}
		}
	})
}

// TestApplyTwiceChangesNothing: what the server would write in another way is not
// there, so the second apply and `kubectl diff` find nothing.
func TestApplyTwiceChangesNothing(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, o := range r.objects {
			walk(o.raw, o.id, func(path string, v any) {
				switch v := v.(type) {
				case nil:
					t.Errorf("%s is null", path)
				case []any:
					if len(v) == 0 {
						t.Errorf("%s is an empty list", path)
					}
				case map[string]any:
					if len(v) == 0 && !slices.Contains(deliberatelyEmpty, path) {
						t.Errorf("%s is an empty map", path)
					}
				}
			})
			if o.typed == nil {
				continue
			}
			b, err := json.Marshal(o.typed)
			if err != nil {
				t.Fatal(err)
			}
			var again map[string]any
			if err := json.Unmarshal(b, &again); err != nil {
				t.Fatal(err)
			}
			back := flat(again, "")
			for path, v := range flat(o.raw, "") {
				text := fmt.Sprint(v)
				if _, ok := o.typed.(*corev1.Secret); ok && strings.HasPrefix(path, "data.") {
					// Kustomize wraps base64. The server stores it unwrapped, so an apply sends
					// such a Secret again, and calls it 'configured'; it does not change.
					text = strings.ReplaceAll(text, "\n", "")
				}
				if fmt.Sprint(back[path]) != text {
					t.Errorf("%s %s: %v comes back as %v", o.id, path, v, back[path])
				}
			}
		}
	})
}

// deliberatelyEmpty are the empty maps that mean something: everything, or a kind.
var deliberatelyEmpty = []string{
	"NetworkPolicy/default-deny.spec.podSelector",
	"NetworkPolicy/dns.spec.podSelector",
	"Issuer/nats-self-signed.spec.selfSigned",
}

// walk calls f for v and for all in it.
func walk(v any, path string, f func(path string, v any)) {
	f(path, v)
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			walk(item, path+"."+k, f)
		}
	case []any:
		for i, item := range v {
			walk(item, fmt.Sprintf("%s[%s]", path, nameOf(item, i)), f)
		}
	}
}

// nameOf is how a list's item is called: by its name where it has one.
func nameOf(item any, i int) string {
	if m, ok := item.(map[string]any); ok {
		if name, ok := m["name"].(string); ok {
			return name
		}
	}
	return fmt.Sprint(i)
}

// flat is v's leaves by path.
func flat(v any, root string) map[string]any {
	out := map[string]any{}
	walk(v, root, func(path string, v any) {
		switch v.(type) {
		case map[string]any, []any:
		default:
			out[strings.TrimPrefix(path, ".")] = v
		}
	})
	return out
}

// productionDiffers is the whole list of what is not as in staging.
var productionDiffers = []string{
	"ConfigMap/kgents-backup data.BACKUP_RECIPIENT",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].env[AWS_ACCESS_KEY_ID_FILE].name",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].env[AWS_ACCESS_KEY_ID_FILE].value",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].env[AWS_SECRET_ACCESS_KEY_FILE].name",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].env[AWS_SECRET_ACCESS_KEY_FILE].value",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].env[BACKUP_KEEP].value",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].env[BACKUP_URL].value",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].image",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].resources",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.containers[backup].volumeMounts[backups]",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.volumes[backups]",
	"CronJob/kgents-backup spec.jobTemplate.spec.template.spec.volumes[secrets].projected.sources[2]",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].env[AWS_ACCESS_KEY_ID_FILE].name",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].env[AWS_ACCESS_KEY_ID_FILE].value",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].env[AWS_SECRET_ACCESS_KEY_FILE].name",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].env[AWS_SECRET_ACCESS_KEY_FILE].value",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].env[BACKUP_URL].value",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].env[GOMEMLIMIT].value",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].image",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].resources",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.containers[drill].volumeMounts[backups]",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.volumes[backups]",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.volumes[scratch].emptyDir.sizeLimit",
	"CronJob/kgents-backup-drill spec.jobTemplate.spec.template.spec.volumes[secrets].projected.sources[3]",
	"CronJob/kgents-verify spec.jobTemplate.spec.template.spec.containers[verify].image",
	"Deployment/kgents-api metadata.annotations.secret.reloader.stakater.com/auto",
	"Deployment/kgents-api spec.template.spec.containers[api].env[GOMEMLIMIT].value",
	"Deployment/kgents-api spec.template.spec.containers[api].env[NATS_STREAM_MAX_BYTES].value",
	"Deployment/kgents-api spec.template.spec.containers[api].env[OPENMETER_BASE_URL].value",
	"Deployment/kgents-api spec.template.spec.containers[api].image",
	"Deployment/kgents-api spec.template.spec.containers[api].resources",
	"Deployment/kgents-sink metadata.annotations.secret.reloader.stakater.com/auto",
	"Deployment/kgents-sink spec.replicas",
	"Deployment/kgents-sink spec.template.spec.containers[sink].env[GOMEMLIMIT].value",
	"Deployment/kgents-sink spec.template.spec.containers[sink].env[NATS_STREAM_MAX_BYTES].value",
	"Deployment/kgents-sink spec.template.spec.containers[sink].env[OPENMETER_BASE_URL].value",
	"Deployment/kgents-sink spec.template.spec.containers[sink].image",
	"Deployment/kgents-sink spec.template.spec.containers[sink].resources",
	"HorizontalPodAutoscaler/kgents-api spec.maxReplicas",
	"HorizontalPodAutoscaler/kgents-api spec.minReplicas",
	"Ingress/kgents-api spec.rules[0].host",
	"Ingress/kgents-api spec.tls[0].hosts[0]",
	"ResourceQuota/kgents spec.hard",
	"StatefulSet/nats metadata.annotations.secret.reloader.stakater.com/auto",
	"StatefulSet/nats spec.template.spec.containers[nats].env[GOMEMLIMIT].value",
	"StatefulSet/nats spec.template.spec.containers[nats].env[NATS_MAX_FILE_STORE].value",
	"StatefulSet/nats spec.template.spec.containers[nats].resources",
	"StatefulSet/nats spec.volumeClaimTemplates[0].spec.resources",
	"StatefulSet/redis metadata.annotations.secret.reloader.stakater.com/auto",
	"StatefulSet/redis spec.template.spec.containers[redis].env[REDIS_MAXMEMORY].value",
	"StatefulSet/redis spec.template.spec.containers[redis].resources",
	"StatefulSet/redis spec.volumeClaimTemplates[0].spec.resources",
	"only in production: Certificate/nats-ca",
	"only in production: Certificate/nats-tls",
	"only in production: ExternalSecret/kgents-api",
	"only in production: ExternalSecret/kgents-backup-identity",
	"only in production: ExternalSecret/kgents-backup-s3",
	"only in production: ExternalSecret/kgents-meter",
	"only in production: ExternalSecret/kgents-redis",
	"only in production: ExternalSecret/nats-api",
	"only in production: ExternalSecret/nats-backup",
	"only in production: ExternalSecret/nats-sink",
	"only in production: ExternalSecret/nats-system",
	"only in production: ExternalSecret/redis-acl",
	"only in production: Issuer/nats-ca",
	"only in production: Issuer/nats-self-signed",
	"only in production: Namespace/kgents",
	"only in production: NetworkPolicy/backup-store",
	"only in production: NetworkPolicy/openmeter",
	"only in staging: Namespace/kgents-staging",
	"only in staging: NetworkPolicy/kgents-meter",
	"only in staging: NetworkPolicy/kgents-meter-clients",
	"only in staging: PersistentVolumeClaim/kgents-backup",
	"only in staging: Secret/kgents-api",
	"only in staging: Secret/kgents-backup-identity",
	"only in staging: Secret/kgents-meter",
	"only in staging: Secret/kgents-redis",
	"only in staging: Secret/nats-api",
	"only in staging: Secret/nats-backup",
	"only in staging: Secret/nats-sink",
	"only in staging: Secret/nats-system",
	"only in staging: Secret/nats-tls",
	"only in staging: Secret/redis-acl",
	"only in staging: Service/kgents-meter",
	"only in staging: ServiceAccount/kgents-meter",
	"only in staging: StatefulSet/kgents-meter",
}

// TestWhatProductionDiffersIn: a line that is not listed is a mistake in one of the
// two.
func TestWhatProductionDiffersIn(t *testing.T) {
	leaves := func(overlay string) map[string]string {
		out := map[string]string{}
		for _, o := range render(t, overlay).objects {
			id := kustomizeHash.ReplaceAllString(o.id, "")
			out[id] = "there"
			if o.raw["kind"] == "Secret" || o.raw["kind"] == "ConfigMap" && strings.HasPrefix(o.GetName(), "nats-users") {
				continue // the values are each place's own
			}
			for path, v := range flat(o.raw, "") {
				if path == "metadata.namespace" || path == "metadata.name" || strings.HasPrefix(path, "subjects") {
					continue // TestObjectsAreInTheirPlace
				}
				text := fmt.Sprint(v)
				if strings.HasSuffix(path, "secretName") || strings.HasSuffix(path, ".name") {
					text = kustomizeHash.ReplaceAllString(text, "")
				}
				out[id+" "+path] = text
			}
		}
		return out
	}
	staging, production := leaves("staging"), leaves("production")
	got := map[string]bool{}
	note := func(key string) {
		id, path, _ := strings.Cut(key, " ")
		if _, both := staging[id]; !both {
			got["only in production: "+id] = true
		} else if _, both := production[id]; !both {
			got["only in staging: "+id] = true
		} else {
			for _, part := range []string{"resources", "spec.hard", "volumes[backups]", "volumeMounts[backups]"} {
				if i := strings.Index(path, part+"."); i >= 0 {
					path = path[:i+len(part)]
				}
			}
			path, _, _ = strings.Cut(path, ".secret.items") // a key goes where its Secret goes
			path = strings.TrimSuffix(path, ".secret.name")
			got[id+" "+path] = true
		}
	}
	for key, v := range staging {
		if production[key] != v {
			note(key)
		}
	}
	for key := range production {
		if _, ok := staging[key]; !ok {
			note(key)
		}
	}
	lines := slices.Sorted(maps.Keys(got))
	if diff := cmp.Diff(productionDiffers, lines); diff != "" {
		t.Errorf("(-listed +found):\n%s", diff)
	}
}

// TestNoSecretInTheRepository: what git keeps of this folder holds none.
func TestNoSecretInTheRepository(t *testing.T) {
	secret := regexp.MustCompile(`-----BEGIN|\bS[UAOCNX][A-Z2-7]{56}\b|AGE-SECRET-KEY-1|whsec_|[sr]k_(live|test)_|redis://[^\s:]*:[^\s@]+@`)
	for _, dir := range []string{"manifests", "overlays", "components"} {
		err := fs.WalkDir(withoutSecrets{os.DirFS(dir)}, ".", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(filepath.Join(dir, path))
			if err == nil && secret.Match(b) {
				t.Errorf("%s/%s holds what looks like a secret", dir, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile("overlays/staging/.gitignore"); err != nil || !strings.Contains(string(b), "\n/secrets/\n") {
		t.Errorf("git does not ignore the secrets of staging: %v", err)
	}
}

// TestSecretsStayInSecrets: no value of a secret file gets into anything else.
func TestSecretsStayInSecrets(t *testing.T) {
	value := regexp.MustCompile(`\bsecret-[a-m]\b`)
	found := 0
	for _, o := range render(t, "staging").objects {
		if s, ok := o.typed.(*corev1.Secret); ok {
			for _, v := range s.Data {
				found += len(value.FindAll(v, -1))
			}
			continue
		}
		if b, err := json.Marshal(o.raw); err != nil || value.Match(b) {
			t.Errorf("%s holds a secret's value, %v", o.id, err)
		}
	}
	if found != 13 { // the operator's key has no pod, so the cluster doesn't get it
		t.Errorf("the Secrets hold %d of the 13 values that pods need", found)
	}
}

// TestStreamFitsTheServers: the stream of events ends well before the servers' own
// bound, and api and sink, which both make the stream, agree where.
func TestStreamFitsTheServers(t *testing.T) {
	eachOverlay(t, func(t *testing.T, r rendered) {
		bounds := map[string]float64{}
		for _, w := range r.workloads() {
			for _, c := range w.pod.Spec.Containers {
				for name, value := range environment(c) {
					if name == "NATS_STREAM_MAX_BYTES" || name == "NATS_MAX_FILE_STORE" {
						// Kubernetes writes 1Gi what the program calls 1GiB.
						bound := resource.MustParse(strings.TrimSuffix(value, "B"))
						bounds[c.Name] = float64(bound.Value())
					}
				}
			}
		}
		if bounds["api"] != bounds["sink"] {
			t.Errorf("the stream's bound is %v of the api and %v of the sink", bounds["api"], bounds["sink"])
		}
		if part := bounds["api"] / bounds["nats"]; !(part > 0.7 && part < 0.85) {
			t.Errorf("the stream may have %v of %v bytes", bounds["api"], bounds["nats"])
		}
	})
}
