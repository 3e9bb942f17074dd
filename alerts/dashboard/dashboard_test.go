package dashboard_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/dashboard"
)

const folder = "../../infra/k8s/manifests/grafana"

var update = flag.Bool("update", false, "write the dashboard")

func made(t *testing.T) []byte {
	t.Helper()
	b, err := dashboard.Make()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOnDisk(t *testing.T) {
	file := filepath.Join(folder, "kgents.json")
	if *update {
		if err := os.WriteFile(file, made(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, made(t)) {
		t.Errorf("%s is not what the code makes: run go test ./alerts/dashboard -update", file)
	}
	// kubectl apply keeps what it applied in an annotation, quotes escaped, and all
	// annotations together may have 256 KiB.
	quoted, err := json.Marshal(string(b))
	if err != nil || len(quoted) > 230_000 {
		t.Errorf("%s has %d bytes when quoted (%v), more than kubectl apply can keep", file, len(quoted), err)
	}
}

// pictures are the panels without the rows' headings.
func pictures() []dashboard.Panel {
	return slices.DeleteFunc(dashboard.New().Panels, func(p dashboard.Panel) bool { return p.Type == "row" })
}

// No two panels have one number or overlap, and no line has a hole.
func TestGrid(t *testing.T) {
	const columns = 24
	ids := map[int]bool{}
	cells := map[[2]int]string{}
	bottom := 0
	for _, p := range dashboard.New().Panels {
		if p.ID <= 0 || ids[p.ID] {
			t.Errorf("%q has the number %d, which another has or nobody may have", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.Y < 0 || g.X+g.W > columns {
			t.Errorf("%q is at %+v, beyond the grid", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken {
					t.Fatalf("%q lies over %q", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		bottom = max(bottom, g.Y+g.H)
	}
	if len(cells) != columns*bottom {
		t.Errorf("%d of %d cells are empty", columns*bottom-len(cells), columns*bottom)
	}
}

// units are those that we use of Grafana's.
var units = []string{"none", "short", "s", "bytes", "percentunit", "reqps", "ops", "cps", "cpm"}

var kinds = []string{"timeseries", "stat", "bargauge", "state-timeline", "heatmap"}

// Every panel says what it shows, in which unit, and from where on it is bad.
func TestPanels(t *testing.T) {
	titles := map[string]bool{}
	for _, p := range pictures() {
		t.Run(p.Title, func(t *testing.T) {
			if !slices.Contains(kinds, p.Type) {
				t.Errorf("kind %q", p.Type)
			}
			if len(p.Description) < 40 || !strings.HasSuffix(p.Description, ".") {
				t.Errorf("description %q", p.Description)
			}
			if !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
				t.Errorf("unit %q", p.FieldConfig.Defaults.Unit)
			}
			if p.Datasource == nil || p.Datasource.UID != "${datasource}" {
				t.Errorf("data source %+v", p.Datasource)
			}
			steps := p.FieldConfig.Defaults.Thresholds.Steps
			if len(steps) == 0 || steps[0].Value != nil {
				t.Errorf("thresholds %+v, want a base and more", steps)
			}
			for i, s := range steps[1:] {
				if s.Value == nil || i > 0 && *s.Value <= *steps[i].Value {
					t.Errorf("thresholds are not in order")
				}
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if refs[q.RefID] || q.Instant == q.Range || q.LegendFormat == "" || strings.Contains(q.Expr, "@") {
					t.Errorf("query %+v", q)
				}
				refs[q.RefID] = true
			}
			for _, o := range p.FieldConfig.Overrides {
				if o.Matcher.ID != "byFrameRefID" || !refs[o.Matcher.Options] {
					t.Errorf("an override of %+v, which there is not", o.Matcher)
				}
			}
			if len(p.Targets) == 0 {
				t.Error("no query")
			}
		})
		if titles[p.Title] {
			t.Errorf("two panels are called %q", p.Title)
		}
		titles[p.Title] = true
	}
}

var variable = regexp.MustCompile(`\$\{?([a-z_]+)\}?`)

// What a query or a data source asks for by $ is a variable of the dashboard or one
// of Grafana's own.
func TestVariables(t *testing.T) {
	known := map[string]bool{"__rate_interval": true, "__range": true, "__interval": true}
	for _, v := range dashboard.New().Templating.List {
		known[v.Name] = true
	}
	for _, name := range []string{"datasource", "namespace", "job", "instance"} {
		if !known[name] {
			t.Errorf("no variable %q", name)
		}
	}
	for _, m := range variable.FindAllSubmatch(made(t), -1) {
		if name := string(m[1]); !known[name] && name != "__all" {
			t.Errorf("$%s is no variable", name)
		}
	}
}

// ruled are the alerts of the rules, each with its section of the runbook.
func ruled(t *testing.T) map[string]string {
	t.Helper()
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := range file.Alerts() {
		out[r.Alert] = r.Annotations["runbook_url"]
		if place := "/d/" + dashboard.UID + "/kgents"; !strings.HasSuffix(r.Annotations["dashboard_url"], place) {
			t.Errorf("%s leads to the dashboard %q, which is at %s", r.Alert, r.Annotations["dashboard_url"], place)
		}
	}
	return out
}

var named = regexp.MustCompile(` Alerts?: ([A-Za-z, ]+)\.$`)

// Every alert has a panel that names it and links to the section that the rule does,
// and no panel names another. Annotations show all of them but the one that always fires.
func TestAlerts(t *testing.T) {
	rules, shown := ruled(t), map[string]bool{}
	for _, p := range pictures() {
		links := map[string]string{}
		for _, l := range p.Links {
			links[strings.TrimPrefix(l.Title, "Runbook: ")] = l.URL
		}
		var names []string
		if m := named.FindStringSubmatch(p.Description); m != nil {
			names = strings.Split(m[1], ", ")
		}
		if len(names) != len(links) {
			t.Errorf("%q names %d alerts and links to %d", p.Title, len(names), len(links))
		}
		for _, name := range names {
			shown[name] = true
			if rules[name] == "" || links[name] != rules[name] {
				t.Errorf("%q links for %s to %q, the rule to %q", p.Title, name, links[name], rules[name])
			}
		}
	}
	var asked [][]string
	for _, a := range dashboard.New().Annotations.List {
		if m := regexp.MustCompile(`alertname=~"([^"]+)"`).FindStringSubmatch(a.Expr); m != nil {
			asked = append(asked, strings.Split(m[1], "|"))
		}
	}
	if len(asked) != 2 {
		t.Errorf("%d annotations show alerts, want those of each severity", len(asked))
	}
	for name := range rules {
		if !shown[name] {
			t.Errorf("no panel names the alert %s", name)
		}
		for _, names := range asked {
			if slices.Contains(names, name) == (name == "Watchdog") {
				t.Errorf("annotations ask for %s: %t", name, name == "Watchdog")
			}
		}
	}
}

// The ConfigMap is what Grafana's sidecar looks for, and holds the dashboard.
func TestConfigMap(t *testing.T) {
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		t.Fatal(err)
	}
	if objects.Size() != 1 {
		t.Fatalf("%d objects, want one", objects.Size())
	}
	m := objects.Resources()[0]
	if m.GetKind() != "ConfigMap" || m.GetName() != "kgents-dashboard" || m.GetLabels()["grafana_dashboard"] != "1" {
		t.Errorf("%s %s with labels %v", m.GetKind(), m.GetName(), m.GetLabels())
	}
	var found dashboard.Dashboard
	if err := json.Unmarshal([]byte(m.GetDataMap()["kgents.json"]), &found); err != nil || found.UID != dashboard.UID {
		t.Errorf("it holds no dashboard: %v", err)
	}
}
