package deep

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/verify"
)

// healthy is what three good servers answer; each test changes a part of it.
const healthy = `[
{"server":{"name":"a"},"data":{"config":{"sync_always":true},"meta_cluster":{"leader":"a","cluster_size":3,"replicas":[{"name":"b","current":true},{"name":"c","current":true}]},
 "account_details":[{"name":"K","stream_detail":[
  {"name":"s","cluster":{"leader":"a","replicas":[{"name":"b","current":true},{"name":"c","current":true}]},"config":{"storage":"file","discard":"new","num_replicas":3}},
  {"name":"s-dead","cluster":{"leader":"a","replicas":[{"name":"b","current":true},{"name":"c","current":true}]},"config":{"storage":"file","discard":"new","num_replicas":3}}]}]}},
{"server":{"name":"b"},"data":{"config":{"sync_always":true},"meta_cluster":{"leader":"a","cluster_size":3}}},
{"server":{"name":"c"},"data":{"config":{"sync_always":true},"meta_cluster":{"leader":"a","cluster_size":3}}}]`

func TestServers(t *testing.T) {
	three := kubernetes{nats: workload{Workload: cluster.Workload{Wanted: 3, Ready: 3, Updated: 3, Observed: true}}}
	const ok = `"current":true`
	for _, test := range []struct {
		name               string
		old, new           string // the first of old becomes new
		meta, sync, stream Verdict
		says               string
	}{
		{"all is well", "", "", Pass, Pass, Pass, "leader a"},
		{"a peer is behind", ok, `"current":false,"lag":7`, Fail, Pass, Pass, "b is 7 operations behind"},
		{"a peer is offline", ok, `"current":true,"offline":true`, Fail, Pass, Pass, "b is offline"},
		{"a peer is joining", ok, `"current":true,"pending":true`, Fail, Pass, Pass, "b is joining or leaving"},
		{"a server has another leader", `{"server":{"name":"b"},"data":{"config":{"sync_always":true},"meta_cluster":{"leader":"a"`, `{"server":{"name":"b"},"data":{"config":{"sync_always":true},"meta_cluster":{"leader":"c"`, Fail, Pass, Pass, "b follows c"},
		{"nobody knows a leader", `"leader":"a","cluster_size":3,"replicas"`, `"leader":"","cluster_size":3,"replicas"`, Fail, Pass, Pass, "a knows no meta leader"},
		{"a rescue lowers the quorum", `"cluster_size":3,`, `"cluster_size":3,"rescue":true,`, Fail, Pass, Pass, "rescue"},
		{"a fourth server is silent", `"cluster_size":3}`, `"cluster_size":4}`, Fail, Unknown, Pass, "3 of 4 servers answer"},
		{"a server does not sync", `"sync_always":true`, `"sync_interval":120000000000`, Pass, Fail, Pass, "every 2m0s"},
		{"a server has no JetStream", `{"config":{"sync_always":true},`, `{"disabled":true,`, Pass, Fail, Pass, "no JetStream"},
		{"a stream's copy is behind", `"replicas":[{"name":"b","current":true},{"name":"c","current":true}]},"config"`, `"replicas":[{"name":"b","current":true},{"name":"c"}]},"config"`, Pass, Pass, Fail, "c is not current"},
		{"a stream has one copy less", `"replicas":[{"name":"b","current":true},{"name":"c","current":true}]},"config"`, `"replicas":[{"name":"b","current":true}]},"config"`, Pass, Pass, Fail, "2 of 3 replicas"},
		{"a stream is made for one", `"num_replicas":3`, `"num_replicas":1`, Pass, Pass, Fail, "made for 1"},
		{"a stream forgets", `"discard":"new"`, `"discard":"old"`, Pass, Pass, Fail, "discards old"},
		{"a stream is in memory", `"storage":"file"`, `"storage":"memory"`, Pass, Pass, Fail, "memory"},
		{"a stream writes later", `"storage":"file"`, `"storage":"file","persist_mode":"async"`, Pass, Pass, Fail, "async"},
		{"a stream has no leader", `{"leader":"a","replicas":[{"name":"b","current":true},{"name":"c","current":true}]},"config"`, `{"leader":""},"config"`, Pass, Pass, Fail, "no leader"},
		{"no stream of dead letters", `"s-dead"`, `"t"`, Pass, Pass, Fail, "s-dead is not there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(healthy, test.old) {
				t.Fatalf("%q is not in the answers", test.old)
			}
			var s servers
			if err := json.Unmarshal([]byte(strings.Replace(healthy, test.old, test.new, 1)), &s.answers); err != nil {
				t.Fatal(err)
			}
			c := Config{Stream: stream.Config{Name: "s", Replicas: 3}}
			lines := []Line{metaLine(c, s, three), syncLine(s), streamsLine(c.Stream, s)}
			said := ""
			for i, want := range []Verdict{test.meta, test.sync, test.stream} {
				if lines[i].Verdict != want {
					t.Errorf("the line is %+v, want %s", lines[i], want)
				}
				said += lines[i].Evidence + "\n"
			}
			if !strings.Contains(said, test.says) {
				t.Errorf("the evidence lacks %q:\n%s", test.says, said)
			}
		})
	}
}

