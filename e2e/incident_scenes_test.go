package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/alerts"
	"github.com/kgents/kgents/alerts/prometheustest"
	"github.com/kgents/kgents/infra/k8s/alertmanagertest"
	"sigs.k8s.io/yaml"
)

// stages make the incidents happen, by their numbers in the page.
func stages() map[string]func(t *testing.T) *scene {
	return map[string]func(t *testing.T) *scene{
		"1": refusedWebhooks, "2": natsAway, "3": redisGone, "4": meterAway, "5": deadLettersOfADeploy, "6": forgottenEvents,
		"7": lostPayment, "8": refusedCustomer, "9": leakedKey, "10": paged, "11": runawayTown,
	}
}

// must is a request of the operator's that has to succeed.
func (s *scene) must(method, path, body string) string {
	s.t.Helper()
	var answer string
	eventually(s.t, 30*time.Second, func() (bool, any) {
		status, got, err := ask(method, s.url+path, body)
		answer = got
		return err == nil && status/100 == 2, fmt.Sprint(method, " ", path, ": ", status, " ", got, " ", err)
	})
	return answer
}

// metered waits until so many events are in the meter's list.
func (s *scene) metered(n int) {
	s.t.Helper()
	eventually(s.t, time.Minute, func() (bool, any) {
		got := s.metric("kgents_openmeter_events_sent_total")
		return got == fmt.Sprint(n), got
	})
}

// Stripe signs with a secret that the program doesn't have.
func refusedWebhooks(t *testing.T) *scene {
	s := alone(t)
	for i := range 3 {
		s.must200(payment(i))
	}
	for i := range 7 {
		r := payment(100 + i)
		resp, err := signed(s.url, r, "whsec_another")
		if err != nil || resp != http.StatusBadRequest {
			t.Fatalf("%d %v", resp, err)
		}
	}
	return s
}

func (s *scene) must200(r request) {
	s.t.Helper()
	if status, err := r.send(http.DefaultClient, s.url); err != nil || status/100 != 2 {
		s.t.Fatalf("answered %d, %v", status, err)
	}
}

