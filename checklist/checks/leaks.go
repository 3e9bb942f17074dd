package checks

import (
	"bytes"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/nats-io/nkeys"
)

// shortest is the length from which a known value is looked for: what is shorter is
// found by chance.
const shortest = 12

// leaks finds secrets in texts: by their form, and by their value where that is known.
// It says what kind of secret it is, and never its value.
type leaks struct {
	known map[string]string // by value, what it is
	mail  bool              // also addresses of people
}

// learn adds the value of a secret, and what can be used of it by itself: the parts of
// a list, and the password of a URL. Public halves are no secret.
func (l *leaks) learn(what, value string) {
	if l.known == nil {
		l.known = map[string]string{}
	}
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "-----BEGIN") && !strings.Contains(value, "PRIVATE KEY") {
		return
	}
	for _, part := range append(strings.Split(value, ","), value) {
		part = strings.TrimSpace(part)
		if u, err := url.Parse(part); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				part = password
			}
		}
		if len(part) >= shortest && !nkeys.IsValidPublicKey(part) {
			l.known[part] = what
		}
	}
}

// form is what a kind of secret looks like.
type form struct {
	what   string
	begins string // a text without it holds none
	is     *regexp.Regexp
	real   func(string) bool // of the first group
}

var forms = []form{
	{"a private key", "PRIVATE KEY-----", regexp.MustCompile(`(-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY-----(?:\s|\\n|")*[A-Za-z0-9+/]{40})`), func(string) bool { return true }},
	{"an age identity", "AGE-SECRET-KEY-1", regexp.MustCompile(`\b(AGE-SECRET-KEY-1[0-9A-Z]{58})\b`), func(s string) bool {
		_, err := age.ParseX25519Identity(s)
		return err == nil
	}},
	{"the seed of an NKey", "S", regexp.MustCompile(`\b(S[UAONCX][A-Z2-7]{56})\b`), func(s string) bool {
		_, err := nkeys.FromSeed([]byte(s))
		return err == nil
	}},
	{"a webhook secret of Stripe", "whsec_", regexp.MustCompile(`\bwhsec_([A-Za-z0-9+/]{20,})`), looksRandom},
	{"a key of Stripe", "k_", regexp.MustCompile(`\b[sr]k_(?:live|test)_([A-Za-z0-9]{20,})`), looksRandom},
	{"an API key", "kg_", regexp.MustCompile(`\bkg_(?:[a-z]+_)?([A-Za-z0-9]{20,})\b`), looksRandom},
	{"a password in a URL", "://", regexp.MustCompile(`\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@"'<>]{0,64}:([A-Za-z0-9+=_~.-]{12,})@`), looksRandom},
}

var mailForm = regexp.MustCompile(`\b[A-Za-z0-9._%+-]+@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,18})\b`)

// find says what the text holds, empty for nothing.
func (l *leaks) find(text []byte) string {
	what, _ := l.spot(text)
	return what
}

// where is find with the line that has it, from 1.
func (l *leaks) where(text []byte) (what string, line int) {
	what, at := l.spot(text)
	return what, 1 + bytes.Count(text[:at], []byte("\n"))
}

// spot says what the text holds, and from which byte on.
func (l *leaks) spot(text []byte) (what string, at int) {
	for value, what := range l.known {
		if at := bytes.Index(text, []byte(value)); at >= 0 {
			return what, at
		}
	}
	for _, f := range forms {
		if !bytes.Contains(text, []byte(f.begins)) {
			continue
		}
		for _, m := range f.is.FindAllSubmatchIndex(text, -1) {
			if f.real(string(text[m[2]:m[3]])) {
				return f.what, m[0]
			}
		}
	}
	if l.mail && bytes.ContainsRune(text, '@') {
		for _, m := range mailForm.FindAllSubmatchIndex(text, -1) {
			if !forExamples(string(text[m[2]:m[3]])) {
				return "an e-mail address", m[0]
			}
		}
	}
	return "", 0
}

// forExamples says whether a domain is nobody's, by RFC 2606.
func forExamples(domain string) bool {
	labels := strings.Split(strings.ToLower(domain), ".")
	top := labels[len(labels)-1]
	if slices.Contains([]string{"example", "test", "invalid", "localhost", "local", "svc"}, top) {
		return true
	}
	return len(labels) > 1 && labels[len(labels)-2] == "example" && slices.Contains([]string{"com", "net", "org"}, top)
}

// looksRandom says whether a text looks like chance, and not like what people write in an
// example.
func looksRandom(s string) bool {
	lower := strings.ToLower(s)
	for _, word := range []string{"example", "secret", "password", "changeme", "placeholder", "xxxx", "0000", "1234", "abcd", "test", "your"} {
		if strings.Contains(lower, word) {
			return false
		}
	}
	return bitsOf(s) >= 3.2 && strings.ContainsAny(s, "0123456789")
}

// bitsOf is the Shannon entropy of a text, in bits a character. Of 26 characters that
// were drawn from 32 it is less than 3.2 once in a million.
func bitsOf(s string) (bits float64) {
	counts := map[rune]float64{}
	for _, r := range s {
		counts[r]++
	}
	for _, n := range counts {
		p := n / float64(len(s))
		bits -= p * math.Log2(p)
	}
	return bits
}
