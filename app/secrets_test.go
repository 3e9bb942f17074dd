package app_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kgents/kgents/config"
)

// No secret is in an answer or a log line, whatever is asked and however wrong
// things are, at the most talkative level.
func TestSecretsStaySecret(t *testing.T) {
	const meterKey, natsPassword = "om_repeated", "np_never-shown"
	nats := newGate(t)
	meter := remoteMeter(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "not good: "+r.Header.Get("Authorization"))
	})
	away := map[string]string{
		"NATS_SERVERS":       "nats://user:" + natsPassword + "@" + nats.l.Addr().String(),
		"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": meterKey,
	}
	for _, test := range []struct {
		name string
		role config.Role
		env  map[string]string
	}{
		{"up with configured secrets", config.RoleUp, nil},
		{"up with secrets of its own", config.RoleUp, map[string]string{"API_KEYS": "", "STRIPE_WEBHOOK_SECRET": ""}},
		{"up with a meter that repeats the key", config.RoleUp, map[string]string{"OPENMETER_BASE_URL": meter, "OPENMETER_API_KEY": meterKey}},
		{"api with nothing there", config.RoleAPI, away},
		{"meter", config.RoleMeter, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, test.role, settings(t, test.role, test.env))
			local := p.Local()
			secrets := []string{"never-shown", meterKey}
			for _, s := range []string{local.APIKey, local.WebhookSecret} {
				if s != "" {
					secrets = append(secrets, s)
				}
			}
			if test.name == "up with secrets of its own" && len(secrets) != 4 {
				t.Fatalf("it made %d secrets, want 2", len(secrets)-2)
			}
			if test.env["NATS_SERVERS"] == "" {
				p.ready()
			}
			clean := func(where, text string) {
				for _, s := range secrets {
					if i := strings.Index(text, s); i >= 0 {
						t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-120):min(len(text), i+40)])
					}
				}
			}
			reqs := []*http.Request{p.interaction("1"), p.webhook("evt_1", "invoice.paid")}
			for _, path := range []string{
				"/health", "/health/saas", "/readyz", "/livez", "/metrics", "/webhooks/stripe/health",
				"/api/v1/meters", "/api/v1/events", "/nowhere", "/",
			} {
				reqs = append(reqs, p.request(http.MethodGet, path, ""))
			}
			wrong := p.interaction("2")
			wrong.Header.Set("Authorization", "Bearer "+apiKey+"x")
			forged := p.webhook("evt_2", "invoice.paid")
			forged.Header.Set("Stripe-Signature", "t=1,v1="+webhookSecret)
			reqs = append(reqs, wrong, forged)
			if local.APIKey != "" {
				right := p.interaction("3")
				right.Header.Set("Authorization", "Bearer "+local.APIKey)
				reqs = append(reqs, right)
			}
			for _, req := range reqs {
				a := p.send(req)
				clean(req.Method+" "+req.URL.Path, fmt.Sprint(a.header, a.body))
			}
			if test.env["OPENMETER_BASE_URL"] == meter {
				eventually(t, "health knows that the meter refuses us", func() bool { return p.saas().OpenMeter.Detail != "" })
				clean("/health", p.get("/health").body)
				clean("/health/saas", p.get("/health/saas").body)
			}
			p.stop()
			// The meter's own words go to the log, for the operator; what they may hold is
			// for package meter to say.
			clean("the log", p.log.String())
		})
	}
}
