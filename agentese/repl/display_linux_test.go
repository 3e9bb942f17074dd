package repl

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/creack/pty"

	"github.com/kgents/kgents/term"
)

// display is what a terminal of a size shows of what was written to it: as much of one
// as the editor needs.
type display struct {
	width, height int
	rows          [][]string // a cell is what stands there, "" behind a wide one
	x, y          int
	full          bool // the cursor is on the last column, and what comes next wraps
}

func newDisplay(width, height int) *display {
	d := &display{width: width, height: height, rows: make([][]string, height)}
	for y := range d.rows {
		d.rows[y] = d.blank()
	}
	return d
}

func (d *display) blank() []string {
	row := make([]string, d.width)
	for x := range row {
		row[x] = " "
	}
	return row
}

func (d *display) down() {
	if d.y++; d.y == d.height {
		d.rows, d.y = append(d.rows[1:], d.blank()), d.height-1
	}
}

func (d *display) write(text string) {
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := 2 + strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' })
			if end < 2 {
				return
			}
			d.obey(text[2:end], text[end])
			n = end + 1
		case r == '\x1b':
			n = 2
		case r == '\r':
			d.x, d.full = 0, false
		case r == '\n':
			d.down()
		case unicode.Is(unicode.Mn, r):
			d.rows[d.y][max(0, d.x-1)] += string(r)
		case !unicode.IsControl(r):
			d.put(string(r))
		}
		text = text[n:]
	}
}

func (d *display) put(cell string) {
	w := term.Width(cell)
	if d.full || d.x+w > d.width {
		d.x, d.full = 0, false
		d.down()
	}
	d.rows[d.y][d.x] = cell
	if w == 2 {
		d.rows[d.y][d.x+1] = ""
	}
	if d.x += w; d.x >= d.width {
		d.x, d.full = d.width-1, true
	}
}

func (d *display) obey(args string, what byte) {
	n, err := strconv.Atoi(args)
	count := n
	if err != nil {
		count = 1
	}
	switch what {
	case 'A':
		d.y = max(0, d.y-count)
	case 'B':
		d.y = min(d.height-1, d.y+count)
	case 'C':
		d.x = min(d.width-1, d.x+count)
	case 'D':
		d.x = max(0, d.x-count)
	case 'H':
		d.x, d.y = 0, 0
	case 'K':
		copy(d.rows[d.y][d.x:], d.blank())
	case 'J':
		if n == 0 {
			copy(d.rows[d.y][d.x:], d.blank())
		}
		for y := range d.rows {
			if n > 0 || y > d.y {
				d.rows[y] = d.blank()
			}
		}
	default:
		return
	}
	d.full = false
}

