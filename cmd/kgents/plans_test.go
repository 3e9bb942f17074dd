package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/plan"
)

// write makes a file of a test.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPlans(t *testing.T) {
	embedded, err := os.ReadFile("../../plan/plans.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	printPlans(&table, plan.Default())
	golden(t, "plans", table.Bytes())
	alone(t)
	good := write(t, "good.yaml", strings.Replace(string(embedded), "tokens: 10_000", "tokens: 77_000", 1))
	bad := write(t, "bad.yaml", strings.NewReplacer("currency: usd", "currency: USD", "citizens: 3", "citizens: -3").Replace(string(embedded)))
	unmetered := write(t, "unmetered.yaml", strings.Replace(string(embedded), "meter: api_requests", "meter: api_calls", 1))
	meters := write(t, "meters.yaml", "meters:\n  - { slug: agent_tokens, eventType: t, aggregation: SUM, valueProperty: $.tokens }\n")

	for _, test := range []struct {
		args  []string
		plans string // PLANS_FILE
		code  int
		out   []string
		err   []string
	}{
		{[]string{"plans"}, "", 0, []string{table.String()}, nil},
		{[]string{"plans"}, good, 0, []string{"77,000 a month"}, nil},
		{[]string{"plans", "--file", good}, bad, 0, []string{"77,000 a month"}, nil},
		{[]string{"plans"}, bad, 1, nil, []string{"bad.yaml: 2 mistakes:\n  line 8: currency", "\n  line 38: citizens \"-3\" is too small"}},
		{[]string{"plans", "--file", bad}, "", 1, nil, []string{"line 38"}},
		{[]string{"plans", "--validate", good}, bad, 0, []string{"good.yaml is valid: 3 plans, 6 features."}, nil},
		{[]string{"plans", "--validate", bad}, "", 1, nil, []string{"kgents: ", "bad.yaml: 2 mistakes:", "line 8", "line 38"}},
		{[]string{"plans", "--validate", bad, "--output", "json"}, "", 1, nil, []string{"line 8"}},
		{[]string{"plans", "--validate", unmetered}, "", 0, []string{"is valid"}, nil},
		{[]string{"plans", "--validate", unmetered, "--meters-file", "default"}, "", 1, nil, []string{"line 19: feature calls: there is no meter api_calls: use agent_tokens, api_requests"}},
		{[]string{"plans", "--validate", good, "--meters-file", "default"}, "", 0, []string{"is valid"}, nil},
		{[]string{"plans", "--validate", good, "--meters-file", meters}, "", 1, nil, []string{"2 mistakes", "there is no meter town_interactions: use agent_tokens"}},
		{[]string{"plans", "--validate", good, "--meters-file", good}, "", 1, nil, []string{"good.yaml: ", "unknown field"}},
		{[]string{"plans", "--validate", ""}, "", 1, nil, []string{"no such file"}},
		{[]string{"plans", "--validate", "nothing.yaml"}, "", 1, nil, []string{"nothing.yaml: no such file"}},
		{[]string{"plans", "--validate", t.TempDir()}, "", 1, nil, []string{"is a directory: name the file in it"}},
		{[]string{"plans", "--validate", good, "--file", good}, "", 1, nil, []string{"file", "validate"}},
		{[]string{"plans", "--output", "csv"}, "", 1, nil, []string{`--output "csv" is no format: use table, json or yaml`}},
		{[]string{"plans", "pro"}, "", 1, nil, []string{"takes no arguments"}},
	} {
		t.Setenv("PLANS_FILE", test.plans)
		code, out, stderr := kgents(t, test.args...)
		if code != test.code || len(test.err) == 0 && stderr != "" || len(test.out) == 0 && out != "" {
			t.Errorf("%q: code %d, want %d\n%s\n%s", test.args, code, test.code, out, stderr)
		}
		for _, part := range test.out {
			if !strings.Contains(out, part) {
				t.Errorf("%q says\n%s\nwant %q", test.args, out, part)
			}
		}
		for _, part := range test.err {
			if !strings.Contains(stderr, part) {
				t.Errorf("%q complains\n%s\nwant %q", test.args, stderr, part)
			}
		}
	}

	// kgents config looks at the file too; who runs the meter finds its meters missing.
	t.Setenv("NATS_SERVERS", "nats://n:4222")
	t.Setenv("OPENMETER_BASE_URL", "http://m")
	t.Setenv("API_KEYS", "k")
	for file, wants := range map[string]map[string]string{
		good: {"up": "", "api": "", "sink": "", "meter": ""}, bad: {"up": "line 38", "api": "line 38", "sink": "line 38", "meter": ""},
	} {
		for role, want := range wants {
			t.Setenv("PLANS_FILE", file)
			code, _, stderr := kgents(t, "config", "--role", role, "--validate")
			if (code == 0) != (want == "") || !strings.Contains(stderr, want) {
				t.Errorf("config --validate of %s with %s: %d %s", role, file, code, stderr)
			}
		}
	}
	t.Setenv("OPENMETER_BASE_URL", "")
	t.Setenv("PLANS_FILE", unmetered)
	if code, _, stderr := kgents(t, "config", "--validate"); code != 1 || !strings.Contains(stderr, "PLANS_FILE: ") || !strings.Contains(stderr, "line 19: feature calls") {
		t.Errorf("config --validate with a meter that is missing: %d %s", code, stderr)
	}

	t.Setenv("PLANS_FILE", "")
	if _, out, _ := kgents(t, "plans", "--output", "yaml"); out != string(embedded) {
		t.Error("--output yaml is not the file that comes with the program")
	}
	_, out, _ := kgents(t, "plans", "--output", "json")
	var got, want plan.View
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(plan.ViewOf(plan.Default()))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b root.Limit) bool { return a == b })); diff != "" {
		t.Errorf("JSON, -want +got:\n%s", diff)
	}
}

// The other ways that a plan may be.
func TestPrintOtherPlans(t *testing.T) {
	c, err := plan.Load([]byte(`currency: jpy
default: none_yet
trial: none
grace: none
features:
  - { id: a, name: Alpha, unit: a, meter: a }
  - { id: b, name: 日本, unit: b }
plans:
  - { id: none_yet, name: None yet, rate: unlimited, limits: {} }
  - id: yearly
    name: Yearly
    prices: [{ interval: year, amount: 49000, lookup_key: y }]
    rate: unlimited
    limits: { a: { limit: 0, per: day, over: bill, overage: { amount: 5, per: 1 } }, b: unlimited }
`))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	printPlans(&out, c)
	golden(t, "plans-other", out.Bytes())
}
