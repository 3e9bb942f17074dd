package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store"
	"github.com/kgents/kgents/stream/backup/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// each runs a test with every store.
func each(t *testing.T, f func(t *testing.T, s backup.Store)) {
	t.Run("directory", func(t *testing.T) {
		s, err := store.Open(store.Settings{URL: filepath.Join(t.TempDir(), "not", "there yet")})
		if err != nil {
			t.Fatal(err)
		}
		f(t, s)
	})
	t.Run("bucket", func(t *testing.T) { f(t, storetest.Start(t).Open(t)) })
}

func put(t *testing.T, s backup.Store, folder, file, content string) {
	t.Helper()
	if err := s.Put(t.Context(), folder, file, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s backup.Store, folder, file string) (string, error) {
	t.Helper()
	r, size, err := s.Open(t.Context(), folder, file)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if int64(len(b)) != size {
		t.Errorf("%s/%s has %d bytes and was said to have %d", folder, file, len(b), size)
	}
	return string(b), err
}

// What was put is found, under its name and nowhere else, until it is removed.
func TestStores(t *testing.T) {
	each(t, func(t *testing.T, s backup.Store) {
		ctx := t.Context()
		found := func(want []string) {
			t.Helper()
			got, err := s.Folders(ctx)
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("folders (-want +got): %v\n%s", err, d)
			}
		}
		has := func(folder string, want []backup.File) {
			t.Helper()
			got, err := s.Files(ctx, folder)
			if d := cmp.Diff(want, got); d != "" || err != nil {
				t.Errorf("files of %s (-want +got): %v\n%s", folder, err, d)
			}
		}
		found(nil)
		has("a", nil)
		if _, err := get(t, s, "a", "x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that isn't there: %v", err)
		}
		if err := s.Remove(ctx, "a", "x"); err != nil {
			t.Errorf("a file that isn't there is removed: %v", err)
		}
		big := string(bytes.Repeat([]byte("0123456789abcdef"), 20<<16)) // 20 MiB: more than a part
		put(t, s, "b", "y", big)
		put(t, s, "a", "x", "1")
		put(t, s, "a", "w", "two")
		found([]string{"a", "b"})
		has("a", []backup.File{{Name: "w", Bytes: 3}, {Name: "x", Bytes: 1}})
		if got, err := get(t, s, "b", "y"); err != nil || got != big {
			t.Errorf("%d bytes came back, %v", len(got), err)
		}
		for _, file := range []string{"w", "x"} {
			if err := s.Remove(ctx, "a", file); err != nil {
				t.Error(err)
			}
		}
		found([]string{"b"})
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Put(ended, "c", "z", strings.NewReader("z"), 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a Put that was cancelled: %v", err)
		}
		has("c", nil)
		if strings.Contains(s.String(), "secret") {
			t.Errorf("the store is called %s", s)
		}
	})
}

