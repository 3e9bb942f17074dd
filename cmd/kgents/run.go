package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/telemetry"
)

func newUpCommand() *cobra.Command {
	var demo bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything on this machine",
		Long: `Run everything in one process, with nothing to install: an embedded NATS
JetStream that syncs before it acknowledges, an embedded meter that speaks
OpenMeter's API, and the pipeline between them. All data is in one directory.
The API key and the webhook secret are made at the first start and kept there.

It stops on Ctrl-C or SIGTERM: requests under way are finished, what was
accepted is on disk, and the next start goes on where this one ended.`,
		Example: `  kgents up --demo                        with something to see
  kgents up --data ./data --api-port 9000
  NATS_SERVERS=nats://nats:4222 OPENMETER_BASE_URL=http://openmeter:8888 kgents up`,
		Args: noArgs,
	}
	s := addSettings(cmd, config.RoleUp)
	cmd.Flags().BoolVar(&demo, "demo", false, "send a lively mix of signed Stripe events and usage, and let the towns of two customers live")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		began := time.Now()
		return run(cmd, config.RoleUp, s, func(ctx context.Context, a *app.App, log *slog.Logger) {
			printUp(cmd.OutOrStdout(), a, time.Since(began), demo)
			if demo {
				go a.Demo(ctx)
			}
		})
	}
	return cmd
}

func newAPICommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "api",
		Short: "Run the HTTP edge: take events and make them durable",
		Long: `Run the edge alone, as Kubernetes does: it takes Stripe's webhooks and usage
events, and answers 2xx when JetStream has them on disk. Scale it by replicas.`,
		Example: `  NATS_SERVERS=nats://nats:4222 OPENMETER_BASE_URL=http://openmeter:8888 \
  API_KEYS_FILE=/run/secrets/api-keys STRIPE_WEBHOOK_SECRET_FILE=/run/secrets/stripe kgents api`,
		Args: noArgs,
	}
	s := addSettings(cmd, config.RoleAPI)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return run(cmd, config.RoleAPI, s, nil) }
	return cmd
}

func newSinkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Run the delivery of events to the meter",
		Long: `Run the sink alone, as Kubernetes does: it takes events from the stream and
delivers them to the meter. Replicas share the work.`,
		Example: `  NATS_SERVERS=nats://nats:4222 OPENMETER_BASE_URL=http://openmeter:8888 kgents sink`,
		Args:    noArgs,
	}
	s := addSettings(cmd, config.RoleSink)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return run(cmd, config.RoleSink, s, nil) }
	return cmd
}

func newMeterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "meter",
		Short: "Run the embedded meter as a server of its own",
		Long: `Run the embedded meter alone: OpenMeter's ingest, list and query API on
SQLite, always deduplicating. It stands in for OpenMeter on staging.`,
		Example: `  API_KEYS_FILE=/run/secrets/meter-keys kgents meter --data /data --api-port 8888`,
		Args:    noArgs,
	}
	s := addSettings(cmd, config.RoleMeter)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return run(cmd, config.RoleMeter, s, nil) }
	return cmd
}

// run starts a role, waits for the end, and drains.
func run(cmd *cobra.Command, role config.Role, s *settings, started func(context.Context, *app.App, *slog.Logger)) error {
	c, _, err := s.load(cmd, role)
	if err != nil {
		return err
	}
	if err := c.Validate(role); err != nil {
		return err
	}
	log := telemetry.NewLogger(os.Stderr, c.LogLevel, logFormat(c.LogFormat, os.Stderr))
	ctx := cmd.Context()
	a, err := app.Start(ctx, role, c, log)
	if err != nil {
		return err
	}
	log.Info("serving", "role", role, "url", a.URL(), "version", telemetry.ReadBuild().Version)
	if started != nil {
		started(ctx, a, log)
	}
	select {
	case <-ctx.Done():
		log.Info("stopping: finishing requests under way")
	case err = <-a.Failed():
	}
	began := time.Now()
	a.Stop()
	log.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
	return err
}

func logFormat(format string, f *os.File) string {
	switch {
	case format != "":
		return format
	case term.IsTerminal(int(f.Fd())):
		return "text"
	default:
		return "json"
	}
}

// printUp says what runs where, which secrets were made for lack of configured
// ones, and what to try next. It is for the terminal, never for the log.
func printUp(w io.Writer, a *app.App, took time.Duration, demo bool) {
	c := a.Config()
	natsAt, meterAt := "embedded, synced before it acknowledges", "embedded, OpenMeter's API on the same port"
	if !c.EmbeddedNATS() {
		natsAt = c.Public("NATS_SERVERS")
	}
	if !c.EmbeddedMeter() {
		meterAt = c.Public("OPENMETER_BASE_URL")
	}
	rows := [][2]string{
		{"Stripe webhooks", "POST " + a.URL() + "/webhooks/stripe"},
		{"usage events", "POST " + a.URL() + "/api/v1/events"},
		{"health", a.URL() + "/health"},
		{"metrics", a.URL() + "/metrics"},
		{"NATS JetStream", natsAt},
		{"meter", meterAt},
		{"data", c.DataDir},
	}
	fmt.Fprintf(w, "\nkgents is up (%s).\n\n", took.Round(time.Millisecond))
	for _, r := range rows {
		fmt.Fprintf(w, "  %-16s %s\n", r[0], r[1])
	}
	fmt.Fprintln(w)
	local := a.Local()
	if local.APIKey != "" {
		fmt.Fprintf(w, "  %-16s %s\n", "API key", local.APIKey)
	}
	if local.WebhookSecret != "" {
		fmt.Fprintf(w, "  %-16s %s\n", "webhook secret", local.WebhookSecret)
	}
	if local != (config.Local{}) {
		fmt.Fprintf(w, "  %-16s made at the first start and kept in the data directory;\n", "")
		fmt.Fprintf(w, "  %-16s set API_KEYS and STRIPE_WEBHOOK_SECRET to use your own\n", "")
	}
	me := "kgents"
	if strings.ContainsRune(os.Args[0], filepath.Separator) { // it may not be on the user's PATH
		me = os.Args[0]
	}
	data := dataFlag(c.DataDir)
	tries := []string{"emit usage --count 100", "verify", "usage"}
	if demo {
		fmt.Fprintf(w, `
The demo has two customers with a town each: %s pays for Pro, by Stripe's
webhooks, and %s pays for nothing and comes to its limit within a minute.
`, app.DemoPro, app.DemoFree)
		tries = []string{
			"town watch --customer " + app.DemoPro, "town watch --customer " + app.DemoFree,
			"invoice --customer " + app.DemoPro, "customer show " + app.DemoPro, "usage", "verify",
		}
	}
	fmt.Fprint(w, "\nTry in another terminal:\n\n")
	for _, try := range tries {
		fmt.Fprintf(w, "  %s %s%s\n", me, try, data)
	}
	fmt.Fprintln(w)
}

// dataFlag is what to add to a command so that it finds dir, wherever it is run:
// nothing for the default.
func dataFlag(dir string) string {
	if usual, err := config.DefaultDataDir(); err == nil && dir == usual {
		return ""
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if strings.ContainsFunc(dir, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-", r)
	}) {
		dir = "'" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
	}
	return " --data " + dir
}
