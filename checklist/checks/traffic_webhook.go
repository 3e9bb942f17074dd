package checks

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/checklist"
)

// hook is a webhook of a type that counts for nobody: the API answers it 200 and
// forgets it.
func hook() []byte {
	now := time.Now().Unix()
	return fmt.Appendf(nil, `{"id":"evt_checklist%s","object":"event","type":"kgents.checklist","created":%d,"livemode":false,"data":{"object":{"id":"checklist","object":"checklist"}}}`,
		rand.Text(), now)
}

// signed is the header of a body as Stripe makes it. With several secrets it has a
// signature of each, in order, as while one is rotated.
func signed(body []byte, at time.Time, secrets ...string) string {
	h := fmt.Sprintf("t=%d", at.Unix())
	for _, secret := range secrets {
		h += fmt.Sprintf(",v1=%x", webhook.ComputeSignature(at, body, secret))
	}
	return h
}

// post sends a webhook with a header, empty for none.
func (t *trial) post(ctx context.Context, body []byte, header string) (answer, error) {
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	if header != "" {
		h.Set("Stripe-Signature", header)
	}
	return t.send(ctx, request{http.MethodPost, t.APIURL + webhookPath, h, bytes.NewReader(body)})
}

const setWebhookSecret = "set STRIPE_WEBHOOK_SECRET, of the API and here, to the endpoint's signing secret"

// webhookAccepted sends a webhook that is signed with our secret.
func (t *trial) webhookAccepted(ctx context.Context) checklist.Finding {
	switch {
	case t.APIURL == "":
		return noAPI
	case len(t.WebhookSecrets) == 0:
		return noSecret
	}
	body := hook()
	began := time.Now()
	a, err := t.post(ctx, body, signed(body, began, t.WebhookSecrets[0]))
	var said struct{ Received bool }
	switch {
	case err != nil:
		return unreached("the API", err, lookAtAPI)
	case a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests:
		return checklist.CannotTell("a webhook signed with our secret was answered "+a.said(), "try again when the API is well")
	case a.status != http.StatusOK || json.Unmarshal(a.body, &said) != nil || !said.Received:
		return checklist.Failed("a webhook signed with our secret was answered "+a.said(), setWebhookSecret)
	}
	return checklist.Passed("a webhook signed with our secret was answered 200 in %v", time.Since(began).Round(time.Millisecond))
}

// forgery is a webhook that must be refused, and what became of it.
type forgery struct {
	what   string
	answer answer
}

// forge sends webhooks with a bad, an old, an unreadable and no signature. Of bad and
// old ones it sends one each: more than five in ten minutes are an alert.
func (t *trial) forge(ctx context.Context) ([]forgery, error) {
	return t.forged.get(ctx, 4*patienceOnce, func(ctx context.Context) (out []forgery, err error) {
		body, now := hook(), time.Now()
		tries := []struct{ what, header string }{
			{"without a signature", ""},
			{"with a header that can't be read", "v1=0"},
			{"signed with another secret", signed(body, now, "whsec_"+rand.Text())},
		}
		if len(t.WebhookSecrets) > 0 {
			tries = append(tries, struct{ what, header string }{"signed with our secret an hour ago", signed(body, now.Add(-time.Hour), t.WebhookSecrets[0])})
		}
		for _, try := range tries {
			a, err := t.post(ctx, body, try.header)
			if err != nil {
				return nil, err
			}
			out = append(out, forgery{try.what, a})
		}
		return out, nil
	})
}

// badSignature wants all forgeries refused.
func (t *trial) badSignature(ctx context.Context) checklist.Finding {
	if t.APIURL == "" {
		return noAPI
	}
	all, err := t.forge(ctx)
	if err != nil {
		return unreached("the API", err, lookAtAPI)
	}
	for _, f := range all {
		switch s := f.answer.status; {
		case s == http.StatusServiceUnavailable || s == http.StatusTooManyRequests:
			return checklist.CannotTell("a webhook "+f.what+" was answered "+f.answer.said(), "try again when the API is well")
		case s != http.StatusBadRequest && s != http.StatusUnauthorized && s != http.StatusForbidden:
			next := "look at the API's version, and whether something before it answers webhooks"
			if s == http.StatusInternalServerError {
				next = setWebhookSecret
			}
			return checklist.Failed("a webhook "+f.what+" was answered "+f.answer.said(), next)
		}
	}
	if len(t.WebhookSecrets) == 0 {
		return checklist.CannotTell("webhooks with a bad or no signature were refused, but without a secret none can be made that is only old", noSecret.Next)
	}
	return checklist.Passed("webhooks without a signature, with an unreadable, a foreign and an hour old one were refused with %d", all[0].answer.status)
}

// secretOverlap sends webhooks as Stripe does while a secret is rotated: with two
// signatures of which the API need know one, and with each secret that is known here.
func (t *trial) secretOverlap(ctx context.Context) checklist.Finding {
	switch {
	case t.APIURL == "":
		return noAPI
	case len(t.WebhookSecrets) == 0:
		return noSecret
	}
	forged, err := t.forge(ctx)
	if err != nil {
		return unreached("the API", err, lookAtAPI)
	}
	for _, f := range forged {
		if f.answer.status == http.StatusOK {
			return checklist.CannotTell("a webhook "+f.what+" was taken, so one that is taken proves nothing", "see webhook-bad-signature")
		}
	}
	// Three headers for each secret: alone, before and after a foreign signature.
	foreign, n := "whsec_"+rand.Text(), len(t.WebhookSecrets)
	for i, secret := range t.WebhookSecrets {
		for _, try := range []struct {
			what    string
			secrets []string
		}{
			{"alone", []string{secret}},
			{"before a foreign signature", []string{secret, foreign}},
			{"behind a foreign signature", []string{foreign, secret}},
		} {
			body := hook()
			a, err := t.post(ctx, body, signed(body, time.Now(), try.secrets...))
			switch {
			case err != nil:
				return unreached("the API", err, lookAtAPI)
			case a.status == http.StatusServiceUnavailable || a.status == http.StatusTooManyRequests:
				return checklist.CannotTell("a webhook was answered "+a.said(), "try again when the API is well")
			case a.status != http.StatusOK:
				return checklist.Failed(fmt.Sprintf("a signature of secret %d of %d %s was answered %s", i+1, n, try.what, cut(a.said(), 60)),
					"set STRIPE_WEBHOOK_SECRET of the API to the new secret and the old, comma-separated, until Stripe signs with the new one only")
			}
		}
	}
	a, err := t.ask(ctx, http.MethodGet, webhookPath+"/health", "", "", nil)
	var health struct{ Secrets int }
	if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &health) != nil || health.Secrets == 0 {
		health.Secrets = n // the route may not be public
	}
	state := "no rotation is under way"
	if health.Secrets > 1 {
		state = "a rotation is under way"
	}
	seen := fmt.Sprintf("%s, alone and beside a foreign signature, taken: %s", strings.TrimSpace(plural(n, "secret")), state)
	if health.Secrets > n {
		return checklist.Warned(fmt.Sprintf("%s; the API knows %s", seen, plural(health.Secrets, "secret")),
			"give the others too (STRIPE_WEBHOOK_SECRET), so that each is tried, or finish the rotation: kgents secrets rotate webhook-secret --finish")
	}
	return checklist.Passed("%s", seen)
}