func TestNATSReady(t *testing.T) {
	c := Config{Stream: stream.Config{Replicas: 3}}
	for _, test := range []struct {
		name string
		w    cluster.Workload
		want Verdict
	}{
		{"all are ready", cluster.Workload{Wanted: 3, Ready: 3, Updated: 3, Observed: true}, Pass},
		{"one is not", cluster.Workload{Wanted: 3, Ready: 2, Updated: 3, Observed: true}, Fail},
		{"an update is under way", cluster.Workload{Wanted: 3, Ready: 3, Updated: 1, Observed: true}, Fail},
		{"a change was not looked at yet", cluster.Workload{Wanted: 3, Ready: 3, Updated: 3}, Fail},
		{"scaled to nothing", cluster.Workload{Observed: true}, Fail},
		{"fewer than the streams' replicas", cluster.Workload{Wanted: 1, Ready: 1, Updated: 1, Observed: true}, Fail},
	} {
		if l := natsLine(c, kubernetes{nats: workload{Workload: test.w}}); l.Verdict != test.want {
			t.Errorf("%s: the line is %+v", test.name, l)
		}
	}
}

// Each pod of api and sink is judged by what it says, and the deployment by
// whether all of its pods are there.
func TestPods(t *testing.T) {
	two := cluster.Workload{Wanted: 2, Ready: 2, Updated: 2, Observed: true}
	const good = `{"nats":{"status":"healthy","circuit":"closed"},"openmeter":{"status":"healthy"},"redis":{"status":"healthy"}}`
	for _, test := range []struct {
		name      string
		workload  cluster.Workload
		pod       string // what the second pod says
		change    func(*kubernetes)
		api, sink Verdict
		says      string
	}{
		{"all is well", two, good, nil, Pass, Pass, "2 of 2"},
		{"disconnected", two, `{"nats":{"status":"disconnected","detail":"trying"}}`, nil, Fail, Fail, "NATS is disconnected (trying)"},
		{"circuit open", two, `{"nats":{"status":"circuit_open","circuit":"open"},"openmeter":{"status":"healthy"}}`, nil, Fail, Fail, "circuit_open"},
		{"circuit half open", two, `{"nats":{"status":"healthy","circuit":"half-open"},"openmeter":{"status":"healthy"}}`, nil, Fail, Pass, "half-open"},
		{"meter away", two, `{"nats":{"status":"healthy","circuit":"closed"},"openmeter":{"status":"unhealthy"}}`, nil, Pass, Fail, "the meter is unhealthy"},
		{"meter not ready", two, good, func(k *kubernetes) { k.meter = []cluster.Pod{{Name: "m"}} }, Pass, Fail, "m is not ready"},
		{"meter elsewhere", two, good, func(k *kubernetes) { k.meter = nil }, Pass, Pass, "2 of 2"},
		{"a pod is missing", cluster.Workload{Wanted: 3, Ready: 2, Updated: 2, Observed: true}, good, nil, Fail, Fail, "2 of 3 pods ready"},
		{"a roll-out is under way", cluster.Workload{Wanted: 2, Ready: 2, Updated: 1, Observed: true}, good, nil, Fail, Fail, "1 of the newest revision"},
		{"scaled to nothing", cluster.Workload{Observed: true}, good, func(k *kubernetes) { k.api.pods, k.sink.pods = nil, nil }, Fail, Fail, "no pod of"},
		{"a stranger answers", two, `<html>`, nil, Fail, Fail, "not kgents'"},
		{"may not be asked", two, good, func(k *kubernetes) {
			k.api.pods[0].err, k.sink.pods[0].err = &cluster.DeniedError{What: "pods/proxy"}, &cluster.DeniedError{What: "pods/proxy"}
		}, Unknown, Unknown, "pods/proxy"},
		{"not deployed", two, good, func(k *kubernetes) {
			k.api.workload.err, k.sink.workload.err = &cluster.NotFoundError{What: "it"}, &cluster.NotFoundError{What: "it"}
		}, Fail, Fail, "it is not there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pods := func() (pods []pod) {
				for i, text := range []string{good, test.pod} {
					h, err := parseHealth([]byte(text))
					pods = append(pods, pod{Pod: cluster.Pod{Name: fmt.Sprint("pod-", i), Ready: true}, health: h, err: err})
				}
				return pods
			}
			w := workload{Workload: test.workload}
			k := kubernetes{api: group{workload: w, pods: pods()}, sink: group{workload: w, pods: pods()}, meter: []cluster.Pod{{Name: "m", Ready: true}}}
			if test.change != nil {
				test.change(&k)
			}
			api, sink := apiLine(k), sinkLine(k)
			if api.Verdict != test.api || sink.Verdict != test.sink || !strings.Contains(api.Evidence+sink.Evidence, test.says) {
				t.Errorf("the lines are\n%+v\n%+v", api, sink)
			}
		})
	}
}

