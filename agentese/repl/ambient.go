package repl

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// kept is how many values of a figure are drawn.
const kept = 30

// vitals are the paths whose figures the live view shows as they move, and how many of
// each. What a system doesn't have is left out.
var vitals = []struct {
	path    string
	figures int
}{
	{"world.api", 3}, {"world.stripe.webhooks", 3}, {"world.nats.consumer", 3}, {"world.nats.stream", 2},
	{"world.openmeter", 3}, {"world.deadletter", 2}, {"world.spool", 2}, {"self.budget", 2},
}

// view is the live view's memory.
type view struct {
	s      *Shell
	mu     sync.Mutex
	series map[string][]float64
}

// ambient shows the live view until q.
func (s *Shell) ambient(ctx context.Context, args string) outcome {
	every, err := everyOf(args)
	if err != nil {
		return outcome{err: err}
	}
	if s.screen == nil {
		return outcome{err: noScreen("ambient")}
	}
	v := &view{s: s, series: map[string][]float64{}}
	return outcome{err: s.screen(ctx, func(ctx context.Context, width int) []string { return v.look(ctx, width, every) }, every)}
}

// Ambient is the live view at a terminal, until q, Ctrl-C, SIGTERM or ctx's end.
func (s *Shell) Ambient(ctx context.Context, every time.Duration) error {
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP, os.Interrupt)
	defer cancel()
	s.screen = s.onScreen
	out := s.ambient(ctx, every.String())
	return out.err
}

// look asks for everything at once, and draws it.
func (v *view) look(ctx context.Context, width int, every time.Duration) []string {
	s := v.s
	values := make([]*tree.Value, len(vitals))
	var parts, alerts *tree.Value
	var partsErr error
	var asks sync.WaitGroup
	get := func(path string) (*tree.Value, error) {
		step := agentese.NewStep(agentese.Manifest, strings.Split(path, ".")...)
		session := &tree.Session{Observer: tree.Default, Budget: s.session.Budget, Clock: s.o.Now}
		if _, _, err := s.tree.Resolve(step, session); err != nil {
			return nil, nil // not built, or not open
		}
		value, err := s.tree.Run(ctx, agentese.Expression{Steps: []agentese.Step{step}}, session)
		if err != nil {
			return nil, err
		}
		return &value, nil
	}
	asks.Go(func() { parts, partsErr = get("world") })
	if s.o.Sources.PrometheusURL != "" || s.o.Sources.AlertmanagerURL != "" {
		asks.Go(func() { alerts, _ = get("world.alerts") })
	}
	for i, vital := range vitals {
		asks.Go(func() { values[i], _ = get(vital.path) })
	}
	asks.Wait()

	url := ""
	if s.o.Sources.API != nil {
		url = s.o.Sources.API.URL
	}
	head := s.style.Strong("kgents") + "  " + printable(url)
	if parts != nil && parts.State != "" {
		head += "  " + s.mark(parts.State, "● "+string(parts.State))
	}
	lines := []string{head + s.style.Faint(fmt.Sprintf("   %s   every %s, q leaves", s.o.Now().Format("15:04:05"), every)), ""}
	switch {
	case partsErr != nil:
		lines = append(lines, s.trouble(partsErr, width)...)
	case parts != nil:
		parts.Title, parts.State, parts.Notes, parts.Next = "", "", nil, nil
		lines = append(lines, s.draw(*parts, width, s.o.Now())...)
	}
	if alerts != nil {
		lines = append(lines, "")
		alerts.Notes, alerts.Next = nil, nil
		if t := alerts.Table; t != nil && len(t.Rows) > 8 {
			short := *t
			short.Total, short.Rows = max(t.Total, len(t.Rows)), t.Rows[:8]
			alerts.Table = &short
		}
		lines = append(lines, s.draw(*alerts, width, s.o.Now())...)
	}
	if figures := v.figures(values, width); len(figures) > 0 {
		lines = append(append(lines, ""), figures...)
	}
	return lines
}

// figures draws the vitals, each with how it has moved.
func (v *view) figures(values []*tree.Value, width int) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.s
	var out []string
	for i, value := range values {
		if value == nil {
			continue
		}
		left := vitals[i].figures
		title := vitals[i].path
		for _, f := range value.Fields {
			n, ok := numeric(f.Value)
			if !ok || left == 0 {
				continue
			}
			left--
			key := vitals[i].path + " " + f.Name
			v.series[key] = append(v.series[key], n)
			v.series[key] = v.series[key][max(0, len(v.series[key])-kept):]
			text := printable(tree.Human(f.Value, f.Unit, s.o.Now()))
			if f.State != "" && f.State != tree.Well {
				text = s.mark(f.State, text)
			}
			spark := ""
			if room := width - 24 - 28 - 18; room > 4 {
				series := v.series[key]
				spark = s.style.Hue(0, term.Sparkline(series[max(0, len(series)-room):]))
			}
			out = append(out, term.Pad(s.style.Faint(title), 24)+term.Pad(printable(f.Name), 28)+term.Pad(text, 18)+spark)
			title = ""
		}
	}
	return out
}

func numeric(v any) (float64, bool) {
	switch n := v.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	case time.Duration:
		return n.Seconds(), true
	}
	return 0, false
}
