package world_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/tree"
)

// cells are those of a table's column, as text.
func cells(v tree.Value, column string) (out []string) {
	if v.Table == nil {
		return nil
	}
	for i, c := range v.Table.Columns {
		if c.Name == column {
			for _, row := range v.Table.Rows {
				out = append(out, fmt.Sprint(row[i]))
			}
		}
	}
	return out
}

// field is a figure by its name.
func field(v tree.Value, name string) tree.Field {
	for _, f := range v.Fields {
		if f.Name == name {
			return f
		}
	}
	return tree.Field{Name: "there is no " + name}
}

func kind(err error) agentese.Kind {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Kind
	}
	return ""
}

// Letters are listed, counted, previewed and replayed by expression; what is refused
// again is told, and what the meter takes after it was mended counts once.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	for i := range 3 {
		r.Send(fmt.Sprint("bad-", i), []string{"acme", "globex"}[i%2], agentesetest.Poison)
	}
	r.Send("good", "acme", "smallville")
	r.Eventually("three letters, one counted", func() bool { return r.Waiting() == 3 && r.Counted() == 1 })

	v := r.Must("world.deadletter.manifest[customer=acme]")
	if d := cmp.Diff([]string{"bad-0", "bad-2"}, cells(v, "id")); d != "" {
		t.Errorf("acme's letters (-want +got):\n%s", d)
	}
	if v.State != tree.Warn || field(v, "newest").State != tree.Warn {
		t.Errorf("with new dead letters the state is %q, want that of the alert DeadLettersGrowing", v.State)
	}
	v = r.Must("world.deadletter.lens[by=customer]")
	if d := cmp.Diff([][]string{{"acme", "globex"}, {"2", "1"}}, [][]string{cells(v, "customer"), cells(v, "count")}); d != "" {
		t.Errorf("letters by customer (-want +got):\n%s", d)
	}

	v = r.Must("world.deadletter.refine[do=replay][dry_run=true]")
	if !strings.Contains(v.Text, "replay 3 dead letters: 3 refused 400") || !strings.Contains(v.Text, "2 acme, 1 globex") {
		t.Errorf("the plan is %q", v.Text)
	}
	if r.Waiting() != 3 || len(r.Audit()) != 0 {
		t.Error("a dry run has changed something")
	}
	if _, err := r.Run("world.deadletter.refine[do=replay]"); kind(err) != agentese.KindDeclined {
		t.Errorf("without anybody to ask the error is %v", err)
	}

	// Too early: each is a letter again, with a count one higher.
	v = r.Must("world.deadletter.manifest[customer=acme] >> world.deadletter.refine[do=replay][yes=true]")
	if got := field(v, "replayed").Value; got != int64(2) || !v.Changed {
		t.Errorf("%v were replayed, want 2", got)
	}
	r.Eventually("they are letters again", func() bool {
		return strings.Join(cells(r.Must("world.deadletter.manifest[sort=refused]"), "refused"), " ") == "1 2 2"
	})

	r.Meter.Heal()
	r.Must("world.deadletter.refine[do=replay][reason=refused][yes=true]")
	r.Eventually("all four are counted", func() bool { return r.Counted() == 4 })
	if v := r.Must("world.deadletter.manifest"); v.State != tree.Well || len(v.Table.Rows) != 0 {
		t.Errorf("after the replay there are %d letters, state %q", len(v.Table.Rows), v.State)
	}
	var outcomes []string
	for _, e := range r.Audit() {
		outcomes = append(outcomes, e.Outcome)
	}
	if d := cmp.Diff([]string{"begun", "done", "begun", "done"}, outcomes); d != "" {
		t.Errorf("audit (-want +got):\n%s", d)
	}
	if v := r.Must("world.deadletter.refine[do=replay]"); v.Title != "Nothing to do" {
		t.Errorf("with no letters left, a replay is %q", v.Title)
	}
}

