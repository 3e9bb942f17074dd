package k8s

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkout is a copy of the scripts with a cluster and tools that are played, so
// that nothing is built, no cluster is asked and nothing is written beside the tests.
type checkout struct {
	t    *testing.T
	root string
	bin  string // all of PATH
	fake string
	env  []string
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	dir := t.TempDir()
	c := &checkout{t: t, root: filepath.Join(dir, "root"), bin: filepath.Join(dir, "bin"), fake: filepath.Join(dir, "fake")}
	temp := filepath.Join(dir, "tmp")
	for _, d := range []string{c.bin, c.fake, temp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(c.root, "infra/k8s/scripts"), os.DirFS("scripts")); err != nil {
		t.Fatal(err)
	}
	// CopyFS keeps no bit but the executable ones that the umask leaves.
	if err := os.Chmod(c.script(), 0o700); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	c.write(filepath.Join(c.root, "go.mod"), string(mod))
	for _, tool := range []string{"awk", "bash", "cat", "chmod", "cp", "cut", "date", "dirname", "env", "git", "grep", "head", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "sleep", "sort", "tail", "touch", "tr"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatalf("the script needs %s: %v", tool, err)
		}
		c.link(path, tool)
	}
	for _, tool := range []string{"kubectl", "go", "make", "kind"} {
		path, err := filepath.Abs(filepath.Join("testdata/deploy", tool))
		if err != nil {
			t.Fatal(err)
		}
		c.link(path, tool)
	}
	c.env = []string{"PATH=" + c.bin, "FAKE=" + c.fake, "HOME=" + dir, "TMPDIR=" + temp, "DEPLOY_TICK=0.02", "DEPLOY_HOPELESS=0"}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(temp); len(left) > 0 {
			t.Errorf("%d temporary files were left behind", len(left))
		}
	})
	return c
}

func (c *checkout) script() string {
	return filepath.Join(c.root, "infra/k8s/scripts/deploy-staging.sh")
}

func (c *checkout) link(path, tool string) {
	c.t.Helper()
	if err := os.Symlink(path, filepath.Join(c.bin, tool)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkout) write(path, text string) {
	c.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// answer makes the played kubectl answer what it is asked in one way instead of
// its own: commands for a case of patterns.
func (c *checkout) answer(cases string) {
	c.t.Helper()
	c.write(filepath.Join(c.fake, "answers"), "case \"$*\" in\n"+cases+"\nesac\n")
}

// namespace makes that of staging exist.
func (c *checkout) namespace() { c.write(filepath.Join(c.fake, "namespace"), "") }

func (c *checkout) without(tools ...string) {
	c.t.Helper()
	for _, tool := range tools {
		if err := os.Remove(filepath.Join(c.bin, tool)); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *checkout) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), c.script(), args...)
	cmd.Env = c.env
	cmd.Dir = c.t.TempDir() // it must work from anywhere
	return cmd
}

func (c *checkout) deploy(input string, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	cmd := c.command(args...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &err
	var exit *exec.ExitError
	if e := cmd.Run(); e != nil && !errors.As(e, &exit) {
		c.t.Fatal(e)
	}
	if strings.Contains(out.String()+err.String(), "hunter2") {
		c.t.Errorf("it printed a secret:\n%s%s", &out, &err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// calls returns what was called, the lines that begin with one of the prefixes.
func (c *checkout) calls(prefixes ...string) []string {
	b, err := os.ReadFile(filepath.Join(c.fake, "calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), c.root, "ROOT")
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) }) {
			out = append(out, line)
		}
	}
	return out
}

// changes returns the calls that could change something in a cluster.
func (c *checkout) changes() []string {
	return slices.DeleteFunc(c.calls("kubectl apply", "kubectl create", "kubectl delete", "kubectl patch", "kubectl annotate", "kubectl label", "kubectl rollout restart", "kind", "go run -C tools ./image --binary ROOT/dist/kgents-linux-amd64 --name r"),
		func(line string) bool { return strings.Contains(line, "--dry-run=server") })
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("this lacks %q:\n%s", part, text)
		}
	}
}
