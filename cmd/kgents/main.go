// Command kgents is the billing backbone of an agent SaaS: it takes Stripe
// webhooks and product usage, makes each event durable and counts it exactly
// once. See `kgents --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	// The roots that browsers trust, for a system that has none: an image that holds
	// nothing but this program must still reach OpenMeter by HTTPS.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/kgents/kgents/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the process at once, as a user expects.
	context.AfterFunc(ctx, stop)
	code := execute(ctx, newRoot(), os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs the command, says what went wrong, and returns the exit code.
func execute(ctx context.Context, root *cobra.Command, stderr io.Writer) int {
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		fmt.Fprintln(stderr, "kgents: "+err.Error())
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	return 1
}

// errReported is the error of a command that has said on its own what is wrong.
var errReported = errors.New("reported")

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "kgents",
		Short: "The billing backbone of an agent SaaS",
		Long: `kgents takes Stripe webhooks and product usage, makes each event durable
before it answers, and counts it exactly once in OpenMeter.

Start everything on this machine, with something to see:

  kgents up --demo

and in another terminal:

  kgents usage
  kgents verify`,
		Version:       versionText(telemetry.ReadBuild()),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          onlyCommands,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("kgents {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "use", Title: "Send and look:"},
		&cobra.Group{ID: "about", Title: "About this program:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newUpCommand(), newAPICommand(), newSinkCommand(), newMeterCommand())
	add("use", newEmitCommand(), newVerifyCommand(), newUsageCommand(), newDeadLetterCommand())
	add("use", newSpoolCommand(), newStreamCommand())
	add("use", newCustomerCommand(), newKeyCommand())
	add("use", newReplCommand(), newTownCommand(), newReconcileCommand(), newLoadCommand(), newSecretsCommand(), newChecklistCommand())
	add("use", newStripeCommand())
	add("use", newPlansCommand(), newInvoiceCommand(), newAlertsCommand())
	add("about", newConfigCommand(), newVersionCommand(), newCompletionCommand())
	root.SetHelpCommandGroupID("about")
	return root
}

// onlyCommands refuses what is none of cmd's commands, and says what may have
// been meant. Without it a mistyped command would show the help and succeed.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	hint := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
		hint = fmt.Sprintf("did you mean '%s'?", strings.Join(meant, "' or '"))
	}
	return fmt.Errorf("'%s' has no command %q: %s", cmd.CommandPath(), args[0], hint)
}
