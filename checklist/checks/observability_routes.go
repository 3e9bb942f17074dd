package checks

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/kgents/kgents/checklist"
)

// testAlert is the name of the alert that is sent.
const testAlert = "KgentsChecklist"

const (
	// testAlertFor is how long the test alert fires: longer than Alertmanager's wait for
	// a group, so that the team gets the message, and the one that it is over.
	testAlertFor = 3 * time.Minute

	// silencedFor is how long the critical one is silenced, from before it is sent until
	// after it has resolved: nobody is paged.
	silencedFor, silencedAlertFor = 10 * time.Minute, time.Minute

	// routePatience bounds the wait for Alertmanager to list an alert.
	routePatience = 10 * time.Second
)

const (
	lookAtAlertmanager = "look whether Alertmanager runs, and at ALERTMANAGER_URL"
	giveReceiver       = "give the route a receiver with a destination: docs/saas/alerts.md"
)

// alertmanager asks its API, version 2. What is sent may be nil.
func (w *watcher) alertmanager(ctx context.Context, method, path string, send, into any) error {
	r := request{method, strings.TrimSuffix(w.Alertmanager, "/") + "/api/v2/" + path, http.Header{}, nil}
	if send != nil {
		b, err := json.Marshal(send)
		if err != nil {
			return err
		}
		r.body = bytes.NewReader(b)
		r.header.Set("Content-Type", jsonType)
	}
	a, err := w.send(ctx, r)
	switch {
	case err != nil:
		return err
	case a.status != http.StatusOK:
		return fmt.Errorf("%d %s", a.status, cut(string(a.body), 80))
	case into == nil:
		return nil
	}
	return json.Unmarshal(a.body, into)
}

// destinations are the kinds of each receiver's destinations: slack, pagerduty.
func (w *watcher) destinations(ctx context.Context) (map[string][]string, error) {
	var status struct{ Config struct{ Original string } }
	if err := w.alertmanager(ctx, http.MethodGet, "status", nil, &status); err != nil {
		return nil, err
	}
	var config struct{ Receivers []map[string]any }
	if err := yaml.Unmarshal([]byte(status.Config.Original), &config); err != nil {
		return nil, fmt.Errorf("its configuration can't be read")
	}
	out := map[string][]string{}
	for _, r := range config.Receivers {
		name, _ := r["name"].(string)
		out[name] = []string{}
		for kind, configs := range r {
			if list, ok := configs.([]any); ok && len(list) > 0 && strings.HasSuffix(kind, "_configs") {
				out[name] = append(out[name], strings.TrimSuffix(kind, "_configs"))
			}
		}
		slices.Sort(out[name])
	}
	return out, nil
}

// receivers are those that Alertmanager has for alerts with labels, once it lists one.
func (w *watcher) receivers(ctx context.Context, labels map[string]string) ([]string, error) {
	query := url.Values{}
	for name, value := range labels {
		query.Add("filter", fmt.Sprintf("%s=%q", name, value))
	}
	ctx, cancel := context.WithTimeout(ctx, routePatience)
	defer cancel()
	for {
		var listed []struct{ Receivers []struct{ Name string } }
		err := w.alertmanager(ctx, http.MethodGet, "alerts?"+query.Encode(), nil, &listed)
		if err == nil && len(listed) > 0 {
			var names []string
			for _, r := range listed[0].Receivers {
				names = append(names, r.Name)
			}
			return names, nil
		}
		if !pause(ctx, 100*time.Millisecond) {
			if err == nil {
				err = fmt.Errorf("it was taken, and is not listed")
			}
			return nil, err
		}
	}
}

