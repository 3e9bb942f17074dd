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
		Example: `  kgents version          the same as kgents --version
  kgents version --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := telemetry.ReadBuild()
			switch output {
			case "json":
				return json.NewEncoder(cmd.OutOrStdout()).Encode(b)
			case "table":
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "kgents %s\n", versionText(b))
				return err
			}
			return fmt.Errorf("--output %q is no format: use table or json", output)
		},
	}
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
	return cmd
}

func versionText(b telemetry.Build) string {
	return fmt.Sprintf("%s (%.12s, %s)", b.Version, b.Revision, b.Go)
}