func (d *display) String() string {
	var b strings.Builder
	for _, row := range d.rows {
		b.WriteString(strings.TrimRight(strings.Join(row, ""), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// shows waits until the terminal's display is as ok wants it.
func (x *terminal) shows(what string, ok func(screen string) bool) {
	x.t.Helper()
	height, width, err := pty.Getsize(x.file)
	if err != nil {
		x.t.Fatal(err)
	}
	var screen string
	defer func() {
		if x.t.Failed() {
			x.t.Logf("there is:\n%s", screen)
		}
	}()
	x.until(what, func() bool {
		d := newDisplay(width, height)
		d.write(x.raw())
		screen = d.String()
		return ok(screen)
	})
}

// line is the row of the screen that the prompt is in, and those behind it, without the
// prompt.
func line(screen string) string {
	_, behind, _ := strings.Cut(screen, "›")
	if i := strings.LastIndex(screen, "›"); i >= 0 {
		behind = screen[i+len("›"):]
	}
	return strings.TrimSpace(behind)
}

// Letters are themselves, in whatever language; keys without a meaning leave nothing;
// Ctrl-D deletes what is under the cursor, and nothing where nothing is.
func TestTerminalKeys(t *testing.T) {
	for _, test := range []struct{ name, keys, want string }{
		{"beyond ASCII", "für ä ñ łódź 東京 🙂", "für ä ñ łódź 東京 🙂"},
		{"letters that are Meta elsewhere", "one two\xc3\xa4", "one twoä"}, // ä is Meta-d, which deletes a word
		{"combining", "cafe\u0301s", "cafe\u0301s"},
		{"a function key", "ab\x1b[15~cd", "abcd"},
		{"keys that mean nothing here", "a\x1b[2~b\x1b[5~\x1bOPc\x1b[1;5A\x1b[1;2Dd\x1b[24~e", "abcde"},
		{"Delete", "abc\x1b[D\x1b[3~", "ab"},
		{"Delete at the end", "abc\x1b[3~", "abc"},
		{"Home and End", "b\x1b[Ha\x1b[F\x1b[1~\x1b[4~c", "abc"},
		{"words", "one two\x1bbX\x1b[1;5DY\x1b[1;5C", "one YXtwo"},
		{"a control key", "ab\x1cc", "abc"},
		{"Ctrl-D at the end", "abc\x04", "abc"},
		{"Ctrl-D before the end", "abc\x1b[D\x04", "ab"},
		{"pasted", "\x1b[200~für ä\x1b[201~", "für ä"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := startTerminal(t, t.TempDir())
			x.prompted("/")
			x.send(test.keys + "|")
			x.shows(test.want, func(screen string) bool { return line(screen) == test.want+"|" })
		})
	}
}

// A terminal that can't be drawn on gets no escapes: it is asked for lines, a change is
// confirmed, Ctrl-C at a line goes on with the next, and Ctrl-D ends the shell.
func TestTerminalDumb(t *testing.T) {
	x := startTerminal(t, t.TempDir(), "TERM=dumb")
	x.expect("admin › ")
	x.send("world.nats.manifest\n")
	x.expect("NATS  ●")
	x.expect("admin › ")
	x.send("world.deadletter.refine[do=drop]\n")
	x.expect("Type drop to do it › ")
	x.send("drop\n")
	x.expect("Done: drop")
	x.expect("admin › ")
	x.send("half\x03self.status.manifest\n")
	x.expect("Status  ●")
	x.expect("admin › ")
	if strings.Contains(x.raw(), "\x1b") {
		t.Errorf("there are escapes: %q", x.raw())
	}
	x.send("\x04")
	x.expect("LEFT [drop]")
}

// Ctrl-Z where nobody could continue the program leaves it and the line as they are.
func TestTerminalSuspendAlone(t *testing.T) {
	x := startTerminal(t, t.TempDir())
	x.prompted("/")
	x.send("self.status.\x1a")
	x.shows("the line again", func(screen string) bool {
		return strings.Count(screen, "self.status.") == 2 && line(screen) == "self.status."
	})
	x.send("manifest\r")
	x.expect("Status  ●")
}

// The grey text is taken whole by the arrow, by End and by Ctrl-E, and name by name by
// Alt-F.
func TestTerminalGrey(t *testing.T) {
	for _, test := range []struct{ name, keys, want string }{
		{"arrow", "\x1b[C", "world.nats"},
		{"End", "\x1b[F", "world.nats"},
		{"Ctrl-E", "\x05", "world.nats"},
		{"Alt-F", "\x1bf", "world"},
		{"Alt-F twice", "\x1bf\x1bf", "world.nats"},
		{"before the end of the line", "\x1b[D\x05", "wor"},
	} {
		t.Run(test.name, func(t *testing.T) {
			x := startTerminal(t, t.TempDir())
			x.prompted("/")
			x.send("wor")
			x.shows("the grey text", func(screen string) bool { return line(screen) == "world.nats" })
			x.send(test.keys + "|")
			x.shows(test.want, func(screen string) bool { return line(screen) == test.want+"|" })
		})
	}
}

// A search in the history shows what it has found, takes any text for what it is, and
// runs only what it shows.
func TestTerminalSearch(t *testing.T) {
	x := startTerminal(t, t.TempDir())
	x.prompted("/")
	for _, text := range []string{"world.deadletter.refine[do=replay][dry_run=true]", "world.nats.manifest", "world.redis.manifest", "self.status.manifest"} {
		x.send(text + "\r")
		x.prompted("/")
	}
	marked := func(want string) {
		t.Helper()
		x.shows(want+" is marked", func(screen string) bool { return strings.Contains(screen, "\n› "+want+"\n") })
	}
	x.send("\x12MANIFEST") // Ctrl-R
	marked("self.status.manifest")
	x.send("\x12")
	marked("world.redis.manifest")
	x.send("\x1b[B") // the arrow down
	marked("world.nats.manifest")
	x.send("\x13") // Ctrl-S
	marked("world.redis.manifest")
	x.send("\x15refine[do= dry") // what would be no regular expression
	marked("world.deadletter.refine[do=replay][dry_run=true]")
	x.send("zz")
	x.shows("nothing is found", func(screen string) bool { return strings.Contains(screen, "no line has that") })
	x.send("\r") // runs nothing
	x.send("\x15nats")
	marked("world.nats.manifest")
	x.send("\x1b[C") // the arrow to the right: to be edited
	x.shows("the line", func(screen string) bool { return line(screen) == "world.nats.manifest" })
	x.send("\x15half\x12\x15status")
	marked("self.status.manifest")
	x.send("\x03") // Ctrl-C
	x.shows("the line that was", func(screen string) bool { return line(screen) == "half" })
	x.send("\x15\x12redis\r")
	x.shows("it has run", func(screen string) bool { return strings.Count(screen, "Redis  ●") == 2 && line(screen) == "" })
	x.send("\x04")
	x.expect("LEFT []")
}

// However many names there are, the line stays in sight above them.
func TestTerminalMenu(t *testing.T) {
	for _, rows := range []uint16{12, 24, 60} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			x := startTerminal(t, t.TempDir())
			x.prompted("/")
			if err := pty.Setsize(x.file, &pty.Winsize{Rows: rows, Cols: 60}); err != nil {
				t.Fatal(err)
			}
			x.send("clear\r")
			x.prompted("/")
			x.send("many.\t")
			x.shows("the menu", func(screen string) bool {
				return strings.Contains(screen, "› many.") && strings.Contains(screen, "name-000") && strings.Contains(screen, "there are more") && strings.Contains(screen, "see it")
			})
			x.send("\t")
			x.shows("the first of it", func(screen string) bool { return line(strings.SplitN(screen, "\n", 2)[0]) == "many.name-000" })
		})
	}
}

