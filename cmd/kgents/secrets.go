package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/secrets"
	"github.com/kgents/kgents/term"
)

// stagingSecrets is where the staging overlay looks for its secrets.
const stagingSecrets = "infra/k8s/overlays/staging/secrets"

// maxBrought bounds a secret that is read from a file or standard input.
const maxBrought = 4 << 10

func newSecretsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets",
		Short: "Make and rotate the secrets of a deployment",
		Long: `Make and rotate the files from which Kustomize makes the Secrets of the staging
deployment. No command shows a value.`,
		Example: `  kgents secrets init
  kgents secrets list
  kgents secrets rotate redis`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSecretsInitCommand(), newSecretsListCommand(), newSecretsRotateCommand())
	return cmd
}

func addSecretsDir(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", stagingSecrets, "directory of the files")
	_ = cmd.MarkFlagDirname("dir")
}

func newSecretsInitCommand() *cobra.Command {
	var dir, namespace string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the secrets that are missing",
		Long: `Make keys, passwords, a CA and a certificate. What is there already stays as it
is, so it is safe to run again. The files are readable by you only, and git ignores
them.`,
		Example: `  kgents secrets init
  kgents secrets init --dir ./secrets --namespace billing`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			made, err := secrets.Init(dir, namespace)
			w := cmd.OutOrStdout()
			for _, name := range made {
				fmt.Fprintf(w, "made %s\n", name)
			}
			if err != nil {
				return err
			}
			if len(made) == 0 {
				fmt.Fprintf(w, "all secrets are in %s already\n", dir)
				return nil
			}
			fmt.Fprintf(w, "\n%d files in %s. Keep them: the next deployment needs the same.\nYour Stripe endpoint's signing secret belongs into api.env.\n", len(made), dir)
			return nil
		},
	}
	addSecretsDir(cmd, &dir)
	cmd.Flags().StringVar(&namespace, "namespace", "kgents-staging", "namespace that the NATS servers' certificate is for")
	return cmd
}

func newSecretsListCommand() *cobra.Command {
	var dir, output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the secrets with their age, without values",
		Example: `  kgents secrets list --output json`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q is no format: use table or json", output)
			}
			all, err := secrets.List(dir)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(all)
			}
			printSecrets(cmd.OutOrStdout(), all, time.Now())
			return nil
		},
	}
	addSecretsDir(cmd, &dir)
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	words(cmd, "output", "table", "json")
	return cmd
}

func printSecrets(w io.Writer, all []secrets.Secret, now time.Time) {
	style := term.StyleFor(w)
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		state := ""
		if s.Rotating != nil {
			state = "being rotated for " + days(now.Sub(*s.Rotating)) + ": the one before is accepted too"
		}
		if s.Expires != nil {
			state = strings.TrimPrefix(state+"; ", "; ") + "expires in " + days(s.Expires.Sub(now))
			if s.Expires.Before(now) {
				state = style.Bad("expired: rotate it")
			}
		}
		rows = append(rows, []string{s.Name, s.What, days(now.Sub(s.Changed)), state})
	}
	term.Table(w, style, []term.Column{{Title: "SECRET"}, {Title: "WHAT IT DOES"}, {Title: "AGE", Right: true}, {Title: ""}}, rows)
}

// days is an age for people who look at periods of months.
func days(d time.Duration) string {
	switch n := int(d.Hours() / 24); n {
	case 0:
		return "today"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}

func newSecretsRotateCommand() *cobra.Command {
	var (
		dir, from string
		finish    bool
	)
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Replace a secret, in two steps so that nothing is refused",
		Long: `Replace a secret. The new one is made, and the one before stays accepted: deploy,
and let everybody change over. Then --finish takes the one before away: deploy again.

Names: ` + strings.Join(secrets.Names(), ", ") + `.
The webhook secret is made by Stripe: give it with --from-file, or - for standard
input.`,
		Example: `  kgents secrets rotate redis
  kgents secrets rotate redis --finish
  kgents secrets rotate webhook-secret --from-file new-secret`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("name one secret: %s", strings.Join(secrets.Names(), ", "))
			}
			return nil
		},
		ValidArgs: secrets.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, w := args[0], cmd.OutOrStdout()
			brought, err := secrets.Brought(name)
			if err != nil {
				return err
			}
			switch {
			case from != "" && (finish || !brought):
				return errors.New("--from-file goes with the beginning of the rotation of webhook-secret only: leave it out")
			case finish:
				if err := secrets.Finish(dir, name); err != nil {
					return err
				}
				fmt.Fprintf(w, "%s: the one before is taken away. Deploy to make it so.\n", name)
				return nil
			}
			value, err := readBrought(cmd.InOrStdin(), from)
			if err != nil {
				return err
			}
			if err := secrets.Rotate(dir, name, value); err != nil {
				return err
			}
			fmt.Fprintf(w, `%s: there is a new one, and the one before is accepted too.
Now deploy, let everybody change over, and end it:
  kgents secrets rotate %s --finish
`, name, name)
			return nil
		},
	}
	addSecretsDir(cmd, &dir)
	cmd.Flags().StringVar(&from, "from-file", "", "file with the new secret, - for standard input")
	cmd.Flags().BoolVar(&finish, "finish", false, "take the one before away")
	return cmd
}

// readBrought reads a secret that somebody else has made; empty without a file.
func readBrought(stdin io.Reader, from string) (string, error) {
	in := stdin
	switch from {
	case "":
		return "", nil
	case "-":
	default:
		f, err := os.Open(from)
		if err != nil {
			return "", fmt.Errorf("--from-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxBrought+1))
	if err == nil && len(b) > maxBrought {
		err = fmt.Errorf("more than %d bytes are no secret", maxBrought)
	}
	if err != nil {
		return "", fmt.Errorf("--from-file: %w", err)
	}
	return string(b), nil
}
