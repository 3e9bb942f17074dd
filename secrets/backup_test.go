package secrets_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/kgents/kgents/secrets"
)

// sealed is a text, sealed to a directory's recipient.
func sealed(t *testing.T, dir string) []byte {
	t.Helper()
	to, err := age.ParseX25519Recipient(variables(t, dir, "backup/recipient.env")["BACKUP_RECIPIENT"])
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "text"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// opens says whether a directory's identities open a sealed text.
func opens(t *testing.T, dir string, b []byte) bool {
	t.Helper()
	ids, err := age.ParseIdentities(strings.NewReader(read(t, dir, "backup/identity.txt")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = age.Decrypt(bytes.NewReader(b), ids...)
	return err == nil
}

// The identity opens what is sealed to the recipient; after a rotation it opens the
// backups of before, too, until that is ended.
func TestBackupIdentity(t *testing.T) {
	dir := made(t)
	before := sealed(t, dir)
	if !opens(t, dir, before) {
		t.Error("the identity is not the recipient's")
	}
	if err := secrets.Rotate(dir, "backup-identity", ""); err != nil {
		t.Fatal(err)
	}
	after := sealed(t, dir)
	if !opens(t, dir, before) || !opens(t, dir, after) {
		t.Error("in a rotation both must be opened")
	}
	if err := secrets.Finish(dir, "backup-identity"); err != nil {
		t.Fatal(err)
	}
	if opens(t, dir, before) || !opens(t, dir, after) {
		t.Error("after a rotation only the new one must be opened")
	}
	all, err := secrets.List(dir, time.Now())
	if err != nil || !slices.ContainsFunc(all, func(s secrets.Secret) bool { return s.Name == "backup-identity" && !s.Changed.IsZero() }) {
		t.Errorf("listed %+v, %v", all, err)
	}
}

// Who keeps the identity elsewhere gets no other; a recipient that is missing is the
// identity's.
func TestBackupKeysBelongTogether(t *testing.T) {
	dir := made(t)
	before := sealed(t, dir)
	recipient := read(t, dir, "backup/recipient.env")
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	remove("backup/recipient.env")
	if again, err := secrets.Init(dir, namespace); err != nil || len(again) != 1 || read(t, dir, "backup/recipient.env") != recipient {
		t.Errorf("it made %q, %v", again, err)
	}
	if !opens(t, dir, before) {
		t.Error("the identity has changed")
	}
	remove("backup/identity.txt")
	if again, err := secrets.Init(dir, namespace); err != nil || len(again) != 0 {
		t.Errorf("it made %q, %v", again, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "backup/identity.txt"), []byte("AGE-SECRET-KEY-1HUSH\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Rotate(dir, "backup-identity", ""); err == nil || strings.Contains(err.Error(), "HUSH") {
		t.Errorf("a broken identity: %v", err)
	}
}

// A directory from before there was a user for backups gets one; what is there stays.
func TestInitAddsUsers(t *testing.T) {
	dir := made(t)
	path := filepath.Join(dir, "nats/users.env")
	var old []string
	for line := range strings.Lines(read(t, dir, "nats/users.env")) {
		if !strings.Contains(line, "BACKUP") {
			old = append(old, line)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(old, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "nats/backup.nk")); err != nil {
		t.Fatal(err)
	}
	if again, err := secrets.Init(dir, namespace); err != nil || !slices.Equal(again, []string{"nats/backup.nk"}) {
		t.Errorf("it made %q, %v", again, err)
	}
	text := read(t, dir, "nats/users.env")
	if !strings.HasPrefix(text, strings.Join(old, "")) {
		t.Errorf("what was there has changed:\n%s", text)
	}
	values := variables(t, dir, "nats/users.env")
	if values["NATS_BACKUP_NKEY"] == "" || values["NATS_BACKUP_NKEY_PREVIOUS"] == "" || values["NATS_BACKUP_NKEY"] == values["NATS_BACKUP_NKEY_PREVIOUS"] {
		t.Errorf("the users are %v", values)
	}
	if again, err := secrets.Init(dir, namespace); err != nil || len(again) > 0 || read(t, dir, "nats/users.env") != text {
		t.Errorf("the second time it made %q, %v", again, err)
	}
}
