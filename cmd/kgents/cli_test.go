package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/kgents/kgents/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// alone keeps what this machine has set or runs out of the test.
func alone(t *testing.T) {
	t.Chdir(t.TempDir()) // no .env
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("KGENTS_URL", "")
	for _, v := range config.Variables() {
		t.Setenv(v.Name, "")
		t.Setenv(v.Name+"_FILE", "")
	}
}

// kgents runs a command line in this process.
func kgents(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&err)
	root.SetArgs(args)
	code = execute(t.Context(), root, &err)
	return code, out.String(), err.String()
}

// closed is the address of a port where nothing listens.
func closed(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// wantLine checks that a command that failed said one line, with each of parts.
func wantLine(t *testing.T, code int, stdout, stderr string, parts ...string) {
	t.Helper()
	if code != 1 {
		t.Errorf("the exit code is %d, want 1", code)
	}
	if stdout != "" {
		t.Errorf("stdout has %q", stdout)
	}
	if !strings.HasPrefix(stderr, "kgents: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("stderr is not one line of kgents: %q", stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stderr, part) {
			t.Errorf("stderr %q lacks %q", stderr, part)
		}
	}
}

func TestHelp(t *testing.T) {
	alone(t)
	for _, args := range [][]string{{"--help"}, {"help"}, {}} {
		code, out, _ := kgents(t, args...)
		if code != 0 {
			t.Errorf("%q: the exit code is %d", args, code)
		}
		for _, part := range []string{"kgents up --demo", "\n  up ", "\n  api ", "\n  sink ", "\n  meter ", "\n  emit ", "\n  verify ", "\n  usage ", "\n  config ", "\n  version ", "\n  completion "} {
			if !strings.Contains(out, part) {
				t.Errorf("%q: the help lacks %q", args, part)
			}
		}
	}
}

// Every command's help shows how it is called, with examples.
func TestHelpOfEachCommand(t *testing.T) {
	alone(t)
	var visit func(cmd *cobra.Command, path []string)
	visit = func(cmd *cobra.Command, path []string) {
		for _, sub := range cmd.Commands() {
			words := append(slices.Clone(path), sub.Name())
			code, out, _ := kgents(t, append(words, "--help")...)
			if code != 0 {
				t.Errorf("%q --help: the exit code is %d", words, code)
			}
			for _, part := range []string{"Usage:\n  kgents " + strings.Join(words, " "), "\nExamples:\n  ", "kgents " + words[0]} {
				if !strings.Contains(out, part) {
					t.Errorf("%q --help lacks %q", words, part)
				}
			}
			visit(sub, words)
		}
	}
	visit(newRoot(), nil)
}

