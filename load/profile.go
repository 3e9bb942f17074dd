package load

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a profile. They keep a mistyped one from taking the machine down.
const (
	MaxRate      = 1_000_000 // events a second
	MaxLength    = 24 * time.Hour
	MaxInFlight  = 16_384
	MaxBatch     = 10_000
	MaxBytes     = 100_000 // of one event; of a request it is 8 MB, the edge's bound
	MaxCustomers = 50_000  // the meter answers at most 100,000 rows
	maxRequest   = 8_000_000
	maxPhases    = 50
	maxFile      = 1 << 20
)

// Duration is a time.Duration that is written as in Go: 250ms, 1m30s.
type Duration time.Duration

// UnmarshalYAML implements yaml.BytesUnmarshaler.
func (d *Duration) UnmarshalYAML(b []byte) error {
	var s string
	if err := yaml.Unmarshal(b, &s); err != nil {
		return errors.New("is no duration: use for example 30s or 1m30s")
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration: use for example 30s or 1m30s", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalJSON writes nanoseconds, as all our outputs do.
func (d Duration) MarshalJSON() ([]byte, error) { return fmt.Append(nil, int64(d)), nil }

func (d Duration) String() string { return time.Duration(d).String() }

// Profile is a load, and what the system under it must hold.
type Profile struct {
	Name       string      `yaml:"name" json:"name"`
	About      string      `yaml:"about" json:"about"`
	Arrivals   string      `yaml:"arrivals" json:"arrivals"`   // poisson or constant
	Seed       uint64      `yaml:"seed" json:"seed"`           // of arrivals and customers; ids are new in each run
	InFlight   int         `yaml:"in_flight" json:"in_flight"` // requests under way at most
	Timeout    Duration    `yaml:"timeout" json:"timeout_ns"`  // of one try
	Retries    int         `yaml:"retries" json:"retries"`     // of a request that got 429, 5xx or no answer
	Drain      Duration    `yaml:"drain" json:"drain_ns"`      // longest wait for the meter to have all
	Events     Events      `yaml:"events" json:"events"`
	Customers  Customers   `yaml:"customers" json:"customers"`
	Phases     []Phase     `yaml:"phases" json:"phases"`
	Thresholds []Threshold `yaml:"thresholds" json:"thresholds"`

	Text string `yaml:"-" json:"-"` // as it was read

	scaled bool
}

// Events says what is sent.
type Events struct {
	Batch      int     `yaml:"batch" json:"batch"`           // usage events a request
	Bytes      int     `yaml:"bytes" json:"bytes"`           // of one usage event, about
	Stripe     float64 `yaml:"stripe" json:"stripe"`         // share of requests that are Stripe's webhooks, one event each
	Duplicates float64 `yaml:"duplicates" json:"duplicates"` // share of requests that repeat an earlier one
}

// Customers says whose events they are.
type Customers struct {
	Count    int     `yaml:"count" json:"count"`
	Spread   string  `yaml:"spread" json:"spread"`                   // uniform, zipf or huge
	Exponent float64 `yaml:"exponent" json:"exponent,omitempty"`     // of zipf: more than 1
	Share    float64 `yaml:"huge_share" json:"huge_share,omitempty"` // of huge: what the first customer has
}

// Phase is a part of the load.
type Phase struct {
	Name       string   `yaml:"name" json:"name"`
	For        Duration `yaml:"for" json:"for_ns"`
	Rate       float64  `yaml:"rate" json:"rate"`                       // events a second, at its begin
	To         *float64 `yaml:"to" json:"to,omitempty"`                 // at its end, if that is another
	Steps      int      `yaml:"steps" json:"steps,omitempty"`           // from rate to to in so many steps; 0 = a ramp
	Duplicates *float64 `yaml:"duplicates" json:"duplicates,omitempty"` // instead of the profile's
	Fault      string   `yaml:"fault" json:"fault,omitempty"`           // during the phase: meter-down, meter-slow, crash
	Delay      Duration `yaml:"delay" json:"delay_ns,omitempty"`        // of meter-slow, each answer
}

// The faults. They end with their phase.
const (
	FaultMeterDown = "meter-down" // the meter's address refuses
	FaultMeterSlow = "meter-slow" // each answer of the meter comes Delay later
	FaultCrash     = "crash"      // kgents is killed (SIGKILL), and started again when the phase ends
)

// Faults are the faults that a phase may have.
var Faults = []string{FaultMeterDown, FaultMeterSlow, FaultCrash}

// HasFaults tells whether the profile breaks something on purpose.
func (p Profile) HasFaults() bool {
	return slices.ContainsFunc(p.Phases, func(ph Phase) bool { return ph.Fault != "" })
}

// Length is how long the load lasts, without the counting after it.
func (p Profile) Length() time.Duration {
	var sum time.Duration
	for _, ph := range p.Phases {
		sum += time.Duration(ph.For)
	}
	return sum
}

// Peak is the highest rate, in events a second.
func (p Profile) Peak() float64 {
	peak := 0.0
	for _, ph := range p.Phases {
		peak = max(peak, ph.Rate, ph.end())
	}
	return peak
}

func (ph Phase) end() float64 {
	if ph.To != nil {
		return *ph.To
	}
	return ph.Rate
}

// Scale returns the profile with all rates times rate, and shrunk or stretched to a
// length, unless that is 0. Thresholds stay as they are.
func (p Profile) Scale(rate float64, length time.Duration) (Profile, error) {
	factor := 1.0
	if length > 0 {
		factor = float64(length) / float64(p.Length())
	}
	p.scaled = rate != 1 || factor != 1
	p.Phases = slices.Clone(p.Phases)
	for i := range p.Phases {
		ph := &p.Phases[i]
		ph.Rate *= rate
		if ph.To != nil {
			to := *ph.To * rate
			ph.To = &to
		}
		ph.For = Duration(float64(ph.For) * factor)
	}
	return p, p.check(func(_ string, err error) error { return fmt.Errorf("after scaling: %w", err) })
}

//go:embed profiles/*.yaml
var embedded embed.FS

// Profiles are those that come with the program, in order of their names.
func Profiles() ([]Profile, error) {
	files, err := fs.Glob(embedded, "profiles/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []Profile
	for _, name := range files {
		b, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p, err := Parse(path.Base(name), b)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// Read returns the profile of a name that comes with the program, or of a file. What
// holds a / or ends in .yaml is a file.
func Read(name string) (Profile, error) {
	if strings.ContainsAny(name, `/\`) || strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") {
		f, err := os.Open(name)
		if err != nil {
			return Profile{}, err
		}
		defer f.Close()
		b := make([]byte, maxFile+1)
		n, err := readFull(f, b)
		if err != nil {
			return Profile{}, err
		}
		if n > maxFile {
			return Profile{}, fmt.Errorf("%s: has more than 1 MiB, which no profile has", name)
		}
		return Parse(name, b[:n])
	}
	all, err := Profiles()
	if err != nil {
		return Profile{}, err
	}
	var names []string
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("there is no profile %q: use %s, or a file such as ./mine.yaml", name, strings.Join(names, ", "))
}

// Parse reads a profile. What is left out has a default. An error names the file, the
// line and what would be right; an unknown field is one.
func Parse(file string, b []byte) (Profile, error) {
	p := Profile{
		Arrivals: "poisson", Seed: 1, InFlight: 1024, Timeout: Duration(15 * time.Second), Retries: 8, Drain: Duration(time.Minute),
		Events: Events{Batch: 1, Bytes: 400}, Customers: Customers{Count: 100, Spread: "uniform"},
		Text: string(b),
	}
	tree, err := parser.ParseBytes(b, 0)
	if err != nil {
		return p, located(file, err)
	}
	if len(tree.Docs) != 1 || tree.Docs[0].Body == nil {
		return p, fmt.Errorf("%s: is no profile: it must be one YAML document", file)
	}
	if err := yaml.NodeToValue(tree.Docs[0].Body, &p, yaml.Strict()); err != nil {
		return p, located(file, err)
	}
	err = p.check(func(where string, err error) error {
		return fmt.Errorf("%s:%d: %s %w", file, lineOf(tree, where), where, err)
	})
	return p, err
}

// located puts a YAML error as file:line: message.
func located(file string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", file, y.GetToken().Position.Line, y.GetMessage())
	}
	return fmt.Errorf("%s: %w", file, err)
}

// lineOf is the line where a field stands, or what stands closest around it.
func lineOf(tree *ast.File, where string) int {
	for at := where; at != ""; {
		if path, err := yaml.PathString("$." + at); err == nil {
			if node, err := path.FilterFile(tree); err == nil && node != nil {
				return node.GetToken().Position.Line
			}
		}
		at = at[:max(0, strings.LastIndexAny(at, ".["))]
	}
	return 1
}

// check finds the first mistake. wrong makes an error of a field's path and what must
// be different.
func (p Profile) check(wrong func(where string, err error) error) error {
	perRequest := p.Events.Batch * p.Events.Bytes
	type rule struct {
		where string
		err   error
	}
	rules := []rule{
		{"name", must(p.Name != "" && len(p.Name) <= 64, "must be 1 to 64 characters")},
		{"arrivals", oneOf(p.Arrivals, "poisson", "constant")},
		{"in_flight", within(p.InFlight, 1, MaxInFlight)},
		{"timeout", between(p.Timeout, time.Millisecond, 5*time.Minute)},
		{"retries", within(p.Retries, 0, 1000)},
		{"drain", between(p.Drain, time.Second, 24*time.Hour)},
		{"events.batch", within(p.Events.Batch, 1, MaxBatch)},
		{"events.bytes", within(p.Events.Bytes, minEventBytes, MaxBytes)},
		{"events.bytes", must(perRequest <= maxRequest, "times batch must be at most 8000000, which is what a request may have")},
		{"events.stripe", within(p.Events.Stripe, 0, 1)},
		{"events.duplicates", within(p.Events.Duplicates, 0, 0.9)},
		{"customers.count", within(p.Customers.Count, 1, MaxCustomers)},
		{"customers.spread", oneOf(p.Customers.Spread, "uniform", "zipf", "huge")},
		{"phases", must(len(p.Phases) > 0 && len(p.Phases) <= maxPhases, "must have 1 to 50 phases")},
	}
	switch p.Customers.Spread {
	case "zipf":
		rules = append(rules, rule{"customers.exponent", within(p.Customers.Exponent, 1.001, 10)})
	case "huge":
		rules = append(rules, rule{"customers.huge_share", within(p.Customers.Share, 0.01, 1)})
	}
	if p.Customers.Spread != "zipf" {
		rules = append(rules, rule{"customers.exponent", must(p.Customers.Exponent == 0, "goes with spread: zipf")})
	}
	if p.Customers.Spread != "huge" {
		rules = append(rules, rule{"customers.huge_share", must(p.Customers.Share == 0, "goes with spread: huge")})
	}
	seen := map[string]bool{}
	for i, ph := range p.Phases {
		at := fmt.Sprintf("phases[%d]", i)
		rules = append(rules,
			rule{at + ".name", must(ph.Name != "" && len(ph.Name) <= 40, "must be 1 to 40 characters")},
			rule{at + ".name", must(!seen[ph.Name], "is that of another phase")},
			rule{at + ".for", between(ph.For, 10*time.Millisecond, MaxLength)},
			rule{at + ".rate", within(ph.Rate, 0, MaxRate)},
			rule{at + ".to", within(ph.end(), 0, MaxRate)},
			rule{at + ".steps", within(ph.Steps, 0, 1000)},
			rule{at + ".steps", must(ph.Steps != 1 && (ph.Steps == 0 || ph.To != nil), "goes with to, and is at least 2")},
			rule{at + ".fault", must(ph.Fault == "" || slices.Contains(Faults, ph.Fault), "must be one of "+strings.Join(Faults, ", "))},
			rule{at + ".delay", must((ph.Fault == FaultMeterSlow) == (ph.Delay != 0), "goes with fault: meter-slow, which needs it")},
		)
		if ph.Delay != 0 {
			rules = append(rules, rule{at + ".delay", between(ph.Delay, time.Millisecond, time.Minute)})
		}
		if ph.Duplicates != nil {
			rules = append(rules, rule{at + ".duplicates", within(*ph.Duplicates, 0, 0.9)})
		}
		seen[ph.Name] = true
	}
	rules = append(rules,
		rule{"phases", must(p.Length() <= MaxLength, "take more than 24h together")},
		rule{"phases", must(p.Peak() > 0, "send nothing: give one a rate")},
	)
	for i, t := range p.Thresholds {
		rules = append(rules, rule{fmt.Sprintf("thresholds[%d]", i), t.check(seen)})
	}
	for _, r := range rules {
		if r.err != nil {
			return wrong(r.where, r.err)
		}
	}
	return nil
}

func must(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

func oneOf(s string, of ...string) error {
	return must(slices.Contains(of, s), fmt.Sprintf("must be %s, not %q", strings.Join(of, " or "), s))
}

func between(d Duration, low, high time.Duration) error {
	return must(cmp.Compare(time.Duration(d), low) >= 0 && time.Duration(d) <= high, fmt.Sprintf("must be from %v to %v, not %v", low, high, d))
}
