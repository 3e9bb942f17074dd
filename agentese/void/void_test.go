package void_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/tree"
)

func field(v tree.Value, name string) any {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

func column(v tree.Value, name string) []string {
	i := slices.IndexFunc(v.Table.Columns, func(c tree.Column) bool { return c.Name == name })
	var out []string
	for _, row := range v.Table.Rows {
		if i >= 0 {
			out = append(out, fmt.Sprint(row[i]))
		}
	}
	return out
}

func kind(err error) agentese.Kind {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Kind
	}
	return ""
}

// A sample has each event once, is the same for a seed, and costs as is said. What the
// events carry is not for an explorer.
func TestSample(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Observer: tree.Explorer})
	if v := r.Must("void.entropy.sip"); len(v.Table.Rows) != 0 || field(v, "entropy left") != tree.SessionEntropy {
		t.Errorf("of nothing it draws %v, and leaves %v", v.Table.Rows, field(v, "entropy left"))
	}
	for i := range 20 {
		r.Send(fmt.Sprint("e", i), []string{"acme", "globex"}[i%2], "smallville")
	}
	r.Eventually("all are counted", func() bool { return r.Counted() == 20 })
	v := r.Must("void.entropy.sip[n=8]")
	ids := column(v, "id")
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 8 || len(column(v, "data")) != 0 || strings.Contains(fmt.Sprint(v), "greet") {
		t.Errorf("it has drawn %+v", v)
	}
	if field(v, "entropy left") != 0.09 {
		t.Errorf("it leaves %v", field(v, "entropy left"))
	}
	again := r.Must(fmt.Sprintf("void.entropy.sip[n=8][seed=%s]", field(v, "seed")))
	if d := cmp.Diff(v.Table.Rows, again.Table.Rows); d != "" {
		t.Errorf("the same seed draws otherwise:\n%s", d)
	}
	told := v.Next[len(v.Next)-1].Expr
	if d := cmp.Diff(v.Table.Rows, r.Must(told).Table.Rows); d != "" {
		t.Errorf("%s, which it tells to draw the same with, draws otherwise:\n%s", told, d)
	}
	for _, who := range column(r.Must("void.entropy.sip[customer=acme][n=50]"), "customer") {
		if who != "acme" {
			t.Errorf("among acme's is one of %s", who)
		}
	}
	r.Session.Observer = tree.Developer
	if data := column(r.Must("void.entropy.sip[n=1]"), "data"); len(data) != 1 || !strings.Contains(data[0], "greet") {
		t.Errorf("a developer sees %v", data)
	}
	if v := r.Must("void.entropy.sip[dry_run]"); v.Table != nil || !strings.Contains(v.Text, "would draw 5") {
		t.Errorf("a dry run is %+v", v)
	}
	if _, err := r.Run("void.entropy.sip[entropy=0.001]"); kind(err) != agentese.KindDeclined {
		t.Errorf("for less than it costs: %v", err)
	}
	if _, err := r.Run("void.entropy.sip[since=2099-01-01]"); kind(err) != agentese.KindClause {
		t.Errorf("from the future: %v", err)
	}
	r.Session.Observer = tree.Default
	if _, err := r.Run("void.entropy.sip"); kind(err) != agentese.KindObserver {
		t.Errorf("by default: %v", err)
	}
	// What is given back can't be drawn any more; giving twice gives nothing.
	if v := r.Must("void.gratitude.tithe"); field(v, "given back now") != 0.05 || field(v, "spent") != 0.05 {
		t.Errorf("the tithe is %+v", v.Fields)
	}
	if v := r.Must("void.gratitude.tithe"); field(v, "given back now") != 0.0 || field(v, "given back in all") != 0.05 {
		t.Errorf("the second tithe is %+v", v.Fields)
	}
	r.Session.Observer = tree.Admin
	if _, err := r.Run("void.entropy.sip"); kind(err) != agentese.KindDeclined {
		t.Errorf("with nothing left: %v", err)
	}
	if len(r.Audit()) > 0 {
		t.Errorf("a sample is in the audit: %v", r.Audit())
	}
}

