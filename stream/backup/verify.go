package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/kgents/kgents"
)

// Report is what Verify found.
type Report struct {
	Dir      string    `json:"dir"`              // where the backup is
	Backup   string    `json:"backup,omitempty"` // its name, in a store
	Sound    bool      `json:"sound"`            // there are no problems
	Manifest Manifest  `json:"manifest"`
	Problems []Problem `json:"problems"`

	// Opened says that the messages were read. Of a sealed backup without its
	// identity they were not: every byte that is stored is what was written all the
	// same.
	Opened bool `json:"opened"`
}

// Problem is a file that is not what was written.
type Problem struct {
	File string `json:"file"`
	What string `json:"what"`
}

// Verify reads all of a backup and compares it with its manifest. It needs no
// server, and of a sealed backup no identity, and changes nothing. The error says
// that there is no manifest that can be believed, that the identity at hand is
// another's, or that ctx has ended; damage to other files is in the report.
func Verify(ctx context.Context, from Source, progress Progress) (Report, error) {
	r := Report{Dir: from.String(), Problems: []Problem{}}
	var err error
	if r.Manifest, err = from.Manifest(ctx); err != nil {
		return r, err
	}
	if from.Store != nil {
		r.Backup = from.Name
	}
	r.Opened = !r.Manifest.sealed() || !from.Identities.None()
	total, done := r.Manifest.Messages(), uint64(0)
	for _, s := range r.Manifest.Streams {
		got := Stream{Name: s.Name, Kind: s.Kind, Config: s.Config, Segments: s.Segments}
		damaged := false
		before := uint64(0)
		for _, seg := range s.Segments {
			got.Bytes += seg.Bytes
			begin := done
			err := r.read(ctx, from, seg, func(m message) error {
				got.count(m)
				done++
				progress.tell(min(done, total), total)
				return nil
			})
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if errors.Is(err, errKey) {
				return r, r.Manifest.keyError(from)
			}
			if err == nil && seg.First <= before {
				err = fmt.Errorf("its messages do not come after those of the file before")
			}
			if err != nil {
				damaged = true
				r.Problems = append(r.Problems, Problem{seg.File, err.Error()})
			}
			before = seg.Last
			done = begin + seg.Messages
			progress.tell(min(done, total), total)
		}
		if !damaged && r.Opened && !got.same(s) {
			r.Problems = append(r.Problems, Problem{manifestName, "stream " + s.Name + ": the sums are not those of its files"})
		}
	}
	r.Sound = len(r.Problems) == 0
	return r, nil
}

// read reads a segment, or checks it where its messages can't be read. That no
// identity opens it is the answer only of a file that is what was written.
func (r Report) read(ctx context.Context, from Source, seg Segment, f func(message) error) error {
	if !r.Opened {
		return seg.check(ctx, from)
	}
	err := seg.read(ctx, from, f)
	if errors.Is(err, errKey) {
		return cmp.Or(seg.check(ctx, from), err)
	}
	return err
}

// same compares the sums, but that of events: it is what headers were read to say,
// and a later program may read them otherwise.
func (s Stream) same(o Stream) bool {
	return s.Messages == o.Messages && s.Bytes == o.Bytes && s.First == o.First && s.Last == o.Last &&
		s.Oldest.Equal(o.Oldest) && s.Newest.Equal(o.Newest)
}

// err is what a restore says of a backup that is not sound.
func (r Report) err() error {
	if r.Sound {
		return nil
	}
	p := r.Problems[0]
	more := ""
	if n := len(r.Problems) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more problems", n)
	}
	return kgents.Errorf(kgents.CodeInvalid, "the backup %s is damaged: %s: %s%s; nothing was restored", r.Dir, p.File, p.What, more)
}