// A command line that is wrong gets one line that says what is, and what to do.
func TestWrongCommandLine(t *testing.T) {
	alone(t)
	for _, test := range []struct {
		line  string
		parts []string
	}{
		{"nonsense", []string{`'kgents' has no command "nonsense"`, "see 'kgents --help'"}},
		{"usgae", []string{`"usgae"`, "did you mean 'usage'?"}},
		{"--nonsense", []string{"unknown flag: --nonsense", "see 'kgents --help'"}},
		{"emit strip", []string{`'kgents emit' has no command "strip"`, "did you mean 'stripe'?"}},
		{"emit usage --cuont 3", []string{"unknown flag: --cuont", "see 'kgents emit usage --help'"}},
		{"emit stripe --count x", []string{"--count", `"x"`, "see 'kgents emit stripe --help'"}},
		{"emit stripe --count -1", []string{"--count must not be negative"}},
		{"emit usage --count -1", []string{"--count must not be negative"}},
		{"emit usage --duplicates 1.1", []string{"--duplicates is a share, from 0 to 1"}},
		{"emit usage --customers 0", []string{"--customers must be from 1 to 1000000"}},
		{"emit usage --concurrency 0", []string{"--concurrency must be from 1 to 1024"}},
		{"emit usage --batch 0", []string{"--batch must be from 1 to 10000"}},
		{"emit usage --rate -1", []string{": --rate must not be negative"}},
		{"emit usage --retries -1", []string{": --retries must not be negative"}},
		{"emit usage --over -1s", []string{": --over must not be negative"}},
		{"emit usage --duration -1s", []string{": --duration must not be negative"}},
		{"emit usage --timeout 0", []string{"--timeout must be more than 0"}},
		{"emit stripe --timeout -1s", []string{"--timeout must be more than 0"}},
		{"emit usage --type nope", []string{`"nope"`, "choose from agent.tokens, town.interaction, api.request"}},
		{"up --data=", []string{"--data", "name a directory"}},
		{"usage --data=", []string{"--data", "name a directory"}},
		{"verify --url foo", []string{`: --url "foo" is no URL: use for example http://127.0.0.1:8000`}},
		{"usage --url foo", []string{`: --url "foo" is no URL: use for example http://127.0.0.1:8000`}},
		{"emit usage --url http://", []string{`: --url "http://" is no URL: use for example http://127.0.0.1:8000`}},
		{"emit stripe --url host:1", []string{`: --url "host:1" is no URL`}},
		{"usage --url someone:hunter2@host", []string{`: --url "…@host" is no URL`}},
		{"verify extra", []string{`'kgents verify' takes no arguments, not "extra"`, "see 'kgents verify --help'"}},
		{"usage extra", []string{"'kgents usage' takes no arguments"}},
		{"config extra", []string{"'kgents config' takes no arguments"}},
		{"emit usage extra", []string{"'kgents emit usage' takes no arguments"}},
		{"up extra", []string{"'kgents up' takes no arguments"}},
		{"completion tcsh", []string{`no completions for "tcsh"`, "use bash, zsh, fish or powershell"}},
		{"usage --since 7x", []string{"--since", "use for example 90m, 24h or 7d"}},
		{"usage --since 1.5d", []string{"--since", "use for example 90m, 24h or 7d"}},
		{"usage --since 65535d2000000h", []string{"--since", "use for example 90m, 24h or 7d"}},
		{"emit usage --output xml", []string{`--output "xml"`, "use table or json"}},
		{"usage --output xml", []string{`--output "xml"`, "use table, json or csv"}},
		{"usage --since 10s", []string{"--since must be at least 1m"}},
		{"usage --group-by model", []string{"--group-by needs --meter"}},
		{"verify --timeout 0s", []string{"--timeout must be more than 0"}},
		{"verify --output xml", []string{`--output "xml"`, "use table or json"}},
		{"version --output xml", []string{`--output "xml"`, "use table or json"}},
		{"version extra", []string{"'kgents version' takes no arguments"}},
		{"config --output xml", []string{`--output "xml"`, "use table or json"}},
		{"config --role boss", []string{`--role "boss"`, "use up, api, sink or meter"}},
		{"completion", nil}, // shows its help
	} {
		t.Run(test.line, func(t *testing.T) {
			code, out, stderr := kgents(t, strings.Fields(test.line)...)
			if test.parts == nil {
				if code != 0 || !strings.Contains(out, "bash") {
					t.Errorf("code %d, stdout %q", code, out)
				}
				return
			}
			wantLine(t, code, out, stderr, test.parts...)
		})
	}
}

func TestVersion(t *testing.T) {
	alone(t)
	code, out, stderr := kgents(t, "version", "--output", "json")
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, stderr %q", code, stderr)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got["go"] != runtime.Version() || got["version"] == "" || got["revision"] == "" || len(got) != 3 {
		t.Errorf("got %v", got)
	}
	for _, arg := range []string{"version", "--version"} {
		code, out, _ = kgents(t, arg)
		if code != 0 || out != "kgents "+got["version"]+" ("+got["revision"][:min(12, len(got["revision"]))]+", "+got["go"]+")\n" {
			t.Errorf("%s: code %d, stdout %q", arg, code, out)
		}
	}
}

// configured is what `config --output json` says.
type configured struct {
	Name, Value, From string
	Secret            bool
}

