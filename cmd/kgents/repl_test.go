package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The shell starts also when nothing answers: what it knows by itself is there, and
// what is away is told, with exit code 1. A mistake in the flags is 2.
func TestReplCodes(t *testing.T) {
	alone(t)
	state := filepath.Join(t.TempDir(), "state")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("# moving is enough\nworld.nats\n..\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"-c", "world", "-c", "?"}, 0, "nats", ""},
		{[]string{"-c", "help"}, 0, "/observer", ""},
		{[]string{"--script", script}, 0, "", ""},
		{[]string{"-c", "world.nats.manifest"}, 1, "away", ""},
		{[]string{"-c", "nowhere.manifest"}, 1, "path not found", ""},
		{nil, 1, "away", ""}, // no terminal: a snapshot
		{[]string{"--observer", "root"}, 2, "", "--observer"},
		{[]string{"--output", "xml"}, 2, "", "--output"},
		{[]string{"--every", "1ms"}, 2, "", "--every"},
		{[]string{"--script", script + ".not"}, 2, "", "can't be read"},
		{[]string{"--script", script, "-c", "world"}, 2, "", "together"},
		{[]string{"--nonsense"}, 2, "", "--nonsense"},
		{[]string{"world"}, 2, "", "no arguments"},
		{[]string{"--ambient"}, 2, "", "terminal"},
		{[]string{"--prometheus", "not a url"}, 2, "", "--prometheus"},
	} {
		code, out, errs := kgents(t, append([]string{"repl", "--url", "http://127.0.0.1:1", "--state", state}, test.args...)...)
		if code != test.code || !strings.Contains(out, test.out) || !strings.Contains(errs, test.errs) {
			t.Errorf("%q: code %d, want %d; out %q; stderr %q", test.args, code, test.code, out, errs)
		}
	}
}

// With --output json a mistake is a document, too, with its place.
func TestReplJSON(t *testing.T) {
	alone(t)
	code, out, _ := kgents(t, "repl", "--url", "http://127.0.0.1:1", "--state", t.TempDir(), "--output", "json", "-c", "world.nats.manfest")
	var d struct {
		Input string
		Error struct {
			Kind     string
			Pos, End int
		}
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != 1 {
		t.Fatalf("code %d, %v: %s", code, err, out)
	}
	if d.Error.Kind != "path not found" || d.Input[d.Error.Pos:d.Error.End] != "manfest" {
		t.Errorf("%+v", d)
	}
}

// Words in a script have the live names in them known, though nobody has asked for names
// before: else "all dead letters of acme" would be all.
func TestFindKnowsNames(t *testing.T) {
	alone(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/customers" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"customers":[{"id":"zyxel-7","plan":"free","status":"active"}]}`)
	}))
	defer api.Close()
	code, out, errs := kgents(t, "repl", "--url", api.URL, "--state", t.TempDir(), "-c", "find drop all dead letters of zyxel-7")
	if code != 0 || !strings.Contains(out, "world.deadletter.refine[do=drop][customer=zyxel-7]") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
}
