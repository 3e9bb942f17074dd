package k8s

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/stream"
)

// denied tells whether the server refuses to let a user publish to, or subscribe,
// a subject. The server answers a ping after its refusal, so there is nothing to
// wait for.
func (s *natsServers) denied(t *testing.T, user, verb, subject string) bool {
	t.Helper()
	nc, err := s.connect(user)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if verb == "publish" {
		err = nc.Publish(subject, nil)
	} else {
		_, err = nc.SubscribeSync(subject)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	err = nc.LastError()
	if err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
		t.Fatal(err)
	}
	return err != nil
}

// What a role may not do. What it may is held by TestNATSPipeline, which runs the
// roles. No stream is there, so nothing happens where the server wrongly agrees.
func TestNATSRights(t *testing.T) {
	s := oneNATS(t)
	all := map[string]map[string][]string{
		"api": {
			"publish": {
				"kgent.other", "kgent-dead.kgent-events.refused", "anything", "_INBOX.kgents-sink.forged",
				"$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES",
				"$KV.kgent-events-backup.last", "$JS.API.STREAM.CREATE.KV_kgent-events-backup",
				"$JS.API.STREAM.DELETE.kgent-events", "$JS.API.STREAM.PURGE.kgent-events", "$JS.API.STREAM.MSG.DELETE.kgent-events",
				"$JS.API.STREAM.DELETE.kgent-events-dead", "$JS.API.STREAM.PURGE.kgent-events-dead",
				"$JS.API.STREAM.CREATE.other", "$JS.API.STREAM.UPDATE.other", "$JS.API.STREAM.INFO.other",
				"$JS.API.STREAM.SNAPSHOT.kgent-events", "$JS.API.STREAM.RESTORE.kgent-events",
				"$JS.API.STREAM.LEADER.STEPDOWN.kgent-events", "$JS.API.STREAM.PEER.REMOVE.kgent-events",
				"$JS.API.CONSUMER.CREATE.kgent-events.sink", "$JS.API.CONSUMER.CREATE.kgent-events.sink.kgent.events",
				"$JS.API.CONSUMER.CREATE.kgent-events.billing", "$JS.API.CONSUMER.CREATE.kgent-events.billing.kgent.events",
				"$JS.API.CONSUMER.CREATE.kgent-events", "$JS.API.CONSUMER.DURABLE.CREATE.kgent-events.sink", "$JS.API.CONSUMER.DURABLE.CREATE.kgent-events.billing",
				"$JS.API.CONSUMER.DELETE.kgent-events.sink", "$JS.API.CONSUMER.PAUSE.kgent-events.sink", "$JS.API.CONSUMER.RESET.kgent-events.sink",
				"$JS.API.CONSUMER.DELETE.kgent-events.billing", "$JS.API.CONSUMER.PAUSE.kgent-events.billing", "$JS.API.CONSUMER.RESET.kgent-events.billing",
				"$JS.API.CONSUMER.MSG.NEXT.kgent-events.sink", "$JS.API.CONSUMER.MSG.NEXT.kgent-events.billing",
				"$JS.API.CONSUMER.CREATE.kgent-events-dead.mine",
				"$JS.API.DIRECT.GET.kgent-events",
				"$JS.API.STREAM.DELETE.KV_kgent-events-accounts", "$JS.API.STREAM.PURGE.KV_kgent-events-accounts", "$JS.API.STREAM.MSG.DELETE.KV_kgent-events-accounts",
				"$JS.API.STREAM.SNAPSHOT.KV_kgent-events-accounts", "$JS.API.STREAM.DELETE.KV_kgent-events-billing", "$JS.API.STREAM.PURGE.KV_kgent-events-billing",
				"$JS.API.STREAM.DELETE.KV_kgent-events-history", "$JS.API.STREAM.PURGE.KV_kgent-events-history",
				"$JS.API.STREAM.DELETE.KV_kgent-events-towns", "$JS.API.STREAM.DELETE.kgent-events-town", "kgent-town.other.t1", "kgent-town.kgent-events.t1.more",
				"$JS.API.STREAM.CREATE.KV_other", "$KV.other.key", "$KV.kgent-events-reconcile.turn",
				"$JS.ACK.kgent-events.sink.1.1.1.1.0", "$JS.ACK.kgent-events.billing.1.1.1.1.0", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.PING.CONNZ",
			},
			"subscribe": {">", "kgent.>", "kgent.events", "_INBOX.>", "_INBOX.kgents-sink.>", "_INBOX.kgents-backup.>", "_INBOX.kgents-operator.>", "$JS.EVENT.>", "$JS.API.>", "$SYS.>"},
		},
		"sink": {
			"publish": {
				"kgent.other", "kgent-dead.other.refused", "$KV.other.turn", "anything", "_INBOX.kgents-api.forged",
				"$KV.kgent-events-backup.last", "$JS.API.STREAM.CREATE.KV_kgent-events-backup",
				"$JS.API.STREAM.LIST", "$JS.API.STREAM.DELETE.KV_kgent-events-reconcile",
				"$JS.API.STREAM.DELETE.kgent-events", "$JS.API.STREAM.PURGE.kgent-events", "$JS.API.STREAM.MSG.DELETE.kgent-events",
				"$JS.API.STREAM.DELETE.kgent-events-dead", "$JS.API.STREAM.PURGE.kgent-events-dead",
				"$JS.API.STREAM.CREATE.other", "$JS.API.STREAM.UPDATE.other",
				"$JS.API.STREAM.SNAPSHOT.kgent-events", "$JS.API.STREAM.RESTORE.kgent-events", "$JS.API.STREAM.LEADER.STEPDOWN.kgent-events",
				"$JS.API.CONSUMER.DELETE.kgent-events.sink", "$JS.API.CONSUMER.PAUSE.kgent-events.sink", "$JS.API.CONSUMER.RESET.kgent-events.sink",
				"$JS.API.CONSUMER.DELETE.kgent-events.billing", "$JS.API.CONSUMER.PAUSE.kgent-events.billing", "$JS.API.CONSUMER.RESET.kgent-events.billing",
				"$JS.API.STREAM.DELETE.KV_kgent-events-accounts", "$JS.API.STREAM.PURGE.KV_kgent-events-accounts", "$JS.API.STREAM.MSG.DELETE.KV_kgent-events-accounts",
				"$JS.API.STREAM.DELETE.KV_kgent-events-billing", "$JS.API.STREAM.PURGE.KV_kgent-events-billing",
				"$JS.API.STREAM.DELETE.KV_kgent-events-history", "$JS.API.STREAM.PURGE.KV_kgent-events-history",
				"$KV.kgent-events-towns.town.t1", "$JS.API.STREAM.CREATE.KV_kgent-events-towns", "kgent-town.kgent-events.t1",
				"$JS.API.CONSUMER.INFO.kgent-events-dead.mine", "$JS.API.CONSUMER.CREATE.kgent-events-dead.mine.kgent-dead.other",
				"$JS.API.CONSUMER.CREATE.other.sink", "$JS.API.CONSUMER.MSG.NEXT.other.sink",
				"$JS.ACK.other.sink.1.1.1.1.0", "$JS.ACK.kgent-events.other.1.1.1.1.0", "$SYS.REQ.SERVER.PING.JSZ",
			},
			"subscribe": {">", "kgent.>", "kgent-dead.>", "_INBOX.>", "_INBOX.kgents-api.>", "_INBOX.kgents-backup.>", "_INBOX.kgents-operator.>", "$JS.EVENT.>", "$JS.ACK.>", "$SYS.>"},
		},
		"backup": {
			"publish": {
				"kgent.events", "kgent-dead.kgent-events.refused", "anything", "_INBOX.kgents-operator.forged",
				"$KV.kgent-events-reconcile.turn", "$JS.API.STREAM.LIST", "$JS.API.STREAM.NAMES",
				"$KV.kgent-events-accounts.customer.acme", "$KV.kgent-events-accounts.key.0a1b2c", "$KV.kgent-events-billing.overage.acme", "$KV.kgent-events-towns.town.t1",
				"$JS.API.STREAM.CREATE.KV_kgent-events-accounts", "$JS.API.STREAM.UPDATE.KV_kgent-events-accounts", "$JS.API.STREAM.DELETE.KV_kgent-events-accounts",
				"$JS.API.STREAM.PURGE.KV_kgent-events-accounts", "$JS.API.STREAM.UPDATE.KV_kgent-events-billing", "$JS.API.STREAM.UPDATE.KV_kgent-events-towns",
				"kgent-town.kgent-events.t1", "$JS.API.STREAM.UPDATE.kgent-events-town", "$JS.API.STREAM.DELETE.kgent-events-town",
				"$JS.API.CONSUMER.CREATE.kgent-events.billing", "$JS.API.CONSUMER.DELETE.kgent-events.billing", "$JS.API.CONSUMER.MSG.NEXT.kgent-events.billing",
				"$JS.ACK.kgent-events.billing.1.1.1.1.0",
				"$JS.API.STREAM.CREATE.kgent-events", "$JS.API.STREAM.UPDATE.kgent-events",
				"$JS.API.STREAM.DELETE.kgent-events", "$JS.API.STREAM.PURGE.kgent-events", "$JS.API.STREAM.MSG.DELETE.kgent-events",
				"$JS.API.STREAM.DELETE.kgent-events-dead", "$JS.API.STREAM.PURGE.kgent-events-dead", "$JS.API.STREAM.MSG.DELETE.kgent-events-dead",
				"$JS.API.STREAM.DELETE.KV_kgent-events-backup", "$JS.API.STREAM.PURGE.KV_kgent-events-backup",
				"$JS.API.STREAM.CREATE.other", "$JS.API.STREAM.INFO.other", "$JS.API.STREAM.INFO.KV_kgent-events-reconcile",
				"$KV.kgent-events-history.api/forged", "$JS.API.STREAM.INFO.KV_kgent-events-history",
				"$JS.API.STREAM.SNAPSHOT.kgent-events", "$JS.API.STREAM.RESTORE.kgent-events",
				"$JS.API.STREAM.LEADER.STEPDOWN.kgent-events", "$JS.API.STREAM.PEER.REMOVE.kgent-events",
				"$JS.API.CONSUMER.CREATE.kgent-events.sink", "$JS.API.CONSUMER.DURABLE.CREATE.kgent-events.sink",
				"$JS.API.CONSUMER.DELETE.kgent-events.sink", "$JS.API.CONSUMER.PAUSE.kgent-events.sink", "$JS.API.CONSUMER.RESET.kgent-events.sink",
				"$JS.API.CONSUMER.MSG.NEXT.kgent-events.sink", "$JS.API.CONSUMER.CREATE.other.x", "$JS.API.CONSUMER.MSG.NEXT.other.x",
				"$JS.ACK.kgent-events.sink.1.1.1.1.0", "$SYS.REQ.SERVER.PING.JSZ",
			},
			"subscribe": {">", "kgent.>", "kgent-dead.>", "_INBOX.>", "_INBOX.kgents-api.>", "_INBOX.kgents-sink.>", "_INBOX.kgents-operator.>", "$JS.EVENT.>", "$JS.API.>", "$SYS.>"},
		},
		"operator": {
			"subscribe": {">", "_INBOX.>", "_INBOX.kgents-api.>", "_INBOX.kgents-sink.>", "$JS.API.>", "$SYS.>"},
		},
		"system": {
			"publish": {
				"kgent.events", "$JS.API.STREAM.INFO.kgent-events", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.SERVER.REMOVE",
				"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.SERVER.PING.SUBSZ", "$SYS.REQ.ACCOUNT.KGENTS.JSZ",
				"$SYS.REQ.SERVER.NAAAA.RELOAD", "$SYS.REQ.SERVER.NAAAA.KICK", "$SYS.REQ.SERVER.NAAAA.LDM",
			},
			"subscribe": {">", "kgent.>", "_INBOX.>", "_INBOX.kgents-api.>", "$SYS.>", "$SYS.ACCOUNT.>"},
		},
	}
	for role, verbs := range all {
		t.Run(role, func(t *testing.T) {
			for verb, subjects := range verbs {
				for _, subject := range subjects {
					for _, user := range []string{role, role + "-previous"} {
						if !s.denied(t, user, verb, subject) {
							t.Errorf("%s may %s %s", user, verb, subject)
						}
					}
				}
			}
			// Both keys are let in, and read what comes to their own inbox.
			for _, user := range []string{role, role + "-previous"} {
				if s.denied(t, user, "subscribe", "_INBOX.kgents-"+role+".>") {
					t.Errorf("%s can't read its own inbox", user)
				}
			}
		})
	}
}

