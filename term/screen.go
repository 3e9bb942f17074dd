package term

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The sequences of a screen (xterm's control sequences, ctlseqs): another buffer, so
// that what stood in the terminal is there again at the end; no cursor; and what is
// between the last two is shown at once by terminals that know them.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h"
	endFrame    = "\x1b[?2026l"
)

// Screen is the whole terminal, for a view that is drawn again as it changes. Close it,
// or the terminal stays as it is.
type Screen struct {
	in, out *os.File
	before  *term.State
	keys    chan byte
	done    chan struct{}  // closed by Close
	reading sync.WaitGroup // read

	mu     sync.Mutex
	closed bool
	shown  []string // lines that are on the screen
	width  int
	height int
}

// OpenScreen takes over the terminal that in and out are.
func OpenScreen(in, out *os.File) (*Screen, error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil, errors.New("this is no terminal")
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	s := &Screen{in: in, out: out, before: before, keys: make(chan byte, 16), done: make(chan struct{})}
	if _, err := out.WriteString(enterScreen); err != nil {
		s.Close()
		return nil, err
	}
	s.reading.Go(s.read)
	return s, nil
}

// glance is how long read waits for a key before it looks whether it is to end: a read
// of a terminal can't be called off, and one that outlived Close would take a key from
// who reads next.
const glance = 50 // ms

// read passes keys on until the input ends or Close.
func (s *Screen) read() {
	defer close(s.keys)
	var b [16]byte
	for {
		select {
		case <-s.done:
			return
		default:
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}}, glance)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if ready <= 0 {
			continue
		}
		n, err := s.in.Read(b[:])
		if err != nil {
			return
		}
		for _, key := range b[:n] {
			select {
			case s.keys <- key:
			default: // nobody has looked for a while
			}
		}
	}
}

// CtrlC is the key that ends a program: a screen gets it as any other.
const CtrlC = 3

// Keys yields what is typed, byte by byte, and is closed when the input ends.
func (s *Screen) Keys() <-chan byte { return s.keys }

// Size is the terminal's columns and lines now, 80 and 24 if it doesn't tell.
func (s *Screen) Size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// Draw shows lines from the top; what doesn't fit is cut. Only what has changed is
// written, all of it after the terminal's size has.
func (s *Screen) Draw(lines []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	width, height := s.Size()
	_, err := s.out.WriteString(s.frame(lines, width, height))
	return err
}

// frame is what to write for lines to be on a screen of this size.
func (s *Screen) frame(lines []string, width, height int) string {
	var b strings.Builder
	b.WriteString(beginFrame)
	if width != s.width || height != s.height {
		s.width, s.height, s.shown = width, height, nil
		b.WriteString("\x1b[2J")
	}
	next := make([]string, height)
	for i := range next {
		if i < len(lines) {
			next[i] = Cut(lines[i], width)
		}
		if i < len(s.shown) && s.shown[i] == next[i] {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[0m\x1b[K", i+1, next[i])
	}
	s.shown = next
	b.WriteString(endFrame)
	return b.String()
}

// Close gives the terminal back as it was, and reads nothing more of it. It may be
// called twice.
func (s *Screen) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.done)
	s.reading.Wait()
	_, err := s.out.WriteString(leaveScreen)
	return errors.Join(err, term.Restore(int(s.in.Fd()), s.before))
}
