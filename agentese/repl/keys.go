package repl

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	xterm "golang.org/x/term"
)

// movingKeys are what terminals send for keys by which one moves and deletes. The editor
// knows some of them from /etc/inputrc alone, which isn't everywhere.
var movingKeys = map[string][]string{
	"beginning-of-line": {"\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"},
	"end-of-line":       {"\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"},
	"delete-char":       {"\x1b[3~"},
	"forward-word":      {"\x1b[1;5C", "\x1b[1;3C"},
	"backward-word":     {"\x1b[1;5D", "\x1b[1;3D"},
}

// idleKeys are what terminals send for keys that mean nothing here: unbound they would
// leave letters in the line.
func idleKeys() []string {
	keys := []string{"\x1b[2~", "\x1b[5~", "\x1b[6~", "\x1b[I", "\x1b[O", "\x1bOP", "\x1bOQ", "\x1bOR", "\x1bOS"} // Insert, Page Up and Down, focus, F1 to F4
	for _, n := range []int{11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 23, 24} {                                     // F1 to F12
		keys = append(keys, fmt.Sprintf("\x1b[%d~", n))
	}
	for modifier := 2; modifier <= 8; modifier++ { // Shift, Alt and Ctrl with the arrows
		for _, arrow := range "ABCD" {
			if words := modifier == 3 || modifier == 5; !words || arrow < 'C' {
				keys = append(keys, fmt.Sprintf("\x1b[1;%d%c", modifier, arrow))
			}
		}
	}
	return keys
}

// suspend gives the terminal back as it was and stops the program, as Ctrl-Z does
// elsewhere; fg brings it and the line back. Where nobody could continue it, the system
// doesn't stop it, and nothing happens.
func (e *editor) suspend() {
	e.rl.History.SkipSave()
	in := int(e.s.o.In.Fd())
	raw, err := xterm.GetState(in)
	if err != nil || e.before == nil {
		return
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	e.rl.Display.CursorBelowLine()
	_, _ = io.WriteString(e.s.o.Out, "\x1b[J\x1b[?2004l")
	_ = xterm.Restore(in, e.before)
	_ = syscall.Kill(0, syscall.SIGTSTP) // all of the job
	select {
	case <-continued:
	case <-time.After(stopsWithin):
	}
	_ = xterm.Restore(in, raw)
	_, _ = io.WriteString(e.s.o.Out, "\x1b[?2004h\r"+e.room())
	e.rl.Display.PrintPrimaryPrompt()
	e.rl.Display.Refresh()
}

// stopsWithin is how long the system may take to stop a program that has asked for it.
const stopsWithin = 200 * time.Millisecond
