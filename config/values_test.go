package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/config"
)

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
		{"STRIPE_PRICE_PRO_MONTHLY", "price_1MoBy5LkdIwHu7ixZhnattbh", "price_1MoBy5LkdIwHu7ixZhnattbh"},
		{"STRIPE_API_BASE", "http://127.0.0.1:12111/", "http://127.0.0.1:12111"},
		{"TOWN_MODEL_API", "anthropic", "anthropic"},
		{"TOWN_MODEL_BUDGET", "0", "0"}, // rules only
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
		public   = "is no URL: use for example https://api.example.com"
		more     = "has more than a scheme, a host and a path: use for example https://api.example.com"
		price    = "is no price of Stripe's: use its id, which begins with price_"
		model    = "is no API that is known: use openai or anthropic"
		budget   = "is no whole number from 0 to 1000000000"
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
		{"STRIPE_PRICE_PRO_MONTHLY", "pro_monthly", price},
		{"STRIPE_PRICE_PRO_YEARLY", "prod_1", price},
		{"STRIPE_PRICE_TEAMS_MONTHLY", "price_", price},
		{"STRIPE_PRICE_TEAMS_MONTHLY", "price_1/../x", price},
		{"STRIPE_API_BASE", "127.0.0.1:12111", "is no URL: use for example http://127.0.0.1:12111"},
		{"PUBLIC_URL", "api.example.com", public},
		{"PUBLIC_URL", "//api.example.com", public},
		{"PUBLIC_URL", "https://", public},
		{"PUBLIC_URL", "https://:443", public},
		{"PUBLIC_URL", "ftp://api.example.com", public},
		{"PUBLIC_URL", "https://api.example.com:x", public},
		{"PUBLIC_URL", "https://api.example.com?a=1", more},
		{"PUBLIC_URL", "https://api.example.com/?", more},
		{"PUBLIC_URL", "https://api.example.com/#", more},
		{"BILLING_RETURN_URL", "/billing", "is no URL: use for example https://app.example.com/billing"},
		{"USAGE_ALERT_URL", "mailto:alerts", "is no URL: use for example https://app.example.com/hooks/usage"},
		{"TOWN_MODEL_URL", "api.openai.com", "is no URL: use for example https://api.openai.com/v1"},
		{"TOWN_MODEL_API", "OpenAI", model},
		{"TOWN_MODEL_BUDGET", "-1", budget},
		{"TOWN_MODEL_BUDGET", "50k", budget},
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
