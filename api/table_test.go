package api_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// A stranger's words are no formula, and numbers of ours stay numbers.
func TestCellsOfCSV(t *testing.T) {
	for _, test := range []struct {
		cell any
		want string
	}{
		{nil, ""},
		{"plain", "plain"},
		{"", ""},
		{" ", " "},
		{"a=1", "a=1"},
		{`=HYPERLINK("http://x","y")`, `'=HYPERLINK("http://x","y")`},
		// The writer drops a lone carriage return.
		{"+1", "'+1"}, {"-1", "'-1"}, {"@SUM(A1)", "'@SUM(A1)"},
		{"\t=1", "'\t=1"}, {"\r=1", "'=1"}, {"\n=1", "'\n=1"},
		{"  =1", "'  =1"}, {"\u00a0=1", "'\u00a0=1"}, {"\ufeff=1", "'\ufeff=1"}, {"\u3000＝1", "'\u3000＝1"}, {"\x00=1", "'\x00=1"}, {"\u200b=1", "'\u200b=1"}, {"\tx", "'\tx"}, {"\u2003x", "\u2003x"},
		{"＝1", "'＝1"}, {"＋1", "'＋1"}, {"－1", "'－1"}, {"＠a", "'＠a"},
		{"'=1", "'=1"},
		{"a,b \"c\"", `a,b "c"`},
		{int64(-5), "-5"},
		{int64(math.MaxInt64), "9223372036854775807"},
		{1234567.0, "1234567"}, {15.5, "15.5"}, {-2.0, "-2"}, {1e300, "1e+300"},
		{time.Date(2026, 5, 1, 10, 0, 0, 0, time.FixedZone("", 7200)), "2026-05-01T08:00:00Z"},
		{errors.New("-x"), "'-x"},
	} {
		var b bytes.Buffer
		if err := api.WriteCSV(&b, [][]any{{test.cell, "end"}}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(b.String(), "\r\n") {
			t.Errorf("%q does not end its line", b.String())
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got := rows[0][0]; got != test.want {
			t.Errorf("%q is written as %q, want %q", test.cell, got, test.want)
		}
	}
}

// Whatever the words, a cell begins with none of the signs, and rows keep their cells.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"=1", " @x", "\x00=1", "\xff=", "＝", "\"\r\n=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var b bytes.Buffer
		if err := api.WriteCSV(&b, [][]any{{"id", s}, {s, "end"}}); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != 2 || len(rows[1]) != 2 || rows[1][1] != "end" {
			t.Fatalf("%q is read as %q (%v)", b.String(), rows, err)
		}
		if cell := strings.TrimSpace(rows[0][1]); cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
			t.Fatalf("%q begins a formula", rows[0][1])
		}
	})
}

// The document says of a limit what it is in JSON.
func TestLimitInTheDocument(t *testing.T) {
	schema := api.Limit{}.Schema(nil)
	for _, l := range []kgents.Limit{kgents.AtMost(0), kgents.AtMost(7), kgents.NoLimit()} {
		b, err := json.Marshal(api.Limit{Limit: l})
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		var result huma.ValidateResult
		registry := huma.NewMapRegistry("#/", huma.DefaultSchemaNamer)
		schema.PrecomputeMessages()
		for _, one := range schema.OneOf {
			one.PrecomputeMessages()
		}
		huma.Validate(registry, schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, &result)
		if len(result.Errors) > 0 {
			t.Errorf("%s does not fit: %v", b, result.Errors)
		}
		var back api.Limit
		if err := json.Unmarshal(b, &back); err != nil || cmp.Diff(l.String(), back.String()) != "" {
			t.Errorf("%s is read back as %v (%v)", b, back, err)
		}
	}
}
