package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/telemetry"
)

func newVersionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Example: `  kgents version
  kgents version --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := telemetry.ReadBuild()
			switch output {
			case "json":
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			case "table":
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "kgents %s (%.12s, %s)\n", b.Version, b.Revision, b.Go)
				return err
			}
			return fmt.Errorf("--output %q is no format: use table or json", output)
		},
	}
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	return cmd
}
