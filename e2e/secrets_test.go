package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/kgents/kgents/config"
)

// What must be in no output. Payload stands wherever a client can put text of its
// own, but in ids and types, which may be logged.
const (
	payload      = "payload-zq7"
	meterSecret  = "om_secret_zq7"
	redisSecret  = "redis_secret_zq7"
	natsSecret   = "nats_secret_zq7"
	otlpSecret   = "otlp_secret_zq7"
	foreignKey   = "kg_foreign_zq7"
	secretMarker = "zq7"
)

// outputs is everything that a process writes, and everything that it sends to its
// OTLP receiver.
type outputs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *outputs) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *outputs) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// talkative starts the program at its most talkative and returns what it says, to
// its logs and to a receiver of traces.
func talkative(t *testing.T, env []string, args ...string) (logs, traces *outputs, stop func()) {
	t.Helper()
	logs, traces = &outputs{}, &outputs{}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(traces, r.Body) }))
	t.Cleanup(receiver.Close)
	cmd := exec.Command(binary, args...)
	cmd.Env = append(environ("LOG_LEVEL=debug", "LOG_FORMAT=json", "API_HOST=127.0.0.1",
		"API_KEYS="+apiKey+secretMarker, "STRIPE_WEBHOOK_SECRET="+webhookSecret+secretMarker,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://user:"+otlpSecret+"@"+strings.TrimPrefix(receiver.URL, "http://"),
		"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_EXPORTER_OTLP_COMPRESSION=none"), env...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return logs, traces, stop
}

// TestNothingSecretIsSaid runs the program at debug level through every route with
// right and wrong keys, through webhooks good and bad, a meter that repeats what it
// is sent, and dependencies that are away, and looks into everything that it wrote
// and traced, and into its answers.
func TestNothingSecretIsSaid(t *testing.T) {
	// It refuses one kind of event in the event's own words, with the key, and is
	// broken and closed for a while before that.
	var asked int
	var mu sync.Mutex
	meter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked++
		n := asked
		mu.Unlock()
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "[]")
			return
		}
		status := http.StatusNoContent
		switch {
		case n == 1:
			status = http.StatusInternalServerError
		case n == 2:
			status = http.StatusUnauthorized
		case strings.Contains(string(body), `"poison"`):
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			fmt.Fprintf(w, "refused: %s with %s", body, r.Header.Get("Authorization"))
		}
	}))
	t.Cleanup(meter.Close)

	dir := t.TempDir()
	logs, traces, stop := talkative(t, []string{
		"OPENMETER_BASE_URL=" + meter.URL, "OPENMETER_API_KEY=" + meterSecret, "OPENMETER_FLUSH_INTERVAL=10ms",
		"REDIS_URL=redis://user:" + redisSecret + "@127.0.0.1:1/0",
	}, "up", "--data", dir, "--api-port", "0")
	url := ready(t, dir)
	exercise(t, url)
	eventually(t, time.Minute, func() (bool, any) { // the poison has been buried
		_, body := get(t, url+"/api/v1/deadletters", apiKey+secretMarker)
		return strings.Contains(body, `"seq"`), body
	})
	for _, path := range []string{"/api/v1/deadletters/1", "/api/v1/deadletters?customer=" + payload} {
		_, _ = get(t, url+path, apiKey+secretMarker)
	}
	send(t, "POST", url+"/api/v1/deadletters/1/replay", apiKey+secretMarker, "", "")
	send(t, "DELETE", url+"/api/v1/deadletters/1", apiKey+secretMarker, "", "")
	send(t, "POST", url+"/api/v1/reconcile", apiKey+secretMarker, "application/json", "{}")
	eventually(t, time.Minute, func() (bool, any) { return strings.Contains(traces.String(), "admit"), len(traces.String()) })
	stop()

	away := t.TempDir() // events wait here, and go nowhere
	awayLogs, awayTraces, stopAway := talkative(t, []string{
		"NATS_SERVERS=nats://user:" + natsSecret + "@127.0.0.1:1", "OPENMETER_BASE_URL=http://127.0.0.1:1", "OPENMETER_API_KEY=" + meterSecret,
		"REDIS_URL=redis://user:" + redisSecret + "@127.0.0.1:1/0", "API_PORT=0", "SPOOL_DIR=" + away,
	}, "api")
	exercise(t, said(t, awayLogs))
	stopAway()

	for name, text := range map[string]string{
		"the log": logs.String(), "the traces": traces.String(),
		"the log of an api that is alone": awayLogs.String(), "its traces": awayTraces.String(),
	} {
		if len(text) < 500 {
			t.Errorf("%s has %d bytes: it can't have been looked into", name, len(text))
		}
		for rest := text; ; {
			i := strings.Index(rest, secretMarker)
			if i < 0 {
				break
			}
			t.Errorf("%s shows …%q…", name, rest[max(0, i-200):min(len(rest), i+20)])
			rest = rest[i+len(secretMarker):]
		}
		if !strings.Contains(name, "traces") { // every line is one record, whatever clients send
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "{") && !json.Valid([]byte(line)) {
					t.Errorf("%s has a broken line: %s", name, line)
				}
			}
		}
	}
}

