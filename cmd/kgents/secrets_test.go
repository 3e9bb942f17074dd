package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/secrets"
)

// values matches what may be secret in the files: keys, passwords, seeds and the
// lines of PEM.
var values = regexp.MustCompile(`[A-Za-z0-9_/+]{20,}`)

// shows tells whether an output has a value of any file.
func shows(t *testing.T, dir, output string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, v := range values.FindAllString(string(b), -1) {
			found = found || (strings.Contains(output, v) && v != "STRIPE_WEBHOOK_SECRET")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The life of a directory of secrets by the command line, which shows none of them.
func TestSecrets(t *testing.T) {
	alone(t)
	dir := "s"
	given := "whsec_given_by_stripe_0123"
	if err := os.WriteFile("given", []byte(given+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		line string
		want string
	}{
		{"init", "made nats/tls.crt\n"},
		{"init", "already"},
		{"list", "expires in 36"},
		{"rotate redis", "kgents secrets rotate redis --finish"},
		{"rotate webhook-secret --from-file given", "the one before is accepted too"},
		{"rotate nats-tls", "the one before is accepted too"},
		{"list", "being rotated for today: the one before is accepted too"},
		{"list --output json", `"rotating"`},
		{"list --output json", `"period_days": 90`},
		{"rotate redis --finish", "taken away"},
		{"rotate webhook-secret --finish", "taken away"},
	} {
		t.Run(step.line, func(t *testing.T) {
			code, stdout, stderr := kgents(t, append([]string{"secrets"}, append(strings.Fields(step.line), "--dir", dir)...)...)
			if code != 0 || stderr != "" || !strings.Contains(stdout, step.want) {
				t.Errorf("exit code %d, stderr %q, stdout\n%s\nwant %q", code, stderr, stdout, step.want)
			}
			if shows(t, dir, stdout+stderr) {
				t.Errorf("the output shows a secret:\n%s", stdout)
			}
		})
	}
	b, err := os.ReadFile(filepath.Join(dir, "api.env"))
	if err != nil || !strings.Contains(string(b), "STRIPE_WEBHOOK_SECRET="+given+"\n") {
		t.Errorf("the webhook secret that was given is not the only one: %v", err)
	}
}

func TestSecretsRefusals(t *testing.T) {
	alone(t)
	if code, _, stderr := kgents(t, "secrets", "init", "--dir", "s"); code != 0 {
		t.Fatal(stderr)
	}
	for name, content := range map[string]string{"hush": "hush hush, this is no secret", "large": strings.Repeat("x", maxBrought+1)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, err := secrets.List("s", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		says []string
	}{
		{"init --namespace Not_One", []string{"Not_One", "lower-case"}},
		{"list --output yaml", []string{"yaml", "table or json"}},
		{"list --dir nowhere", []string{"nowhere", "kgents secrets init"}},
		{"rotate", []string{"name one secret", "webhook-secret", "nats-tls"}},
		{"rotate redis nats-api", []string{"name one secret"}},
		{"rotate nothing", []string{"nothing", "nats-system"}},
		{"rotate webhook-secret", []string{"--from-file"}},
		{"rotate webhook-secret --from-file none", []string{"--from-file", "none"}},
		{"rotate webhook-secret --from-file hush", []string{"16 to 256"}},
		{"rotate webhook-secret --from-file large", []string{"4096 bytes"}},
		{"rotate redis --from-file hush", []string{"webhook-secret only"}},
		{"rotate redis --finish", []string{"not being rotated"}},
	} {
		t.Run(c.line, func(t *testing.T) {
			args := append([]string{"secrets"}, strings.Fields(c.line)...)
			if !strings.Contains(c.line, "--dir") {
				args = append(args, "--dir", "s")
			}
			code, stdout, stderr := kgents(t, args...)
			wantLine(t, code, stdout, stderr, c.says...)
			if strings.Contains(stderr, "hush hush") {
				t.Error("the error shows what was given")
			}
		})
	}
	after, err := secrets.List("s", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	was, _ := json.Marshal(before)
	is, _ := json.Marshal(after)
	if string(was) != string(is) {
		t.Errorf("refusals changed something:\n%s\n%s", was, is)
	}
}

// What is due is said, in words without colour and in JSON.
func TestSecretsDue(t *testing.T) {
	alone(t)
	if code, _, stderr := kgents(t, "secrets", "init", "--dir", "s"); code != 0 {
		t.Fatal(stderr)
	}
	code, out, stderr := kgents(t, "secrets", "list", "--dir", "s")
	if code != 0 || stderr != "" || strings.Contains(out, "need something") || strings.Contains(out, "\x1b") {
		t.Errorf("new ones: code %d, stderr %q, stdout\n%s", code, stderr, out)
	}
	day := func(n int) string {
		return time.Now().Add(-time.Duration(n) * 24 * time.Hour).UTC().Format(time.RFC3339)
	}
	record := `{"redis": {"made": "` + day(100) + `"}, "nats-api": {"made": "` + day(80) + `"}, "webhook-secret": {"made": "` + day(100) + `"}}`
	if err := os.WriteFile("s/ages.json", []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, _ = kgents(t, "secrets", "list", "--dir", "s")
	for name, want := range map[string]string{
		"redis":          `100 days +90 days +it was to be rotated 1?[0-9] days ago, after 90 days`,
		"nats-api":       `80 days +90 days +to be rotated until 2`,
		"webhook-secret": `100 days +180 days *$`,
		"api-key":        `not known +180 days +its age is not known: rotate it once`,
	} {
		if !regexp.MustCompile(`(?m)^` + name + ` .* ` + want).MatchString(out) {
			t.Errorf("%s: want %q in\n%s", name, want, out)
		}
	}
	if !strings.Contains(out, "need something done") {
		t.Errorf("no summary:\n%s", out)
	}
	_, out, _ = kgents(t, "secrets", "list", "--dir", "s", "--output", "json")
	var all []secrets.Secret
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if (s.Problem != "") != (s.Name != "nats-api" && s.Name != "webhook-secret" && s.Name != "nats-tls") || s.PeriodDays == 0 {
			t.Errorf("%+v", s)
		}
	}
}
