package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// The model of the towns helps with words where a flag says so; a key of the
// environment goes to no address but the environment's.
func TestReplModel(t *testing.T) {
	alone(t)
	var asked atomic.Int32
	var key atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		key.Store(r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, `{"choices":[{"message":{"role":"assistant","content":"2"},"finish_reason":"stop"}]}`)
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("sk-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const find = "find acme says that umbrella's euros for everything vanished"
	town := map[string]string{"TOWN_MODEL_URL": s.URL + "/v1", "TOWN_MODEL": "small", "TOWN_MODEL_KEY": "sk-town"}
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		code int
		key  string // that was sent
		said string
		errs string
	}{
		{name: "none is configured"},
		{name: "not asked for find", env: town},
		{name: "asked where the flag says so", env: town, args: []string{"--ask-model"}, key: "Bearer sk-town", said: "a model had its say"},
		{name: "none, whatever is configured", env: town, args: []string{"--no-model"}},
		{name: "another address has no key of the town's", env: town, args: []string{"--ask-model", "--model-url", s.URL + "/v1"}, said: "a model had its say"},
		{name: "by flags", args: []string{"--ask-model", "--model-url", s.URL + "/v1", "--model", "small", "--model-key-file", file}, key: "Bearer sk-file", said: "a model had its say"},
		{name: "away", args: []string{"--ask-model", "--model-url", "http://127.0.0.1:1", "--model", "small"}, said: "no model had its say"},
		{name: "no address", args: []string{"--model", "small"}, code: 2, errs: "address is missing"},
		{name: "no name", args: []string{"--model-url", s.URL}, code: 2, errs: "name is missing"},
		{name: "none to ask", args: []string{"--ask-model"}, code: 2, errs: "no model is known"},
		{name: "no key", args: []string{"--model-url", s.URL, "--model", "small", "--model-key-file", file + ".not"}, code: 2, errs: "can't be read"},
		{name: "no URL", args: []string{"--model-url", "nowhere", "--model", "small"}, code: 2, errs: "--model-url"},
		{name: "no API", args: []string{"--model-url", s.URL, "--model", "small", "--model-api", "other"}, code: 2, errs: "openai or anthropic"},
		{name: "both", env: town, args: []string{"--no-model", "--ask-model"}, code: 2, errs: "--no-model"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"TOWN_MODEL_URL", "TOWN_MODEL", "TOWN_MODEL_KEY"} {
				t.Setenv(name, test.env[name])
			}
			asked.Store(0)
			key.Store("")
			code, out, errs := kgents(t, append([]string{"repl", "--url", "http://127.0.0.1:1", "--state", t.TempDir(), "-c", find}, test.args...)...)
			if code != test.code || !strings.Contains(out, test.said) || !strings.Contains(errs, test.errs) || test.said == "" && strings.Contains(out, "model") {
				t.Errorf("code %d; out %q; stderr %q", code, out, errs)
			}
			if had := asked.Load() > 0; had != (test.said == "a model had its say") || key.Load() != test.key {
				t.Errorf("asked %d times with %q", asked.Load(), key.Load())
			}
			if strings.Contains(out+errs, "sk-") {
				t.Errorf("a key is shown: %q %q", out, errs)
			}
		})
	}
}
