package when_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/tree"
)

// row is the first whose column has this value, by columns; nil without one.
func row(v tree.Value, column string, value any) map[string]any {
	for _, r := range v.Table.Rows {
		out := map[string]any{}
		for i, c := range v.Table.Columns {
			out[c.Name] = r[i]
		}
		if out[column] == value {
			return out
		}
	}
	return nil
}

func field(v tree.Value, name string) any {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

func leads(v tree.Value, expr string) bool {
	return slices.ContainsFunc(v.Next, func(e tree.Example) bool { return e.Expr == expr })
}

func kind(err error) agentese.Kind {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Kind
	}
	return ""
}

// Over a real program: what was counted, refused and changed is found, and what isn't
// known is said to be so.
func TestOverARealProgram(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Refusing: true})
	r.Send("1", "acme", "smallville")
	r.SendWebhook("evt_1", "invoice.paid")
	r.Send("2", "acme", agentesetest.Poison)
	r.SendEvent(`{"specversion":"1.0","id":"1","source":"other","type":"town.interaction","subject":"globex","data":{"town":"x","operation":"greet"}}`)
	r.Eventually("acme is a customer", func() bool {
		return r.Client.Do(t.Context(), http.MethodPost, "/v1/customers", nil, map[string]string{"id": "acme"}, nil) == nil
	})
	if err := r.Client.Do(t.Context(), http.MethodPatch, "/v1/customers/acme", nil, map[string]string{"name": "Acme"}, nil); err != nil {
		t.Fatal(err)
	}
	r.Eventually("all came to their ends", func() bool { return r.Counted() == 2 && r.Waiting() == 1 })

	t.Run("trace", func(t *testing.T) {
		v := r.Must("time.trace.1.manifest[source=rig]")
		if v.State != tree.Well || field(v, "where") != "metered" || row(v, "stage", "metered")["state"] != "done" || row(v, "stage", "stream")["after"] == nil || !leads(v, "world.customers.acme.manifest") {
			t.Errorf("the metered one is %+v", v)
		}
		v = r.Must("time.trace.2.manifest")
		if v.State != tree.Warn || field(v, "where") != "dead letter" || !leads(v, "world.deadletter.1.manifest") {
			t.Errorf("the refused one is %+v", v)
		}
		v = r.Must("time.trace.1.manifest[since=90d]")
		if field(v, "rig") != "metered" || field(v, "other") != "metered" || row(v, "source", "other") == nil || !strings.Contains(strings.Join(v.Notes, " "), "30 days") {
			t.Errorf("two sources are %+v", v)
		}
		if v = r.Must("time.trace.evt_1.manifest"); !leads(v, "world.stripe.events.evt_1.manifest") {
			t.Errorf("Stripe's leads to %v", v.Next)
		}
		if v = r.Must("world.openmeter.events.manifest[id=evt_1] >> time.trace.manifest"); v.Title != "The way of the event evt_1" {
			t.Errorf("the piped one is %s", v.Title)
		}
		if v = r.Must("time.trace.manifest"); row(v, "id", "evt_1") == nil || row(v, "id", "1") == nil || row(v, "id", "2") != nil {
			t.Errorf("the newest are %v", v.Table.Rows)
		}
		for _, text := range []string{"time.trace.nobody.manifest", "time.trace.manifest[id=nobody]", `time.trace."a/../b".manifest`, `time.trace."..".manifest`} {
			if _, err := r.Run(text); kind(err) != agentese.KindNotFound {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
	t.Run("witness", func(t *testing.T) {
		v := r.Must("time.witness.manifest[of=world.nats][since=2h]")
		if w := r.Must("world.nats.witness[since=2h]"); len(v.Fields) != len(w.Fields) || !strings.HasPrefix(v.Title, "NATS, since") || !strings.HasPrefix(v.Path, "time.witness") {
			t.Errorf("NATS's history is %q of %q", v.Title, v.Path)
		}
		if v = r.Must("time.witness.manifest"); row(v, "path", "world.nats.circuit") == nil {
			t.Errorf("those with a history are %v", v.Table.Rows)
		}
		if v = r.Must("time.witness.manifest[of=world.customers.acme.keys]"); row(v, "what", "PATCH /v1/customers/acme") == nil {
			t.Errorf("what happened to acme is %v", v.Table.Rows)
		}
		for text, want := range map[string]agentese.Kind{
			"time.witness.manifest[of=world.plans]": agentese.KindNotFound, "time.witness.manifest[of=world.nowhere]": agentese.KindClause,
			`time.witness.manifest[of="world.nats.manifest >> world.redis"]`: agentese.KindClause, `time.witness.manifest[of="world.nats[since=1h]"]`: agentese.KindClause,
		} {
			if _, err := r.Run(text); kind(err) != want {
				t.Errorf("%s: %v", text, err)
			}
		}
	})
	t.Run("schedule", func(t *testing.T) {
		v := r.Must("time.schedule.manifest")
		if b := row(v, "job", "backup"); v.State != tree.Warn || b["overdue"] != true || b["last"] != nil {
			t.Errorf("a backup that was never made is %v, %s", b, v.State)
		}
		rec := row(v, "job", "reconciliation")
		if rec["overdue"] != false || rec["next"] == nil || time.Until(rec["until"].(time.Time)) > 4*time.Hour {
			t.Errorf("the reconciliation is %v", rec)
		}
	})
	t.Run("incident", func(t *testing.T) {
		v := r.Must("time.incident.manifest")
		if row(v, "kind", "start") == nil || row(v, "what", "POST /v1/customers")["who"] != "API_KEYS 1" || row(v, "kind", "deadletter") == nil || v.State != tree.Warn {
			t.Errorf("the timeline is %s %v", v.State, v.Table.Rows)
		}
		if !slices.IsSortedFunc(v.Table.Rows, func(a, b []any) int { return a[0].(time.Time).Compare(b[0].(time.Time)) }) {
			t.Error("it is not in order")
		}
		if at, _ := field(v, "first sign").(time.Time); at.IsZero() || !strings.Contains(fmt.Sprint(field(v, "still going on")), "dead letters wait") {
			t.Errorf("above it stand %+v", v.Fields)
		}
		if v = r.Must("time.incident.manifest[kind=deploy]"); len(v.Table.Rows) != 1 {
			t.Errorf("the deploys are %v", v.Table.Rows)
		}
	})
	t.Run("past", func(t *testing.T) {
		v := r.Must("time.past.manifest[at=20d][of=world.nats]")
		c := row(v, "part", "world.nats.circuit")
		if c["then"] != nil || c["now"] != 0.0 || c["difference"] != nil || !strings.Contains(strings.Join(v.Notes, " "), "Nothing older than") {
			t.Errorf("what nobody knows is %v, %v", c, v.Notes)
		}
		if v = r.Must("time.past.manifest[at=now]"); row(v, "part", "world.nats.circuit")["difference"] != 0.0 {
			t.Errorf("now beside now is %v", v.Table.Rows)
		}
		if _, err := r.Run("time.past.manifest[at=2099-01-01]"); kind(err) != agentese.KindClause {
			t.Errorf("the future is past: %v", err)
		}
	})
	t.Run("future", func(t *testing.T) {
		v := r.Must("time.future.manifest")
		for _, what := range []string{"disk", "stream", "spool", "backlog"} {
			if o := row(v, "what", what); o == nil || o["reached"] != nil || o["per hour"] != nil {
				t.Errorf("after some seconds, %s is said to be %v", what, o)
			}
		}
		if first := field(v, "first"); first != nil || !strings.Contains(strings.Join(v.Notes, " "), "Too little is known yet of disk") {
			t.Errorf("after some seconds, first comes %v: %q", first, v.Notes)
		}
		v = r.Must("time.future.manifest[customer=acme]")
		if len(v.Table.Rows) == 0 || row(v, "state", "error") != nil {
			t.Errorf("acme's limits are %v", v.Table.Rows)
		}
		if _, err := r.Run("time.future.manifest[of=disk][customer=acme]"); kind(err) != agentese.KindClause {
			t.Errorf("a customer has a disk: %v", err)
		}
	})
	if got := r.Audit(); len(got) > 0 {
		t.Errorf("looking has changed something: %+v", got)
	}
}
