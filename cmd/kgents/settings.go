package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kgents/kgents/config"
)

// settings are the flags that stand for environment variables, and --data.
type settings struct {
	flags *pflag.FlagSet
	data  string
}

// addSettings gives cmd a flag for every variable, hidden behind --help's last
// part so that the command's own flags come first.
func addSettings(cmd *cobra.Command, role config.Role) *settings {
	s := &settings{flags: pflag.NewFlagSet("settings", pflag.ContinueOnError)}
	for _, v := range config.Variables() {
		s.flags.String(v.Flag(), v.Default(role), v.Help+" ($"+v.Name+")")
		if v.Secret {
			s.flags.String(v.Flag()+"-file", "", "file to read it from ($"+v.Name+"_FILE)")
		}
	}
	cmd.Flags().AddFlagSet(s.flags)
	words(cmd, "log-level", "debug", "info", "warn", "error")
	words(cmd, "log-format", "text", "json")
	if role == config.RoleUp || role == config.RoleMeter {
		addDataFlag(cmd, &s.data)
	}
	return s
}

func addDataFlag(cmd *cobra.Command, data *string) {
	dir, _ := config.DefaultDataDir() // without a home, load says so when it matters
	*data = dir
	cmd.Flags().Var((*directory)(data), "data", "directory that holds all data")
	_ = cmd.MarkFlagDirname("data")
}

// load reads the settings for role, without checking what the role needs.
func (s *settings) load(cmd *cobra.Command, role config.Role) (config.Config, []config.Setting, error) {
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return config.Config{}, nil, err
	}
	set := map[string]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if s.flags.Lookup(f.Name) != nil {
			set[f.Name] = f.Value.String()
		}
	})
	c, all, err := config.Load(role, config.Source{Flags: set, Env: os.LookupEnv, DotEnv: dotenv})
	if err != nil {
		return c, all, err
	}
	c.DataDir = s.data
	if c.DataDir == "" && (role == config.RoleUp || role == config.RoleMeter) {
		if c.DataDir, err = config.DefaultDataDir(); err != nil {
			return c, all, err
		}
	}
	return c, all, nil
}
