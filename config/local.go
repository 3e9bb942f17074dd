package config

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names of the files that `kgents up` keeps in its data directory, so that the
// other commands find it without being told.
const (
	fileURL           = "url"
	fileAPIKey        = "api-key"
	fileWebhookSecret = "stripe-webhook-secret"
)

// Local is what a `kgents up` on this machine left for the other commands.
// A field is empty when its file isn't there.
type Local struct {
	URL           string // base URL of the running or last run program
	APIKey        string
	WebhookSecret string
}

// DefaultDataDir is the per-user data directory: $XDG_DATA_HOME/kgents, else
// ~/.local/share/kgents.
func DefaultDataDir() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kgents"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no home directory to keep data in: name one with --data (%w)", err)
	}
	return filepath.Join(home, ".local", "share", "kgents"), nil
}

// ReadLocal reads what is there of dir's files. A directory that isn't there is
// no error.
func ReadLocal(dir string) (Local, error) {
	var l Local
	for name, dst := range map[string]*string{fileURL: &l.URL, fileAPIKey: &l.APIKey, fileWebhookSecret: &l.WebhookSecret} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Local{}, err
		}
		*dst = strings.TrimSpace(string(b))
	}
	return l, nil
}

// EnsureSecrets gives a configuration for `up` the secrets that it lacks, made
// at the first start and kept in dir with mode 0600. It returns those; a secret
// that the user has configured is neither returned nor written anywhere.
func (c *Config) EnsureSecrets(dir string) (Local, error) {
	var l Local
	for _, s := range []struct {
		file, prefix string
		list         *[]string
		local        *string
	}{
		{fileAPIKey, "kg_local_", &c.APIKeys, &l.APIKey},
		{fileWebhookSecret, "whsec_", &c.WebhookSecrets, &l.WebhookSecret},
	} {
		if len(*s.list) > 0 {
			continue
		}
		secret, err := readOrMake(filepath.Join(dir, s.file), s.prefix)
		if err != nil {
			return Local{}, fmt.Errorf("can't keep secrets in the data directory: %w", err)
		}
		*s.list, *s.local = []string{secret}, secret
	}
	return l, nil
}

// WriteURL leaves the base URL for the other commands.
func WriteURL(dir, url string) error { return writePrivate(filepath.Join(dir, fileURL), url) }

func readOrMake(path, prefix string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if s := strings.TrimSpace(string(b)); s != "" {
		return s, nil
	}
	raw := make([]byte, 24)
	rand.Read(raw) // never fails since Go 1.24
	secret := prefix + base64.RawURLEncoding.EncodeToString(raw)
	return secret, writePrivate(path, secret)
}

// writePrivate replaces path in one step, readable by its owner only.
func writePrivate(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, werr := f.WriteString(content + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
