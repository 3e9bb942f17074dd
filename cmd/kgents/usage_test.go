package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write what the commands say to testdata/*.golden")

// golden compares got with a file of testdata, or makes it so with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s, -want +got (go test -update takes it over):\n%s", path, diff)
	}
}

var (
	by    = []string{"subject", "model", "agent"}
	plain = []usageRow{
		{Meter: "agent_interactions", Value: 12},
		{Meter: "agent_tokens", Value: 1234567.5},
		{Meter: "api_requests", Value: 0},
	}
	grouped = []usageRow{
		{Meter: "agent_tokens", Group: map[string]string{"model": "small", "agent": "scout", "subject": "cus_1"}, Value: 1000, by: by},
		{Meter: "agent_tokens", Group: map[string]string{"model": "日本語", "agent": "scout", "subject": "cus_2"}, Value: 20, by: by},
		{Meter: "agent_tokens", Group: map[string]string{"model": "none", "agent": "none", "subject": "cus_1"}, Value: 3, by: by},
	}
	money = yesterday([]usageRow{
		{Meter: "api_requests", Value: 1234},
		{Meter: "payments", Group: map[string]string{"currency": "bhd"}, Value: 1234567, Unit: minor, by: []string{"currency"}},
		{Meter: "payments", Group: map[string]string{"currency": "eur"}, Value: 4900, Unit: minor, by: []string{"currency"}},
		{Meter: "payments", Group: map[string]string{"currency": "jpy"}, Value: 4900, Unit: minor, by: []string{"currency"}},
		{Meter: "payments", Group: map[string]string{"currency": "usd"}, Value: -5, Unit: minor, by: []string{"currency"}},
		{Meter: "payments_failed", Group: map[string]string{"currency": "eur"}, Value: 4, by: []string{"currency"}},
	})
	overTime = []usageRow{
		{Meter: "agent_tokens", Value: 28, spark: []float64{0, 1, 2, 3, 4, 5, 6, 7}},
		{Meter: "api_requests", Value: 0}, // nothing to draw
		{Meter: "payments", Group: map[string]string{"currency": "eur"}, Value: 300, Unit: minor, by: []string{"currency"}, spark: []float64{100, 0, 0, 0, 0, 0, 0, 200}},
	}
	// Group values are what senders wrote.
	hostile = []usageRow{
		{Meter: "agent_tokens", Group: map[string]string{"model": "a\nb\x1b[2Jc\u009bd"}, Value: 1, by: []string{"model"}},
		{Meter: "agent_tokens", Group: map[string]string{"model": `a,b"c`}, Value: 2.5, by: []string{"model"}},
	}
)

// yesterday gives rows their period.
func yesterday(rows []usageRow) []usageRow {
	for i := range rows {
		rows[i].From = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		rows[i].To = rows[i].From.Add(day)
	}
	return rows
}

// The first name asked for comes first, in the text and in the order of the rows.
func TestGroupsInTheOrderAskedFor(t *testing.T) {
	row := func(model, agent string) usageRow {
		return usageRow{Group: map[string]string{"model": model, "agent": agent}, by: []string{"model", "agent"}}
	}
	rows := []usageRow{row("small", "coder"), row("large", "critic"), row("small", "actor"), row("large", "coder")}
	slices.SortStableFunc(rows, compareGroups)
	var got []string
	for _, r := range rows {
		got = append(got, r.groupText())
	}
	want := []string{"model=large agent=coder", "model=large agent=critic", "model=small agent=actor", "model=small agent=coder"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrintUsage(t *testing.T) {
	for _, test := range []struct {
		golden string
		query  usageQuery
		rows   []usageRow
	}{
		{"usage-plain", usageQuery{since: 24 * time.Hour}, plain},
		{"usage-groups", usageQuery{since: 7 * 24 * time.Hour}, grouped},
		{"usage-money", usageQuery{since: 90 * time.Minute}, money},
		{"usage-sparklines", usageQuery{since: 3 * time.Hour}, overTime},
		{"usage-hostile", usageQuery{since: time.Hour}, hostile},
		{"usage-empty", usageQuery{since: 24 * time.Hour}, nil},
		{"usage-minute", usageQuery{since: time.Minute}, plain},
		{"usage-empty-customer", usageQuery{since: 30 * 24 * time.Hour, customer: "cus_1"}, nil},
		{"usage-money-json", usageQuery{since: time.Hour, output: "json"}, money},
		{"usage-empty-json", usageQuery{since: time.Hour, output: "json"}, nil},
		{"usage-money-csv", usageQuery{since: time.Hour, output: "csv"}, money},
		{"usage-empty-csv", usageQuery{since: time.Hour, output: "csv"}, nil},
	} {
		t.Run(test.golden, func(t *testing.T) {
			var out bytes.Buffer
			if err := printUsage(&out, test.query, test.rows); err != nil {
				t.Fatal(err)
			}
			golden(t, test.golden, out.Bytes())
		})
	}
}

// What a script reads is the same rows, whatever is in them.
func TestUsageForScripts(t *testing.T) {
	for name, rows := range map[string][]usageRow{"plain": plain, "grouped": grouped, "money": money, "hostile": hostile} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printUsage(&out, usageQuery{output: "json"}, rows); err != nil {
				t.Fatal(err)
			}
			var got []usageRow
			dec := json.NewDecoder(&out)
			dec.DisallowUnknownFields()
			if err := dec.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rows, got, cmpopts.IgnoreUnexported(usageRow{})); diff != "" {
				t.Errorf("JSON, -want +got:\n%s", diff)
			}

			out.Reset()
			if err := printUsage(&out, usageQuery{output: "csv"}, rows); err != nil {
				t.Fatal(err)
			}
			lines, err := csv.NewReader(&out).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if len(lines) != len(rows)+1 {
				t.Fatalf("%d CSV lines for %d rows", len(lines), len(rows))
			}
			for i, r := range rows {
				if lines[i+1][0] != r.Meter || lines[i+1][1] != r.groupText() {
					t.Errorf("line %q for %v", lines[i+1], r)
				}
			}
		})
	}
}

func TestSinceText(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{time.Minute, "1 minute"},
		{90 * time.Second, "1 minute 30 seconds"},
		{10 * time.Minute, "10 minutes"},
		{time.Hour, "1 hour"},
		{time.Hour + 10*time.Second, "1 hour 10 seconds"},
		{90 * time.Minute, "1 hour 30 minutes"},
		{24 * time.Hour, "24 hours"},
		{36 * time.Hour, "36 hours"},
		{48 * time.Hour, "2 days"},
		{49 * time.Hour, "2 days 1 hour"},
		{30 * 24 * time.Hour, "30 days"},
		{999_999 * time.Hour, "41,666 days 15 hours"},
	} {
		if got := sinceText(test.d); got != test.want {
			t.Errorf("sinceText(%v) is %q, want %q", test.d, got, test.want)
		}
	}
}
