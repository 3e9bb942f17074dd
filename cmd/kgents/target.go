package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/config"
)

// target is where a command sends to or asks, and with what key.
type target struct {
	url, keyFile, secretFile, data string

	URL, Key, Secret string // after resolve
	keyFrom          string
	config           config.Config // what the environment says
}

func (t *target) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.url, "url", "", "base URL; else $KGENTS_URL, else that of the last 'kgents up', else http://127.0.0.1:8000")
	cmd.Flags().StringVar(&t.keyFile, "key-file", "", "file with the API key; else $API_KEYS or $API_KEYS_FILE, else that of 'kgents up'")
	addDataFlag(cmd, &t.data)
}

func (t *target) addSecretFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.secretFile, "webhook-secret-file", "", "file with the webhook secret; else $STRIPE_WEBHOOK_SECRET or its _FILE, else that of 'kgents up'")
}

// resolve finds out what was not told, from the environment and from what a
// `kgents up` has left in its data directory.
func (t *target) resolve() error {
	local, err := config.ReadLocal(t.data)
	if err != nil {
		return err
	}
	dotenv, err := config.ReadDotEnv(".env")
	if err != nil {
		return err
	}
	flags := map[string]string{}
	for _, f := range []struct{ flag, path string }{{"--key-file", t.keyFile}, {"--webhook-secret-file", t.secretFile}} {
		if f.path == "" {
			continue
		}
		// Said by its own name, and not by that of the setting which it is for.
		if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: there is no such file; it takes the path of a file, not the secret", f.flag)
		}
	}
	if t.keyFile != "" {
		flags["api-keys-file"] = t.keyFile
	}
	if t.secretFile != "" {
		flags["stripe-webhook-secret-file"] = t.secretFile
	}
	c, settings, err := config.Load(config.RoleUp, config.Source{Flags: flags, Env: os.LookupEnv, DotEnv: dotenv})
	if err != nil {
		return err
	}
	t.config = c
	from := map[string]string{}
	for _, s := range settings {
		from[s.Name] = "the " + s.From + " (" + s.Name + ")"
	}
	env := os.Getenv("KGENTS_URL")
	t.URL = strings.TrimRight(cmp.Or(t.url, env, local.URL, "http://127.0.0.1:8000"), "/")
	urlFrom := "the data directory's"
	switch {
	case t.url != "":
		urlFrom = "--url"
	case env != "":
		urlFrom = "KGENTS_URL"
	}
	if err := checkURL(urlFrom, cmp.Or(t.url, env, t.URL)); err != nil {
		return err
	}
	pick := func(name string, configured []string, local string) (string, string) {
		if len(configured) > 0 {
			return configured[0], from[name]
		}
		return local, "the data directory " + t.data
	}
	t.Key, t.keyFrom = pick("API_KEYS", c.APIKeys, local.APIKey)
	t.Secret, _ = pick("STRIPE_WEBHOOK_SECRET", c.WebhookSecrets, local.WebhookSecret)
	return nil
}

// reach asks whether anything is there, so that a command can say so at once.
func (t *target) reach() error {
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(t.URL + "/livez")
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok {
			return fmt.Errorf("nothing answers at %s: start it with 'kgents up', or name another with --url", t.URL)
		}
		return fmt.Errorf("%s does not answer: %w", t.URL, err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("what answers at %s is not kgents: name another with --url", t.URL)
	}
	return nil
}

// needKey says what to do when there is no key, needSecret when no secret is
// there to sign with.
func (t *target) needKey() error {
	if t.Key == "" {
		return errors.New("no API key is known: set API_KEYS or API_KEYS_FILE, or name the key's file with --key-file or the data directory of 'kgents up' with --data")
	}
	return nil
}

func (t *target) needSecret() error {
	if t.Secret == "" {
		return errors.New("no webhook secret is known: set STRIPE_WEBHOOK_SECRET or STRIPE_WEBHOOK_SECRET_FILE, or name the secret's file with --webhook-secret-file or the data directory of 'kgents up' with --data")
	}
	return nil
}

func (t *target) keyRefused() error {
	return fmt.Errorf("%s does not know the API key from %s: set API_KEYS to one of its keys, or name a file with one with --key-file or its data directory with --data", t.URL, t.keyFrom)
}
