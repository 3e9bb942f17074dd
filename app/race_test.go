//go:build race

package app_test

// slower is what the race detector may make of a time.
const slower = 20
