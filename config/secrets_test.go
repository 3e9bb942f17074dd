package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

func secrets() []config.Variable {
	var out []config.Variable
	for _, v := range config.Variables() {
		if v.Secret {
			out = append(out, v)
		}
	}
	return out
}

// TestSecretFiles: every secret can be given by file, by variable and by flag.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "full"), []byte(strings.Repeat("x", 64<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overfull"), []byte(strings.Repeat("x", 64<<10+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(write(t, "hush\n"), filepath.Join(dir, "link")); err != nil { // as Kubernetes mounts secrets
		t.Fatal(err)
	}
	if len(secrets()) == 0 {
		t.Fatal("no variable is secret")
	}
	for _, v := range secrets() {
		for _, test := range []struct {
			name, path string
			want       string // as if given by value; "" = an error
			wrong      string // the error, behind the name
		}{
			{"a line", write(t, "hush\n"), "hush", ""},
			{"no line's end", write(t, "hush"), "hush", ""},
			{"a line as Windows ends it", write(t, "hush\r\n"), "hush", ""},
			{"blanks around", write(t, "\n  hush \n\n"), "hush", ""},
			{"a link", filepath.Join(dir, "link"), "hush", ""},
			{"as large as may be", filepath.Join(dir, "full"), strings.Repeat("x", 64<<10), ""},
			{"too large", filepath.Join(dir, "overfull"), "", `="` + dir + `/overfull": no file of at most 65536 bytes`},
			{"not there", filepath.Join(dir, "none"), "", `="` + dir + `/none": no such file or directory`},
			{"a directory", dir, "", `="` + dir + `": no file of at most 65536 bytes`},
			{"the secret itself", "hush", "", ": no such file or directory; it takes the path of a file, not the secret"},
		} {
			t.Run(v.Name+" "+test.name, func(t *testing.T) {
				for _, by := range []struct {
					name string
					src  config.Source
				}{
					{v.Name + "_FILE", config.Source{Env: vars{v.Name + "_FILE": test.path}.lookup}},
					{v.Name + "_FILE", config.Source{DotEnv: vars{v.Name + "_FILE": test.path}}},
					{"--" + v.Flag() + "-file", config.Source{Flags: vars{v.Flag() + "-file": test.path}}},
				} {
					got, _, err := config.Load(config.RoleUp, by.src)
					if test.want == "" {
						if diff := cmp.Diff([]string{by.name + test.wrong}, problems(t, err)); diff != "" {
							t.Errorf("mistakes (-want +got):\n%s", diff)
						}
						continue
					}
					if err != nil {
						t.Errorf("%s: %v", by.name, err)
						continue
					}
					if diff := cmp.Diff(load(t, config.RoleUp, vars{v.Name: test.want}), got); diff != "" {
						t.Errorf("%s against the value itself (-want +got):\n%s", by.name, diff)
					}
				}
			})
		}
	}
}