// Without one of the keys nobody gets in, nor without TLS.
func TestNATSRefusesStrangers(t *testing.T) {
	s := oneNATS(t)
	other := newNATSBed(t) // keys that the servers don't know, and another CA
	addr := s.servers[0].Addr().String()
	stranger, err := nats.NkeyOptionFromSeed(other.seed("operator"))
	if err != nil {
		t.Fatal(err)
	}
	api, err := nats.NkeyOptionFromSeed(s.seed("api"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, url string
		opts      []nats.Option
		want      string
	}{
		{"nobody", "tls://" + addr, []nats.Option{nats.RootCAs(s.ca())}, "authorization violation"},
		{"a key that isn't known", "tls://" + addr, []nats.Option{nats.RootCAs(s.ca()), stranger}, "authorization violation"},
		{"a user and a password", "tls://api:api@" + addr, []nats.Option{nats.RootCAs(s.ca())}, "authorization violation"},
		{"a token", "tls://token@" + addr, []nats.Option{nats.RootCAs(s.ca())}, "authorization violation"},
		{"old TLS", "tls://" + addr, []nats.Option{api, nats.RootCAs(s.ca()), func(o *nats.Options) error {
			o.TLSConfig.MaxVersion = tls.VersionTLS12
			return nil
		}}, "protocol version"},
		{"another CA's server", "tls://" + addr, []nats.Option{api, nats.RootCAs(other.ca())}, "unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nc, err := nats.Connect(test.url, append(test.opts, nats.NoReconnect())...)
			if err == nil {
				nc.Close()
				t.Fatal("was let in")
			}
			if !strings.Contains(strings.ToLower(err.Error()), test.want) {
				t.Errorf("the error is %q, want one with %q", err, test.want)
			}
		})
	}
}

