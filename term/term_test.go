package term

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	columns := []Column{{Title: "METER"}, {Title: "LAST 24H", Right: true}, {Title: "NOTE"}}
	for _, test := range []struct {
		name  string
		style Style
		rows  [][]string
		want  []string
	}{
		{"without rows has its titles", Style{}, nil, []string{
			"METER  LAST 24H  NOTE",
		}},
		{"numbers stand to the right, and no line ends in spaces", Style{}, [][]string{
			{"api_requests", "7", ""},
			{"x", "1,234,567,890", "busy"},
		}, []string{
			"METER              LAST 24H  NOTE",
			"api_requests              7",
			"x             1,234,567,890  busy",
		}},
		{"letters of many bytes take one column", Style{}, [][]string{
			{"größe", "1", "é"},
			{"ascii", "2", "e"},
		}, []string{
			"METER  LAST 24H  NOTE",
			"größe         1  é",
			"ascii         2  e",
		}},
		{"letters of two columns take two", Style{}, [][]string{
			{"日本語", "1", "한국"},
			{"ＡＢＣ", "2", "かな"},
			{"sixsix", "3", "🚀"},
		}, []string{
			"METER   LAST 24H  NOTE",
			"日本語         1  한국",
			"ＡＢＣ         2  かな",
			"sixsix         3  🚀",
		}},
		{"an accent of its own takes none", Style{}, [][]string{
			{"cafe\u0301s!", "1", "x"},
			{"cafes!", "2", "x"},
		}, []string{
			"METER   LAST 24H  NOTE",
			"cafe\u0301s!         1  x",
			"cafes!         2  x",
		}},
		{"colour takes none", Style{on: true}, [][]string{
			{Style{on: true}.Good("green"), Style{on: true}.Bad("1"), "x"},
			{"plain", "2", "x"},
		}, []string{
			"\x1b[1mMETER\x1b[0m  \x1b[1mLAST 24H\x1b[0m  \x1b[1mNOTE\x1b[0m",
			"\x1b[32mgreen\x1b[0m         \x1b[31m1\x1b[0m  x",
			"plain         2  x",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			Table(&out, test.style, columns, test.rows)
			want := strings.Join(test.want, "\n") + "\n"
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSparkline(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, test := range []struct {
		name   string
		values []float64
		want   string
	}{
		{"nothing", nil, ""},
		{"one zero", []float64{0}, "▁"},
		{"zeros", []float64{0, 0, 0}, "▁▁▁"},
		{"the same", []float64{5, 5, 5}, "███"},
		{"rising", []float64{0, 1, 2, 3, 4, 5, 6}, "▁▃▄▅▆▇█"},
		{"little beside much is not nothing", []float64{0, 1e-9, 1}, "▁▂█"},
		{"the smallest and the greatest float", []float64{math.SmallestNonzeroFloat64, math.MaxFloat64}, "▂█"},
		{"below zero is lowest", []float64{-3, 0, 3}, "▁▁█"},
		{"all below zero", []float64{-3, -1}, "▁▁"},
		{"no number among numbers", []float64{nan, 1, nan, 2}, "▁▅▁█"},
		{"only no numbers", []float64{nan, nan}, "▁▁"},
		{"infinity leaves the rest as it is", []float64{1, inf, 2}, "▅██"},
		{"minus infinity", []float64{1, -inf}, "█▁"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Sparkline(test.values); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		v    float64
		want string
	}{
		{0, "0"},
		{math.Copysign(0, -1), "0"},
		{7, "7"},
		{999, "999"},
		{1000, "1,000"},
		{-999, "-999"},
		{-1000, "-1,000"},
		{1234567, "1,234,567"},
		{999_999_999_999_999, "999,999,999,999,999"},
		{1e15, "1e+15"},
		{0.5, "0.5"},
		{0.1 + 0.2, "0.3"}, // not the noise of binary fractions
		{1234567.25, "1,234,567.25"},
		{-1234.5, "-1,234.5"},
		{1e-9, "1e-09"},
		{math.NaN(), "NaN"},
		{math.Inf(1), "+Inf"},
		{math.Inf(-1), "-Inf"},
	} {
		if got := Number(test.v); got != test.want {
			t.Errorf("Number(%v) is %q, want %q", test.v, got, test.want)
		}
	}
}

func TestMoney(t *testing.T) {
	for _, test := range []struct {
		minor    float64
		currency string
		want     string
	}{
		{1234, "jpy", "1,234 JPY"},
		{0, "jpy", "0 JPY"},
		{-1234567, "JPY", "-1,234,567 JPY"},

		{1234, "eur", "12.34 EUR"},
		{0, "eur", "0.00 EUR"},
		{5, "eur", "0.05 EUR"},
		{50, "EUR", "0.50 EUR"},
		{-5, "eur", "-0.05 EUR"},
		{100, "eur", "1.00 EUR"},
		{123456789, "eur", "1,234,567.89 EUR"},

		{1234, "bhd", "1.234 BHD"},
		{5, "bhd", "0.005 BHD"},
		{1234567890, "bhd", "1,234,567.890 BHD"},

		// Stripe charges 5 shillings or krónur as 500.
		{500, "ugx", "5.00 UGX"},
		{500, "isk", "5.00 ISK"},

		// A currency that isn't known has two decimals, as most have.
		{1234, "zzz", "12.34 ZZZ"},
		{1234, "none", "12.34 NONE"},

		// A share of a minor unit is shown, not rounded away.
		{1234.5, "eur", "12.345 EUR"},
		{100000050.5, "eur", "1,000,000.505 EUR"},
		{0.5, "jpy", "0.5 JPY"},
		{1e15, "jpy", "1e+15 JPY"},
	} {
		if got := Money(test.minor, test.currency); got != test.want {
			t.Errorf("Money(%v, %q) is %q, want %q", test.minor, test.currency, got, test.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"},
		{999 * time.Nanosecond, "999ns"},
		{1234 * time.Nanosecond, "1.23µs"},
		{1_234_567 * time.Nanosecond, "1.23ms"},
		{1500 * time.Nanosecond, "1.50µs"},
		{12 * time.Millisecond, "12.0ms"},
		{123_456_789 * time.Nanosecond, "123ms"},
		{999_499 * time.Microsecond, "999ms"},
		{999_999 * time.Microsecond, "1.00s"},
		{9_999 * time.Microsecond, "10.0ms"},
		{12_340 * time.Millisecond, "12.3s"},
		{1_234_567_890 * time.Nanosecond, "1.23s"},
		{59_940 * time.Millisecond, "59.9s"},
		{59_990 * time.Millisecond, "1m0s"},
		{time.Minute + 400*time.Millisecond, "1m0s"},
		{36*time.Hour + 90*time.Second, "36h1m30s"},
	} {
		if got := Duration(test.d); got != test.want {
			t.Errorf("Duration(%d ns) is %q, want %q", test.d, got, test.want)
		}
	}
}

// Each meaning has a look of its own, and nothing is wrapped in colour for
// nothing.
func TestStyle(t *testing.T) {
	s, seen := Style{on: true}, map[string]bool{}
	for name, paint := range map[string]func(Style, string) string{
		"Good": Style.Good, "Bad": Style.Bad, "Faint": Style.Faint, "Strong": Style.Strong,
	} {
		got := paint(s, "text")
		if seen[got] || !strings.HasPrefix(got, "\x1b[") || !strings.HasSuffix(got, "mtext\x1b[0m") {
			t.Errorf("%s writes %q", name, got)
		}
		seen[got] = true
		if got := paint(s, ""); got != "" {
			t.Errorf("%s makes %q of nothing", name, got)
		}
		if got := paint(Style{}, "text"); got != "text" {
			t.Errorf("%s writes %q without colour", name, got)
		}
	}
}

// What is no terminal gets no colour, whatever the environment says.
func TestNoColourForWhatIsNoTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if IsTerminal(&bytes.Buffer{}) || StyleFor(&bytes.Buffer{}).on {
		t.Error("a buffer gets colour")
	}
	for name, f := range map[string]*os.File{"a file": file, "a pipe": w} {
		if IsTerminal(f) || StyleFor(f).on {
			t.Errorf("%s gets colour", name)
		}
	}
}
