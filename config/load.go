package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/joho/godotenv"
)

// maxSecretFile bounds a file that a _FILE variable names, in bytes.
const maxSecretFile = 64 << 10

// Source is where Load looks, in order. Each may be nil.
type Source struct {
	Flags  map[string]string           // values of flags that the user set, by flag name
	Env    func(string) (string, bool) // os.LookupEnv
	DotEnv map[string]string           // from ReadDotEnv
}

// Setting is the outcome for one variable, for a summary. Value is empty for a
// secret.
type Setting struct {
	Variable
	Value string
	IsSet bool   // a secret that has a value
	From  string // "flag", "environment", "file", ".env", "default" or "data directory"
}

// Load reads every variable. The error is an *Error with every mistake in it.
// Loading does not check what a role needs: Validate does.
func Load(role Role, src Source) (Config, []Setting, error) {
	var (
		c        Config
		settings []Setting
		p        problems
	)
	for _, v := range Variables() {
		value, from, err := src.lookup(role, v)
		if err != nil {
			p.add("%s", err)
			continue
		}
		if err := v.set(&c, value); err != nil {
			if v.Secret {
				p.add("%s (%s) %s", v.Name, from, err)
			} else {
				p.add("%s=%q (%s) %s", v.Name, redact(value), from, err)
			}
			continue
		}
		s := Setting{Variable: v, From: from, IsSet: v.get(c) != ""}
		if !v.Secret {
			s.Value = v.get(c)
		}
		settings = append(settings, s)
	}
	return c, settings, p.err()
}

func (src Source) lookup(role Role, v Variable) (value, from string, err error) {
	if value, ok := src.Flags[v.Flag()]; ok {
		return value, "flag", nil
	}
	if path, ok := src.Flags[v.Flag()+"-file"]; ok && v.Secret {
		value, err := readSecret("--"+v.Flag()+"-file", path)
		return value, "file", err
	}
	envs := []struct {
		from string
		get  func(string) (string, bool)
	}{
		{"environment", src.Env},
		{".env", func(k string) (string, bool) { s, ok := src.DotEnv[k]; return s, ok }},
	}
	for _, env := range envs {
		if env.get == nil {
			continue
		}
		value, ok := env.get(v.Name)
		path, hasFile := "", false
		if v.Secret {
			path, hasFile = env.get(v.Name + "_FILE")
			hasFile = hasFile && path != ""
		}
		switch {
		case ok && value != "" && hasFile:
			return "", "", fmt.Errorf("%s and %s_FILE are both set: keep one", v.Name, v.Name)
		case hasFile:
			value, err := readSecret(v.Name+"_FILE", path)
			return value, "file", err
		case ok && value != "": // set but empty means unset, as in most shells' habits
			return value, env.from, nil
		}
	}
	return v.Default(role), "default", nil
}

// readSecret reads a secret's file; a list may stand on several lines.
func readSecret(name, path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecretFile {
		return "", fmt.Errorf("%s: %s is no file of at most %d bytes", name, path, maxSecretFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ","), nil
}

// ReadDotEnv reads a .env file. A file that isn't there is an empty map; the
// error for a broken one does not quote it, since it may hold secrets.
func ReadDotEnv(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := godotenv.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s can't be read as NAME=value lines: mend or remove it", path)
	}
	return m, nil
}
