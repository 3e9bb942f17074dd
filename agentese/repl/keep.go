package repl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kgents/kgents/agentese/tree"
)

// Bounds of what is kept between sessions. An audit file of maxAudit bytes is put away
// as audit.1.jsonl, and keepAudits such files are there at most.
const (
	maxHistory = 2_000
	maxAudit   = 4 << 20
	keepAudits = 3
	maxSession = 64 << 10 // bytes of a session's file that are read
)

// StateDir is where a shell keeps its history, session, notes and audit unless told
// otherwise: $XDG_STATE_HOME/kgents, else ~/.local/state/kgents. Empty if there is no
// home either.
func StateDir() string {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kgents")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "state", "kgents")
}

// keep is the state directory. Each file is of the user alone. Several shells may use
// one directory: what adds lines does so under a lock.
type keep struct{ dir string }

// openKeep makes the directory if need be. Its error says that nothing is kept.
func openKeep(dir string) (*keep, error) {
	if dir == "" {
		return nil, errors.New("there is no home directory: name one with --state")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	return &keep{dir: dir}, nil
}

func (k *keep) path(name string) string { return filepath.Join(k.dir, name) }

// locked does f while no other shell does.
func (k *keep) locked(f func() error) error {
	l, err := os.OpenFile(k.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer l.Close() // gives the lock back
	if err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	return f()
}

// appendTo adds text to a file, on the disk when it returns if sync.
func (k *keep) appendTo(name, text string, sync bool) error {
	f, err := os.OpenFile(k.path(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil && sync {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace writes a file anew: the old one or the new one is there, never half of it.
func (k *keep) replace(name string, b []byte) error {
	f, err := os.CreateTemp(k.dir, name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), k.path(name))
}

// audit adds an entry, on the disk when it returns.
func (k *keep) audit(e tree.AuditEntry) error {
	e.Text, e.Error = mask(e.Text), mask(e.Error)
	masked := make([]string, len(e.Does))
	for i, line := range e.Does {
		masked[i] = mask(line)
	}
	e.Does = masked
	var b bytes.Buffer
	if err := writeJSON(&b, e); err != nil { // what others have named moves no cursor of who reads it
		return err
	}
	return k.locked(func() error {
		if info, err := os.Stat(k.path("audit.jsonl")); err == nil && info.Size()+int64(b.Len()) > maxAudit {
			for i := keepAudits; i > 1; i-- {
				older := fmt.Sprintf("audit.%d.jsonl", i)
				if err := os.Rename(k.path(fmt.Sprintf("audit.%d.jsonl", i-1)), k.path(older)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			if err := os.Rename(k.path("audit.jsonl"), k.path("audit.1.jsonl")); err != nil {
				return err
			}
		}
		return k.appendTo("audit.jsonl", b.String(), true)
	})
}

// entry is a line of the history.
type entry struct {
	at   time.Time
	line string
}

// remember adds a line to the history's file, and shortens the file now and then.
func (k *keep) remember(e entry) error {
	return k.locked(func() error {
		if err := k.appendTo("history", e.at.UTC().Format(time.RFC3339)+"\t"+e.line+"\n", false); err != nil {
			return err
		}
		info, err := os.Stat(k.path("history"))
		if err != nil || info.Size() < 64*maxHistory {
			return err
		}
		all, err := k.history()
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, e := range all {
			b.WriteString(e.at.UTC().Format(time.RFC3339) + "\t" + e.line + "\n")
		}
		if b.Len() == int(info.Size()) {
			return nil
		}
		return k.replace("history", []byte(b.String()))
	})
}

// history is the newest maxHistory lines, oldest first. What is no line of a history
// is passed over.
func (k *keep) history() ([]entry, error) {
	f, err := os.Open(k.path("history"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The end of it: lines are long at most as an input is.
	const most = 4 << 20
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, most+maxHistory))
	if err != nil {
		return nil, err
	}
	var out []entry
	for line := range strings.Lines(string(b)) {
		stamp, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		at, err := time.Parse(time.RFC3339, stamp)
		if !ok || err != nil || text == "" || hasControl(text) {
			continue
		}
		out = append(out, entry{at, text})
	}
	return out[max(0, len(out)-maxHistory):], nil
}

// session is what is restored.
type session struct {
	Place    []string `json:"place"`
	Observer string   `json:"observer"`
}

func (k *keep) saveSession(s session) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return k.replace("session.json", append(b, '\n'))
}

// lastSession is the one before; its error is that there is a file which is none.
func (k *keep) lastSession() (s session, ok bool, err error) {
	f, err := os.Open(k.path("session.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSession))
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return session{}, false, err
	}
	return s, true, nil
}
