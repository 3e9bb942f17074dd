package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/load"
)

// Each profile that comes with the program runs against a real kgents, its faults
// included, shorter and smaller. How fast this machine is, is not what is tested. All
// run side by side, since they mostly wait: messages that a killed sink held come again
// only after stream.AckWait.
func TestLoadProfiles(t *testing.T) {
	profiles, err := load.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	type ended struct {
		stdout, stderr string
		code           int
	}
	dir, temporary := t.TempDir(), t.TempDir()
	runs := make([]ended, len(profiles))
	var all sync.WaitGroup
	for i, p := range profiles {
		all.Go(func() {
			runs[i].stdout, runs[i].stderr, runs[i].code = run(t, environ("TMPDIR="+temporary), "load", "run", p.Name, "--local", "--scale", "0.1", "--duration", "3s",
				"--output", "json", "--report", filepath.Join(dir, p.Name+".html"))
		})
	}
	all.Wait()
	if left, err := os.ReadDir(temporary); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for i, p := range profiles {
		t.Run(p.Name, func(t *testing.T) {
			stdout, stderr, code := runs[i].stdout, runs[i].stderr, runs[i].code
			page := filepath.Join(dir, p.Name+".html")
			var r load.Report
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatalf("%v\n%s%s", err, stdout, stderr)
			}
			if c := r.Count; !c.Known || !c.Complete || c.Lost+c.Doubled != 0 || c.Accepted == 0 {
				t.Errorf("counted: %+v", c)
			}
			if r.Total.Requests == 0 || r.Total.Accepted != r.Total.Requests {
				t.Errorf("%d of %d requests were accepted: %+v", r.Total.Accepted, r.Total.Requests, r.Failures)
			}
			if len(r.Seen) == 0 || r.MemoryMax == 0 {
				t.Error("the backlog and the memory were not looked at")
			}
			for _, ph := range r.Phases {
				// What came while kgents was dead had to be sent again.
				if ph.Fault == load.FaultCrash && ph.Retried == 0 {
					t.Error("nothing was sent again, so kgents was not killed")
				}
			}
			if r.OK != (code == 0) {
				t.Errorf("the report says %v, and the exit code is %d", r.OK, code)
			}
			b, err := os.ReadFile(page)
			if err != nil || !strings.Contains(string(b), "Load: "+p.Name) {
				t.Errorf("the page: %v, %d bytes", err, len(b))
			}
		})
	}
}

