package checks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/nats-io/nkeys"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kgents/kgents/secrets"
)

func secretWorlds(t *testing.T) []broken {
	t.Helper()
	variable := func(v corev1.EnvVar) func(*world) {
		return container("kgents-api", func(c *corev1.Container) { c.Env = append(c.Env, v) })
	}
	logged := func(text string) func(*world) {
		return func(w *world) { w.Logs["kgents-sink-5d8f7-1/sink"] += text }
	}
	record := func(change func(map[string]map[string]time.Time)) func(*world) {
		return func(w *world) {
			ages := map[string]map[string]time.Time{}
			for _, name := range secrets.Names() {
				ages[name] = map[string]time.Time{"made": time.Now().Add(-48 * time.Hour)}
			}
			if change != nil {
				change(ages)
			}
			text, err := json.Marshal(ages)
			if err != nil {
				panic(err)
			}
			w.ConfigMaps = slices.DeleteFunc(w.ConfigMaps, func(c corev1.ConfigMap) bool { return strings.HasPrefix(c.Name, secrets.AgesConfigMap) })
			for name, c := range map[string]corev1.ConfigMap{
				"now":    {Data: map[string]string{secrets.AgesKey: string(text)}},
				"before": {Data: map[string]string{secrets.AgesKey: "{}"}},
			} {
				c.Name, c.CreationTimestamp = secrets.AgesConfigMap+"-"+name, metav1.NewTime(time.Now())
				if name == "before" {
					c.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
				}
				w.ConfigMaps = append(w.ConfigMaps, c)
			}
		}
	}
	return []broken{
		{"secrets-age", "passes", "each within its period; the oldest is 2 days old", record(nil)},
		{"secrets-age", "fails: a key is too old", "api-key: it was to be rotated", record(func(a map[string]map[string]time.Time) {
			a["api-key"]["made"] = time.Now().Add(-1500 * 24 * time.Hour)
		})},
		{"secrets-age", "fails: a rotation was never finished", "webhook-secret: its rotation isn't finished for 20 days", record(func(a map[string]map[string]time.Time) {
			a["webhook-secret"]["rotating"] = time.Now().Add(-20*24*time.Hour - time.Minute)
		})},
		{"secrets-age", "warns: soon", "to be rotated soon: redis on", record(func(a map[string]map[string]time.Time) {
			a["redis"]["made"] = time.Now().Add(7*24*time.Hour - periodOf("redis"))
		})},
		{"secrets-age", "cannot tell: of one nothing is known", "says nothing of the age of redis", record(func(a map[string]map[string]time.Time) { delete(a, "redis") })},
		{"secrets-age", "cannot tell: there is no record", "no record of when secrets were made", func(w *world) {
			record(nil)(w)
			w.ConfigMaps = w.ConfigMaps[:len(w.ConfigMaps)-2]
		}},
		{"secrets-age", "cannot tell: ConfigMaps are denied", "no permission", denied("configmaps")},
		{"secrets-not-in-configmaps", "passes", "ConfigMaps hold no form of a secret, and none of", nil},
		{"secrets-not-in-configmaps", "fails: a private key", "note holds a private key", func(w *world) { w.ConfigMaps[0].Data["note"] = privateKey(t) }},
		{"secrets-not-in-configmaps", "fails: a value of a Secret", "holds the value API_KEYS of Secret kgents-api-", func(w *world) {
			w.ConfigMaps[0].Data["note"] = "key=" + string(w.secret("kgents-api-").Data["API_KEYS"])
		}},
		{"secrets-not-in-configmaps", "fails: the password of a URL", "holds the value REDIS_URL", func(w *world) {
			url := string(w.secret("kgents-redis").Data["REDIS_URL"])
			password, _, _ := strings.Cut(strings.TrimPrefix(url, "redis://kgents:"), "@")
			w.ConfigMaps[0].Data["note"] = "user kgents >" + password
		}},
		{"secrets-not-in-configmaps", "passes: an address that is in a Secret too", "hold no form of a secret", func(w *world) {
			w.secret("kgents-api-").Data["URL"] = []byte("https://backups.example.com/kgents")
			w.ConfigMaps[0].Data["note"] = "https://backups.example.com/kgents"
		}},
		{"secrets-not-in-configmaps", "fails: in bytes", "holds a webhook secret of Stripe", func(w *world) {
			w.ConfigMaps[0].BinaryData = map[string][]byte{"note": []byte("whsec_" + "J7Q2ZKPX4MRT6WBN3YHD5LCVGA")}
		}},
		{"secrets-not-in-configmaps", "fails: by its name", "STRIPE_WEBHOOK_SECRET is the name of a secret", func(w *world) {
			w.ConfigMaps[0].Data["STRIPE_WEBHOOK_SECRET"] = "hunter2"
		}},
		{"secrets-not-in-configmaps", "cannot tell: Secrets are denied", "no permission to read secrets", denied("secrets")},
		{"secrets-not-in-environment", "passes", "no secret in a variable", nil},
		{"secrets-not-in-environment", "fails: a key of a Secret", "has STRIPE_WEBHOOK_SECRET of Secret kgents-api", variable(corev1.EnvVar{Name: "STRIPE_WEBHOOK_SECRET", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "kgents-api"}, Key: "STRIPE_WEBHOOK_SECRET"},
		}})},
		{"secrets-not-in-environment", "fails: a whole Secret", "has all of Secret kgents-api", container("kgents-api", func(c *corev1.Container) {
			c.EnvFrom = append(c.EnvFrom, corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "kgents-api"}}})
		})},
		{"secrets-not-in-environment", "fails: a value", "has API_KEYS", variable(corev1.EnvVar{Name: "API_KEYS", Value: "short"})},
		{"secrets-not-in-environment", "fails: a password in a URL", "has a password in a URL in PROXY", variable(corev1.EnvVar{Name: "PROXY", Value: "http://me:" + "J7q2ZkPx4mRt6W@proxy:3128"})},
		{"secrets-not-in-environment", "fails: on the command line", "on its command line", func(w *world) {
			key := string(w.secret("kgents-api-").Data["API_KEYS"])
			container("kgents-api", func(c *corev1.Container) { c.Args = append(c.Args, "--api-keys="+key) })(w)
		}},
		{"secrets-not-in-environment", "cannot tell: pods are denied", "no permission", denied("pods")},
		{"logs-hold-no-secrets", "passes", "containers in the last hour: no secret by its form", nil},
		{"logs-hold-no-secrets", "fails: a key", "line 3 of container sink holds the value API_KEYS", func(w *world) {
			logged("key " + string(w.secret("kgents-api-").Data["API_KEYS"]) + "\n")(w)
		}},
		{"logs-hold-no-secrets", "fails: a private key in JSON", "line 3 of container sink holds a private key", logged(`{"msg":"` + strings.ReplaceAll(privateKey(t), "\n", `\n`) + `"}` + "\n")},
		{"logs-hold-no-secrets", "fails: an e-mail address", "holds an e-mail address", logged("customer jane.doe+x@kgents.io paid\n")},
		{"logs-hold-no-secrets", "passes: an address of an example", "no e-mail address", logged("customer jane@example.com paid\n")},
		{"logs-hold-no-secrets", "passes: a container has not begun", "in the last hour", func(w *world) {
			w.pods("kgents-sink-5d8f7-1", func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
			})
		}},
		{"logs-hold-no-secrets", "warns: too much to read", "only the first 8 MiB", func(w *world) {
			logged(strings.Repeat("nothing to see here, and nothing to see there\n", 8<<20/46+1))(w)
		}},
		{"logs-hold-no-secrets", "cannot tell: logs are denied", "no permission to read pods/log", denied("log")},
	}
}