// Who may see what an event carries, replay one or many, and drop.
func TestObservers(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	r.Send("1", "acme", agentesetest.Poison)
	r.SendWebhook("evt_1", "invoice.paid")
	r.Eventually("a letter, and Stripe's event", func() bool {
		if got := cells(r.Must("world.stripe.events.manifest"), "id"); !slices.Contains(got, "evt_1") || slices.Contains(got, "1") {
			return false // of Stripe's alone
		}
		v, err := r.Run("world.stripe.events.evt_1.manifest")
		return r.Waiting() == 1 && err == nil && field(v, "where").Value == "metered"
	})
	for _, step := range []struct {
		expr  string
		least tree.Observer
		word  string // shown by who may see what is carried
	}{
		{"world.deadletter.manifest", tree.Default, ""},
		{"world.deadletter.1.manifest", tree.Default, agentesetest.Poison},
		{"world.openmeter.events.manifest", tree.Default, "invoice_id"},
		{"world.stripe.events.evt_1.manifest", tree.Default, "invoice_id"},
		{"world.deadletter.1.refine[dry_run=true]", tree.Developer, ""},
		{"world.deadletter.refine[dry_run=true]", tree.Architect, ""},
		{"world.openmeter.reconciliation.refine[dry_run=true]", tree.Architect, ""},
		{"world.deadletter.1.refine[do=drop][dry_run=true]", tree.Admin, ""},
		{"world.deadletter.refine[do=drop][dry_run=true]", tree.Admin, ""},
	} {
		for _, o := range tree.Observers() {
			r.Session.Observer = o
			v, err := r.Run(step.expr)
			if may := o >= step.least; (err == nil) != may {
				t.Errorf("%s as %s: %v", step.expr, o, err)
			} else if !may && kind(err) != agentese.KindDenied && kind(err) != agentese.KindObserver {
				t.Errorf("%s as %s: the kind is %q", step.expr, o, kind(err))
			}
			if step.word == "" {
				continue
			}
			b, _ := json.Marshal(v)
			if has := strings.Contains(string(b), step.word); has != (o >= tree.Developer) {
				t.Errorf("%s as %s: what the event carries is shown: %t", step.expr, o, has)
			}
		}
	}
}

// Dropping is for ever.
func TestDrop(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	r.Send("1", "acme", agentesetest.Poison)
	r.Eventually("a letter", func() bool { return r.Waiting() == 1 })
	if _, err := r.Run("world.deadletter.1.refine[do=drop][rollback=30s][yes=true]"); kind(err) != agentese.KindDeclined {
		t.Errorf("a drop that is to be undone gives %v", err)
	}
	r.Must("world.deadletter.1.refine[do=drop][yes=true]")
	if r.Waiting() != 0 {
		t.Error("the letter is still there")
	}
	if _, err := r.Run("world.deadletter.1.manifest"); kind(err) != agentese.KindNotFound {
		t.Errorf("a letter that is gone gives %v", err)
	}
	if _, err := r.Run("world.deadletter.first.manifest"); kind(err) != agentese.KindNotFound {
		t.Errorf("what is no number gives %v", err)
	}
	for _, wrong := range []string{
		"world.manifest >> world.deadletter.refine[dry_run=true]",
		"world.deadletter.manifest >> world.deadletter.refine[reason=refused][dry_run=true]",
	} {
		if _, err := r.Run(wrong); err == nil {
			t.Errorf("%s runs", wrong)
		}
	}
}

