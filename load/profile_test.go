package load

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The profiles that come with the program are those that are promised, and each looks
// at what matters most.
func TestProfiles(t *testing.T) {
	all, err := Profiles()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
		if p.About == "" || p.Length() > 2*time.Minute {
			t.Errorf("%s: about %q, takes %v", p.Name, p.About, p.Length())
		}
		watched := map[string]bool{}
		for _, th := range p.Thresholds {
			watched[th.Metric] = true
		}
		for _, m := range []string{"accepted_ratio", "latency_p99", "drained", "lost", "doubled"} {
			if !watched[m] {
				t.Errorf("%s has no threshold on %s", p.Name, m)
			}
		}
		read, err := Read(p.Name)
		if err != nil || read.Text != p.Text {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
	want := []string{"burst", "many-small-customers", "one-huge-customer", "redelivery-storm", "slow-meter", "steady"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

const good = `name: mine
phases:
  - name: a
    for: 1s
    rate: 10
`

// A mistake is refused with its line, and what would be right.
func TestMistakes(t *testing.T) {
	if _, err := Parse("p.yaml", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, text, want string }{
		{"unknown field", good + "retires: 3\n", `p.yaml:6: unknown field "retires"`},
		{"unknown field within", strings.Replace(good, "rate", "rat", 1), `p.yaml:5: unknown field "rat"`},
		{"twice", good + "name: other\n", `p.yaml:6: mapping key "name" already defined`},
		{"no number", strings.Replace(good, "10", "ten", 1), "p.yaml:5: "},
		{"no duration", strings.Replace(good, "1s", "soon", 1), `"soon" is no duration: use for example 30s`},
		{"no YAML", "name: [", "p.yaml:1: "},
		{"empty", "", "p.yaml: is no profile"},
		{"a list", "- a\n", "p.yaml"},
		{"two documents", good + "---\n" + good, "must be one YAML document"},
		{"no name", strings.Replace(good, "mine", `""`, 1), "p.yaml:1: name must be 1 to 64"},
		{"no phases", "name: mine\n", "p.yaml:1: phases must have 1 to 50"},
		{"no rate at all", strings.Replace(good, "10", "0", 1), "p.yaml:3: phases send nothing"},
		{"rate", strings.Replace(good, "10", "2e6", 1), "p.yaml:5: phases[0].rate must be from 0 to 1e+06, not 2e+06"},
		{"rate below", strings.Replace(good, "10", "-1", 1), "p.yaml:5: phases[0].rate"},
		{"rate no number", strings.Replace(good, "10", ".nan", 1), "p.yaml:5: phases[0].rate"},
		{"too long", strings.Replace(good, "1s", "25h", 1), "p.yaml:4: phases[0].for must be from 10ms to 24h0m0s"},
		{"too long together", good + "  - {name: b, for: 24h, rate: 1}\n", "phases take more than 24h"},
		{"a phase twice", good + "  - name: a\n    for: 1s\n", "p.yaml:6: phases[1].name is that of another"},
		{"steps alone", good + "    steps: 3\n", "p.yaml:6: phases[0].steps goes with to"},
		{"fault", good + "    fault: fire\n", "p.yaml:6: phases[0].fault must be one of meter-down, meter-slow, crash"},
		{"slow by nothing", good + "    fault: meter-slow\n", "phases[0].delay goes with fault"},
		{"delay alone", good + "    delay: 1s\n", "p.yaml:6: phases[0].delay goes with fault"},
		{"duplicates", good + "    duplicates: 1\n", "p.yaml:6: phases[0].duplicates must be from 0 to 0.9"},
		{"arrivals", good + "arrivals: random\n", "p.yaml:6: arrivals must be poisson or constant"},
		{"in flight", good + "in_flight: 0\n", "p.yaml:6: in_flight must be from 1 to 16384"},
		{"timeout", good + "timeout: 0s\n", "p.yaml:6: timeout must be from 1ms"},
		{"retries", good + "retries: -1\n", "p.yaml:6: retries must be"},
		{"drain", good + "drain: 10ms\n", "p.yaml:6: drain must be"},
		{"batch", good + "events:\n  batch: 0\n", "p.yaml:7: events.batch must be from 1 to 10000"},
		{"bytes", good + "events:\n  bytes: 10\n", "p.yaml:7: events.bytes must be from 250"},
		{"a request too large", good + "events: {batch: 1000, bytes: 10000}\n", "at most 8000000"},
		{"stripe", good + "events: {stripe: 1.5}\n", "p.yaml:6: events.stripe must be from 0 to 1"},
		{"customers", good + "customers: {count: 60000}\n", "p.yaml:6: customers.count must be from 1 to 50000"},
		{"spread", good + "customers: {spread: normal}\n", "p.yaml:6: customers.spread must be uniform or zipf or huge"},
		{"zipf without", good + "customers: {spread: zipf}\n", "p.yaml:6: customers.exponent must be from 1.001"},
		{"exponent alone", good + "customers: {exponent: 2}\n", "p.yaml:6: customers.exponent goes with spread: zipf"},
		{"share alone", good + "customers: {huge_share: 0.5}\n", "p.yaml:6: customers.huge_share goes with"},
		{"metric", good + "thresholds:\n  - {metric: speed, max: 1}\n", `p.yaml:7: thresholds[0] metric "speed" is not known: use accepted_ratio`},
		{"no bound", good + "thresholds:\n  - {metric: lost}\n", "p.yaml:7: thresholds[0] needs max or min"},
		{"both bounds", good + "thresholds:\n  - {metric: lost, max: 1, min: 0}\n", "needs max or min"},
		{"latency without a unit", good + "thresholds:\n  - {metric: latency_p99, max: 250}\n", `"250" is no duration`},
		{"number with a unit", good + "thresholds:\n  - {metric: lost, max: 1s}\n", `"1s" is no number`},
		{"no such phase", good + "thresholds:\n  - {metric: errors, phase: z, max: 0}\n", `phase "z" is not one`},
		{"no phases for that", good + "thresholds:\n  - {metric: lost, phase: a, max: 0}\n", "leave phase out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("p.yaml", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: %v\nwant: %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than a line: %q", err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	mine, large := filepath.Join(dir, "mine.yaml"), filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(mine, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, err := Read(mine); err != nil || p.Name != "mine" {
		t.Errorf("%+v, %v", p, err)
	}
	for name, want := range map[string]string{
		"stead": "there is no profile \"stead\": use burst, ", large: "more than 1 MiB", dir + "/none.yaml": "no such file", dir + "/": "is a directory",
	} {
		if _, err := Read(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScale(t *testing.T) {
	p := profile(t, "phases: [{name: a, for: 10s, rate: 100, to: 300}, {name: b, for: 30s, rate: 300}]")
	got, err := p.Scale(0.5, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if got.Length() != 4*time.Second || got.Peak() != 150 || got.Phases[0].Rate != 50 || !got.scaled {
		t.Errorf("%+v", got.Phases)
	}
	if p.Peak() != 300 || *p.Phases[0].To != 300 {
		t.Error("scaling changed the profile it was made from")
	}
	for _, factor := range []float64{1e6, math.Inf(1), math.NaN()} {
		if _, err := p.Scale(factor, 0); err == nil || !strings.Contains(err.Error(), "after scaling") {
			t.Errorf("times %v: %v", factor, err)
		}
	}
	if _, err := p.Scale(1, time.Millisecond); err == nil {
		t.Error("phases of microseconds were taken")
	}
}
