package k8s

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"github.com/kgents/kgents/secrets"
)

// playKgents makes this test's binary do what `kgents secrets` does.
const playKgents = "PLAY_KGENTS"

func TestMain(m *testing.M) {
	if os.Getenv(playKgents) == "" {
		os.Exit(m.Run())
	}
	if err := kgentsSecrets(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kgents:", err)
		os.Exit(1)
	}
}

func kgentsSecrets(args []string) error {
	value := func(flag string) string {
		if i := slices.Index(args, flag); i > 0 && i+1 < len(args) {
			return args[i+1]
		}
		return ""
	}
	dir := value("--dir")
	switch {
	case args[1] == "list":
		all, err := secrets.List(dir, time.Now())
		if err != nil {
			return err
		}
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	case args[1] == "rotate" && slices.Contains(args, "--finish"):
		return secrets.Finish(dir, args[2])
	case args[1] == "rotate":
		brought := ""
		if from := value("--from-file"); from != "" {
			b, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			brought = string(b)
		}
		return secrets.Rotate(dir, args[2], brought)
	}
	return fmt.Errorf("nothing is known about %q", args)
}

// rotation is a checkout with a deployment that is up, its secrets, and the script.
type rotation struct {
	*checkout
	dir string
}

func newRotation(t *testing.T) rotation {
	t.Helper()
	c := newCheckout(t)
	c.namespace()
	r := rotation{c, filepath.Join(c.root, "infra/k8s/overlays/staging/secrets")}
	if _, err := secrets.Init(r.dir, "kgents-staging"); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.program("kgents", fmt.Sprintf("printf 'kgents %%s\\n' \"$*\" >>\"$FAKE/calls\"\n%s=1 exec %q \"$@\"", playKgents, self))
	// What the files accept whenever they are applied, beside what is called.
	c.program("seen", `printf 'applied with %s\n' "$(. "`+r.dir+`/api.env"; echo "$API_KEYS" | tr ',' '\n' | grep -c .)" >>"$FAKE/calls"`)
	c.answer(`"apply -k"*) seen ;;`)
	if err := os.Chmod(r.script(), 0o700); err != nil {
		t.Fatal(err)
	}
	if c.script() == r.script() {
		t.Fatal("one script is the other")
	}
	return r
}

func (c *checkout) program(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.bin, name), []byte("#!/usr/bin/env bash\n"+text+"\n"), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

func (r rotation) script() string {
	return filepath.Join(r.root, "infra/k8s/scripts/rotate-secret.sh")
}