// An event that the meter has forgotten is found by comparison and sent again.
func TestReconciliation(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	r.Send("1", "acme", "smallville")
	r.Eventually("one is counted", func() bool { return r.Counted() == 1 }) // not in one batch with the next
	r.Send("2", "acme", agentesetest.Lost)
	missing := "world.openmeter.reconciliation.manifest[since=1h][settle=1ms]"
	r.Eventually("one is missing", func() bool {
		v, err := r.Run(missing)
		return err == nil && field(v, "missing").Value == int64(1) && field(v, "in stream").Value == int64(2)
	})
	if v := r.Must(missing); v.State != tree.Bad {
		t.Errorf("with an event that isn't counted the state is %q, want that of ReconcileMissingEvents", v.State)
	}
	plan := r.Must("world.openmeter.reconciliation.refine[since=1h][settle=1ms][dry_run=true]")
	if !strings.Contains(plan.Text, "send 1 missing events of the last 1h to the meter again") || !strings.Contains(plan.Text, "town.interaction of customer acme") {
		t.Errorf("the plan is %q", plan.Text)
	}
	// What is missed between the preview and its yes isn't sent, and is found by the next.
	asked := 0
	r.Session.Yes, r.Session.Confirm = false, func(context.Context, tree.Preview) (bool, error) {
		if asked++; asked == 1 {
			r.Send("3", "acme", agentesetest.Lost)
			r.Eventually("two are missing", func() bool { return field(r.Must(missing), "missing").Value == int64(2) })
			r.Meter.Heal()
			return true, nil
		}
		r.Must("world.openmeter.reconciliation.refine[since=1h][settle=1ms][yes=true]")
		return true, nil
	}
	v := r.Must("world.openmeter.reconciliation.refine[since=1h][settle=1ms]")
	if mended, all := field(v, "mended").Value, field(v, "in stream").Value; mended != int64(1) || all != int64(2) || len(v.Notes) != 0 {
		t.Errorf("%v of %v were mended, want 1 of 2: %v", mended, all, v.Notes)
	}
	if got := r.Counted(); got != 2 {
		t.Errorf("%d are counted, want 2", got)
	}
	// What was counted meanwhile isn't sent, and that is said.
	v = r.Must("world.openmeter.reconciliation.refine[since=1h][settle=1ms]")
	if mended := field(v, "mended").Value; mended != int64(0) || !slices.Contains(v.Notes, "1 of the 1 were no longer missing and were not sent.") {
		t.Errorf("%v were mended, want 0: %v", mended, v.Notes)
	}
	if got := r.Counted(); got != 3 {
		t.Errorf("%d are counted, want 3", got)
	}
	if v := r.Must("world.openmeter.reconciliation.refine[since=1h][settle=1ms]"); v.Title != "Nothing to do" {
		t.Errorf("when nothing is missing, refine is %q", v.Title)
	}
}

// When NATS goes, its circuit opens, events wait on local disk, and each part says so;
// what could not be had is unknown, and no part takes the others with it.
func TestCircuit(t *testing.T) {
	t.Parallel()
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	stop := func() { nats.Shutdown(); nats.WaitForShutdown() }
	t.Cleanup(stop)
	r := agentesetest.Start(t, agentesetest.Options{Env: map[string]string{"NATS_SERVERS": "nats://" + nats.Addr().String(), "SPOOL_DIR": t.TempDir()}})
	r.Send("1", "acme", "smallville")
	r.Eventually("one is counted", func() bool { return r.Counted() == 1 })
	if v := r.Must("world.nats.circuit.manifest"); v.State != tree.Well || field(v, "circuit").Value != "closed" {
		t.Errorf("before, the circuit is %v", v.Fields)
	}
	stop()
	n := 1
	r.Eventually("the circuit is open", func() bool {
		n++
		r.Send(fmt.Sprint(n), "acme", "smallville")
		return field(r.Must("world.nats.circuit.manifest"), "circuit").Value == "open"
	})
	v := r.Must("world.nats.circuit.manifest")
	if v.State != tree.Bad {
		t.Errorf("an open circuit has the state %q", v.State)
	}
	if v := r.Must("world.spool.manifest"); v.State != tree.Warn || field(v, "events").Value == int64(0) {
		t.Errorf("with events on local disk the spool is %q, %v", v.State, v.Fields)
	}
	if v := r.Must("world.nats.consumer.manifest"); v.State != tree.Unknown || len(v.Notes) == 0 {
		t.Errorf("without NATS the backlog is %q, %v", v.State, v.Fields)
	}
	if v := r.Must("world.nats.manifest"); v.State != tree.Warn || field(v, "connected").Value != false {
		t.Errorf("without NATS and with a spool it is %q, %v", v.State, v.Fields)
	}
	v = r.Must("world.nats.circuit.witness")
	if got := cells(v, "what"); len(got) == 0 || !strings.HasSuffix(got[0], "is open") {
		t.Errorf("the circuit's history is %q", got)
	}
	// The sentence that is counted by.
	if got := field(r.Must("world.nats.circuit.manifest"), "opened").Value; got == int64(0) || got == nil {
		t.Errorf("it has opened %v times", got)
	}
	if v := r.Must("world.manifest"); v.State != tree.Warn {
		t.Errorf("the whole is %q, want degraded as /health has it", v.State)
	}
	if v := r.Must("world.alerts.manifest"); !strings.Contains(strings.Join(cells(v, "alert"), " "), "SpoolInUse") {
		t.Errorf("without Prometheus the alerts that would fire are %q", cells(v, "alert"))
	}
	if _, err := r.Run("world.deadletter.manifest"); kind(err) != agentese.KindAway {
		t.Errorf("dead letters without NATS give %v", err)
	}
}

