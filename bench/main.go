// Command bench measures what the README promises of speed, everything in one
// run on one machine, and prints a table. `make bench` writes it into
// docs/benchmarks.md.
//
// Each server is a process of its own; the load generator shares its cores. The
// rows that are compared with each other are measured in turns, so that a machine
// that is busy for a while is so for all of them.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

func main() {
	serve := flag.String("serve", "", "be a server: bare, single or edge")
	addr := flag.String("addr", "127.0.0.1:0", "with -serve: where to listen")
	dir := flag.String("dir", "", "with -serve: where to keep data")
	binary := flag.String("kgents", "bin/kgents", "the program to measure")
	turns := flag.Int("turns", 5, "times each row is measured; the median counts")
	seconds := flag.Int("seconds", 4, "length of one measurement")
	sustained := flag.Int("sustained", 60, "seconds of the sustained run")
	rate := flag.Int("rate", 55_000, "events a second of the sustained run")
	only := flag.String("only", "", "requests, batches, sustained or start; empty = all")
	profiles := flag.String("profiles", "", "directory for CPU profiles of the edge")
	raw := flag.String("raw", "", "file for the single measurements, in the form that benchstat reads")
	flag.Parse()
	if *serve != "" {
		if err := runServer(*serve, *addr, *dir, *profiles); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	b := &bench{binary: *binary, turns: *turns, length: time.Duration(*seconds) * time.Second, profiles: *profiles}
	steps := []struct {
		name string
		run  func() error
	}{
		{"requests", b.requests},
		{"batches", b.batches},
		{"sustained", func() error { return b.sustained(time.Duration(*sustained)*time.Second, *rate) }},
		{"start", b.start},
	}
	for _, s := range steps {
		if *only != "" && *only != s.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", s.name)
		if err := s.run(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", s.name, err)
			os.Exit(1)
		}
	}
	b.print(os.Stdout)
	if *raw != "" {
		if err := os.WriteFile(*raw, []byte(b.lines), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}

// bench collects the table's rows.
type bench struct {
	binary   string
	turns    int
	length   time.Duration
	profiles string
	rows     [][3]string // what, wanted, measured
	lines    string      // single measurements in the form of go test -bench
}

func (b *bench) row(what, wanted, measured string) {
	b.rows = append(b.rows, [3]string{what, wanted, measured})
}

func (b *bench) note(name string, perSecond float64) {
	b.lines += fmt.Sprintf("Benchmark%s 1 %.1f ns/op %.0f events/s\n", name, 1e9/perSecond, perSecond)
}

func (b *bench) print(f *os.File) {
	fmt.Fprintln(f, "| what | wanted | measured |")
	fmt.Fprintln(f, "|---|---|---|")
	for _, r := range b.rows {
		fmt.Fprintf(f, "| %s | %s | %s |\n", r[0], r[1], r[2])
	}
}

// contest measures several servers in turns and returns the median of each, in
// events a second.
func (b *bench) contest(load loadSpec, servers []contestant) (map[string]float64, error) {
	all := map[string][]float64{}
	for turn := range b.turns {
		for _, c := range servers {
			s, err := c.start()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			spec := load
			spec.url, spec.path = s.url, c.path
			if _, _, err := spec.run(time.Second, turn*2); err != nil { // warm up
				s.stop()
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			_, got, err := spec.run(b.length, turn*2+1)
			s.stop()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(os.Stderr, "  turn %d  %-28s %9.0f events/s\n", turn+1, c.name, got)
			all[c.name] = append(all[c.name], got)
			b.note(c.name, got)
		}
	}
	medians := map[string]float64{}
	for name, values := range all {
		slices.Sort(values)
		medians[name] = values[len(values)/2]
	}
	return medians, nil
}

type contestant struct {
	name  string
	path  string
	start func() (*server, error)
}

func (b *bench) requests() error {
	m, err := b.contest(loadSpec{connections: 64, batch: 1}, []contestant{
		{"bare", "/", self("bare", b.profiles)},
		{"edge", "/api/v1/events", self("edge", b.profiles)},
		{"message_per_event", "/", self("single", b.profiles)},
		{"up", "/api/v1/events", b.up},
	})
	if err != nil {
		return err
	}
	b.row("single-event requests, 64 connections, synced before the answer", "0.50 × a bare handler",
		fmt.Sprintf("**%.2f ×**: %.0f/s against %.0f/s", m["edge"]/m["bare"], m["edge"], m["bare"]))
	b.row("the same, against one JetStream message an event, synced", "5 ×",
		fmt.Sprintf("**%.1f ×**: %.0f/s against %.0f/s", m["edge"]/m["message_per_event"], m["edge"], m["message_per_event"]))
	b.row("the same in `kgents up`, which also delivers and counts them meanwhile", "—",
		fmt.Sprintf("%.2f × a bare handler: %.0f/s", m["up"]/m["bare"], m["up"]))
	return nil
}

func (b *bench) batches() error {
	m, err := b.contest(loadSpec{connections: 16, batch: 100}, []contestant{
		{"edge_batch100", "/api/v1/events", self("edge", "")},
		{"up_batch100", "/api/v1/events", b.up},
	})
	if err != nil {
		return err
	}
	b.row("batches of 100 events, synced before the answer", "150,000 events/s", fmt.Sprintf("**%.0f events/s**", m["edge_batch100"]))
	b.row("the same in `kgents up`, which also delivers and counts them meanwhile", "—", fmt.Sprintf("%.0f events/s", m["up_batch100"]))
	return nil
}
