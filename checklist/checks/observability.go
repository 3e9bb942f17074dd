package checks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/checklist"
)

// watcher asks Prometheus and Alertmanager.
type watcher struct {
	*System
	loaded once[[]loadedRule]
	active once[[]activeAlert]
}

func observability(s *System) map[string]checklist.Check {
	w := &watcher{System: s}
	return map[string]checklist.Check{
		"alert-rules-loaded":   w.rulesLoaded,
		"alerts-have-runbooks": w.haveRunbooks,
		"targets-up":           w.targetsUp,
		"alerts-quiet":         w.quiet,
		"watchdog-firing":      w.watchdog,
		"alertmanager-routed":  w.routed,
	}
}

var (
	noPrometheus   = checklist.CannotTell("no address of Prometheus is known", "set PROMETHEUS_URL, or --prometheus")
	noAlertmanager = checklist.CannotTell("no address of Alertmanager is known", "set ALERTMANAGER_URL, or --alertmanager")
)

const (
	lookAtPrometheus = "look whether Prometheus runs, and at PROMETHEUS_URL"
	loadRules        = "give Prometheus alerts/rules.yaml of this version, or apply infra/k8s/manifests/prometheus, and look at its log"
)

// loadedRule is a rule as Prometheus has it.
type loadedRule struct {
	Group       string            `json:"-"`
	Type        string            `json:"type"` // alerting or recording
	Name        string            `json:"name"`
	Query       string            `json:"query"`
	Duration    float64           `json:"duration"` // seconds
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Health      string            `json:"health"` // ok, err or unknown
	LastError   string            `json:"lastError"`
}

// activeAlert is one that is pending or fires.
type activeAlert struct {
	Labels   map[string]string `json:"labels"`
	State    string            `json:"state"`
	ActiveAt time.Time         `json:"activeAt"`
}

// prometheus asks for data.
func (w *watcher) prometheus(ctx context.Context, path string, into any) error {
	a, err := w.send(ctx, request{http.MethodGet, strings.TrimSuffix(w.Prometheus, "/") + "/api/v1/" + path, nil, nil})
	if err != nil {
		return err
	}
	var said struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.Unmarshal(a.body, &said); err != nil {
		return fmt.Errorf("%d and no JSON", a.status)
	}
	if a.status != http.StatusOK {
		return fmt.Errorf("%d %s", a.status, said.Error)
	}
	return json.Unmarshal(said.Data, into)
}

// rules are those that Prometheus has.
func (w *watcher) rules(ctx context.Context) ([]loadedRule, error) {
	return w.loaded.get(ctx, patienceOnce, func(ctx context.Context) (out []loadedRule, err error) {
		var data struct {
			Groups []struct {
				Name  string
				Rules []loadedRule
			}
		}
		if err := w.prometheus(ctx, "rules", &data); err != nil {
			return nil, err
		}
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				r.Group = g.Name
				out = append(out, r)
			}
		}
		return out, nil
	})
}

// alerts are those that are pending or fire, of this deployment's namespace.
func (w *watcher) alerts(ctx context.Context) ([]activeAlert, error) {
	return w.active.get(ctx, patienceOnce, func(ctx context.Context) (out []activeAlert, err error) {
		var data struct{ Alerts []activeAlert }
		err = w.prometheus(ctx, "alerts", &data)
		for _, a := range data.Alerts {
			if w.ours(a.Labels) {
				out = append(out, a)
			}
		}
		return out, err
	})
}

// ours says whether something with labels is of this deployment: two may share a
// Prometheus.
func (w *watcher) ours(labels map[string]string) bool {
	return w.Namespace == "" || labels["namespace"] == "" || labels["namespace"] == w.Namespace
}

// plain is an expression without what PromQL doesn't look at.
func plain(expr string) string { return strings.Join(strings.Fields(expr), "") }

// formatted is an expression as Prometheus writes it. Old ones don't.
func (w *watcher) formatted(ctx context.Context, expr string) (string, error) {
	var text string
	err := w.prometheus(ctx, "format_query?query="+url.QueryEscape(expr), &text)
	return plain(text), err
}

// errFormat says that expressions could not be compared.
var errFormat = errors.New("it does not format expressions")

