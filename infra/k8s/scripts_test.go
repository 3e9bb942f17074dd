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
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const kustomization = "infra/k8s/.deploy/staging/kustomization.yaml"

func TestDeployTwice(t *testing.T) {
	c := newCheckout(t)
	code, out, stderr := c.deploy("")
	if code != 0 {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	wantParts(t, out, "1/9", "9/9", "made; the CronJob kgents-backup makes the next ones", "context kind-test", "3 created", "nats: 3/3 ready", "every server is current", "every line passes",
		"kgents staging is up", "and verified", "(sha256:feed)", "nats-0", "port-forward service/kgents-api 8000:80", "bin/kgents emit usage", "/api.env")
	if stderr != "" {
		t.Errorf("stderr has %q", stderr)
	}
	if strings.Contains(out, "\x1b") || strings.Contains(out, "\r") {
		t.Errorf("there is colour without a terminal:\n%q", out)
	}
	image := regexp.MustCompile(`ghcr.io/kgents/kgents:(0123456789ab-[0-9a-f]{8})`).FindStringSubmatch(out)
	if image == nil {
		t.Fatalf("the image has no name:\n%s", out)
	}
	written, err := os.ReadFile(filepath.Join(c.root, kustomization))
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, string(written), "- ../../overlays/staging\n", "- name: ghcr.io/kgents/kgents\n", "newName: ghcr.io/kgents/kgents\n", `newTag: "`+image[1]+`"`)
	wantParts(t, strings.Join(c.calls("kind", "make"), "\n"), "kind load image-archive --name test ROOT/dist/kgents-linux-amd64.tar", "GOOS=linux GOARCH=amd64")
	if sbom, err := os.ReadFile(filepath.Join(c.root, "dist/kgents-linux-amd64.sbom.txt")); err != nil || !strings.HasPrefix(string(sbom), "kgents-linux-amd64:") {
		t.Errorf("the SBOM is %q, %v", sbom, err)
	}

	code, out, stderr = c.deploy("")
	if code != 0 {
		t.Fatalf("the second run: code %d\n%s%s", code, out, stderr)
	}
	wantParts(t, out, "the last one ended at 2026-11-30T12:07:31Z", "there already: infra/k8s/overlays/staging/secrets", "3 unchanged", image[0])
	if made := c.calls("kgents secrets"); len(made) != 1 {
		t.Errorf("secrets were made %d times", len(made))
	}
}

// What stands in the way is said at once, all of it, before anything is done.
func TestDeployPrerequisites(t *testing.T) {
	for name, test := range map[string]struct {
		without []string
		answer  string
		env     string
		args    []string
		want    []string
	}{
		"no tool at all": {without: []string{"kubectl", "go", "make"}, want: []string{"- kubectl 1.30", "- Go 1.", "- make", "Nothing was changed"}},
		"old kubectl":    {answer: `"version --client"*) echo '{"gitVersion": "v1.20.2"}'; exit ;;`, want: []string{"this one is 1.20.2"}},
		"odd kubectl":    {answer: `"version --client"*) echo '{}'; exit ;;`, want: []string{"of no known version"}},
		"old Go":         {env: "FAKE_GO=1.20.1", want: []string{"- Go 1.", "this one is 1.20.1"}},
		"no context":     {answer: `"config current-context") exit 1 ;;`, want: []string{"set KUBECONFIG"}},
		"no answer":      {answer: `"get --raw"*) echo 'dial tcp: refused https://u:hunter2@host' >&2; exit 1 ;;`, want: []string{`of context "kind-test": dial tcp: refused`}},
		"old cluster":    {answer: `"get --raw"*) echo '{"gitVersion": "v1.29.9"}'; exit ;;`, want: []string{"the cluster's is 1.29.9"}},
		"no right":       {answer: `"auth can-i"*) exit 1 ;;`, want: []string{"the right to create namespaces"}},
		"no class":       {answer: `"get storageclasses"*) echo 'slow|'; exit ;;`, want: []string{"default StorageClass", "(there are: slow)"}},
		"no node":        {answer: `"get nodes"*) echo 'n1|true||amd64|True'; exit ;;`, want: []string{"a node that is Ready"}},
		"other machine":  {args: []string{"--arch", "arm64"}, want: []string{"a node for --arch arm64"}},
		"mixed machines": {answer: `"get nodes"*) printf 'n1|||amd64|True\nn2|||arm64|True\n'; exit ;;`, want: []string{"choose with --arch"}},
		"no kind":        {without: []string{"kind"}, want: []string{"- kind, to load"}},
		"no k3d":         {args: []string{"--context", "k3d-x"}, want: []string{"- k3d, to load"}},
		"unknown loader": {args: []string{"--context", "cloud"}, want: []string{`context "cloud"`, "--registry REF", "--load 'CMD'", "--image REF"}},
		"several": {without: []string{"make"}, answer: `"get storageclasses"*) exit ;; "auth can-i"*) exit 1 ;;`,
			want: []string{"- make", "- the right", "- a default StorageClass"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.without(test.without...)
			c.answer(test.answer)
			c.env = append(c.env, test.env)
			code, _, stderr := c.deploy("", test.args...)
			if code != 3 {
				t.Errorf("the exit code is %d, want 3", code)
			}
			wantParts(t, stderr, test.want...)
			if calls := append(c.changes(), c.calls("make", "kgents")...); len(calls) > 0 {
				t.Errorf("it did something: %q", calls)
			}
		})
	}
}

