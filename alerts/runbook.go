package alerts

import (
	_ "embed"
	"strings"
)

//go:embed sections.txt
var sections string

// Sections are the anchors of docs/saas/runbook.md, where alerts lead to.
func Sections() map[string]bool {
	out := map[string]bool{}
	for anchor := range strings.FieldsSeq(sections) {
		out[anchor] = true
	}
	return out
}
