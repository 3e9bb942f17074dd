package self

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
)

// MaxNotes is how many notes are kept, MaxNote how long one may be, in bytes.
const (
	MaxNotes = 500
	MaxNote  = 2000
)

// Note is one of them. Numbers are not given twice while a later note is there.
type Note struct {
	ID   int       `json:"id"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
	Span string    `json:"span,omitempty"`
}

// notes keeps them in a file of its directory, or in memory without one. Several
// shells of a user may share the file: each reads it again before it writes; of two that
// write at the very same moment the later one counts.
type notes struct {
	path string // empty: in memory

	mu   sync.Mutex
	kept []Note // without a path
}

func newNotes(dir string) *notes {
	if dir == "" {
		return &notes{}
	}
	return &notes{path: filepath.Join(dir, "notes.json")}
}

func (n *notes) lasting() bool { return n.path != "" }

func (n *notes) count() int {
	all, err := n.all()
	if err != nil {
		return 0
	}
	return len(all)
}

func (n *notes) all() ([]Note, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.read()
}

func (n *notes) add(note *Note) error {
	return n.change(func(all []Note) ([]Note, error) {
		if len(all) >= MaxNotes {
			return nil, fmt.Errorf("there are %d notes already", MaxNotes)
		}
		for _, o := range all {
			note.ID = max(note.ID, o.ID)
		}
		note.ID++
		return append(all, *note), nil
	})
}

func (n *notes) put(note Note) error {
	return n.change(func(all []Note) ([]Note, error) {
		all = append(all, note)
		slices.SortStableFunc(all, func(a, b Note) int { return a.ID - b.ID })
		return all, nil
	})
}

func (n *notes) drop(id int) (found bool, err error) {
	err = n.change(func(all []Note) ([]Note, error) {
		left := slices.DeleteFunc(all, func(o Note) bool { return o.ID == id })
		found = len(left) < len(all)
		return left, nil
	})
	return found, err
}

func (n *notes) change(f func([]Note) ([]Note, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	all, err := n.read()
	if err != nil {
		return err
	}
	if all, err = f(all); err != nil {
		return err
	}
	return n.write(all)
}

func (n *notes) read() ([]Note, error) {
	if n.path == "" {
		return slices.Clone(n.kept), nil
	}
	info, err := os.Stat(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var text []byte
	if err == nil && info.Size() > 4*MaxNotes*MaxNote {
		err = errors.New("it is larger than notes can be")
	}
	if err == nil {
		text, err = os.ReadFile(n.path)
	}
	var all []Note
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, &agentese.Error{Kind: agentese.KindAway, What: "the notes can't be read", Why: err.Error(), Try: []string{"move " + n.path + " away to begin anew"}, Cause: err}
	}
	if len(all) > MaxNotes {
		all = all[len(all)-MaxNotes:]
	}
	for i := range all { // somebody may have written into the file
		all[i].Text, all[i].Span = printable(all[i].Text, true), printable(all[i].Span, false)
	}
	return all, nil
}

// write has the file appear whole, for the user alone.
func (n *notes) write(all []Note) error {
	if n.path == "" {
		n.kept = all
		return nil
	}
	text, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(n.path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(n.path), ".notes-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), n.path)
}

// secret is how keys look that are handed around with this program.
var secret = regexp.MustCompile(`\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8}|\bwhsec_[A-Za-z0-9+/=]{8}|\bkg_[A-Za-z0-9_]{12}|-----BEGIN [A-Z ]*PRIVATE KEY`)

// tidy is a note as it is kept: without control characters, and refused when it is
// empty, too long, or has a secret in it.
func tidy(text string) (string, error) {
	text = strings.TrimSpace(printable(text, true))
	switch {
	case text == "":
		return "", clause("there is nothing to remember: write [note=…], or pipe something in", `self.memory.refine[note="acme was told on Monday"]`)
	case len(text) > MaxNote:
		return "", clause(fmt.Sprintf("a note has at most %d bytes, and this has %d", MaxNote, len(text)), "pipe less: [columns=…] and [first=…] narrow a table")
	case secret.MatchString(text):
		return "", &agentese.Error{Kind: agentese.KindDeclined, What: "this looks like a secret, and notes are no place for one", Try: []string{"note where the secret is kept instead"}}
	}
	return text, nil
}

// printable drops what a terminal would take for a command. Tabs, and line ends if they
// may be there, stay.
func printable(text string, lines bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' && lines, r == '\t':
			return r
		case r == '\n':
			return ' '
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, text)
}

// short is the first words of a note, for a question.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) > 70 {
		text = string([]rune(text)[:69]) + "…"
	}
	return text
}

// flat is a value as the text of a note.
func flat(v tree.Value) string {
	var b strings.Builder
	line := func(text string) {
		if text != "" {
			b.WriteString(text + "\n")
		}
	}
	line(v.Title)
	if v.State != "" {
		line("state: " + string(v.State))
	}
	for _, f := range v.Fields {
		line(strings.TrimSpace(f.Name + ": " + word(f.Value) + " " + f.Unit))
	}
	line(v.Text)
	if v.Table != nil {
		var names []string
		for _, c := range v.Table.Columns {
			names = append(names, c.Name)
		}
		line(strings.Join(names, "\t"))
		for _, row := range v.Table.Rows {
			var cells []string
			for _, cell := range row {
				cells = append(cells, word(cell))
			}
			line(strings.Join(cells, "\t"))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String()
}

func word(v any) string {
	switch x := v.(type) {
	case nil:
		return "unknown"
	case time.Time:
		return x.UTC().Format(time.RFC3339)
	default:
		return fmt.Sprint(x)
	}
}
