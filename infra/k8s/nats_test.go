package k8s

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
)

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
				t.Setenv(name, "") // restores it afterwards
				if err := os.Unsetenv(name); err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "nats.conf")
				text := strings.ReplaceAll(readFile(t, natsFile), tlsMount, bed.dir)
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