// same says whether a loaded rule is what ours should be.
func (w *watcher) same(ctx context.Context, want alerts.Rule, got loadedRule) (bool, error) {
	if got.Labels["severity"] != want.Severity() {
		return false, nil
	}
	if want.For != "" || got.Duration != 0 {
		wait, err := model.ParseDuration(cmp.Or(want.For, "0s"))
		if err != nil || time.Duration(wait).Seconds() != got.Duration {
			return false, err
		}
	}
	if plain(want.Expr) == plain(got.Query) {
		return true, nil
	}
	ours, err := w.formatted(ctx, want.Expr)
	if err != nil {
		return false, errFormat
	}
	if ours == plain(got.Query) {
		return true, nil
	}
	theirs, err := w.formatted(ctx, got.Query)
	if err != nil {
		return false, errFormat
	}
	return ours == theirs, nil
}

// rulesLoaded compares the rules of Prometheus with those of this program.
func (w *watcher) rulesLoaded(ctx context.Context) checklist.Finding {
	if w.Prometheus == "" {
		return noPrometheus
	}
	loaded, err := w.rules(ctx)
	if err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	want, err := alerts.Rules()
	if err != nil {
		return checklist.CannotTell(cut(err.Error(), 200), "report it: this is a bug of kgents")
	}
	var missing, other, broken []string
	n := 0
	for r := range want.All() {
		n++
		name := cmp.Or(r.Alert, r.Record)
		known, equal := false, false
		for _, l := range loaded {
			if l.Name != name || (l.Type == "alerting") != (r.Alert != "") {
				continue
			}
			known = true
			same, err := w.same(ctx, r, l)
			if errors.Is(err, errFormat) {
				return checklist.CannotTell("Prometheus has "+name+" in other words, and can't say whether they mean the same", "use Prometheus 2.42 or later")
			}
			if same && l.Health == "err" {
				broken = append(broken, name+" ("+cut(l.LastError, 60)+")")
			}
			equal = equal || same
		}
		switch {
		case !known:
			missing = append(missing, name)
		case !equal:
			other = append(other, name)
		}
	}
	var wrong []string
	for _, w := range []struct {
		what  string
		names []string
	}{{"missing", missing}, {"different", other}, {"not evaluated", broken}} {
		if len(w.names) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s: %s", len(w.names), w.what, some(slices.Compact(w.names))))
		}
	}
	if len(wrong) > 0 {
		return checklist.Failed(cut(fmt.Sprintf("of %d rules %s", n, strings.Join(wrong, "; ")), 200), loadRules)
	}
	return checklist.Passed("all %d rules are loaded as this program knows them, %s among them", n, plural(len(want.Names()), "alert"))
}

// haveRunbooks looks where the alerts of Prometheus that are ours lead to: a section
// of the runbook that this program knows.
func (w *watcher) haveRunbooks(ctx context.Context) checklist.Finding {
	if w.Prometheus == "" {
		return noPrometheus
	}
	loaded, err := w.rules(ctx)
	if err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	want, err := alerts.Rules()
	if err != nil {
		return checklist.CannotTell(cut(err.Error(), 200), "report it: this is a bug of kgents")
	}
	names, sections := want.Names(), alerts.Sections()
	var wrong []string
	n := 0
	for _, r := range loaded {
		if r.Type != "alerting" || !strings.HasPrefix(r.Group, "kgents") && !slices.Contains(names, r.Name) {
			continue
		}
		n++
		_, anchor, ok := strings.Cut(r.Annotations["runbook_url"], "#")
		switch {
		case !ok:
			wrong = append(wrong, r.Name+" (no section)")
		case !sections[anchor]:
			wrong = append(wrong, fmt.Sprintf("%s (#%s)", r.Name, cut(anchor, 40)))
		}
	}
	switch {
	case n == 0:
		return checklist.CannotTell("Prometheus has none of our alerts", "see alert-rules-loaded")
	case len(wrong) > 0:
		return checklist.Failed(cut(fmt.Sprintf("%d of %s lead to no section of the runbook: %s", len(wrong), plural(n, "alert"), some(wrong)), 200),
			"write the section into docs/saas/runbook.md, and name it in the alert's runbook_url")
	}
	return checklist.Passed("%s, of %s, lead to a section of the runbook", plural(n, "alert rule"), plural(len(names), "name"))
}

