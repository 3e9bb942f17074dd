//go:build linux

package firedrill

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/chaos/world"
	"github.com/kgents/kgents/stream"
)

func (d *drill) plansFile() string { return filepath.Join(d.certs, "plans.yaml") }

// plans writes the file by a rename, as an editor does.
func (d *drill) plans(text []byte) {
	d.Helper()
	if err := os.WriteFile(d.plansFile()+".new", text, 0o600); err != nil {
		d.Fatal(err)
	}
	if err := os.Rename(d.plansFile()+".new", d.plansFile()); err != nil {
		d.Fatal(err)
	}
}

// readPlans is the program's own plans.
func readPlans(d *drill) []byte {
	d.Helper()
	b, err := os.ReadFile("../plan/plans.yaml")
	if err != nil {
		d.Fatal(err)
	}
	return b
}

// accounts bounds the bucket of customers, in bytes.
func (d *drill) accounts(most int64) {
	d.Helper()
	nc, err := nats.Connect("nats://" + d.NATSGate.Addr)
	if err != nil {
		d.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		d.Fatal(err)
	}
	s, err := js.Stream(d.Context(), stream.BucketStream(stream.Config{Name: "kgent-events"}.AccountsName()))
	if err != nil {
		d.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.MaxBytes = most
	if _, err := js.UpdateStream(d.Context(), c); err != nil {
		d.Fatal(err)
	}
}

// subscribe has Stripe tell of a subscription of somebody who isn't known.
func (d *drill) subscribe() {
	d.Helper()
	cmd := exec.Command(world.Programs.Kgents, "emit", "stripe", "--scenario", "paid", "--customer", "newcomer", "--url", "http://"+d.APIs[0].Listen)
	cmd.Dir = d.Dir
	cmd.Env = []string{"HOME=" + d.Dir, "STRIPE_WEBHOOK_SECRET=" + world.WebhookSecret}
	if out, err := cmd.CombinedOutput(); err != nil {
		d.Fatalf("kgents emit stripe: %v\n%s", err, out)
	}
}
