package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/verify"
)

func newVerifyCommand() *cobra.Command {
	var (
		t       target
		d       deepFlags
		timeout time.Duration
		output  string
	)
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Send one event through the whole path, and time each stage",
		Long: `Send a canary event and follow it: accepted and on disk, handed to the meter,
listed by it, counted by it. Exit code 1 if it does not arrive in time; then it
says where it is stuck and what the program says of itself.

With --deep, check a deployment on Kubernetes: a table with a verdict for each
criterion, what was seen, and what to do. A line that can't be checked from here is
unknown, and unknown is no pass. Exit code 1 unless every line passes. It takes
NATS_SERVERS, NATS_CREDS (of the system account), NATS_TLS_CA and REDIS_URL from the
environment. Outside the cluster, what isn't told, the API's URL and key too, is
looked up in what the pods are given, and reached by tunnels through the Kubernetes
API: that needs to read Secrets and to forward ports.`,
		Example: `  kgents verify
  kgents verify --deep --namespace kgents-staging
  kgents verify --url https://api.example.com --key-file key --timeout 10s --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q is no format: use table or json", output)
			}
			if timeout <= 0 {
				return fmt.Errorf("--timeout must be more than 0, for example 30s")
			}
			if !d.on && (d.namespace != "" || d.kubeContext != "") {
				return errors.New("--namespace and --context go with --deep: add it")
			}
			if err := t.resolve(); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if d.on {
				ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
				defer cancel()
				return d.run(ctx, cmd, &t, output)
			}
			if err := t.needKey(); err != nil {
				return err
			}
			if err := t.reach(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			style := term.StyleFor(w)
			r, err := verify.Run(ctx, verify.Target{URL: t.URL, Key: t.Key}, func(s verify.Stage) {
				if output == "table" {
					fmt.Fprintf(w, "%s  %-8s %10s  %s\n", style.Good("✓"), s.Name, term.Duration(s.Took), style.Faint(s.What))
				}
			})
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(w)
				enc.SetIndent("", "  ")
				if err := enc.Encode(r); err != nil {
					return err
				}
				if !r.OK() {
					return errReported
				}
				return nil
			}
			if r.OK() {
				fmt.Fprintf(w, "%s  %-8s %10s  event %s\n", style.Good("✓"), "all", term.Duration(r.Total), r.ID)
				return nil
			}
			refused := strings.HasPrefix(r.Reason, "401")
			how := "stuck"
			if refused {
				how = "refused"
			}
			fmt.Fprintf(w, "%s  %-8s %10s  %s\n", style.Bad("✗"), r.Stuck, how, r.Reason)
			if refused {
				return t.keyRefused()
			}
			if r.Health != nil {
				health, _ := json.MarshalIndent(r.Health, "   ", "  ")
				fmt.Fprintf(w, "\n   %s/health/saas says:\n   %s\n", t.URL, health)
			}
			if health, _ := r.Health.(map[string]any); health["status"] == "ok" {
				return fmt.Errorf("event %s was at '%s' when the %v were up, and kgents says that all is well: give it more time with --timeout; if that does not help, %s", r.ID, r.Stuck, timeout, advice[r.Stuck])
			}
			return fmt.Errorf("event %s did not arrive within %v: it is stuck at '%s'; %s", r.ID, timeout, r.Stuck, advice[r.Stuck])
		},
	}
	t.addFlags(cmd)
	d.add(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait for all of it")
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
	return cmd
}

// advice is what to look at for each stage.
var advice = map[string]string{
	"publish": "look at NATS and its circuit in /health/saas",
	"consume": "look at the sink's log, the backlog and OpenMeter in /health/saas",
	"query":   "look at the meter's log and at its meter 'canaries'",
}