func TestDeployFewNodesIsAWarning(t *testing.T) {
	c := newCheckout(t)
	c.answer(`"get nodes"*) echo 'n1|||amd64|True'; exit ;;`)
	code, out, stderr := c.deploy("")
	if code != 0 {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	wantParts(t, out, "warning: 1 nodes take pods")
}

func TestDeployWrongUsage(t *testing.T) {
	for line, want := range map[string]string{
		"--nope":                        "no such flag or argument: --nope",
		"extra":                         "no such flag or argument: extra",
		"--dry-run=3":                   "--dry-run takes no value",
		"--diff --delete":               "choose one",
		"--dry-run --diff":              "choose one",
		"--context":                     "--context needs a value",
		"--context=":                    "--context needs a value",
		"--timeout 0":                   "no number of seconds",
		"--timeout 5m":                  "no number of seconds",
		"--arch mips":                   "use amd64 or arm64",
		"--yes":                         "--yes goes with --delete",
		"--registry a.b/c --load x":     "choose one",
		"--registry a.b/c:v1":           "without a tag",
		"--registry $(id)":              "is no repository",
		"--image x":                     "needs a tag",
		"--image localhost:5000/kgents": "needs a tag",
		"--image a.b/c:latest":          "needs a tag",
		"--image a.b/c:":                "needs a tag",
		"--image a.b/c:1\"x":            "is no image",
		"--image a.b/c:1 --load x":      "leave --registry and --load out",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			code, out, stderr := c.deploy("", strings.Fields(line)...)
			if code != 2 || out != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, stderr)
			}
			wantParts(t, stderr, want, "see deploy-staging.sh --help")
			if calls := c.calls(""); len(calls) > 0 {
				t.Errorf("it called %q", calls)
			}
		})
	}
	code, out, _ := newCheckout(t).deploy("", "--help")
	if code != 0 {
		t.Errorf("--help: code %d", code)
	}
	wantParts(t, out, "Examples:", "Exit codes:")
}

func TestDeployLeavesTheClusterAlone(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		there  bool
		answer string
		code   int
		want   []string
	}{
		"dry run":                       {args: []string{"--dry-run"}, there: true, want: []string{"(server dry run)", "takes all 1 objects"}},
		"dry run without the namespace": {args: []string{"--dry-run"}, want: []string{"is not there yet", "takes all 1 objects"}},
		"dry run refused": {args: []string{"--dry-run"}, there: true, code: 1, answer: `apply*) echo 'spec.x: unknown' >&2; exit 1 ;;`,
			want: []string{"the cluster refuses it", "spec.x: unknown", "runbook.md#deploy-failed"}},
		"dry run that can't be rendered": {args: []string{"--dry-run"}, code: 1, answer: `kustomize*) echo 'no such file' >&2; exit 1 ;;`,
			want: []string{"the cluster refuses it", "no such file"}},
		"same": {args: []string{"--diff"}, want: []string{"nothing would change"}},
		"differs": {args: []string{"--diff"}, code: 0, answer: `diff*) printf '+  replicas: 3\n   {"apiVersion":"v1","data":{"A":"hunter2"}}\n'; exit 1 ;;`,
			want: []string{"+  replicas: 3", "not shown", "this would change"}},
		"no answer": {args: []string{"--diff"}, code: 1, answer: `diff*) echo 'no route' >&2; exit 2 ;;`,
			want: []string{"can't compare", "no route"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.answer(test.answer)
			if test.there {
				c.namespace()
			}
			code, out, stderr := c.deploy("", test.args...)
			if code != test.code {
				t.Errorf("the exit code is %d, want %d", code, test.code)
			}
			wantParts(t, out+stderr, test.want...)
			if calls := c.changes(); len(calls) > 0 {
				t.Errorf("it changed something: %q", calls)
			}
			applied, err := os.ReadFile(filepath.Join(c.fake, "applied"))
			if err == nil && len(applied) > 0 && (strings.Contains(string(applied), "namespace: kgents-staging") || !strings.Contains(string(applied), "name: kgents-staging")) {
				t.Errorf("the dry run was of\n%s", applied)
			}
		})
	}
}