// A threshold that is crossed is exit code 1, and the profile's own file is read.
func TestLoadFails(t *testing.T) {
	p := up(t, t.TempDir())
	mine := filepath.Join(t.TempDir(), "mine.yaml")
	profile := "name: mine\nevents: {stripe: 0.5}\nphases: [{name: a, for: 500ms, rate: 50}]\nthresholds: [{metric: latency_p50, max: 0s}, {metric: lost, max: 0}]\n"
	if err := os.WriteFile(mine, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := run(t, environ("KGENTS_URL="+p.url), "load", "run", mine)
	if code != 1 || !strings.Contains(stdout, "✗  latency_p50") || !strings.Contains(stdout, "✓  lost") || !strings.Contains(stdout, "mine: it does not hold") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, secret := range []string{apiKey, webhookSecret} {
		if strings.Contains(stdout+stderr, secret) {
			t.Error("a secret was printed")
		}
	}
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"faults elsewhere", []string{"redelivery-storm"}, "--skip-faults"},
		{"a wrong key", []string{"steady", "--duration", "1s"}, "does not take the API key"},
		{"no such profile", []string{"stedy"}, `there is no profile "stedy"`},
		{"two profiles", []string{"steady", "burst"}, "takes one profile"},
		{"scale", []string{"steady", "--scale", "0"}, "--scale must be"},
		{"scaled too far", []string{"steady", "--scale", "1000"}, "after scaling"},
		{"too short", []string{"steady", "--duration", "1ms"}, "after scaling"},
		{"local and elsewhere", []string{"steady", "--local", "--url", p.url}, "leave out --url"},
		{"format", []string{"steady", "--output", "xml"}, `--output "xml" is no format`},
		{"report nowhere", []string{"steady", "--report", "/nowhere/at/all.html"}, "--report"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := environ("KGENTS_URL=" + p.url)
			if test.name == "a wrong key" {
				env = append(env, "API_KEYS=kg_other")
			}
			_, stderr, code := run(t, env, append([]string{"load", "run"}, test.args...)...)
			if code != 1 || !strings.Contains(stderr, test.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}

// Ctrl-C is told as such, and leaves neither programs nor data behind.
func TestLoadInterrupted(t *testing.T) {
	temporary := t.TempDir()
	cmd := exec.Command(binary, "load", "run", "steady", "--local", "--output", "json")
	cmd.Env, cmd.Dir = environ("TMPDIR="+temporary), t.TempDir()
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var urls []string
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	eventually(t, 30*time.Second, func() (bool, any) {
		found, _ := filepath.Glob(filepath.Join(temporary, "kgents-load-*", "up", "url"))
		for _, f := range found {
			b, err := os.ReadFile(f)
			if err != nil {
				return false, err
			}
			urls = append(urls, strings.TrimSpace(string(b)))
		}
		return len(found) > 0, found
	})
	eventually(t, 30*time.Second, func() (bool, any) { // it is under load
		resp, err := http.Get(urls[0] + "/metrics")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return regexp.MustCompile(`(?m)^kgents_nats_messages_published_total [1-9]`).Match(b), err
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	var r load.Report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 || !r.Interrupted || r.OK || r.Count.Lost+r.Count.Doubled != 0 {
		t.Errorf("exit code %d, %+v", code, r.Count)
	}
	if resp, err := http.Get(urls[0] + "/livez"); err == nil {
		resp.Body.Close()
		t.Error("the system that it started still runs")
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLoadNATS(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, code := run(t, environ(), "load", "nats", "--dir", dir, "--duration", "200ms", "--size", "1000,50000", "--max-mb", "64", "--output", "markdown")
	if code != 0 || strings.Count(stdout, "\n| 1,000 | 1 | 1 × 1 |")+strings.Count(stdout, "\n| 50,000 | 1 | 1 × 1 |") != 2 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
	for args, want := range map[string]string{
		"--size 0": "the size of a message must be from 1", "--window 0": "the window must be", "--publishers 65": "publishers must be", "--max-mb 0": "--max-mb",
		"--duration 0s": "the length", "--output xml": "is no format", "--dir /nowhere/at/all": "no such file",
	} {
		_, stderr, code := run(t, environ(), append([]string{"load", "nats"}, strings.Fields(args)...)...)
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
}

// Every command of the document runs, made short and small.
func TestLoadDocument(t *testing.T) {
	b, err := os.ReadFile("../docs/saas/load-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	p := up(t, t.TempDir())
	dir := t.TempDir()
	for name, secret := range map[string]string{"key": apiKey, "secret": webhookSecret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Thresholds are for a machine that is not busy with tests.
	lenient := regexp.MustCompile(`it (holds|does not hold)|"ok": (true|false)`)
	var all sync.WaitGroup
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "kgents load run"):
				line = strings.Replace(line, "load run", "load run --scale 0.1 --duration 1s", 1)
				line = strings.Replace(line, " --scale 0.5 --duration 20s", "", 1)
				line = strings.Replace(line, "redelivery-storm --local", "burst --local", 1) // TestLoadProfiles waits for its redeliveries
			case strings.HasPrefix(line, "kgents load nats"):
				line += " --duration 100ms --max-mb 64 --dir ."
			}
			ran++
			execute := func() {
				cmd := exec.Command("sh", "-c", line)
				cmd.Dir, cmd.Env = dir, environ("KGENTS_URL="+p.url, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
				out, err := cmd.CombinedOutput()
				if err != nil && !lenient.Match(out) {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
			if strings.HasPrefix(line, "kgents load show") {
				execute() // what comes later uses its file
			} else {
				all.Go(execute) // they mostly wait
			}
		}
	}
	all.Wait()
	if ran < 10 {
		t.Errorf("only %d commands found", ran)
	}
	for _, name := range []string{"mine.yaml", "storm.html"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
