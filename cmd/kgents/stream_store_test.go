package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store/storetest"
)

// Into a bucket, sealed, and all that can be done with it there; the servers know of
// the backup and of the drill.
func TestStreamStore(t *testing.T) {
	alone(t)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	identity, recipient := id.String(), id.Recipient().String()
	key := filepath.Join(t.TempDir(), "identity")
	if err := os.WriteFile(key, []byte("# made by a test\n"+identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bucket := storetest.Start(t)
	t.Setenv("BACKUP_URL", bucket.URL)
	t.Setenv("BACKUP_S3_ENDPOINT", bucket.Endpoint)
	t.Setenv("BACKUP_S3_REGION", bucket.Region)
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.SecretKey)
	t.Setenv("BACKUP_RECIPIENT", recipient)
	t.Setenv("BACKUP_KEEP", "7")
	t.Setenv("NATS_SERVERS", natsServer(t))
	t.Setenv("NATS_REPLICAS", "1")
	o := offline(t, config.Config{NATSServers: []string{os.Getenv("NATS_SERVERS")}})
	defer o.Close()
	fill(t, o, 20)
	run := func(args ...string) string {
		t.Helper()
		code, out, stderr := kgents(t, append([]string{"stream"}, args...)...)
		if code != 0 || stderr != "" || strings.Contains(out, bucket.SecretKey) || strings.Contains(out, identity) {
			t.Fatalf("%v: code %d, %s%s", args, code, out, stderr)
		}
		return out
	}
	has := func(out string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(out, part) {
				t.Errorf("%q lacks %q", out, part)
			}
		}
	}
	has(run("list"), "there is no backup in "+bucket.URL)
	has(run("backup"), "the backup "+bucket.URL+"/2", "is written and synced", "It is sealed to "+recipient)
	has(run("list"), "kgent-events", "sealed", "whole")
	has(run("verify", "latest"), "is as it was written", "its messages were not read")
	code, out, stderr := kgents(t, "stream", "drill")
	wantLine(t, code, out, stderr, "BACKUP_IDENTITY_FILE", recipient)

	t.Setenv("BACKUP_IDENTITY_FILE", key)
	has(run("verify", "latest"), "and was opened")
	scratch := t.TempDir()
	has(run("drill", "--scratch", scratch), "can be restored: 20 messages with 40 events")
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("the drill left %v, %v", left, err)
	}
	var all []backup.Entry
	if err := json.Unmarshal([]byte(run("list", "--output", "json")), &all); err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	if r, err := backup.LastDrill(t.Context(), o.JetStream, o.Streams); err != nil || r.Backup != all[0].Name || r.Events != 40 {
		t.Errorf("the servers know of the drill %+v, %v", r, err)
	}
	if at, err := backup.Last(t.Context(), o.JetStream, o.Streams); err != nil || !at.Equal(all[0].Began) {
		t.Errorf("the servers know of a backup of %v, %v", at, err)
	}
	has(run("prune", "--dry-run"), "0 would be deleted, 1 kept")

	t.Setenv("NATS_SERVERS", "")
	has(run("restore", all[0].Name, "--data", filepath.Join(t.TempDir(), "new")), "read back, the same")
	// A directory is still a directory, though a store is set.
	dir := filepath.Join(t.TempDir(), "plain")
	code, out, stderr = kgents(t, "stream", "verify", dir)
	wantLine(t, code, out, stderr, dir+" has no manifest.json")
}

// A damaged backup in a store is an exit code of 1 in the list, and its name.
func TestStreamStoreDamage(t *testing.T) {
	alone(t)
	from, to := t.TempDir(), t.TempDir()
	o := offline(t, config.Config{DataDir: from})
	fill(t, o, 3)
	o.Close()
	code, out, stderr := kgents(t, "stream", "backup", "--data", from, "--to", to)
	if code != 0 || stderr != "" {
		t.Fatalf("code %d, %s%s", code, out, stderr)
	}
	files, err := filepath.Glob(filepath.Join(to, "*", "events-00001.seg"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[0], 10); err != nil {
		t.Fatal(err)
	}
	code, out, _ = kgents(t, "stream", "list", "--from", to)
	if code != 1 || !strings.Contains(out, "damaged: events-00001.seg has 10 bytes") {
		t.Errorf("code %d, %s", code, out)
	}
	code, out, stderr = kgents(t, "stream", "prune", "--from", to, "--backup-keep", "1")
	if code != 0 || !strings.Contains(out, "0 deleted, 0 kept") || !strings.Contains(out, "left alone: ") {
		t.Errorf("code %d, %s%s", code, out, stderr)
	}
}
