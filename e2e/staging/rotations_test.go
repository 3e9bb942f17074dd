//go:build cluster

package staging

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// rotations are the rows in which a secret is replaced: made beside the old one,
// rolled out, and the old one taken away.
func rotations() []row {
	// The rows verify in their own way, and wait for no canary.
	half := func(step string) string {
		return strings.ReplaceAll(strings.ReplaceAll(step, `"$NAME"`, "$NAME"), "\n", " --no-verify\n")
	}
	rotate := func(name string, between func(c *cluster, l *ledger)) row {
		return row{name: "rotation of " + name, do: func(c *cluster, l *ledger) {
			steps, env := c.commands("Rotate a secret"), "NAME="+name
			if name == "webhook-secret" { // which Stripe makes
				file := filepath.Join(c.TempDir(), "secret")
				if err := os.WriteFile(file, []byte("whsec_"+rand.Text()), 0o600); err != nil {
					c.Fatal(err)
				}
				env += " --from-file " + file
			}
			c.shell(half(steps[0]), env)
			if between != nil {
				between(c, l)
			}
			c.shell(half(steps[1]), "NAME="+name)
		}}
	}
	// Clients change over while both are accepted.
	changeOver := func(c *cluster, l *ledger) {
		l.keys.set(c.secret("api.env", "API_KEYS"), c.secret("api.env", "STRIPE_WEBHOOK_SECRET"))
		time.Sleep(patience + time.Second) // what was sent with the old one has been answered
	}
	return []row{
		rotate("webhook-secret", changeOver),
		rotate("api-key", changeOver),
		rotate("openmeter-api-key", nil),
		rotate("redis", nil),
		rotate("nats-api", nil),
		rotate("nats-backup", nil),
		rotate("nats-sink", nil),
		rotate("nats-tls", nil),
	}
}
