// Package docs holds the documentation of the language and of the shell as data, beside
// package saas, which holds all other pages. It reads nothing while the program runs.
package docs

import _ "embed"

// The pages, as they stand in this folder.
var (
	//go:embed agentese.md
	Agentese string
	//go:embed shell.md
	Shell string
)
