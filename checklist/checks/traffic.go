package checks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/system"
)

// trial tries the API as clients, Stripe and strangers do. What it sends counts
// for nobody: canaries, and webhooks of a type that no meter knows.
type trial struct {
	*System
	probe  once[canary]        // the event that several checks follow
	forged once[[]forgery]     // webhooks that nobody may send
	report once[system.Report] // what the program says of itself
	sink   once[system.Report] // what a sink elsewhere says of itself
}

func traffic(s *System) map[string]checklist.Check {
	t := &trial{System: s}
	return map[string]checklist.Check{
		"api-keys-strong":         t.keysStrong,
		"anonymous-refused":       t.anonymousRefused,
		"oversize-refused":        t.oversizeRefused,
		"security-headers":        t.securityHeaders,
		"api-rate-limit":          t.apiRateLimit,
		"openmeter-rate-limit":    t.meterRateLimit,
		"webhook-secret-overlap":  t.secretOverlap,
		"webhook-bad-signature":   t.badSignature,
		"webhook-accepted":        t.webhookAccepted,
		"openmeter-reachable":     t.meterReachable,
		"openmeter-deduplicates":  t.meterDeduplicates,
		"canary-within-objective": t.withinObjective,
		"duplicate-once":          t.duplicateOnce,
		"reconciliation-clean":    t.reconciled,
	}
}

// The findings of what several checks need first.
var (
	noAPI    = checklist.CannotTell("no address of the API is known", "set KGENTS_URL, or --url")
	noKey    = checklist.CannotTell("no API key is known", "set API_KEYS or API_KEYS_FILE to one of the API's keys")
	noSecret = checklist.CannotTell("no webhook secret is known", "set STRIPE_WEBHOOK_SECRET or STRIPE_WEBHOOK_SECRET_FILE to the API's")
)

// patienceOnce bounds one request: the API waits up to 10 s for an event to be
// durable.
const patienceOnce = 12 * time.Second

// maxAnswer bounds what is read of an answer: a Prometheus with many rules sends
// some megabytes.
const maxAnswer = 32 << 20

// request is one to a server.
type request struct {
	method, url string
	header      http.Header
	body        io.Reader
}

// answer is what came back, its body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// said is the status and, of a problem document, the detail.
func (a answer) said() string {
	var p struct{ Detail string }
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if json.Unmarshal(a.body, &p) == nil && p.Detail != "" {
		text += ": " + cut(p.Detail, 80)
	}
	return text
}

// cut shortens a text that somebody else wrote.
func cut(text string, length int) string {
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) <= length {
		return string(r)
	}
	return string(r[:length-1]) + "…"
}

// send sends one request. Its error names no address's secrets: url.Error hides
// passwords.
func (s *System) send(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patienceOnce)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, r.body)
	if err != nil {
		return answer{}, err
	}
	if b, ok := r.body.(sized); ok {
		req.ContentLength = b.length
	}
	for name, values := range r.header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := s.client().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 400 {
		err = nil // who refuses what it hasn't read may cut the connection: the status has come
	}
	return answer{resp.StatusCode, resp.Header, body}, err
}

// client is HTTP, or an ordinary one.
func (s *System) client() *http.Client { return cmp.Or(s.HTTP, http.DefaultClient) }

// ask is one request to the API; key and body may be empty.
func (t *trial) ask(ctx context.Context, method, path, key, contentType string, body []byte) (answer, error) {
	h := http.Header{}
	if key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return t.send(ctx, request{method, t.APIURL + path, h, bytes.NewReader(body)})
}

// key is the API key that is used.
func (t *trial) key() string {
	if len(t.APIKeys) == 0 {
		return ""
	}
	return t.APIKeys[0]
}

// unreached is the finding for a server that does not answer.
func unreached(who string, err error, next string) checklist.Finding {
	return checklist.CannotTell(cut(who+" does not answer: "+err.Error(), 200), next)
}

const lookAtAPI = "look whether the API runs, and at KGENTS_URL"

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// some joins what is wrong, with a bound.
func some(what []string) string {
	const shown = 4
	if len(what) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(what[:shown], ", "), len(what)-shown)
	}
	return strings.Join(what, ", ")
}
