package config

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

// hostName is a DNS name. A single label may be a machine's own name, with _.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)

// setHost takes an address or a name, an IPv6 address also in brackets, as it stands
// in a URL. Empty is every address.
func setHost(c *Config, s string) error {
	host := s
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(host, ":") {
			return errHost
		}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && !hostName.MatchString(host) {
		return errHost
	}
	c.APIHost = host
	return nil
}

var errHost = errors.New("is neither an address nor a name: use for example 0.0.0.0, ::1 or localhost; the port is API_PORT")

// setOrigins takes what a browser sends as Origin: scheme, host, and the port where it
// is not the scheme's. Anything behind that would never match. One * may stand for a
// part of the host, or alone for every origin.
func setOrigins(c *Config, s string) error {
	c.CORSOrigins = splitList(s)
	for _, o := range c.CORSOrigins {
		if o == "*" {
			continue
		}
		u, err := url.Parse(strings.Replace(o, "*", "any", 1))
		if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || u.Opaque != "" ||
			u.Path+u.RawQuery+u.Fragment != "" || strings.ContainsAny(o, "?#") || strings.Contains(u.Host, "*") ||
			strings.HasSuffix(u.Host, ":") || u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443" {
			return errors.New("holds something that is no origin: use https://app.example.com or http://localhost:3000, without a path and without the scheme's own port")
		}
	}
	return nil
}
