package self_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/self"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
)

// field is a figure of a value; nil if it isn't there.
func field(v tree.Value, name string) any {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// run runs an expression on a tree of self alone, whose program is away.
func run(t *testing.T, from *living.Sources, s *tree.Session, text string) (tree.Value, error) {
	t.Helper()
	if from.API == nil {
		from.API = &client.Client{URL: "http://user:secret@127.0.0.1:1", HTTP: &http.Client{}}
	}
	tr, err := tree.New(self.Context(from))
	if err != nil {
		t.Fatal(err)
	}
	e, err := agentese.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return tr.Run(t.Context(), e, s)
}

// The program says which it is, and of what kind the key is; the key is never shown.
func TestStatus(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{})
	var made struct {
		Secret string `json:"key"`
	}
	if err := r.Client.Do(t.Context(), "POST", "/v1/customers", nil, map[string]any{"id": "acme", "name": "Acme"}, nil); err != nil {
		t.Fatal(err)
	}
	raw, err := r.Client.Bytes(t.Context(), "POST", "/v1/keys", nil, map[string]any{"customer": "acme", "name": "one", "scopes": []string{"read"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, key string
		kind      any
		customer  any
		version   bool
	}{
		{"an operator's", agentesetest.APIKey, "operator", "none: it may ask about everyone", true},
		{"a customer's", made.Secret, "customer", "acme", false},
		{"of another system", "kg_other_12345678", "not known there", nil, false},
		{"none", "", "none", nil, false},
	} {
		t.Run(name(test.name), func(t *testing.T) {
			api := *r.Client
			api.Key = test.key
			v, err := run(t, &living.Sources{API: &api}, r.Session, "self.status.manifest")
			if err != nil {
				t.Fatal(err)
			}
			if field(v, "key") != test.kind || field(v, "key's customer") != test.customer || (field(v, "version") != nil) != test.version {
				t.Errorf("it says %+v", v.Fields)
			}
			if field(v, "health") == nil || field(v, "observer") != "admin" {
				t.Errorf("health %v, observer %v", field(v, "health"), field(v, "observer"))
			}
			text, err := json.Marshal(v)
			if err != nil || test.key != "" && strings.Contains(string(text), test.key) {
				t.Errorf("the key is in it: %s, %v", text, err)
			}
		})
	}
}

func name(s string) string { return strings.ReplaceAll(s, " ", "_") }

// With the program away the rest is still told, and no password of the URL.
func TestStatusAway(t *testing.T) {
	v, err := run(t, &living.Sources{}, &tree.Session{Observer: tree.Explorer, Budget: tree.NewBudget()}, "self.manifest")
	if err != nil {
		t.Fatal(err)
	}
	if v.State != tree.Unknown || field(v, "observer") != "explorer" || field(v, "entropy left") != tree.SessionEntropy || field(v, "system") != "http://127.0.0.1:1" || len(v.Notes) == 0 {
		t.Errorf("it says %+v", v)
	}
	if text, _ := json.Marshal(v); strings.Contains(string(text), "secret") {
		t.Errorf("the password is in it: %s", text)
	}
}

func TestSession(t *testing.T) {
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	as := tree.Developer
	shell := &living.Shell{
		Began: noon.Add(-time.Hour),
		Place: func() []string { return []string{"world", "customers", "acme corp"} },
		Commands: func() []living.Command {
			return []living.Command{
				{At: noon.Add(-time.Minute), Line: "world.manifest", Outcome: living.Done, Took: time.Second},
				{At: noon, Line: "world.town.x.refine", Outcome: living.Failed, Error: "away", Took: 2 * time.Second},
				{At: noon, Line: "world.town.y.refine[do=step]", Outcome: living.Done, Took: time.Second, Changed: true},
			}
		},
		SetObserver: func(_ context.Context, o tree.Observer) error { as = o; return nil },
	}
	from := &living.Sources{Shell: shell}
	s := &tree.Session{Observer: tree.Developer, Yes: true, Clock: func() time.Time { return noon }}
	v, err := run(t, from, s, "self.session.manifest")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]any{}
	for _, f := range v.Fields {
		got[f.Name] = f.Value
	}
	want := map[string]any{
		"observer": "developer", "began": noon.Add(-time.Hour), "for": time.Hour, "place": `world.customers."acme corp"`,
		"commands": int64(3), "failed": int64(1), "declined": int64(0), "changes": int64(1), "notes": int64(0),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for clauses, rows := range map[string]int{"": 3, "[outcome=failed]": 1, "[changed]": 1, "[like=TOWN]": 2, "[outcome=stopped]": 0} {
		v, err := run(t, from, s, "self.session.witness"+clauses)
		if err != nil || len(v.Table.Rows) != rows {
			t.Errorf("witness%s has %+v, %v; want %d rows", clauses, v.Table, err, rows)
		}
	}
	if v, err := run(t, from, s, "self.session.refine[observer=admin]"); err != nil || as != tree.Admin || !v.Changed {
		t.Errorf("%+v, %v, and the session is %s", v, err, as)
	}
	// Without a shell there is no list, and nothing to go on.
	if v, err := run(t, &living.Sources{}, s, "self.session.witness"); err != nil || len(v.Table.Rows) != 0 || len(v.Notes) != 1 {
		t.Errorf("without a shell: %+v, %v", v, err)
	}
	if _, err := run(t, &living.Sources{}, s, "self.session.refine[observer=admin]"); kind(err) != agentese.KindAway {
		t.Errorf("without a shell: %v", err)
	}
}

func kind(err error) agentese.Kind {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Kind
	}
	return ""
}

// Notes are kept for the user alone, come back, and are forgotten when that is asked.
func TestMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := &tree.Session{Observer: tree.Explorer, Yes: true}
	do := func(text string) tree.Value {
		t.Helper()
		v, err := run(t, &living.Sources{StateDir: dir}, s, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	do("self.memory.refine[note=acme was told on Monday]@span=incident")
	do("self.memory.refine[note=\"ring\\u202e the bell\"]")
	do("self.budget.manifest >> self.memory.refine")
	v := do("self.memory.manifest")
	var notes []string
	for _, row := range v.Table.Rows {
		notes = append(notes, fmt.Sprint(row[0], " ", strings.SplitN(row[2].(string), "\n", 2)[0], " ", row[3]))
	}
	want := []string{"3 Entropy budget of this session ", "2 ring the bell ", "1 acme was told on Monday incident"}
	if d := cmp.Diff(want, notes); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	info, err := os.Stat(filepath.Join(dir, "notes.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	do("self.memory.refine[do=forget][id=2]")
	if v := do("self.memory.manifest[like=BELL]"); len(v.Table.Rows) != 0 {
		t.Errorf("it was not forgotten: %v", v.Table.Rows)
	}
	if v := do("self.memory.refine[note=one more][dry_run]"); v.Changed {
		t.Error("a dry run has changed something")
	}
	if v := do("self.memory.refine[note=the fourth]"); field(v, "id") != int64(4) {
		t.Errorf("the fourth note is number %v", field(v, "id"))
	}
}

func TestMemoryRefuses(t *testing.T) {
	for _, test := range []struct {
		name, expr string
		want       agentese.Kind
		says       string
	}{
		{"nothing", "self.memory.refine", agentese.KindClause, "nothing to remember"},
		{"a key of Stripe's", "self.memory.refine[note=it is sk_live_abcdefgh12345]", agentese.KindDeclined, "looks like a secret"},
		{"a key of ours", "self.memory.refine[note=kg_abc123_0123456789abcdef]", agentese.KindDeclined, "looks like a secret"},
		{"too long", "self.memory.refine[note=" + strings.Repeat("x", self.MaxNote+1) + "]", agentese.KindClause, "at most 2000 bytes"},
		{"two notes", "self.budget.manifest >> self.memory.refine[note=x]", agentese.KindClause, "which is it to be"},
		{"a number for a new one", "self.memory.refine[note=x][id=1]", agentese.KindClause, "is for [do=forget]"},
		{"forget which", "self.memory.refine[do=forget]", agentese.KindClause, "which note"},
		{"forget none", "self.memory.refine[do=forget][id=9]", agentese.KindNotFound, "no note 9"},
	} {
		t.Run(name(test.name), func(t *testing.T) {
			_, err := run(t, &living.Sources{StateDir: t.TempDir()}, &tree.Session{Observer: tree.Explorer, Yes: true}, test.expr)
			if kind(err) != test.want || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %s with %q", err, test.want, test.says)
			}
		})
	}
	// No more than MaxNotes, and a broken file is told of rather than written over.
	dir := t.TempDir()
	var full []self.Note
	for i := range self.MaxNotes {
		full = append(full, self.Note{ID: i + 1, Text: "x"})
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]agentese.Kind{string(text): agentese.KindDeclined, "{broken": agentese.KindAway} {
		file := filepath.Join(dir, "notes.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := run(t, &living.Sources{StateDir: dir}, &tree.Session{Observer: tree.Explorer, Yes: true}, "self.memory.refine[note=one more]")
		if kind(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if left, err := os.ReadFile(file); err != nil || string(left) != content {
			t.Errorf("the file has changed: %v", err)
		}
	}
}

// What an observer may do is what the tree lets it.
func TestCapabilities(t *testing.T) {
	s := &tree.Session{Observer: tree.Default}
	v, err := run(t, &living.Sources{}, s, "self.capabilities.manifest[like=self.session]")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]any{
		{"self.session", "manifest", "default", true}, {"self.session", "witness", "default", true}, {"self.session", "refine", "explorer", false},
	}
	var got [][]any
	for _, row := range v.Table.Rows {
		got = append(got, []any{row[0], row[1], row[3], row[4]})
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if field(v, "more as explorer") != int64(2) {
		t.Errorf("it says %+v", v.Fields)
	}
	v, err = run(t, &living.Sources{}, s, "self.capabilities.manifest[observer=explorer][aspect=refine][open]")
	if err != nil || len(v.Table.Rows) != 2 {
		t.Errorf("an explorer may refine %+v, %v", v.Table, err)
	}
}

func TestBudget(t *testing.T) {
	s := &tree.Session{Budget: tree.NewBudget()}
	s.Budget.Draw(tree.CallEntropy)
	v, err := run(t, &living.Sources{}, s, "self.budget.manifest")
	if err != nil || v.State != tree.Well || field(v, "spent") != 0.01 || field(v, "left") != 0.09 || field(v, "draws left") != int64(9) {
		t.Errorf("%+v, %v", v, err)
	}
	s.Budget.Tithe()
	if v, _ = run(t, &living.Sources{}, s, "self.budget.manifest"); v.State != tree.Warn || field(v, "given back") != 0.09 {
		t.Errorf("after the tithe: %+v", v)
	}
	if v, err = run(t, &living.Sources{}, &tree.Session{}, "self.budget.manifest"); err != nil || v.State != tree.Unknown {
		t.Errorf("without one: %+v, %v", v, err)
	}
}