func TestDeployDelete(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		input   string
		there   bool
		answer  string
		code    int
		deleted bool
		want    []string
	}{
		"nothing there":  {args: []string{"--delete", "--yes"}, want: []string{"nothing to delete"}},
		"yes":            {args: []string{"--delete", "--yes", "--load", "x"}, there: true, deleted: true, want: []string{"deleted with its volumes", "secrets are kept"}},
		"typed":          {args: []string{"--delete"}, there: true, input: "kgents-staging\n", deleted: true, want: []string{"volumes and all events", "Type the name"}},
		"typed wrong":    {args: []string{"--delete"}, there: true, input: "yes\n", code: 1, want: []string{"nothing was deleted"}},
		"nobody to ask":  {args: []string{"--delete"}, there: true, code: 1, want: []string{"nothing was deleted"}},
		"somebody's own": {args: []string{"--delete", "--yes"}, there: true, code: 1, answer: `"get namespace kgents-staging -o jsonpath"*) exit ;;`, want: []string{"lacks the label"}},
		"stays":          {args: []string{"--delete", "--yes"}, there: true, code: 1, deleted: true, answer: `"delete namespace"*) echo 'timed out' >&2; exit 1 ;;`, want: []string{"is not gone", "timed out"}},
		"no right":       {args: []string{"--delete", "--yes"}, there: true, code: 3, answer: `"auth can-i"*) exit 1 ;;`, want: []string{"the right to delete namespaces"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.answer(test.answer)
			if test.there {
				c.namespace()
			}
			code, out, stderr := c.deploy(test.input, test.args...)
			if code != test.code {
				t.Errorf("the exit code is %d, want %d", code, test.code)
			}
			wantParts(t, strings.ReplaceAll(out+stderr, "secrets in infra/k8s/overlays/staging/secrets are", "secrets are"), test.want...)
			var want []string
			if test.deleted {
				want = []string{"kubectl delete namespace kgents-staging --wait --timeout=300s"}
			}
			if diff := cmp.Diff(want, c.changes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A step that fails says which pod, what happened to it and where to read on, and
// never a secret.
func TestDeployFailures(t *testing.T) {
	const broken = `
"get pods -l "*waiting*) echo 'nats-1 CrashLoopBackOff'; exit ;;
"get pods -l "*phase*) printf 'nats-0|Running|True|0\nnats-1|Running|False|4\n'; exit ;;
"get events --field-selector involvedObject.kind=Pod,involvedObject.name=nats-1"*) for i in 1 2 3 4 5 6 7; do echo "Warning  BackOff  event $i"; done; exit ;;
"logs nats-1 "*--previous) for i in {1..30}; do echo "line $i"; done; echo 'seed SUAHUNTER2HUNTER2HUNTER2HUNTER2HUNTER2HUNTER2HUNTER2HUNTER2AB url redis://kgents:hunter2@redis whsec_hunter2 kg_hunter2hun_hunter2hunter2hunter2hunter2hunter2ab'; exit ;;
`
	for name, test := range map[string]struct {
		args   []string
		answer string
		want   []string
		not    []string
	}{
		"rollout": {
			answer: `"rollout status statefulset/nats"*) echo 'Waiting for 1 pods to be ready...'; echo 'error: timed out'; exit 1 ;;` + broken,
			want: []string{"statefulset/nats did not roll out within 300 s", "step 6, rollouts", "error: timed out", "pod nats-1: Running, restarted 4 times",
				"event 3", "event 7", "line 12", "line 30", "SU…", "redis://kgents:…@redis", "whsec_…", "kg_…", "docs/saas/runbook.md#deploy-failed"},
			not: []string{"event 2", "line 11\n", "pod nats-0", "SUAHUNTER"},
		},
		"no image": {
			answer: `"rollout status statefulset/nats"*) exec sleep 60 ;; "get pods -l "*waiting*) echo 'nats-1  ErrImagePull'; exit ;;` + broken,
			want:   []string{"statefulset/nats: pod nats-1 ErrImagePull", "pod nats-1"},
		},
		"no pod": {
			answer: `"rollout status deployment/kgents-api"*) exit 1 ;; "get events --field-selector type=Warning"*) echo 'FailedCreate exceeded quota'; exit ;;`,
			want:   []string{"deployment/kgents-api did not roll out", "exceeded quota"},
		},
		"apply": {
			answer: `"apply -k"*) printf 'Error from server: error when applying patch:\n{"data":{"A":"hunter2"}}\nto: secrets "x"\n' >&2; exit 1 ;;`,
			want:   []string{"not everything could be applied", `to: secrets "x"`, "not shown"},
		},
		"verification": {
			answer: `"get job verify-"*) printf FailureTargetFailed; exit ;; "logs job/"*) echo 'canary   fail'; exit ;;`,
			want:   []string{"the verification found what the table says", "runbook.md#deploy-failed"},
		},
		"backup": {
			answer: `"get job backup-"*) printf Failed; exit ;; "logs job/backup-"*) echo 'kgents: no room whsec_hunter2'; exit ;;`,
			want:   []string{"no backup was made", "step 8, backup"},
		},
		"hook": {
			args: []string{"--load", "echo no space; false"}, want: []string{"'echo no space; false' failed", "no space"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.answer(test.answer)
			code, out, stderr := c.deploy("", test.args...)
			if code != 1 {
				t.Errorf("the exit code is %d, want 1\n%s", code, out)
			}
			wantParts(t, stderr, test.want...)
			for _, part := range test.not {
				if strings.Contains(stderr, part) {
					t.Errorf("this has %q:\n%s", part, stderr)
				}
			}
			if strings.Contains(out, "is up") {
				t.Errorf("it says that all is well:\n%s", out)
			}
		})
	}
}

func TestDeployImageThatIsThere(t *testing.T) {
	for ref, want := range map[string]string{
		"localhost:5000/kgents:v1":      "  newName: localhost:5000/kgents\n  newTag: \"v1\"\n",
		"ghcr.io/x/kgents@sha256:12ab":  "  newName: ghcr.io/x/kgents\n  digest: \"sha256:12ab\"\n",
		"ghcr.io/x/kgents:1234567":      "  newTag: \"1234567\"\n", // a string, not a number
		"registry.example.com/k:v1.2.3": "  newName: registry.example.com/k\n",
	} {
		c := newCheckout(t)
		code, out, stderr := c.deploy("", "--no-verify", "--image", ref)
		if code != 0 {
			t.Fatalf("%s: code %d\n%s%s", ref, code, out, stderr)
		}
		written, err := os.ReadFile(filepath.Join(c.root, kustomization))
		if err != nil {
			t.Fatal(err)
		}
		wantParts(t, string(written), want)
		wantParts(t, out, "7/7", ref)
		if calls := c.calls("go run", "kind", "kubectl create job"); len(calls) > 0 {
			t.Errorf("%s: it called %q", ref, calls)
		}
		// With secrets there too, neither Go nor make is needed.
		c.without("go", "make")
		if code, out, stderr := c.deploy("", "--no-verify", "--image", ref); code != 0 {
			t.Errorf("%s: without Go: code %d\n%s%s", ref, code, out, stderr)
		}
	}
}

// kubectl calls everything configured that it has sent a patch for; the script goes
// by what the server says would change.
func TestDeploySaysWhatReallyChanges(t *testing.T) {
	const apply = `"apply -k"*) printf '%s configured\n' statefulset.apps/nats secret/nats poddisruptionbudget.policy/nats statefulset.apps/my-nats; exit ;;`
	const header = `diff -u -N /tmp/LIVE-1/apps.v1.StatefulSet.kgents-staging.nats /tmp/MERGED-2/apps.v1.StatefulSet.kgents-staging.nats`
	for name, test := range map[string]struct{ diff, want, line string }{
		"nothing": {`exit 0`, "4 unchanged", ""},
		"one":     {`echo "` + header + `"; exit 1`, "", "      statefulset.apps/nats configured\n    ok"},
		"unknown": {`exit 2`, "4 configured", "secret/nats configured"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.namespace()
			c.answer(`"diff -k"*) ` + test.diff + " ;;\n" + apply)
			code, out, stderr := c.deploy("", "--no-verify")
			if code != 0 {
				t.Fatalf("code %d\n%s%s", code, out, stderr)
			}
			wantParts(t, out, test.want, test.line)
		})
	}
}

func TestDeployPushes(t *testing.T) {
	c := newCheckout(t)
	code, out, stderr := c.deploy("", "--registry", "registry.example.com/kgents", "--context", "cloud")
	if code != 0 {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	wantParts(t, out, "pushed to registry.example.com/kgents")
	pushes := slices.DeleteFunc(c.calls("go run"), func(s string) bool { return !strings.HasSuffix(s, "--push") })
	if len(pushes) != 1 || !strings.Contains(pushes[0], "--name registry.example.com/kgents:0123456789ab-") {
		t.Errorf("pushed: %q", pushes)
	}
	if calls := c.calls("kind"); len(calls) > 0 {
		t.Errorf("loaded: %q", calls)
	}
}

// Only what nothing can need goes: not what is applied now, not what a kept
// revision mentions, not what another deployment has just made.
func TestDeployPrunes(t *testing.T) {
	const old, now = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
	lists := `
"get secrets,configmaps"*) printf '%s\n' 'Secret|kgents-api-5f6g7h8k9m|` + old + `' 'Secret|kgents-api-g8h9k2m4t5|` + old + `' \
  'ConfigMap|nats-users-dhf2khb89g|` + old + `' 'Secret|nats-tls-2456789bcd|` + now + `' 'ConfigMap|byhand|` + old + `' 'ConfigMap|kube-root-ca|` + old + `'; exit ;;
"get deployments,statefulsets,replicasets,controllerrevisions,"*) echo '{"secretName": "kgents-api-g8h9k2m4t5"}'; exit ;;
`
	for name, test := range map[string]struct {
		answer string
		want   []string
		said   string
	}{
		"one":           {lists, []string{"kubectl delete Secret kgents-api-5f6g7h8k9m --wait=false"}, "1 old Secrets and ConfigMaps removed"},
		"no references": {`"get deployments,"*) echo forbidden >&2; exit 1 ;;` + lists, nil, "were left: forbidden"},
		"no list":       {`"get secrets,"*) echo forbidden >&2; exit 1 ;;` + lists, nil, "were left: forbidden"},
		"not rendered":  {`kustomize*) echo broken >&2; exit 1 ;;` + lists, nil, "were left: broken"},
		"refused":       {`"delete Secret"*) echo forbidden >&2; exit 1 ;;` + lists, []string{"kubectl delete Secret kgents-api-5f6g7h8k9m --wait=false"}, "can't remove Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCheckout(t)
			c.answer(test.answer)
			code, out, stderr := c.deploy("")
			if code != 0 {
				t.Fatalf("code %d\n%s%s", code, out, stderr)
			}
			wantParts(t, out, test.said)
			if diff := cmp.Diff(test.want, c.calls("kubectl delete")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Ctrl-C while waiting ends at once, with what was started and written for it.
func TestDeployInterrupted(t *testing.T) {
	c := newCheckout(t)
	c.answer(`"rollout status"*) echo $$ >"$FAKE/child"; exec sleep 60 ;;
"get pods"*) kill -INT "$(cat "$FAKE/script")"; exit ;;`)
	cmd := c.command()
	// The script's pid is known to the played kubectl, which interrupts it in its wait.
	cmd.Args = append([]string{"bash", "-c", `echo $$ >"$FAKE/script"; exec "$0" "$@"`}, c.script())
	cmd.Path = filepath.Join(c.bin, "bash")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v", err)
	}
	wantParts(t, stderr.String(), "interrupted")
	child, err := os.ReadFile(filepath.Join(c.fake, "child"))
	if err == nil {
		if out, err := exec.Command("kill", "-0", strings.TrimSpace(string(child))).CombinedOutput(); err == nil {
			t.Errorf("kubectl is still running: %s", out)
		}
	}
	if state, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && state.Signaled() {
		t.Error("it died of the signal instead of tidying up")
	}
}
