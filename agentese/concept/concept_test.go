package concept_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/agentesetest"
	"github.com/kgents/kgents/agentese/concept"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/docs/saas"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// see runs an expression on concept alone, with the program away unless from has one.
func see(t *testing.T, from *living.Sources, text string) (tree.Value, error) {
	t.Helper()
	if from.API == nil {
		from.API = &client.Client{URL: "http://127.0.0.1:1", HTTP: &http.Client{}}
	}
	tr, err := tree.New(concept.Context(from))
	if err != nil {
		t.Fatal(err)
	}
	e, err := agentese.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return tr.Run(t.Context(), e, &tree.Session{Clock: func() time.Time { return noon }})
}

func must(t *testing.T, text string) tree.Value {
	t.Helper()
	v, err := see(t, &living.Sources{}, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func field(v tree.Value, name string) any {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// column is what a table has below a title.
func column(t *testing.T, v tree.Value, name string) []any {
	t.Helper()
	if v.Table == nil {
		t.Fatal("there is no table")
	}
	i := slices.IndexFunc(v.Table.Columns, func(c tree.Column) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no column %s", name)
	}
	var out []any
	for _, row := range v.Table.Rows {
		out = append(out, row[i])
	}
	return out
}

func kind(err error) agentese.Kind {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Kind
	}
	return ""
}

// Every promise of the page is shown with tests that are there.
func TestGuarantees(t *testing.T) {
	v := must(t, "concept.guarantees.manifest")
	if n := len(v.Table.Rows); n != 6 {
		t.Errorf("%d promises", n)
	}
	for i, tests := range column(t, v, "tests") {
		text, _ := tests.(string)
		if text == "" {
			t.Errorf("promise %d names no test", i+1)
		}
		for path := range strings.SplitSeq(text, ", ") {
			if path == "" || strings.HasPrefix(path, "chaos (") {
				continue
			}
			if _, err := os.Stat(filepath.Join("../..", path)); err != nil {
				t.Errorf("promise %d: %v", i+1, err)
			}
		}
	}
	faults := must(t, "concept.guarantees.manifest[of=faults]")
	if field(faults, "lost") != int64(0) || field(faults, "doubled") != int64(0) || faults.State != tree.Well || len(faults.Table.Rows) < 50 {
		t.Errorf("faults: %+v, %d rows", faults.Fields, len(faults.Table.Rows))
	}
	if one := must(t, "concept.guarantees.manifest[number=2]"); !strings.Contains(saas.Text(saas.Guarantees), one.Text) || one.Text == "" {
		t.Errorf("the second promise is %q", one.Text)
	}
	if _, err := see(t, &living.Sources{}, "concept.guarantees.manifest[number=42]"); kind(err) != agentese.KindClause {
		t.Errorf("a promise that isn't made: %v", err)
	}
}

// Every alert has its rule with a threshold or none, and its section of the runbook as
// it stands there; any spelling of its name leads to it.
func TestAlerts(t *testing.T) {
	rules, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	listed := column(t, must(t, "concept.alerts.manifest"), "alert")
	for _, name := range rules.Names() {
		if !slices.Contains(listed, any(name)) {
			t.Errorf("%s is not listed", name)
		}
		one := must(t, "concept.alerts."+strings.ToLower(name)+".manifest")
		if one.Title != name || one.Text == "" || strings.Contains(one.Text, "{{") || field(one, "means") == "" {
			t.Errorf("%s is %+v", name, one)
		}
		text := must(t, "concept.alerts."+name+".define").Text
		if !strings.Contains(saas.Text(saas.Runbook), text) || !strings.Contains(text, "**Means.**") || strings.Count(text, "```")%2 != 0 {
			t.Errorf("%s is defined as %q", name, text)
		}
	}
	open := must(t, "concept.alerts.NATSCircuitOpen.manifest")
	if got := column(t, open, "threshold"); !cmp.Equal(got, []any{"> 0"}) {
		t.Errorf("the threshold is %v", got)
	}
	if !slices.ContainsFunc(open.Next, func(e tree.Example) bool {
		return e.Expr == "concept.metrics.kgents_nats_circuit_state.manifest"
	}) {
		t.Errorf("it leads to %v", open.Next)
	}
	for _, severity := range column(t, must(t, "concept.alerts.manifest[severity=critical]"), "severity") {
		if severity != "critical" {
			t.Errorf("among the critical is a %v", severity)
		}
	}
	if _, err := see(t, &living.Sources{}, "concept.alerts.nothing.define"); kind(err) != agentese.KindNotFound {
		t.Errorf("an alert that isn't there: %v", err)
	}
}

// Every anchor by which alerts lead to the runbook leads to a section here.
func TestRunbook(t *testing.T) {
	for anchor := range alerts.Sections() {
		if anchor == "runbook" { // the page itself
			continue
		}
		v := must(t, "concept.runbook."+anchor+".manifest")
		if v.Text == "" && len(v.Next) == 0 {
			t.Errorf("%s shows nothing", anchor)
		}
	}
	if v := must(t, "concept.runbook.manifest[like=restore]"); len(v.Table.Rows) < 2 {
		t.Errorf("restore is in %d sections", len(v.Table.Rows))
	}
	if v := must(t, `concept.runbook."Restart NATS".manifest`); v.Title != "Restart NATS" {
		t.Errorf("by its title it is %q", v.Title)
	}
	_, err := see(t, &living.Sources{}, "concept.runbook.restart-everything.manifest")
	e, ok := errors.AsType[*agentese.Error](err)
	if !ok || e.Kind != agentese.KindNotFound || !slices.Contains(e.Related, "concept.runbook.restart-nats") {
		t.Errorf("a section that isn't there: %+v", err)
	}
}

// Items that people have signed are signed, and no item passes unseen.
func TestChecklist(t *testing.T) {
	all, err := checklist.Default()
	if err != nil {
		t.Fatal(err)
	}
	v := must(t, "concept.checklist.manifest")
	if len(v.Table.Rows) != len(all.Items()) || field(v, "signed") != int64(0) || field(v, "open").(int64)+field(v, "automatic").(int64) != int64(len(all.Items())) {
		t.Errorf("%d rows, %+v", len(v.Table.Rows), v.Fields)
	}
	signs := filepath.Join(t.TempDir(), "sign-offs.yaml")
	if err := (checklist.SignOff{Item: "on-call", By: "Ada", At: noon.Add(-time.Hour), Evidence: "the rota"}).Add(signs, all); err != nil {
		t.Fatal(err)
	}
	for clauses, want := range map[string]struct{ state, seen any }{
		"":   {"open", "nobody has signed for it"},
		"me": {"signed", "Ada on 2026-11-28: the rota"},
	} {
		from := &living.Sources{}
		if clauses != "" {
			from.SignOffs = signs
		}
		one, err := see(t, from, "concept.checklist.ON-CALL.manifest")
		if err != nil || field(one, "state") != want.state || field(one, "seen") != want.seen || !strings.Contains(one.Text, "**Keep:**") {
			t.Errorf("on-call is %+v, %v", one, err)
		}
	}
	for _, i := range column(t, must(t, "concept.checklist.manifest[category=billing][blocking][owner=founder]"), "item") {
		item, _ := all.Item(i.(string))
		if item.Category != "billing" || !item.Blocking || item.Owner != "founder" {
			t.Errorf("%s was chosen", i)
		}
	}
	// What can't be read is unknown, and not open.
	if err := os.WriteFile(signs, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken, err := see(t, &living.Sources{SignOffs: signs}, "concept.checklist.manifest")
	if err != nil || field(broken, "open") != nil || len(broken.Notes) == 0 {
		t.Errorf("with a broken file: %+v, %v", broken.Fields, err)
	}
}

// The seed's sprints: each has items or what was made, and all that it names is there.
func TestForest(t *testing.T) {
	phases := must(t, "concept.forest.manifest")
	sum := int64(0)
	for _, n := range column(t, phases, "items") {
		sum += n.(int64)
	}
	if all, _ := checklist.Default(); sum != int64(len(all.Items())) || len(phases.Table.Rows) != 7 {
		t.Errorf("the phases have %d items in %d rows", sum, len(phases.Table.Rows))
	}
	for expr, least := range map[string]int{
		"concept.forest.manifest[phase=PLAN][sprint=saas_phase5_operate]@span=saas_operate":        4,
		"concept.forest.manifest[phase=PLAN][sprint=agent_town_saas]@span=agent_town_monetization": 1,
		"concept.forest.manifest[phase=IMPLEMENT][sprint=agentese_repl_wave3]@span=repl_wave3":     0,
		"concept.forest.manifest[sprint=agentese_repl_wave3]":                                      3,
		"concept.forest.manifest[phase=operate][open]":                                             1,
	} {
		v := must(t, expr)
		if len(v.Table.Rows) < least {
			t.Errorf("%s has %d items", expr, len(v.Table.Rows))
		}
		if strings.Contains(expr, "sprint=") && strings.Count(v.Text, "\n- ")+1 < 3 {
			t.Errorf("%s tells %q", expr, v.Text)
		}
	}
	for _, p := range column(t, must(t, "concept.forest.manifest[phase=PLAN][sprint=saas_phase5_operate]"), "phase") {
		if p != "PLAN" {
			t.Errorf("among PLAN is %v", p)
		}
	}
	_, err := see(t, &living.Sources{}, "concept.forest.manifest[sprint=phase6]")
	if kind(err) != agentese.KindClause || !strings.Contains(err.Error(), "saas_phase5_operate") {
		t.Errorf("an unknown sprint: %v", err)
	}
}

func TestPlans(t *testing.T) {
	v := must(t, "concept.plans.manifest")
	for _, word := range []string{"plan", "feature", "limit", "overage", "grace", "period", "entitlement"} {
		if !slices.Contains(column(t, v, "word"), any(word)) {
			t.Errorf("%s is not defined", word)
		}
	}
	for _, word := range column(t, v, "word") {
		if one := must(t, "concept.plans.manifest[word="+word.(string)+"]"); one.Text == "" {
			t.Errorf("%s has no text", word)
		}
	}
}

// The laws hold, and are really run.
func TestLaws(t *testing.T) {
	v := must(t, "concept.laws.witness")
	if v.State != tree.Well || field(v, "held") != field(v, "of") || len(v.Table.Rows) < 3 {
		t.Errorf("%+v", v)
	}
	if n := len(must(t, "concept.laws.manifest").Table.Rows); n != len(v.Table.Rows) {
		t.Errorf("%d laws in words, %d checked", n, len(v.Table.Rows))
	}
}

func TestIdentity(t *testing.T) {
	if v := must(t, "concept.identity.manifest"); !v.Empty() {
		t.Errorf("without an input it is %+v", v)
	}
	if d := cmp.Diff(must(t, "concept.plans.manifest"), must(t, "concept.plans.manifest >> concept.identity.manifest")); d != "" {
		t.Errorf("-alone +through:\n%s", d)
	}
}

// The values are those of a running program, and unknown while it is away.
func TestMetrics(t *testing.T) {
	r := agentesetest.Start(t, agentesetest.Options{})
	r.Send("1", "acme", "smallville")
	r.Eventually("the event is counted", func() bool { return r.Counted() == 1 })
	// A histogram's, a counter's, a gauge's with and without labels.
	for name, ok := range map[string]func(v tree.Value) bool{
		"kgents_events_accepted_total": func(v tree.Value) bool { return field(v, "value") == 1.0 && field(v, "type") == "counter" },
		"kgents_nats_circuit_state": func(v tree.Value) bool {
			return field(v, "value") == 0.0 && strings.Contains(field(v, "alerts").(string), "NATSCircuitOpen")
		},
		"kgents_build_info": func(v tree.Value) bool { return field(v, "value") == 1.0 && v.Table != nil && len(v.Table.Rows) == 1 },
		"kgents_event_metered_seconds": func(v tree.Value) bool {
			n, is := field(v, "value").(float64)
			return is && n > 0 && field(v, "observations") != nil
		},
		"kgents_redis_memory_used_bytes": func(v tree.Value) bool { return field(v, "value") == nil && len(v.Notes) == 1 },
	} {
		if v := r.Must("concept.metrics." + name + ".manifest"); !ok(v) {
			t.Errorf("%s is %+v", name, v)
		}
	}
	all := r.Must("concept.metrics.manifest")
	if len(all.Table.Rows) < 100 {
		t.Errorf("%d metrics", len(all.Table.Rows))
	}
	away := must(t, "concept.metrics.manifest[like=spool]")
	for _, v := range column(t, away, "value") {
		if v != nil {
			t.Errorf("with the program away a value is %v", v)
		}
	}
	if len(away.Table.Rows) == 0 || !strings.Contains(strings.Join(away.Notes, " "), "missing") {
		t.Errorf("it does not say that values are missing: %v", away.Notes)
	}
	if _, err := see(t, &living.Sources{}, "concept.metrics.kgents_nothing.manifest"); kind(err) != agentese.KindNotFound {
		t.Errorf("a metric that isn't there: %v", err)
	}
}
