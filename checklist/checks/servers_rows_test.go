package checks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/admit/redistest"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store"
	"github.com/kgents/kgents/stream/streamtest"
	"github.com/kgents/kgents/system"
)

func init() { areas = append(areas, serverRows) }

var events = stream.Config{Name: "kgent-events", Replicas: 1}

// closedPort is where nothing listens.
const closedPort = "nats://127.0.0.1:1"

// natsBed is a real NATS server with an account for events and one for the system.
type natsBed struct {
	events, system string // URLs with user and password
	plain          string // without
	js             jetstream.JetStream
	nc             *nats.Conn
}

func (b natsBed) remotes(s *System) {
	s.NATS, s.NATSSystem = stream.Remote{Servers: []string{b.events}}, stream.Remote{Servers: []string{b.system}}
}

// startNATS starts a server that the change has made as it must not be. Streams are made
// as a program makes them.
func startNATS(t *testing.T, change func(*server.Options)) natsBed {
	t.Helper()
	keys, sys := server.NewAccount("KGENTS"), server.NewAccount("SYS")
	o := &server.Options{
		ServerName: "nats-0", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, MaxConn: 100,
		Accounts:      []*server.Account{keys, sys},
		SystemAccount: "SYS",
		Users: []*server.User{
			{Username: "events", Password: "events-password", Account: keys}, {Username: "system", Password: "system-password", Account: sys},
		},
	}
	if change != nil {
		change(o)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	address := srv.Addr().String()
	b := natsBed{plain: "nats://" + address, events: "nats://events:events-password@" + address, system: "nats://system:system-password@" + address}
	if o.TLSConfig != nil {
		return b
	}
	if account, err := srv.LookupAccount("KGENTS"); err == nil {
		if err := account.EnableJetStream(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if b.nc, err = nats.Connect(b.events); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nc.Close)
	if b.js, err = jetstream.New(b.nc); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b natsBed) ensure(t *testing.T) natsBed {
	t.Helper()
	if _, err := stream.Ensure(t.Context(), b.js, events); err != nil {
		t.Fatal(err)
	}
	return b
}

// certificate is one of this machine that ends after a while, and who trusts it.
func certificate(t *testing.T, ends time.Duration) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// tlsNATS is a server that wants TLS, with a certificate that ends after a while.
func tlsNATS(t *testing.T, ends time.Duration) stream.Remote {
	t.Helper()
	pair, pool := certificate(t, ends)
	b := startNATS(t, func(o *server.Options) {
		o.TLSConfig, o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, true
	})
	u, err := url.Parse(b.events)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme = "tls"
	return stream.Remote{Servers: []string{u.String()}, Roots: pool}
}

// places are directories of backups, by what is wrong with them.
type places struct {
	empty, plain, sealed, damaged string
	identity                      string
}

func backups(t *testing.T) (p places) {
	t.Helper()
	js, stop := streamtest.Start(t)
	t.Cleanup(stop)
	if _, err := stream.Ensure(t.Context(), js, events); err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	p.identity = id.String()
	save := func(recipient string) (dir, name string) {
		dir = t.TempDir()
		s, err := store.Open(store.Settings{URL: dir})
		if err != nil {
			t.Fatal(err)
		}
		to := backup.Target{Store: s}
		if to.Seal, err = backup.ParseRecipients(recipient); err != nil {
			t.Fatal(err)
		}
		if name, _, err = backup.Save(t.Context(), js, events, to, nil); err != nil {
			t.Fatal(err)
		}
		return dir, name
	}
	if _, err := js.Publish(t.Context(), "kgent.events", []byte(`{"specversion":"1.0"}`)); err != nil {
		t.Fatal(err)
	}
	p.empty = t.TempDir()
	p.plain, _ = save("")
	p.sealed, _ = save(id.Recipient().String())
	dir, name := save("")
	p.damaged = dir
	segments, err := filepath.Glob(filepath.Join(dir, name, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range segments {
		if filepath.Base(file) == "manifest.json" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil || len(b) == 0 {
			t.Fatal(file, err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func serverRows(t *testing.T) []row {
	key := "kg_" + rand.Text()
	up := start(t, config.RoleUp, map[string]string{"API_KEYS": key})
	local := func(change func(*System)) func(*testing.T) *System {
		return func(*testing.T) *System {
			s := &System{Target: checklist.Local, APIURL: up.URL(), APIKeys: []string{key}, Stream: events}
			if change != nil {
				change(s)
			}
			return s
		}
	}
	changed := func(path string, change func(map[string]any)) func(*testing.T) *System {
		return func(t *testing.T) *System {
			at := between(t, up.URL(), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path != path {
					next.ServeHTTP(w, r)
					return
				}
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				var answer map[string]any
				if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
					t.Error(err)
				}
				change(answer)
				_ = json.NewEncoder(w).Encode(answer)
			})
			return local(func(s *System) { s.APIURL = at })(t)
		}
	}
	with := func(b natsBed) func(*testing.T) *System { return local(b.remotes) }
	nowhere := local(func(s *System) {
		s.NATSSystem, s.NATS = stream.Remote{Servers: []string{closedPort}}, stream.Remote{Servers: []string{closedPort}}
	})

	keyless := local(func(s *System) { s.APIKeys = nil })

	good := startNATS(t, nil).ensure(t)
	lazy := startNATS(t, func(o *server.Options) { o.SyncAlways, o.SyncInterval = false, 2*time.Minute }).ensure(t)
	full := startNATS(t, func(o *server.Options) { o.MaxConn = 4 }).ensure(t)
	more, err := nats.Connect(full.events)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(more.Close)
	loose := startNATS(t, nil)
	for _, c := range []jetstream.StreamConfig{
		{Name: events.Name, Subjects: []string{"kgent.events"}, Discard: jetstream.DiscardOld, Storage: jetstream.MemoryStorage},
		{Name: events.DeadName(), Subjects: []string{"kgent-dead.>"}, Discard: jetstream.DiscardNew},
	} {
		if _, err := loose.js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := loose.js.Publish(t.Context(), "kgent-dead.x", []byte("refused")); err != nil {
		t.Fatal(err)
	}
	bare := startNATS(t, nil) // without streams
	open := startNATS(t, func(o *server.Options) { o.NoAuthUser = "events" })
	secure := tlsNATS(t, 365*24*time.Hour)
	soon, late := tlsNATS(t, 14*24*time.Hour), tlsNATS(t, 3*24*time.Hour)
	by := func(r stream.Remote) func(*testing.T) *System { return local(func(s *System) { s.NATS = r }) }

	shut := redistest.Start(t, "--requirepass", "redis-password", "--maxmemory", "50mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes")
	ajar := redistest.Start(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru", "--appendonly", "no")
	redisAt := func(url string) func(*testing.T) *System { return local(func(s *System) { s.RedisURL = url }) }
	shutURL := "redis://:redis-password@" + shut.Addr + "/0"
	const noRedis = "redis://127.0.0.1:1/0"

	kept := backups(t)
	backupAt := func(dir, identity string) func(*testing.T) *System {
		return local(func(s *System) {
			s.Settings.BackupURL, s.Settings.BackupIdentities, s.Settings.DataDir = dir, identity, dir
		})
	}
	noted := func(b *system.Backup) func(*testing.T) *System {
		return changed(system.Path, func(m map[string]any) { m["backup"] = b })
	}
	unreadable := local(func(s *System) { s.Settings.BackupURL = "ftp://nowhere" })

	return []row{
		{"nats-sync", "passes", with(good), "1 server sync always: nats-0"},
		{"nats-sync", "passes: embedded", local(nil), "kgents-embedded"},
		{"nats-sync", "fails: it syncs every two minutes", with(lazy), "nats-0 acknowledges before it syncs, every 2m0s"},
		{"nats-sync", "cannot tell: away", nowhere, "NATS does not answer"},
		{"nats-connections", "passes", with(good), "of 100 connections"},
		{"nats-connections", "fails: most are taken", with(full), "nats-0 has 3 of 4"},
		{"nats-connections", "cannot tell: no key", keyless, "key"},
		{"nats-tls", "passes", by(secure), "plain text was refused by 127.0.0.1:"},
		{"nats-tls", "passes: embedded", local(nil), "listens on no port"},
		{"nats-tls", "fails: plain text", with(good), "plain text was answered by 127.0.0.1:"},
		{"nats-tls", "cannot tell: away", nowhere, "refused"},
		{"nats-anonymous", "passes", with(good), "was refused by 127.0.0.1:"},
		{"nats-anonymous", "passes: by TLS", by(secure), "was refused by 127.0.0.1:"},
		{"nats-anonymous", "fails: anybody is let in", with(open), "was let in by 127.0.0.1:"},
		{"nats-anonymous", "cannot tell: away", nowhere, "no servers available"},
		{"stream-replicas", "passes", local(nil), "whole on the embedded server"},
		{"stream-replicas", "fails: one copy in a cluster", func(t *testing.T) *System {
			s := with(good)(t)
			s.Target = checklist.Kubernetes
			return s
		}, "kgent-events is made for 1 of 3 copies"},
		{"stream-replicas", "fails: no stream", with(bare), "is not there"},
		{"stream-replicas", "cannot tell: no key", keyless, "key"},
		{"stream-discards-new", "passes", with(good), "discard the new, and are kept in files"},
		{"stream-discards-new", "fails: the old goes", with(loose), "kgent-events discards the old"},
		{"stream-discards-new", "cannot tell: no key", keyless, "key"},
		{"stream-immutable", "passes", with(good), "deny_delete, deny_purge"},
		{"stream-immutable", "fails: it may be purged", with(loose), "allows to delete messages"},
		{"stream-immutable", "cannot tell: no key", keyless, "key"},
		{"dead-letters", "passes", with(good), "is empty"},
		{"dead-letters", "fails: one waits", with(loose), "1 dead letter"},
		{"dead-letters", "cannot tell: no key", keyless, "key"},

		{"redis-anonymous", "passes", redisAt(shutURL), "NOAUTH"},
		{"redis-anonymous", "fails: no password", redisAt(ajar.URL()), "was answered"},
		{"redis-anonymous", "cannot tell: away", redisAt(noRedis), "does not answer"},
		{"redis-noeviction", "passes", redisAt(shutURL), "noeviction"},
		{"redis-noeviction", "warns: no Redis", local(nil), "in the program's memory"},
		{"redis-noeviction", "fails: it evicts", redisAt(ajar.URL()), "allkeys-lru"},
		{"redis-noeviction", "cannot tell: away", redisAt(noRedis), "127.0.0.1:1"},
		{"redis-persistence", "passes", redisAt(shutURL), "append-only file is on"},
		{"redis-persistence", "fails: only in memory", redisAt(ajar.URL()), ""},
		{"redis-persistence", "cannot tell: away", redisAt(noRedis), "127.0.0.1:1"},

		{"circuit-closed", "passes", local(nil), "the circuit is closed"},
		{"circuit-closed", "fails: open", changed("/health/saas", func(m map[string]any) {
			m["nats"] = map[string]any{"status": "circuit_open", "circuit": "open"}
		}), "has it open"},
		{"circuit-closed", "warns: half open", changed("/health/saas", func(m map[string]any) {
			m["nats"] = map[string]any{"status": "healthy", "circuit": "half_open"}
		}), "half open"},
		{"circuit-closed", "cannot tell: away", local(func(s *System) { s.APIURL = "http://127.0.0.1:1" }), "refused"},
		{"spool-drained", "passes", local(nil), "nothing waits"},
		{"spool-drained", "fails: some wait", changed("/health/saas", func(m map[string]any) {
			m["nats"] = map[string]any{"status": "healthy", "circuit": "closed", "spooled_events": 7}
		}), "7 events on the disk"},
		{"spool-drained", "cannot tell: away", local(func(s *System) { s.APIURL = "http://127.0.0.1:1" }), "refused"},
		{"backlog", "passes", local(nil), "not metered"},
		{"backlog", "fails: it grows old", changed(system.Path, func(m map[string]any) {
			m["nats"].(map[string]any)["backlog"] = system.Backlog{Messages: 900, OldestAge: 500, Sink: true}
		}), "8m20s old"},
		{"backlog", "cannot tell: no key", keyless, "key"},
		{"disk-headroom", "passes", local(func(s *System) { s.PeakRate, s.Outage = 1, time.Minute }), "room for"},
		{"disk-headroom", "fails: too much comes", local(func(s *System) { s.PeakRate, s.Outage = 1e9, 72*time.Hour }), "room for"},
		{"disk-headroom", "cannot tell: no peak is known", local(nil), "not known"},
		{"version-skew", "passes", local(func(s *System) { s.Version = "devel" }), "devel"},
		{"version-skew", "fails: another", local(func(s *System) { s.Version = "v9.9.9" }), "v9.9.9"},
		{"version-skew", "cannot tell: away", local(func(s *System) { s.APIURL, s.Version = "http://127.0.0.1:1", "devel" }), "refused"},
		{"clock-offset", "passes", local(nil), "within a second"},
		{"clock-offset", "fails: an hour behind", changed(system.Path, func(m map[string]any) {
			m["now"] = time.Now().Add(-time.Hour).UTC()
		}), "the program by -"},
		{"clock-offset", "cannot tell: away", local(func(s *System) { s.APIURL = "http://127.0.0.1:1" }), "refused"},
		{"certificates", "passes", by(secure), "the first of 1 certificate to end"},
		{"certificates", "warns: two weeks", by(soon), "ends on"},
		{"certificates", "fails: three days", by(late), "ends on"},
		{"certificates", "cannot tell: away", nowhere, "refused"},

		{"backup-fresh", "passes", backupAt(kept.plain, ""), "1 backup in all"},
		{"backup-fresh", "passes: noted", noted(&system.Backup{Last: time.Now().Add(-time.Hour)}), "1h0m0s old"},
		{"backup-fresh", "fails: none", backupAt(kept.empty, ""), "holds no whole backup"},
		{"backup-fresh", "fails: noted long ago", noted(&system.Backup{Last: time.Now().Add(-30 * time.Hour)}), "30h0m0s old"},
		{"backup-fresh", "cannot tell: a place that is none", changed(system.Path, func(m map[string]any) { delete(m, "backup") }), "not known"},
		{"backup-restorable", "passes", backupAt(kept.plain, ""), "was restored into a scratch server now: 1 message"},
		{"backup-restorable", "passes: sealed", backupAt(kept.sealed, kept.identity), "was restored into a scratch server now"},
		{"backup-restorable", "passes: drilled", noted(&system.Backup{Last: time.Now(), Drill: &system.Drill{At: time.Now().Add(-time.Hour), Backup: "b", Messages: 3}}), "b was restored 1h0m0s ago: 3 messages"},
		{"backup-restorable", "fails: a bit is another", backupAt(kept.damaged, ""), ""},
		{"backup-restorable", "fails: never drilled", noted(&system.Backup{Last: time.Now()}), "no backup was ever restored"},
		{"backup-restorable", "fails: drilled long ago", noted(&system.Backup{Drill: &system.Drill{At: time.Now().Add(-200 * time.Hour)}}), "8 days ago"},
		{"backup-restorable", "cannot tell: no identity that is one", backupAt(kept.sealed, "nonsense"), "age identity"},
		{"backup-encrypted", "passes", backupAt(kept.sealed, ""), "is encrypted with age"},
		{"backup-encrypted", "warns: on a volume", local(func(s *System) { s.BackupVolume, s.Settings.BackupRecipients = "/backups", "age1x" }), "age1x"},
		{"backup-encrypted", "fails: plain", backupAt(kept.plain, ""), "is not encrypted"},
		{"backup-encrypted", "cannot tell: none is there", backupAt(kept.empty, ""), "no backup to look at"},
		{"backup-elsewhere", "fails: on the same disk", backupAt(kept.plain, ""), "on the disk that it is the backup of"},
		{"backup-elsewhere", "fails: on a volume", local(func(s *System) { s.BackupVolume = "/backups" }), "a volume of the cluster"},
		{"backup-elsewhere", "cannot tell: a place that is none", unreadable, ""},
	}
}

// A bucket is elsewhere when its server's name is not of this machine, of the cluster
// or of a private network. No bucket out there can be asked in a test.
func TestNear(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"https://s3.example.com": false, "s3.eu-central-1.amazonaws.com": false, "https://203.0.113.7:9000": false,
		"http://127.0.0.1:9000": true, "http://minio:9000": true, "http://minio.storage.svc": true, "https://10.0.0.7": true,
		"https://[::1]:9000": true, "http://s3.localhost": true, "http://minio.storage.svc.cluster.local.": true,
	} {
		if got := near(hostOfEndpoint(endpoint)); got != want {
			t.Errorf("%s: near is %t, want %t", endpoint, got, want)
		}
	}
}
