package app

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/kgents/kgents/history"
	"github.com/kgents/kgents/publish"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/trace"
)

// startHistory comes before everything that has something to tell, and so ends after it.
func (a *App) startHistory(context.Context) error {
	host, _ := os.Hostname() // of a pod its name
	a.past = history.New(history.Config{
		JetStream: a.js, Stream: a.streams, Replica: string(a.role) + "/" + cmp.Or(host, "unnamed"), Log: a.log,
	})
	a.onStop(a.past.Close)
	return nil
}

// startSeries comes after all metrics are registered.
func (a *App) startSeries() {
	if a.past == nil {
		return
	}
	a.series = history.NewSeries(a.reg, a.log)
	a.onStop(a.series.Close)
}

// followEvents answers how far an event has come.
func (a *App) followEvents() *trace.Tracer {
	c := trace.Config{JetStream: a.js, Stream: a.streams, Meter: a.meter, Log: a.log}
	if s := a.spool; s != nil {
		c.Spooled = func() int { return s.Status().Events }
	}
	return trace.New(c)
}

func (a *App) remember(kind history.Kind, what, detail string) {
	a.past.Add(history.Entry{Kind: kind, What: what, Detail: detail})
}

func (a *App) rememberCircuit(from, to publish.State) {
	a.remember(history.Circuit, fmt.Sprintf("the circuit in front of NATS is %s", to), fmt.Sprintf("it was %s", from))
}

func (a *App) rememberReconciliation(r reconcile.Report) {
	t := r.Total
	a.remember(history.Reconciliation, fmt.Sprintf("the meter and the stream differ: %d missing, %d mended, %d surplus, %d different", t.Missing, t.Mended, t.Surplus, t.Different),
		fmt.Sprintf("of %d events from %s to %s", t.InStream, r.Since.UTC().Format("2006-01-02 15:04"), r.Until.UTC().Format("2006-01-02 15:04")))
}

// rememberHealth tells of components whose status has changed since the last look. The
// first look is what later ones are compared with. It is called from one goroutine.
func (a *App) rememberHealth(h health) {
	if a.watch.statuses == nil {
		a.watch.statuses = map[string]string{}
	}
	for _, c := range h.Components {
		was, known := a.watch.statuses[c.Name]
		if a.watch.statuses[c.Name] = c.Status; known && was != c.Status {
			a.past.Add(history.Entry{Kind: history.Health, What: fmt.Sprintf("%s is %s, was %s", c.Name, c.Status, was), Detail: c.Detail})
		}
	}
}