// However a secret comes in, and in whatever setting, it does not come out.
func TestConfigShowsNoSecret(t *testing.T) {
	const secret = "hunter2"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"flag", "file", "environment", ".env"} {
		t.Run("from "+from, func(t *testing.T) {
			alone(t)
			t.Setenv("NATS_SERVERS", "nats://someone:"+secret+"@nats:4222")
			t.Setenv("OPENMETER_BASE_URL", "http://someone:"+secret+"@openmeter:8888")
			args := []string{"config"}
			var dotenv strings.Builder
			for _, v := range config.Variables() {
				if !v.Secret {
					continue
				}
				switch from {
				case "flag":
					args = append(args, "--"+v.Flag(), secret)
				case "file":
					args = append(args, "--"+v.Flag()+"-file", file)
				case "environment":
					t.Setenv(v.Name, secret)
				case ".env":
					dotenv.WriteString(v.Name + "=" + secret + "\n")
				}
			}
			if err := os.WriteFile(".env", []byte(dotenv.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, output := range []string{"json", "table"} {
				code, out, stderr := kgents(t, append(args, "--output", output)...)
				if code != 0 || stderr != "" {
					t.Fatalf("code %d, stderr %q", code, stderr)
				}
				if strings.Contains(out, secret) {
					t.Errorf("the %s shows the secret:\n%s", output, out)
				}
				if output != "json" {
					continue
				}
				var rows []configured
				if err := json.Unmarshal([]byte(out), &rows); err != nil {
					t.Fatal(err)
				}
				if want := len(config.Variables()) + 1; len(rows) != want { // --data, too
					t.Errorf("%d settings of %d", len(rows), want)
				}
				for _, r := range rows {
					if r.Secret && (r.Value != "set" || r.From != from) {
						t.Errorf("a secret shows as %+v, want it set from %q", r, from)
					}
				}
			}
		})
	}
}

func TestConfigWithoutSecrets(t *testing.T) {
	alone(t)
	_, out, _ := kgents(t, "config", "--output", "json")
	var rows []configured
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.From != "default" || r.Secret && r.Value != "not set" {
			t.Errorf("got %+v", r)
		}
	}
}

// What `up` made and keeps in its data directory is in force, and shows so.
func TestConfigShowsWhatUpMade(t *testing.T) {
	alone(t)
	t.Setenv("STRIPE_WEBHOOK_SECRET", "whsec_x") // wins over what is kept
	dir := t.TempDir()
	if _, err := new(config.Config).EnsureSecrets(dir); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string][]configured{
		"up": {
			{"API_KEYS", "set", "data directory", true},
			{"STRIPE_WEBHOOK_SECRET", "set", "environment", true},
			{"--data", dir, "flag", false},
		},
		"api": { // takes nothing from a data directory
			{"API_KEYS", "not set", "default", true},
			{"STRIPE_WEBHOOK_SECRET", "set", "environment", true},
		},
	} {
		_, out, _ := kgents(t, "config", "--output", "json", "--role", role, "--data", dir)
		var rows []configured
		if err := json.Unmarshal([]byte(out), &rows); err != nil {
			t.Fatal(err)
		}
		rows = slices.DeleteFunc(rows, func(r configured) bool {
			return !slices.Contains([]string{"API_KEYS", "STRIPE_WEBHOOK_SECRET", "--data"}, r.Name)
		})
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("%s, -want +got:\n%s", role, diff)
		}
	}
}

