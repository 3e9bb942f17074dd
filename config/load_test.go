package config_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

// vars are variables by name, for an environment or a .env file.
type vars map[string]string

func (v vars) lookup(name string) (string, bool) { s, ok := v[name]; return s, ok }

// load reads role's settings from an environment alone.
func load(t *testing.T, role config.Role, env vars) config.Config {
	t.Helper()
	c, _, err := config.Load(role, config.Source{Env: env.lookup})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems returns the mistakes in an error of this package.
func problems(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*config.Error](err)
	if !ok {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	for _, line := range e.Problems {
		if strings.Contains(line, "\n") {
			t.Errorf("a mistake takes more than one line: %q", line)
		}
	}
	return e.Problems
}

func secrets() []config.Variable {
	var out []config.Variable
	for _, v := range config.Variables() {
		if v.Secret {
			out = append(out, v)
		}
	}
	return out
}

// write makes a file in a directory of the test's own.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// everything has each variable set to something else than its default.
var everything = vars{
	"API_HOST": "::1", "API_PORT": "9000", "API_KEYS": "key-1, key-2,", "CORS_ORIGINS": "https://a.test,https://b.test",
	"API_RATE_LIMIT": "70", "API_RATE_BURST": "9",
	"LOG_LEVEL": "WARN", "LOG_FORMAT": "json",
	"NATS_SERVERS": "nats://user:hush@n1.test:4222, tls://n2.test:4222", "NATS_CREDS": "/etc/nats.creds",
	"NATS_TLS_CA": "/etc/ca.pem", "NATS_TLS_CERT": "/etc/cert.pem", "NATS_TLS_KEY": "/etc/key.pem",
	"NATS_STREAM_NAME": "other_Stream-1", "NATS_STREAM_MAX_BYTES": "20GiB", "NATS_REPLICAS": "5",
	"OPENMETER_BASE_URL": "https://meter.test/root/", "OPENMETER_API_KEY": "om-key",
	"OPENMETER_BATCH_SIZE": "250", "OPENMETER_FLUSH_INTERVAL": "500ms", "OPENMETER_RATE_LIMIT": "2.5", "OPENMETER_RATE_BURST": "4", "METERS_FILE": "meters.yaml",
	"STRIPE_WEBHOOK_SECRET": "whsec_new,whsec_old",
	"SPOOL_DIR":             "/var/spool/kgents", "SPOOL_MAX_BYTES": "2GiB", "REDIS_URL": "rediss://app:hush@redis.test:6380/3",
	"RECONCILE_INTERVAL": "30m", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:hush@traces.test/otlp",
	"BACKUP_URL": "s3://backups/staging", "BACKUP_S3_ENDPOINT": "https://s3.test:9000", "BACKUP_S3_REGION": "eu-test-1",
	"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "aws-key", "BACKUP_RECIPIENT": "age1test",
	"BACKUP_IDENTITY": "AGE-SECRET-KEY-1TEST", "BACKUP_KEEP": "7",
}

func TestEveryVariableReachesItsField(t *testing.T) {
	for _, v := range config.Variables() {
		if everything[v.Name] == "" {
			t.Errorf("%s is not in this test", v.Name)
		}
	}
	want := config.Config{
		APIHost: "::1", APIPort: 9000, APIKeys: []string{"key-1", "key-2"}, CORSOrigins: []string{"https://a.test", "https://b.test"},
		APIRateLimit: 70, APIRateBurst: 9,
		LogLevel: slog.LevelWarn, LogFormat: "json",
		NATSServers: []string{"nats://user:hush@n1.test:4222", "tls://n2.test:4222"}, NATSCreds: "/etc/nats.creds",
		NATSTLSCA: "/etc/ca.pem", NATSTLSCert: "/etc/cert.pem", NATSTLSKey: "/etc/key.pem",
		StreamName: "other_Stream-1", StreamBytes: 20 << 30, Replicas: 5,
		SpoolDir: "/var/spool/kgents", SpoolBytes: 2 << 30, RedisURL: "rediss://app:hush@redis.test:6380/3",
		OpenMeterBaseURL: "https://meter.test/root", OpenMeterAPIKey: "om-key",
		BatchSize: 250, FlushInterval: 500 * time.Millisecond, MetersFile: "meters.yaml",
		OpenMeterRate: 2.5, OpenMeterBurst: 4,
		ReconcileInterval: 30 * time.Minute,
		OTLPEndpoint:      "https://user:hush@traces.test/otlp",
		WebhookSecrets:    []string{"whsec_new", "whsec_old"},
		BackupURL:         "s3://backups/staging", BackupS3Endpoint: "https://s3.test:9000", BackupS3Region: "eu-test-1",
		AWSAccessKeyID: "AKIATEST", AWSSecretKey: "aws-key", BackupRecipients: "age1test",
		BackupIdentities: "AGE-SECRET-KEY-1TEST", BackupKeepDays: 7,
	}
	c := load(t, config.RoleAPI, everything)
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if got := c.Addr(); got != "[::1]:9000" {
		t.Errorf("Addr is %q", got)
	}
	if c.EmbeddedNATS() || c.EmbeddedMeter() {
		t.Error("something is embedded though its servers are named")
	}
}

func TestDefaults(t *testing.T) {
	cluster := config.Config{
		APIHost: "0.0.0.0", APIPort: 8000, APIRateLimit: 5000, LogLevel: slog.LevelInfo,
		StreamName: "kgent-events", Replicas: 3, BatchSize: 100, FlushInterval: time.Second, OpenMeterBurst: 1, ReconcileInterval: time.Hour, SpoolBytes: 1 << 30,
	}
	// On one's own machine nobody else is let in, and there are no three servers.
	up := cluster
	up.APIHost, up.Replicas, up.APIRateLimit = "127.0.0.1", 1, 0
	for role, want := range map[config.Role]config.Config{
		config.RoleUp: up, config.RoleAPI: cluster, config.RoleSink: cluster, config.RoleMeter: cluster,
	} {
		c, settings, err := config.Load(role, config.Source{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c); diff != "" {
			t.Errorf("defaults of %s (-want +got):\n%s", role, diff)
		}
		if !c.EmbeddedNATS() || !c.EmbeddedMeter() {
			t.Errorf("%s embeds nothing by default", role)
		}
		for _, s := range settings {
			if s.From != "default" || s.Secret && s.IsSet {
				t.Errorf("%s of %s is from %q and set is %t", s.Name, role, s.From, s.IsSet)
			}
		}
	}
}

// TestPrecedence: the first of flag, environment, file, .env and default wins.
func TestPrecedence(t *testing.T) {
	file := write(t, "of the file\n")
	const name, flag = "OPENMETER_API_KEY", "openmeter-api-key"
	for _, test := range []struct {
		name             string
		flags, env, dots vars
		value, from      string
	}{
		{"nothing", nil, nil, nil, "", "default"},
		{".env", nil, nil, vars{name: "of .env"}, "of .env", ".env"},
		{"a file named in .env", nil, nil, vars{name + "_FILE": file}, "of the file", "file"},
		{"a file over .env", nil, vars{name + "_FILE": file}, vars{name: "of .env"}, "of the file", "file"},
		{"the environment over .env", nil, vars{name: "of env"}, vars{name: "of .env"}, "of env", "environment"},
		{"the environment over a file named in .env", nil, vars{name: "of env"}, vars{name + "_FILE": file}, "of env", "environment"},
		{"a flag over the environment", vars{flag: "of the flag"}, vars{name: "of env"}, vars{name: "of .env"}, "of the flag", "flag"},
		{"a flag over a file", vars{flag: "of the flag"}, vars{name + "_FILE": file}, nil, "of the flag", "flag"},
		{"a flag over a file that is not there", vars{flag: "of the flag"}, vars{name + "_FILE": "/nowhere"}, nil, "of the flag", "flag"},
		{"a flag's file over the environment", vars{flag + "-file": file}, vars{name: "of env"}, nil, "of the file", "file"},
		{"an empty variable is none", nil, vars{name: "", name + "_FILE": ""}, vars{name: "of .env"}, "of .env", ".env"},
		{"an empty variable beside a file", nil, vars{name: "", name + "_FILE": file}, nil, "of the file", "file"},
		{"an empty file variable beside a value", nil, vars{name: "of env", name + "_FILE": ""}, nil, "of env", "environment"},
		{"an empty flag empties", vars{flag: ""}, vars{name: "of env"}, nil, "", "flag"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, settings, err := config.Load(config.RoleUp, config.Source{Flags: test.flags, Env: test.env.lookup, DotEnv: test.dots})
			if err != nil {
				t.Fatal(err)
			}
			if c.OpenMeterAPIKey != test.value {
				t.Errorf("value is %q, want %q", c.OpenMeterAPIKey, test.value)
			}
			for _, s := range settings {
				switch {
				case s.Name != name:
				case s.From != test.from || s.IsSet != (test.value != "") || s.Value != "":
					t.Errorf("setting is from %q, set %t, value %q; want it from %q without a value", s.From, s.IsSet, s.Value, test.from)
				}
			}
		})
	}
}

// TestPrecedenceOfEveryVariable: the same ladder for each, flags by their names.
func TestPrecedenceOfEveryVariable(t *testing.T) {
	for _, v := range config.Variables() {
		here, none := vars{v.Name: everything[v.Name]}, vars{}
		for _, test := range []struct {
			src  config.Source
			from string
		}{
			{config.Source{Flags: vars{v.Flag(): everything[v.Name]}, Env: vars{v.Name: "@"}.lookup, DotEnv: vars{v.Name: "@"}}, "flag"},
			{config.Source{Env: here.lookup, DotEnv: vars{v.Name: "@"}}, "environment"},
			{config.Source{Env: none.lookup, DotEnv: here}, ".env"},
			{config.Source{Env: none.lookup}, "default"},
		} {
			got, settings, err := config.Load(config.RoleAPI, test.src)
			if err != nil {
				t.Errorf("%s from %s: %v", v.Name, test.from, err)
				continue
			}
			want := load(t, config.RoleAPI, here)
			if test.from == "default" {
				want = load(t, config.RoleAPI, none)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s from %s (-want +got):\n%s", v.Name, test.from, diff)
			}
			for _, s := range settings {
				if s.Name == v.Name && s.From != test.from {
					t.Errorf("%s is from %q, want %q", s.Name, s.From, test.from)
				}
			}
		}
	}
}

// TestValues: what each variable takes, seen as it would be shown.
func TestValues(t *testing.T) {
	for _, test := range []struct{ name, value, shown string }{
		{"API_PORT", "0", "0"},
		{"API_PORT", "65535", "65535"},
		{"API_HOST", "[::1]", "::1"},
		{"API_HOST", "fe80::1%eth0", "fe80::1%eth0"},
		{"API_HOST", "localhost", "localhost"},
		{"API_HOST", "my_host.example.com.", "my_host.example.com."},
		{"CORS_ORIGINS", "*", "*"},
		{"CORS_ORIGINS", "https://*.a.test, http://localhost:3000,http://[::1]:3000", "https://*.a.test,http://localhost:3000,http://[::1]:3000"},
		{"OPENMETER_RATE_LIMIT", "0", "0"},
		{"OPENMETER_RATE_LIMIT", "0.01", "0.01"},
		{"OPENMETER_RATE_LIMIT", "1e6", "1e+06"},
		{"LOG_LEVEL", "debug", "debug"},
		{"LOG_LEVEL", "Info", "info"},
		{"LOG_LEVEL", "error", "error"},
		{"LOG_FORMAT", "text", "text"},
		{"NATS_SERVERS", " nats://a ,, tls://b:1 ,", "nats://a,tls://b:1"},
		{"NATS_STREAM_NAME", strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{"NATS_STREAM_MAX_BYTES", "7", "7"},
		{"NATS_STREAM_MAX_BYTES", "7B", "7"},
		{"NATS_STREAM_MAX_BYTES", "2KiB", "2048"},
		{"NATS_STREAM_MAX_BYTES", "3MiB", "3145728"},
		{"NATS_STREAM_MAX_BYTES", "1TiB", "1099511627776"},
		{"NATS_STREAM_MAX_BYTES", "4194304TiB", "4611686018427387904"},
		{"NATS_REPLICAS", "1", "1"},
		{"NATS_REPLICAS", "3", "3"},
		{"OPENMETER_BASE_URL", "http://meter.test:8888//", "http://meter.test:8888"},
		{"OPENMETER_BATCH_SIZE", "1", "1"},
		{"OPENMETER_BATCH_SIZE", "100000", "100000"},
		{"OPENMETER_FLUSH_INTERVAL", "2", "2s"}, // a bare number means seconds
		{"OPENMETER_FLUSH_INTERVAL", "0.25", "250ms"},
		{"OPENMETER_FLUSH_INTERVAL", "10", "10s"},
		{"OPENMETER_FLUSH_INTERVAL", "1ms", "1ms"},
		{"OPENMETER_FLUSH_INTERVAL", "10s", "10s"},
		{"RECONCILE_INTERVAL", "0", "0s"}, // never
		{"RECONCILE_INTERVAL", "60", "1m0s"},
		{"RECONCILE_INTERVAL", "24h", "24h0m0s"},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			if got := load(t, config.RoleUp, vars{test.name: test.value}).Public(test.name); got != test.shown {
				t.Errorf("shown as %q, want %q", got, test.shown)
			}
		})
	}
}

