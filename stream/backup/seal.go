package backup

import (
	"errors"
	"io"
	"iter"
	"strings"

	"filippo.io/age"

	"github.com/kgents/kgents"
)

// A sealed backup's segments are encrypted with age (age-encryption.org/v1) to
// public keys, before they leave the process: who makes backups can't read them,
// and neither can who keeps them. The manifest is not sealed. It has sums over what
// is stored, by which anybody can verify a backup, and over what is in it, by which
// who opens it can. It says how much there is and for which stream, and nothing of a
// customer. Sealing doesn't prove who wrote a backup: whoever may write to the store
// can put another in its place.

// sealedSuffix is behind the name of a sealed segment's file.
const sealedSuffix = ".age"

// Recipients are the public keys that a backup is sealed to, each of which can
// open it. None leave it unsealed.
type Recipients struct {
	keys  []age.Recipient
	names []string
}

// ParseRecipients reads age public keys (age1...), comma-separated.
func ParseRecipients(s string) (Recipients, error) {
	var r Recipients
	for key := range keysIn(s) {
		parsed, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil || len(parsed) != 1 {
			return Recipients{}, kgents.Errorf(kgents.CodeMisconfig, "BACKUP_RECIPIENT holds something that is no age public key: it looks like age1...; 'kgents secrets init' makes one, as does age-keygen")
		}
		r.keys, r.names = append(r.keys, parsed[0]), append(r.names, key)
	}
	return r, nil
}

// None says whether there is no recipient.
func (r Recipients) None() bool { return len(r.keys) == 0 }

// Identities are private keys that open sealed backups. They are never printed.
type Identities struct{ keys []age.Identity }

// ParseIdentities reads age identities (AGE-SECRET-KEY-1...), separated by commas or
// lines. Lines that begin with # are comments. The error doesn't quote any.
func ParseIdentities(s string) (Identities, error) {
	var ids Identities
	for key := range keysIn(s) {
		parsed, err := age.ParseIdentities(strings.NewReader(key))
		if err != nil || len(parsed) != 1 {
			return Identities{}, kgents.Errorf(kgents.CodeMisconfig, "BACKUP_IDENTITY holds something that is no age identity: it looks like AGE-SECRET-KEY-1...")
		}
		ids.keys = append(ids.keys, parsed[0])
	}
	return ids, nil
}

// None says whether there is no identity.
func (ids Identities) None() bool { return len(ids.keys) == 0 }

// String hides the keys, and so does every format of a print.
func (ids Identities) String() string { return "age identities (hidden)" }

// GoString hides the keys.
func (ids Identities) GoString() string { return ids.String() }

func keysIn(s string) iter.Seq[string] {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' })
	return func(yield func(string) bool) {
		comment := false
		for _, l := range lines {
			l = strings.TrimSpace(l)
			// A comment may have had commas in it.
			comment = strings.HasPrefix(l, "#") || comment && !strings.HasPrefix(strings.ToUpper(l), "AGE")
			if l == "" || comment {
				continue
			}
			if !yield(l) {
				return
			}
		}
	}
}

// errKey tells that no identity at hand opens a sealed file.
var errKey = errors.New("no identity opens it")

// unseal reads what a sealed file holds.
func (ids Identities) unseal(r io.Reader) (io.Reader, error) {
	if ids.None() {
		return nil, errKey
	}
	plain, err := age.Decrypt(r, ids.keys...)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, errKey
	}
	return plain, err
}

// keyError says which key a backup wants.
func (m Manifest) keyError(s Source) error {
	if s.Identities.None() {
		return kgents.Errorf(kgents.CodeMisconfig, "the backup %s is sealed to %s: set BACKUP_IDENTITY_FILE to the file of its identity", s, strings.Join(m.Recipients, ", "))
	}
	return kgents.Errorf(kgents.CodeMisconfig, "the backup %s is sealed to %s, and BACKUP_IDENTITY is of another key: name that one's identity", s, strings.Join(m.Recipients, ", "))
}
