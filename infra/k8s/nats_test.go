package k8s

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

const (
	natsDir   = "manifests/nats"
	natsFile  = natsDir + "/nats.conf"
	tlsMount  = "/run/secrets/kgents/nats-tls"
	dataMount = "/data"
	runMount  = "/run/nats"

	// maxFileStore is what the StatefulSet says, which TestNATSStatefulSet compares.
	maxFileStore = "1800Mi"
)

// natsRoles are the users that nats.conf names, twice each.
var natsRoles = []string{"api", "sink", "operator", "system"}

// natsBed is what the servers and their clients need outside nats.conf: keys,
// certificates and the environment that names the public keys.
type natsBed struct {
	dir string // tls.crt, tls.key, ca.crt; ROLE.nk and ROLE-previous.nk
}

func (b natsBed) ca() string              { return filepath.Join(b.dir, "ca.crt") }
func (b natsBed) seed(user string) string { return filepath.Join(b.dir, user+".nk") }
func (b natsBed) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newNATSBed(t *testing.T) natsBed {
	t.Helper()
	b := natsBed{dir: t.TempDir()}
	for _, role := range natsRoles {
		for user, variable := range map[string]string{
			role:               "NATS_" + strings.ToUpper(role) + "_NKEY",
			role + "-previous": "NATS_" + strings.ToUpper(role) + "_NKEY_PREVIOUS",
		} {
			pair, err := nkeys.CreateUser()
			if err != nil {
				t.Fatal(err)
			}
			seed, err := pair.Seed()
			if err != nil {
				t.Fatal(err)
			}
			public, err := pair.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			b.write(t, user+".nk", seed)
			t.Setenv(variable, public)
		}
	}
	t.Setenv("POD_NAME", "nats-0")
	t.Setenv("NATS_MAX_FILE_STORE", maxFileStore)
	b.certify(t)
	return b
}

// certify makes a CA and a server certificate with the names that the staging
// certificate has and that matter on this machine.
func (b natsBed) certify(t *testing.T) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "nats"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames:    []string{"localhost", "nats", "*.nats-headless"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	block := func(typ string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}) }
	b.write(t, "ca.crt", block("CERTIFICATE", caDER))
	b.write(t, "tls.crt", block("CERTIFICATE", leafDER))
	b.write(t, "tls.key", block("PRIVATE KEY", keyDER))
}

// options reads nats.conf as a server does. Only the paths are others: volumes are
// directories below data.
func (b natsBed) options(t *testing.T, data string) *server.Options {
	t.Helper()
	conf, err := os.ReadFile(natsFile)
	if err != nil {
		t.Fatal(err)
	}
	text := string(conf)
	for _, mount := range []struct{ path, here string }{
		{tlsMount + "/", b.dir + "/"},
		{`"` + dataMount + `"`, strconv.Quote(filepath.Join(data, "store"))},
		{`"` + runMount + "/", `"` + data + "/"},
	} {
		if !strings.Contains(text, mount.path) {
			t.Fatalf("%s does not use %s", natsFile, mount.path)
		}
		text = strings.ReplaceAll(text, mount.path, mount.here)
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

// facts are the settings on which promises rest.
type facts struct {
	Name, Cluster                       string
	SyncAlways                          bool
	MaxPayload                          int32
	MaxFileStore                        int64
	LameDuckGrace, LameDuck             time.Duration
	Port, ClusterPort, HTTPPort         int
	Routes                              []string
	NoAdvertise                         bool
	ClientTLS, RouteTLS                 uint16
	RouteClients, RoutePeersAreVerified bool
	SystemAccount, NoAuthUser           string
	PlainUsers, NKeyUsers               int
	Bounded                             bool
	RoutePing                           time.Duration
	AllowNonTLS                         bool
}

// The settings on which promises rest stand in this very file.
func TestNATSConf(t *testing.T) {
	o := newNATSBed(t).options(t, t.TempDir())
	if o.TLSConfig == nil || o.Cluster.TLSConfig == nil {
		t.Fatal("clients or routes have no TLS")
	}
	var routes []string
	for _, r := range o.Routes {
		routes = append(routes, r.String())
	}
	got := facts{
		Name: o.ServerName, Cluster: o.Cluster.Name, SyncAlways: o.SyncAlways, MaxPayload: o.MaxPayload,
		MaxFileStore: o.JetStreamMaxStore, LameDuckGrace: o.LameDuckGracePeriod, LameDuck: o.LameDuckDuration,
		Port: o.Port, ClusterPort: o.Cluster.Port, HTTPPort: o.HTTPPort, Routes: routes, NoAdvertise: o.Cluster.NoAdvertise,
		ClientTLS: o.TLSConfig.MinVersion, RouteTLS: o.Cluster.TLSConfig.MinVersion,
		RouteClients:          o.Cluster.TLSConfig.ClientAuth == tls.RequireAndVerifyClientCert,
		RoutePeersAreVerified: o.Cluster.TLSConfig.RootCAs != nil && !o.Cluster.TLSConfig.InsecureSkipVerify,
		SystemAccount:         o.SystemAccount, NoAuthUser: o.NoAuthUser, PlainUsers: len(o.Users), NKeyUsers: len(o.Nkeys),
		Bounded: o.MaxConn > 0 && o.MaxSubs > 0 && o.MaxPending > 0 && o.MaxControlLine > 0 && o.WriteDeadline > 0 &&
			o.JetStreamMaxMemory > 0 && o.StreamMaxBufferedSize > 0,
		RoutePing: o.Cluster.PingInterval, AllowNonTLS: o.AllowNonTLS,
	}
	want := facts{
		Name: "nats-0", Cluster: "kgents", SyncAlways: true, MaxPayload: 1 << 20, MaxFileStore: 1800 << 20,
		LameDuckGrace: 10 * time.Second, LameDuck: 30 * time.Second, Port: 4222, ClusterPort: 6222, HTTPPort: 8222,
		Routes: []string{
			"nats-route://nats-0.nats-headless:6222", "nats-route://nats-1.nats-headless:6222", "nats-route://nats-2.nats-headless:6222",
		},
		NoAdvertise: true, ClientTLS: tls.VersionTLS13, RouteTLS: tls.VersionTLS13, RouteClients: true, RoutePeersAreVerified: true,
		SystemAccount: "SYS", NKeyUsers: 2 * len(natsRoles), Bounded: true, RoutePing: 5 * time.Second,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("nats.conf (-want +got):\n%s", d)
	}
}

// The server must not start open to all when a key is missing.
func TestNATSConfNeedsEachKey(t *testing.T) {
	bed := newNATSBed(t)
	for _, role := range natsRoles {
		for _, suffix := range []string{"", "_PREVIOUS"} {
			name := "NATS_" + strings.ToUpper(role) + "_NKEY" + suffix
			t.Run(name, func(t *testing.T) {
				conf, err := os.ReadFile(natsFile)
				if err != nil {
					t.Fatal(err)
				}
				t.Setenv(name, "") // restores it afterwards
				if err := os.Unsetenv(name); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "nats.conf")
				text := strings.ReplaceAll(string(conf), tlsMount, bed.dir)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := server.ProcessConfigFile(file); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("the error is %v, want one that names %s", err, name)
				}
			})
		}
	}
}
