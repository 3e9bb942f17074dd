package main

import (
	"encoding/json"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/town/host"
)

// A town from the command line, against the real program.
func TestTownCommands(t *testing.T) {
	alone(t)
	c, _, err := config.Load(config.RoleUp, config.Source{Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir, c.APIPort, c.FlushInterval = t.TempDir(), 0, 10*time.Millisecond
	up, err := app.Start(t.Context(), config.RoleUp, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Stop)
	run := func(args ...string) (int, string, string) {
		return kgents(t, append(args, "--data", c.DataDir)...)
	}
	good := func(args ...string) string {
		t.Helper()
		code, out, errs := run(args...)
		if code != 0 || errs != "" {
			t.Fatalf("%v: exit code %d, %s", args, code, errs)
		}
		return out
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		code, _, errs := run("customer", "create", "acme", "--name", "Acme")
		if code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no customer can be made: %s", errs)
		}
		<-time.After(20 * time.Millisecond)
	}
	if out := good("town", "list", "--customer", "acme"); out != "There is no town yet. Found one: kgents town new\n" {
		t.Errorf("without a town the list is %q", out)
	}
	code, out, errs := run("town", "watch", "--customer", "acme")
	wantLine(t, code, out, errs, "no town yet", "kgents town new")

	var made host.Town
	if err := json.Unmarshal([]byte(good("town", "new", "--customer", "acme", "--name", "Mill brook", "--seed", "42", "--output", "json")), &made); err != nil {
		t.Fatal(err)
	}
	if made.Citizens != 3 || made.Seed != "42" || made.Name != "Mill brook" {
		t.Errorf("founded %+v", made)
	}
	code, out, errs = run("town", "new", "--customer", "acme")
	wantLine(t, code, out, errs, "towns", "Larger plans: Pro")
	code, out, errs = run("town", "new", "--customer", "acme", "--citizens", "4")
	wantLine(t, code, out, errs, "citizens")

	for _, name := range []string{"mill BROOK", made.ID} {
		if out := good("town", "step", name, "--cycles", "3", "--customer", "acme"); !strings.Contains(out, "3 phases, ") {
			t.Errorf("a step of 3 says %q", out)
		}
	}
	good("town", "step", "--customer", "acme", "--cycles", "80") // the only one
	for _, test := range []struct{ args, want string }{
		{"show", `(?s)in the inn.*limit +tokens: the plan free allows`},
		{"show --citizen Alice --lod 5", `(?s)innkeeper.*thinks of Bob.*opaque`},
		{"citizens", `(?s)CITIZEN.*Alice.*Bob.*Clara`},
		{"usage", `(?s)interactions.*refused by the plan.*PLAN FREE.*tokens .*10,000`},
		{"watch", `(?s)Mill brook  3 citizens.*tokens █.*cost   0.00 USD`},
		{"watch --output json", `"plan": "free"`},
		{"list", `at its limit`},
	} {
		args := append(append([]string{"town"}, strings.Fields(test.args)...), "--customer", "acme")
		if out := good(args...); !regexp.MustCompile(test.want).MatchString(out) {
			t.Errorf("%s says\n%s", test.args, out)
		}
	}
	code, out, errs = run("town", "show", "nowhere", "--customer", "acme")
	wantLine(t, code, out, errs, `no town "nowhere"`, made.ID)
	if out := good("town", "list"); !strings.Contains(out, "Mill brook") { // of all customers, for an operator
		t.Errorf("all customers' towns are\n%s", out)
	}
	code, out, errs = run("town", "new")
	wantLine(t, code, out, errs, "name the customer")
	code, out, errs = run("town", "step", "--cycles", "0", "--customer", "acme")
	wantLine(t, code, out, errs, "--cycles", "1 to 100")
	code, out, errs = run("town", "show", "a", "b", "--customer", "acme")
	wantLine(t, code, out, errs, "one town")
	code, out, errs = run("town", "delete", "--customer", "acme")
	wantLine(t, code, out, errs, "--yes")
	if out := good("town", "delete", "--yes", "--customer", "acme"); !strings.Contains(out, "stays counted") {
		t.Errorf("a deletion says %q", out)
	}
}
