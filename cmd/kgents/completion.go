package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the completions of a shell",
		Long: `Print a script that lets a shell complete commands, flags and their values.
Load it at the start of each shell.`,
		Example: `  source <(kgents completion bash)          # in ~/.bashrc
  source <(kgents completion zsh)           # in ~/.zshrc, after compinit
  kgents completion fish | source           # in ~/.config/fish/config.fish
  kgents completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: shells,
		Args:      cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			return fmt.Errorf("there are no completions for %q: use bash, zsh, fish or powershell", args[0])
		},
	}
}