// The programs may mend their streams' settings, but not take from the stream of
// events what keeps it whole.
func TestNATSStreamStaysWhole(t *testing.T) {
	s := oneNATS(t)
	nc, err := s.connect("api")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := stream.Ensure(t.Context(), js, stream.Config{Name: "kgent-events", Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"deny_purge":  func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"deny_delete": func(c *jetstream.StreamConfig) { c.DenyDelete = false },
	} {
		c := streams.Events.CachedInfo().Config
		change(&c)
		if _, err := js.UpdateStream(t.Context(), c); err == nil {
			t.Errorf("%s can be taken away", name)
		}
	}
	// The operator may, but the stream itself says no.
	operator, err := s.connect("operator")
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	if js, err = jetstream.New(operator); err != nil {
		t.Fatal(err)
	}
	events, err := js.Stream(t.Context(), "kgent-events")
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Purge(t.Context()); err == nil {
		t.Error("the stream of events can be purged")
	}
}

// The system user asks what `kgents verify --deep` asks, and each server of a
// cluster passes its probes.
func TestNATSAnswers(t *testing.T) {
	s := threeNATS(t)
	nc, err := s.connect("system")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, what := range []string{"JSZ", "VARZ", "HEALTHZ"} {
		t.Run(what, func(t *testing.T) {
			inbox, err := nc.SubscribeSync(nc.NewInbox())
			if err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("$SYS.REQ.SERVER.PING."+what, inbox.Subject, []byte(`{"config":true}`)); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for len(seen) < len(s.servers) {
				msg, err := inbox.NextMsg(30 * time.Second)
				if err != nil {
					t.Fatalf("after answers of %v: %v", seen, err)
				}
				var answer struct {
					Server struct{ Name string }
					Data   struct {
						Config struct {
							SyncAlways bool `json:"sync_always"`
						}
						Meta *struct {
							Leader string
							Size   int `json:"cluster_size"`
						} `json:"meta_cluster"`
					}
				}
				if err := json.Unmarshal(msg.Data, &answer); err != nil {
					t.Fatal(err)
				}
				seen[answer.Server.Name] = true
				if d := answer.Data; what == "JSZ" && (!d.Config.SyncAlways || d.Meta == nil || d.Meta.Leader == "" || d.Meta.Size != 3) {
					t.Errorf("%s answers %s", answer.Server.Name, msg.Data)
				}
			}
			if !seen["nats-0"] || !seen["nats-1"] || !seen["nats-2"] {
				t.Errorf("servers: %v", seen)
			}
		})
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for i, srv := range s.servers {
		for _, path := range []string{"/healthz", "/healthz?js-server-only=true", "/healthz?js-enabled-only=true"} {
			resp, err := client.Get(fmt.Sprintf("http://%s%s", srv.MonitorAddr(), path))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("server %d answers %d to %s", i, resp.StatusCode, path)
			}
		}
	}
	if bad := s.log.find("Violation", "fatal"); len(bad) > 0 {
		t.Errorf("the servers say:\n%s", strings.Join(bad, "\n"))
	}
}
