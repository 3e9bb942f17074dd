package app

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// One process at a time has a data directory, and the next has it as soon as that
// one lets go.
func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	unlock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is for its owner only: %v, %v", info.Mode(), err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "lock")); string(b) != fmt.Sprintf("%d\n", os.Getpid()) {
		t.Errorf("the lock names %q as its holder (%v), want this process", b, err)
	}
	if _, err := lockDir(dir); err == nil {
		t.Fatal("two have the directory")
	} else if want := fmt.Sprintf("the data directory %s is in use by another kgents (pid %d)", dir, os.Getpid()); !strings.HasPrefix(err.Error(), want) {
		t.Errorf("the error is %q, want %q", err, want)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = lockDir(dir)
	if err != nil {
		t.Fatalf("it was let go, but: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

// A lock that a longer process id was written to, by a process that was killed,
// names only the one that has it now.
func TestLockAfterCrash(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	if err := os.WriteFile(path, []byte("99999999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()
	if b, err := os.ReadFile(path); string(b) != fmt.Sprintf("%d\n", os.Getpid()) {
		t.Errorf("the lock names %q (%v)", b, err)
	}
}

// A directory that is no use is one line that says so and names the way out.
func TestLockDirRefuses(t *testing.T) {
	type refusal struct {
		name  string
		spoil func(dir string) error
		says  string
	}
	tests := []refusal{
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "can't make the data directory"},
		{"a dangling link", func(dir string) error { return os.Symlink(dir+"-none", dir) }, "can't make the data directory"},
		{"a lock that can't be opened", func(dir string) error { return os.MkdirAll(filepath.Join(dir, "lock"), 0o700) }, "can't write to the data directory"},
	}
	if os.Geteuid() != 0 { // root may write anywhere
		tests = append(tests,
			refusal{"no permission to make it", func(dir string) error { return os.Chmod(filepath.Dir(dir), 0o500) }, "can't make the data directory"},
			refusal{"no permission to write", func(dir string) error { return os.Mkdir(dir, 0o500) }, "can't write to the data directory"})
	}
	if runtime.GOOS == "linux" {
		tests = append(tests, refusal{"a full disk", func(dir string) error {
			return os.Symlink("/dev/full", filepath.Join(mkdir(dir), "lock"))
		}, "can't write to the data directory"})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := test.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := lockDir(dir)
			if err == nil {
				t.Fatal("it is locked")
			}
			if !strings.HasPrefix(err.Error(), test.says) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data") {
				t.Errorf("the error is %q, want %q, the directory and --data", err, test.says)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is more than one line: %q", err)
			}
		})
	}
}

func mkdir(dir string) string {
	if err := os.Mkdir(dir, 0o700); err != nil {
		panic(err)
	}
	return dir
}
