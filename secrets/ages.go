package secrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// agesFile is the record of when each secret was made, which a deployment puts into
// the ConfigMap AgesConfigMap. It holds names and times, no values.
//
// A file's time of change is no such record: a copy has a new one, and several secrets
// share a file. Nor is a Secret's creationTimestamp: a Secret with a hash in its name
// is new whenever anything in it changes, also at the end of a rotation, and one of an
// operator's is as old as the deployment.
const agesFile = "ages.json"

// Where a cluster has the record.
const (
	AgesConfigMap = "kgents-secret-ages"
	AgesKey       = agesFile
)

// longestOverlap is how long a rotation may stay unfinished: until then both values
// are accepted, the one that was to go too.
const longestOverlap = 7 * day

const day = 24 * time.Hour

// Age is what the record says of a secret.
type Age struct {
	Name string

	// Made is when the present value was made or brought; zero if that is not known. A
	// value that was put into a file by hand is younger than that.
	Made time.Time

	// Rotating is since when the value before is accepted beside it; zero if it isn't.
	Rotating time.Time

	// Period is how long a value may be used.
	Period time.Duration
}

// Due is when the secret is to be rotated; zero if that is not known.
func (a Age) Due() time.Time {
	if a.Made.IsZero() {
		return time.Time{}
	}
	return a.Made.Add(a.Period)
}

// Problem says what speaks against the secret at the time now, empty if nothing does.
func (a Age) Problem(now time.Time) string {
	switch {
	case !a.Rotating.IsZero() && now.Sub(a.Rotating) > longestOverlap:
		return fmt.Sprintf("its rotation isn't finished for %s: end it with --finish", days(now.Sub(a.Rotating)))
	case a.Made.IsZero():
		return "its age is not known: rotate it once"
	case !now.Before(a.Due()):
		return fmt.Sprintf("it was to be rotated %s ago, after %s", days(now.Sub(a.Due())), days(a.Period))
	}
	return ""
}

func days(d time.Duration) string {
	if n := int(d / day); n != 1 {
		return fmt.Sprintf("%d days", n)
	}
	return "1 day"
}

// entry is a line of the record.
type entry struct {
	Made     time.Time `json:"made,omitzero"`
	Rotating time.Time `json:"rotating,omitzero"`
}

// Ages are those of every secret of the directory, in the order of Names. Of the
// certificate counts what it says itself.
func Ages(dir string) ([]Age, error) {
	d := store{dir}
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	return ages(entries), nil
}

// ReadAges are the ages in a record, such as a cluster has in AgesConfigMap: of every
// secret that this program knows, in the order of Names. One that the record lacks has
// an age that is not known.
func ReadAges(record []byte) ([]Age, error) {
	entries, err := parseEntries(record)
	if err != nil {
		return nil, err
	}
	return ages(entries), nil
}

func ages(entries map[string]entry) (out []Age) {
	for _, r := range rotations() {
		e := entries[r.name]
		out = append(out, Age{Name: r.name, Made: e.Made, Rotating: e.Rotating, Period: r.period})
	}
	return out
}

func parseEntries(record []byte) (map[string]entry, error) {
	out := map[string]entry{}
	if err := json.Unmarshal(record, &out); err != nil {
		return nil, fmt.Errorf("%s: %w; mend it: it has a name and times for each secret, or remove it and rotate each secret once", agesFile, err)
	}
	return out, nil
}

// entries is the record with what is known better elsewhere: which rotations are not
// finished, and what the certificate says.
func (d store) entries() (map[string]entry, error) {
	out := map[string]entry{}
	if _, err := os.Stat(filepath.Join(d.dir, agesFile)); !errors.Is(err, fs.ErrNotExist) {
		text, err := d.read(agesFile)
		if err != nil {
			return nil, err
		}
		if out, err = parseEntries([]byte(text)); err != nil {
			return nil, err
		}
	}
	started, err := d.started()
	if err != nil {
		return nil, err
	}
	for _, r := range rotations() {
		e := out[r.name]
		e.Rotating = started[r.name]
		if r.name == "nats-tls" {
			cert, err := d.certificate(tlsCert)
			if err != nil {
				return nil, err
			}
			e.Made = cert.NotBefore.Add(skew)
		}
		out[r.name] = e
	}
	return out, nil
}

// record writes the record anew, with those of the names made now.
func (d store) record(names ...string) error {
	entries, err := d.entries()
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	for _, name := range names {
		if name == "nats-tls" {
			continue // entries has it from the certificate
		}
		e := entries[name]
		e.Made = now
		entries[name] = e
	}
	b, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		return err
	}
	return d.write(agesFile, string(b)+"\n")
}

// missing are the secrets whose value is not there.
func (d store) missing() (names []string) {
	for _, r := range rotations() {
		if !d.has(r) {
			names = append(names, r.name)
		}
	}
	return names
}

// has says whether there is a value. What opens backups may be kept elsewhere, and is
// known by what seals them.
func (d store) has(r rotation) bool {
	files := r.files()[:1]
	if r.name == "backup-identity" {
		files = r.files()
	}
	for _, name := range files {
		if _, err := os.Lstat(filepath.Join(d.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// recordMade is for the end of Init: of the secrets that were missing, those that are
// there now are new. It says whether it made the record.
func (d store) recordMade(missing []string) (bool, error) {
	still := map[string]bool{}
	for _, name := range d.missing() {
		still[name] = true
	}
	var made []string
	for _, name := range missing {
		if !still[name] {
			made = append(made, name)
		}
	}
	_, err := os.Stat(filepath.Join(d.dir, agesFile))
	isNew := errors.Is(err, fs.ErrNotExist)
	if !isNew && len(made) == 0 {
		return false, nil
	}
	return isNew, d.record(made...)
}
