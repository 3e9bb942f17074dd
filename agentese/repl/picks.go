package repl

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
)

// Bounds of what is kept of picks: how many, how long a line of their file is in bytes,
// and for how long.
const (
	maxPicks    = search.MaxLearnt
	maxPickLine = 2_000
	picksLast   = 365 * 24 * time.Hour
)

// pick is that a person took an expression for words.
type pick struct {
	At       time.Time `json:"at"`
	Question string    `json:"question"` // masked
	Expr     string    `json:"expression"`
}

// well says whether a pick, which may be from a file, is one.
func (p pick) well() bool {
	return !p.At.IsZero() && p.Question != "" && p.Expr != "" && len(p.Question) <= search.MaxQuestion && len(p.Expr) <= maxPickLine/2 &&
		!hasControl(p.Question+p.Expr) && mask(p.Question) == p.Question && mask(p.Expr) == p.Expr
}

// picks are the newest maxPicks, oldest first. What is no pick is passed over.
func (k *keep) picks() ([]pick, error) {
	f, err := os.Open(k.path("picks.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = maxPicks * maxPickLine
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, err
	}
	var out []pick
	for line := range bytes.Lines(b) {
		var p pick
		if len(line) <= maxPickLine && json.Unmarshal(line, &p) == nil && p.well() {
			out = append(out, p)
		}
	}
	return out[max(0, len(out)-maxPicks):], nil
}

// addPick writes the file anew with one more, while no other shell does. The same
// question has one pick: its last.
func (k *keep) addPick(p pick) error {
	return k.locked(func() error {
		all, err := k.picks()
		if err != nil {
			return err
		}
		var kept []pick
		for _, old := range all {
			if !strings.EqualFold(old.Question, p.Question) {
				kept = append(kept, old)
			}
		}
		kept = append(kept, p)
		var b bytes.Buffer
		for _, p := range kept[max(0, len(kept)-maxPicks):] {
			if err := writeJSON(&b, p); err != nil {
				return err
			}
		}
		return k.replace("picks.jsonl", b.Bytes())
	})
}

// learn remembers what a person picked for words: for this session, and without what
// looks like a key for the next ones.
func (s *Shell) learn(words, expr string, person bool) {
	s.search.Learn(words, expr)
	if s.keep == nil || !person {
		return
	}
	question := mask(strings.TrimSpace(words))
	question = strings.ToValidUTF8(question[:min(len(question), search.MaxQuestion)], "")
	p := pick{At: s.o.Now().UTC().Truncate(time.Second), Question: question, Expr: expr}
	if !p.well() {
		return
	}
	if err := s.keep.addPick(p); err != nil {
		s.say(s.style.Faint("what was picked can't be kept: " + printable(err.Error())))
	}
}

// recall hands what was picked in earlier sessions to the search, as far as it still
// means something here.
func (s *Shell) recall() error {
	if s.keep == nil {
		return nil
	}
	picks, err := s.keep.picks()
	if err != nil {
		return err
	}
	all := &tree.Session{Observer: tree.Admin, Clock: s.o.Now}
	now := s.o.Now()
	var uses []search.Use
	for _, p := range picks {
		if age := now.Sub(p.At); age > picksLast || age < -24*time.Hour {
			continue
		}
		e, err := agentese.Parse(p.Expr)
		if err != nil || len(e.Steps) != 1 {
			continue
		}
		if _, _, err := s.tree.Resolve(e.Steps[0], all); err == nil {
			uses = append(uses, search.Use{Question: p.Question, Expr: p.Expr, At: p.At})
		}
	}
	s.search.Recall(uses)
	return nil
}
