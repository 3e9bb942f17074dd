package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var stripePriceID = regexp.MustCompile(`^price_[A-Za-z0-9_]{1,200}$`)

// stripePrice is the variable that names a price of this environment. In the plans'
// file a price names it by lookup.
func stripePrice(name, lookup string) Variable {
	return Variable{
		Name: name, Help: "Stripe's id (price_...) of the price with the lookup key " + lookup + "; empty = Stripe is asked for it by that key",
		set: func(c *Config, s string) error {
			if s == "" {
				return nil
			}
			if !stripePriceID.MatchString(s) {
				return errors.New("is no price of Stripe's: use its id, which begins with price_")
			}
			if c.StripePrices == nil {
				c.StripePrices = map[string]string{}
			}
			c.StripePrices[lookup] = s
			return nil
		},
		get: func(c Config) string { return c.StripePrices[lookup] },
	}
}

func urlSetter(example string, set func(*Config, string)) func(*Config, string) error {
	return func(c *Config, s string) error {
		if s != "" {
			if u, err := url.Parse(s); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
				return errors.New("is no URL: use for example " + example)
			}
		}
		set(c, strings.TrimRight(s, "/"))
		return nil
	}
}

// setPublicURL takes what a path of the API can be put behind. It is told to everybody, so
// it must hold no password.
func setPublicURL(c *Config, s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		c.PublicURL = ""
		return nil
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("is no URL: use for example https://api.example.com")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return errors.New("has more than a scheme, a host and a path: use for example https://api.example.com")
	}
	c.PublicURL = strings.TrimRight(u.String(), "/")
	return nil
}

func intSetter(low, high int, set func(*Config, int)) func(*Config, string) error {
	return func(c *Config, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("is no whole number from %d to %d", low, high)
		}
		set(c, n)
		return nil
	}
}

func listSetter(set func(*Config, []string)) func(*Config, string) error {
	return func(c *Config, s string) error { set(c, splitList(s)); return nil }
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// parseDuration takes Go's form and, as the names' other users do, a bare number
// of seconds.
func parseDuration(s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Duration(n * float64(time.Second)), nil
	}
	return time.ParseDuration(s)
}

func parseBytes(s string) (int64, error) {
	number, unit := strings.TrimRight(s, "KMGTiB"), int64(1)
	switch s[len(number):] {
	case "", "B":
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	case "TiB":
		unit = 1 << 40
	default:
		return 0, errors.New("has an unknown unit: use KiB, MiB, GiB or TiB")
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, errors.New("is no size: use for example 20GiB")
	}
	return n * unit, nil
}

// redact hides the credentials in URLs, comma-separated: a password, and a user
// without one, which NATS takes as a token. Of what can't be told apart for sure
// it keeps only what stands behind the last @.
func redact(raw string) string {
	urls := strings.Split(raw, ",")
	for i, s := range urls {
		if !strings.Contains(s, "@") {
			continue
		}
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" || u.User == nil || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
			return hidden + raw[strings.LastIndex(raw, "@"):]
		}
		if _, ok := u.User.Password(); !ok {
			u.User = url.User(hidden)
		}
		urls[i] = u.Redacted()
	}
	return strings.Join(urls, ",")
}

// hidden stands for a credential; it is what url.URL.Redacted writes.
const hidden = "xxxxx"
