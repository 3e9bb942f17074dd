//go:build cluster

package staging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"
)

// The deployment sells: customers and keys on every replica, plans by webhooks that the
// sinks apply, limits that the replicas share, towns that are metered. Under the rights,
// the network policies and the plans of the manifests.
func sold(c *cluster) {
	s := &seller{cluster: c, operator: c.secret("api.env", "API_KEYS"), service: c.address("kgents-api")}
	for _, ip := range strings.Fields(c.kubectl("get", "pods", "-l", "app.kubernetes.io/name=kgents-api", "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].status.podIP}")) {
		s.pods = append(s.pods, "http://"+ip+":8000")
	}
	if len(s.pods) < 2 {
		c.Fatalf("%d replicas of the api: that tests nothing", len(s.pods))
	}
	who := fmt.Sprintf("shop-%d", time.Now().UnixNano())
	s.must("POST", s.service+"/v1/customers", s.operator, map[string]any{"id": who, "name": "Shop"}, nil)
	var key struct{ Key, Prefix string }
	s.must("POST", s.service+"/v1/keys", s.operator, map[string]any{"customer": who, "scopes": []string{"ingest", "read"}}, &key)
	s.everywhere("the key is known", func(pod string) error {
		_, err := s.call("GET", pod+"/v1/entitlements?feature=tokens", key.Key, nil, nil)
		return err
	})

	// Usage that one replica took counts on all of them, and at the meter.
	s.must("POST", s.service+"/api/v1/events", key.Key, []map[string]any{{
		"specversion": "1.0", "id": "u1", "source": "shop", "type": "agent.tokens", "data": map[string]any{"tokens": 9900, "model": "m", "agent": "a"},
	}}, nil)
	s.everywhere("9,900 of 10,000 tokens are used", func(pod string) error {
		return s.entitled(pod, who, 200, false, 9900)
	})

	// A town takes what is left and no more.
	var town struct{ ID string }
	s.must("POST", s.service+"/v1/town", key.Key, map[string]any{"citizens": 3}, &town)
	if status, _ := s.call("POST", s.service+"/v1/town", key.Key, map[string]any{"citizens": 3}, nil); status != http.StatusPaymentRequired {
		c.Errorf("a second town on the plan free is answered %d, want 402", status)
	}
	s.must("POST", s.service+"/v1/town/"+town.ID+"/step?cycles=8", key.Key, nil, nil)

	// A subscription, told by Stripe, lifts the limit on every replica.
	now := time.Now()
	for i, typ := range []string{"customer.subscription.created", "invoice.paid"} {
		object := map[string]any{
			"id": "sub_" + who, "object": "subscription", "customer": "cus_" + strings.ReplaceAll(who, "-", ""), "status": "active", "metadata": map[string]any{"customer": who},
			"items": map[string]any{"data": []any{map[string]any{
				"quantity": 1, "price": map[string]any{"id": "price_x", "lookup_key": "pro_monthly"},
				"current_period_start": now.Add(-time.Hour).Unix(), "current_period_end": now.AddDate(0, 1, 0).Unix(),
			}}},
		}
		if typ == "invoice.paid" {
			object = map[string]any{"id": "in_" + who, "object": "invoice", "customer": object["customer"], "amount_paid": 1900, "currency": "usd", "subscription": "sub_" + who}
		}
		s.webhook(map[string]any{"id": fmt.Sprintf("evt_%s%d", strings.ReplaceAll(who, "-", ""), i), "object": "event", "type": typ, "created": now.Add(time.Duration(i-60) * time.Second).Unix(), "data": map[string]any{"object": object}})
	}
	s.everywhere("the plan is pro", func(pod string) error {
		var said struct{ Standing struct{ Plan, Status string } }
		if _, err := s.call("GET", pod+"/v1/customers/"+who, s.operator, nil, &said); err != nil {
			return err
		}
		if said.Standing.Plan != "pro" {
			return fmt.Errorf("the plan is %s (%s)", said.Standing.Plan, said.Standing.Status)
		}
		return nil
	})
	s.everywhere("much more is allowed", func(pod string) error { return s.entitled(pod, who, 100_000, true, -1) })
	var invoice struct{ Plan string }
	s.must("GET", s.service+"/v1/invoice", key.Key, nil, &invoice)

	// A revoked key opens nothing, anywhere, within a second.
	s.must("DELETE", s.service+"/v1/keys/"+key.Prefix, s.operator, nil, nil)
	revoked := time.Now()
	s.everywhere("the key is revoked", func(pod string) error {
		if status, _ := s.call("GET", pod+"/v1/entitlements", key.Key, nil, nil); status != http.StatusUnauthorized {
			return fmt.Errorf("it is answered %d", status)
		}
		return nil
	})
	c.Logf("on %d replicas within %v", len(s.pods), time.Since(revoked).Round(time.Millisecond))
}

// seller asks the deployment.
type seller struct {
	*cluster
	operator, service string
	pods              []string
}

// everywhere waits until each replica says so.
func (s *seller) everywhere(what string, ok func(pod string) error) {
	s.Helper()
	for _, pod := range s.pods {
		s.eventually(what+" at "+pod, 30*time.Second, func() error { return ok(pod) })
	}
}

// entitled is nil when the replica allows the customer more tokens, or not, and used are
// used; -1 is any number. It asks with the operator's key, which has no rate of a plan.
func (s *seller) entitled(pod, who string, more int, allowed bool, used int64) error {
	var said struct {
		Entitlements []struct {
			Allowed bool
			Used    int64
			Stale   bool
		}
	}
	if _, err := s.call("GET", fmt.Sprintf("%s/v1/entitlements?customer=%s&feature=tokens&amount=%d", pod, who, more), s.operator, nil, &said); err != nil {
		return err
	}
	if e := said.Entitlements[0]; e.Allowed != allowed || used >= 0 && e.Used != used || e.Stale {
		return fmt.Errorf("it says %+v", e)
	}
	return nil
}

func (s *seller) webhook(event any) {
	s.Helper()
	body, err := json.Marshal(event)
	if err != nil {
		s.Fatal(err)
	}
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: s.secret("api.env", "STRIPE_WEBHOOK_SECRET")})
	req, err := http.NewRequest(http.MethodPost, s.service+"/webhooks/stripe", bytes.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Stripe-Signature", signed.Header)
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		s.Fatalf("a webhook is answered %d %s", resp.StatusCode, answer)
	}
}

func (s *seller) must(method, url, key string, body, out any) {
	s.Helper()
	s.eventually(method+" "+url, 30*time.Second, func() error {
		status, err := s.call(method, url, key, body, out)
		if err != nil && status != http.StatusTooManyRequests { // the plan's rate, which all replicas share
			s.Fatalf("%s %s: %v", method, url, err)
		}
		return err
	})
}

func (s *seller) call(method, url, key string, body, out any) (int, error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		sent = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, url, sent)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, fmt.Errorf("%d %s", resp.StatusCode, b)
	}
	if out != nil {
		err = json.Unmarshal(b, out)
	}
	return resp.StatusCode, err
}
