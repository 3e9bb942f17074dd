package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents/telemetry"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, slog.LevelInfo, "json")
	log.Debug("not shown")
	log.Info("waiting", "in", 1512345*time.Microsecond)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if line["msg"] != "waiting" || line["level"] != "INFO" || line["in"] != "1.512s" {
		t.Errorf("logged %v, want the duration as people write it", line)
	}
	out.Reset()
	telemetry.NewLogger(&out, slog.LevelDebug, "text").Debug("shown", "in", time.Second)
	if !strings.Contains(out.String(), "msg=shown in=1s") {
		t.Errorf("logged %s", out.String())
	}
}

func TestRegistry(t *testing.T) {
	reg := telemetry.NewRegistry()
	if problems, err := testutil.GatherAndLint(reg, "kgents_build_info"); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	n, err := testutil.GatherAndCount(reg, "kgents_build_info", "go_goroutines", "process_resident_memory_bytes")
	if err != nil || n != 3 {
		t.Errorf("%d of the build's, the runtime's and the process's metrics, %v", n, err)
	}
}
