package config

import (
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Variable describes one setting: its environment variable, its flag, and what
// it means. The documentation's table and `kgents config` are made from it.
type Variable struct {
	Name   string // environment variable, for example "API_PORT"
	Help   string // one line
	Secret bool   // never printed; may be given as Name_FILE
	roles  map[Role]string
	dflt   string
	set    func(*Config, string) error
	get    func(Config) string
}

// Flag is the variable's flag without dashes in front: "api-port".
func (v Variable) Flag() string { return strings.ToLower(strings.ReplaceAll(v.Name, "_", "-")) }

// Default is the value used when nothing else sets the variable.
func (v Variable) Default(role Role) string {
	if d, ok := v.roles[role]; ok {
		return d
	}
	return v.dflt
}

// maxFlushInterval stays well below stream.AckWait: a message that waits for a
// flush longer than that would be delivered to another sink meanwhile.
const maxFlushInterval = 10 * time.Second

// A reconciliation looks 24 hours back, so at a longer interval some events would
// never be looked at.
const (
	minReconcileInterval = time.Minute
	maxReconcileInterval = 24 * time.Hour
)

// A rate below one request in 100 s would be a mistake for a long interval.
const (
	minMeterRate = 0.01
	maxMeterRate = 1_000_000
)

var streamName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Variables lists every setting in the order in which they are documented.
func Variables() []Variable {
	return []Variable{
		{
			Name: "API_HOST", dflt: "0.0.0.0", roles: map[Role]string{RoleUp: "127.0.0.1"},
			Help: "address that HTTP listens on",
			set:  setHost,
			get:  func(c Config) string { return c.APIHost },
		},
		{
			Name: "API_PORT", dflt: "8000", Help: "port that HTTP listens on; 0 takes a free one",
			set: intSetter(0, 65535, func(c *Config, n int) { c.APIPort = n }),
			get: func(c Config) string { return strconv.Itoa(c.APIPort) },
		},
		{
			Name: "API_KEYS", Secret: true, Help: "keys that may send and read, comma-separated",
			set: listSetter(func(c *Config, l []string) { c.APIKeys = l }),
			get: func(c Config) string { return strings.Join(c.APIKeys, ",") },
		},
		{
			Name: "API_RATE_LIMIT", dflt: "5000", roles: map[Role]string{RoleUp: "0"},
			Help: "requests a second that one API key may send to one replica; past it they are answered 429; 0 = no limit",
			set:  intSetter(0, 1_000_000, func(c *Config, n int) { c.APIRateLimit = n }),
			get:  func(c Config) string { return strconv.Itoa(c.APIRateLimit) },
		},
		{
			Name: "API_RATE_BURST", dflt: "0", Help: "requests that a key may send at once after a pause; 0 = as many as API_RATE_LIMIT",
			set: intSetter(0, 1_000_000, func(c *Config, n int) { c.APIRateBurst = n }),
			get: func(c Config) string { return strconv.Itoa(c.APIRateBurst) },
		},
		{
			Name: "CORS_ORIGINS", Help: "origins that browsers may call from, comma-separated; empty = same origin only",
			set: setOrigins,
			get: func(c Config) string { return strings.Join(c.CORSOrigins, ",") },
		},
		{
			Name: "PUBLIC_URL", Help: "address by which the world reaches the API, for links to checkout in refusals and the OpenAPI document; empty = links are paths",
			set: setPublicURL,
			get: func(c Config) string { return c.PublicURL },
		},
		{
			Name: "LOG_LEVEL", dflt: "info", Help: "debug, info, warn or error",
			set: func(c *Config, s string) error {
				if err := c.LogLevel.UnmarshalText([]byte(s)); err != nil {
					return errors.New("is not a level: use debug, info, warn or error")
				}
				return nil
			},
			get: func(c Config) string { return strings.ToLower(slog.Level(c.LogLevel).String()) },
		},
		{
			Name: "LOG_FORMAT", Help: "text or json; empty = text on a terminal, else json",
			set: func(c *Config, s string) error {
				if s != "" && s != "text" && s != "json" {
					return errors.New("is not a format: use text or json")
				}
				c.LogFormat = s
				return nil
			},
			get: func(c Config) string { return c.LogFormat },
		},
		{
			Name: "NATS_SERVERS", Help: "NATS URLs, nats:// or tls://, comma-separated; empty = the embedded server",
			set: func(c *Config, s string) error {
				c.NATSServers = splitList(s)
				for _, raw := range c.NATSServers {
					if u, err := url.Parse(raw); err != nil || u.Host == "" || (u.Scheme != "nats" && u.Scheme != "tls") {
						return errors.New("holds something that is no NATS URL: use nats://host:4222 or tls://host:4222")
					}
				}
				return nil
			},
			get: func(c Config) string { return redact(strings.Join(c.NATSServers, ",")) },
		},
		{
			Name: "NATS_CREDS", Help: "path of a NATS credentials file, or of a file with the seed of a user's NKey",
			set: func(c *Config, s string) error { c.NATSCreds = s; return nil },
			get: func(c Config) string { return c.NATSCreds },
		},
		{
			Name: "NATS_TLS_CA", Help: "path of the CA that signs the NATS servers' certificates",
			set: func(c *Config, s string) error { c.NATSTLSCA = s; return nil },
			get: func(c Config) string { return c.NATSTLSCA },
		},
		{
			Name: "NATS_TLS_CERT", Help: "path of the client certificate for NATS",
			set: func(c *Config, s string) error { c.NATSTLSCert = s; return nil },
			get: func(c Config) string { return c.NATSTLSCert },
		},
		{
			Name: "NATS_TLS_KEY", Help: "path of the client certificate's key",
			set: func(c *Config, s string) error { c.NATSTLSKey = s; return nil },
			get: func(c Config) string { return c.NATSTLSKey },
		},
		{
			Name: "NATS_STREAM_NAME", dflt: "kgent-events", Help: "JetStream stream that holds the events",
			set: func(c *Config, s string) error {
				if !streamName.MatchString(s) {
					return errors.New("is no stream name: use up to 64 letters, digits, - and _")
				}
				c.StreamName = s
				return nil
			},
			get: func(c Config) string { return c.StreamName },
		},
		{
			Name: "NATS_STREAM_MAX_BYTES", dflt: "0",
			Help: "bound of the stream on disk, for example 20GiB; a full stream refuses; 0 = bounded by the server only",
			set: func(c *Config, s string) error {
				n, err := parseBytes(s)
				c.StreamBytes = n
				return err
			},
			get: func(c Config) string { return strconv.FormatInt(c.StreamBytes, 10) },
		},
		{
			Name: "NATS_REPLICAS", dflt: "3", roles: map[Role]string{RoleUp: "1"}, Help: "copies of the stream: 1, 3 or 5",
			set: func(c *Config, s string) error {
				if s != "1" && s != "3" && s != "5" {
					return errors.New("is no number of replicas: use 1, 3 or 5")
				}
				c.Replicas = int(s[0] - '0')
				return nil
			},
			get: func(c Config) string { return strconv.Itoa(c.Replicas) },
		},
		{
			Name: "SPOOL_DIR", Help: "directory where events wait while NATS is away; empty = 'spool' in the data directory in 'kgents up', else they are refused with 503",
			set: func(c *Config, s string) error { c.SpoolDir = s; return nil },
			get: func(c Config) string { return c.SpoolDir },
		},
		{
			Name: "SPOOL_MAX_BYTES", dflt: "1GiB", Help: "bound of that directory; past it events are refused with 503; 0 = no spool",
			set: func(c *Config, s string) error {
				n, err := parseBytes(s)
				c.SpoolBytes = n
				return err
			},
			get: func(c Config) string { return strconv.FormatInt(c.SpoolBytes, 10) },
		},
		{
			Name: "REDIS_URL", Secret: true, Help: "where replicas share the identities of events: redis:// or rediss://, with user, password and database; empty = in memory",
			set: func(c *Config, s string) error { c.RedisURL = s; return nil },
			get: func(c Config) string { return c.RedisURL },
		},
		{
			Name: "OPENMETER_BASE_URL", Help: "root of the OpenMeter API; empty = the embedded meter",
			set: func(c *Config, s string) error {
				if s != "" {
					if u, err := url.Parse(s); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
						return errors.New("is no URL: use http://host or https://host")
					}
				}
				c.OpenMeterBaseURL = strings.TrimRight(s, "/")
				return nil
			},
			get: func(c Config) string { return redact(c.OpenMeterBaseURL) },
		},
		{
			Name: "OPENMETER_API_KEY", Secret: true, Help: "sent to OpenMeter as a bearer token",
			set: func(c *Config, s string) error { c.OpenMeterAPIKey = s; return nil },
			get: func(c Config) string { return c.OpenMeterAPIKey },
		},
		{
			Name: "OPENMETER_BATCH_SIZE", dflt: "100", Help: "events that trigger a flush",
			set: intSetter(1, 100_000, func(c *Config, n int) { c.BatchSize = n }),
			get: func(c Config) string { return strconv.Itoa(c.BatchSize) },
		},
		{
			Name: "OPENMETER_FLUSH_INTERVAL", dflt: "1s", Help: "longest time an event waits for a flush; a bare number means seconds",
			set: func(c *Config, s string) error {
				d, err := parseDuration(s)
				if err != nil || d < time.Millisecond || d > maxFlushInterval {
					return errors.New("is no duration from 1ms to 10s: use for example 1s or 500ms")
				}
				c.FlushInterval = d
				return nil
			},
			get: func(c Config) string { return c.FlushInterval.String() },
		},
		{
			Name: "OPENMETER_RATE_LIMIT", dflt: "0",
			Help: "requests a second that one process sends to OpenMeter, for example 20 or 0.5; each takes its part of the account's limit; 0 = none but what OpenMeter's answers ask for",
			set: func(c *Config, s string) error {
				n, err := strconv.ParseFloat(s, 64)
				if err != nil || !(n == 0 || n >= minMeterRate && n <= maxMeterRate) {
					return errors.New("is neither 0 nor a number from 0.01 to 1000000")
				}
				c.OpenMeterRate = n
				return nil
			},
			get: func(c Config) string { return strconv.FormatFloat(c.OpenMeterRate, 'g', -1, 64) },
		},
		{
			Name: "OPENMETER_RATE_BURST", dflt: "1", Help: "of these, how many at once after a pause",
			set: intSetter(1, 1_000_000, func(c *Config, n int) { c.OpenMeterBurst = n }),
			get: func(c Config) string { return strconv.Itoa(c.OpenMeterBurst) },
		},
		{
			Name: "RECONCILE_INTERVAL", dflt: "1h",
			Help: "how often one of the sinks compares the meter with the last 24 hours of the stream, and sends again what is missing; a bare number means seconds; 0 = never",
			set: func(c *Config, s string) error {
				d, err := parseDuration(s)
				if err != nil || d < 0 || d > 0 && d < minReconcileInterval || d > maxReconcileInterval {
					return errors.New("is neither 0 nor a duration from 1m to 24h: use for example 1h")
				}
				c.ReconcileInterval = d
				return nil
			},
			get: func(c Config) string { return c.ReconcileInterval.String() },
		},
		{
			Name: "METERS_FILE", Help: "YAML file of the embedded meter's meters; empty = the default set",
			set: func(c *Config, s string) error { c.MetersFile = s; return nil },
			get: func(c Config) string { return c.MetersFile },
		},
		{
			Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Help: "base URL of the OTLP receiver (HTTP, often port 4318) that takes traces; empty = no tracing",
			set: func(c *Config, s string) error {
				if s != "" {
					if u, err := url.Parse(s); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
						return errors.New("is no URL: use http://host:4318 or https://host")
					}
				}
				c.OTLPEndpoint = s
				return nil
			},
			get: func(c Config) string { return redact(c.OTLPEndpoint) },
		},
		{
			Name: "STRIPE_WEBHOOK_SECRET", Secret: true,
			Help: "signing secret of the Stripe endpoint; comma-separated, so that two overlap while one is rotated",
			set:  listSetter(func(c *Config, l []string) { c.WebhookSecrets = l }),
			get:  func(c Config) string { return strings.Join(c.WebhookSecrets, ",") },
		},
		{
			Name: "PLANS_FILE", Help: "YAML file of plans, limits and prices, read again when it changes; empty = the default plans",
			set: func(c *Config, s string) error { c.PlansFile = s; return nil },
			get: func(c Config) string { return c.PlansFile },
		},
		{
			Name: "STRIPE_API_KEY", Secret: true, Help: "key of Stripe's API, for checkout, portal, changes of plan and overage; empty = none of them",
			set: func(c *Config, s string) error { c.StripeAPIKey = s; return nil },
			get: func(c Config) string { return c.StripeAPIKey },
		},
		{
			Name: "STRIPE_API_BASE", Help: "base URL of Stripe's API, for a stand-in of it; empty = Stripe's",
			set: urlSetter("http://127.0.0.1:12111", func(c *Config, s string) { c.StripeAPIBase = s }),
			get: func(c Config) string { return redact(c.StripeAPIBase) },
		},
		stripePrice("STRIPE_PRICE_PRO_MONTHLY", "pro_monthly"),
		stripePrice("STRIPE_PRICE_PRO_YEARLY", "pro_yearly"),
		stripePrice("STRIPE_PRICE_TEAMS_MONTHLY", "teams_monthly"),
		{
			Name: "BILLING_RETURN_URL", Help: "page of the product that Stripe's checkout and portal send a customer back to",
			set: urlSetter("https://app.example.com/billing", func(c *Config, s string) { c.BillingReturnURL = s }),
			get: func(c Config) string { return redact(c.BillingReturnURL) },
		},
		{
			Name: "USAGE_ALERT_URL", Help: "URL that is told, by signed webhooks, when a customer nears or reaches a limit; empty = nobody is told",
			set: urlSetter("https://app.example.com/hooks/usage", func(c *Config, s string) { c.UsageAlertURL = s }),
			get: func(c Config) string { return redact(c.UsageAlertURL) },
		},
		{
			Name: "USAGE_ALERT_SECRET", Secret: true,
			Help: "secret that signs those webhooks (Standard Webhooks: whsec_ and base64); comma-separated, so that two overlap while one is rotated",
			set:  listSetter(func(c *Config, l []string) { c.UsageAlertSecrets = l }),
			get:  func(c Config) string { return strings.Join(c.UsageAlertSecrets, ",") },
		},
		{
			Name: "TOWN_MODEL_URL", Help: "base URL of a language model's API, by which the citizens of Agent Town decide, and which helps kgents repl with words; empty = by rules, and this machine alone",
			set: urlSetter("https://api.openai.com/v1", func(c *Config, s string) { c.TownModelURL = s }),
			get: func(c Config) string { return redact(c.TownModelURL) },
		},
		{
			Name: "TOWN_MODEL_API", dflt: "openai", Help: "which API that is: openai (chat completions, as many servers speak it) or anthropic (messages)",
			set: func(c *Config, s string) error {
				if s != "openai" && s != "anthropic" {
					return errors.New("is no API that is known: use openai or anthropic")
				}
				c.TownModelAPI = s
				return nil
			},
			get: func(c Config) string { return c.TownModelAPI },
		},
		{
			Name: "TOWN_MODEL_KEY", Secret: true, Help: "key of that API",
			set: func(c *Config, s string) error { c.TownModelKey = s; return nil },
			get: func(c Config) string { return c.TownModelKey },
		},
		{
			Name: "TOWN_MODEL", Help: "name of the model",
			set: func(c *Config, s string) error { c.TownModel = s; return nil },
			get: func(c Config) string { return c.TownModel },
		},
		{
			Name: "TOWN_MODEL_BUDGET", dflt: "50000", Help: "tokens that one town may spend on such decisions in a day of UTC; past it its citizens decide by rules",
			set: intSetter(0, 1_000_000_000, func(c *Config, n int) { c.TownModelBudget = n }),
			get: func(c Config) string { return strconv.Itoa(c.TownModelBudget) },
		},
		{
			Name: "BACKUP_URL", Help: "where backups of the stream are kept: a directory, or s3://bucket/prefix",
			set: func(c *Config, s string) error {
				if bucket, ok := strings.CutPrefix(s, "s3://"); ok && strings.Trim(bucket, "/") == "" || !ok && strings.Contains(s, "://") {
					return errors.New("is no place for backups: use the path of a directory, or s3://bucket/prefix")
				}
				c.BackupURL = s
				return nil
			},
			get: func(c Config) string { return redact(c.BackupURL) },
		},
		{
			Name: "BACKUP_S3_ENDPOINT", Help: "URL of the server that has the bucket, by path (https://host/bucket); empty = Amazon S3",
			set: func(c *Config, s string) error {
				if s != "" {
					if u, err := url.Parse(s); err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
						return errors.New("is no server's URL: use https://host or https://host:port, without a user")
					}
				}
				c.BackupS3Endpoint = s
				return nil
			},
			get: func(c Config) string { return redact(c.BackupS3Endpoint) },
		},
		{
			Name: "BACKUP_S3_REGION", Help: "the bucket's region; empty = the server is asked",
			set: func(c *Config, s string) error { c.BackupS3Region = s; return nil },
			get: func(c Config) string { return c.BackupS3Region },
		},
		{
			Name: "AWS_ACCESS_KEY_ID", Secret: true, Help: "name of the key that may use the bucket",
			set: func(c *Config, s string) error { c.AWSAccessKeyID = s; return nil },
			get: func(c Config) string { return c.AWSAccessKeyID },
		},
		{
			Name: "AWS_SECRET_ACCESS_KEY", Secret: true, Help: "the key that may use the bucket",
			set: func(c *Config, s string) error { c.AWSSecretKey = s; return nil },
			get: func(c Config) string { return c.AWSSecretKey },
		},
		{
			Name: "BACKUP_RECIPIENT", Help: "age public keys (age1...) that backups are sealed to, comma-separated, each of which opens them alone; empty = backups are not sealed",
			// Whether it is one is said where it is used: an error here would quote it, and
			// it may be the identity by mistake.
			set: func(c *Config, s string) error { c.BackupRecipients = s; return nil },
			get: func(c Config) string {
				if strings.Contains(strings.ToUpper(c.BackupRecipients), "SECRET") {
					return hidden
				}
				return redact(c.BackupRecipients)
			},
		},
		{
			Name: "BACKUP_IDENTITY", Secret: true, Help: "age identity (AGE-SECRET-KEY-1...) that opens sealed backups: to restore, to drill, to verify what is in them",
			set: func(c *Config, s string) error { c.BackupIdentities = s; return nil },
			get: func(c Config) string { return c.BackupIdentities },
		},
		{
			Name: "BACKUP_KEEP", dflt: "0",
			Help: "days for which the last backup of each day is kept, beside all of the last 24 hours; the newest whole one is never deleted; 0 = every backup is kept",
			set:  intSetter(0, 3650, func(c *Config, n int) { c.BackupKeepDays = n }),
			get:  func(c Config) string { return strconv.Itoa(c.BackupKeepDays) },
		},
	}
}