// A directory that was interrupted shows by its name what is not whole.
func TestDirectoryShortContent(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(store.Settings{URL: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", "x", strings.NewReader("short"), 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the error is %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "a")); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestSettings(t *testing.T) {
	for name, test := range map[string]struct {
		settings store.Settings
		said     string
	}{
		"nothing":          {store.Settings{}, "BACKUP_URL"},
		"another scheme":   {store.Settings{URL: "ftp://host/x"}, "neither a directory nor s3://"},
		"no credentials":   {store.Settings{URL: "s3://b/p"}, "AWS_ACCESS_KEY_ID"},
		"half of them":     {store.Settings{URL: "s3://b/p", AccessKey: "a"}, "AWS_SECRET_ACCESS_KEY"},
		"no endpoint":      {store.Settings{URL: "s3://b/p", AccessKey: "a", SecretKey: "s", Endpoint: "host:9000"}, "BACKUP_S3_ENDPOINT"},
		"a path behind it": {store.Settings{URL: "s3://b/p", AccessKey: "a", SecretKey: "s", Endpoint: "https://host/b"}, "BACKUP_S3_ENDPOINT"},
	} {
		if _, err := store.Open(test.settings); kgents.ErrorCode(err) != kgents.CodeMisconfig || !strings.Contains(err.Error(), test.said) {
			t.Errorf("%s: %v, want %q", name, err, test.said)
		}
	}
	s, err := store.Open(store.Settings{URL: "s3://b/p/", AccessKey: "a", SecretKey: "s"})
	if err != nil || s.String() != "s3://b/p" {
		t.Errorf("%v, %v", s, err)
	}
}

// Whatever is wrong with a bucket is said within a bound, and what to look at.
func TestBucketErrors(t *testing.T) {
	away := func() string { // where nobody listens
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "http://" + l.Addr().String()
	}()
	answer := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { storetest.Refuse(w, status, code); return true }
	}
	for name, test := range map[string]struct {
		change func(*store.Settings)
		before func(http.ResponseWriter, *http.Request) bool
		code   kgents.Code
		said   string
	}{
		"the bucket is missing":   {change: func(s *store.Settings) { s.URL = "s3://others/x" }, code: kgents.CodeMisconfig, said: "there is no bucket others"},
		"another access key":      {change: func(s *store.Settings) { s.AccessKey = "AKIAOTHER" }, code: kgents.CodeMisconfig, said: "AWS_ACCESS_KEY_ID"},
		"a wrong secret":          {before: answer(http.StatusForbidden, "SignatureDoesNotMatch"), code: kgents.CodeMisconfig, said: "refuses the credentials"},
		"a key without the right": {before: answer(http.StatusForbidden, "AccessDenied"), code: kgents.CodeMisconfig, said: "what they may do"},
		"the server is away":      {change: func(s *store.Settings) { s.Endpoint = away }, code: kgents.CodeUnavailable, said: "look at BACKUP_S3_ENDPOINT and the network"},
		"the server hangs up": {before: func(w http.ResponseWriter, _ *http.Request) bool {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return true
		}, code: kgents.CodeUnavailable, said: "doesn't answer"},
		"the server is not well": {before: answer(http.StatusServiceUnavailable, "SlowDown"), code: kgents.CodeUnavailable, said: "SlowDown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // what is away is asked four times
			server := storetest.Start(t)
			settings := server.Settings
			if test.change != nil {
				test.change(&settings)
			}
			if test.before != nil {
				server.Before.Store(&test.before)
			}
			s, err := store.Open(settings)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var calls sync.WaitGroup
			for what, call := range map[string]func() error{
				"Put":     func() error { return s.Put(ctx, "a", "x", strings.NewReader("content"), 7) },
				"Folders": func() error { _, err := s.Folders(ctx); return err },
				"Open":    func() error { _, _, err := s.Open(ctx, "a", "x"); return err },
				"Remove":  func() error { return s.Remove(ctx, "a", "x") },
			} {
				calls.Go(func() {
					err := call()
					if kgents.ErrorCode(err) != test.code || !strings.Contains(err.Error(), test.said) || strings.Contains(err.Error(), settings.SecretKey) {
						t.Errorf("%s said %v, want %s and %q", what, err, test.code, test.said)
					}
				})
			}
			calls.Wait()
			if ctx.Err() != nil {
				t.Error("there is no bound")
			}
		})
	}
}

// What goes wrong on the way is not kept: the server is told the sum of what it should
// get.
func TestBucketKeepsNoHalf(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	s := server.Open(t)
	cut := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			_, _ = io.CopyN(io.Discard, r.Body, 10)
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
			return true
		}
		return false
	}
	server.Before.Store(&cut)
	if err := s.Put(t.Context(), "a", "x", strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20); err == nil {
		t.Error("a Put that was cut went well")
	}
	other := func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			b, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(bytes.ReplaceAll(b, []byte("right"), []byte("wrong"))))
		}
		return false
	}
	server.Before.Store(&other)
	if err := s.Put(t.Context(), "a", "x", strings.NewReader("the right content"), 17); err == nil {
		t.Error("other bytes than were sent are kept")
	}
	server.Before.Store(nil)
	if got, err := s.Files(t.Context(), "a"); err != nil || len(got) != 0 {
		t.Errorf("%v is there, %v", got, err)
	}
}
