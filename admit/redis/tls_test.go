package redis_test

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
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/admit/redistest"
)

// rediss:// with a user, a password and a database, as managed Redis wants it. A
// process of its own trusts the server's certificate, and one that doesn't is
// refused.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	server := redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no",
		"--user", "app", "on", ">hunter2", "~idempotency:*", "+@all", "-@admin")
	url := "rediss://app:hunter2@localhost:" + port + "/3"
	for _, c := range []struct {
		name, trusted, says string
	}{
		{"the certificate is trusted", cert, "evt_0"},
		{"the certificate is not trusted", filepath.Join(dir, "none"), "certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "CLAIMER_URL="+url, "SSL_CERT_FILE="+c.trusted, "SSL_CERT_DIR="+filepath.Join(dir, "none"))
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), c.says) {
				t.Errorf("%v: %.300s, want %q", err, out, c.says)
			}
			if strings.Contains(string(out), "hunter2") {
				t.Error("the password was shown")
			}
		})
	}
	if got := server.Do("DBSIZE"); got != ":0\r\n" {
		t.Errorf("database 0 has %q keys: they belong into database 3", got)
	}
}

// certificate makes one for localhost that signs itself.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for kind, b := range map[string][]byte{"CERTIFICATE": der, "PRIVATE KEY": secret} {
		path := filepath.Join(dir, strings.ReplaceAll(kind, " ", "-")+".pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		if kind == "CERTIFICATE" {
			cert = path
		} else {
			key = path
		}
	}
	return cert, key
}
