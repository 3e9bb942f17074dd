package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/checklist/checks"
	"github.com/kgents/kgents/config"
)

func TestPrintChecklist(t *testing.T) {
	item := func(id, category string, blocking bool) checklist.Item {
		return checklist.Item{ID: id, Category: category, Title: "It holds", Blocking: blocking, Automatic: true}
	}
	long := strings.Repeat("a pod that is not ready; ", 8)
	var b bytes.Buffer
	printChecklist(&b, checklist.Report{
		Target: checklist.Local, Took: 2 * time.Second, Left: 3,
		Counts: map[string]int{"pass": 1, "fail": 1, "unknown": 2, "open": 1},
		Results: []checklist.Result{
			{Item: item("nats-sync", "durability", true), Finding: checklist.Passed("all 3 servers")},
			{Item: item("redis-noeviction", "durability", true), Finding: checklist.Failed(long, "look\x1b[2J at "+long)},
			{Item: item("backup-fresh", "disaster-recovery", false), Finding: checklist.CannotTell("not set", "set BACKUP_URL")},
			{Item: item("backup-restorable", "disaster-recovery", true), Finding: checklist.CannotTell("not set", "set BACKUP_URL")},
			{Item: item("on-call", "release", true), Finding: checklist.Finding{Verdict: checklist.Open, Evidence: "nobody has signed for it", Next: "sign"}},
		},
	})
	out := b.String()
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 130 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
	for _, part := range []string{
		"DURABILITY\n", "✓ pass", "✗ fail", "redis-noeviction *", "? cannot tell", "backup-restorable *", "○ open", "on-call *",
		"→ set BACKUP_URL\n", "→ as above\n", "✗  3 block the launch (*): 1 pass, 1 fail, 2 cannot tell, 1 open, in 2.00s\n",
		"3 items are left out: they are for --target kubernetes", "kgents checklist sign",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("lacks %q:\n%s", part, out)
		}
	}
	if strings.Contains(out, "backup-fresh *") || strings.Contains(out, "\x1b") {
		t.Errorf("what doesn't block is marked, or a control character came through:\n%s", out)
	}
}

// Each automatic item has a check, and each check an item.
func TestEveryItemHasACheck(t *testing.T) {
	l, err := checklist.Default()
	if err != nil {
		t.Fatal(err)
	}
	all := checks.All(&checks.System{})
	for _, i := range l.Items() {
		if _, ok := all[i.ID]; ok != i.Automatic {
			t.Errorf("%s: automatic is %t, and there is a check: %t", i.ID, i.Automatic, ok)
		}
		delete(all, i.ID)
	}
	for id := range all {
		t.Errorf("the check %s has no item", id)
	}
}

func TestChecklistList(t *testing.T) {
	alone(t)
	code, out, stderr := kgents(t, "checklist", "list")
	if code != 0 || stderr != "" || !strings.Contains(out, "nats-sync") || !strings.HasPrefix(out, "CATEGORY") {
		t.Errorf("code %d, %s%.200s", code, stderr, out)
	}
	code, out, _ = kgents(t, "checklist", "list", "--output", "json")
	var l checklist.List
	if err := json.Unmarshal([]byte(out), &l); err != nil || code != 0 || len(l.Items()) < 60 {
		t.Errorf("code %d, %v, %d items", code, err, len(l.Items()))
	}
}

func TestChecklistSign(t *testing.T) {
	alone(t)
	code, out, stderr := kgents(t, "checklist", "sign", "on-call", "--by", "Ada", "--evidence", "rota, page 3", "--until", "2099-01-01", "--sign-offs", "s.yaml")
	if code != 0 || stderr != "" || !strings.Contains(out, "commit the file") {
		t.Fatalf("code %d, %s%s", code, stderr, out)
	}
	if b, _ := os.ReadFile("s.yaml"); !strings.Contains(string(b), "by: Ada") {
		t.Errorf("the file has %s", b)
	}
	for line, part := range map[string]string{
		"checklist sign": "takes one item",
		"checklist sign moon --by A --evidence e":                                   "no item",
		"checklist sign nats-sync --by A --evidence e":                              "nobody signs",
		"checklist sign on-call --evidence e":                                       "--by",
		"checklist sign on-call --by A":                                             "--evidence",
		"checklist sign on-call --by A --evidence e --until soon":                   "is no day",
		"checklist sign on-call --by A --evidence e --sign-offs none/s.yaml":        "--sign-offs",
		"checklist sign on-call --by A --evidence e --sign-offs s.yaml --until 1.1": "is no day",
		"checklist --output xml":                                                    "--output takes",
		"checklist --only all":                                                      "--only takes",
		"checklist --target moon":                                                   "--target takes",
		"checklist --peak-rate 0":                                                   "--peak-rate",
		"checklist --peak-rate NaN":                                                 "--peak-rate",
		"checklist --longest-outage 0s":                                             "--longest-outage",
		"checklist --timeout 0":                                                     "--timeout",
		"checklist --prometheus nowhere":                                            "no URL",
		"checklist list x":                                                          "takes no arguments",
	} {
		code, out, stderr := kgents(t, strings.Fields(line)...)
		wantLine(t, code, out, stderr, part)
	}
	code, out, stderr = kgents(t, "checklist", "--url", closed(t))
	wantLine(t, code, out, stderr, "nothing answers")
}

// The checklist of a `kgents up`: what holds on one machine passes, what is missing
// there (backups, room for three days, a Prometheus) doesn't, and every form of the
// report can be read.
func TestChecklistOfUp(t *testing.T) {
	alone(t)
	c, _, err := config.Load(config.RoleUp, config.Source{Env: func(name string) (string, bool) { return "0", name == "API_PORT" }})
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	up, err := app.Start(t.Context(), config.RoleUp, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Stop)
	args := []string{"checklist", "--automatic", "--url", up.URL(), "--data", c.DataDir}
	_, out, stderr := kgents(t, append(slices.Clone(args), "--output", "json")...)
	var r checklist.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s%s", err, stderr, out)
	}
	verdicts := map[string]checklist.Verdict{}
	for _, res := range r.Results {
		verdicts[res.ID] = res.Verdict
	}
	for _, id := range []string{"nats-sync", "stream-discards-new", "anonymous-refused", "webhook-accepted", "duplicate-once", "canary-within-objective", "openmeter-deduplicates"} {
		if verdicts[id] != checklist.Pass {
			t.Errorf("%s is %q, want pass", id, verdicts[id])
		}
	}
	if verdicts["alert-rules-loaded"] != checklist.Unknown || verdicts["backup-fresh"] != checklist.Fail {
		t.Errorf("without a Prometheus the rules are %q, without a backup it is %q", verdicts["alert-rules-loaded"], verdicts["backup-fresh"])
	}
	_, out, _ = kgents(t, append(slices.Clone(args), "--output", "junit", "--category", "durability")...)
	if err := xml.Unmarshal([]byte(out), new(struct{})); err != nil {
		t.Errorf("%v in %s", err, out)
	}
	code, out, stderr := kgents(t, append(slices.Clone(args), "--category", "durability")...)
	if code != 0 || stderr != "" || !strings.Contains(out, "nothing blocks") {
		t.Errorf("code %d, %s%s", code, stderr, out)
	}
}
