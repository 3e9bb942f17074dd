package k8s

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/infra/k8s/alertmanagertest"
)

const alertmanagerFiles = "manifests/alertmanager"

func alertmanagerConfig(t *testing.T) string {
	t.Helper()
	return alertmanagertest.Configure(t, alertmanagerFiles, "http://slack.example", "http://pagerduty.example", "key", nil).Path
}

func TestAlertmanagerConfigIsValid(t *testing.T) {
	path := alertmanagerConfig(t)
	out, err := alertmanagertest.Amtool(t, "check-config", path)
	if err != nil || !strings.Contains(out, "1 templates") {
		t.Errorf("amtool: %v\n%s", err, out)
	}
}

// TestAlertmanagerRoutes: who hears of what.
func TestAlertmanagerRoutes(t *testing.T) {
	path := alertmanagerConfig(t)
	for _, c := range []struct{ name, labels, want string }{
		{"critical", "severity=critical alertname=NATSCircuitOpen", "pagerduty"},
		{"warning", "severity=warning alertname=SpoolInUse", "slack"},
		{"info", "severity=info alertname=InfoInhibitor", "nobody"},
		{"none", "severity=none alertname=Watchdog", "nobody"},
		{"a severity that nobody knows", "severity=catastrophe alertname=Other", "slack"},
		{"no severity", "alertname=Other", "slack"},
		{"the alert that always fires", "alertname=Watchdog", "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := alertmanagertest.Amtool(t, append([]string{"config", "routes", "test", "--config.file", path}, strings.Fields(c.labels)...)...)
			lines := strings.Split(strings.TrimSpace(out), "\n") // warnings of amtool's come first
			if got := lines[len(lines)-1]; err != nil || got != c.want {
				t.Errorf("it goes to %q (%v), want %q", out, err, c.want)
			}
		})
	}
}

// alertAt is one that began at a fixed time, with further labels.
func alertAt(name, severity string, labels ...string) alertmanagertest.Alert {
	a := alertmanagertest.Alert{
		Labels: map[string]string{"alertname": name, "severity": severity, "namespace": "kgents", "component": "stream"},
		Annotations: map[string]string{
			"summary":       "The circuit of kgents-api has been open for 5 minutes",
			"description":   "3 events wait & <more> come.",
			"runbook_url":   "https://runbook.example/#" + name,
			"dashboard_url": "https://grafana.example/d/kgents/kgents",
		},
		StartsAt: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC),
	}
	for i := 0; i < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

func resolved(a alertmanagertest.Alert) alertmanagertest.Alert {
	end := a.StartsAt.Add(time.Hour)
	a.EndsAt = &end
	return a
}

func startAlertmanager(t *testing.T) *alertmanagertest.Alertmanager {
	t.Helper()
	return alertmanagertest.Start(t, alertmanagerFiles, alertmanagertest.Waits{Group: 100 * time.Millisecond, Interval: time.Second, Repeat: time.Hour})
}

func await(t *testing.T, a *alertmanagertest.Alertmanager, to, alert string, resolved bool) alertmanagertest.Message {
	t.Helper()
	return awaitMessage(t, a, fmt.Sprintf("to %s about %s (resolved: %v)", to, alert, resolved), func(m alertmanagertest.Message) bool {
		return m.To == to && m.Alert == alert && m.Resolved == resolved
	})
}

func awaitMessage(t *testing.T, a *alertmanagertest.Alertmanager, what string, is func(alertmanagertest.Message) bool) alertmanagertest.Message {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if m, ok := a.Received.Find(is); ok {
			m.At = time.Time{}
			return m
		}
	}
	t.Fatalf("no message %s within 20 s; there are %+v", what, a.Received.Messages())
	return alertmanagertest.Message{}
}

// TestAlertmanagerMessages: what a real Alertmanager makes of the templates.
func TestAlertmanagerMessages(t *testing.T) {
	am := startAlertmanager(t)
	am.Send(alertAt("NATSCircuitOpen", "critical", "pod", "api-0"))
	page, slack := await(t, am, "pagerduty", "NATSCircuitOpen", false), await(t, am, "slack", "NATSCircuitOpen", false)
	if page.Key == "" {
		t.Error("the page has no key")
	}
	key := page.Key
	page.Key = ""
	links := map[string]string{"Runbook": "https://runbook.example/#NATSCircuitOpen", "Dashboard": "https://grafana.example/d/kgents/kgents"}
	if diff := cmp.Diff(alertmanagertest.Message{
		To: "pagerduty", Alert: "NATSCircuitOpen", Namespace: "kgents", Severity: "critical", Links: links,
		Title: "NATSCircuitOpen in kgents: The circuit of kgents-api has been open for 5 minutes",
		Text: "The circuit of kgents-api has been open for 5 minutes\n3 events wait & <more> come.\n" +
			"since 2026-05-04 03:02:01 UTC · pod api-0\n",
	}, page); diff != "" {
		t.Errorf("the page (-want +got):\n%s", diff)
	}
	slackLinks := maps.Clone(links)
	slackLinks["title"] = links["Runbook"]
	want := alertmanagertest.Message{
		To: "slack", Alert: "NATSCircuitOpen", Namespace: "kgents", Severity: "critical", Color: "danger", Links: slackLinks,
		Title: "CRITICAL: NATSCircuitOpen in kgents",
		Text: "*The circuit of kgents-api has been open for 5 minutes*\n3 events wait &amp; &lt;more&gt; come.\n" +
			"_since 2026-05-04 03:02:01 UTC · pod api-0_\n" +
			"<https://runbook.example/#NATSCircuitOpen|Runbook>  <https://grafana.example/d/kgents/kgents|Dashboard>",
	}
	if diff := cmp.Diff(want, slack); diff != "" {
		t.Errorf("to Slack (-want +got):\n%s", diff)
	}

	am.Send(resolved(alertAt("NATSCircuitOpen", "critical", "pod", "api-0")))
	page, slack = await(t, am, "pagerduty", "NATSCircuitOpen", true), await(t, am, "slack", "NATSCircuitOpen", true)
	if page.Key != key {
		t.Errorf("the end of the page has the key %s, its beginning %s", page.Key, key)
	}
	want.Resolved, want.Severity, want.Color, want.Title = true, "", "good", "RESOLVED: NATSCircuitOpen in kgents"
	want.Text = strings.Replace(want.Text, "since 2026-05-04 03:02:01 UTC", "from 2026-05-04 03:02:01 UTC to 2026-05-04 04:02:01 UTC", 1)
	if diff := cmp.Diff(want, slack); diff != "" {
		t.Errorf("resolved, to Slack (-want +got):\n%s", diff)
	}
}

