package checklist

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"
)

// SignOff is a person's word that an item is done.
type SignOff struct {
	Item     string    `yaml:"item" json:"item"`
	By       string    `yaml:"by" json:"by"`
	At       time.Time `yaml:"at" json:"at"`
	Evidence string    `yaml:"evidence" json:"evidence"` // what was kept, and where

	// Until is when it must be looked at again, zero for never.
	Until time.Time `yaml:"until,omitempty" json:"until,omitzero"`
}

// SignOffs are the words of a file, the newest of an item counts.
type SignOffs []SignOff

// maxSignOffs bounds the file, and maxWord what a person writes in it.
const (
	maxSignOffs = 1 << 20
	maxWord     = 500
)

// ReadSignOffs reads the file, which need not be there. A word for an item that is
// not on the list, or one that a program looks at, is an error.
func ReadSignOffs(path string, l List) (SignOffs, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(text) > maxSignOffs {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSignOffs)
	}
	var file struct {
		SignOffs SignOffs `yaml:"sign_offs"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&file); err != nil {
		return nil, fmt.Errorf("%s can't be read: %s", path, yaml.FormatError(err, false, true))
	}
	for n, s := range file.SignOffs {
		if err := s.check(l); err != nil {
			return nil, fmt.Errorf("%s: sign-off %d: %w", path, n+1, err)
		}
	}
	return file.SignOffs, nil
}

// check says what is wrong with a word.
func (s SignOff) check(l List) error {
	i, ok := l.Item(s.Item)
	switch {
	case !ok:
		return fmt.Errorf("there is no item %q: 'kgents checklist list' shows them", s.Item)
	case i.Automatic:
		return fmt.Errorf("%s is looked at by 'kgents checklist', so nobody signs for it", s.Item)
	case s.At.IsZero():
		return fmt.Errorf("%s has no time", s.Item)
	case !s.Until.IsZero() && !s.Until.After(s.At):
		return fmt.Errorf("%s ends before it begins", s.Item)
	}
	for what, text := range map[string]string{"name": s.By, "evidence": s.Evidence} {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%s has no %s: say who signs with --by and what was kept with --evidence", s.Item, what)
		}
		if len(text) > maxWord || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("the %s of %s must be one line of at most %d bytes", what, s.Item, maxWord)
		}
	}
	return nil
}

// Add appends a word to the file, which it makes when it is not there; the file
// appears whole or stays as it was.
func (s SignOff) Add(path string, l List) error {
	if err := s.check(l); err != nil {
		return err
	}
	all, err := ReadSignOffs(path, l)
	if err != nil {
		return err
	}
	all = append(all, s)
	slices.SortStableFunc(all, func(a, b SignOff) int { return cmp.Or(cmp.Compare(a.Item, b.Item), a.At.Compare(b.At)) })
	text, err := yaml.Marshal(map[string]SignOffs{"sign_offs": all})
	if err != nil {
		return err
	}
	const head = "# Who looked at what no program can look at. Written by 'kgents checklist sign';\n# commit it, so that the history says who changed what.\n"
	f, err := os.CreateTemp(filepath.Dir(path), ".sign-offs-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.WriteString(head + string(text))
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Of is what the words for an item that a person looks at come to at a time: Signed or
// Open.
func (all SignOffs) Of(i Item, now time.Time) Finding {
	f, _ := all.finding(i, now)
	return f
}

// finding is what the words for an item come to at a time.
func (all SignOffs) finding(i Item, now time.Time) (Finding, *SignOff) {
	var last *SignOff
	for n := range all {
		if all[n].Item == i.ID && (last == nil || !all[n].At.Before(last.At)) {
			last = &all[n]
		}
	}
	next := fmt.Sprintf("do its steps, then: kgents checklist sign %s --by NAME --evidence WHERE", i.ID)
	switch {
	case last == nil:
		return Finding{Open, "nobody has signed for it", next}, nil
	case !last.Until.IsZero() && now.After(last.Until):
		return Finding{Open, fmt.Sprintf("%s signed on %s, until %s", last.By, last.At.Format(time.DateOnly), last.Until.Format(time.DateOnly)), next}, last
	case last.At.After(now.Add(24 * time.Hour)):
		return Finding{Open, fmt.Sprintf("%s signed for a day to come, %s", last.By, last.At.Format(time.DateOnly)), next}, last
	default:
		return Finding{Signed, fmt.Sprintf("%s on %s: %s", last.By, last.At.Format(time.DateOnly), last.Evidence), ""}, last
	}
}