// What to try next finds the data directory from wherever it is run.
func TestDataFlag(t *testing.T) {
	alone(t)
	usual, err := config.DefaultDataDir()
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		usual:       "",
		"/srv/data": " --data /srv/data",
		"data":      " --data " + here + "/data",
		"/it's $x":  ` --data '/it'\''s $x'`,
	} {
		if got := dataFlag(dir); got != want {
			t.Errorf("dataFlag(%q) is %q, want %q", dir, got, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		want []string // in the one line on stderr; nil when valid
	}{
		{"the defaults", nil, nil, nil},
		{"a port that is none", map[string]string{"API_PORT": "99999"}, nil, []string{`API_PORT="99999"`, "environment"}},
		{"a port that is none, by flag", nil, []string{"--api-port", "x"}, []string{`API_PORT="x"`, "flag"}},
		{"a level that is none", map[string]string{"LOG_LEVEL": "loud"}, nil, []string{`LOG_LEVEL="loud"`}},
		{"half of a key pair", map[string]string{"NATS_TLS_CERT": "cert.pem"}, nil, []string{"NATS_TLS_CERT", "NATS_TLS_KEY"}},
		{"a secret's file that is away", map[string]string{"API_KEYS_FILE": "away"}, nil, []string{"API_KEYS_FILE"}},
		{"a secret twice", map[string]string{"API_KEYS": "hunter2", "API_KEYS_FILE": "away"}, nil, []string{"API_KEYS", "keep one"}},
		{"a meter's server without keys", nil, []string{"--role", "meter"}, []string{"API_KEYS is not set"}},
		{"a sink with all it needs", map[string]string{"NATS_SERVERS": "nats://nats:4222", "OPENMETER_BASE_URL": "http://openmeter:8888"}, []string{"--role", "sink"}, nil},
		{"no meters file", map[string]string{"METERS_FILE": "none.yaml"}, nil, []string{"METERS_FILE", "none.yaml"}},
		{"a broken meters file", map[string]string{"METERS_FILE": ".", "API_KEYS": "hunter2"}, []string{"--role", "meter"}, []string{"METERS_FILE"}},
		{"a meters file that nobody reads", map[string]string{"METERS_FILE": "none.yaml", "OPENMETER_BASE_URL": "http://openmeter:8888"}, nil, nil},
		{"no origin", map[string]string{"CORS_ORIGINS": "app.example.com"}, nil, []string{"CORS_ORIGINS", "https://app.example.com"}},
		{"a sink without a meter", map[string]string{"NATS_SERVERS": "nats://nats:4222"}, []string{"--role", "sink"}, []string{"OPENMETER_BASE_URL is not set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone(t)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			code, out, stderr := kgents(t, append([]string{"config", "--validate"}, test.args...)...)
			if test.want != nil {
				wantLine(t, code, out, stderr, test.want...)
				if strings.Contains(stderr, "hunter2") {
					t.Errorf("the secret shows: %q", stderr)
				}
				return
			}
			if code != 0 || stderr != "" || !strings.Contains(out, "is valid") {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, stderr)
			}
		})
	}
}

// All that is wrong is said at once.
func TestConfigValidateNamesAll(t *testing.T) {
	alone(t)
	code, out, stderr := kgents(t, "config", "--validate", "--role", "api")
	if code != 1 || out != "" {
		t.Errorf("code %d, stdout %q", code, out)
	}
	for _, name := range []string{"NATS_SERVERS", "OPENMETER_BASE_URL", "API_KEYS"} {
		if !strings.Contains(stderr, "\n  "+name+" is not set") {
			t.Errorf("stderr lacks a line on %s: %q", name, stderr)
		}
	}
}

func TestCompletion(t *testing.T) {
	alone(t)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, out, stderr := kgents(t, "completion", shell)
		if code != 0 || stderr != "" || !strings.Contains(out, "__complete") || !strings.Contains(out, "kgents") {
			t.Errorf("%s: code %d, %d bytes, stderr %q", shell, code, len(out), stderr)
		}
	}
	// What the script asks when the user presses the tabulator.
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"us"}, []string{"usage"}},
		{[]string{"emit", ""}, []string{"stripe", "town", "usage"}},
		{[]string{"usage", "--output", ""}, []string{"table", "json", "csv"}},
		{[]string{"usage", "--meter", ""}, []string{"subscriptions_started", "subscription_changes", "subscriptions_ended", "payments", "payment_failures", "agent_tokens", "town_interactions", "api_requests", "canaries"}},
		{[]string{"usage", "--customer", ""}, nil},
		{[]string{"version", "--output", ""}, []string{"table", "json"}},
		{[]string{"up", "--log-level", ""}, []string{"debug", "info", "warn", "error"}},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish", "powershell"}},
		{[]string{"config", "--role", ""}, []string{"up", "api", "sink", "meter"}},
	} {
		_, out, _ := kgents(t, append([]string{"__complete"}, test.args...)...)
		if !strings.Contains(out, "\n:4\n") && !strings.HasPrefix(out, ":4\n") { // else the shell adds files
			t.Errorf("%q: not without files: %q", test.args, out)
		}
		var got []string
		for line := range strings.Lines(out) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q, -want +got:\n%s", test.args, diff)
		}
	}
}

