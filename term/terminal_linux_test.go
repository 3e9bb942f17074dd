package term

import (
	"os"
	"testing"
)

// A terminal gets colour, unless the user or the terminal says no.
func TestColourForATerminal(t *testing.T) {
	// A new pseudo-terminal; CI has no other.
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if !IsTerminal(terminal) {
		t.Fatal("a pseudo-terminal is no terminal")
	}
	for _, test := range []struct {
		name, noColor, term string
		want                bool
	}{
		{"a terminal", "", "xterm-256color", true},
		{"a terminal whose kind is not told", "", "", true},
		{"a user who wants none", "1", "xterm-256color", false},
		{"a user who wants none, whatever the value", "0", "xterm-256color", false},
		{"a dumb terminal", "", "dumb", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", test.noColor)
			t.Setenv("TERM", test.term)
			if got := StyleFor(terminal).on; got != test.want {
				t.Errorf("colour is %v, want %v", got, test.want)
			}
		})
	}
}
