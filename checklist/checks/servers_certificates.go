package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
)

// How long before its end a certificate is told of, and when it is too late to wait
// for a renewal.
const (
	certificateWarn = 21 * 24 * time.Hour
	certificateFail = 7 * 24 * time.Hour
)

// ending is a certificate that somebody shows.
type ending struct {
	who string
	at  time.Time
}

func (a *serverArea) certificates(ctx context.Context) checklist.Finding {
	var all []ending
	var unknown []string
	note := func(who string, state tls.ConnectionState, err error) {
		if err != nil {
			unknown = append(unknown, who+": "+err.Error())
			return
		}
		for i, c := range state.PeerCertificates {
			if i == 0 || !all[len(all)-1].at.Before(c.NotAfter) { // the first that ends breaks the chain
				if i > 0 {
					all = all[:len(all)-1]
				}
				all = append(all, ending{who, c.NotAfter})
			}
		}
	}
	urls, embedded, err := a.natsServers(ctx)
	if err != nil {
		unknown = append(unknown, "NATS: "+err.Error())
	}
	for _, u := range urls {
		state, err := a.natsCertificates(ctx, u)
		note("NATS at "+hostOf(u), state, err)
	}
	for _, file := range []string{a.NATS.TLSCert, a.NATSSystem.TLSCert} {
		if file != "" {
			at, err := endOfFile(file)
			if err != nil {
				unknown = append(unknown, err.Error())
				continue
			}
			all = append(all, ending{"our certificate for NATS", at})
		}
	}
	https := strings.HasPrefix(a.APIURL, "https://")
	if https {
		state, err := a.showsByHTTPS(ctx, a.APIURL)
		note("the API", state, err)
	}
	if o := a.Objects(ctx); o != nil {
		found, err := ingressEndings(o)
		if err != nil {
			unknown = append(unknown, err.Error())
		}
		all, https = append(all, found...), https || len(found) > 0
	}
	if f, bad := judgeEndings(all); bad {
		return f
	}
	switch {
	case len(unknown) > 0:
		return checklist.CannotTell(cut(some(unknown), 200), "look whether they run, and at NATS_SERVERS and the API's address")
	case !https && a.Target == checklist.Kubernetes:
		return checklist.CannotTell(cut("the API's certificate is not seen: its address here is not https, and no Ingress names one. "+sayEndings(all), 200),
			"give the Ingress `tls` with a secretName, or name the address that customers use (KGENTS_URL)")
	case len(all) == 0 && embedded:
		return checklist.Passed("no certificate is in use: the NATS server has no port, and the API is plain HTTP on this machine")
	case len(all) == 0:
		return checklist.Passed("no certificate is in use: neither NATS nor the API speak TLS")
	}
	return checklist.Passed("%s", cut(sayEndings(all), 200))
}

// judgeEndings is a Finding of what ends soon, if anything does.
func judgeEndings(all []ending) (f checklist.Finding, bad bool) {
	now := time.Now()
	var soon, late []string
	for _, e := range all {
		left := e.at.Sub(now)
		text := fmt.Sprintf("%s ends on %s", e.who, e.at.UTC().Format(time.DateOnly))
		switch {
		case left < 0:
			late = append(late, e.who+" has ended on "+e.at.UTC().Format(time.DateOnly))
		case left < certificateFail:
			late = append(late, text)
		case left < certificateWarn:
			soon = append(soon, text)
		}
	}
	const mend = "renew it, and restart who shows it: runbook.md#certificateexpiring"
	switch {
	case len(late) > 0:
		return checklist.Failed(cut(some(append(late, soon...)), 200), mend), true
	case len(soon) > 0:
		return checklist.Warned(cut(some(soon), 200), mend), true
	}
	return f, false
}

func sayEndings(all []ending) string {
	if len(all) == 0 {
		return "No other is in use"
	}
	first := all[0]
	for _, e := range all {
		if e.at.Before(first.at) {
			first = e
		}
	}
	return fmt.Sprintf("the first of %s to end is that of %s, on %s", plural(len(all), "certificate"), first.who, first.at.UTC().Format(time.DateOnly))
}

// ingressEndings are the certificates that Ingresses name, as their Secrets hold them.
func ingressEndings(o *cluster.Objects) (all []ending, err error) {
	if o.Ingresses.Err != nil {
		return nil, o.Ingresses.Err
	}
	for _, i := range o.Ingresses.Items {
		for _, t := range i.Spec.TLS {
			if t.SecretName == "" {
				continue // the controller's own
			}
			who := "Ingress " + i.Name
			secret, err := o.Secrets.Named(t.SecretName)
			if err != nil {
				return all, fmt.Errorf("%s: %w", who, err)
			}
			text, _ := secret.Value("tls.crt")
			at, err := endOfPEM(text)
			if err != nil {
				return all, fmt.Errorf("%s: Secret %s: %w", who, t.SecretName, err)
			}
			all = append(all, ending{who, at})
		}
	}
	return all, nil
}

// showsByHTTPS is what the API's address shows.
func (a *serverArea) showsByHTTPS(ctx context.Context, address string) (tls.ConnectionState, error) {
	u, err := url.Parse(address)
	if err != nil {
		return tls.ConnectionState{}, fmt.Errorf("it has no URL")
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	to := net.JoinHostPort(u.Hostname(), port)
	conn, err := Dialer(nil).dial(ctx, to)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return shake(ctx, conn, to)
}

// endOfFile is when the first certificate of a PEM file ends.
func endOfFile(path string) (time.Time, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}, err
	}
	at, err := endOfPEM(text)
	if err != nil {
		return at, fmt.Errorf("%s: %w", path, err)
	}
	return at, nil
}

// endOfPEM is when the first certificate ends.
func endOfPEM(text []byte) (time.Time, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return time.Time{}, errors.New("it holds no certificate")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return c.NotAfter, nil
}
