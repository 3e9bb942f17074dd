package secrets_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"
	"github.com/nats-io/nkeys"
	goredis "github.com/redis/go-redis/v9"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/redis"
	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/secrets"
)

const namespace = "kgents-staging"

func made(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets")
	if _, err := secrets.Init(dir, namespace); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func variables(t *testing.T, dir, name string) map[string]string {
	t.Helper()
	values, err := godotenv.Unmarshal(read(t, dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// everything is the content of every file.
func everything(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		out[name] = read(t, dir, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Files are made once, for their owner's eyes, and never overwritten.
func TestInit(t *testing.T) {
	dir := made(t)
	before := everything(t, dir)
	if len(before) != 18 || before[".gitignore"] != "*\n" {
		t.Errorf("%d files, .gitignore %q", len(before), before[".gitignore"])
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may look", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	again, err := secrets.Init(dir, namespace)
	if err != nil || len(again) > 0 {
		t.Errorf("the second time it made %q: %v", again, err)
	}
	if diff := cmp.Diff(before, everything(t, dir)); diff != "" {
		t.Errorf("the second time changed files (-before +after):\n%s", diff)
	}

	// What somebody has put there stays, what is missing comes back beside it.
	mine := "API_KEYS=mine\nSTRIPE_WEBHOOK_SECRET=whsec_mine\n"
	if err := os.WriteFile(filepath.Join(dir, "api.env"), []byte(mine), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"redis/users.acl", "nats/sink.nk", "nats/tls.crt"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	again, err = secrets.Init(dir, namespace)
	if diff := cmp.Diff([]string{"redis/users.acl", "nats/sink.nk", "nats/tls.key", "nats/tls.crt"}, again); diff != "" || err != nil {
		t.Errorf("made again (-want +got), %v:\n%s", err, diff)
	}
	if read(t, dir, "api.env") != mine {
		t.Error("a file that was there was overwritten")
	}
	if read(t, dir, "redis/users.acl") != before["redis/users.acl"] {
		t.Error("the new ACL file has another password than REDIS_URL")
	}
}

func TestInitRefusals(t *testing.T) {
	for _, namespace := range []string{"", "Big", "a_b", "-a", strings.Repeat("a", 64), "a.b"} {
		if _, err := secrets.Init(t.TempDir(), namespace); err == nil {
			t.Errorf("%q was taken for a namespace", namespace)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Init(file, namespace); err == nil {
		t.Error("a file was taken for a directory")
	}
	dir := made(t)
	if err := os.WriteFile(filepath.Join(dir, "nats/api.nk"), []byte("SUHUSH-not-a-seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Init(dir, namespace); err == nil || strings.Contains(err.Error(), "SUHUSH") {
		t.Errorf("a broken seed: %v", err)
	}
}

// The certificate is good for every name by which a server is called, for server
// and client, and for no other namespace.
func TestCertificate(t *testing.T) {
	dir := made(t)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(read(t, dir, "nats/ca.crt"))) {
		t.Fatal("no CA")
	}
	leaf := parse(t, read(t, dir, "nats/tls.crt"))
	for name, good := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "nats": true, "nats.kgents-staging.svc": true,
		"nats-0.nats-headless": true, "nats-2.nats-headless.kgents-staging.svc.cluster.local": true,
		"nats.kgents.svc": false, "nats-0.nats-headless.other.svc": false, "example.com": false,
	} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != good {
				t.Errorf("%s: %v, want good: %v", name, err, good)
			}
		}
	}
	if left := time.Until(leaf.NotAfter); left < 364*24*time.Hour || left > 366*24*time.Hour {
		t.Errorf("good for %v", left)
	}
}

func parse(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func public(t *testing.T, dir, role string) string {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(read(t, dir, "nats/"+role+".nk"))))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// During a rotation the one before is accepted beside the new one, which programs
// send; afterwards it isn't. Nothing else changes.
func TestRotate(t *testing.T) {
	passwords := regexp.MustCompile(`>(\S+)`)
	list := func(file, name string) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			return strings.Split(variables(t, dir, file)[name], ",")
		}
	}
	nats := func(role string) func(*testing.T, string) []string {
		return func(t *testing.T, dir string) []string {
			v := variables(t, dir, "nats/users.env")
			name := "NATS_" + strings.ToUpper(role) + "_NKEY"
			return []string{v[name], v[name+"_PREVIOUS"]}
		}
	}
	cases := []struct {
		name     string
		value    string
		accepted func(*testing.T, string) []string
		sent     func(*testing.T, string) string
		nobody   bool // after the end a key that nobody has takes the place
		files    []string
	}{
		{name: "webhook-secret", value: "whsec_0123456789abcdef", accepted: list("api.env", "STRIPE_WEBHOOK_SECRET"), files: []string{"api.env"}},
		{name: "api-key", accepted: list("api.env", "API_KEYS"), files: []string{"api.env"}},
		{name: "openmeter-api-key", accepted: list("meter.env", "API_KEYS"), files: []string{"meter.env"},
			sent: func(t *testing.T, dir string) string { return variables(t, dir, "meter.env")["OPENMETER_API_KEY"] }},
		{name: "redis", files: []string{"redis.env", "redis/users.acl"},
			accepted: func(t *testing.T, dir string) (out []string) {
				for _, m := range passwords.FindAllStringSubmatch(read(t, dir, "redis/users.acl"), -1) {
					out = append(out, m[1])
				}
				return out
			},
			sent: func(t *testing.T, dir string) string {
				_, rest, _ := strings.Cut(variables(t, dir, "redis.env")["REDIS_URL"], "redis://kgents:")
				password, _, _ := strings.Cut(rest, "@")
				return password
			}},
	}
	for _, role := range []string{"api", "sink", "operator", "system"} {
		c := cases[0]
		c.name, c.value, c.accepted, c.nobody = "nats-"+role, "", nats(role), true
		c.sent = func(t *testing.T, dir string) string { return public(t, dir, role) }
		c.files = []string{"nats/" + role + ".nk", "nats/users.env"}
		cases = append(cases, c)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := made(t)
			before := everything(t, dir)
			old := c.accepted(t, dir)[0]
			if err := secrets.Rotate(dir, c.name, c.value); err != nil {
				t.Fatal(err)
			}
			both := c.accepted(t, dir)
			if len(both) != 2 || both[0] == old || both[1] != old {
				t.Errorf("accepted during the rotation: the new one and the old one, got %d, old second: %v", len(both), both[len(both)-1] == old)
			}
			if c.value != "" && both[0] != c.value {
				t.Error("the new one is not the one that was given")
			}
			if c.sent != nil && c.sent(t, dir) != both[0] {
				t.Error("programs don't send the new one")
			}
			if err := secrets.Rotate(dir, c.name, "whsec_another_one_0123"); err == nil || !strings.Contains(err.Error(), "--finish") {
				t.Errorf("a second rotation before the end: %v", err)
			}
			if err := secrets.Finish(dir, c.name); err != nil {
				t.Fatal(err)
			}
			after := c.accepted(t, dir)
			if after[0] != both[0] || (!c.nobody && len(after) != 1) || (c.nobody && (after[1] == old || after[1] == after[0])) {
				t.Errorf("accepted after the end: %d, old among them: %v", len(after), after[len(after)-1] == old)
			}
			if err := secrets.Finish(dir, c.name); err == nil {
				t.Error("a rotation was ended twice")
			}
			changed := map[string]bool{"rotating.json": true}
			delete(before, "ages.json") // TestAges
			for _, name := range c.files {
				changed[name] = true
			}
			for name, text := range everything(t, dir) {
				if name == "ages.json" {
					continue
				}
				if same := text == before[name]; same == changed[name] {
					t.Errorf("%s: changed %v, want %v", name, !same, changed[name])
				}
			}
		})
	}
}

// A new certificate comes from the same CA, for the same names.
func TestRotateCertificate(t *testing.T) {
	dir := made(t)
	old, ca := parse(t, read(t, dir, "nats/tls.crt")), read(t, dir, "nats/ca.crt")
	if err := secrets.Rotate(dir, "nats-tls", ""); err != nil {
		t.Fatal(err)
	}
	now := parse(t, read(t, dir, "nats/tls.crt"))
	if now.SerialNumber.Cmp(old.SerialNumber) == 0 || read(t, dir, "nats/ca.crt") != ca {
		t.Error("want a new certificate of the same CA")
	}
	if diff := cmp.Diff(old.DNSNames, now.DNSNames); diff != "" {
		t.Errorf("names (-old +new):\n%s", diff)
	}
}

func TestRotateRefusals(t *testing.T) {
	dir := made(t)
	for _, c := range []struct{ name, value, says string }{
		{"nothing", "", "there is no secret"},
		{"webhook-secret", "", "--from-file"},
		{"webhook-secret", "short", "16 to 256"},
		{"webhook-secret", "whsec_two,secrets_in_one", "16 to 256"},
		{"webhook-secret", "whsec_a b c d e f g h i", "16 to 256"},
		{"webhook-secret", variables(t, dir, "api.env")["STRIPE_WEBHOOK_SECRET"], "needs a new one"},
	} {
		err := secrets.Rotate(dir, c.name, c.value)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %q: %v, want %q", c.name, c.value, err, c.says)
		}
		if err != nil && len(c.value) > 10 && strings.Contains(err.Error(), c.value) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if err := secrets.Finish(dir, "redis"); err == nil {
		t.Error("a rotation was ended that had not begun")
	}
	if err := secrets.Rotate(filepath.Join(dir, "nowhere"), "redis", ""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "secrets init") {
		t.Errorf("without files: %v", err)
	}
	// A key list of several clients keeps all but the one that was replaced.
	if err := os.WriteFile(filepath.Join(dir, "api.env"), []byte("# mine\nAPI_KEYS=first,second,third\nSTRIPE_WEBHOOK_SECRET=whsec_x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Rotate(dir, "api-key", ""); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Finish(dir, "api-key"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, "api.env"); !strings.Contains(got, ",second,third\n") || strings.Contains(got, "first") || !strings.HasPrefix(got, "# mine\n") {
		t.Errorf("api.env is now\n%s", got)
	}
}

func TestList(t *testing.T) {
	dir := made(t)
	if err := secrets.Rotate(dir, "nats-sink", ""); err != nil {
		t.Fatal(err)
	}
	all, err := secrets.List(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
		if (s.Rotating != nil) != (s.Name == "nats-sink") || (s.Expires != nil) != (s.Name == "nats-tls") || time.Since(s.Changed) > time.Minute {
			t.Errorf("%+v", s)
		}
	}
	if diff := cmp.Diff(secrets.Names(), names); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

// Redis under the very ACL file: admission has what it needs, and nothing else.
func TestRedisUsers(t *testing.T) {
	dir := made(t)
	server := redistest.Start(t, "--aclfile", filepath.Join(dir, "redis/users.acl"))
	if got := server.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("PING without a password: %q", got)
	}
	for _, args := range [][]string{{"GET", "idempotency:x"}, {"CONFIG", "GET", "*"}, {"INFO"}, {"FLUSHALL"}, {"KEYS", "*"}} {
		if got := server.Do(args...); !strings.HasPrefix(got, "-NOPERM") && !strings.HasPrefix(got, "-NOAUTH") {
			t.Errorf("%q without a password: %q", args, got)
		}
	}
	url := strings.Replace(variables(t, dir, "redis.env")["REDIS_URL"], "redis:6379", server.Addr, 1)
	store, err := redis.New(url, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	ctx := context.Background()
	if err := store.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	states, err := store.Claim(ctx, "me", []string{"a", "b"}, time.Minute)
	if diff := cmp.Diff([]admit.State{admit.Won, admit.Won}, states); diff != "" || err != nil {
		t.Fatalf("claim: %v\n%s", err, diff)
	}
	if err := store.Commit(ctx, "me", []string{"a"}, time.Hour); err != nil {
		t.Errorf("commit: %v", err)
	}
	if err := store.Release(ctx, "me", []string{"b"}); err != nil {
		t.Errorf("release: %v", err)
	}
	if isNew, err := store.CheckAndSet(ctx, "c", time.Hour); err != nil || !isNew {
		t.Errorf("check and set: %v %v", isNew, err)
	}
	options, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	if got, err := client.Info(ctx, "memory").Result(); err != nil || !strings.Contains(got, "used_memory:") {
		t.Errorf("INFO: %.80q, %v", got, err)
	}
	for _, command := range [][]any{{"FLUSHALL"}, {"CONFIG", "GET", "*"}, {"KEYS", "*"}, {"SET", "other", "1"}, {"GET", "other"}, {"ACL", "LIST"}, {"SHUTDOWN"}, {"EVAL", "return redis.call('GET', KEYS[1])", "1", "other"}} {
		if err := client.Do(ctx, command...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%q was not refused: %v", command, err)
		}
	}
}