// Each command that asks a running kgents says at once, in one line, that there
// is none, that it is another, or which key it lacks.
func TestTarget(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	nowhere := closed(t)
	for _, command := range []string{"emit usage", "emit stripe", "usage", "verify"} {
		t.Run(command, func(t *testing.T) {
			alone(t)
			args := strings.Fields(command)
			code, out, stderr := kgents(t, append(args, "--url", nowhere)...)
			name, flag := "API_KEYS", "--key-file"
			if command == "emit stripe" {
				name, flag = "STRIPE_WEBHOOK_SECRET", "--webhook-secret-file"
			}
			wantLine(t, code, out, stderr, "set "+name+" or "+name+"_FILE", flag, "--data")

			t.Setenv("API_KEYS", "the-key")
			t.Setenv("STRIPE_WEBHOOK_SECRET", "whsec_x")
			code, out, stderr = kgents(t, append(args, "--url", nowhere)...)
			wantLine(t, code, out, stderr, "nothing answers at "+nowhere, "'kgents up'", "--url")

			t.Setenv("KGENTS_URL", nowhere+"/")
			code, out, stderr = kgents(t, args...)
			wantLine(t, code, out, stderr, "nothing answers at "+nowhere+":")

			t.Setenv("KGENTS_URL", "foo")
			code, out, stderr = kgents(t, args...)
			wantLine(t, code, out, stderr, `: KGENTS_URL "foo" is no URL: use for example http://127.0.0.1:8000`)

			code, out, stderr = kgents(t, append(args, "--url", other.URL)...)
			wantLine(t, code, out, stderr, "what answers at "+other.URL+" is not kgents", "--url")
		})
	}
}

