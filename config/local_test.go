package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

// files returns what stands in dir, by name, and fails for one that others than
// its owner may read.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %s, want %s", entry.Name(), info.Mode(), fs.FileMode(0o600))
		}
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[entry.Name()] = string(b)
	}
	return out
}

var (
	madeKey    = regexp.MustCompile(`^kg_local_[A-Za-z0-9_-]{32}$`)
	madeSecret = regexp.MustCompile(`^whsec_[A-Za-z0-9_-]{32}$`)
)

func TestSecretsAreMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var first config.Config
	made, err := first.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !madeKey.MatchString(made.APIKey) || !madeSecret.MatchString(made.WebhookSecret) {
		t.Errorf("made %+v", made)
	}
	want := config.Config{APIKeys: []string{made.APIKey}, WebhookSecrets: []string{made.WebhookSecret}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	kept := map[string]string{"api-key": made.APIKey + "\n", "stripe-webhook-secret": made.WebhookSecret + "\n"}
	if diff := cmp.Diff(kept, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	var second config.Config
	again, err := second.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again != made {
		t.Errorf("the next start has %+v, the first had %+v", again, made)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the next start's configuration (-first +next):\n%s", diff)
	}
	if diff := cmp.Diff(kept, files(t, dir)); diff != "" {
		t.Errorf("files after the next start (-want +got):\n%s", diff)
	}

	var elsewhere config.Config
	other, err := elsewhere.EnsureSecrets(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if other.APIKey == made.APIKey || other.WebhookSecret == made.WebhookSecret {
		t.Error("two directories have the same secrets")
	}
}

// TestConfiguredSecretsStayWhereTheyAre: what the user has set is neither written
// nor told as made, and what is kept gives way to it.
func TestConfiguredSecretsStayWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	c := config.Config{APIKeys: []string{"mine", "hers"}}
	made, err := c.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if made.APIKey != "" || !madeSecret.MatchString(made.WebhookSecret) {
		t.Errorf("made %+v, want a webhook secret alone", made)
	}
	want := config.Config{APIKeys: []string{"mine", "hers"}, WebhookSecrets: []string{made.WebhookSecret}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	kept := map[string]string{"stripe-webhook-secret": made.WebhookSecret + "\n"}
	if diff := cmp.Diff(kept, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	c = config.Config{APIKeys: []string{"mine"}, WebhookSecrets: []string{"whsec_mine"}}
	made, err = c.EnsureSecrets(dir)
	if made != (config.Local{}) || err != nil {
		t.Errorf("with all secrets set, made %+v, %v", made, err)
	}
	if c.WebhookSecrets[0] != "whsec_mine" {
		t.Errorf("the kept secret won over the configured one: %q", c.WebhookSecrets)
	}
	if diff := cmp.Diff(kept, files(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// TestEmptySecretFileIsFilled: a disk that was full may have left one, and an empty
// key must never be one.
func TestEmptySecretFileIsFilled(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "api-key"), []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c config.Config
	made, err := c.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !madeKey.MatchString(made.APIKey) || files(t, dir)["api-key"] != made.APIKey+"\n" {
		t.Errorf("made %+v, kept %q", made, files(t, dir))
	}
}

func TestReadLocal(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  config.Local
	}{
		{"nothing", nil, config.Local{}},
		{"a URL", map[string]string{"url": "http://127.0.0.1:8000\n"}, config.Local{URL: "http://127.0.0.1:8000"}},
		{"all, edited by hand", map[string]string{"url": " http://h \r\n", "api-key": "key", "stripe-webhook-secret": "whsec_1\n\n", "other": "x"},
			config.Local{URL: "http://h", APIKey: "key", WebhookSecret: "whsec_1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := config.ReadLocal(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("local (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := config.ReadLocal(filepath.Join(t.TempDir(), "none")); got != (config.Local{}) || err != nil {
		t.Errorf("of a directory that is not there: %+v, %v", got, err)
	}
}

// TestLocalIsFoundByTheOtherCommands: they read what `kgents up` has left.
func TestLocalIsFoundByTheOtherCommands(t *testing.T) {
	dir := t.TempDir()
	var c config.Config
	want, err := c.EnsureSecrets(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want.URL = range []string{"http://127.0.0.1:8000", "http://127.0.0.1:9"} { // the second start has another port
		if err := config.WriteURL(dir, want.URL); err != nil {
			t.Fatal(err)
		}
		got, err := config.ReadLocal(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("local (-want +got):\n%s", diff)
		}
	}
	if got := files(t, dir); len(got) != 3 || got["url"] != "http://127.0.0.1:9\n" {
		t.Errorf("files are %q", got)
	}
}

// TestDirectoryThatCannotBeUsed: one line that names the directory. A mode would not
// keep root out, so a file, or nothing, stands where the directory should.
func TestDirectoryThatCannotBeUsed(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	file := write(t, "")
	taken := t.TempDir() // by a directory where a file should be
	for _, name := range []string{"url", "api-key"} {
		if err := os.MkdirAll(filepath.Join(taken, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ensure := func(dir string) error {
		var c config.Config
		made, err := c.EnsureSecrets(dir)
		if made != (config.Local{}) {
			t.Errorf("made %+v though it can't be kept", made)
		}
		return err
	}
	writeURL := func(dir string) error { return config.WriteURL(dir, "http://h") }
	read := func(dir string) error {
		_, err := config.ReadLocal(dir)
		return err
	}
	for _, test := range []struct {
		name   string
		do     func(string) error
		dir    string
		prefix string
	}{
		{"secrets in a directory that is not there", ensure, none, "can't keep secrets in the data directory: "},
		{"secrets in a file", ensure, file, "can't keep secrets in the data directory: "},
		{"secrets where a directory stands", ensure, taken, "can't keep secrets in the data directory: "},
		{"the URL in a directory that is not there", writeURL, none, ""},
		{"the URL in a file", writeURL, file, ""},
		{"the URL where a directory stands", writeURL, taken, ""},
		{"reading from a file", read, file, ""},
		{"reading where a directory stands", read, taken, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(test.dir)
			if err == nil {
				t.Fatal("no error")
			}
			got := err.Error()
			if !strings.HasPrefix(got, test.prefix) || !strings.Contains(got, test.dir) || strings.Contains(got, "\n") {
				t.Errorf("the error is %q, want %q and a line that names %s", got, test.prefix, test.dir)
			}
		})
	}
	// A failure leaves nothing half-written behind.
	entries, err := os.ReadDir(taken)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("the directory holds %v, want only what was there before", entries)
	}
}

func TestDefaultDataDir(t *testing.T) {
	for _, test := range []struct{ name, xdg, home, want string }{
		{"a home", "", "/home/ada", "/home/ada/.local/share/kgents"},
		{"a directory for data", "/data", "/home/ada", "/data/kgents"},
		{"a relative directory for data does not count", "data", "/home/ada", "/home/ada/.local/share/kgents"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("XDG_DATA_HOME", test.xdg)
			t.Setenv("HOME", test.home)
			if got, err := config.DefaultDataDir(); got != test.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
	t.Run("no home", func(t *testing.T) {
		t.Setenv("XDG_DATA_HOME", "")
		t.Setenv("HOME", "")
		if dir, err := config.DefaultDataDir(); err == nil || !strings.Contains(err.Error(), "--data") {
			t.Errorf("got %q, %v, want an error that names --data", dir, err)
		}
	})
}