// What is told stands above a line of several rows, and stays there.
func TestTerminalTellsAboveRows(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health/saas" {
			once.Do(func() { close(asked) })
			<-answer
			fmt.Fprint(w, `{"status":"degraded","nats":{"status":"circuit_open"}}`)
		}
	}))
	defer server.Close()
	x := startTerminal(t, t.TempDir(), "REPL_TEST_URL="+server.URL)
	x.prompted("/")
	long := strings.Repeat("word ", 45) + "end"
	x.send(long)
	<-asked
	x.shows("the line", func(screen string) bool { return strings.HasSuffix(screen, "end") })
	close(answer)
	x.shows("the note and the line", func(screen string) bool {
		return strings.Contains(screen, "nats is circuit open\n● degraded") && strings.Count(strings.ReplaceAll(screen, "\n", ""), "word") == 45 && strings.HasSuffix(screen, "end")
	})
}

// Who comes for the first time is told what to write, and in no terminal is a word torn
// apart by the end of a row.
func TestTerminalGreets(t *testing.T) {
	for _, columns := range []uint16{40, 80, 200} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			state := t.TempDir()
			x := startTerminalOf(t, columns, state)
			first := func(screen string) bool {
				return strings.Contains(strings.ReplaceAll(screen, "\n", " "), "why are webhooks slow")
			}
			x.shows("what to write, and the keys", func(screen string) bool {
				return first(screen) && strings.Contains(screen, "Ctrl-D") && strings.HasSuffix(screen, "admin ›")
			})
			x.send("self.status.manifest\r")
			x.shows("it has run", func(screen string) bool { return strings.Contains(screen, "Status  ●") && line(screen) == "" })
			x.send("\x04")
			x.expect("LEFT []")
			again := startTerminalOf(t, columns, state)
			again.shows("the keys alone", func(screen string) bool { return !first(screen) && strings.HasSuffix(screen, "admin ›") })
		})
	}
}

// A paste of several lines is coloured line by line: what is well is not marked as wrong.
func TestTerminalPasteColours(t *testing.T) {
	x := startTerminal(t, t.TempDir())
	x.prompted("/")
	x.send("\x1b[200~world.nats.manifest\n/observer admin\nself.status.manifest\x1b[201~")
	x.shows("all of it", func(screen string) bool { return strings.HasSuffix(screen, "self.status.manifest") })
	if strings.Contains(x.raw(), "\x1b[31m") {
		t.Errorf("something is marked as wrong: %q", x.raw())
	}
}

// What is typed where a number was asked for is no answer, and not lost either.
func TestTerminalTypedAtPick(t *testing.T) {
	x := startTerminal(t, t.TempDir())
	x.prompted("/")
	x.send("where are keys kept\r")
	x.expect("n for none › ")
	x.send("self.status.manifest\r")
	x.expect("nothing was run")
	x.shows("it is the next line", func(screen string) bool { return line(screen) == "self.status.manifest" })
	x.send("\r")
	x.expect("Status  ●")
}
