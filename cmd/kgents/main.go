// Command kgents is the billing backbone of an agent SaaS: it takes Stripe
// webhooks and product usage, makes each event durable and counts it exactly
// once. See `kgents --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends the process at once, as a user expects.
	context.AfterFunc(ctx, stop)
	if err := newRoot().ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "kgents: "+err.Error())
		}
		stop()
		os.Exit(1)
	}
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
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run:"},
		&cobra.Group{ID: "use", Title: "Send and look:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("run", newUpCommand(), newAPICommand(), newSinkCommand(), newMeterCommand())
	add("use", newEmitCommand(), newVerifyCommand(), newUsageCommand())
	root.AddCommand(newConfigCommand(), newVersionCommand())
	return root
}
