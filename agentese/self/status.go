package self

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/system"
	"github.com/kgents/kgents/telemetry"
)

func (v *view) statusNode() *tree.Node {
	return &tree.Node{
		Name: "status",
		Line: "which system this is, whether it is well, and as whom you look",
		Doc: "The URL that is asked, the program's version and role there, whether it says that it is well, the observer, and what kind of API key the session has: an operator's, which may ask about everyone, " +
			"or a customer's, and whose. The key itself is never shown. The figures are asked for now, from /health/saas and /api/v1/system. " +
			"If nothing answers, start the program or name another URL; if the key is not known there, it is the key of another system.",
		Synonyms: []string{"connection", "environment", "system", "server", "version", "health", "whoami", "identity", "api key", "login", "target", "which cluster", "build", "release"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "URL, version, role, health, observer and the key's kind",
			Asks: []string{
				"what is my status", "which version is running", "what version is deployed", "am i connected", "is the system up", "is everything ok where i am", "which url am i using",
				"what kind of key do i have", "is my api key valid", "whose key is this", "am i on production or staging", "is the server reachable", "which release is live", "since when is the program running",
			},
			Examples: []tree.Example{{Expr: "self.status.manifest", Line: "system, observer and key"}},
			See:      v.status,
		}},
	}
}

// keyForm is how a customer's or operator's stored key is written; its second part is
// its public name.
var keyForm = regexp.MustCompile(`^kg_([a-z0-9]+)_`)

// status asks for health, the report and the key's kind at once: each may be refused
// or late for itself.
func (v *view) status(ctx context.Context, c *tree.Call) (tree.Value, error) {
	api := v.from.For(c)
	var health struct {
		Status string `json:"status"`
	}
	var report system.Report
	var healthErr, reportErr error
	var key keyKind
	var asks sync.WaitGroup
	asks.Go(func() { healthErr = api.Get(ctx, "/health/saas", nil, &health) })
	asks.Go(func() { reportErr = api.Get(ctx, system.Path, nil, &report) })
	asks.Go(func() { key = kindOf(ctx, api) })
	asks.Wait()
	if err := ctx.Err(); err != nil {
		return tree.Value{}, err
	}

	out := tree.Value{Title: "Who asks, and of which system", State: tree.Unknown}
	out.Add("system", where(api.URL), "")
	switch state := tree.State(health.Status); {
	case healthErr != nil:
		out.Add("health", nil, "")
		out.Note(living.Away("Health", healthErr).Error())
	case state == tree.Well || state == tree.Warn || state == tree.Bad:
		out.State = state
		out.Fields = append(out.Fields, tree.Field{Name: "health", Value: health.Status, State: state})
	default:
		out.Add("health", health.Status, "")
	}
	if reportErr == nil {
		out.Add("version", report.Version, "").Add("revision", report.Revision, "").Add("role", report.Role, "").
			Add("started", report.Started, "").Add("up for", tree.Ago(report.Started, report.Now), "")
	} else if healthErr == nil && client.Status(reportErr) != http.StatusForbidden {
		out.Note(living.Away("The program's report", reportErr).Error())
	}
	if client.Status(reportErr) == http.StatusForbidden {
		out.Note("Version and role are told to operators' keys only.")
	}
	out.Add("this kgents", telemetry.ReadBuild().Version, "")
	out.Add("observer", c.Observer.String(), "")
	key.add(&out)
	if c.Session.Budget != nil {
		_, left, _ := c.Session.Budget.State()
		out.Add("entropy left", round(left), "")
	}
	if out.State != tree.Well {
		out.Then("world.manifest", "which part it is")
	}
	out.Then("self.capabilities.manifest", "what "+c.Observer.String()+" may do")
	out.Then("self.session.manifest", "this session")
	return out, nil
}

// where is a URL without a user's name and password.
func where(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return "a URL that can't be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// keyKind is what is known of the session's API key.
type keyKind struct {
	kind     string // none, operator, customer, not known there; empty if it can't be told
	name     string // the public part, if it has one
	customer string
	note     string
}

// kindOf asks what the key opens: only a customer's key needs not say whom it is about.
func kindOf(ctx context.Context, api *client.Client) keyKind {
	if api.Key == "" {
		return keyKind{kind: "none", note: "There is no API key: set API_KEYS or API_KEYS_FILE, or name a file with --key-file."}
	}
	var k keyKind
	if m := keyForm.FindStringSubmatch(api.Key); m != nil {
		k.name = m[1]
	}
	raw, err := api.Bytes(ctx, http.MethodGet, "/v1/entitlements", nil, nil)
	switch status := client.Status(err); {
	case err == nil:
		k.kind = "customer"
		var answer struct {
			Entitlements []struct {
				Customer string `json:"customer"`
			} `json:"entitlements"`
		}
		if json.Unmarshal(raw, &answer) == nil && len(answer.Entitlements) > 0 {
			k.customer = answer.Entitlements[0].Customer
		}
	case status == http.StatusBadRequest || status == http.StatusUnprocessableEntity:
		k.kind = "operator"
	case status == http.StatusUnauthorized:
		k.kind, k.note = "not known there", "The API key is not one of this system's: it is another system's, or was revoked."
	case status == http.StatusForbidden:
		if err := api.Get(ctx, system.Path, nil, nil); err != nil && strings.Contains(err.Error(), "operator's keys only") {
			k.kind = "customer"
		} else {
			k.kind = "operator"
		}
		k.note = "The API key has not the scope read: most of what can be seen is refused."
	}
	return k
}

func (k keyKind) add(v *tree.Value) {
	if k.kind == "" {
		v.Add("key", nil, "")
		return
	}
	v.Add("key", k.kind, "")
	if k.name != "" {
		v.Add("key's name", k.name, "")
	}
	if k.customer != "" {
		v.Add("key's customer", k.customer, "")
	}
	if k.kind == "operator" {
		v.Add("key's customer", "none: it may ask about everyone", "")
	}
	if k.note != "" {
		v.Note(k.note)
	}
}
