package k8s

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// clusterBlock is a block of the runbook's commands that needs a cluster.
type clusterBlock struct {
	section, commands string
	line              int
}

// runbookBlocks are those that no test on a real cluster runs: e2e/staging names the
// sections that it follows.
func runbookBlocks(t *testing.T) (out []clusterBlock) {
	t.Helper()
	followed := map[string]bool{}
	files, err := filepath.Glob("../../e2e/staging/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test of the cluster found: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\b(?:follow|commands)\("([^"]+)"`).FindAllSubmatch(b, -1) {
			followed[string(m[1])] = true
		}
	}
	if len(followed) < 5 {
		t.Fatalf("e2e/staging follows only %v", slices.Collect(maps.Keys(followed)))
	}
	b, err := os.ReadFile("../../docs/saas/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	var section string
	var block *clusterBlock
	fenced := false
	for n, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			if line == "```sh cluster" {
				block = &clusterBlock{section: section, line: n + 2}
			} else if !fenced && block != nil {
				if !followed[section] {
					out = append(out, *block)
				}
				block = nil
			}
		case block != nil:
			block.commands += line + "\n"
		case !fenced && strings.HasPrefix(line, "#"):
			section = strings.TrimLeft(line, "# ")
		}
	}
	return out
}

// Every command of the runbook that needs a cluster and is not run on a real one is
// run against a kubectl that notes what it is asked. What it is asked is there: the
// objects, pods, ports and labels of what is deployed, by verbs and flags that kubectl
// has. No other program is on the PATH, so that none goes unseen.
func TestRunbookAsksForWhatIsThere(t *testing.T) {
	staging, production := render(t, "staging"), render(t, "production")
	blocks := runbookBlocks(t)
	if len(blocks) < 20 {
		t.Fatalf("only %d blocks found", len(blocks))
	}
	for _, b := range blocks {
		t.Run(fmt.Sprintf("line %d, %s", b.line, b.section), func(t *testing.T) {
			calls := play(t, b.commands)
			want := len(regexp.MustCompile(`(?m)^\s*kubectl `).FindAllString(b.commands, -1))
			if len(calls) != want {
				t.Fatalf("%d of %d commands were run", len(calls), want)
			}
			for _, call := range calls {
				for _, r := range []rendered{staging, production} {
					if err := r.understands(slices.Clone(call)); err != nil {
						t.Errorf("%s: kubectl %s: %v", r.overlay, strings.Join(call, " "), err)
					}
				}
			}
		})
	}
}

// play runs commands at the root of a copy of the project and returns what kubectl was
// asked. NS is a word that the checks know.
func play(t *testing.T, commands string) (calls [][]string) {
	t.Helper()
	dir := t.TempDir()
	bin, log := filepath.Join(dir, "bin"), filepath.Join(dir, "calls")
	root := filepath.Join(dir, "root")
	for _, d := range []string{bin, log, filepath.Join(root, "infra")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	space := workspace(t)
	if err := os.Symlink(space, filepath.Join(root, "infra/k8s")); err != nil {
		t.Fatal(err)
	}
	playScripts(t, filepath.Join(space, "scripts"))
	for _, tool := range []string{"sed", "date", "mktemp"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	// Calls may run side by side: each notes what it is asked in a file of its own.
	note := "#!" + bash + "\nprintf '%s\\0' \"$@\" >\"$(mktemp \"$CALLS/XXXXXXXX\")\"\n"
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(note), 0o700); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bash, "-euo", "pipefail", "-c", commands+"\nwait\n")
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + bin, "CALLS=" + log, "NS=" + namespaceWord, "HOME=" + dir, "TMPDIR=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := os.ReadDir(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(log, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"))
	}
	return calls
}

// playScripts makes scripts that do nothing, by the names of ours: what they take and do
// is held by tests of their own.
func playScripts(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob("scripts/*.sh")
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil || len(names) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte("#!"+bash+"\n"), 0o700); err != nil { //nolint:gosec // it must be executable
			t.Fatal(err)
		}
	}
}

const namespaceWord = "the-namespace"