// TestAlertmanagerGroups: replicas share a message, which has an end; an alert of
// somebody else's, without our annotations, is told too; a warning pages nobody.
func TestAlertmanagerGroups(t *testing.T) {
	am := startAlertmanager(t)
	var many []alertmanagertest.Alert
	for i := range 12 {
		many = append(many, alertAt("SpoolInUse", "warning", "pod", string(rune('a'+i))))
	}
	bare := alertmanagertest.Alert{Labels: map[string]string{"alertname": "Theirs"}, StartsAt: many[0].StartsAt}
	relative := alertAt("RedisFallback", "warning")
	relative.Annotations["dashboard_url"] = "/d/kgents/kgents"
	am.Send(append(many, bare, relative)...)
	// Alerts that began long ago are told without a wait, so the first message may
	// have only some of them.
	m := awaitMessage(t, am, "with all 12 alerts", func(m alertmanagertest.Message) bool {
		return m.Alert == "SpoolInUse" && strings.HasSuffix(m.Title, "(12 firing, 0 resolved)")
	})
	if got := strings.Count(m.Text, "pod "); got != 10 || !strings.Contains(m.Text, "12 in all") {
		t.Errorf("of 12 alerts %d are listed: %+v", got, m)
	}
	if m := await(t, am, "slack", "Theirs", false); m.Title != "ALERT: Theirs" || !strings.Contains(m.Text, "*Theirs*") {
		t.Errorf("a foreign alert: %+v", m)
	}
	if m := await(t, am, "slack", "RedisFallback", false); strings.Contains(m.Text, "Dashboard") {
		t.Errorf("a link that leads nowhere: %q", m.Text)
	}
	for _, m := range am.Received.Messages() {
		if m.To == "pagerduty" {
			t.Errorf("a warning pages: %+v", m)
		}
	}
}

// TestAlertmanagerSilences: the cause is told, what follows from it is not, and what
// customers feel is told whatever the cause.
func TestAlertmanagerSilences(t *testing.T) {
	am := startAlertmanager(t)
	am.Send(alertAt("NATSCircuitOpen", "critical"), alertAt("StreamNearlyFull", "critical", "stream", "events"))
	await(t, am, "slack", "NATSCircuitOpen", false)
	other := alertAt("PipelineStalled", "critical")
	other.Labels["namespace"] = "elsewhere"
	am.Send(
		alertAt("ConsumerLagGrowing", "warning"), alertAt("PipelineStalled", "critical"), alertAt("HighWebhookLatency", "warning"),
		alertAt("SpoolInUse", "warning"), alertAt("EntitlementsStale", "warning"), alertAt("RatesNotShared", "warning"), alertAt("APIErrorBudgetBurn", "critical"),
		alertAt("StreamNearlyFull", "warning", "stream", "events"), alertAt("StreamNearlyFull", "warning", "stream", "dead"),
		alertAt("EventsNotDurable", "critical"), alertAt("SpoolNearlyFull", "critical"), alertAt("ReconcileMissingEvents", "critical"), other,
	)
	for _, name := range []string{"EventsNotDurable", "SpoolNearlyFull", "ReconcileMissingEvents", "PipelineStalled"} {
		await(t, am, "pagerduty", name, false)
	}
	for alert, want := range map[string]bool{
		"ConsumerLagGrowing": true, "HighWebhookLatency": true, "SpoolInUse": true, "EntitlementsStale": true, "APIErrorBudgetBurn": true,
		"NATSCircuitOpen": false, "EventsNotDurable": false, "SpoolNearlyFull": false, "RatesNotShared": false,
	} {
		if got, err := am.Silenced(map[string]string{"alertname": alert}); err != nil || got != want {
			t.Errorf("%s is silenced: %v (%v), want %v", alert, got, err, want)
		}
	}
	for _, m := range am.Received.Messages() {
		switch {
		case m.Alert == "PipelineStalled" && !strings.Contains(m.Title, "elsewhere"):
			t.Errorf("told although NATS is away: %q", m.Title)
		case m.Alert == "StreamNearlyFull" && strings.HasPrefix(m.Title, "WARNING") && strings.Contains(m.Text, "stream events"):
			t.Errorf("told although it is critical already: %q", m.Text)
		}
	}
	if resp, err := http.Get(am.URL + "/-/healthy"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("alertmanager is not well: %v", err)
	} else {
		resp.Body.Close()
	}
}