// api is a small kgents with one key, two meters, and no counting.
func api(t *testing.T) (url string, queries func() []string) {
	var (
		mu  sync.Mutex
		got []string
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		answer := func(status int, body string) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
		switch {
		case req.URL.Path == "/livez":
		case req.Header.Get("Authorization") != "Bearer the-key":
			answer(http.StatusUnauthorized, `{"detail":"no such key"}`)
		case req.Method == http.MethodPost:
			answer(http.StatusNoContent, "")
		case req.URL.Path == "/api/v1/meters":
			answer(http.StatusOK, `[{"slug":"payments","groupBy":{"currency":"$.currency"}},{"slug":"agent_tokens","groupBy":{"model":"$.model"}}]`)
		default:
			mu.Lock()
			got = append(got, req.URL.Path+" by "+strings.Join(req.URL.Query()["groupBy"], ",")+" of "+req.URL.Query().Get("subject"))
			mu.Unlock()
			if strings.Contains(req.URL.Path, "payments") {
				answer(http.StatusOK, `{"data":[{"value":7,"groupBy":{"currency":null}},{"value":4900,"groupBy":{"currency":"eur"}}]}`)
				return
			}
			answer(http.StatusOK, `{"data":[{"value":5,"subject":"cus_1","groupBy":{"model":"small"}}]}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestUsageCommand(t *testing.T) {
	for _, test := range []struct {
		name    string
		args    []string
		queries []string
		rows    []usageRow
	}{
		{"every meter, money by currency", nil,
			[]string{"/api/v1/meters/agent_tokens/query by  of ", "/api/v1/meters/payments/query by currency of "},
			[]usageRow{
				{Meter: "agent_tokens", Value: 5},
				{Meter: "payments", Group: map[string]string{"currency": "eur"}, Value: 4900, Unit: minor},
				{Meter: "payments", Group: map[string]string{"currency": "none"}, Value: 7, Unit: minor},
			}},
		{"currencies are never added up", []string{"--meter", "payments", "--group-by", "subject", "--since", "7d"},
			[]string{"/api/v1/meters/payments/query by subject,currency of "},
			[]usageRow{
				{Meter: "payments", Group: map[string]string{"subject": "none", "currency": "eur"}, Value: 4900, Unit: minor},
				{Meter: "payments", Group: map[string]string{"subject": "none", "currency": "none"}, Value: 7, Unit: minor},
			}},
		{"one customer's, of one meter, by groups", []string{"--customer", "cus_1", "--meter", "agent_tokens", "--group-by", "model,subject"},
			[]string{"/api/v1/meters/agent_tokens/query by model,subject of cus_1"},
			[]usageRow{{Meter: "agent_tokens", Group: map[string]string{"model": "small", "subject": "cus_1"}, Value: 5}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone(t)
			t.Setenv("API_KEYS", "the-key")
			url, queries := api(t)
			code, out, stderr := kgents(t, append([]string{"usage", "--output", "json", "--url", url}, test.args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("code %d, stderr %q", code, stderr)
			}
			if diff := cmp.Diff(test.queries, queries()); diff != "" {
				t.Errorf("the queries, -want +got:\n%s", diff)
			}
			var rows []usageRow
			if err := json.Unmarshal([]byte(out), &rows); err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				want := day
				if slices.Contains(test.args, "7d") {
					want = 7 * day
				}
				if r.To.Sub(r.From) != want {
					t.Errorf("the period is from %v to %v, want %v", r.From, r.To, want)
				}
			}
			if diff := cmp.Diff(test.rows, rows, cmpopts.IgnoreUnexported(usageRow{}), cmpopts.IgnoreFields(usageRow{}, "From", "To")); diff != "" {
				t.Errorf("the rows, -want +got:\n%s", diff)
			}
		})
	}
}

func TestUsageOfNoMeter(t *testing.T) {
	alone(t)
	t.Setenv("API_KEYS", "the-key")
	url, _ := api(t)
	code, out, stderr := kgents(t, "usage", "--url", url, "--meter", "tokens")
	wantLine(t, code, out, stderr, `no meter "tokens"`, "choose from agent_tokens, payments")
	code, out, stderr = kgents(t, "usage", "--url", url, "--meter", "agent_tokens", "--group-by", "nope")
	wantLine(t, code, out, stderr, `agent_tokens can't be grouped by "nope"`, "choose from subject, model")
}

// A key that is refused is named by where it came from, never shown.
func TestKeyRefused(t *testing.T) {
	url, _ := api(t)
	for _, command := range []string{"usage", "emit usage --count 1", "verify"} {
		t.Run(command, func(t *testing.T) {
			alone(t)
			t.Setenv("API_KEYS", "hunter2")
			code, out, stderr := kgents(t, append(strings.Fields(command), "--url", url)...)
			wantLine(t, code, "", stderr, "does not know the API key from the environment (API_KEYS)", "--data")
			if strings.Contains(out, "stuck") {
				t.Errorf("what was refused is called stuck: %s", out)
			}
			if strings.Contains(out+stderr, "hunter2") {
				t.Errorf("the key shows: %s%s", out, stderr)
			}
		})
	}
}

// A path that is well but slower than --timeout is not called broken.
func TestVerifyHasTooLittleTime(t *testing.T) {
	for status, part := range map[string]string{
		"ok":    "all is well: give it more time with --timeout",
		"error": "it is stuck at '",
	} {
		t.Run(status, func(t *testing.T) {
			alone(t)
			t.Setenv("API_KEYS", "the-key")
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				switch {
				case req.Method == http.MethodPost:
					w.WriteHeader(http.StatusNoContent)
				case req.URL.Path == "/health/saas":
					io.WriteString(w, `{"status":"`+status+`"}`)
				case strings.HasSuffix(req.URL.Path, "/events"):
					io.WriteString(w, "[]") // the canary never comes
				case strings.HasSuffix(req.URL.Path, "/query"):
					io.WriteString(w, `{"data":[]}`)
				}
			}))
			t.Cleanup(server.Close)
			code, _, stderr := kgents(t, "verify", "--url", server.URL, "--timeout", "500ms")
			wantLine(t, code, "", stderr, part)
		})
	}
}
