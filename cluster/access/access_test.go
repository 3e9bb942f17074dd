package access_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/access"
	"github.com/kgents/kgents/secrets"
	"github.com/kgents/kgents/stream"
)

// client is one of a cluster that is not there: Inside, so that it dials from here.
func client(t *testing.T) *cluster.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:1"}}],"contexts":[{"name":"c","context":{"cluster":"c","namespace":"test"}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	c, err := cluster.Open(cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.Inside = true
	return c
}

// deployed is what is in the namespace, with the secrets that `kgents secrets init`
// makes and names that end as Kustomize's do.
func deployed(t *testing.T) (o *cluster.Objects, values map[string]string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := secrets.Init(dir, "test"); err != nil {
		t.Fatal(err)
	}
	values = map[string]string{}
	o = &cluster.Objects{}
	add := func(name string, data map[string]string) {
		encoded := map[string]string{}
		for key, value := range data {
			encoded[key] = base64.StdEncoding.EncodeToString([]byte(value))
			values[name+"/"+key] = value
		}
		b, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name}, "data": encoded})
		if err != nil {
			t.Fatal(err)
		}
		var s cluster.Secret
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		o.Secrets.Items = append(o.Secrets.Items, s)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	add("kgents-api-old", map[string]string{"API_KEYS": "the-old-one", "STRIPE_WEBHOOK_SECRET": "whsec_old"}) // of a revision before
	add("kgents-api-abc", map[string]string{"API_KEYS": "one,two", "STRIPE_WEBHOOK_SECRET": "whsec_new\nwhsec_before\n"})
	add("rest-abc", map[string]string{"redis": "redis://kgents:hush@redis:6379/0", "meter": "meter-key", "ca": read("nats/ca.crt"), "api": read("nats/api.nk"), "system": read("nats/system.nk")})
	volumes := func(role string) string {
		return `"volumes":[{"name":"s","projected":{"sources":[
{"secret":{"name":"kgents-api-abc","items":[{"key":"API_KEYS","path":"keys"},{"key":"STRIPE_WEBHOOK_SECRET","path":"stripe"}]}},
{"secret":{"name":"rest-abc","items":[{"key":"redis","path":"redis"},{"key":"meter","path":"meter"},{"key":"ca","path":"ca"},{"key":"` + role + `","path":"nk"}]}}]}}]`
	}
	const env = `"volumeMounts":[{"name":"s","mountPath":"/run/s"}],"env":[
{"name":"NATS_SERVERS","value":"tls://nats-0.nats-headless:4222,tls://nats-1.nats-headless:4222"},{"name":"NATS_REPLICAS","value":"3"},
{"name":"NATS_CREDS","value":"/run/s/nk"},{"name":"NATS_TLS_CA","value":"/run/s/ca"},{"name":"OPENMETER_BASE_URL","value":"http://kgents-meter"},
{"name":"OPENMETER_API_KEY_FILE","value":"/run/s/meter"},{"name":"REDIS_URL_FILE","value":"/run/s/redis"},{"name":"API_KEYS_FILE","value":"/run/s/keys"},
{"name":"STRIPE_WEBHOOK_SECRET_FILE","value":"/run/s/stripe"}`
	into(t, &o.Deployments.Items, `[{"metadata":{"name":"kgents-api"},"spec":{"template":{"spec":{"containers":[{"name":"api",`+env+`]}],`+volumes("api")+`}}}}]`)
	into(t, &o.CronJobs.Items, `[{"metadata":{"name":"kgents-verify"},"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"verify",`+env+`,{"name":"KGENTS_URL","value":"http://kgents-api:8080/"}]}],`+volumes("system")+`}}}}}}]`)
	return o, values
}

