package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/meter"
)

func newConfigCommand() *cobra.Command {
	var (
		role, output string
		validate     bool
	)
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the effective configuration, secrets only as set or not",
		Long: `Show every setting, its value and where that comes from: a flag, the
environment, a file, .env, the data directory or the default. A secret is shown as
set or not set.

With --validate nothing is shown but what is wrong, and the exit code is 1 if
anything is: run it before a roll-out.`,
		Example: `  kgents config
  kgents config --role api --validate
  kgents config --output json`,
		Args: noArgs,
	}
	s := addSettings(cmd, config.RoleUp)
	cmd.Flags().StringVar(&role, "role", "up", "whose defaults and needs: up, api, sink or meter")
	cmd.Flags().BoolVar(&validate, "validate", false, "check and say only what is wrong")
	cmd.Flags().StringVar(&output, "output", "table", "table or json")
	words(cmd, "role", "up", "api", "sink", "meter")
	words(cmd, "output", "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r := config.Role(role)
		switch r {
		case config.RoleUp, config.RoleAPI, config.RoleSink, config.RoleMeter:
		default:
			return fmt.Errorf("--role %q is no role: use up, api, sink or meter", role)
		}
		if output != "table" && output != "json" {
			return fmt.Errorf("--output %q is no format: use table or json", output)
		}
		c, all, err := s.load(cmd, r)
		if err != nil {
			return err
		}
		if validate {
			if err := c.Validate(r); err != nil {
				return err
			}
			var meters []meter.Meter // those that plans must find; another meter's aren't known here
			if r == config.RoleMeter || r == config.RoleUp && c.EmbeddedMeter() {
				if meters, err = app.ReadMeters(c.MetersFile); err != nil {
					return err
				}
			}
			if r != config.RoleMeter && c.PlansFile != "" {
				if _, _, err := readPlans(c.PlansFile, meters); err != nil {
					return fmt.Errorf("PLANS_FILE: %w", err)
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The configuration for 'kgents %s' is valid.\n", r)
			return nil
		}
		if r == config.RoleUp || r == config.RoleMeter {
			from := "default"
			if cmd.Flags().Changed("data") {
				from = "flag"
			}
			all = append(all, config.Setting{Variable: config.Variable{Name: "--data"}, Value: c.DataDir, From: from})
		}
		if r == config.RoleUp {
			if err := addKept(all, c.DataDir); err != nil {
				return err
			}
		}
		return printConfig(cmd.OutOrStdout(), output, all)
	}
	return cmd
}

// addKept says of the secrets that 'kgents up' takes from its data directory, for
// lack of configured ones, that they are set.
func addKept(all []config.Setting, dir string) error {
	local, err := config.ReadLocal(dir)
	if err != nil {
		return err
	}
	kept := map[string]string{"API_KEYS": local.APIKey, "STRIPE_WEBHOOK_SECRET": local.WebhookSecret}
	for i, s := range all {
		if !s.IsSet && kept[s.Name] != "" {
			all[i].IsSet, all[i].From = true, "data directory"
		}
	}
	return nil
}

func printConfig(w io.Writer, output string, all []config.Setting) error {
	type row struct {
		Name   string `json:"name"`
		Value  string `json:"value"`
		Secret bool   `json:"secret,omitempty"`
		From   string `json:"from"`
	}
	rows := make([]row, 0, len(all))
	name, value := len("SETTING"), len("VALUE")
	for _, s := range all {
		r := row{s.Name, s.Value, s.Secret, s.From}
		if s.Secret {
			r.Value = "not set"
			if s.IsSet {
				r.Value = "set"
			}
		}
		rows = append(rows, r)
		name, value = max(name, len(r.Name)), max(value, len(r.Value))
	}
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	fmt.Fprintf(w, "%-*s  %-*s  %s\n", name, "SETTING", value, "VALUE", "FROM")
	for _, r := range rows {
		fmt.Fprintf(w, "%-*s  %-*s  %s\n", name, r.Name, value, r.Value, r.From)
	}
	return nil
}
