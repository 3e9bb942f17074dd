package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// Backups are sealed to a public key, which is in the deployment; what opens them is
// beside it for a drill, and must be kept elsewhere, too: a cluster that is lost takes
// its Secrets along.

const (
	identityComment  = "# Opens the backups of the stream. Keep a copy where the cluster can't be lost with it.\n"
	recipientComment = "Public key that backups are sealed to; its other half is in identity.txt."
	recipientName    = "BACKUP_RECIPIENT"
)

// backupSteps make a pair of keys. Who has only the public one, and the identity in a
// safe, gets no other.
func (d store) backupSteps() []step {
	recipient := step{backupRecipient, func() (string, error) {
		ids, err := d.identities()
		if err != nil {
			return "", err
		}
		return env(recipientComment, recipientName, ids[0].Recipient().String()), nil
	}}
	if _, err := os.Lstat(filepath.Join(d.dir, backupRecipient)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return []step{{backupIdentity, func() (string, error) {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return "", err
		}
		return identityComment + id.String() + "\n", nil
	}}, recipient}
}

// identities are those of the identity's file, the one that is used first. The error
// quotes none.
func (d store) identities() ([]*age.X25519Identity, error) {
	text, err := d.read(backupIdentity)
	if err != nil {
		return nil, err
	}
	var out []*age.X25519Identity
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, err := age.ParseX25519Identity(line)
		if err != nil {
			return nil, fmt.Errorf("%s holds a line that is no age identity: it looks like AGE-SECRET-KEY-1 and letters", backupIdentity)
		}
		out = append(out, id)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s holds no age identity: move it away and make a new one with 'kgents secrets init'", backupIdentity)
	}
	return out, nil
}

func (d store) writeIdentities(ids []*age.X25519Identity) error {
	text := identityComment
	for _, id := range ids {
		text += id.String() + "\n"
	}
	return d.write(backupIdentity, text)
}

// rotateIdentity makes a new pair. The identity before stays, since it opens the
// backups that were sealed to it: it may go when none of them is kept.
func (d store) rotateIdentity() error {
	ids, err := d.identities()
	if err != nil {
		return err
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	if err := d.writeIdentities(append([]*age.X25519Identity{id}, ids...)); err != nil { // first what opens
		return err
	}
	return d.change(backupRecipient, map[string]string{recipientName: id.Recipient().String()})
}

// forgetIdentities keeps the identity that is used.
func (d store) forgetIdentities() error {
	ids, err := d.identities()
	if err != nil {
		return err
	}
	return d.writeIdentities(ids[:1])
}