// Nobody there, or a wrong key, is said with what to do, and the key is nowhere.
func TestAway(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{})
	r.Client.Key = "kg_wrong-and-secret"
	for _, expr := range []string{"world.nats.manifest", "world.deadletter.manifest", "world.openmeter.usage.manifest"} {
		_, err := r.Run(expr)
		if kind(err) != agentese.KindDenied || strings.Contains(err.Error(), r.Client.Key) {
			t.Errorf("%s with a wrong key: %v", expr, err)
		}
	}
	if v := r.Must("world.manifest"); v.State != tree.Well || len(v.Notes) == 0 {
		t.Errorf("without a key, what needs none is %q with %d notes", v.State, len(v.Notes))
	}
	r.Client.URL = "http://127.0.0.1:1"
	for _, p := range r.Tree.Places() {
		a, ok := p.Node.Affordance(agentese.Manifest)
		if !ok || !strings.HasPrefix(a.Examples[0].Expr, "world.") {
			continue
		}
		_, err := r.Run(a.Examples[0].Expr)
		if err != nil && kind(err) != agentese.KindAway {
			t.Errorf("%s with nobody there: %v", a.Examples[0].Expr, err)
		}
	}
}

// What came is counted, and shown by meter, customer and time.
func TestUsage(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{})
	for i := range 3 {
		r.Send(fmt.Sprint(i), []string{"acme", "globex"}[i%2], "smallville")
	}
	r.Eventually("three are counted", func() bool { return r.Counted() == 3 })
	v := r.Must("world.openmeter.usage.manifest[meter=town_interactions][sort=-value][columns=customer,value]")
	if d := cmp.Diff([][]any{{"acme", 2.0}, {"globex", 1.0}}, v.Table.Rows); d != "" {
		t.Errorf("usage (-want +got):\n%s", d)
	}
	v = r.Must("world.openmeter.usage.manifest[customer=globex][from=2h][window=hour]")
	if d := cmp.Diff([]string{"globex"}, cells(v, "customer")); d != "" {
		t.Errorf("one customer's usage by the hour (-want +got):\n%s", d)
	}
	if _, err := r.Run("world.openmeter.usage.manifest[meter=nothing]"); kind(err) != agentese.KindNotFound {
		t.Errorf("a meter that isn't there gives %v", err)
	}
	if v := r.Must("world.openmeter.events.manifest[customer=acme]"); len(v.Table.Rows) != 2 {
		t.Errorf("acme's events are %v", v.Table.Rows)
	}
	bad := r.Client
	if err := bad.Do(t.Context(), http.MethodPost, "/webhooks/stripe", nil, map[string]string{"id": "evt_1"}, nil); err == nil {
		t.Error("a webhook without a signature is taken")
	}
	v = r.Must("world.stripe.webhooks.manifest[where=what=no_signature]")
	if d := cmp.Diff([]string{"1"}, cells(v, "count")); d != "" {
		t.Errorf("webhooks refused without a signature (-want +got):\n%s", d)
	}
}
