package repl

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	xterm "golang.org/x/term"

	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
)

// TestMain is the shell itself when a test has started it at a terminal.
func TestMain(m *testing.M) {
	state := os.Getenv("REPL_TEST_STATE")
	if state == "" {
		os.Exit(m.Run())
	}
	t := &testing.T{}
	r := newRig(t, func(o *Options) {
		o.In, o.Out, o.Err, o.State, o.Observer, o.Chosen = os.Stdin, os.Stdout, os.Stderr, state, tree.Admin, true
		if url := os.Getenv("REPL_TEST_URL"); url != "" {
			o.Sources.API = &client.Client{URL: url, HTTP: http.DefaultClient}
		}
	})
	r.canned.corrections = map[string]match.Correction{
		"world.ciruit.manifest": {Verdict: match.Sure, Candidates: []match.Candidate{{Expr: "world.nats.circuit.manifest", Why: "ciruit → circuit"}}},
	}
	r.canned.found = map[string][]search.Suggestion{"where are keys kept": {{Expr: "world.redis.manifest", Why: "keys", Confident: true}, {Expr: "world.nats.manifest"}}}
	r.canned.completions = []match.Completion{{Text: "world.nats", Kind: match.KindHolon, Line: "where events wait"}, {Text: "world.redis", Kind: match.KindHolon, Line: "where identities are kept"}}
	for i := range 100 {
		r.canned.completions = append(r.canned.completions, match.Completion{Text: fmt.Sprintf("many.name-%03d", i), Kind: match.KindLive, Line: fmt.Sprintf("name %d", i)})
	}
	r.canned.completions = append(r.canned.completions, match.Completion{Text: "many.manifest", Kind: match.KindAspect, Line: "see it"})
	if err := r.Interactive(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("LEFT %v\n", r.system.dropped)
}

// terminal is a shell at a real pseudo-terminal.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	mu   sync.Mutex
	text strings.Builder
	seen int
	done chan struct{}

	before *xterm.State // of the terminal, before there was a shell
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;? ]*[a-zA-Z]|\x1b[=>]|\r`)

func startTerminal(t *testing.T, state string, env ...string) *terminal {
	t.Helper()
	return startTerminalOf(t, 100, state, env...)
}

// startTerminalOf is one of some columns.
func startTerminalOf(t *testing.T, columns uint16, state string, env ...string) *terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, cmd: exec.Command(self), done: make(chan struct{})}
	// Its temporary files are the test's, which removes them: nothing in it ends a test.
	x.cmd.Env = []string{"REPL_TEST_STATE=" + state, "TERM=xterm-256color", "HOME=" + state, "INPUTRC=/dev/null", "TMPDIR=" + t.TempDir()}
	x.cmd.Env = append(x.cmd.Env, env...)
	file, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	x.file = file
	if err := pty.Setsize(file, &pty.Winsize{Rows: 24, Cols: columns}); err != nil {
		t.Fatal(err)
	}
	if x.before, err = xterm.GetState(int(file.Fd())); err != nil {
		t.Fatal(err)
	}
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = tty, tty, tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(x.done)
		var b [4096]byte
		for {
			n, err := x.file.Read(b[:])
			x.mu.Lock()
			x.text.Write(b[:n])
			x.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill() // it has ended, unless the test has failed
		_, _ = x.cmd.Process.Wait()
		x.file.Close()
		<-x.done
	})
	return x
}

func (x *terminal) plain() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	text := strings.ReplaceAll(x.text.String(), "\x1b[?2004h", ready)
	return escapes.ReplaceAllString(text, "")
}

func (x *terminal) send(keys string) {
	x.t.Helper()
	if _, err := x.file.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// expect waits until text is written behind what was expected before.
func (x *terminal) expect(text string) {
	x.t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		all := x.plain()
		if i := strings.Index(all[min(x.seen, len(all)):], text); i >= 0 {
			x.seen += i + len(text)
			return
		}
		select {
		case <-tick.C:
		case <-late:
			x.t.Fatalf("%q is not written; there is:\n%s", text, all)
		}
	}
}

// ready stands for what the editor writes when it begins to read a line.
const ready = "«ready»"

// prompted waits for the next prompt, at a place.
func (x *terminal) prompted(place string) {
	x.t.Helper()
	x.expect(ready)
	x.expect(place + "  admin › ")
}

// A session as it is typed: completion, correction, a pick, a confirmation, Ctrl-C, a
// paste, the history, the end.
func TestTerminal(t *testing.T) {
	x := startTerminal(t, t.TempDir())
	x.prompted("/")
	x.send("world.n\t")
	x.expect("world.nats")
	x.send("\r")
	x.prompted("world.nats")
	x.send("/\r")
	x.prompted("/")

	x.send("world.ciruit.manifest\r")
	x.expect("ciruit → circuit")
	x.expect("Circuit")
	x.prompted("/")

	x.send("where are keys kept\r")
	x.expect("This may show it")
	x.expect("n for none › ")
	x.send("2\r")
	x.expect("NATS")
	x.prompted("/")

	x.send("world.deadletter.refine[do=drop]\r")
	x.expect("drop 2 dead letters")
	x.expect("Type drop to do it › ")
	x.send("\x03")
	x.expect("nothing was changed")
	x.prompted("/")
	x.send("world.deadletter.refine[do=drop]\r")
	x.expect("Type drop to do it › ")
	x.send("drop\r")
	x.expect("Done: drop")
	x.prompted("/")

	x.send("world.slow.manifest\r")
	x.expect("manifest\n")
	// The terminal is the program's again once it runs: only then Ctrl-C is a signal.
	x.until("the line runs", func() bool { return signals(t, x.file) })
	x.send("\x03")
	x.expect("stopped")
	x.prompted("/")

	x.send("half a line")
	x.expect("half a line")
	x.send("\x03")
	x.prompted("/")

	x.send("\x1b[200~self\nstatus\nmanifest\x1b[201~")
	x.expect("manifest")
	if strings.Contains(x.plain()[x.seen:], "Status") {
		t.Error("a paste has run without Enter")
	}
	x.send("\r")
	x.expect("» self")
	x.expect("Status")
	x.prompted("self.status")

	x.send("\x12keys") // Ctrl-R
	x.expect("where are keys kept")
	x.expect("Enter runs it")
	x.send("\r")
	x.expect("This may show it")
	x.expect("n for none › ")
	x.send("n\r")
	x.prompted("self.status")
	x.send("exit\r")
	x.expect("LEFT [drop]")
	if _, err := x.cmd.Process.Wait(); err != nil {
		t.Error(err)
	}
	after, err := xterm.GetState(int(x.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *after != *x.before {
		t.Error("the terminal is not as it was")
	}
}

// until waits for something that isn't written.
func (x *terminal) until(what string, ok func() bool) {
	x.t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			x.t.Fatalf("this never came: %s", what)
		}
	}
}

// What has changed is told above the line that is being typed, which stays.
func TestTerminalTells(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health/saas" {
			close(asked)
			<-answer
			fmt.Fprint(w, `{"status":"degraded","nats":{"status":"circuit_open"}}`)
		}
	}))
	defer server.Close()
	x := startTerminal(t, t.TempDir(), "REPL_TEST_URL="+server.URL)
	x.prompted("/")
	x.send("world.nats.man")
	x.expect("world.nats.man")
	<-asked
	close(answer)
	x.expect("nats is circuit open")
	x.expect("degraded")
	x.expect("world.nats.man")
	x.send("ifest\r")
	x.expect("NATS")
	x.prompted("/")
	x.send("\x04")
	x.expect("LEFT []")
}

// SIGTERM ends the shell and leaves the terminal as it was; Ctrl-D ends it, too.
func TestTerminalEnds(t *testing.T) {
	for _, how := range []string{"SIGTERM", "Ctrl-D"} {
		t.Run(how, func(t *testing.T) {
			x := startTerminal(t, t.TempDir())
			x.prompted("/")
			if how == "Ctrl-D" {
				x.send("\x04")
			} else {
				x.send("half a line")
				x.expect("half a line")
				if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			x.expect("LEFT []")
			if _, err := x.cmd.Process.Wait(); err != nil {
				t.Error(err)
			}
			after, err := xterm.GetState(int(x.file.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if *after != *x.before {
				t.Error("the terminal is not as it was")
			}
			if !strings.Contains(x.raw(), "\x1b[?2004l") {
				t.Error("the terminal still brackets what is pasted")
			}
		})
	}
}

func (x *terminal) raw() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// signals says whether Ctrl-C is a signal at this terminal.
func signals(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ISIG != 0
}
