package repl

import (
	"strings"
	"unicode"
	"unicode/utf8"

	secret "github.com/kgents/kgents/agentese/mask"
)

// masked stands for a secret.
const masked = secret.Masked

// mask is a line without what looks like a secret.
func mask(line string) string { return secret.Secrets(line) }

// hasControl says whether text has what no line may have.
func hasControl(text string) bool {
	return !utf8.ValidString(text) || strings.IndexFunc(text, unicode.IsControl) >= 0
}