// kubectlFlags are the flags of kubectl's verbs that the runbook may use.
var kubectlFlags = map[string][]string{
	"create":          {"--from"},
	"describe":        {"-l"},
	"get":             {"-l", "-o", "--sort-by"},
	"logs":            {"-l", "--tail", "--previous"},
	"patch":           {"--patch"},
	"port-forward":    nil,
	"rollout history": nil,
	"rollout restart": nil,
	"rollout status":  {"--timeout"},
	"scale":           {"--replicas"},
	"wait":            {"-l", "--for", "--timeout"},
}

// kinds are the names that kubectl has for kinds, and the kind that is looked for among
// what is deployed; none for what the cluster makes by itself.
var kinds = map[string]string{
	"configmap": "ConfigMap", "cronjob": "CronJob", "deployment": "Deployment", "endpoints": "Service", "hpa": "HorizontalPodAutoscaler",
	"networkpolicy": "NetworkPolicy", "service": "Service", "statefulset": "StatefulSet",
	"events": "", "nodes": "", "pod": "", "pods": "", "pvc": "", "secrets": "",
}

// understands is nil when the deployment has what a call of kubectl is about.
func (r rendered) understands(args []string) error {
	namespaced := len(args) > 1 && args[0] == "-n"
	if namespaced {
		if args[1] != namespaceWord {
			return fmt.Errorf("the namespace is %q instead of $NS", args[1])
		}
		args = args[2:]
	}
	if len(args) == 0 {
		return fmt.Errorf("there is no verb")
	}
	verb, args := args[0], args[1:]
	if verb == "rollout" && len(args) > 0 {
		verb, args = verb+" "+args[0], args[1:]
	}
	known, ok := kubectlFlags[verb]
	if !ok {
		return fmt.Errorf("%q is no verb that this test knows", verb)
	}
	flags, words := map[string]string{}, []string(nil)
	for i := 0; i < len(args); i++ {
		name, value, joined := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			words = append(words, args[i])
			continue
		}
		if !slices.Contains(known, name) {
			return fmt.Errorf("kubectl %s has no flag %s", verb, name)
		}
		if !joined && name != "--previous" {
			if i++; i == len(args) {
				return fmt.Errorf("%s has no value", name)
			}
			value = args[i]
		}
		flags[name] = value
	}
	if err := r.hasFlags(flags); err != nil {
		return err
	}
	switch verb {
	case "logs":
		if flags["-l"] != "" && len(words) == 0 {
			return nil
		}
		if len(words) != 1 {
			return fmt.Errorf("want one pod or -l")
		}
		return r.hasPod(words[0])
	case "create":
		if len(words) != 2 || words[0] != "job" {
			return fmt.Errorf("this test knows only 'create job NAME --from=cronjob/…'")
		}
		return r.has("cronjob", strings.TrimPrefix(flags["--from"], "cronjob/"))
	case "port-forward":
		if len(words) != 2 {
			return fmt.Errorf("want service/NAME LOCAL:PORT")
		}
		return r.hasPort(words[0], words[1])
	}
	if len(words) == 0 {
		return fmt.Errorf("it is about nothing")
	}
	kind, name, slashed := strings.Cut(words[0], "/")
	if !slashed && len(words) > 1 {
		name = words[1]
	}
	if (kind == "nodes") == namespaced {
		return fmt.Errorf("%s in a namespace: %v", kind, namespaced)
	}
	if err := r.has(kind, name); err != nil {
		return err
	}
	if patch := flags["--patch"]; patch != "" {
		return fits(kind, patch)
	}
	return nil
}

func (r rendered) hasFlags(flags map[string]string) error {
	for name, value := range flags {
		var err error
		switch name {
		case "--tail", "--replicas":
			_, err = strconv.Atoi(value)
		case "--timeout":
			_, err = time.ParseDuration(value)
		case "--for":
			if value != "delete" {
				err = fmt.Errorf("wait for what?")
			}
		case "-o":
			if !slices.Contains([]string{"wide", "yaml", "json", "name"}, value) {
				err = fmt.Errorf("no output of kubectl's")
			}
		case "--sort-by":
			if !strings.HasPrefix(value, ".") {
				err = fmt.Errorf("no path")
			}
		case "-l":
			err = r.hasPods(value)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", name, value, err)
		}
	}
	return nil
}

