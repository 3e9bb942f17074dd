package backup_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/streamtest"
)

// What was noted is known to whoever asks, and nothing noted is no error.
func TestNote(t *testing.T) {
	js, stop := streamtest.Start(t)
	c := stream.Config{Name: "events", Replicas: 1}
	expect := func(want time.Time) {
		t.Helper()
		got, err := backup.Last(t.Context(), js, c)
		if err != nil || !got.Equal(want) {
			t.Errorf("the last backup is %v (%v), want %v", got, err, want)
		}
	}
	expect(time.Time{})
	first := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for _, at := range []time.Time{first, first.AddDate(0, 0, 1)} {
		if err := backup.Note(t.Context(), js, c, backup.Manifest{Began: at, Ended: at.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		expect(at)
	}
	kv, err := js.KeyValue(t.Context(), "events-backup")
	if err != nil {
		t.Fatal(err)
	}
	for _, strange := range []string{"", "x", "{}", `{"at":"yesterday"}`} {
		if _, err := kv.PutString(t.Context(), "last", strange); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Last(t.Context(), js, c); err == nil || !strings.Contains(err.Error(), "make another backup") {
			t.Errorf("of %q the error is %v, want one that says what to do", strange, err)
		}
	}
	if err := kv.Delete(t.Context(), "last"); err != nil {
		t.Fatal(err)
	}
	expect(time.Time{})
	stop()
	if _, err := backup.Last(t.Context(), js, c); err == nil {
		t.Error("with NATS away there is no error")
	}
	if err := backup.Note(t.Context(), js, c, backup.Manifest{Began: first}); err == nil {
		t.Error("with NATS away a note is kept")
	}
}

// So is a drill that went well.
func TestNoteDrill(t *testing.T) {
	js, _ := streamtest.Start(t)
	c := stream.Config{Name: "events", Replicas: 1}
	if r, err := backup.LastDrill(t.Context(), js, c); err != nil || !r.At.IsZero() {
		t.Errorf("before any: %+v, %v", r, err)
	}
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	want := backup.DrillReport{At: at, From: "s3://backups/" + strings.Repeat("long/", 60), Backup: "20261129T020000.000Z-01234567", Holds: at.Add(-time.Hour), Messages: 7, Events: 9, Took: 1.5}
	if err := backup.NoteDrill(t.Context(), js, c, want); err != nil {
		t.Fatal(err)
	}
	if err := backup.Note(t.Context(), js, c, backup.Manifest{Began: at}); err != nil {
		t.Fatal(err)
	}
	if r, err := backup.LastDrill(t.Context(), js, c); err != nil || r != want {
		t.Errorf("noted as %+v, %v, want %+v", r, err, want)
	}
	kv, err := js.KeyValue(t.Context(), "events-backup")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "drill", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.LastDrill(t.Context(), js, c); err == nil || !strings.Contains(err.Error(), "make another") {
		t.Errorf("of a strange note the error is %v", err)
	}
}