func into(t *testing.T, to any, text string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

func TestNew(t *testing.T) {
	o, values := deployed(t)
	a := access.New(client(t), o)
	defer a.Close()
	s := a.API.Settings
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"API keys", s.APIKeys, []string{"one", "two"}},
		{"webhook secrets", s.WebhookSecrets, []string{"whsec_new", "whsec_before"}},
		{"NATS servers", a.NATSAPI.Servers, []string{"tls://nats-0.nats-headless:4222", "tls://nats-1.nats-headless:4222"}},
		{"replicas", s.Replicas, 3},
		{"the stream's default name", s.StreamName, "kgent-events"},
		{"Redis", s.RedisURL, "redis://kgents:hush@redis:6379/0"},
		{"the meter", s.OpenMeterBaseURL + " " + s.OpenMeterAPIKey, "http://kgents-meter meter-key"},
		{"the API", a.APIURL, "http://kgents-api:8080"},
		{"names", a.NATSAPI.Name + " " + a.NATSSystem.Name, "kgents-api " + stream.SystemName},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
	for what, err := range map[string]error{"api": a.API.Err, "verify": a.Verify.Err, "NATS as api": a.NATSAPI.Err, "NATS as system": a.NATSSystem.Err} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a.NATSAPI.Key == nil || a.NATSAPI.Roots == nil || a.NATSAPI.Dial == nil {
		t.Error("NATS can't be reached so")
	}
	for what, err := range map[string]error{"sink": a.Sink.Err, "NATS as sink": a.NATSSink.Err, "backup": a.Backup.Err, "NATS as backup": a.NATSBackup.Err} {
		if _, ok := errors.AsType[*cluster.NotFoundError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A user and what the pods are given may end in a log.
	shown := fmt.Sprintf("%+v %+v", a.NATSSystem, o.Secrets)
	for name, value := range values {
		if strings.Contains(shown, strings.TrimSpace(value)) {
			t.Errorf("%s is shown", name)
		}
	}
}

// What may not be read, or isn't as it must be, is said where it is missed.
func TestMissing(t *testing.T) {
	o, _ := deployed(t)
	c := client(t)
	o.Secrets.Err = &cluster.DeniedError{What: "secrets in namespace test", Reason: "may not"}
	a := access.New(c, o)
	for what, err := range map[string]error{"api": a.API.Err, "NATS": a.NATSAPI.Err} {
		if _, ok := errors.AsType[*cluster.DeniedError](err); !ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(a.API.Settings.APIKeys) != 0 || a.API.Settings.OpenMeterBaseURL != "http://kgents-meter" {
		t.Error("what needs no Secret is known, and nothing else")
	}
	for text, want := range map[string]string{
		`"env":[]`: "NATS_SERVERS is not set",
		`"env":[{"name":"NATS_SERVERS","value":"tls://n"},{"name":"NATS_TLS_CERT","value":"/c"}]`: "NATS_TLS_CERT is set",
		`"env":[{"name":"NATS_SERVERS","value":"tls://n"},{"name":"NATS_CREDS","value":"/c"}]`:    "file /c of Deployment kgents-api is not there",
		`"env":[{"name":"NATS_SERVERS","value":"tls://n"},{"name":"NATS_TLS_CA","value":"/c"}]`:   "file /c of Deployment kgents-api is not there",
		`"env":[{"name":"NATS_SERVERS","value":"http://n"}]`:                                      "no NATS URL",
	} {
		o := &cluster.Objects{}
		into(t, &o.Deployments.Items, `[{"metadata":{"name":"kgents-api"},"spec":{"template":{"spec":{"containers":[{"name":"api",`+text+`}]}}}}]`)
		if err := access.New(c, o).NATSAPI.Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q", text, err, want)
		}
	}
}

// Services go by no proxy; redirects are not followed.
func TestHTTP(t *testing.T) {
	asked := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
	}))
	defer s.Close()
	a := access.New(client(t), &cluster.Objects{})
	defer a.Close()
	resp, err := a.HTTP.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound {
		t.Errorf("the status is %d", resp.StatusCode)
	}
	<-asked
	t.Setenv("HTTP_PROXY", s.URL) // read once in a process, so by this test alone
	proxy := a.HTTP.Transport.(*http.Transport).Proxy
	for host, want := range map[string]bool{"kgents-api": false, "a.b.svc": false, "a.b.svc.cluster.local:80": false, "10.1.2.3:80": false, "openmeter.example.com": true} {
		got, err := proxy(&http.Request{URL: &url.URL{Scheme: "http", Host: host}})
		if err != nil || (got != nil) != want {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
}

// The remote that comes out connects.
func TestConnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := &cluster.Objects{}
	into(t, &o.Deployments.Items, `[{"metadata":{"name":"kgents-api"},"spec":{"template":{"spec":{"containers":[{"name":"api","env":[{"name":"NATS_SERVERS","value":"nats://`+l.Addr().String()+`"}]}]}}}}]`)
	a := access.New(client(t), o)
	came := make(chan struct{})
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
		}
		close(came)
	}()
	nc, err := stream.Connect(a.NATSAPI.Remote, a.NATSAPI.Name, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	<-came
}