func TestSecretFileWithALineEach(t *testing.T) {
	c := load(t, config.RoleUp, vars{"API_KEYS_FILE": write(t, "one\r\ntwo\n\nthree,four\n")})
	if diff := cmp.Diff([]string{"one", "two", "three", "four"}, c.APIKeys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// TestSecretTwice: of two values in one place nobody could say which is meant.
func TestSecretTwice(t *testing.T) {
	file := write(t, "hush\n")
	for _, v := range secrets() {
		env := vars{v.Name: "hush", v.Name + "_FILE": file}
		flags := vars{v.Flag(): "hush", v.Flag() + "-file": file}
		byVariable := v.Name + " and " + v.Name + "_FILE are both set: keep one"
		byFlag := "--" + v.Flag() + " and --" + v.Flag() + "-file are both set: keep one"
		for _, test := range []struct {
			name string
			src  config.Source
			want string
		}{
			{"environment", config.Source{Env: env.lookup}, byVariable},
			{".env", config.Source{DotEnv: env}, byVariable},
			{"flags", config.Source{Flags: flags}, byFlag},
		} {
			t.Run(v.Name+" "+test.name, func(t *testing.T) {
				_, _, err := config.Load(config.RoleUp, test.src)
				if diff := cmp.Diff([]string{test.want}, problems(t, err)); diff != "" {
					t.Errorf("mistakes (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestFilesAreForSecretsOnly: LOG_LEVEL_FILE is somebody else's variable.
func TestFilesAreForSecretsOnly(t *testing.T) {
	for _, v := range config.Variables() {
		if v.Secret {
			continue
		}
		c := load(t, config.RoleUp, vars{v.Name + "_FILE": "/nowhere"})
		if diff := cmp.Diff(load(t, config.RoleUp, nil), c); diff != "" {
			t.Errorf("%s_FILE changes something (-want +got):\n%s", v.Name, diff)
		}
	}
}

// TestSecretsAreNotShown: neither one by one nor in a summary.
func TestSecretsAreNotShown(t *testing.T) {
	env := vars{}
	for name, value := range everything {
		env[name] = value
	}
	for _, v := range secrets() {
		env[v.Name] = "hush"
	}
	c, settings, err := config.Load(config.RoleUp, config.Source{Env: env.lookup})
	if err != nil {
		t.Fatal(err)
	}
	if len(settings) != len(config.Variables()) {
		t.Errorf("%d settings of %d variables", len(settings), len(config.Variables()))
	}
	for _, s := range settings {
		public := c.Public(s.Name)
		if public != s.Value {
			t.Errorf("%s is %q, and %q in the summary", s.Name, public, s.Value)
		}
		if s.Secret != (public == "") || !s.IsSet {
			t.Errorf("%s, secret %t and set %t, is shown as %q", s.Name, s.Secret, s.IsSet, public)
		}
		if strings.Contains(public, "hush") {
			t.Errorf("%s shows a secret: %q", s.Name, public)
		}
	}
	if got := c.Public("HOME"); got != "" {
		t.Errorf("a variable that is none is shown as %q", got)
	}
}

// TestCredentialsInURLsAreNotShown: neither by Public nor in a mistake.
func TestCredentialsInURLsAreNotShown(t *testing.T) {
	for _, test := range []struct{ name, value, shown string }{
		{"NATS_SERVERS", "nats://user:hush@n:4222", "nats://user:xxxxx@n:4222"},
		{"NATS_SERVERS", "nats://user:hush@a:4222,tls://b,tls://user:hush@c", "nats://user:xxxxx@a:4222,tls://b,tls://user:xxxxx@c"},
		{"NATS_SERVERS", "nats://hush@n:4222", "nats://xxxxx@n:4222"}, // a token
		{"NATS_SERVERS", "nats://user:hu@sh@n:4222", "nats://user:xxxxx@n:4222"},
		{"OPENMETER_BASE_URL", "https://user:hush@m.test/root/", "https://user:xxxxx@m.test/root"},
		{"OPENMETER_BASE_URL", "https://m.test/root", "https://m.test/root"},
		{"STRIPE_API_BASE", "https://user:hush@stripe.test", "https://user:xxxxx@stripe.test"},
		{"BILLING_RETURN_URL", "https://user:hush@app.test/billing", "https://user:xxxxx@app.test/billing"},
		{"USAGE_ALERT_URL", "https://hush@app.test/hooks", "https://xxxxx@app.test/hooks"},
		{"TOWN_MODEL_URL", "https://user:hush@model.test/v1", "https://user:xxxxx@model.test/v1"},
	} {
		if got := load(t, config.RoleUp, vars{test.name: test.value}).Public(test.name); got != test.shown {
			t.Errorf("%s=%s is shown as %q, want %q", test.name, test.value, got, test.shown)
		}
	}
	for _, test := range []struct{ name, value, shown string }{
		{"NATS_SERVERS", "http://user:hush@n:4222", "http://user:xxxxx@n:4222"},
		{"NATS_SERVERS", "nats://user:hush@a:4222,http://user:hush@b", "nats://user:xxxxx@a:4222,http://user:xxxxx@b"},
		{"NATS_SERVERS", "user:hush@n:4222", "xxxxx@n:4222"},
		{"NATS_SERVERS", "nats://user:hush%@n:4222", "xxxxx@n:4222"},
		{"NATS_SERVERS", "nats://user:hush,hush@n:4222", "xxxxx@n:4222"},
		{"NATS_SERVERS", "nats://user:hush/hush@n:4222", "xxxxx@n:4222"},
		{"NATS_SERVERS", "http://user:1/hush@n:4222", "xxxxx@n:4222"},
		{"NATS_SERVERS", "http://user:hush@hush/hush@n:4222", "xxxxx@n:4222"},
		{"OPENMETER_BASE_URL", "ftp://user:hush@m.test", "ftp://user:xxxxx@m.test"},
		{"OPENMETER_BASE_URL", "user:hush@m.test", "xxxxx@m.test"},
		{"PUBLIC_URL", "https://user:hush@api.test", "https://user:xxxxx@api.test"}, // it would be told to customers
	} {
		_, _, err := config.Load(config.RoleUp, config.Source{Env: vars{test.name: test.value}.lookup})
		got := problems(t, err)
		if len(got) != 1 || !strings.HasPrefix(got[0], test.name+`="`+test.shown+`" (environment) `) {
			t.Errorf("mistakes are %q, want one that shows %q", got, test.shown)
		}
	}
}
