package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

// counted is what the meter says of a customer's towns.
type counted struct{ Interactions, Tokens int64 }

func (p *program) counted(customer string) (c counted) {
	p.t.Helper()
	for meter, into := range map[string]*int64{"town_interactions": &c.Interactions, "agent_tokens": &c.Tokens} {
		a := p.get("/api/v1/meters/" + meter + "/query?subject=" + customer)
		var result struct{ Data []struct{ Value float64 } }
		if err := json.Unmarshal([]byte(a.body), &result); a.status != http.StatusOK || err != nil {
			p.t.Fatalf("query answers %d %s (%v)", a.status, a.body, err)
		}
		for _, row := range result.Data {
			*into += int64(row.Value)
		}
	}
	return c
}

// ask sends a request with a customer's key, and decodes the answer.
func (p *program) ask(key, method, path, body string, want int, into any) {
	p.t.Helper()
	req := p.request(method, path, body)
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	a := p.send(req)
	if a.status != want {
		p.t.Fatalf("%s %s is answered with %d, want %d: %s", method, path, a.status, want, a.body)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			p.t.Fatalf("%s: %v", a.body, err)
		}
	}
}

// keyOf makes a customer with a key of its own.
func (p *program) keyOf(customer string) string {
	p.t.Helper()
	eventually(p.t, "the customer is there", func() bool {
		a := p.post("/v1/customers", fmt.Sprintf(`{"id":%q}`, customer))
		return a.status == http.StatusCreated || a.status == http.StatusConflict
	})
	var made struct{ Key string }
	a := p.post("/v1/keys", fmt.Sprintf(`{"customer":%q,"scopes":["ingest","read"]}`, customer))
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || made.Key == "" {
		p.t.Fatalf("a key is answered with %d %s", a.status, a.body)
	}
	return made.Key
}

// A customer's town, through the whole program: what the real meter counts is what
// happened, the plan's limit holds to the token, and its stream ends when the program does.
func TestTown(t *testing.T) {
	t.Parallel()
	p := start(t, config.RoleUp, settings(t, config.RoleUp, nil))
	p.ready()
	key, other := p.keyOf("acme"), p.keyOf("other")

	var made host.Town
	p.ask(key, "POST", "/v1/town", `{"citizens":3,"seed":"7"}`, 201, &made)
	p.ask(key, "POST", "/v1/town", `{"citizens":3}`, 402, nil)
	p.ask(other, "POST", "/v1/town", `{"citizens":7}`, 402, nil)
	path := "/v1/town/" + made.ID
	p.ask(other, "GET", path, "", 404, nil)

	req := p.request("GET", path+"/events", "")
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Accept", "text/event-stream")
	stream, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()

	var stepped host.Stepped
	p.ask(key, "POST", path+"/step?cycles=60", "", 200, &stepped)
	if stepped.Town.Limited == "" {
		t.Errorf("after 60 phases nothing tells that the limit is reached, with %d tokens", stepped.Town.Tokens)
	}
	want := counted{stepped.Town.Interactions, stepped.Town.Tokens}
	if want.Tokens > 10_000 || want.Tokens < 9_200 {
		t.Errorf("%d tokens were used of 10,000", want.Tokens)
	}
	eventually(t, "everything is metered", func() bool { return p.counted("acme") == want })
	p.ask(key, "POST", path+"/step?cycles=20", "", 200, &stepped)
	if got := (counted{stepped.Town.Interactions, stepped.Town.Tokens}); got.Tokens > 10_000 {
		t.Errorf("at the limit the town went on to %v", got)
	}

	// The program ends with the stream open, and doesn't wait for who reads it.
	var told []town.Event
	var reader sync.WaitGroup
	reader.Go(func() {
		lines := bufio.NewScanner(stream.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var e town.Event
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Error(err)
				}
				told = append(told, e)
			}
		}
	})
	var page struct{ Events []town.Event }
	p.ask(key, "GET", path+"/events?limit=1000", "", 200, &page)
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %s with a stream open", took)
	}
	reader.Wait()
	if len(told) > len(page.Events) || len(told) == 0 {
		t.Fatalf("the stream told %d events of %d", len(told), len(page.Events))
	}
	if d := cmp.Diff(page.Events[:len(told)], told); d != "" {
		t.Errorf("(-page +stream):\n%s", d)
	}
}

// The demo's customers: one pays by Stripe's webhooks, one doesn't, and both towns live.
// A second start goes on with the same.
func TestDemoTowns(t *testing.T) {
	t.Parallel()
	c := settings(t, config.RoleUp, nil)
	for range 2 {
		p := start(t, config.RoleUp, c)
		p.ready()
		ctx, cancel := context.WithCancel(t.Context())
		var demo sync.WaitGroup
		demo.Go(func() { p.DemoTowns(ctx) })
		for customer, plan := range map[string]string{app.DemoPro: "pro", app.DemoFree: "free"} {
			var list struct{ Towns []host.Town }
			eventually(t, customer+"'s town lives", func() bool {
				a := p.get("/v1/town?customer=" + customer)
				if a.status == http.StatusOK {
					if err := json.Unmarshal([]byte(a.body), &list); err != nil {
						t.Fatal(err)
					}
				}
				return len(list.Towns) > 0 && list.Towns[0].Tokens > 0
			})
			if len(list.Towns) != 1 {
				t.Errorf("%s has %d towns", customer, len(list.Towns))
			}
			var allowed struct{ Entitlements []struct{ Plan string } }
			p.ask(apiKey, "GET", "/v1/entitlements?feature=tokens&customer="+customer, "", 200, &allowed)
			if len(allowed.Entitlements) != 1 || allowed.Entitlements[0].Plan != plan {
				t.Errorf("%s stands with %+v, want the plan %s", customer, allowed, plan)
			}
		}
		cancel()
		demo.Wait()
		p.stop()
	}
}