// TestMistakes: one line each, which names the variable and what it takes.
func TestMistakes(t *testing.T) {
	const (
		host     = "is neither an address nor a name: use for example 0.0.0.0, ::1 or localhost; the port is API_PORT"
		origin   = "holds something that is no origin: use https://app.example.com or http://localhost:3000, without a path and without the scheme's own port"
		rate     = "is neither 0 nor a number from 0.01 to 1000000"
		port     = "is no whole number from 0 to 65535"
		batch    = "is no whole number from 1 to 100000"
		interval = "is neither 0 nor a duration from 1m to 24h: use for example 1h"
		duration = "is no duration from 1ms to 10s: use for example 1s or 500ms"
		size     = "is no size: use for example 20GiB"
		unit     = "has an unknown unit: use KiB, MiB, GiB or TiB"
		replicas = "is no number of replicas: use 1, 3 or 5"
		stream   = "is no stream name: use up to 64 letters, digits, - and _"
		nats     = "holds something that is no NATS URL: use nats://host:4222 or tls://host:4222"
		meter    = "is no URL: use http://host or https://host"
		receiver = "is no URL: use http://host:4318 or https://host"
		place    = "is no place for backups: use the path of a directory, or s3://bucket/prefix"
		endpoint = "is no server's URL: use https://host or https://host:port, without a user"
		days     = "is no whole number from 0 to 3650"
	)
	for _, test := range []struct{ name, value, want string }{
		{"API_PORT", "http", port},
		{"API_PORT", "-1", port},
		{"API_PORT", "65536", port},
		{"API_PORT", "80.5", port},
		{"API_PORT", "99999999999999999999", port},
		{"API_PORT", "tcp://10.0.0.1:8000", port}, // as Kubernetes sets it for a service called api
		{"API_HOST", "[::1]:8000", host},
		{"API_HOST", "[::1", host},
		{"API_HOST", "[localhost]", host},
		{"API_HOST", "[]", host},
		{"API_HOST", "0.0.0.0:8000", host},
		{"API_HOST", "http://localhost", host},
		{"API_HOST", "-a", host},
		{"API_HOST", "a b", host},
		{"CORS_ORIGINS", "app.example.com", origin},
		{"CORS_ORIGINS", "https://a.test/", origin}, // never what a browser sends
		{"CORS_ORIGINS", "https://a.test,https://b.test/app", origin},
		{"CORS_ORIGINS", "https://a.test:443", origin},
		{"CORS_ORIGINS", "http://a.test:80", origin},
		{"CORS_ORIGINS", "https://a.test:", origin},
		{"CORS_ORIGINS", "https://*.*.test", origin},
		{"CORS_ORIGINS", "https://", origin},
		{"CORS_ORIGINS", "null", origin},
		{"OPENMETER_RATE_LIMIT", "fast", rate},
		{"OPENMETER_RATE_LIMIT", "-1", rate},
		{"OPENMETER_RATE_LIMIT", "0.009", rate},
		{"OPENMETER_RATE_LIMIT", "1000001", rate},
		{"OPENMETER_RATE_LIMIT", "NaN", rate},
		{"OPENMETER_RATE_LIMIT", "Inf", rate},
		{"OPENMETER_RATE_LIMIT", "10/s", rate},
		{"OPENMETER_RATE_BURST", "0", "is no whole number from 1 to 1000000"},
		{"LOG_LEVEL", "loud", "is not a level: use debug, info, warn or error"},
		{"LOG_FORMAT", "xml", "is not a format: use text or json"},
		{"NATS_SERVERS", "localhost:4222", nats},
		{"NATS_SERVERS", "http://localhost:4222", nats},
		{"NATS_SERVERS", "nats://", nats},
		{"NATS_SERVERS", "nats://a:4222,b:4222", nats},
		{"NATS_STREAM_NAME", "a.b", stream},
		{"NATS_STREAM_NAME", "a b", stream},
		{"NATS_STREAM_NAME", strings.Repeat("a", 65), stream},
		{"NATS_STREAM_MAX_BYTES", "much", size},
		{"NATS_STREAM_MAX_BYTES", "-1", size},
		{"NATS_STREAM_MAX_BYTES", "1.5GiB", size},
		{"NATS_STREAM_MAX_BYTES", "GiB", size},
		{"NATS_STREAM_MAX_BYTES", "4194305TiB", size},
		{"NATS_STREAM_MAX_BYTES", "20GB", unit},
		{"NATS_REPLICAS", "2", replicas},
		{"NATS_REPLICAS", "three", replicas},
		{"OPENMETER_BASE_URL", "meter.test", meter},
		{"OPENMETER_BASE_URL", "ftp://meter.test", meter},
		{"OPENMETER_BASE_URL", "https://", meter},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "traces.test:4318", receiver},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://traces.test:4317", receiver},
		{"OPENMETER_BATCH_SIZE", "0", batch},
		{"OPENMETER_BATCH_SIZE", "100001", batch},
		{"OPENMETER_BATCH_SIZE", "many", batch},
		{"OPENMETER_FLUSH_INTERVAL", "0", duration},
		{"OPENMETER_FLUSH_INTERVAL", "0.0009", duration},
		{"OPENMETER_FLUSH_INTERVAL", "999us", duration},
		{"OPENMETER_FLUSH_INTERVAL", "10.001s", duration},
		{"OPENMETER_FLUSH_INTERVAL", "11", duration},
		{"OPENMETER_FLUSH_INTERVAL", "-1s", duration},
		{"OPENMETER_FLUSH_INTERVAL", "soon", duration},
		{"OPENMETER_FLUSH_INTERVAL", "1e300", duration},
		{"OPENMETER_FLUSH_INTERVAL", "NaN", duration},
		{"OPENMETER_FLUSH_INTERVAL", "Inf", duration},
		{"RECONCILE_INTERVAL", "59s", interval},
		{"RECONCILE_INTERVAL", "24h1s", interval},
		{"RECONCILE_INTERVAL", "-1h", interval},
		{"RECONCILE_INTERVAL", "hourly", interval},
		{"BACKUP_URL", "s3://", place},
		{"BACKUP_URL", "gs://bucket", place},
		{"BACKUP_S3_ENDPOINT", "s3.test:9000", endpoint},
		{"BACKUP_KEEP", "7d", days},
		{"BACKUP_KEEP", "-1", days},
	} {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			_, _, err := config.Load(config.RoleUp, config.Source{Env: vars{test.name: test.value}.lookup})
			want := []string{test.name + `="` + test.value + `" (environment) ` + test.want}
			if diff := cmp.Diff(want, problems(t, err)); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMistakesSayWhereFrom: a user must know which of several places to mend.
func TestMistakesSayWhereFrom(t *testing.T) {
	for from, src := range map[string]config.Source{
		"flag":        {Flags: vars{"api-port": "x\ny"}},
		"environment": {Env: vars{"API_PORT": "x\ny"}.lookup},
		".env":        {DotEnv: vars{"API_PORT": "x\ny"}},
	} {
		_, _, err := config.Load(config.RoleUp, src)
		want := []string{`API_PORT="x\ny" (` + from + `) is no whole number from 0 to 65535`}
		if diff := cmp.Diff(want, problems(t, err)); diff != "" {
			t.Errorf("mistakes (-want +got):\n%s", diff)
		}
	}
}

// TestAllMistakesAtOnce: nobody has to start the program once a mistake.
func TestAllMistakesAtOnce(t *testing.T) {
	env := vars{
		"API_PORT": "x", "LOG_LEVEL": "x", "LOG_FORMAT": "x", "NATS_SERVERS": "x", "NATS_STREAM_NAME": "x.", "NATS_STREAM_MAX_BYTES": "x",
		"NATS_REPLICAS": "x", "OPENMETER_BASE_URL": "x", "OPENMETER_BATCH_SIZE": "x", "OPENMETER_FLUSH_INTERVAL": "x",
		"API_KEYS": "hush", "API_KEYS_FILE": "/nowhere", "OPENMETER_API_KEY_FILE": "/nowhere",
	}
	_, _, err := config.Load(config.RoleUp, config.Source{Env: env.lookup})
	var got []string
	for _, line := range problems(t, err) {
		name, _, _ := strings.Cut(line, "=")
		name, _, _ = strings.Cut(name, " ")
		got = append(got, name)
	}
	want := []string{
		"API_PORT", "API_KEYS", "LOG_LEVEL", "LOG_FORMAT", "NATS_SERVERS", "NATS_STREAM_NAME", "NATS_STREAM_MAX_BYTES",
		"NATS_REPLICAS", "OPENMETER_BASE_URL", "OPENMETER_API_KEY_FILE", "OPENMETER_BATCH_SIZE", "OPENMETER_FLUSH_INTERVAL",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables with a mistake (-want +got):\n%s", diff)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 1+len(want) || lines[0] != "12 settings are wrong:" {
		t.Errorf("the message is\n%s", err)
	}
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("the message shows a secret:\n%s", err)
	}
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

func TestDotEnv(t *testing.T) {
	got, err := config.ReadDotEnv(write(t, `# how this machine is set up
API_PORT=9000
export LOG_LEVEL = debug   # for now
API_KEYS="one,two"
STRIPE_WEBHOOK_SECRET='whsec_$ABC#1'

CORS_ORIGINS=
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"API_PORT": "9000", "LOG_LEVEL": "debug", "API_KEYS": "one,two", "STRIPE_WEBHOOK_SECRET": "whsec_$ABC#1", "CORS_ORIGINS": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func TestDotEnvThatIsNotThere(t *testing.T) {
	got, err := config.ReadDotEnv(filepath.Join(t.TempDir(), ".env"))
	if len(got) != 0 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestDotEnvMistakes: the file holds secrets, so the error does not quote it.
func TestDotEnvMistakes(t *testing.T) {
	for name, content := range map[string]string{
		"a quote that is not closed":   "API_PORT=1\nAPI_KEYS=\"hush\n",
		"a line that is no assignment": "hush\nAPI_PORT=1\n",
		"a last line that is none":     "API_PORT=1\nhush",
		"a value without a name":       "=hush\n",
		"a name with a dash":           "hush-key=hush\n",
		"a mark of Unicode in front":   "\ufeffAPI_KEYS=hush\n",
		"what is no text":              "\x00\x01hush",
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, content)
			got, err := config.ReadDotEnv(path)
			want := path + " can't be read as NAME=value lines: mend or remove it"
			if err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
			if got != nil {
				t.Errorf("a part was read: %v", got)
			}
		})
	}
	t.Run("a directory", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := config.ReadDotEnv(dir); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("error is %v, want one that names %s", err, dir)
		}
	})
}

func TestValidate(t *testing.T) {
	cluster := vars{"NATS_SERVERS": "nats://n", "OPENMETER_BASE_URL": "http://m", "API_KEYS": "hush"}
	with := func(more vars) vars {
		out := vars{}
		for _, v := range []vars{cluster, more} {
			for name, value := range v {
				out[name] = value
			}
		}
		return out
	}
	const (
		keys  = "API_KEYS is not set: nobody could send anything; set API_KEYS or API_KEYS_FILE"
		pair  = "NATS_TLS_CERT and NATS_TLS_KEY go together: set both or none"
		nats  = " needs the NATS cluster's URLs ('kgents up' brings a server of its own)"
		meter = " needs the meter's URL ('kgents up' brings a meter of its own)"
	)
	for _, test := range []struct {
		name string
		role config.Role
		env  vars
		want []string
	}{
		{"up needs nothing", config.RoleUp, nil, nil},
		{"up with a cluster of its own choice", config.RoleUp, with(vars{"NATS_REPLICAS": "3"}), nil},
		{"up can't copy to itself", config.RoleUp, vars{"NATS_REPLICAS": "3"},
			[]string{"NATS_REPLICAS=3 needs a NATS cluster: set NATS_SERVERS, or leave NATS_REPLICAS at 1"}},
		{"api has all", config.RoleAPI, cluster, nil},
		{"api needs", config.RoleAPI, nil,
			[]string{"NATS_SERVERS is not set: 'kgents api'" + nats, "OPENMETER_BASE_URL is not set: 'kgents api'" + meter, keys}},
		{"sink has all", config.RoleSink, vars{"NATS_SERVERS": "nats://n", "OPENMETER_BASE_URL": "http://m"}, nil},
		{"sink needs", config.RoleSink, vars{"NATS_TLS_KEY": "key.pem"},
			[]string{pair, "NATS_SERVERS is not set: 'kgents sink'" + nats, "OPENMETER_BASE_URL is not set: 'kgents sink'" + meter}},
		{"meter has all", config.RoleMeter, vars{"API_KEYS": "hush"}, nil},
		{"meter needs", config.RoleMeter, nil, []string{keys}},
		{"a certificate without a key", config.RoleUp, vars{"NATS_TLS_CERT": "cert.pem"}, []string{pair}},
		{"a key without a certificate", config.RoleUp, vars{"NATS_TLS_KEY": "key.pem"}, []string{pair}},
		{"a certificate and a key", config.RoleUp, vars{"NATS_TLS_CERT": "cert.pem", "NATS_TLS_KEY": "key.pem"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := problems(t, load(t, test.role, test.env).Validate(test.role))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
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
	} {
		_, _, err := config.Load(config.RoleUp, config.Source{Env: vars{test.name: test.value}.lookup})
		got := problems(t, err)
		if len(got) != 1 || !strings.HasPrefix(got[0], test.name+`="`+test.shown+`" (environment) `) {
			t.Errorf("mistakes are %q, want one that shows %q", got, test.shown)
		}
	}
}
