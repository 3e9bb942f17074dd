package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// program builds a small static program for a platform and returns its path.
func program(t *testing.T, goos, goarch string) string {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":  "module example.test/small\ngo 1.26\n",
		"main.go": "package main\nfunc main() { println(\"hello\") }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "small")
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

// image runs the command.
func image(t *testing.T, epoch string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, epoch, &out, io.Discard)
	return strings.TrimSpace(out.String()), err
}

func TestTwoBuildsGiveTheSameDigest(t *testing.T) {
	bin := program(t, "linux", "amd64")
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.tar"), filepath.Join(dir, "two.tar")
	first, err := image(t, "", "--binary", bin, "--name", "example.test/kgents:v1", "--output", one)
	if err != nil {
		t.Fatal(err)
	}
	// The file's own time and mode must not count.
	copied := filepath.Join(dir, "copied")
	content, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(copied, time.Unix(5, 0), time.Unix(5, 0)); err != nil {
		t.Fatal(err)
	}
	second, err := image(t, "", "--binary", copied, "--name", "example.test/kgents:v1", "--output", two)
	if err != nil {
		t.Fatal(err)
	}
	if first != second || !strings.HasPrefix(first, "sha256:") {
		t.Errorf("the digests are %s and %s", first, second)
	}
	a, _ := os.ReadFile(one)
	b, _ := os.ReadFile(two)
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Error("the archives differ")
	}
	later, err := image(t, "86400", "--binary", bin, "--name", "example.test/kgents:v1", "--output", one)
	if err != nil || later == first {
		t.Errorf("SOURCE_DATE_EPOCH made no difference: %s, %v", later, err)
	}
}

// The archive holds the program and nothing else, and says how to run it.
func TestArchive(t *testing.T) {
	bin := program(t, "linux", "arm64")
	out := filepath.Join(t.TempDir(), "image.tar")
	if _, err := image(t, "86400", "--binary", bin, "--name", "example.test/kgents:v1", "--output", out, "--version", "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.test/kgents:v1")
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(out, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Architecture != "arm64" || !config.Created.Time.Equal(time.Unix(86400, 0)) {
		t.Errorf("platform %s/%s, created %v", config.OS, config.Architecture, config.Created)
	}
	want := v1.Config{
		User: "65532:65532", Entrypoint: []string{"/kgents"}, WorkingDir: "/",
		ExposedPorts: map[string]struct{}{"8000/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "kgents",
			"org.opencontainers.image.description": "The billing backbone of an agent SaaS",
			"org.opencontainers.image.source":      "https://github.com/kgents/kgents",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.created":     "1970-01-02T00:00:00Z",
			"org.opencontainers.image.version":     "v1.2.3",
		},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Error(diff)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	r := tar.NewReader(content)
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "kgents" || h.Mode != 0o555 || h.Uid != 65532 || h.Gid != 65532 || !h.ModTime.Equal(time.Unix(86400, 0)) {
		t.Errorf("the file is %+v", h)
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if original, _ := os.ReadFile(bin); !bytes.Equal(got, original) {
		t.Error("the program in the image is another")
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("there is more in the layer: %v", err)
	}
}

// A binary of this repository brings its version and revision along.
func TestLabelsOfTheBinary(t *testing.T) {
	b := binary{content: []byte("x"), arch: "amd64", version: "v0.1.0", revision: "abc"}
	img, err := build(b, "", time.Unix(0, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.Labels; got["org.opencontainers.image.version"] != "v0.1.0" || got["org.opencontainers.image.revision"] != "abc" {
		t.Errorf("labels %v", got)
	}
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/kgents/kgents:v1"
	digest, err := image(t, "", "--binary", program(t, "linux", "amd64"), "--name", ref, "--push")
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Head(tag)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest.String() != digest {
		t.Errorf("the registry has %s, printed was %s", got.Digest, digest)
	}
}

// What can't work is refused in one line that says what to do.
func TestRefused(t *testing.T) {
	linux := program(t, "linux", "amd64")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(registry.New())
	gone.Close()
	out := filepath.Join(t.TempDir(), "image.tar")
	for name, test := range map[string]struct {
		epoch string
		args  []string
		want  string
	}{
		"no binary":      {"", []string{"--name", "a.test/b:c", "--output", out}, "--binary is missing"},
		"no output":      {"", []string{"--binary", linux, "--name", "a.test/b:c"}, "give --output FILE, --push or both"},
		"no name":        {"", []string{"--binary", linux, "--output", out}, "--name is missing"},
		"no tag":         {"", []string{"--binary", linux, "--output", out, "--name", "a.test:5000/b"}, "needs a tag of its own"},
		"latest":         {"", []string{"--binary", linux, "--output", out, "--name", "a.test/b:latest"}, "needs a tag of its own"},
		"digest":         {"", []string{"--binary", linux, "--output", out, "--name", "a.test/b@sha256:0"}, "has a digest"},
		"no such name":   {"", []string{"--binary", linux, "--output", out, "--name", "A test/b:c"}, "is no image name"},
		"argument":       {"", []string{"extra"}, `not "extra"`},
		"missing file":   {"", []string{"--binary", text + "x", "--name", "a.test/b:c", "--output", out}, "build it first"},
		"directory":      {"", []string{"--binary", filepath.Dir(text), "--name", "a.test/b:c", "--output", out}, "is no program"},
		"script":         {"", []string{"--binary", text, "--name", "a.test/b:c", "--output", out}, "build it with GOOS=linux"},
		"macOS":          {"", []string{"--binary", program(t, "darwin", "arm64"), "--name", "a.test/b:c", "--output", out}, "build it with GOOS=linux"},
		"other machine":  {"", []string{"--binary", program(t, "linux", "386"), "--name", "a.test/b:c", "--output", out}, "build it with GOARCH="},
		"epoch":          {"tomorrow", []string{"--binary", linux, "--name", "a.test/b:c", "--output", out}, "SOURCE_DATE_EPOCH"},
		"negative epoch": {"-1", []string{"--binary", linux, "--name", "a.test/b:c", "--output", out}, "SOURCE_DATE_EPOCH"},
		"huge epoch":     {"99999999999", []string{"--binary", linux, "--name", "a.test/b:c", "--output", out}, "SOURCE_DATE_EPOCH"},
		"no registry":    {"", []string{"--binary", linux, "--name", strings.TrimPrefix(gone.URL, "http://") + "/b:c", "--push"}, "docker login"},
		"unwritable":     {"", []string{"--binary", linux, "--name", "a.test/b:c", "--output", filepath.Join(text, "image.tar")}, "text"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := image(t, test.epoch, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v, want one line with %q", err, test.want)
			}
			if got != "" {
				t.Errorf("it printed %q", got)
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := image(t, "", "--help"); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}
