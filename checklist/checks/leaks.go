package checks

import (
	"bytes"
	"encoding/pem"
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

	// tests says that the text is of a test, which has made-up secrets of every form:
	// then only known values and live keys are found.
	tests bool
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
		if u, err := url.Parse(part); err == nil && u.Host != "" {
			part, _ = u.User.Password() // an address alone is no secret
		}
		if len(part) >= shortest && !nkeys.IsValidPublicKey(part) {
			l.known[part] = what
		}
	}
}

// form is what a kind of secret looks like.
type form struct {
	what   string
	sign   string // a text without it holds none
	before int    // how far before its sign it may begin, in bytes
	after  int    // and how far behind the sign's beginning it may end
	is     *regexp.Regexp
	real   func(string) bool // of the first group
	live   bool              // nobody makes one up
}

var forms = []form{
	{"a private key", "PRIVATE KEY-----", 32, 16 << 10, regexp.MustCompile(`(-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY-----[^-]{64,}-----END [A-Z0-9 ]{0,20}PRIVATE KEY-----)`), isKey, false},
	{"an age identity", "AGE-SECRET-KEY-1", 1, 80, regexp.MustCompile(`\b(AGE-SECRET-KEY-1[0-9A-Z]{58})\b`), func(s string) bool {
		_, err := age.ParseX25519Identity(s)
		return err == nil
	}, false},
	{"the seed of an NKey", "S", 1, 60, regexp.MustCompile(`\b(S[UAONCX][A-Z2-7]{56})\b`), func(s string) bool {
		_, err := nkeys.FromSeed([]byte(s))
		return err == nil
	}, false},
	{"a webhook secret of Stripe", "whsec_", 1, 200, regexp.MustCompile(`\bwhsec_([A-Za-z0-9+/]{20,})`), looksRandom, false},
	{"a live key of Stripe", "k_live_", 2, 300, regexp.MustCompile(`\b[sr]k_live_([A-Za-z0-9]{20,})`), looksRandom, true},
	{"a test key of Stripe", "k_test_", 2, 300, regexp.MustCompile(`\b[sr]k_test_([A-Za-z0-9]{20,})`), looksRandom, false},
	{"an API key", "kg_", 1, 200, regexp.MustCompile(`\bkg_(?:[a-z0-9]+_)?([A-Za-z0-9]{20,})\b`), looksRandom, false},
	{"a password in a URL", "://", 24, 300, regexp.MustCompile(`\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@"'<>]{0,64}:([A-Za-z0-9+=_~.-]{12,})@`), looksRandom, false},
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
		if l.tests && !f.live {
			continue
		}
		if at := f.spot(text); at >= 0 {
			return f.what, at
		}
	}
	if l.mail && !l.tests && bytes.ContainsRune(text, '@') {
		for _, m := range mailForm.FindAllSubmatchIndex(text, -1) {
			if !forExamples(string(text[m[2]:m[3]])) {
				return "an e-mail address", m[0]
			}
		}
	}
	return "", 0
}

// spot is where the form is in a text, -1 for nowhere. It looks around its sign only,
// so that a log of megabytes takes milliseconds.
func (f form) spot(text []byte) int {
	for from := 0; ; {
		i := bytes.Index(text[from:], []byte(f.sign))
		if i < 0 {
			return -1
		}
		at := from + i
		from = at + len(f.sign)
		begin, end := max(0, at-f.before), min(len(text), at+f.after)
		m := f.is.FindSubmatchIndex(text[begin:end])
		if m != nil && f.real(string(text[begin+m[2]:begin+m[3]])) {
			return begin + m[0]
		}
	}
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

// isKey says whether a text is a whole private key in PEM, also in a string of JSON or
// indented in YAML.
func isKey(s string) bool {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(s, `\n`, "\n"), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	block, _ := pem.Decode([]byte(strings.Join(lines, "\n")))
	return block != nil && bitsOf(string(block.Bytes)) > 4
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

// bitsOf is the Shannon entropy of a text, in bits a byte. Of 26 characters that
// were drawn from 32 it is less than 3.2 once in a million.
func bitsOf(s string) (bits float64) {
	counts := map[byte]float64{}
	for _, b := range []byte(s) {
		counts[b]++
	}
	for _, n := range counts {
		p := n / float64(len(s))
		bits -= p * math.Log2(p)
	}
	return bits
}
