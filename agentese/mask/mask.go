// Package mask takes what looks like a secret out of a line, before it is kept or sent
// to where it is kept: history, audit, the headers of requests.
package mask

import (
	"regexp"
	"strings"
	"unicode"
)

// Masked stands for a secret.
const Masked = "•••"

// secrets are what keys look like: ours, Stripe's, bearer tokens, JSON Web Tokens,
// passwords in URLs, long strings of letters and digits. What names a key (kg_ and its
// prefix alone) is none.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`\b(kg_[a-z0-9]+_)[A-Za-z0-9_-]{8,}`),
	regexp.MustCompile(`\b((?:sk|rk|pk)_(?:live|test)_)[A-Za-z0-9]+`),
	regexp.MustCompile(`\b(whsec_)[A-Za-z0-9+/=_-]+`),
	regexp.MustCompile(`(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`\b(ey[A-Za-z0-9_-]{3})[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*`),
	regexp.MustCompile(`(?i)((?:password|passwd|secret|token|api_?key)"?\s*[=:]\s*"?)[^\s\]"]+`),
	regexp.MustCompile(`(?i)\b(authorization"?\s*[=:]\s*"?(?:[a-z]+\s+)?)[^\s\]"]+`),
	regexp.MustCompile(`(://[^\s/:@]*:)[^\s/@]+@`),
	regexp.MustCompile(`\b(AGE-SECRET-KEY-1)[A-Z0-9]+`),
}

// long is what may be a key of others: 40 or more of what base64 and hex are made of.
var long = regexp.MustCompile(`[A-Za-z0-9+/_=]{40,}`)

// Secrets is a line without what looks like a secret. What is masked once stays so.
func Secrets(line string) string {
	for _, s := range secrets {
		end := Masked
		if strings.HasSuffix(s.String(), "@") {
			end += "@"
		}
		line = s.ReplaceAllString(line, "${1}"+end)
	}
	return long.ReplaceAllStringFunc(line, func(s string) string {
		if strings.ContainsAny(s, "0123456789") && strings.IndexFunc(s, unicode.IsLetter) >= 0 {
			return s[:4] + Masked
		}
		return s
	})
}
