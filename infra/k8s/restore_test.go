package k8s

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// numbered is the time in the name of what a script makes.
var numbered = regexp.MustCompile(`-[0-9]{8}-[0-9]{6}$`)

// drillJob is what `kubectl create job --from=cronjob/kgents-backup-drill` makes of an
// overlay.
func drillJob(t *testing.T, overlay string) string {
	t.Helper()
	for _, c := range all[*batchv1.CronJob](render(t, overlay)) {
		if c.Name != "kgents-backup-drill" {
			continue
		}
		job := batchv1.Job{Spec: c.Spec.JobTemplate.Spec}
		job.APIVersion, job.Kind, job.Name = "batch/v1", "Job", "restore-20261130-120000"
		text, err := yaml.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatal("there is no CronJob kgents-backup-drill")
	return ""
}

// restoring is a cluster with a deployment, and the operator's key at hand.
func restoring(t *testing.T) *checkout {
	t.Helper()
	c := newCheckout(t)
	c.namespace()
	c.write(filepath.Join(c.fake, "drill.yaml"), drillJob(t, "staging"))
	dir := filepath.Join(c.root, "infra/k8s/overlays/staging/secrets/nats")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.write(filepath.Join(dir, "operator.nk"), "hunter2")
	if err := os.Chmod(filepath.Join(c.root, "infra/k8s/scripts/restore.sh"), 0o700); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *checkout) restore(input string, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(c.root, "infra/k8s/scripts/restore.sh"), args...)
	cmd.Env, cmd.Dir = c.env, c.t.TempDir()
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &err
	var exit *exec.ExitError
	if e := cmd.Run(); e != nil && !errors.As(e, &exit) {
		c.t.Fatal(e)
	}
	if strings.Contains(out.String()+err.String(), "hunter2") {
		c.t.Errorf("it printed a secret:\n%s%s", &out, &err)
	}
	if _, e := os.Stat(filepath.Join(c.fake, "secret")); e == nil {
		c.t.Error("the operator's key is still in the cluster")
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// acts are the calls that change something, without the times in names.
func (c *checkout) acts() (out []string) {
	for _, call := range c.calls("kubectl patch", "kubectl scale", "kubectl annotate", "kubectl wait", "kubectl create", "kubectl delete") {
		words := strings.Fields(strings.TrimPrefix(call, "kubectl "))
		for i, w := range words {
			words[i] = numbered.ReplaceAllString(w, "")
			if strings.HasPrefix(w, "--from-file=seed=") {
				words[i] = "--from-file=seed"
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func (c *checkout) created(t *testing.T) batchv1.Job {
	t.Helper()
	var job batchv1.Job
	if err := yaml.UnmarshalStrict([]byte(readFile(t, filepath.Join(c.fake, "created"))), &job); err != nil {
		t.Fatal(err)
	}
	return job
}

func TestRestore(t *testing.T) {
	c := restoring(t)
	code, out, stderr := c.restore("kgents-staging\n")
	if code != 0 || stderr != "" {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	wantParts(t, out, "This stops api and sink", "6/6", "nobody writes to the stream", "read back, the same", "every line passes", "restored after",
		"disaster-recovery.md#events-between-the-backup-and-the-loss")
	want := []string{
		`patch cronjob kgents-verify --patch {"spec":{"suspend":true}}`,
		`patch cronjob kgents-backup --patch {"spec":{"suspend":true}}`,
		`patch cronjob kgents-backup-drill --patch {"spec":{"suspend":true}}`,
		"annotate cronjob kgents-backup --overwrite kgents/restore-api=4",
		"scale deployment/kgents-api --replicas=0",
		"annotate cronjob kgents-backup --overwrite kgents/restore-sink=4",
		"scale deployment/kgents-sink --replicas=0",
		"wait pod -l app.kubernetes.io/name=kgents-api --for=delete --timeout=120s",
		"wait pod -l app.kubernetes.io/name=kgents-sink --for=delete --timeout=120s",
		"create secret generic kgents-restore --from-file=seed",
		"create job restore --from=cronjob/kgents-backup-drill --dry-run=client -o yaml",
		"create -f -",
		"scale deployment/kgents-sink --replicas=4",
		"scale deployment/kgents-api --replicas=4",
		`patch cronjob kgents-verify --patch {"spec":{"suspend":false}}`,
		`patch cronjob kgents-backup --patch {"spec":{"suspend":false}}`,
		`patch cronjob kgents-backup-drill --patch {"spec":{"suspend":false}}`,
		"annotate cronjob kgents-backup kgents/restore-api- kgents/restore-sink-",
		"create job verify --from=cronjob/kgents-verify",
		"create job backup --from=cronjob/kgents-backup",
		"delete secret kgents-restore --ignore-not-found --wait=false",
	}
	if diff := cmp.Diff(want, c.acts()); diff != "" {
		t.Error(diff)
	}
}

// The restore's Job is the drill's but for what it does and with whose key, in both
// overlays.
func TestRestoreJob(t *testing.T) {
	for overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			c := restoring(t)
			text := drillJob(t, overlay)
			c.write(filepath.Join(c.fake, "drill.yaml"), text)
			args, wants := []string{"--yes", "--backup", "20261130T120700.123Z-0a1b2c3d"}, []string{"stream", "restore", "20261130T120700.123Z-0a1b2c3d", "--append", "--metered"}
			if overlay == "staging" {
				args, wants = append(args, "--meter-lost"), wants[:4]
			}
			if code, out, stderr := c.restore("", args...); code != 0 {
				t.Fatalf("code %d\n%s%s", code, out, stderr)
			}
			var want batchv1.Job
			if err := yaml.UnmarshalStrict([]byte(text), &want); err != nil {
				t.Fatal(err)
			}
			got := c.created(t)
			container := &got.Spec.Template.Spec.Containers[0]
			if diff := cmp.Diff(wants, container.Args); diff != "" {
				t.Error(diff)
			}
			var secrets []string
			for _, s := range got.Spec.Template.Spec.Volumes[slices.IndexFunc(got.Spec.Template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == "secrets" })].Projected.Sources {
				secrets = append(secrets, kustomizeHash.ReplaceAllString(numbered.ReplaceAllString(s.Secret.Name, ""), ""))
			}
			wanted := []string{"kgents-restore", "nats-tls", "kgents-backup-identity"}
			if overlay == "production" {
				wanted = append(wanted, "kgents-backup-s3")
			}
			if diff := cmp.Diff(wanted, secrets); diff != "" {
				t.Error(diff)
			}
			container.Args = want.Spec.Template.Spec.Containers[0].Args
			got.Spec.Template.Spec.Volumes = want.Spec.Template.Spec.Volumes
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-drill +restore):\n%s", diff)
			}
		})
	}
}

// A restore that fails leaves api and sink stopped, says so, and what the cluster says;
// another run starts as many as there were.
func TestRestoreFails(t *testing.T) {
	c := restoring(t)
	c.answer(`"get job restore-"*) printf Failed; exit ;; "logs job/restore-"*) echo 'kgents: events-00002.seg.age: the file was changed AGE-SECRET-KEY-1HUNTER'; exit ;;`)
	code, out, stderr := c.restore("", "--yes")
	if code != 1 {
		t.Errorf("code %d", code)
	}
	wantParts(t, out, "the file was changed AGE-SECRET-KEY-…")
	wantParts(t, stderr, "the restore failed", "api and sink are stopped", "runbook.md#start", "runbook.md#restore")
	if slices.ContainsFunc(c.acts(), func(a string) bool { return strings.HasPrefix(a, "scale") && !strings.HasSuffix(a, "=0") }) {
		t.Errorf("it started something: %q", c.acts())
	}
	c.answer("")
	if code, out, stderr := c.restore("", "--yes"); code != 0 {
		t.Fatalf("the second run: code %d\n%s%s", code, out, stderr)
	}
	if got := c.acts(); !slices.Contains(got, "scale deployment/kgents-api --replicas=4") || !slices.Contains(got, "scale deployment/kgents-sink --replicas=4") {
		t.Errorf("what was stopped was not started as it was: %q", got)
	}
}

// While the sink catches up, a canary is late; the script waits.
func TestRestoreCatchesUp(t *testing.T) {
	c := restoring(t)
	c.answer(`"get job verify-"*) [ ! -e "$FAKE/late" ] || { printf Complete; exit; }; touch "$FAKE/late"; printf Failed; exit ;;`)
	code, out, stderr := c.restore("", "--yes")
	if code != 0 {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	wantParts(t, out, "may still be catching up", "every line passes")
}

// A drill and a list change nothing.
func TestRestoreLooks(t *testing.T) {
	for mode, test := range map[string]struct{ answer, said, act string }{
		"--drill": {"", "the newest backup can be restored", "create job drill --from=cronjob/kgents-backup-drill"},
		"--list":  {`"logs job/list-"*) echo 'BACKUP  STATE'; exit ;;`, "BACKUP  STATE", "create -f -"},
	} {
		t.Run(mode, func(t *testing.T) {
			c := restoring(t)
			c.answer(test.answer)
			code, out, stderr := c.restore("", mode)
			if code != 0 {
				t.Fatalf("code %d\n%s%s", code, out, stderr)
			}
			wantParts(t, out, "2/2", test.said)
			acts := c.acts()
			if acts[len(acts)-1] != test.act || len(acts) > 2 {
				t.Errorf("it did %q", acts)
			}
			if mode == "--list" {
				if got := c.created(t).Spec.Template.Spec.Containers[0].Args; !slices.Equal(got, []string{"stream", "list"}) {
					t.Errorf("the arguments are %q", got)
				}
			}
			c.answer(`"get job "*) printf Failed; exit ;;`)
			if code, _, stderr := c.restore("", mode); code != 1 || !strings.Contains(stderr, "failed:") {
				t.Errorf("of a failure: code %d, %s", code, stderr)
			}
		})
	}
}

func TestRestoreRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		input  string
		answer string
		code   int
		want   string
	}{
		"another flag":      {args: []string{"--force"}, code: 2, want: "no such flag"},
		"both":              {args: []string{"--drill", "--list"}, code: 2, want: "choose one"},
		"a path":            {args: []string{"--backup", "/backups/x"}, code: 2, want: "--list shows them"},
		"a drill of one":    {args: []string{"--drill", "--backup", "20261130T120700.123Z-0a1b2c3d"}, code: 2, want: "go with a restore"},
		"no seconds":        {args: []string{"--timeout", "2h"}, code: 2, want: "is no number of seconds"},
		"no namespace":      {args: []string{"--namespace", "a;b"}, code: 2, want: "--namespace"},
		"nobody says yes":   {code: 1, want: "nothing was changed"},
		"not deployed":      {answer: `"get cronjob"*) exit 1 ;;`, code: 3, want: "deploy first"},
		"no operator":       {args: []string{"--yes", "--operator", "/nowhere"}, code: 3, want: "--operator"},
		"NATS is not ready": {args: []string{"--yes"}, answer: `"get statefulset nats"*ready*) printf 2; exit ;;`, code: 3, want: "all of NATS's pods"},
		"no answer":         {answer: `"get --raw"*) echo refused >&2; exit 1 ;;`, code: 3, want: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := restoring(t)
			c.answer(test.answer)
			code, _, stderr := c.restore(test.input, test.args...)
			if code != test.code || !strings.Contains(stderr, test.want) {
				t.Errorf("code %d, want %d and %q:\n%s", code, test.code, test.want, stderr)
			}
			if acts := c.acts(); len(acts) > 0 {
				t.Errorf("it did %q", acts)
			}
		})
	}
	code, out, _ := restoring(t).restore("", "--help")
	if code != 0 {
		t.Errorf("--help: code %d", code)
	}
	wantParts(t, out, "Examples:", "Exit codes:")
}
