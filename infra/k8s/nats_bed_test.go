package k8s

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
var natsRoles = []string{"api", "sink", "backup", "operator", "system"}

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

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// options reads nats.conf as a server does. Only the paths are others: volumes are
// directories below data.
func (b natsBed) options(t *testing.T, data string) *server.Options {
	t.Helper()
	text := readFile(t, natsFile)
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