// ready waits until `kgents up` has said where it is, and is.
func ready(t *testing.T, dir string) (url string) {
	t.Helper()
	eventually(t, time.Minute, func() (bool, any) {
		local, err := config.ReadLocal(dir)
		if err != nil || local.URL == "" {
			return false, err
		}
		url = local.URL
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	return url
}

// exercise sends what may be sent, and looks into the answers of routes that have
// no reason to repeat anything.
func exercise(t *testing.T, url string) {
	t.Helper()
	event := func(id, subject, more string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"e2e","type":"agent.tokens","subject":%q,"data":{"tokens":1,"note":%q}%s}`, id, subject, payload, more)
	}
	hook := func(body, secret string) {
		signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: []byte(body), Secret: secret})
		req, err := http.NewRequest(http.MethodPost, url+"/webhooks/stripe", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Stripe-Signature", signed.Header)
		claim(req)
		do(t, req)
	}
	for _, typ := range []string{"invoice.paid", "customer.subscription.created", "plan.created", payload} {
		for _, object := range []string{
			`{"id":"in_1","customer":"cus_` + payload + `","customer_email":"` + payload + `@example.com","amount_paid":4900,"currency":"usd","card":"` + payload + `"}`,
			`{"id":"in_1","customer":"` + payload + `","amount_paid":"` + payload + `"}`, `"` + payload + `"`, `{"id":"` + payload + `"`,
		} {
			body := fmt.Sprintf(`{"id":"evt_1","object":"event","type":%q,"created":%d,"data":{"object":%s}}`, typ, time.Now().Unix(), object)
			hook(body, webhookSecret+secretMarker)
			hook(body, "whsec_wrong"+secretMarker)
		}
	}
	for _, key := range []string{apiKey + secretMarker, foreignKey, ""} {
		for _, body := range []string{
			event("1", payload, ""), event("2", payload, `,"dataschema":"poison"`), event("poison", payload, ""),
			event("3", payload+"\n"+payload, ""), event("4", "c", `,"`+payload+`":{}`), event("5", "c", `,"time":"`+payload+`"`),
			strings.Replace(event("6", "c", ""), `"e2e"`, `"`+payload+` `+payload+`"`, 1), strings.Replace(event("7", "c", ""), `"1.0"`, `"`+payload+`"`, 1),
			strings.Repeat(payload, 1000), `{"` + payload + `":1,"` + payload + `":2}`, `["` + payload + `"]`, "[" + event("8", "c", "") + "," + payload,
		} {
			for _, contentType := range []string{"application/json", payload} {
				send(t, "POST", url+"/api/v1/events", key, contentType, body)
			}
		}
		for _, path := range []string{
			"/", "/" + payload, "/health", "/health/saas", "/livez", "/readyz", "/metrics", "/webhooks/stripe/health",
			"/api/v1/meters", "/api/v1/meters/" + payload + "/query?subject=" + payload, "/api/v1/events?subject=" + payload,
			"/api/v1/deadletters?customer=" + payload, "/api/v1/deadletters/" + payload, "/api/v1/deadletters?after=" + payload, "/api/v1/system",
		} {
			get(t, url+path, key)
		}
		for _, method := range []string{"PUT", "DELETE", "BREW"} {
			send(t, method, url+"/api/v1/events", key, payload, payload)
		}
	}
}

func get(t *testing.T, url, key string) (int, string) {
	t.Helper()
	return send(t, http.MethodGet, url, key, "", "")
}

func send(t *testing.T, method, url, key, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", contentType)
	claim(req)
	return do(t, req)
}

// claim fills the headers that are often logged, or passed on.
func claim(req *http.Request) {
	req.Header.Set("User-Agent", payload)
	req.Header.Set("X-Forwarded-For", payload)
	req.Header.Set("Traceparent", "00-"+payload)
	req.Header.Set("Tracestate", payload)
	req.Header.Set("Baggage", payload+"=1")
	req.Header.Set("Referer", payload)
}

// do sends a request. An answer may say to a caller what it sent, but no secret.
func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := fmt.Sprint(resp.Header, string(body))
	for _, secret := range []string{apiKey + secretMarker, webhookSecret + secretMarker, meterSecret, redisSecret, natsSecret, otlpSecret} {
		if strings.Contains(answer, secret) {
			t.Errorf("%s %s shows %s: %s", req.Method, req.URL.Path, secret, answer)
		}
	}
	return resp.StatusCode, string(body)
}

// said is the URL that the log names.
func said(t *testing.T, logs *outputs) (url string) {
	t.Helper()
	eventually(t, time.Minute, func() (bool, any) {
		for line := range strings.Lines(logs.String()) {
			var record struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "serving" {
				url = record.URL
				return true, nil
			}
		}
		return false, logs.String()
	})
	return url
}
