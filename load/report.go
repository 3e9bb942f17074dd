package load

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/telemetry"
)

// Report is what came of a run.
type Report struct {
	Profile       Profile       `json:"profile"`
	URL           string        `json:"url"`
	Local         bool          `json:"local"`
	Run           string        `json:"run"` // in the ids and customers of its events
	Began         time.Time     `json:"began"`
	Elapsed       time.Duration `json:"elapsed_ns"` // until the last answer
	Environment   Environment   `json:"environment"`
	OK            bool          `json:"ok"`
	Interrupted   bool          `json:"interrupted"`
	FaultsSkipped bool          `json:"faults_skipped"`
	Verdicts      []Verdict     `json:"thresholds"`
	Total         Part          `json:"total"`
	Phases        []Part        `json:"phases"`
	Count         Count         `json:"count"`
	Failures      []Failure     `json:"failures"`
	Troubles      []string      `json:"troubles,omitempty"` // faults that could not be made or ended
	BacklogMax    float64       `json:"backlog_max"`
	MemoryMax     float64       `json:"memory_max_bytes"`
	Series        []Point       `json:"series"`
	Curve         []Quantile    `json:"curve"`
	Seen          []Seen        `json:"seen"`
}

// Environment is where the load came from.
type Environment struct {
	System  string `json:"system"` // linux/amd64
	CPUs    int    `json:"cpus"`
	CPU     string `json:"cpu,omitempty"`
	Memory  string `json:"memory,omitempty"`
	Load    string `json:"load,omitempty"` // average over a minute, before the run
	Go      string `json:"go"`
	Version string `json:"version"` // of kgents
}

// ReadEnvironment looks at this machine. What can't be found out is left empty.
func ReadEnvironment() Environment {
	b := telemetry.ReadBuild()
	return Environment{
		System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(), Version: b.Version,
		CPU: procField("/proc/cpuinfo", "model name"), Memory: memory(), Load: loadAverage(),
	}
}

func procField(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// memory is what the machine has, in GiB.
func memory() string {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%.0f GiB", kib/(1<<20))
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// finish adds what was measured and judges it.
func (r *Report) finish(run *run) {
	run.record.fill(r)
	r.Failures, r.Troubles = append([]Failure{}, run.reasons...), run.faults
	for _, s := range r.Seen {
		r.BacklogMax, r.MemoryMax = max(r.BacklogMax, s.Backlog), max(r.MemoryMax, s.Memory)
	}
	r.judge(run.profile.Thresholds)
	r.OK = r.OK && len(r.Troubles) == 0
}

// readFull reads until b is full or r ends.
func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	if err != nil {
		return n, fmt.Errorf("reading the profile: %w", err)
	}
	return n, nil
}