// sent is a canary that the API has taken.
func sent(id string) canary {
	return canary{result: verify.Result{ID: id, Stages: []verify.Stage{{Name: "publish"}, {Name: "query"}}, Event: []byte(`{"id":"` + id + `","source":"kgents"}`)}, subject: "own"}
}

func TestRedis(t *testing.T) {
	store := redistest.Start(t)
	k := kubernetes{}
	for _, test := range []struct {
		id      string
		command []string
		want    Verdict
		says    string
	}{
		{"good", []string{"final", "EX", "86400"}, Pass, "24h0m0s"},
		{"for-ever", []string{"final"}, Fail, "never ends"},
		{"long", []string{"final", "EX", "90000"}, Fail, "25h0m0s"},
		{"claimed", []string{"claim:somebody", "EX", "15"}, Fail, "claim"},
		{"missing", nil, Fail, "does not have"},
	} {
		if test.command != nil {
			store.Do(append([]string{"SET", "idempotency:kgents " + test.id}, test.command...)...)
		}
		if l := redisLine(t.Context(), Config{Redis: store.URL()}, sent(test.id), k); l.Verdict != test.want || !strings.Contains(l.Evidence, test.says) {
			t.Errorf("%s: the line is %+v", test.id, l)
		}
	}
	k.api.pods = []pod{{Pod: cluster.Pod{Name: "p"}}}
	k.api.pods[0].health.Redis.Status = "fallback"
	if l := redisLine(t.Context(), Config{Redis: store.URL()}, sent("good"), k); l.Verdict != Fail || !strings.Contains(l.Evidence, "p: Redis is fallback") {
		t.Errorf("a pod without Redis: the line is %+v", l)
	}
	if l := redisLine(t.Context(), Config{Redis: store.URL()}, canary{}, kubernetes{}); l.Verdict != Unknown {
		t.Errorf("without a canary: the line is %+v", l)
	}
}

// api is a program that counts what it is sent, as often as it is told to.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	each    int // how often an event counts at first
	again   int // and when it comes again
	status  int // of a duplicate
	health  string
	letters string
	seen    map[string]int
	stored  []string
}

