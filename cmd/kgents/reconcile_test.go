package main

import (
	"bytes"
	"encoding/json"

	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/reconcile"
)

// reportOf is what a server may say of a day.
func reportOf(change func(*reconcile.Report)) reconcile.Report {
	r := reconcile.Report{
		Since: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Until: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
		Total: reconcile.Counts{InStream: 12345, InMeter: 12345},
		Rows:  []reconcile.Row{{Type: "api.request", Customer: "cus_1", Counts: reconcile.Counts{InStream: 12345, InMeter: 12345}}},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func lost(r *reconcile.Report) {
	r.Total = reconcile.Counts{InStream: 12345, InMeter: 12341, Missing: 7, Mended: 3, Surplus: 1, Different: 2, DeadLetters: 4, Unchecked: 5}
	r.Rows = append(r.Rows, reconcile.Row{Type: "pay\nment", Customer: "日本\x1b[2J", Counts: r.Total})
	r.InFlight = 1
	r.Examples = []reconcile.Finding{
		{Kind: reconcile.Missing, Source: "agent-runner", ID: "evt-1", Mended: true},
		{Kind: reconcile.Different, Source: "s", ID: "a\nb"},
	}
}

func TestPrintReconciled(t *testing.T) {
	for name, r := range map[string]reconcile.Report{
		"clean":  reportOf(nil),
		"lost":   reportOf(lost),
		"fixed":  reportOf(func(r *reconcile.Report) { lost(r); r.Fix = true }),
		"mended": reportOf(func(r *reconcile.Report) { lost(r); r.Total.Mended = 7; r.Rows[1].Mended = 7 }),
	} {
		var b bytes.Buffer
		printReconciled(&b, r)
		golden(t, "reconcile_"+name, b.Bytes())
	}
}

func TestReconcileCommand(t *testing.T) {
	for _, test := range []struct {
		name, line string
		status     int
		answer     any
		code       int
		query      string
		out, err   string
	}{
		{"clean", "", 200, reportOf(nil), 0, "fix=false&settle=1m0s&since=24h0m0s", "nothing is missing", ""},
		{"lost", "--since 7d --fix --settle 0", 200, reportOf(lost), 1, "fix=true&settle=0s&since=168h0m0s", "4 missing", ""},
		{"lost, for a script", "--output json", 200, reportOf(lost), 1, "fix=false&settle=1m0s&since=24h0m0s", `"missing": 7`, ""},
		{"two at a time", "", 409, map[string]string{"detail": "a reconciliation is under way"}, 1, "", "", "answered 409: a reconciliation is under way"},
		{"a wrong key", "", 401, nil, 1, "", "", "does not know the API key"},
		{"an API", "", 404, nil, 1, "", "", "does not reconcile: name 'kgents up' or a sink with --url"},
		{"an empty answer", "", 502, nil, 1, "", "", "answered 502: Bad Gateway"},
		{"something else", "", 200, "hello", 1, "", "", "no report"},
	} {
		t.Run(test.name, func(t *testing.T) {
			alone(t)
			t.Setenv("API_KEYS", "key-1")
			query := ""
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/livez" {
					return
				}
				if r.Method != http.MethodPost || r.URL.Path != "/api/v1/reconcile" || r.Header.Get("Authorization") != "Bearer key-1" {
					t.Errorf("asked %s %s with %v", r.Method, r.URL, r.Header)
				}
				query = r.URL.RawQuery
				w.WriteHeader(test.status)
				_ = json.NewEncoder(w).Encode(test.answer)
			}))
			defer web.Close()
			code, stdout, stderr := kgents(t, append([]string{"reconcile", "--url", web.URL}, strings.Fields(test.line)...)...)
			if test.err != "" {
				wantLine(t, code, stdout, stderr, test.err)
				return
			}
			if code != test.code || !strings.Contains(stdout, test.out) || stderr != "" {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if diff := cmp.Diff(test.query, query); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
			if strings.Contains(test.line, "json") {
				var got reconcile.Report
				if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Total != test.answer.(reconcile.Report).Total {
					t.Errorf("%v: %+v", err, got.Total)
				}
			}
		})
	}
}

func TestWrongReconcileCommandLine(t *testing.T) {
	alone(t)
	for line, part := range map[string]string{
		"--output xml":            `--output "xml" is no format`,
		"--since 0s":              "--since must be from 1s to 30d",
		"--since 31d":             "--since must be from 1s to 30d",
		"--settle 24h":            "--settle must not be negative, and less than --since",
		"--settle -1s":            "--settle must not be negative",
		"extra":                   "'kgents reconcile' takes no arguments",
		"--since yesterday --fix": "use for example 90m, 24h or 7d",
	} {
		code, stdout, stderr := kgents(t, append([]string{"reconcile"}, strings.Fields(line)...)...)
		wantLine(t, code, stdout, stderr, part)
	}
	code, stdout, stderr := kgents(t, "reconcile", "--url", closed(t))
	wantLine(t, code, stdout, stderr, "no API key is known")
	t.Setenv("API_KEYS", "key-1")
	code, stdout, stderr = kgents(t, "reconcile", "--url", closed(t))
	wantLine(t, code, stdout, stderr, "nothing answers at", "kgents up")
}
