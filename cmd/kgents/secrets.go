package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
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
		Use:   "list",
		Short: "List the secrets with their age and what is due, without values",
		Long: `List each secret with its age, how long one may be used, and what is to be done:
rotate it, or end a rotation. An age is known from the day on that this program made
or rotated the secret: a value that was put into a file by hand is younger.`,
		Example: `  kgents secrets list
  kgents secrets list --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %q is no format: use table or json", output)
			}
			now := time.Now()
			all, err := secrets.List(dir, now)
			if err != nil {
				return err
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(all)
			}
			printSecrets(cmd.OutOrStdout(), all, now)
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
	rows, wrong := make([][]string, 0, len(all)), 0
	for _, s := range all {
		rows = append(rows, []string{s.Name, s.What, ageOf(s, now), strconv.Itoa(s.PeriodDays) + " days", secretState(style, s, now)})
		if s.Problem != "" {
			wrong++
		}
	}
	term.Table(w, style, []term.Column{
		{Title: "SECRET"}, {Title: "WHAT IT DOES"}, {Title: "AGE", Right: true}, {Title: "PERIOD", Right: true}, {Title: ""},
	}, rows)
	if wrong > 0 {
		fmt.Fprintf(w, "\n%d of %d need something done. How to rotate one without loss: docs/saas/secrets.md\n", wrong, len(all))
	}
}

func ageOf(s secrets.Secret, now time.Time) string {
	if s.Changed.IsZero() {
		return "not known"
	}
	return days(now.Sub(s.Changed))
}

// dueSoon is from when on a secret's day is shown.
const dueSoon = 14 * 24 * time.Hour

// secretState says what is to be done, and what else there is to know.
func secretState(style term.Style, s secrets.Secret, now time.Time) string {
	var parts []string
	switch {
	case s.Problem != "":
		parts = append(parts, style.Bad(s.Problem))
	case s.Due.Sub(now) < dueSoon:
		parts = append(parts, style.Strong("to be rotated until "+s.Due.Format(time.DateOnly)))
	}
	if s.Rotating != nil {
		parts = append(parts, "being rotated for "+days(now.Sub(*s.Rotating))+": the one before is accepted too")
	}
	if s.Expires != nil {
		if s.Expires.Before(now) {
			parts = append(parts, style.Bad("expired: rotate it"))
		} else {
			parts = append(parts, "expires in "+days(s.Expires.Sub(now)))
		}
	}
	return strings.Join(parts, "; ")
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