// periodOf is how long a secret may be used.
func periodOf(name string) time.Duration {
	ages, err := secrets.ReadAges([]byte("{}"))
	i := slices.IndexFunc(ages, func(a secrets.Age) bool { return a.Name == name })
	if err != nil || i < 0 {
		return 0
	}
	return ages[i].Period
}

// elsewhereRows are those whose systems are more, or less, than a cluster.
func elsewhereRows(t *testing.T) []row {
	t.Helper()
	repository := func(files map[string]string, then ...func(t *testing.T, dir string)) func(t *testing.T) *System {
		return func(t *testing.T) *System {
			dir := newRepository(t, files)
			for _, f := range then {
				f(t, dir)
			}
			return &System{Repository: dir, APIKeys: []string{"a-known-key-of-ours"}}
		}
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	clean := map[string]string{
		"README.md": "Start it with `STRIPE_WEBHOOK_SECRET=whsec_… kgents up`, or whsec_test_secret_1234567890abcdef.\n" +
			"The key is kg_YOURKEYYOURKEYYOURKEYYOUR1, the seed begins with SUA, redis://kgents:password1234@redis:6379 is the URL,\n" +
			"and a key file with -----BEGIN PRIVATE KEY----- at its top.\n",
	}
	with := func(text string) map[string]string {
		return map[string]string{"README.md": clean["README.md"], "deploy/notes.txt": "first line\n" + text + "\n"}
	}
	return append(grafanaRows(t), []row{
		{"secrets-not-in-git", "passes", repository(clean), "1 tracked file and 1 version"},
		{"secrets-not-in-git", "passes: what git ignores", repository(clean, func(t *testing.T, dir string) {
			write(t, dir, "secrets/api.env", "API_KEYS=a-known-key-of-ours\n")
		}), "1 tracked file"},
		{"secrets-not-in-git", "fails: a known key", repository(with("a-known-key-of-ours")), "deploy/notes.txt:2: one of the API's keys"},
		{"secrets-not-in-git", "fails: a key of an API", repository(with("kg_" + "J7Q2ZKPX4MRT6WBN3YHD5LCVGA")), "an API key"},
		{"secrets-not-in-git", "fails: a key of Stripe", repository(with("rk_" + "live_51J7q2ZkPx4mRt6WbN3yHd5LcVgA")), "a live key of Stripe"},
		{"secrets-not-in-git", "fails: a customer's key", repository(with("kg_" + "m3xq7rvt2k_" + "h5w2ybn6dqz4cjx3tkm7vpr5gfa2slq6uwe3n4ib")), "an API key"},
		{"secrets-not-in-git", "fails: a restricted key of Stripe", repository(with("rk_live_" + "51QxZ7RkM2vTn8LpWc4YhJd6B")), "a live key of Stripe"},
		{"secrets-not-in-git", "passes: made up for a test", repository(map[string]string{"a_test.go": "kg_" + "J7Q2ZKPX4MRT6WBN3YHD5LCVGA"}), "1 tracked file"},
		{"secrets-not-in-git", "fails: a known key in a test", repository(map[string]string{"a_test.go": "a-known-key-of-ours"}), "a_test.go:1: one of the API's keys"},
		{"secrets-not-in-git", "fails: a live key in a test", repository(map[string]string{"testdata/a": "rk_" + "live_51J7q2ZkPx4mRt6WbN3yHd5LcVgA"}), "testdata/a:1: a live key"},
		{"secrets-not-in-git", "fails: the seed of an NKey", repository(with(string(seed))), "deploy/notes.txt:2: the seed of an NKey"},
		{"secrets-not-in-git", "fails: an age identity", repository(with(identity.String())), "an age identity"},
		{"secrets-not-in-git", "fails: a private key", repository(with(privateKey(t))), "deploy/notes.txt:2: a private key"},
		{"secrets-not-in-git", "fails: added and not committed", repository(clean, func(t *testing.T, dir string) {
			write(t, dir, "new.txt", "a-known-key-of-ours")
			runGit(t, dir, "add", "new.txt")
		}), "new.txt:1"},
		{"secrets-not-in-git", "fails: deleted, but in the history", repository(with("a-known-key-of-ours"), func(t *testing.T, dir string) {
			runGit(t, dir, "rm", "-q", "deploy/notes.txt")
			runGit(t, dir, "commit", "-q", "-m", "gone")
		}), "in the history: deploy/notes.txt"},
		{"secrets-not-in-git", "fails: on another branch", repository(clean, func(t *testing.T, dir string) {
			runGit(t, dir, "checkout", "-q", "-b", "other")
			write(t, dir, "other.txt", "a-known-key-of-ours")
			runGit(t, dir, "add", "other.txt")
			runGit(t, dir, "commit", "-q", "-m", "other")
			runGit(t, dir, "checkout", "-q", "-")
		}), "in the history: other.txt"},
		{"secrets-not-in-git", "fails: what is in the directory of kgents secrets", func(t *testing.T) *System {
			s := repository(with("nobody-knows-this-one"))(t)
			s.SecretsDir = t.TempDir()
			write(t, s.SecretsDir, "api.env", "API_KEYS=another,nobody-knows-this-one\n")
			return s
		}, "what is in api.env of kgents secrets"},
		{"secrets-age", "passes: a directory", func(t *testing.T) *System {
			dir := t.TempDir()
			if _, err := secrets.Init(dir, stagingNamespace); err != nil {
				t.Fatal(err)
			}
			return &System{SecretsDir: dir}
		}, "by the record of the directory"},
		{"secrets-age", "cannot tell: no directory", func(t *testing.T) *System {
			return &System{SecretsDir: filepath.Join(t.TempDir(), "none")}
		}, "there is no directory"},
		{"secrets-age", "cannot tell: none is named", func(*testing.T) *System { return &System{} }, "no directory of kgents secrets is known"},
		{"secrets-not-in-git", "cannot tell: no repository", func(t *testing.T) *System { return &System{Repository: t.TempDir()} }, "is no git work tree"},
		{"secrets-not-in-git", "cannot tell: none is named", func(*testing.T) *System { return &System{} }, "no git repository is known"},
	}...)
}

// privateKey is a new one, of nobody.
func privateKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newRepository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	runGit(t, dir, "init", "-q")
	write(t, dir, ".gitignore", "secrets/\n.gitignore\n")
	for name, text := range files {
		write(t, dir, name, text)
		runGit(t, dir, "add", name)
	}
	runGit(t, dir, "commit", "-q", "-m", "first")
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func runGit(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
}
