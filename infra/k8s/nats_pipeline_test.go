package k8s

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/reconcile"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
)

const pipelineKey = "kg_never-shown"

// journal is a log that is read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// roleUnderTest is a running role of the program.
type roleUnderTest struct {
	t    *testing.T
	url  string
	log  *journal
	stop func()
}

// startRole runs a role with the settings of the cluster, on a free port.
func startRole(t *testing.T, role config.Role, env map[string]string) *roleUnderTest {
	t.Helper()
	all := map[string]string{
		"API_HOST": "127.0.0.1", "API_PORT": "0", "API_KEYS": pipelineKey, "OPENMETER_API_KEY": pipelineKey,
		"NATS_REPLICAS": "3", "SPOOL_MAX_BYTES": "0", "OPENMETER_FLUSH_INTERVAL": "10ms",
	}
	for k, v := range env {
		all[k] = v
	}
	c, _, err := config.Load(role, config.Source{Env: func(k string) (string, bool) { v, ok := all[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(role); err != nil {
		t.Fatal(err)
	}
	c.DataDir = t.TempDir()
	r := &roleUnderTest{t: t, log: &journal{}}
	a, err := app.Start(t.Context(), role, c, slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	r.url, r.stop = a.URL(), sync.OnceFunc(a.Stop)
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", role, r.log)
		}
	})
	eventually(t, string(role)+" is ready", func() bool { return r.send(http.MethodGet, "/readyz", "", nil) == http.StatusOK })
	return r
}

var pipelineClient = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// send makes a request with the API key, and reads a JSON answer into out.
func (r *roleUnderTest) send(method, path, body string, out any) (status int) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+pipelineKey)
	req.Header.Set("Content-Type", "application/cloudevents+json")
	resp, err := pipelineClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if out != nil && resp.StatusCode < 300 {
		if err := json.Unmarshal(text, out); err != nil {
			r.t.Fatalf("%s %s answers %d %s: %v", method, path, resp.StatusCode, text, err)
		}
	}
	return resp.StatusCode
}

func (r *roleUnderTest) event(id string) {
	r.t.Helper()
	body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"smallville","type":"town.interaction","subject":"customer-1","data":{"town":"smallville","operation":"greet"}}`, id)
	if status := r.send(http.MethodPost, "/api/v1/events", body, nil); status < 200 || status > 299 {
		r.t.Fatalf("event %s is answered with %d", id, status)
	}
}

// counted is how many events the meter has counted.
func (r *roleUnderTest) counted() (total int) {
	r.t.Helper()
	var answer struct{ Data []struct{ Value float64 } }
	r.send(http.MethodGet, "/api/v1/meters/town_interactions/query", "", &answer)
	for _, row := range answer.Data {
		total += int(row.Value)
	}
	return total
}

// letters are the ids of the events that are dead letters, by their sequence.
func (r *roleUnderTest) letters() map[string]uint64 {
	r.t.Helper()
	var answer deadletter.ListAnswer
	if status := r.send(http.MethodGet, "/api/v1/deadletters", "", &answer); status != http.StatusOK {
		r.t.Fatalf("the list of dead letters is answered with %d", status)
	}
	out := map[string]uint64{}
	for _, l := range answer.Letters {
		out[l.ID] = l.Seq
	}
	return out
}

// picky is a meter that refuses events with an id that begins with `poison`, until
// it is cured.
func picky(t *testing.T, behind string) (address string, cured *atomic.Bool) {
	t.Helper()
	target, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	cured = &atomic.Bool{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = pipelineClient.Transport
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || (!cured.Load() && bytes.Contains(body, []byte(`"poison`))) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, cured
}

// The roles do all that they are for with the rights that nats.conf gives them, on
// three servers: nothing that the servers would have to refuse is asked.
func TestNATSPipeline(t *testing.T) {
	for _, keys := range []struct{ name, suffix string }{{"current keys", ""}, {"previous keys", "-previous"}} {
		t.Run(keys.name, func(t *testing.T) { pipeline(t, keys.suffix) })
	}
}

