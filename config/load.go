package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	value, ok := src.Flags[v.Flag()]
	path, hasFile := src.Flags[v.Flag()+"-file"]
	switch hasFile = hasFile && v.Secret; {
	case ok && hasFile:
		return "", "", fmt.Errorf("--%s and --%s-file are both set: keep one", v.Flag(), v.Flag())
	case ok:
		return value, "flag", nil
	case hasFile:
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

// readSecret reads a secret's file; a list may stand on several lines. The error
// shows the path only if it is absolute: else it may be the secret itself, given
// where its file should be.
func readSecret(name, path string) (string, error) {
	b, err := readSmall(path)
	if err == nil {
		return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ","), nil
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err // without the path
	}
	if filepath.IsAbs(path) {
		return "", fmt.Errorf("%s=%q: %w", name, path, err)
	}
	return "", fmt.Errorf("%s: %w; it takes the path of a file, not the secret", name, err)
}

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecretFile {
		return nil, fmt.Errorf("no file of at most %d bytes", maxSecretFile)
	}
	return os.ReadFile(path)
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
	if _, nameless := m[""]; err != nil || nameless { // a last line without = parses as a value without a name
		return nil, fmt.Errorf("%s can't be read as NAME=value lines: mend or remove it", path)
	}
	return m, nil
}
