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
	"API_HOST": "::1", "API_PORT": "9000", "API_KEYS": "key-1, key-2,", "CORS_ORIGINS": "https://a.test,https://b.test", "PUBLIC_URL": "https://api.test/root/",
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
	"PLANS_FILE": "plans.yaml", "STRIPE_API_KEY": "rk_test_key", "STRIPE_API_BASE": "http://127.0.0.1:12111/",
	"STRIPE_PRICE_PRO_MONTHLY": "price_1pm", "STRIPE_PRICE_PRO_YEARLY": "price_1py", "STRIPE_PRICE_TEAMS_MONTHLY": "price_1tm",
	"BILLING_RETURN_URL": "https://app.test/billing", "USAGE_ALERT_URL": "https://user:hush@app.test/hooks",
	"USAGE_ALERT_SECRET": "whsec_bmV3,whsec_b2xk",
	"TOWN_MODEL_URL":     "https://model.test/v1/", "TOWN_MODEL_API": "anthropic", "TOWN_MODEL_KEY": "model-key",
	"TOWN_MODEL": "small-1", "TOWN_MODEL_BUDGET": "900",
}

func TestEveryVariableReachesItsField(t *testing.T) {
	for _, v := range config.Variables() {
		if everything[v.Name] == "" {
			t.Errorf("%s is not in this test", v.Name)
		}
	}
	want := config.Config{
		APIHost: "::1", APIPort: 9000, APIKeys: []string{"key-1", "key-2"}, CORSOrigins: []string{"https://a.test", "https://b.test"}, PublicURL: "https://api.test/root",
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
		PlansFile:         "plans.yaml", StripeAPIKey: "rk_test_key", StripeAPIBase: "http://127.0.0.1:12111",
		StripePrices:     map[string]string{"pro_monthly": "price_1pm", "pro_yearly": "price_1py", "teams_monthly": "price_1tm"},
		BillingReturnURL: "https://app.test/billing", UsageAlertURL: "https://user:hush@app.test/hooks",
		UsageAlertSecrets: []string{"whsec_bmV3", "whsec_b2xk"},
		TownModelURL:      "https://model.test/v1", TownModelAPI: "anthropic", TownModelKey: "model-key",
		TownModel: "small-1", TownModelBudget: 900,
		BackupURL: "s3://backups/staging", BackupS3Endpoint: "https://s3.test:9000", BackupS3Region: "eu-test-1",
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
		TownModelAPI: "openai", TownModelBudget: 50_000,
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
		keys   = "API_KEYS is not set: nobody could send anything; set API_KEYS or API_KEYS_FILE"
		pair   = "NATS_TLS_CERT and NATS_TLS_KEY go together: set both or none"
		model  = "TOWN_MODEL_URL and TOWN_MODEL go together: set both or none"
		alerts = "USAGE_ALERT_SECRET is not set: who gets the alerts could not tell them from forged ones; 'openssl rand -base64 32' makes one, put whsec_ before it"
		nats   = " needs the NATS cluster's URLs ('kgents up' brings a server of its own)"
		meter  = " needs the meter's URL ('kgents up' brings a meter of its own)"
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
		{"a model without its address", config.RoleUp, vars{"TOWN_MODEL": "small-1"}, []string{model}},
		{"an address of no model", config.RoleUp, vars{"TOWN_MODEL_URL": "https://model.test"}, []string{model}},
		{"a model and its address", config.RoleUp, vars{"TOWN_MODEL": "small-1", "TOWN_MODEL_URL": "https://model.test"}, nil},
		{"alerts that nobody signs", config.RoleUp, vars{"USAGE_ALERT_URL": "https://app.test/hooks"}, []string{alerts}},
		{"alerts that are signed", config.RoleUp, vars{"USAGE_ALERT_URL": "https://app.test/hooks", "USAGE_ALERT_SECRET": "whsec_bmV3"}, nil},
		{"a signature of no alerts", config.RoleUp, vars{"USAGE_ALERT_SECRET": "whsec_bmV3"}, nil},
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