// optional is what only staging has.
var optional = map[string]bool{"kgents-meter": true, "kgents-meter-0": true}

func (r rendered) absent(what, name string) error {
	if r.overlay == "production" && optional[name] {
		return nil
	}
	return fmt.Errorf("there is no %s %q", what, name)
}

func (r rendered) has(kind, name string) error {
	full, ok := kinds[kind]
	if !ok {
		return fmt.Errorf("%q is no kind that this test knows", kind)
	}
	if full == "" || name == "" {
		return nil
	}
	if slices.ContainsFunc(r.objects, func(o object) bool { return o.id == full+"/"+name }) {
		return nil
	}
	return r.absent(kind, name)
}

// hasPod is about a pod with a name that stays: one of a StatefulSet.
func (r rendered) hasPod(name string) error {
	for _, s := range all[*appsv1.StatefulSet](r) {
		if n, err := strconv.Atoi(strings.TrimPrefix(name, s.Name+"-")); err == nil && n >= 0 && int32(n) < *s.Spec.Replicas { //nolint:gosec // a few
			return nil
		}
	}
	return r.absent("pod", name)
}

func (r rendered) hasPods(selector string) error {
	s, err := labels.Parse(selector)
	if err != nil {
		return err
	}
	for _, w := range r.workloads() {
		if s.Matches(labels.Set(w.pod.Labels)) {
			return nil
		}
	}
	return r.absent("pod of", strings.TrimPrefix(selector, "app.kubernetes.io/name="))
}

func (r rendered) hasPort(service, ports string) error {
	_, port, ok := strings.Cut(ports, ":")
	if !ok {
		return fmt.Errorf("%q names no port here and there", ports)
	}
	kind, name, _ := strings.Cut(service, "/")
	if err := r.has(kind, name); err != nil || (r.overlay == "production" && optional[name]) {
		return err
	}
	for _, s := range all[*corev1.Service](r) {
		for _, p := range s.Spec.Ports {
			if "service/"+s.Name == service && strconv.Itoa(int(p.Port)) == port {
				return nil
			}
		}
	}
	return fmt.Errorf("%s has no port %s", service, port)
}

// fits is nil when a patch has only fields of its kind.
func fits(kind, patch string) error {
	into, ok := map[string]any{"cronjob": &batchv1.CronJob{}, "deployment": &appsv1.Deployment{}, "statefulset": &appsv1.StatefulSet{}}[kind]
	if !ok {
		return fmt.Errorf("this test knows no patch of a %s", kind)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(patch)))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// The check sees a name, a port, a flag or a field that is not there.
func TestRunbookChecks(t *testing.T) {
	staging, production := render(t, "staging"), render(t, "production")
	for _, c := range []struct {
		command string
		ok      bool
	}{
		{`-n the-namespace logs nats-2 --tail=50`, true},
		{`-n the-namespace logs nats-3 --tail=50`, false},
		{`-n the-namespace logs kgents-api-0 --tail=50`, false},
		{`-n the-namespace logs -l app.kubernetes.io/name=kgents-api --tail=many`, false},
		{`-n the-namespace logs -l app.kubernetes.io/name=kgents --tail=5`, false},
		{`-n elsewhere get pods`, false},
		{`get pods`, false},
		{`get nodes`, true},
		{`-n the-namespace get hpa kgents-sink`, false},
		{`-n the-namespace get pods --all`, false},
		{`-n the-namespace port-forward service/kgents-api 8000:8000`, false},
		{`-n the-namespace port-forward service/kgents-api 8000:80`, true},
		{`-n the-namespace scale statefulset/kgents-meter --replicas=0`, true},
		{`-n the-namespace scale statefulset/kgents-api --replicas=0`, false},
		{`-n the-namespace patch cronjob kgents-verify --patch {"spec":{"suspended":true}}`, false},
		{`-n the-namespace patch cronjob kgents-verify --patch {"spec":{"suspend":true}}`, true},
		{`-n the-namespace destroy pods`, false},
	} {
		for _, r := range []rendered{staging, production} {
			if err := r.understands(strings.Fields(c.command)); (err == nil) != c.ok {
				t.Errorf("%s: %s: %v, want ok: %v", r.overlay, c.command, err, c.ok)
			}
		}
	}
}