// jobs are those of our programs; the rules rely on their names.
var jobs = regexp.MustCompile(`^kgents(-.+)?$`)

// targetsUp wants each of our programs scraped.
func (w *watcher) targetsUp(ctx context.Context) checklist.Finding {
	if w.Prometheus == "" {
		return noPrometheus
	}
	var data struct {
		ActiveTargets []struct {
			Labels    map[string]string
			Health    string
			LastError string
		}
	}
	if err := w.prometheus(ctx, "targets?state=active", &data); err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	const mend = "look at Status, Targets in Prometheus, at the network policies, and at infra/k8s/manifests/prometheus"
	up, byJob := 0, map[string]int{}
	var down, unknown []string
	for _, t := range data.ActiveTargets {
		job := t.Labels["job"]
		if !jobs.MatchString(job) || !w.ours(t.Labels) {
			continue
		}
		byJob[job]++
		name := job + " " + cmp.Or(t.Labels["pod"], t.Labels["instance"])
		switch t.Health {
		case "up":
			up++
		case "down":
			down = append(down, name+" ("+cut(t.LastError, 60)+")")
		default:
			unknown = append(unknown, name)
		}
	}
	if len(down) > 0 {
		return checklist.Failed(cut(fmt.Sprintf("%d of %s down: %s", len(down), plural(up+len(down)+len(unknown), "target"), some(down)), 200), mend)
	}
	must := []string{}
	if w.Target == checklist.Kubernetes {
		must = []string{"kgents-api", "kgents-sink"}
	}
	for _, job := range must {
		if byJob[job] == 0 {
			return checklist.Failed("Prometheus has no target of the job "+job, mend)
		}
	}
	switch {
	case len(unknown) > 0:
		return checklist.CannotTell("not scraped yet: "+some(unknown), "try again in a minute")
	case up == 0:
		return checklist.Failed("Prometheus has no target whose job is kgents or kgents-…", mend)
	}
	var seen []string
	for job, n := range byJob {
		seen = append(seen, fmt.Sprintf("%d of %s", n, job))
	}
	slices.Sort(seen)
	return checklist.Passed("%s up: %s", plural(up, "target"), strings.Join(seen, ", "))
}

// quiet wants no critical alert of ours.
func (w *watcher) quiet(ctx context.Context) checklist.Finding {
	if w.Prometheus == "" {
		return noPrometheus
	}
	loaded, err := w.rules(ctx)
	if err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	want, err := alerts.Rules()
	if err != nil {
		return checklist.CannotTell(cut(err.Error(), 200), "report it: this is a bug of kgents")
	}
	names := want.Names()
	if !slices.ContainsFunc(loaded, func(r loadedRule) bool { return r.Name != "Watchdog" && slices.Contains(names, r.Name) }) {
		return checklist.CannotTell("Prometheus has none of our alerts, so its silence says nothing", "see alert-rules-loaded")
	}
	active, err := w.alerts(ctx)
	if err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	var critical, pending, warning []string
	for _, a := range active {
		name := a.Labels["alertname"]
		if !slices.Contains(names, name) {
			continue
		}
		switch severity, firing := a.Labels["severity"], a.State == "firing"; {
		case severity == "critical" && firing:
			critical = append(critical, name)
		case severity == "critical":
			pending = append(pending, name)
		case severity == "warning" && firing:
			warning = append(warning, name)
		}
	}
	slices.Sort(critical)
	slices.Sort(warning)
	also := ""
	if len(warning) > 0 {
		also = "; warnings: " + some(slices.Compact(warning))
	}
	const mend = "follow the section of each in docs/saas/runbook.md"
	switch {
	case len(critical) > 0:
		return checklist.Failed("critical alerts fire: "+some(slices.Compact(critical))+also, mend)
	case len(pending) > 0:
		slices.Sort(pending)
		return checklist.Warned("no critical alert fires yet, but soon: "+some(slices.Compact(pending))+also, mend)
	}
	return checklist.Passed("no critical alert fires or is about to%s", also)
}