// fire sends a test alert and returns its receivers. A critical one is silenced
// first: Alertmanager says all the same where it would go.
func (w *watcher) fire(ctx context.Context, severity string) ([]string, error) {
	labels := map[string]string{"alertname": testAlert, "severity": severity, "component": "checklist", "run": rand.Text()}
	if w.Namespace != "" {
		labels["namespace"] = w.Namespace
	}
	now, lasts := time.Now().UTC(), testAlertFor
	if severity == "critical" {
		lasts = silencedAlertFor
		type matcher struct {
			Name    string `json:"name"`
			Value   string `json:"value"`
			IsRegex bool   `json:"isRegex"`
			IsEqual bool   `json:"isEqual"`
		}
		silence := map[string]any{
			"matchers": []matcher{{"alertname", testAlert, false, true}, {"run", labels["run"], false, true}},
			"startsAt": now, "endsAt": now.Add(silencedFor), "createdBy": "kgents checklist",
			"comment": "a test of the route of critical alerts, which pages nobody",
		}
		if err := w.alertmanager(ctx, http.MethodPost, "silences", silence, nil); err != nil {
			return nil, fmt.Errorf("it takes no silence: %w", err)
		}
	}
	alert := map[string]any{
		"labels": labels, "startsAt": now, "endsAt": now.Add(lasts),
		"annotations": map[string]string{
			"summary":     "A test alert of kgents checklist",
			"description": "Somebody runs 'kgents checklist', which looks whether alerts have a receiver. There is nothing to do; it resolves by itself.",
		},
	}
	if err := w.alertmanager(ctx, http.MethodPost, "alerts", []any{alert}, nil); err != nil {
		return nil, err
	}
	return w.receivers(ctx, labels)
}

// routed sends a warning, which reaches the team, and a silenced critical alert, and
// looks where they go.
func (w *watcher) routed(ctx context.Context) checklist.Finding {
	if w.Alertmanager == "" {
		return noAlertmanager
	}
	destinations, err := w.destinations(ctx)
	if err != nil {
		return unreached("Alertmanager", err, lookAtAlertmanager)
	}
	var seen []string
	for _, severity := range []string{"warning", "critical"} {
		names, err := w.fire(ctx, severity)
		if err != nil {
			return checklist.CannotTell(cut("Alertmanager does not answer to a test alert: "+err.Error(), 200), lookAtAlertmanager)
		}
		var kinds []string
		for _, name := range names {
			kinds = append(kinds, destinations[name]...)
		}
		slices.Sort(kinds)
		kinds = slices.Compact(kinds)
		if len(kinds) == 0 {
			return checklist.Failed(fmt.Sprintf("a %s alert goes to the receiver %s, which has no destination", severity, some(names)), giveReceiver)
		}
		seen = append(seen, fmt.Sprintf("a %s one goes to %s (%s)", severity, some(names), some(kinds)))
	}
	if w.Prometheus == "" {
		return checklist.Passed("%s; the latter was silenced", strings.Join(seen, ", "))
	}
	var known struct{ ActiveAlertmanagers []struct{ URL string } }
	if err := w.prometheus(ctx, "alertmanagers", &known); err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	if len(known.ActiveAlertmanagers) == 0 {
		return checklist.Failed("Alertmanager has receivers, but Prometheus knows no Alertmanager", "name it in Prometheus's alerting.alertmanagers")
	}
	return checklist.Passed("%s, silenced; Prometheus sends to %s", strings.Join(seen, ", "), plural(len(known.ActiveAlertmanagers), "Alertmanager"))
}

// watchdog wants the alert that always fires, and somebody who would miss it.
func (w *watcher) watchdog(ctx context.Context) checklist.Finding {
	if w.Prometheus == "" {
		return noPrometheus
	}
	active, err := w.alerts(ctx)
	if err != nil {
		return unreached("Prometheus", err, lookAtPrometheus)
	}
	i := slices.IndexFunc(active, func(a activeAlert) bool { return a.Labels["alertname"] == "Watchdog" && a.State == "firing" })
	if i < 0 {
		return checklist.Failed("Watchdog does not fire in Prometheus", loadRules)
	}
	since := "it fires since " + active[i].ActiveAt.UTC().Format("2006-01-02 15:04")
	if w.Alertmanager == "" {
		return checklist.Warned(since+"; who gets it is not known", noAlertmanager.Next)
	}
	destinations, err := w.destinations(ctx)
	if err != nil {
		return unreached("Alertmanager", err, lookAtAlertmanager)
	}
	names, err := w.receivers(ctx, map[string]string{"alertname": "Watchdog"})
	if err != nil {
		return checklist.Failed(cut("it fires in Prometheus, and is not in Alertmanager: "+err.Error(), 200), "look at Prometheus's alerting.alertmanagers, and at its log")
	}
	for _, name := range names {
		if kinds := destinations[name]; len(kinds) > 0 {
			return checklist.Passed("%s, and goes to %s (%s)", since, name, some(kinds))
		}
	}
	return checklist.Warned(fmt.Sprintf("%s, and goes to %s, which has no destination: nobody misses it", since, some(names)),
		"route Watchdog to a service that tells you when it stops: docs/saas/alerts.md")
}