func signed(url string, r request, secret string) (int, error) {
	req, err := http.NewRequest(http.MethodPost, url+r.path, bytes.NewReader(r.body))
	if err != nil {
		return 0, err
	}
	for k, v := range sign(string(r.body), secret, 0) {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// natsAway is a program whose NATS stops, while usage goes on, and comes back.
func natsAway(t *testing.T) *scene {
	options := &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	var s *server.Server
	start := func() {
		var err error
		if s, err = server.NewServer(options); err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("the NATS server is not ready")
		}
	}
	start()
	options.Port = port(t, s.ClientURL())
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	sc := alone(t, "NATS_SERVERS="+s.ClientURL(), "NATS_REPLICAS=1", "NATS_STREAM_MAX_BYTES=1GiB")
	sc.send(usage(0, 10))
	sc.metered(10)
	s.Shutdown()
	s.WaitForShutdown()
	for i := range 8 {
		sc.send(usage(100+i, 1))
	}
	sc.acts["NATS is back"] = start
	return sc
}

func port(t *testing.T, url string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(url[strings.LastIndex(url, ":")+1:], "%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func redisGone(t *testing.T) *scene {
	redis := redistest.Start(t)
	s := alone(t, "REDIS_URL="+redis.URL())
	s.send(usage(0, 5))
	redis.Kill()
	eventually(t, 30*time.Second, func() (bool, any) {
		s.send(usage(5, 1)) // the same again and again
		got := s.metric("kgents_redis_up")
		return got == "0", got
	})
	s.acts["Redis is back"] = func() { redis.Restart() }
	return s
}

func meterAway(t *testing.T) *scene {
	o := newOpenMeter(t)
	dir := t.TempDir()
	p := withMeter(t, o, dir)
	s := &scene{process: p, env: shell(t, p), acts: map[string]func(){}}
	o.answer(http.StatusServiceUnavailable)
	s.send(usage(0, 40))
	eventually(t, 30*time.Second, func() (bool, any) {
		got := s.metric("kgents_backlog_messages")
		return got != "0" && got != "absent", got
	})
	s.acts["the meter is back"] = func() { o.answer(0) }
	return s
}

func deadLettersOfADeploy(t *testing.T) *scene {
	n := newNight(t)
	n.letters()
	s := &scene{process: n.process, env: shell(t, n.process), acts: map[string]func(){}}
	s.acts["the meter takes them now"] = func() { n.healed.Store(true) }
	return s
}

func forgottenEvents(t *testing.T) *scene {
	_, url := newForgetful(t)
	s := alone(t, "OPENMETER_BASE_URL="+url)
	for first := 0; first < 600; first += 100 {
		s.send(usage(first, 100))
	}
	eventually(t, time.Minute, func() (bool, any) {
		got := s.metric("kgents_backlog_messages")
		return got == "0", got
	})
	return s
}

func lostPayment(t *testing.T) *scene {
	s := alone(t)
	s.must200(payment(7))
	return s
}

func refusedCustomer(t *testing.T) *scene {
	s := alone(t)
	s.must(http.MethodPost, "/v1/customers", `{"id":"acme","name":"Acme"}`)
	s.must(http.MethodPost, "/v1/customers", `{"id":"globex","name":"Globex"}`)
	key := s.key("acme", `["ingest","read"]`)
	for range 3 {
		if status, err := s.use(key); status != http.StatusNoContent {
			t.Fatalf("%d %v", status, err)
		}
	}
	return s
}

// key makes one for a customer.
func (s *scene) key(customer, scopes string) string {
	s.t.Helper()
	var answer struct{ Key string }
	body := s.must(http.MethodPost, "/v1/keys", fmt.Sprintf(`{"customer":%q,"name":"production","scopes":%s}`, customer, scopes))
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Key == "" {
		s.t.Fatalf("%v: %s", err, body)
	}
	return answer.Key
}

var used atomic.Int64

func (s *scene) use(key string) (int, error) {

	body := fmt.Sprintf(`{"specversion":"1.0","id":"use-%d","source":"app","type":"agent.tokens","data":{"tokens":5000,"model":"m"}}`, used.Add(1))
	req, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/events", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func leakedKey(t *testing.T) *scene {
	s := alone(t)
	s.must(http.MethodPost, "/v1/customers", `{"id":"acme","name":"Acme"}`)
	key := s.key("acme", `["ingest","read"]`)
	s.vars["PREFIX"] = strings.Split(key, "_")[1]
	s.acts["the leaked key opens nothing"] = func() {
		eventually(t, 10*time.Second, func() (bool, any) {
			status, err := s.use(key)
			return status == http.StatusUnauthorized, fmt.Sprint(status, err)
		})
	}
	return s
}

// paged has a Prometheus that evaluates the rules and an Alertmanager that takes its alerts.
func paged(t *testing.T) *scene {
	am := alertmanagertest.Start(t, "../infra/k8s/manifests/alertmanager", alertmanagertest.Waits{Group: time.Second, Interval: time.Second, Repeat: time.Hour})
	s := alone(t)
	file, err := alerts.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups { // nobody waits minutes in a test
		for i := range g.Rules {
			if g.Rules[i].For != "" {
				g.Rules[i].For = "1s"
			}
		}
	}
	rules, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	prom := prometheustest.Start(t, prometheustest.Options{Rules: rules, Alertmanager: am.URL, Grafana: "https://grafana.example"})
	prom.Watch(t, "kgents", map[string]string{s.url: "kgents-api"})
	done := make(chan struct{}) // all night long
	var sender sync.WaitGroup
	sender.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Millisecond):
				_, _ = signed(s.url, payment(1000+i), "whsec_another")
			}
		}
	})
	t.Cleanup(func() { close(done); sender.Wait() })
	s.env = append(s.env, "PROMETHEUS_URL="+prom.URL, "ALERTMANAGER_URL="+am.URL)
	return s
}

func runawayTown(t *testing.T) *scene {
	s := alone(t)
	s.must(http.MethodPost, "/v1/customers", `{"id":"acme","name":"Acme"}`)
	var town struct{ ID string }
	body := s.must(http.MethodPost, "/v1/town?customer=acme", `{"name":"Springfield","citizens":3}`)
	if err := json.Unmarshal([]byte(body), &town); err != nil || town.ID == "" {
		t.Fatalf("%v: %s", err, body)
	}
	s.vars["TOWN"] = town.ID
	s.must(http.MethodPatch, "/v1/town/"+town.ID+"?customer=acme", `{"pace":1}`)
	return s
}
