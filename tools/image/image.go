package main

import (
	"archive/tar"
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const (
	// user is the one that distroless images call nonroot. It has no entry in any
	// passwd, so Kubernetes can only check runAsNonRoot because it is a number.
	user = 65532
	// maxBinary bounds what is read into memory; the program is a tenth of it.
	maxBinary = 512 << 20
)

// binary is a program that runs in an image with nothing else in it.
type binary struct {
	content           []byte
	arch              string
	version, revision string    // as the Go toolchain stamped them, or ""
	time              time.Time // of the commit, or zero
}

// readBinary reads a program and refuses one that could not start in an empty image.
func readBinary(path string) (binary, error) {
	var b binary
	info, err := os.Stat(path)
	if err != nil {
		return b, fmt.Errorf("%w: build it first, for example with 'make build'", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxBinary {
		return b, fmt.Errorf("%s is no program: want a file of at most %d MiB", path, maxBinary>>20)
	}
	if b.content, err = os.ReadFile(path); err != nil {
		return b, err
	}
	f, err := elf.NewFile(bytes.NewReader(b.content))
	if err != nil {
		return b, fmt.Errorf("%s is no Linux program (%v): build it with GOOS=linux", path, err)
	}
	switch f.Machine {
	case elf.EM_X86_64:
		b.arch = "amd64"
	case elf.EM_AARCH64:
		b.arch = "arm64"
	default:
		return b, fmt.Errorf("%s is for %v: build it with GOARCH=amd64 or GOARCH=arm64", path, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return b, fmt.Errorf("%s needs a dynamic linker, which an empty image lacks: build it with CGO_ENABLED=0", path)
		}
	}
	// A program that is not Go's has no build information, and gets no labels of it.
	if build, err := buildinfo.Read(bytes.NewReader(b.content)); err == nil {
		if v := build.Main.Version; v != "(devel)" {
			b.version = v
		}
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				b.revision = s.Value
			case "vcs.time":
				b.time, _ = time.Parse(time.RFC3339, s.Value)
			}
		}
	}
	return b, nil
}

// created is the time that image and files get: SOURCE_DATE_EPOCH when set (the
// convention of reproducible-builds.org, seconds since 1970), else the commit's,
// else 1970. Never now: two builds of one commit must give one digest.
func created(epoch string, b binary) (time.Time, error) {
	if epoch == "" {
		if b.time.IsZero() {
			return time.Unix(0, 0).UTC(), nil
		}
		return b.time.UTC(), nil
	}
	// A tar header holds no more than 33 bits of seconds.
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 || seconds >= 1<<33 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds since 1970: unset it, or use for example $(git log -1 --format=%%ct)", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// build makes the image: one layer, one file. Equal inputs give an equal digest.
func build(b binary, version string, at time.Time) (v1.Image, error) {
	if version == "" {
		version = b.version
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "kgents", Mode: 0o555, Uid: user, Gid: user,
		Size: int64(len(b.content)), ModTime: at, Format: tar.FormatUSTAR,
	}); err != nil {
		return nil, err
	}
	if _, err := w.Write(b.content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:   l,
		History: v1.History{Created: v1.Time{Time: at}, CreatedBy: "kgents tools/image", Comment: "the one static binary"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", b.arch
	config.Created = v1.Time{Time: at}
	config.Config = v1.Config{
		User:         fmt.Sprintf("%d:%d", user, user),
		Entrypoint:   []string{"/kgents"},
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"8000/tcp": {}},
		Labels:       labels(version, b.revision, at),
	}
	return mutate.ConfigFile(img, config)
}

// labels are those of the OCI image specification; what is unknown is left out.
func labels(version, revision string, at time.Time) map[string]string {
	out := map[string]string{
		"org.opencontainers.image.title":       "kgents",
		"org.opencontainers.image.description": "The billing backbone of an agent SaaS",
		"org.opencontainers.image.source":      "https://github.com/kgents/kgents",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.created":     at.Format(time.RFC3339),
	}
	if version != "" {
		out["org.opencontainers.image.version"] = version
	}
	if revision != "" {
		out["org.opencontainers.image.revision"] = revision
	}
	return out
}

// tagged refuses a name whose image could change under a pod's feet.
func tagged(name string) error {
	last := name[strings.LastIndexByte(name, '/')+1:]
	switch _, tag, found := strings.Cut(last, ":"); {
	case name == "":
		return errors.New("--name is missing: use for example --name ghcr.io/kgents/kgents:v1")
	case strings.Contains(name, "@"):
		return fmt.Errorf("--name %q has a digest: give a tag, the digest is what comes out", name)
	case !found || tag == "" || tag == "latest":
		return fmt.Errorf("--name %q needs a tag of its own, not latest: a pod must say which build it runs", name)
	}
	return nil
}
