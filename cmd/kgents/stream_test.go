package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/app"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
)

// offline opens the stream that a configuration names, until close.
func offline(t *testing.T, c config.Config) app.Offline {
	t.Helper()
	c.StreamName, c.Replicas = "kgent-events", 1
	o, err := app.OpenOffline(t.Context(), c, app.Operator, true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// fill stores n messages of two events each.
func fill(t *testing.T, o app.Offline, n int) {
	t.Helper()
	if _, err := stream.Ensure(t.Context(), o.JetStream, o.Streams); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		events := []root.Event{{Raw: fmt.Appendf(nil, `{"id":"%d"}`, i)}, {Raw: fmt.Appendf(nil, `{"id":"%d+"}`, i)}}
		if _, err := o.JetStream.PublishMsg(t.Context(), stream.Encode(events, time.Now())); err != nil {
			t.Fatal(err)
		}
	}
}

// natsServer is one that listens, as a cluster's do.
func natsServer(t *testing.T) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s.ClientURL()
}

// From one data directory to another, and from there to a server that listens.
func TestStreamThereAndBack(t *testing.T) {
	alone(t)
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "new")
	o := offline(t, config.Config{DataDir: from})
	fill(t, o, 20)
	o.Close()

	first := filepath.Join(t.TempDir(), "first")
	code, out, stderr := kgents(t, "stream", "backup", first, "--data", from)
	if code != 0 || stderr != "" || !strings.Contains(out, "kgent-events ") || !strings.Contains(out, "written and synced") {
		t.Fatalf("code %d, %s%s", code, out, stderr)
	}
	code, out, stderr = kgents(t, "stream", "verify", first, "--output", "json")
	var report backup.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || !report.Sound || report.Manifest.Messages() != 20 || report.Manifest.Streams[1].Events != 40 {
		t.Fatalf("code %d, %v, %s%s", code, err, out, stderr)
	}
	code, out, stderr = kgents(t, "stream", "restore", first, "--data", to)
	if code != 0 || stderr != "" || !strings.Contains(out, "read back, the same") {
		t.Fatalf("code %d, %s%s", code, out, stderr)
	}
	code, out, stderr = kgents(t, "stream", "restore", first, "--data", to)
	wantLine(t, code, out, stderr, "is not empty: it holds 20 messages")

	second := filepath.Join(t.TempDir(), "second")
	if code, out, stderr = kgents(t, "stream", "backup", second, "--data", to, "--output", "json"); code != 0 {
		t.Fatalf("code %d, %s%s", code, out, stderr)
	}
	t.Setenv("NATS_SERVERS", natsServer(t))
	t.Setenv("NATS_REPLICAS", "1")
	code, out, stderr = kgents(t, "stream", "restore", second, "--output", "json")
	var restored backup.Restored
	if err := json.Unmarshal([]byte(out), &restored); err != nil || code != 0 || !restored.Same || restored.Streams[1].Stored != 20 {
		t.Fatalf("code %d, %v, %s%s", code, err, out, stderr)
	}
	third := filepath.Join(t.TempDir(), "third")
	if code, out, stderr = kgents(t, "stream", "backup", third); code != 0 || !strings.Contains(out, "kgent-events-dead") {
		t.Errorf("code %d, %s%s", code, out, stderr)
	}
	m, err := backup.ReadManifest(third)
	if err != nil {
		t.Fatal(err)
	}
	o = offline(t, config.Config{NATSServers: []string{os.Getenv("NATS_SERVERS")}})
	defer o.Close()
	if at, err := backup.Last(t.Context(), o.JetStream, o.Streams); err != nil || !at.Equal(m.Began) {
		t.Errorf("the servers know of a backup of %v (%v), want %v", at, err, m.Began)
	}
}

// Damage is an exit code of 1 and the file's name, and nothing is made of it.
func TestStreamDamage(t *testing.T) {
	alone(t)
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "new")
	o := offline(t, config.Config{DataDir: from})
	fill(t, o, 3)
	o.Close()
	dir := filepath.Join(t.TempDir(), "backup")
	if code, out, stderr := kgents(t, "stream", "backup", dir, "--data", from); code != 0 {
		t.Fatalf("code %d, %s%s", code, out, stderr)
	}
	path := filepath.Join(dir, "events-00001.seg")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-3] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := kgents(t, "stream", "verify", dir)
	if code != 1 || stderr != "" || !strings.Contains(out, "✗  events-00001.seg: the file was changed") {
		t.Errorf("verify: code %d, %s%s", code, out, stderr)
	}
	code, out, stderr = kgents(t, "stream", "restore", dir, "--data", to)
	wantLine(t, code, out, stderr, "is damaged: events-00001.seg", "nothing was restored")
	if err := os.Remove(filepath.Join(dir, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	code, out, stderr = kgents(t, "stream", "verify", dir)
	wantLine(t, code, out, stderr, "has no manifest.json", "interrupted")
}

func TestStreamMistakes(t *testing.T) {
	alone(t)
	used, full := t.TempDir(), t.TempDir()
	o := offline(t, config.Config{DataDir: used})
	t.Cleanup(o.Close)
	other := t.TempDir()
	p := offline(t, config.Config{DataDir: other})
	fill(t, p, 1)
	p.Close()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, parts := range map[string][]string{
		"stream backup":                                        {"--to", "BACKUP_URL"},
		"stream backup a --to b":                               {"two places"},
		"stream backup --to s3://b/p":                          {"AWS_ACCESS_KEY_ID"},
		"stream backup --to b --backup-recipient AGE-X":        {"BACKUP_RECIPIENT", "age1"},
		"stream list":                                          {"--from", "BACKUP_URL"},
		"stream list --from gs://b":                            {"neither a directory nor s3://"},
		"stream prune --from b":                                {"--backup-keep"},
		"stream drill":                                         {"BACKUP_URL"},
		"stream drill --from b":                                {"no whole backup of the stream kgent-events"},
		"stream verify latest --from b":                        {"no whole backup"},
		"stream verify a --from b":                             {"is no name of a backup"},
		"stream restore a b":                                   {"takes one backup", "see 'kgents stream restore --help'"},
		"stream verify a --output xml":                         {`--output "xml" is no format`},
		"stream restore a --output xml":                        {`--output "xml" is no format`},
		"stream bakup":                                         {"did you mean 'backup'?"},
		"stream verify nowhere":                                {"nowhere has no manifest.json"},
		"stream restore nowhere --data new":                    {"nowhere has no manifest.json"},
		"stream backup a --data nowhere":                       {"there is no stream in nowhere", "--data", "NATS_SERVERS"},
		"stream backup a --data " + used:                       {"is in use by another kgents", "stop that one", "set NATS_SERVERS"},
		"stream backup " + full + " --data " + other:           {"is not empty: name a new directory"},
		"stream backup a --nats-stream-name x --data " + other: {"no stream x-dead", "NATS_STREAM_NAME"},
		"stream backup a --nats-replicas 3 --data " + other:    {"NATS_REPLICAS=3 needs a NATS cluster"},
	} {
		t.Run(line, func(t *testing.T) {
			code, out, stderr := kgents(t, strings.Fields(line)...)
			wantLine(t, code, out, stderr, parts...)
		})
	}
	if _, err := os.Stat("new"); err == nil {
		t.Error("a data directory was made for a backup that is not there")
	}
}
