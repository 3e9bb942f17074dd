package backup

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents"
)

const (
	day = 24 * time.Hour

	// keepAll is how long every backup is kept, and a folder without a manifest,
	// which may be a backup that is under way.
	keepAll = day
)

// Pruned is what a Prune did, or would do.
type Pruned struct {
	Kept    []Entry `json:"kept"`
	Deleted []Entry `json:"deleted"`

	// Strange are folders that are named like a backup and that nobody but a person
	// may judge: they are damaged, or hold another stream or a stranger's file.
	Strange []Entry `json:"strange"`
}

// Prune deletes a stream's backups that are not to be kept. Kept are all that began
// in the 24 hours before at, and the last of each day (UTC) of the days before it; of
// days 0 all. The newest whole backup is kept however old it is, and so is the last one
// before the stream began anew: after a loss it is the one to restore. So are folders
// and files that no Save of this stream has made. What has no manifest is deleted when
// it is a day old. With dry nothing is deleted.
//
// A manifest goes first, so that what an interrupted Prune leaves is no backup.
func Prune(ctx context.Context, store Store, stream string, days int, at time.Time, dry bool) (Pruned, error) {
	p := Pruned{Kept: []Entry{}, Deleted: []Entry{}, Strange: []Entry{}}
	all, err := List(ctx, store)
	if err != nil {
		return p, err
	}
	lastOf := map[string]bool{} // days that have a whole backup later than the one that is looked at
	var next Entry              // that backup
	for _, e := range slices.Backward(all) {
		switch {
		case e.State == Damaged || e.State == Whole && e.Stream != stream || e.strange() != "":
			if e.Problem == "" && e.strange() != "" {
				e.Problem = e.strange() + " is none of a backup's files"
			}
			p.Strange = append(p.Strange, e)
		case e.State == Whole && keep(e, next, lastOf, days, at),
			e.State == Unfinished && (days == 0 || at.Sub(e.Began) < keepAll):
			p.Kept = append(p.Kept, e)
		default:
			if !dry {
				if err := e.remove(ctx, store); err != nil {
					return p, err
				}
			}
			p.Deleted = append(p.Deleted, e)
		}
		if e.State == Whole && e.Stream == stream {
			next = e
		}
	}
	return p, nil
}

func keep(e, next Entry, lastOf map[string]bool, days int, at time.Time) bool {
	date := e.Began.UTC().Format(time.DateOnly)
	last := !lastOf[date]
	lastOf[date] = true
	age := at.Sub(e.Began)
	return next.Name == "" || next.anew(e) || days == 0 || age < keepAll || last && age < time.Duration(days)*day
}

// strange is a file in the folder that no Save has made.
func (e Entry) strange() string {
	for _, f := range e.files {
		if !ourFile.MatchString(strings.TrimSuffix(f.Name, Part)) {
			return f.Name
		}
	}
	return ""
}

// remove deletes a backup's files.
func (e Entry) remove(ctx context.Context, store Store) error {
	files := slices.Clone(e.files)
	slices.SortStableFunc(files, func(a, b File) int {
		switch {
		case a.Name == manifestName:
			return -1
		case b.Name == manifestName:
			return 1
		}
		return 0
	})
	for _, f := range files {
		if err := store.Remove(ctx, e.Name, f.Name); err != nil {
			return kgents.Errorf(kgents.ErrorCode(err), "%s/%s could not be deleted: %v", e.Name, f.Name, err)
		}
	}
	return nil
}
