// Package config reads the program's settings and says what is wrong with them.
//
// A setting comes from the first of: its flag, its environment variable, the file
// named by the variable with _FILE behind it (secrets only), the .env file of the
// working directory, its default. Load collects every mistake before it
// returns, each naming the setting and what it takes. A secret is never printed:
// a summary shows it as set or not.
//
// The package reads the environment it is given and a few files; it has no
// dependency that could be away.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Role is which part of the program runs. It decides some defaults and what
// must be set.
type Role string

// The roles: everything in one process, or one of the three that Kubernetes
// runs and scales.
const (
	RoleUp    Role = "up"
	RoleAPI   Role = "api"
	RoleSink  Role = "sink"
	RoleMeter Role = "meter"
)

// Config is every setting, typed and checked. The zero value is not usable: it
// comes from Load.
type Config struct {
	APIHost     string
	APIPort     int // 0 takes a free port
	CORSOrigins []string
	PublicURL   string // by which the world reaches the API, without a slash at its end; empty = what is told of it are paths

	APIRateLimit int // requests a second of one API key, 0 = no limit
	APIRateBurst int // at once after a pause, 0 = APIRateLimit

	LogLevel  slog.Level
	LogFormat string // "text", "json", or "" for text on a terminal and json elsewhere

	DataDir string // where `up` and `meter` keep everything

	NATSServers []string // empty = the embedded server
	NATSCreds   string
	NATSTLSCA   string
	NATSTLSCert string
	NATSTLSKey  string
	StreamName  string
	Replicas    int   // copies of the stream
	StreamBytes int64 // bound of the stream on disk, 0 = only the server's own

	SpoolDir   string // where events wait while NATS is away
	SpoolBytes int64  // its bound, 0 = no spool
	RedisURL   string // empty = identities in memory

	OpenMeterBaseURL  string // empty = the embedded meter
	OpenMeterAPIKey   string
	BatchSize         int           // events that trigger a flush
	FlushInterval     time.Duration // longest wait of an event for a flush
	OpenMeterRate     float64       // requests a second of this process, 0 = no limit of its own
	OpenMeterBurst    int           // of them at once after a pause
	ReconcileInterval time.Duration // between comparisons of the meter with the stream, 0 = none
	MetersFile        string        // meters of the embedded meter, empty = the default set

	OTLPEndpoint string // base URL of the OTLP receiver, empty = no traces

	WebhookSecrets []string
	APIKeys        []string

	PlansFile        string            // what is sold, empty = the default plans
	StripeAPIKey     string            // empty = no checkout, portal or overage
	StripeAPIBase    string            // empty = Stripe's
	StripePrices     map[string]string // price ids of this environment, by lookup key
	BillingReturnURL string            // where Stripe sends a customer back to

	UsageAlertURL     string   // who is told that a customer nears a limit, empty = nobody
	UsageAlertSecrets []string // what those messages are signed with; the first signs, all are sent

	TownModelAPI    string // openai or anthropic
	TownModelURL    string // empty = citizens decide by rules
	TownModelKey    string
	TownModel       string // the model's name
	TownModelBudget int    // tokens that one town may spend on decisions in a day of UTC

	BackupURL        string // directory or s3://bucket/prefix
	BackupS3Endpoint string // empty = Amazon's
	BackupS3Region   string // empty = found out
	AWSAccessKeyID   string
	AWSSecretKey     string
	BackupRecipients string // age public keys, empty = backups are not sealed
	BackupIdentities string // age identities
	BackupKeepDays   int    // 0 = every backup is kept
}

// Addr is the address that HTTP listens on.
func (c Config) Addr() string { return net.JoinHostPort(c.APIHost, strconv.Itoa(c.APIPort)) }

// EmbeddedNATS says whether the process runs its own NATS server.
func (c Config) EmbeddedNATS() bool { return len(c.NATSServers) == 0 }

// EmbeddedMeter says whether the process runs its own meter.
func (c Config) EmbeddedMeter() bool { return c.OpenMeterBaseURL == "" }

// Public is the value of the variable name as it may be shown: empty for a
// secret, without passwords in URLs.
func (c Config) Public(name string) string {
	for _, v := range Variables() {
		if v.Name == name && !v.Secret {
			return v.get(c)
		}
	}
	return ""
}

// Validate checks what one setting alone can't tell: what the role needs and
// which settings go together. The error names the setting and the way out.
func (c Config) Validate(role Role) error {
	var p problems
	if (c.NATSTLSCert == "") != (c.NATSTLSKey == "") {
		p.add("NATS_TLS_CERT and NATS_TLS_KEY go together: set both or none")
	}
	if u := c.RedisURL; u != "" && !strings.HasPrefix(u, "redis://") && !strings.HasPrefix(u, "rediss://") {
		p.add("REDIS_URL is no address of Redis: use redis://user:password@host:6379/0, or rediss:// for TLS")
	}
	if (c.TownModelURL == "") != (c.TownModel == "") {
		p.add("TOWN_MODEL_URL and TOWN_MODEL go together: set both or none")
	}
	if c.UsageAlertURL != "" && len(c.UsageAlertSecrets) == 0 {
		p.add("USAGE_ALERT_SECRET is not set: who gets the alerts could not tell them from forged ones; 'openssl rand -base64 32' makes one, put whsec_ before it")
	}
	switch role {
	case RoleUp:
		if c.EmbeddedNATS() && c.Replicas > 1 {
			p.add("NATS_REPLICAS=%d needs a NATS cluster: set NATS_SERVERS, or leave NATS_REPLICAS at 1", c.Replicas)
		}
	case RoleAPI, RoleSink:
		if c.EmbeddedNATS() {
			p.add("NATS_SERVERS is not set: 'kgents %s' needs the NATS cluster's URLs ('kgents up' brings a server of its own)", role)
		}
		if c.EmbeddedMeter() {
			p.add("OPENMETER_BASE_URL is not set: 'kgents %s' needs the meter's URL ('kgents up' brings a meter of its own)", role)
		}
	}
	if role == RoleAPI || role == RoleMeter {
		if len(c.APIKeys) == 0 {
			p.add("API_KEYS is not set: nobody could send anything; set API_KEYS or API_KEYS_FILE")
		}
	}
	return p.err()
}

// problems collects mistakes so that a user mends them all at once.
type problems []string

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Problems: p}
}

// Error is what is wrong with the settings, one line a mistake. It holds no
// secret's value.
type Error struct{ Problems []string }

func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0]
	}
	s := fmt.Sprintf("%d settings are wrong:", len(e.Problems))
	for _, p := range e.Problems {
		s += "\n  " + p
	}
	return s
}
