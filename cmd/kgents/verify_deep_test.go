package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/verify"
	"github.com/kgents/kgents/verify/deep"
)

func TestPrintDeep(t *testing.T) {
	var b bytes.Buffer
	long := strings.Repeat("a pod that is not ready; ", 8)
	printDeep(&b, deep.Report{Took: 2 * time.Second, Lines: []deep.Line{
		{Check: "nats synced writes", Verdict: deep.Pass, Evidence: "all 3 servers"},
		{Check: "api pods", Verdict: deep.Fail, Evidence: long, Next: "look\x1b[2J at " + long},
		{Check: "redis", Verdict: deep.Unknown, Evidence: "not set", Next: "set REDIS_URL"},
		{Check: "backlog", Verdict: deep.Unknown, Evidence: "not set", Next: "set REDIS_URL"},
	}})
	out := b.String()
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	for _, part := range []string{"✓ pass     nats synced writes  all 3 servers\n", "✗ fail     api pods ", "? unknown  redis", "→ set REDIS_URL\n", "→ as above\n",
		"\n✗  1 pass, 1 fail, 2 unknown, in 2.00s: unknown is no pass\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("lacks %q:\n%s", part, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("a control character of a server's came through: %q", out)
	}
	b.Reset()
	printDeep(&b, deep.Report{OK: true, Took: time.Second, Lines: []deep.Line{{Check: "redis", Verdict: deep.Pass, Evidence: "there"}}})
	if !strings.HasSuffix(b.String(), "\n✓  all 1 checks pass, in 1.00s\n") {
		t.Errorf("says %q", b.String())
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string][]string{
		"":              nil,
		"one":           {"one"},
		"one two three": {"one two", "three"},
		"muchtoolong a": {"muchtoolong", "a"},
		"éé éé éé éé":   {"éé éé", "éé éé"},
	} {
		if diff := cmp.Diff(want, wrap(text, 7)); diff != "" {
			t.Errorf("%q, -want +got:\n%s", text, diff)
		}
	}
}

// With nothing there to check, every line is said, and none passes.
func TestVerifyDeepOfNothing(t *testing.T) {
	alone(t)
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KGENTS_NAMESPACE", "")
	code, out, stderr := kgents(t, "verify", "--deep", "--timeout", "1s", "--url", closed(t), "--output", "json")
	var r deep.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if code != 1 || stderr != "" || r.OK || len(r.Lines) != 10 {
		t.Errorf("code %d, stderr %q, %+v", code, stderr, r)
	}
	for _, line := range r.Lines {
		if line.Verdict != deep.Unknown || line.Next == "" {
			t.Errorf("the line is %+v", line)
		}
	}
}

// apiServer is a Kubernetes that has these objects, by path, and forbids the rest.
func apiServer(t *testing.T, objects map[string]string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := objects[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			body = `{"message":"the account may not"}`
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q}}],
"users":[{"name":"u","user":{"token":"never-shown"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u","namespace":"test"}}]}`, s.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
}

const workloads = `{"items":[{"metadata":{"name":%q},"spec":{"template":%[2]s,"jobTemplate":{"spec":{"template":%[2]s}}}}]}`

func told(name string, env ...string) string {
	var vars []string
	for _, e := range env {
		key, value, _ := strings.Cut(e, "=")
		vars = append(vars, fmt.Sprintf(`{"name":%q,"value":%q}`, key, value))
	}
	return fmt.Sprintf(workloads, name, `{"spec":{"containers":[{"name":"x","env":[`+strings.Join(vars, ",")+`]}]}}`)
}

// Outside the cluster, what isn't told is taken from what the pods are given, and
// what is told stays.
func TestVerifyDeepFromOutside(t *testing.T) {
	alone(t)
	apiServer(t, map[string]string{
		"/apis/apps/v1/namespaces/test/deployments": told("kgents-api", "API_KEYS=one,two", "REDIS_URL=redis://u:hush@redis:6379", "NATS_SERVERS=nats://n:4222", "OPENMETER_BASE_URL=http://m"),
		"/apis/batch/v1/namespaces/test/cronjobs":   told("kgents-verify", "NATS_SERVERS=nats://n:4222", "NATS_REPLICAS=5", "NATS_STREAM_NAME=other", "KGENTS_URL=http://the-api/"),
	})
	for name, c := range map[string]struct {
		t       target
		c       config.Config
		url     string
		key     string
		tunnels bool
		servers int
		stream  string
		redis   string
	}{
		"nothing is told":           {target{URL: "http://127.0.0.1:8000", Key: "local"}, config.Config{}, "http://the-api", "one", true, 1, "other", "redis://u:hush@redis:6379"},
		"the API's address is told": {target{url: "http://mine", URL: "http://mine", Key: "mine"}, config.Config{}, "http://mine", "mine", false, 1, "other", "redis://u:hush@redis:6379"},
		"the key is told":           {target{keyFile: "f", URL: "http://127.0.0.1:8000", Key: "mine"}, config.Config{}, "http://the-api", "mine", true, 1, "other", "redis://u:hush@redis:6379"},
		"NATS and Redis are told": {target{URL: "http://127.0.0.1:8000", Key: "mine"}, config.Config{NATSServers: []string{"nats://a", "nats://b"}, RedisURL: "redis://mine", APIKeys: []string{"mine"}},
			"http://the-api", "mine", true, 2, "kgent-events", "redis://mine"},
	} {
		t.Run(name, func(t *testing.T) {
			k8s, err := cluster.Open(cluster.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer k8s.Close()
			look := deep.Config{
				Target: verify.Target{URL: c.t.URL, Key: c.t.Key}, System: stream.Remote{Servers: c.c.NATSServers},
				Stream: stream.Config{Name: "kgent-events", Replicas: 3}, Redis: c.c.RedisURL,
			}
			var said bytes.Buffer
			defer fromOutside(t.Context(), &said, k8s, &c.t, c.c, &look)()
			if look.Target.URL != c.url || look.Target.Key != c.key || look.Tunnels != c.tunnels || (look.Target.HTTP != nil) != c.tunnels ||
				len(look.System.Servers) != c.servers || look.Stream.Name != c.stream || look.Redis != c.redis || said.String() != "" {
				t.Errorf("it looks at %+v with %q, %q", look.Target, look.Redis, said.String())
			}
		})
	}
}

// What can't be looked up is said once, and its lines don't pass.
func TestVerifyDeepFromOutsideDenied(t *testing.T) {
	alone(t)
	apiServer(t, nil)
	code, out, stderr := kgents(t, "verify", "--deep", "--timeout", "5s", "--output", "json")
	var r deep.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, line := range r.Lines {
		if line.Verdict == deep.Pass {
			t.Errorf("the line is %+v", line)
		}
	}
	if code != 1 || strings.Count(stderr, "no permission to read deployments in namespace test: the account may not") != 1 ||
		strings.Count(stderr, "no permission to read cronjobs in namespace test") != 1 || strings.Contains(stderr+out, "never-shown") {
		t.Errorf("code %d, stderr %s", code, stderr)
	}
}

func TestVerifyDeepWrongFlags(t *testing.T) {
	alone(t)
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for line, part := range map[string]string{
		"verify --namespace a":          "add it",
		"verify --context a":            "go with --deep",
		"verify --deep --timeout 0":     "--timeout must be more than 0",
		"verify --deep --output table2": "--output",
	} {
		code, out, stderr := kgents(t, strings.Fields(line)...)
		wantLine(t, code, out, stderr, part)
	}
}
