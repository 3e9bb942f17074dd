// Package telemetry makes the logger, the metrics registry and the tracer that the
// rest of the program is given. It holds no globals. Only traces depend on
// something that can be away, the OTLP receiver: then they are dropped, and nobody
// waits for them.
package telemetry

import (
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewLogger returns a structured logger. Format is "text" or "json". Durations
// are written as people write them, "1.5s", in both.
func NewLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().Round(time.Millisecond).String())
		}
		return a
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// NewRegistry returns a registry with the metrics of the Go runtime, the process
// and the build.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "kgents_build_info",
		Help: "Always 1; the labels say which build runs.",
	}, []string{"version", "revision", "go_version"})
	b := ReadBuild()
	build.WithLabelValues(b.Version, b.Revision, b.Go).Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return reg
}

// Build says which build of the program runs.
type Build struct {
	Version  string `json:"version"`  // module version or "devel"
	Revision string `json:"revision"` // commit, "unknown" when not built from a checkout
	Go       string `json:"go"`
}

// version is set by the linker for a release: -X .../telemetry.version=v1.2.3
var version string

// ReadBuild reads what the linker and the toolchain left in the binary.
func ReadBuild() Build {
	b := Build{Version: "devel", Revision: "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Go = info.GoVersion
		if v := info.Main.Version; v != "" && v != "(devel)" {
			b.Version = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	if version != "" {
		b.Version = version
	}
	return b
}
