package secrets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// How long certificates are good for. A clock that is behind by less than an hour
// takes a new one at once.
const (
	caYears = 10
	leafAge = 365 * 24 * time.Hour
	skew    = time.Hour
)

// names are what clients and servers call the NATS servers of a namespace.
func names(namespace string) (out []string) {
	out = []string{"localhost"}
	for _, host := range []string{"nats", "*.nats-headless"} {
		out = append(out, host, host+"."+namespace, host+"."+namespace+".svc", host+"."+namespace+".svc.cluster.local")
	}
	return out
}

// ensureCertificates makes the CA and the servers' certificate unless they are
// there. A CA without its key has been made elsewhere: then the certificate must
// be there too.
func (d store) ensureCertificates(namespace string) (made []string, err error) {
	missing := func(name string) bool {
		_, err := os.Lstat(filepath.Join(d.dir, name))
		return errors.Is(err, fs.ErrNotExist)
	}
	if missing(caCert) && missing(caKey) {
		if !missing(tlsCert) {
			return nil, fmt.Errorf("%s is there without %s, which signed it: add it, or move %s and %s away", tlsCert, caCert, tlsCert, tlsKey)
		}
		if err := d.makeCA(); err != nil {
			return nil, err
		}
		made = append(made, caKey, caCert)
	}
	if missing(tlsCert) || missing(tlsKey) {
		if err := d.makeLeaf(names(namespace)); err != nil {
			return made, err
		}
		made = append(made, tlsKey, tlsCert)
	}
	return made, nil
}

func (d store) makeCA() error {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "kgents staging CA"},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.AddDate(caYears, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return d.sign(template, template, key, key, caCert, caKey)
}

// makeLeaf makes the certificate of the servers, who are each other's clients too.
func (d store) makeLeaf(hosts []string) error {
	ca, err := d.certificate(caCert)
	if err != nil {
		return err
	}
	keyPEM, err := d.read(caKey)
	if err != nil {
		return fmt.Errorf("the CA's key is needed for a new certificate: %w", err)
	}
	block, _ := pem.Decode([]byte(keyPEM))
	if block == nil {
		return fmt.Errorf("%s holds no key in PEM", caKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	caSigner, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return fmt.Errorf("%s holds no ECDSA key in PKCS #8", caKey)
	}
	if !caSigner.PublicKey.Equal(ca.PublicKey) {
		return fmt.Errorf("%s is not the key of %s: put the two that belong together", caKey, caCert)
	}
	now := time.Now()
	end := now.Add(leafAge)
	if end.After(ca.NotAfter) {
		end = ca.NotAfter
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return d.sign(&x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "nats"},
		NotBefore:    now.Add(-skew),
		NotAfter:     end,
		DNSNames:     hosts,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca, key, caSigner, tlsCert, tlsKey)
}

// sign writes the key and then the certificate.
func (d store) sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey, certFile, keyFile string) error {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := d.write(keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))); err != nil {
		return err
	}
	return d.write(certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

func (d store) certificate(file string) (*x509.Certificate, error) {
	text, err := d.read(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cert, nil
}

// serial is 127 random bits, as RFC 5280 allows at most 20 octets.
func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}
