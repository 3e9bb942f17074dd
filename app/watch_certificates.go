package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// The values of the label `name`.
const (
	certificateNATS   = "nats"
	certificateClient = "nats-client"
)

// certificateWatch is when certificates expire. The server's is the one that it
// showed when the connection was made: one that was put in place since is seen with
// the next connection, so after a server's restart. It stays while the servers are
// away, since an expired certificate is what keeps us from them.
type certificateWatch struct {
	app *App

	mu    sync.Mutex
	until map[string]time.Time
}

func (w *certificateWatch) look() {
	server, known := w.app.shownExpiry()
	client, readable := expiryOfFile(w.app.config.NATSTLSCert)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.until == nil {
		w.until = map[string]time.Time{}
	}
	if known {
		w.until[certificateNATS] = server
	}
	if readable {
		w.until[certificateClient] = client
	}
}

// shownExpiry is when the certificate that a server showed expires, or the first of
// those by which we trust it. It is not known without TLS and before a handshake.
// The connection itself is not asked: in nats.go 1.55.0 that is a data race.
func (a *App) shownExpiry() (time.Time, bool) {
	if a.nats.Status() != nats.CONNECTED {
		// An expired certificate ends the handshake before there is a connection.
		if bad, ok := errors.AsType[*tls.CertificateVerificationError](a.nats.LastError()); ok {
			return earliest(bad.UnverifiedCertificates)
		}
	}
	if state := a.shown.Load(); state != nil {
		return expiry(*state)
	}
	return time.Time{}, false
}

// expiry is the end of the chain that holds longest.
func expiry(state tls.ConnectionState) (end time.Time, ok bool) {
	for _, chain := range state.VerifiedChains {
		if t, some := earliest(chain); some && t.After(end) {
			end, ok = t, true
		}
	}
	if ok {
		return end, true
	}
	return earliest(state.PeerCertificates)
}

func earliest(chain []*x509.Certificate) (end time.Time, ok bool) {
	for _, c := range chain {
		if !ok || c.NotAfter.Before(end) {
			end, ok = c.NotAfter, true
		}
	}
	return end, ok
}

// expiryOfFile reads the certificate, or the chain of them, in a PEM file.
func expiryOfFile(path string) (time.Time, bool) {
	if path == "" {
		return time.Time{}, false
	}
	rest, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, false
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return earliest(chain)
		}
		if c, err := x509.ParseCertificate(block.Bytes); block.Type == "CERTIFICATE" && err == nil {
			chain = append(chain, c)
		}
	}
}

var certificateExpiry = prometheus.NewDesc("kgents_certificate_expiry_timestamp_seconds",
	"When a certificate, or the first of those by which it is trusted, expires: nats is what a server showed when the connection was made, nats-client is the file NATS_TLS_CERT. Absent without TLS and before the first handshake; it stays while NATS is away. Use the minimum.",
	[]string{"name"}, nil)

// Describe implements prometheus.Collector.
func (w *certificateWatch) Describe(out chan<- *prometheus.Desc) { out <- certificateExpiry }

// Collect implements prometheus.Collector.
func (w *certificateWatch) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, until := range w.until {
		out <- prometheus.MustNewConstMetric(certificateExpiry, prometheus.GaugeValue, timestamp(until), name)
	}
}
