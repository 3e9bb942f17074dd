//go:build linux

package firedrill

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kgents/kgents/chaos/world"
)

// server makes a nats-server with further lines of configuration.
func (d *drill) server(n int, addr, lines string) {
	name := fmt.Sprint("nats-", n)
	conf := filepath.Join(d.Dir, name+".conf")
	text := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream { store_dir: %q, sync_interval: always }\n%s", name, addr, filepath.Join(d.Dir, name), lines)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		d.Fatal(err)
	}
	d.servers = append(d.servers, d.Process(name+"-home", world.Programs.NATS, "-c", conf))
}

// threeServers are a cluster, and the streams have three copies.
func threeServers(d *drill, o *world.Options) {
	var urls, routes []string
	var listen, cluster [3]string
	for i := range 3 {
		listen[i], cluster[i] = world.FreeAddr(d.T), world.FreeAddr(d.T)
		urls, routes = append(urls, "nats://"+listen[i]), append(routes, "nats://"+cluster[i])
	}
	for i := range 3 {
		d.server(i, listen[i], fmt.Sprintf("cluster { name: drill, listen: %q, routes: [%s] }\n", cluster[i], strings.Join(routes, ", ")))
		d.servers[i].Start()
	}
	o.NATSURLs = strings.Join(urls, ",")
	o.Env = append(o.Env, "NATS_REPLICAS=3")
}

// withTLS is a server with a certificate for half a year.
func withTLS(d *drill, o *world.Options) {
	addr := world.FreeAddr(d.T)
	d.server(0, addr, fmt.Sprintf("tls { cert_file: %q, key_file: %q }\n", filepath.Join(d.certs, "tls.crt"), filepath.Join(d.certs, "tls.key")))
	d.certify(180 * 24 * time.Hour)
	d.servers[0].Start()
	o.NATSURLs = "tls://" + addr
	o.Env = append(o.Env, "NATS_TLS_CA="+filepath.Join(d.certs, "ca.crt"))
}

// certify makes the server's certificate anew, of the authority made at first.
func (d *drill) certify(lasts time.Duration) {
	d.Helper()
	ca, caKey := d.authority()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "nats"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, &key.PublicKey, caKey)
	if err != nil {
		d.Fatal(err)
	}
	d.keep("tls", der, key)
}

func (d *drill) authority() (*x509.Certificate, *ecdsa.PrivateKey) {
	d.Helper()
	if d.ca == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			d.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "drill"}, IsCA: true, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			d.Fatal(err)
		}
		if d.ca, err = x509.ParseCertificate(der); err != nil {
			d.Fatal(err)
		}
		d.caKey = key
		d.keep("ca", der, key)
	}
	return d.ca, d.caKey
}

// keep writes a certificate and its key.
func (d *drill) keep(name string, der []byte, key *ecdsa.PrivateKey) {
	d.Helper()
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		d.Fatal(err)
	}
	for ext, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(d.certs, name+ext), pem.EncodeToMemory(block), 0o600); err != nil {
			d.Fatal(err)
		}
	}
}