func (r rotation) run(args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.script(), args...)
	cmd.Env, cmd.Dir = r.env, r.t.TempDir()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	var exit *exec.ExitError
	if e := cmd.Run(); e != nil && !errors.As(e, &exit) {
		r.t.Fatal(e)
	}
	for _, value := range r.values() {
		if strings.Contains(out.String()+err.String(), value) {
			r.t.Errorf("it printed a secret:\n%s%s", &out, &err)
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// values are the secrets of api.env.
func (r rotation) values() (out []string) {
	r.t.Helper()
	env, err := godotenv.Read(filepath.Join(r.dir, "api.env"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, list := range env {
		out = append(out, strings.Split(list, ",")...)
	}
	return out
}

func (r rotation) rotating(name string) bool {
	r.t.Helper()
	all, err := secrets.Ages(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a secrets.Age) bool { return a.Name == name })
	return !all[i].Rotating.IsZero()
}

// steps are what matters of the calls, in their order.
func (r rotation) steps() (out []string) {
	for _, call := range r.calls("kgents secrets rotate", "kubectl apply -k", "applied with", "kubectl get pods -l app.kubernetes.io/part-of=kgents -o jsonpath={range .items[*]}{.metadata.name}|", "kubectl create job") {
		switch {
		case strings.Contains(call, "get pods"):
			call = "pods"
		case strings.HasPrefix(call, "kubectl create job"):
			call = "verify"
		case strings.HasPrefix(call, "kubectl apply"):
			continue // applied with says more
		case strings.HasPrefix(call, "kgents"):
			call = strings.TrimPrefix(strings.ReplaceAll(call, " --dir ROOT/infra/k8s/overlays/staging/secrets", ""), "kgents secrets ")
		}
		if len(out) == 0 || out[len(out)-1] != call {
			out = append(out, call)
		}
	}
	return out
}

// The order is what keeps everybody in: both are deployed and nobody is left who knows
// the old one only, before it goes.
func TestRotateSecret(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	code, out, stderr := r.run("redis")
	if code != 0 || stderr != "" {
		t.Fatalf("code %d\n%s%s", code, out, stderr)
	}
	want := []string{"rotate redis", "applied with 1", "verify", "pods", "rotate redis --finish", "applied with 1", "verify"}
	if diff := cmp.Diff(want, r.steps()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantParts(t, out, "1/7", "7/7", "redis is new, and the old one is refused", "0 of 11 secrets need something done")
	if r.rotating("redis") {
		t.Error("the rotation isn't finished")
	}
	// A rotation is no release: nothing was built.
	written, err := os.ReadFile(filepath.Join(r.root, kustomization))
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, string(written), `newTag: "running"`)
	if calls := r.calls("make", "go run"); len(calls) > 0 {
		t.Errorf("it built: %q", calls)
	}
}

// What others hold stops in the middle, with both accepted, until they have changed
// over; after a leak nobody is waited for.
func TestRotateSecretThatOthersHold(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	code, out, _ := r.run("api-key", "--no-verify")
	if code != 4 || !r.rotating("api-key") {
		t.Errorf("code %d, want 4 and an unfinished rotation\n%s", code, out)
	}
	wantParts(t, out, "both are accepted", "your clients", "rotate-secret.sh api-key --finish")
	code, out, stderr := r.run("api-key", "--finish", "--no-verify")
	if code != 0 {
		t.Errorf("code %d\n%s%s", code, out, stderr)
	}
	want := []string{"rotate api-key", "applied with 2", "pods", "rotate api-key --finish", "applied with 1"}
	if diff := cmp.Diff(want, r.steps()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	given := filepath.Join(r.fake, "given")
	r.write(given, "whsec_given_by_stripe_0123\n")
	if code, out, stderr := r.run("webhook-secret", "--from-file", given, "--leaked"); code != 0 || r.rotating("webhook-secret") {
		t.Errorf("code %d\n%s%s", code, out, stderr)
	} else {
		wantParts(t, out, "nobody is waited for")
	}
	if !slices.Contains(r.values(), "whsec_given_by_stripe_0123") {
		t.Error("the new one is not the one that was given")
	}
}

// Whatever stops it, both stay accepted, and running it again goes on.
func TestRotateSecretGoesOn(t *testing.T) {
	const pods = `"get pods -l "*creationTimestamp*) `
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for name, test := range map[string]struct {
		answer string
		env    string
		want   string
	}{
		"the deployment fails":    {`"apply -k"*) echo refused >&2; exit 1 ;;`, "", "nobody is refused, as both are accepted"},
		"the verification fails":  {`"get job verify-"*) printf Failed; exit ;;`, "", "nobody is refused"},
		"a pod takes long":        {pods + `echo 'kgents-sink-1|2026-11-24T00:00:00Z|ReplicaSet|Running|2026-11-01T00:00:00Z'; exit ;;`, "", "still there after 1 s: kgents-sink-1"},
		"a job of before runs":    {pods + `echo 'kgents-backup-1||Job|Running|2026-11-01T00:00:00Z'; exit ;;`, "", "still there after 1 s: kgents-backup-1"},
		"nobody says which there": {pods + `echo forbidden >&2; exit 1 ;;`, "", "the pods can't be looked at"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotation(t)
			r.answer(test.answer)
			code, out, stderr := r.run("nats-sink", "--wait", "1")
			if code != 1 || !r.rotating("nats-sink") {
				t.Errorf("code %d, unfinished %v\n%s%s", code, r.rotating("nats-sink"), out, stderr)
			}
			wantParts(t, stderr, test.want, "secrets.md#when-a-rotation-stops-half-way")
			// Pods that hold nobody up: a job of after, one that has ended, others.
			r.answer(pods + `printf '%s\n' 'kgents-backup-2||Job|Running|` + future + `' 'kgents-backup-1||Job|Succeeded|2026-11-01T00:00:00Z' 'nats-0||StatefulSet|Running|2026-11-01T00:00:00Z'; exit ;;`)
			code, out, stderr = r.run("nats-sink", "--wait", "1")
			if code != 0 || r.rotating("nats-sink") {
				t.Errorf("again: code %d\n%s%s", code, out, stderr)
			}
			wantParts(t, out, "there already, since 20")
			if made := r.calls("kgents secrets rotate nats-sink --dir"); len(made) != 1 {
				t.Errorf("a new one was made %d times", len(made))
			}
		})
	}
}

func TestRotateSecretRefusals(t *testing.T) {
	for line, want := range map[string]struct {
		code   int
		says   string
		answer string
	}{
		"":                                      {2, "name a secret", ""},
		"redis api-key":                         {2, "one secret at a time", ""},
		"REDIS":                                 {2, "is no secret", ""},
		"redis;id":                              {2, "is no secret", ""},
		"redis --nope":                          {2, "no such flag: --nope", ""},
		"redis --begin --finish":                {2, "two halves", ""},
		"redis --begin=1":                       {2, "--begin takes no value", ""},
		"redis --begin --leaked":                {2, "leave --begin out", ""},
		"redis --wait soon":                     {2, "no number of seconds", ""},
		"redis --context":                       {2, "--context needs a value", ""},
		"redis --from-file x":                   {2, "goes with webhook-secret", ""},
		"webhook-secret --finish --from-file x": {2, "goes with the first half", ""},
		"nothing":                               {3, "a secret called nothing, there are: webhook-secret", ""},
		"webhook-secret":                        {3, "Stripe's dashboard", ""},
		"redis --finish":                        {3, "a rotation of redis that has begun", ""},
		"redis --dir nowhere":                   {3, "kgents secrets init", ""},
		"redis --wait 5":                        {3, "deploy-staging.sh makes it", `"get deployment kgents-api"*) exit 1 ;;`},
		"redis --wait 6":                        {3, "no route", `"get --raw"*) echo 'no route' >&2; exit 1 ;;`},
		"redis --wait 7":                        {3, "set KUBECONFIG", `"config current-context") exit 1 ;;`},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			r := newRotation(t)
			r.answer(want.answer)
			code, _, stderr := r.run(strings.Fields(line)...)
			if code != want.code {
				t.Errorf("code %d, want %d\n%s", code, want.code, stderr)
			}
			wantParts(t, stderr, want.says)
			if calls := append(r.changes(), r.calls("kgents secrets rotate")...); len(calls) > 0 {
				t.Errorf("it did something: %q", calls)
			}
		})
	}
	code, out, _ := newRotation(t).run("--help")
	if code != 0 {
		t.Errorf("--help: code %d", code)
	}
	wantParts(t, out, "Examples:", "Exit codes:")
}
