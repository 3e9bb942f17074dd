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

// vital is a figure that the live view shows as it moves. A count that only grows is
// shown as how fast it does.
type vital struct {
	path, field string
	grows       bool
}

// vitals are what one looks at first: what comes in, what waits, what goes wrong. What
// a system doesn't have is left out.
var vitals = []vital{
	{"world.api", "requests", true}, {"world.api", "5xx", true}, {"world.api", "99 % answered within", false},
	{"world.stripe.webhooks", "received", true}, {"world.stripe.webhooks", "refused", true},
	{"world.nats.stream", "published", false},
	{"world.nats.consumer", "backlog", false}, {"world.nats.consumer", "oldest waiting", false},
	{"world.openmeter", "sent", false}, {"world.openmeter", "errors", false},
	{"world.deadletter", "waiting", false}, {"world.spool", "events", false},
	{"self.budget", "left", false},
}

// view is the live view's memory.
type view struct {
	s      *Shell
	mu     sync.Mutex
	series map[vital][]float64
	counts map[vital]counted // of those that grow
}

// counted is a count at a time.
type counted struct {
	at time.Time
	n  float64
}

func newView(s *Shell) *view {
	return &view{s: s, series: map[vital][]float64{}, counts: map[vital]counted{}}
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
	v := newView(s)
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
	values := map[string]*tree.Value{}
	var mu sync.Mutex // of values
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
	if s.o.Sources.PrometheusURL != "" {
		asks.Go(func() { alerts, _ = get("world.alerts") })
	}
	for i, x := range vitals {
		if i > 0 && vitals[i-1].path == x.path {
			continue
		}
		asks.Go(func() {
			value, _ := get(x.path) // what is away is left out; the parts above say so
			mu.Lock()
			defer mu.Unlock()
			values[x.path] = value
		})
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
		parts.Title, parts.State, parts.Fields, parts.Notes, parts.Next = "", "", nil, nil, nil
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
func (v *view) figures(values map[string]*tree.Value, width int) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, now := v.s, v.s.o.Now()
	var out []string
	path := ""
	for _, x := range vitals {
		f, ok := fieldOf(values[x.path], x.field)
		if !ok {
			continue
		}
		n, known := numeric(f.Value)
		unit, name := f.Unit, x.field
		var shown any = f.Value
		if x.grows {
			before, had := v.counts[x]
			if known {
				v.counts[x] = counted{now, n}
			}
			took := now.Sub(before.at).Seconds()
			if known = known && had && took > 0 && n >= before.n; known { // else it began anew
				n = (n - before.n) / took
			}
			shown, unit = nil, "1/s"
			if known {
				shown = n
			}
		}
		if known {
			v.series[x] = append(v.series[x], n)
			v.series[x] = v.series[x][max(0, len(v.series[x])-kept):]
		}
		text := printable(tree.Human(shown, unit, now))
		if f.State != "" && f.State != tree.Well {
			text = s.mark(f.State, text)
		}
		label := x.path
		if x.path == path {
			label = ""
		}
		path = x.path
		line := term.Pad(s.style.Faint(label), 23) + " " + term.Pad(name, 20) + " " + term.Pad(text, 14)
		if room := width - term.Width(line) - 2; room > 4 {
			series := v.series[x]
			line += "  " + s.style.Hue(0, term.Sparkline(series[max(0, len(series)-room):]))
		}
		out = append(out, line)
	}
	return out
}

func fieldOf(v *tree.Value, name string) (tree.Field, bool) {
	if v == nil {
		return tree.Field{}, false
	}
	for _, f := range v.Fields {
		if f.Name == name {
			return f, true
		}
	}
	return tree.Field{}, false
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