func startAPI(t *testing.T) *api {
	a := &api{each: 1, status: 204, seen: map[string]int{}, health: `{"nats":{"status":"healthy"},"backlog":{"messages":2,"oldest_age_seconds":1.5}}`, letters: `{"letters":[]}`}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		var e struct{ ID string }
		_ = json.Unmarshal(body, &e)
		n, status := a.each, 204
		if a.seen[e.ID] > 0 {
			n, status = a.again, a.status
		}
		a.seen[e.ID]++
		for range n {
			a.stored = append(a.stored, string(body))
		}
		w.WriteHeader(status)
	case strings.HasSuffix(r.URL.Path, "/query"):
		fmt.Fprintf(w, `{"data":[{"value":%d}]}`, len(a.stored))
	case r.URL.Path == "/api/v1/events":
		out := "["
		for _, e := range a.stored {
			if strings.Contains(e, r.URL.Query().Get("id")) {
				out += fmt.Sprintf(`{"event":%s},`, e)
			}
		}
		fmt.Fprint(w, strings.TrimSuffix(out, ",")+"]")
	case r.URL.Path == "/api/v1/deadletters":
		if r.URL.Query().Get("since") != "1h0m0s" {
			w.WriteHeader(400)
		}
		fmt.Fprint(w, a.letters)
	default:
		fmt.Fprint(w, a.health)
	}
}

func TestDuplicate(t *testing.T) {
	for _, test := range []struct {
		name          string
		again, status int
		inside        bool
		want          Verdict
		says          string
	}{
		{"counted once", 0, 204, true, Pass, "counted once"},
		{"a meter that does not deduplicate", 1, 204, true, Fail, "counted 3 times, the first is listed 2 times"},
		{"a duplicate is refused", 0, 409, true, Fail, "409"},
		{"no pod can be reached", 0, 204, false, Unknown, "not known"},
		{"no pod can be reached, and it counts twice", 1, 204, false, Fail, "counted 5 times"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := startAPI(t)
			a.again, a.status = test.again, test.status
			host, port, _ := strings.Cut(strings.TrimPrefix(a.URL, "http://"), ":")
			k := kubernetes{inside: test.inside}
			k.api.pods = []pod{{Pod: cluster.Pod{Name: "p", IP: host}}}
			c := Config{Target: verify.Target{URL: a.URL, Key: key}, Port: port, Settle: time.Millisecond}
			first := sendCanary(t.Context(), c.Target)
			if l := canaryLine(c.Target, first); l.Verdict != Pass || first.subject == verify.Subject {
				t.Fatalf("the canary's line is %+v", l)
			}
			if l := duplicateLine(t.Context(), c, first, k); l.Verdict != test.want || !strings.Contains(l.Evidence, test.says) {
				t.Errorf("the line is %+v", l)
			}
		})
	}
}

func TestBacklog(t *testing.T) {
	for _, test := range []struct {
		name, health, letters string
		want                  Verdict
		says                  string
	}{
		{"little waits", "", "", Pass, "2 messages unmetered"},
		{"an old event waits", `{"nats":{"status":"healthy"},"backlog":{"messages":1,"oldest_age_seconds":121}}`, "", Fail, "2m1s"},
		{"a dead letter", "", `{"letters":[{"seq":1}]}`, Fail, "1 dead letters"},
		{"many dead letters", "", `{"letters":[{"seq":1},{"seq":2}],"next":2}`, Fail, "2 or more"},
		{"a page that ended early", "", `{"letters":[],"next":2}`, Unknown, "0 or more"},
		{"no backlog is known", `{"nats":{"status":"disconnected"}}`, "", Unknown, "does not know"},
		{"something else answers", `<html>`, "", Unknown, "not kgents"},
		{"no list of letters", "", `{}`, Unknown, "can't be read"},
	} {
		a := startAPI(t)
		if test.health != "" {
			a.health = test.health
		}
		if test.letters != "" {
			a.letters = test.letters
		}
		if l := backlogLine(t.Context(), verify.Target{URL: a.URL, Key: key}); l.Verdict != test.want || !strings.Contains(l.Evidence, test.says) {
			t.Errorf("%s: the line is %+v", test.name, l)
		}
	}
}
