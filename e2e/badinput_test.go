package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/meter"
)

// hostile is a request of the kind that an edge on the internet gets.
type hostile struct {
	name     string
	path     string // /api/v1/events unless said
	body     string
	header   map[string]string // replaces what a good client sends; "" leaves a header out
	want     int
	says     string  // part of the answer's detail or errors
	payments float64 // counted by it
	tokens   float64
}

// good is a usage event that counts value tokens.
func good(id string, value any) string {
	v, _ := json.Marshal(value)
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"bad-input","type":"agent.tokens","subject":"c","data":{"tokens":%s}}`, id, v)
}

// at is a usage event of a time.
func at(id, when string) string {
	return strings.Replace(good(id, 1), `"subject"`, fmt.Sprintf(`"time":%q,"subject"`, when), 1)
}

// paid is a Stripe event of a paid invoice.
func paid(id, amount, currency string) string {
	return fmt.Sprintf(`{"id":%q,"object":"event","type":"invoice.paid","created":%d,"data":{"object":{"id":"in_1","object":"invoice","customer":"cus_1","amount_paid":%s,"currency":%s}}}`,
		id, time.Now().Unix(), amount, currency)
}

// sign signs body with secret as of age ago.
func sign(body, secret string, age time.Duration) map[string]string {
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: secret, Timestamp: time.Now().Add(-age)})
	return map[string]string{"Stripe-Signature": signed.Header}
}

// stripe is a request to the webhook, rightly signed.
func stripe(name, body string, want int, says string, payments float64) hostile {
	return hostile{name: name, path: "/webhooks/stripe", body: body, header: sign(body, webhookSecret, 0), want: want, says: says, payments: payments}
}

func batchOf(n int) string {
	events := make([]string, n)
	for i := range events {
		events[i] = fmt.Sprintf(`{"specversion":"1.0","id":"b%d","source":"many","type":"agent.tokens","subject":"c","data":{"tokens":1}}`, i)
	}
	return "[" + strings.Join(events, ",") + "]"
}

// TestBadInput sends what clients get wrong and attackers try. Each request gets
// the answer that says why, and in the end the meters hold exactly what was
// accepted: nothing refused was counted, and no neighbour of it was lost.
func TestBadInput(t *testing.T) {
	p := up(t, t.TempDir())
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	replayed := paid("evt_replayed", "100", `"usd"`)
	cases := []hostile{
		// Signatures.
		{name: "no signature", path: "/webhooks/stripe", body: paid("evt_s1", "1", `"usd"`), want: 400, says: "Stripe-Signature header is missing"},
		{name: "a signature that is none", path: "/webhooks/stripe", body: paid("evt_s2", "1", `"usd"`), header: map[string]string{"Stripe-Signature": "t=1,v1=zz"}, want: 400, says: "signature"},
		{name: "signed with another secret", path: "/webhooks/stripe", body: paid("evt_s3", "1", `"usd"`), header: sign(paid("evt_s3", "1", `"usd"`), "whsec_other", 0), want: 400, says: "signature"},
		{name: "stale", path: "/webhooks/stripe", body: replayed, header: sign(replayed, webhookSecret, 6*time.Minute), want: 400, says: "5 minutes"},
		{name: "of the future", path: "/webhooks/stripe", body: replayed, header: sign(replayed, webhookSecret, -6*time.Minute), want: 400, says: "5 minutes"},
		{name: "the body was changed after signing", path: "/webhooks/stripe", body: paid("evt_s4", "9999999", `"usd"`), header: sign(paid("evt_s4", "1", `"usd"`), webhookSecret, 0), want: 400, says: "signature"},
		stripe("good", replayed, 200, "", 100),
		{name: "replayed later with a fresh signature", path: "/webhooks/stripe", body: replayed, header: sign(replayed, webhookSecret, time.Minute), want: 200},

		// Stripe's bodies.
		stripe("10 MB", strings.Repeat("x", 10<<20), 413, "bytes", 0),
		stripe("not JSON", "hello", 400, "JSON", 0),
		stripe("JSON of the wrong shape", `[1,2,3]`, 400, "", 0),
		stripe("deeply nested", deep, 400, "", 0),
		stripe("two amounts", `{"id":"evt_d","object":"event","type":"invoice.paid","created":1795456016,"data":{"object":{"id":"in_1","customer":"c","amount_paid":1,"amount_paid":100,"currency":"usd"}}}`, 400, "two members of one name", 0),
		stripe("invalid UTF-8", strings.Replace(paid("evt_u", "1", `"usd"`), "cus_1", "cus_\xff", 1), 400, "UTF-8", 0),
		stripe("an id of 10 kB", paid("evt_"+strings.Repeat("x", 10_000), "1", `"usd"`), 400, "id", 0),
		stripe("a negative amount", paid("evt_neg", "-5", `"usd"`), 400, "negative", 0),
		stripe("a fraction of a cent", paid("evt_frac", "1.5", `"usd"`), 400, "amount_paid", 0),
		stripe("an amount that no integer holds", paid("evt_huge", "1e40", `"usd"`), 400, "amount_paid", 0),
		stripe("NaN", paid("evt_nan", "NaN", `"usd"`), 400, "JSON", 0),
		stripe("no currency", paid("evt_cur", "1", `null`), 400, "currency", 0),
		stripe("a currency that we don't know", paid("evt_xyz", "7", `"xyz"`), 200, "", 7), // kept apart under its own name
		stripe("a thin event", `{"id":"evt_thin","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered","created":"2026-11-23T00:00:00Z"}`, 200, "", 0),
		stripe("a type that isn't ours", `{"id":"evt_other","object":"event","type":"charge.refunded","created":1795456016,"data":{"object":{"id":"ch_1"}}}`, 200, "", 0),

		// Keys.
		{name: "no key", body: good("k1", 1), header: map[string]string{"Authorization": ""}, want: 401, says: "API key"},
		{name: "a wrong key", body: good("k2", 1), header: map[string]string{"Authorization": "Bearer kg_wrong"}, want: 401, says: "not known"},

		// Usage bodies.
		{name: "10 MB", body: strings.Repeat("x", 10<<20), want: 413, says: "bytes"},
		{name: "not JSON", body: "tokens=5", want: 400, says: "JSON"},
		{name: "JSON of the wrong shape", body: `"hello"`, want: 400, says: "CloudEvent"},
		{name: "deeply nested", body: strings.Replace(good("deep", 1), `{"tokens":1}`, deep, 1), want: 400, says: ""},
		{name: "a key twice", body: strings.Replace(good("twice", 1), `"tokens":1`, `"tokens":1,"tokens":100`, 1), want: 400, says: "twice"},
		{name: "invalid UTF-8", body: good("\xff", 1) + "\xff", want: 400, says: "UTF-8"},
		{name: "an id of 10 kB", body: good(strings.Repeat("x", 10_000), 1), want: 400, says: "/id"},
		{name: "an event over the limit", body: strings.Replace(good("large", 1), `"tokens":1`, `"tokens":1,"pad":"`+strings.Repeat("x", 950_000)+`"`, 1), want: 413, says: "bytes"},
		{name: "a time of 1960", body: at("t1960", "1960-01-01T00:00:00Z"), want: 400, says: "time"},
		{name: "a time of 2020", body: at("t2020", "2020-02-29T12:00:00+05:30"), want: 204, tokens: 1},
		{name: "a time of 2099", body: at("t2099", "2099-01-01T00:00:00Z"), want: 204, tokens: 1},
		{name: "garbage for a time", body: at("tgarbage", "yesterday"), want: 400, says: "time"},
		{name: "an empty batch", body: "[]", header: map[string]string{"Content-Type": "application/cloudevents-batch+json"}, want: 204},
		{name: "one bad event in the middle", body: "[" + good("m1", 1) + `,{"id":"m2"},` + good("m3", 1) + "]", want: 400, says: "/1/source"},
		{name: "a negative amount is the client's to send", body: good("neg", -3), want: 204, tokens: -3},
		{name: "NaN is no JSON", body: strings.Replace(good("nan", 1), `"tokens":1`, `"tokens":NaN`, 1), want: 400, says: "JSON"},
		{name: "two equal events in one batch", body: "[" + good("same", 5) + "," + good("same", 5) + "]", want: 204, tokens: 5},
		{name: "two equal events in one batch, again", body: "[" + good("same", 5) + "," + good("same", 5) + "]", want: 204},
		{name: "a batch of 50,000", body: batchOf(50_000), want: 204, tokens: 50_000},
		{name: "a wrong content type", body: good("ct", 1), header: map[string]string{"Content-Type": "text/plain"}, want: 400, says: "content type"},
		{name: "a charset is fine", body: good("charset", 2), header: map[string]string{"Content-Type": "application/cloudevents+json; charset=UTF-8"}, want: 204, tokens: 2},
		{name: "a payment that pretends to be Stripe's", body: strings.Replace(good("evt_x", 1), "bad-input", "stripe", 1), want: 400, says: "reserved"},
	}
	var payments, tokens float64
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.send(t, p.url) })
		payments += c.payments
		tokens += c.tokens
	}

	t.Run("a body cut short", func(t *testing.T) {
		conn := dial(t, p.url)
		body := good("cut", 1)
		fmt.Fprintf(conn, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", apiKey, len(body), body[:40])
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(conn)
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
			t.Errorf("answered %.60q, want 400", answer)
		}
	})
	t.Run("a client that goes away before the answer", func(t *testing.T) {
		conn := dial(t, p.url)
		body := good("gone", 11)
		fmt.Fprintf(conn, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", apiKey, len(body), body)
		conn.Close()
		// It comes again, as clients do that have had no answer, and counts once.
		hostile{name: "again", body: body, want: 204}.send(t, p.url)
		tokens += 11
	})
	t.Run("a slow client holds nobody up", func(t *testing.T) {
		for range 200 {
			conn := dial(t, p.url)
			fmt.Fprintf(conn, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{", apiKey)
		}
		hostile{name: "meanwhile", body: good("meanwhile", 13), want: 204}.send(t, p.url)
		tokens += 13
	})

	eventually(t, time.Minute, func() (bool, any) {
		gotPayments, gotTokens := p.total("payments"), p.total("agent_tokens")
		return gotPayments == payments && gotTokens == tokens,
			fmt.Sprintf("payments %v, want %v; tokens %v, want %v", gotPayments, payments, gotTokens, tokens)
	})
	// Nothing more arrives late: what is metered is what was accepted.
	eventually(t, time.Minute, func() (bool, any) {
		_, body := p.get("/health/saas")
		return strings.Contains(body, `"messages": 0`) || strings.Contains(body, `"messages":0`), body
	})
	if got, want := p.total("payments"), payments; got != want {
		t.Errorf("payments %v, want %v", got, want)
	}
	if got, want := p.total("agent_tokens"), tokens; got != want {
		t.Errorf("tokens %v, want %v", got, want)
	}
	if _, metrics := p.get("/metrics"); !strings.Contains(metrics, "\nkgents_deadletters_total{reason=\"refused\"} 0\n") {
		t.Error("the meter refused something that the edge had accepted")
	}
	for _, secret := range []string{apiKey, webhookSecret, "amount_paid\":", "cus_1"} {
		if strings.Contains(p.log(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	var byCurrency []string
	res, err := p.meter().Query(t.Context(), meter.Query{Meter: "payments", GroupBy: []string{"currency"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range res.Data {
		byCurrency = append(byCurrency, fmt.Sprint(*row.GroupBy["currency"], " ", row.Value))
	}
	if got := strings.Join(byCurrency, ", "); got != "usd 100, xyz 7" {
		t.Errorf("payments by currency: %s", got)
	}
	p.stop()
}

func (c hostile) send(t *testing.T, url string) {
	t.Helper()
	path := c.path
	if path == "" {
		path = "/api/v1/events"
	}
	req, err := http.NewRequest(http.MethodPost, url+path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if path == "/api/v1/events" {
		req.Header.Set("Authorization", "Bearer "+apiKey)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range c.header {
		if v == "" {
			req.Header.Del(k)
			continue
		}
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != c.want {
		t.Fatalf("answered %d, want %d: %s", resp.StatusCode, c.want, body)
	}
	if c.want < 400 {
		return
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", got)
	}
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(body, &problem); err != nil || problem.Status != c.want || problem.Title == "" || problem.Detail == "" {
		t.Errorf("the answer is no whole problem: %s (%v)", body, err)
	}
	if !strings.Contains(string(body), c.says) {
		t.Errorf("the answer doesn't say %q: %s", c.says, body)
	}
	if len(body) > 4<<10 {
		t.Errorf("the answer has %d bytes: it sends the request back", len(body))
	}
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
