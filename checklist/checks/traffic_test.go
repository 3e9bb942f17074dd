package checks

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/receive/stripe"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/system"
)

func init() { areas = append(areas, trafficRows) }

// start runs a role with an environment, in directories of its own.
func start(t *testing.T, role config.Role, env map[string]string) *app.App {
	t.Helper()
	all := map[string]string{"API_HOST": "127.0.0.1", "API_PORT": "0", "OPENMETER_FLUSH_INTERVAL": "10ms"}
	for k, v := range env {
		all[k] = v
	}
	c, _, err := config.Load(role, config.Source{Env: func(k string) (string, bool) { v, ok := all[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	a, err := app.Start(t.Context(), role, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return a
}

// between puts a proxy before a server. It may answer by itself, change the request,
// or let next answer and change that.
func between(t *testing.T, to string, by func(w http.ResponseWriter, r *http.Request, next http.Handler)) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	next := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { by(w, r, next) }))
	t.Cleanup(func() {
		s.Close()
		transport.CloseIdleConnections()
	})
	return s.URL
}

// body takes a request's body, and leaves it there.
func body(r *http.Request) []byte {
	b, _ := io.ReadAll(r.Body)
	setBody(r, b)
	return b
}

func setBody(r *http.Request, b []byte) {
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
}

// renamer gives the events of each request but the first ids of their own, as if
// nobody knew an event again.
func renamer() func(r *http.Request) {
	var n atomic.Int64
	return func(r *http.Request) {
		if n := n.Add(1); n > 1 {
			setBody(r, bytes.ReplaceAll(body(r), []byte(`"id":"`), fmt.Appendf(nil, `"id":"%d-`, n)))
		}
	}
}

// compare has an event counted, or not, and then all events compared.
func compare(t *testing.T, url, key string) {
	t.Helper()
	ask := func(path, kind string, body []byte) answer {
		a, err := (&System{}).send(t.Context(), request{http.MethodPost, url + path, http.Header{
			"Authorization": {"Bearer " + key}, "Content-Type": {kind},
		}, bytes.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := ask(eventsPath, eventType, canaryEvent(rand.Text())); a.status != http.StatusNoContent {
		t.Fatalf("the event was answered %s", a.said())
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var r reconcile.Report
		a := ask("/api/v1/reconcile?since=1h&settle=0s", "", nil)
		if err := json.Unmarshal(a.body, &r); err == nil && r.Total.InStream > 0 && r.InFlight == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the comparison came to %s %s", a.said(), a.body)
		}
	}
}

const (
	secretNew = "whsec_aeQu6eiPhu3Aequ0Ahxie8Ie"
	secretOld = "whsec_oox9Aithee6Ohv0ahth8Ooph"
)

func trafficRows(t *testing.T) []row {
	key, meterKey := "kg_"+rand.Text(), "kg_meter_"+rand.Text()
	env := func(more ...string) map[string]string {
		out := map[string]string{"API_KEYS": key, "STRIPE_WEBHOOK_SECRET": secretNew + "," + secretOld, "API_RATE_LIMIT": "1000"}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	good := start(t, config.RoleUp, env())

	// One meter, and ways to it that are broken.
	meterApp := start(t, config.RoleMeter, map[string]string{"API_KEYS": meterKey})
	rename := renamer()
	double := between(t, meterApp.URL(), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			rename(r)
		}
		next.ServeHTTP(w, r)
	})
	forget := between(t, meterApp.URL(), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost {
			drain(r)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
	atMeter := start(t, config.RoleUp, env("OPENMETER_BASE_URL", meterApp.URL(), "OPENMETER_API_KEY", meterKey, "API_RATE_LIMIT", "0"))
	atDouble := start(t, config.RoleUp, env("OPENMETER_BASE_URL", double, "OPENMETER_API_KEY", meterKey, "OPENMETER_RATE_LIMIT", "500", "OPENMETER_RATE_BURST", "50"))
	atForget := start(t, config.RoleUp, env("OPENMETER_BASE_URL", forget, "OPENMETER_API_KEY", meterKey))
	wrongKey := start(t, config.RoleUp, env("OPENMETER_BASE_URL", meterApp.URL(), "OPENMETER_API_KEY", "another", "RECONCILE_INTERVAL", "0"))
	away := start(t, config.RoleUp, env("OPENMETER_BASE_URL", "http://127.0.0.1:1", "OPENMETER_API_KEY", meterKey))

	// of is a System of an API at an address, changed.
	of := func(url string, change func(s *System)) func(*testing.T) *System {
		return func(*testing.T) *System {
			s := &System{APIURL: url, APIKeys: []string{key}, WebhookSecrets: []string{secretNew, secretOld}}
			s.Settings.FlushInterval, s.waits.settle = 10*time.Millisecond, 200*time.Millisecond
			if change != nil {
				change(s)
			}
			return s
		}
	}
	behind := func(by func(w http.ResponseWriter, r *http.Request, next http.Handler)) func(*testing.T) *System {
		return func(t *testing.T) *System { return of(between(t, good.URL(), by), nil)(t) }
	}
	always := func(status int) func(*testing.T) *System {
		return behind(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			drain(r)
			w.WriteHeader(status)
		})
	}
	// says changes what the program says of itself.
	says := func(change func(*system.Report)) func(*testing.T) *System {
		return behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path != system.Path {
				next.ServeHTTP(w, r)
				return
			}
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			var report system.Report
			if err := json.Unmarshal(rec.Body.Bytes(), &report); err != nil {
				t.Error(err)
			}
			change(&report)
			_ = json.NewEncoder(w).Encode(report)
		})
	}
	// compared is a program before its first scheduled comparison; one made now finds so
	// many events in the stream and in the meter.
	compared := func(stream, meter int64) func(*testing.T) *System {
		none := says(func(r *system.Report) { r.Started, r.Reconciliation.Last = r.Now, time.Time{} })
		return func(t *testing.T) *System {
			return of(between(t, none(t).APIURL, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path != "/api/v1/reconcile" {
					next.ServeHTTP(w, r)
					return
				}
				_ = json.NewEncoder(w).Encode(reconcile.Report{Total: reconcile.Counts{InStream: stream, InMeter: meter, Missing: stream - meter}})
			}), nil)(t)
		}
	}
	// noMeter is an API whose meter lists canaries and counts none.
	noMeter := behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/query") {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	nowhere := of("http://127.0.0.1:1", nil)
	noAPI := of("", nil)
	noKeys := of(good.URL(), func(s *System) { s.APIKeys = nil })
	noSecrets := of(good.URL(), func(s *System) { s.WebhookSecrets = nil })
	all := of(good.URL(), nil)

	rows := []row{
		{"api-keys-strong", "passes", all, "1 key with room for"},
		{"api-keys-strong", "fails: a short key", of(good.URL(), func(s *System) { s.APIKeys = []string{key, "kg_short"} }), "API key 2 of 2 has 5 random characters"},
		{"api-keys-strong", "fails: a key that is guessed", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("Authorization") == "Bearer admin" {
				r.Header.Set("Authorization", "Bearer "+key)
			}
			next.ServeHTTP(w, r)
		}), `answered 200 OK to the key "admin"`},
		{"api-keys-strong", "warns: a key that the API doesn't know", of(good.URL(), func(s *System) { s.APIKeys = append(s.APIKeys, "kg_"+rand.Text()) }), "does not take key 2"},
		{"api-keys-strong", "cannot tell: other keys", of(good.URL(), func(s *System) { s.APIKeys = []string{"kg_" + rand.Text()} }), "none of the keys"},

		{"anonymous-refused", "passes", all, "without and with a wrong one, were all refused"},
		{"anonymous-refused", "passes: without a key that is known", noKeys, "all refused"},
		{"anonymous-refused", "fails: a proxy adds a key", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("Authorization") == "" {
				r.Header.Set("Authorization", "Bearer "+key)
			}
			next.ServeHTTP(w, r)
		}), "POST /api/v1/events without a key was answered 204"},
		{"anonymous-refused", "fails: any key will do", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Header.Get("Authorization") != "" && r.URL.Path == "/api/v1/deadletters" {
				r.Header.Set("Authorization", "Bearer "+key)
			}
			next.ServeHTTP(w, r)
		}), "GET /api/v1/deadletters with a wrong key was answered 200"},
		{"anonymous-refused", "cannot tell: it is unwell", always(503), "was answered 503"},

		{"oversize-refused", "passes", all, "were refused"},
		{"oversize-refused", "fails: any size is taken", always(204), "a webhook that says it has more than 1 MiB was answered 204"},
		{"oversize-refused", "fails: large events are taken", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path == eventsPath && r.ContentLength > 1<<20 {
				drain(r)
				w.WriteHeader(http.StatusNoContent)
				return
			}
			next.ServeHTTP(w, r)
		}), "usage events of more than 8 MiB was answered 204"},
		{"oversize-refused", "cannot tell: it is unwell", always(503), "was answered 503"},
		{"oversize-refused", "cannot tell: no key", noKeys, "no API key is known"},

		{"security-headers", "passes", all, "5 answers of all kinds have Cache-Control"},
		{"security-headers", "fails: a proxy takes one away", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for name, values := range rec.Header() {
				if name != "Content-Security-Policy" {
					w.Header()[name] = values
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		}), `has Content-Security-Policy "", not "default-src 'none'`},

		{"api-rate-limit", "passes", all, "each key may send 1000 requests a second"},
		{"api-rate-limit", "fails: none is set", of(atMeter.URL(), nil), "API_RATE_LIMIT=0"},
		{"api-rate-limit", "warns: none is set on one's own machine", of(atMeter.URL(), func(s *System) { s.Target = "local" }), "API_RATE_LIMIT=0"},
		{"api-rate-limit", "cannot tell: an old program", behind(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { http.NotFound(w, r) }), "does not know /api/v1/system"},
		{"api-rate-limit", "cannot tell: no key", noKeys, "no API key is known"},

		{"openmeter-rate-limit", "passes", all, "the meter is embedded"},
		{"openmeter-rate-limit", "passes: the sink keeps to one", of(atDouble.URL(), nil), "a sink sends 500 requests a second to 127.0.0.1:"},
		{"openmeter-rate-limit", "passes: the sink is elsewhere", func(t *testing.T) *System {
			s := says(func(r *system.Report) { r.Role = "api" })(t)
			s.SinkURL = atDouble.URL()
			return s
		}, "a sink sends 500 requests a second"},
		{"openmeter-rate-limit", "passes: the meter is our own", says(func(r *system.Report) { r.Meter = system.Meter{Host: "kgents-meter", Answers: true} }), "kgents-meter of this deployment"},
		{"openmeter-rate-limit", "fails: none is set", of(atMeter.URL(), nil), "as fast as it can"},
		{"openmeter-rate-limit", "cannot tell: the sink does not answer", of(good.URL(), func(s *System) { s.SinkURL = "http://127.0.0.1:1" }), "the sink does not answer"},
		{"openmeter-rate-limit", "cannot tell: the sink is elsewhere", says(func(r *system.Report) { r.Role = "api" }), "the sink's address is not known"},
		{"openmeter-rate-limit", "cannot tell: no key", noKeys, "no API key is known"},

		{"webhook-accepted", "passes", all, "was answered 200"},
		{"webhook-accepted", "fails: another secret", of(good.URL(), func(s *System) { s.WebhookSecrets = []string{"whsec_another"} }), "was answered 400 Bad Request: the signature does not match"},
		{"webhook-accepted", "fails: something else answers", always(200), "was answered 200"},
		{"webhook-accepted", "cannot tell: it is unwell", always(503), "503"},
		{"webhook-accepted", "cannot tell: no secret", noSecrets, "no webhook secret is known"},

		{"webhook-bad-signature", "passes", all, "an hour old one were refused with 400"},
		{"webhook-bad-signature", "fails: all are taken", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Set("Stripe-Signature", signed(body(r), time.Now(), secretNew))
			next.ServeHTTP(w, r)
		}), "a webhook without a signature was answered 200"},
		{"webhook-bad-signature", "fails: any secret will do", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasPrefix(r.Header.Get("Stripe-Signature"), "t=") {
				r.Header.Set("Stripe-Signature", signed(body(r), time.Now(), secretNew))
			}
			next.ServeHTTP(w, r)
		}), "a webhook signed with another secret was answered 200"},
		{"webhook-bad-signature", "fails: old ones are taken", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			err := stripe.Verify(body(r), r.Header.Get("Stripe-Signature"), []string{secretNew}, time.Now())
			if e, ok := errors.AsType[*stripe.SignatureError](err); ok && e.Reason == stripe.ReasonStale {
				r.Header.Set("Stripe-Signature", signed(body(r), time.Now(), secretNew))
			}
			next.ServeHTTP(w, r)
		}), "a webhook signed with our secret an hour ago was answered 200"},
		{"webhook-bad-signature", "cannot tell: no secret", noSecrets, "none can be made that is only old"},
		{"webhook-bad-signature", "cannot tell: it is unwell", always(503), "503"},

		{"webhook-secret-overlap", "passes", all, "2 secrets, alone and beside a foreign signature, taken: a rotation is under way"},
		{"webhook-secret-overlap", "fails: one of the secrets isn't taken", of(good.URL(), func(s *System) { s.WebhookSecrets = append(s.WebhookSecrets, "whsec_third") }), "a signature of secret 3 of 3 alone was answered 400"},
		{"webhook-secret-overlap", "fails: only the first signature is looked at", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if parts := strings.Split(r.Header.Get("Stripe-Signature"), ","); len(parts) > 2 {
				r.Header.Set("Stripe-Signature", strings.Join(parts[:2], ","))
			}
			next.ServeHTTP(w, r)
		}), "a signature of secret 1 of 2 behind a foreign signature was answered 400"},
		{"webhook-secret-overlap", "warns: a secret isn't known here", of(good.URL(), func(s *System) { s.WebhookSecrets = s.WebhookSecrets[:1] }), "the API knows 2 secrets"},
		{"webhook-secret-overlap", "cannot tell: all is taken", behind(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Set("Stripe-Signature", signed(body(r), time.Now(), secretNew))
			next.ServeHTTP(w, r)
		}), "proves nothing"},
		{"webhook-secret-overlap", "cannot tell: no secret", noSecrets, "no webhook secret is known"},

		{"openmeter-reachable", "passes", all, "it answers the API, with"},
		{"openmeter-reachable", "passes: asked directly too", of(atMeter.URL(), func(s *System) { s.MeterURL, s.MeterKey = meterApp.URL(), meterKey }), "it takes the key that is known here"},
		{"openmeter-reachable", "passes: through the API only", of(atMeter.URL(), func(s *System) { s.MeterURL = "http://127.0.0.1:1" }), "from here it is not reached"},
		{"openmeter-reachable", "fails: the API's key is refused", of(wrongKey.URL(), nil), "does not let this program in"},
		{"openmeter-reachable", "fails: the key known here is refused", of(atMeter.URL(), func(s *System) { s.MeterURL, s.MeterKey = meterApp.URL(), "a-wrong-key" }), "the meter answered 401"},
		{"openmeter-reachable", "fails: it is away", of(away.URL(), nil), "the meter, asked by the API, came to 503"},
		{"openmeter-reachable", "cannot tell: no key", noKeys, "no API key is known"},
		{"openmeter-reachable", "cannot tell: it isn't reached", of("", func(s *System) { s.MeterURL = "http://127.0.0.1:1" }), "the meter does not answer"},

		{"openmeter-deduplicates", "passes", all, "handed to the meter more than once was counted once"},
		{"openmeter-deduplicates", "passes: asked directly", of(atMeter.URL(), func(s *System) { s.MeterURL, s.MeterKey = meterApp.URL(), meterKey }), "handed to the meter 4 times was counted once"},
		{"openmeter-deduplicates", "passes: only the meter is known", of("", func(s *System) { s.MeterURL, s.MeterKey = meterApp.URL(), meterKey }), "handed to the meter 4 times was counted once"},
		{"openmeter-deduplicates", "fails: asked by the API", of(atDouble.URL(), nil), "was counted"},
		{"openmeter-deduplicates", "fails: asked directly", of(atDouble.URL(), func(s *System) { s.MeterURL, s.MeterKey = double, meterKey }), "handed to the meter 4 times was counted"},
		{"openmeter-deduplicates", "cannot tell: an old program", behind(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { http.NotFound(w, r) }), "can't be handed a pair"},
		{"openmeter-deduplicates", "cannot tell: it doesn't take them", of(wrongKey.URL(), nil), "does not let this program in"},
		{"openmeter-deduplicates", "cannot tell: it forgets them", of(atForget.URL(), func(s *System) { s.waits.count = time.Second }), "not counted in time: 0 of 2 events"},
		{"openmeter-deduplicates", "cannot tell: no key", noKeys, "no API key is known"},

		{"canary-within-objective", "passes", all, "in all: publish"},
		{"canary-within-objective", "fails: it is lost", of(atForget.URL(), func(s *System) { s.waits.count = time.Second }), "stuck at consume after 1s"},
		{"canary-within-objective", "fails: it is late", of(good.URL(), func(s *System) { s.waits.objective = time.Nanosecond }), "it took"},
		{"canary-within-objective", "fails: the key is refused", of(good.URL(), func(s *System) { s.APIKeys = []string{"kg_wrong"} }), "stuck at publish"},
		{"canary-within-objective", "cannot tell: no meter counts it", noMeter, "the meter lists it, but no meter counts it"},
		{"canary-within-objective", "cannot tell: nobody answers", of("http://127.0.0.1:1", func(s *System) { s.waits.count = 100 * time.Millisecond }), "the API gives no answer"},
		{"canary-within-objective", "cannot tell: no key", noKeys, "no API key is known"},

		{"openmeter-deduplicates", "passes: no meter counts canaries", noMeter, "is listed once by the meter, which has no meter canaries"},

		{"duplicate-once", "passes", all, "sent 4 times to the API was counted once"},
		{"duplicate-once", "fails: nobody knows it again", func(t *testing.T) *System {
			rename := renamer()
			return of(between(t, good.URL(), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPost {
					rename(r)
				}
				next.ServeHTTP(w, r)
			}), nil)(t)
		}, "sent 4 times to the API was counted"},
		{"duplicate-once", "fails: it is refused", func(t *testing.T) *System {
			var once sync.Once
			return of(between(t, good.URL(), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				first := r.Method == http.MethodGet
				if !first {
					once.Do(func() { first = true })
				}
				if !first {
					w.WriteHeader(http.StatusConflict)
					return
				}
				next.ServeHTTP(w, r)
			}), nil)(t)
		}, "a duplicate was answered 409"},
		{"duplicate-once", "cannot tell: nothing comes through", of(atForget.URL(), func(s *System) { s.waits.count = time.Second }), "no event came through"},
		{"duplicate-once", "cannot tell: no key", noKeys, "no API key is known"},

		{"reconciliation-clean", "passes", all, "within its interval of 1h0m0s, and nothing is missing"},
		{"reconciliation-clean", "passes: the sink is elsewhere", func(t *testing.T) *System {
			s := says(func(r *system.Report) { r.Role, r.Reconciliation = "api", nil })(t)
			s.SinkURL = good.URL()
			return s
		}, "nothing is missing"},
		{"reconciliation-clean", "fails: events are missing", of(atForget.URL(), nil), "missing in the meter"},
		{"reconciliation-clean", "fails: none is scheduled", of(wrongKey.URL(), nil), "RECONCILE_INTERVAL=0"},
		{"reconciliation-clean", "fails: it is late", says(func(r *system.Report) { r.Reconciliation.Last = r.Now.Add(-100 * time.Minute) }), "ended 1h40m0s ago"},
		{"reconciliation-clean", "fails: none came to its end", says(func(r *system.Report) {
			r.Started, r.Reconciliation.Last = r.Now.Add(-2*time.Hour), time.Time{}
		}), "since the start 2h0m0s ago"},
		{"reconciliation-clean", "passes: before the first is due", compared(6, 6), "compared now: all of 6 events"},
		{"reconciliation-clean", "fails: before the first is due", compared(6, 4), "compared now: 2 of 6 events missing"},
		{"reconciliation-clean", "cannot tell: what it found isn't known", says(func(r *system.Report) { r.Reconciliation.Missing = nil }), "is not known"},
		{"reconciliation-clean", "cannot tell: nothing to compare yet", of(atMeter.URL(), nil), "nothing to compare yet"},
		{"reconciliation-clean", "cannot tell: the sink is elsewhere", says(func(r *system.Report) { r.Role = "api" }), "the sink's address is not known"},
		{"reconciliation-clean", "cannot tell: no key", noKeys, "no API key is known"},
	}
	for id := range traffic(&System{}) {
		rows = append(rows, row{id, "cannot tell: no address", noAPI, "no address of the API is known"})
		if id != "canary-within-objective" && id != "duplicate-once" { // these try again
			rows = append(rows, row{id, "cannot tell: nobody answers", nowhere, "does not answer"})
		}
	}
	compare(t, good.URL(), key)
	compare(t, atForget.URL(), key)
	return rows
}
