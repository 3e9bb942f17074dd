package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/emit"
)

func TestPrintReport(t *testing.T) {
	latency := emit.Latency{P50: 1_200_000, P90: 12_340_000, P99: 123_456_789, Max: 1_500 * time.Millisecond}
	for name, report := range map[string]emit.Report{
		"emit-accepted": {Requests: 1200, Accepted: 1200, Events: 1200, Duplicates: 100, Elapsed: 1_500 * time.Millisecond, Rate: 800, Latency: latency},
		"emit-refused": {
			Requests: 2, Refused: 2, Elapsed: 20 * time.Millisecond, Latency: latency,
			Refusals: []emit.Refusal{{Status: http.StatusBadRequest, Count: 2, Detail: "no"}},
		},
		"emit-no-answer": {
			Requests: 1, Failed: 1, Retried: 3, Elapsed: time.Second,
			Refusals: []emit.Refusal{{Count: 1, Detail: "EOF"}},
		},
		"emit-nothing": {Elapsed: 12_020, Stopped: true},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := printReport(&out, "table", report); err != nil {
				t.Fatal(err)
			}
			golden(t, name, out.Bytes())
		})
	}
}

// Flags that a scenario has no use for are refused, and not ignored.
func TestEmitScenarioFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--scenario dunning --count 3":                  "--count doesn't go with --scenario",
		"--scenario dunning --over 24h":                 "--over doesn't go with --scenario",
		"--scenario dunning --customer a --customers 2": "--customer is one",
		"--customer a":     "--customer and --plan go with --scenario",
		"--plan studio":    "--customer and --plan go with --scenario",
		"--scenario fraud": "choose from trial, trial-to-paid",
	} {
		cmd := newRoot()
		cmd.SetArgs(append([]string{"emit", "stripe"}, strings.Fields(args)...))
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
