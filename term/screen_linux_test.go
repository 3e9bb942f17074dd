package term

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/term"
)

// A screen takes the terminal over, and gives it back as it was.
func TestScreenGivesTheTerminalBack(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	state := func() term.State {
		t.Helper()
		s, err := term.GetState(int(terminal.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	before := state()
	s, err := OpenScreen(terminal, terminal)
	if err != nil {
		t.Fatal(err)
	}
	if state() == before {
		t.Error("keys are not read one by one")
	}
	if err := s.Draw([]string{"hello"}); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if state() != before {
		t.Error("the terminal is not as it was")
	}
	if err := s.Draw([]string{"late"}); err != nil {
		t.Error(err)
	}
}

func TestScreenNeedsATerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := OpenScreen(file, file); err == nil {
		t.Error("a file is a terminal")
	}
}

// Only what has changed is written, and everything after the size has.
func TestFrame(t *testing.T) {
	s := &Screen{}
	lines := func(n int, text string) string {
		return "\x1b[" + string(rune('0'+n)) + ";1H" + text + "\x1b[0m\x1b[K"
	}
	for _, test := range []struct {
		what          string
		lines         []string
		width, height int
		want          string
	}{
		{"the first", []string{"a", "too long", "c"}, 4, 3, "\x1b[2J" + lines(1, "a") + lines(2, "too…") + lines(3, "c")},
		{"the same", []string{"a", "too long", "c"}, 4, 3, ""},
		{"one line", []string{"a", "b", "c"}, 4, 3, lines(2, "b")},
		{"fewer", []string{"a"}, 4, 3, lines(2, "") + lines(3, "")},
		{"more than fits", []string{"a", "b", "c", "d"}, 4, 2, "\x1b[2J" + lines(1, "a") + lines(2, "b")},
	} {
		if d := cmp.Diff(beginFrame+test.want+endFrame, s.frame(test.lines, test.width, test.height)); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, d)
		}
	}
	if bytes.Contains([]byte(s.frame(nil, 4, 2)), []byte("a")) {
		t.Error("what is gone is drawn")
	}
}