func pipeline(t *testing.T, suffix string) {
	nats := threeNATS(t)
	meter := startRole(t, config.RoleMeter, nil)
	address, cured := picky(t, meter.url)
	env := func(role string) map[string]string {
		return map[string]string{
			"NATS_SERVERS": nats.urls(), "NATS_CREDS": nats.seed(role + suffix), "NATS_TLS_CA": nats.ca(),
			"OPENMETER_BASE_URL": address,
		}
	}
	api := startRole(t, config.RoleAPI, env("api"))
	sink := startRole(t, config.RoleSink, env("sink"))

	api.event("good-1")
	for _, id := range []string{"poison-replayed-by-api", "poison-replayed-by-sink", "poison-dropped-by-api", "poison-dropped-by-sink"} {
		api.event(id)
	}
	api.event("good-2")
	eventually(t, "two events are metered and four are dead letters", func() bool {
		return meter.counted() == 2 && len(api.letters()) == 4
	})
	if d := cmp.Diff(api.letters(), sink.letters()); d != "" {
		t.Errorf("dead letters (-api +sink):\n%s", d)
	}

	cured.Store(true)
	named := map[string]*roleUnderTest{"api": api, "sink": sink}
	ask := func(name, what, method, path string) {
		t.Helper()
		if status := named[name].send(method, path, "", nil); status < 200 || status > 299 {
			t.Errorf("%s answers %d to: %s a dead letter", name, status, what)
		}
	}
	letters := api.letters()
	one := func(id string) string { return fmt.Sprintf("/api/v1/deadletters/%d", letters[id]) }
	for name := range named {
		ask(name, "show", http.MethodGet, one("poison-replayed-by-"+name))
		ask(name, "replay", http.MethodPost, one("poison-replayed-by-"+name)+"/replay")
	}
	eventually(t, "the replayed events are metered", func() bool { return meter.counted() == 4 && len(api.letters()) == 2 })

	var backlog struct{ Backlog *struct{ Messages int } }
	eventually(t, "the backlog is known and empty", func() bool {
		backlog.Backlog = nil
		api.send(http.MethodGet, "/health/saas", "", &backlog)
		return backlog.Backlog != nil && backlog.Backlog.Messages == 0
	})

	var report reconcile.Report
	if status := sink.send(http.MethodPost, "/api/v1/reconcile?since=1h&settle=0s&fix=true", "", &report); status != http.StatusOK {
		t.Errorf("reconciliation is answered with %d", status)
	}
	// The replayed events are in the stream twice, under one identity.
	if d := cmp.Diff(reconcile.Counts{InStream: 6, InMeter: 4, DeadLetters: 2}, report.Total); d != "" {
		t.Errorf("reconciliation (-want +got):\n%s", d)
	}
	operatorCopies(t, nats, suffix)
	for name := range named {
		ask(name, "drop", http.MethodDelete, one("poison-dropped-by-"+name))
	}

	sink.stop()
	api.stop()
	if bad := nats.log.find("Violation", "violation", "fatal"); len(bad) > 0 {
		t.Errorf("the servers refused:\n%s", strings.Join(bad, "\n"))
	}
	for name, role := range named {
		if log := role.log.String(); strings.Contains(strings.ToLower(log), "violation") || strings.Contains(log, pipelineKey) {
			t.Errorf("log of %s:\n%s", name, log)
		}
	}
}

// operatorCopies makes a backup and a drill with the rights of the CronJobs, and
// restores the backup as an operator does to servers that have lost everything.
func operatorCopies(t *testing.T, nats *natsServers, suffix string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	open := func(nats *natsServers, key string, as app.User) app.Offline {
		t.Helper()
		offline, err := app.OpenOffline(t.Context(), config.Config{
			NATSServers: strings.Split(nats.urls(), ","), NATSCreds: nats.seed(key + suffix), NATSTLSCA: nats.ca(),
			StreamName: "kgent-events", Replicas: len(nats.servers),
		}, as, true, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(offline.Close)
		return offline
	}
	from := open(nats, "backup", app.Backup)
	manifest, err := backup.Write(t.Context(), from.JetStream, from.Streams, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	drill, err := backup.Drill(t.Context(), backup.Dir(dir), t.TempDir(), nil)
	if err != nil || !drill.Sound() {
		t.Fatalf("drill: %v, %+v", err, drill)
	}
	if err := errors.Join(backup.Note(t.Context(), from.JetStream, from.Streams, manifest), backup.NoteDrill(t.Context(), from.JetStream, from.Streams, drill)); err != nil {
		t.Errorf("who makes backups can't note them: %v", err)
	}
	for _, who := range []app.Offline{from, open(nats, "operator", app.Operator)} {
		if at, err := backup.Last(t.Context(), who.JetStream, who.Streams); err != nil || !at.Equal(manifest.Began) {
			t.Errorf("the last backup is noted as of %v, %v", at, err)
		}
	}
	// A person with the operator's key may do it, too.
	if _, err := backup.Write(t.Context(), open(nats, "operator", app.Backup).JetStream, from.Streams, dir+"-by-hand", nil); err != nil {
		t.Errorf("a backup by the operator: %v", err)
	}
	lost := threeNATS(t)
	to := open(lost, "operator", app.Operator)
	restored, err := backup.Restore(t.Context(), to.JetStream, to.Streams, backup.Dir(dir), backup.How{Behind: true, Metered: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The sink had finished all there was, so it gets nothing again.
	if last := restored.Streams[1]; last.Metered != last.Stored || last.Stored == 0 {
		t.Errorf("of %d messages %d are taken for metered", last.Stored, last.Metered)
	}
	// The roles have made the bucket of customers.
	if !restored.Same || len(manifest.Streams) < 3 || manifest.Streams[2].Name != stream.BucketStream(to.Streams.AccountsName()) || manifest.Streams[1].Messages == 0 {
		t.Errorf("of the backup %+v came back %+v", manifest.Streams, restored)
	}
	if bad := lost.log.find("Violation", "violation", "fatal"); len(bad) > 0 {
		t.Errorf("the servers refused the operator:\n%s", strings.Join(bad, "\n"))
	}
}