// Of more events than a page has, moments are drawn: a quiet hour counts as much as a
// busy one.
func TestSampleOverTime(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Observer: tree.Explorer})
	begin := time.Now().UTC().Add(-10 * time.Hour).Truncate(time.Second)
	send := func(id string, at time.Time) {
		r.SendEvent(fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"rig","type":"town.interaction","subject":"acme","time":%q,"data":{"town":"x","operation":"greet"}}`, id, at.Format(time.RFC3339)))
	}
	for i := range 10 {
		send(fmt.Sprint("quiet-", i), begin.Add(time.Duration(i)*time.Hour))
	}
	for i := range 110 { // all of them within the last minute but one
		send(fmt.Sprint("busy-", i), begin.Add(10*time.Hour-time.Minute))
	}
	r.Eventually("all are counted", func() bool { return r.Counted() == 120 })
	v := r.Must("void.entropy.sip[n=6][since=11h][seed=fair]")
	ids := column(v, "id")
	quiet := 0
	for _, id := range ids {
		if strings.HasPrefix(id, "quiet-") {
			quiet++
		}
	}
	if len(ids) != 6 || quiet < 4 {
		t.Errorf("of a quiet time that is ten hours long and a busy minute it draws %v", ids)
	}
	if !strings.Contains(strings.Join(v.Notes, " "), "Drawn over time") {
		t.Errorf("it does not say how it was drawn: %v", v.Notes)
	}
	// Where the time begins long before the first event, that costs few questions.
	if v := r.Must("void.entropy.sip[n=3][since=300d][seed=fair]"); len(v.Table.Rows) != 3 {
		t.Errorf("over a long time it draws %v", v.Table.Rows)
	}
}

// The shadow is worked out: what it names is in what it looked at, and what has a reason
// has the page's.
func TestShadow(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Least: true})
	v := r.Must("void.shadow.manifest")
	rows := map[string][]string{}
	for i, of := range column(v, "of") {
		rows[of] = append(rows[of], column(v, "what")[i])
	}
	for of, want := range map[string]string{
		"tests": "on-call: ", "alerts": "IdempotencyErrors",
	} {
		if !slices.ContainsFunc(rows[of], func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("%s lacks %s: %v", of, want, rows[of])
		}
	}
	for of, not := range map[string]string{
		"tests": "a crash at publish.before", "alerts": "NATSCircuitOpen", "metrics": "kgents_nats_circuit_state",
	} {
		if slices.Contains(rows[of], not) {
			t.Errorf("%s has %s, which is covered", of, not)
		}
	}
	alerts := r.Must("void.shadow.manifest[of=alerts]")
	for i, why := range column(alerts, "why") {
		if why == "" || why == "<nil>" {
			t.Errorf("%s has no reason", column(alerts, "what")[i])
		}
	}
	if field(v, "alerts") != field(alerts, "alerts") || field(alerts, "tests") != nil {
		t.Errorf("%v and %v", v.Fields, alerts.Fields)
	}
	if v := r.Must("void.manifest"); field(v, "in the shadow") != int64(len(rows["tests"])+len(rows["alerts"])+len(rows["metrics"])) {
		t.Errorf("at a glance it is %+v", v.Fields)
	}
}

// Events that all came within a moment of a long time are drawn in the number that was
// asked for, each once.
func TestSampleOfABurst(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{Observer: tree.Explorer})
	for i := range 120 {
		r.Send(fmt.Sprint("e", i), "acme", "smallville")
	}
	r.Eventually("all are counted", func() bool { return r.Counted() == 120 })
	v := r.Must("void.entropy.sip[n=20][since=30d]")
	ids := column(v, "id")
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 20 || field(v, "drawn") != int64(20) || !strings.Contains(strings.Join(v.Notes, " "), "from the newest 100 events") {
		t.Errorf("of 120 events it has drawn %d: %v", n, v.Notes)
	}
}
