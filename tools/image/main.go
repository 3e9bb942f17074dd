// Command image makes a container image from nothing but one static Linux binary:
// no base, no shell, no package that could need a patch. It writes an archive as
// `docker save` does, which docker, kind, k3d and containerd load, or pushes to a
// registry with the credentials that docker has. The same binary gives the same
// digest, always and everywhere; that is what it prints. When the registry or the
// file can't be written it says so, exits 1 and leaves no half of an archive.
//
//	go run -C tools ./image --binary ../bin/kgents --name ghcr.io/kgents/kgents:v1 --output image.tar
//
// Paths are those of the folder it runs in: with -C tools, that is tools.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout, os.Stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "image: "+err.Error())
	os.Exit(1)
}

// run makes the image that args ask for and prints its digest to stdout.
func run(ctx context.Context, args []string, epoch string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("binary", "", "static Linux `file` that becomes /kgents")
	ref := flags.String("name", "", "name and tag of the image, such as ghcr.io/kgents/kgents:v1")
	output := flags.String("output", "", "archive `file` to write")
	push := flags.Bool("push", false, "push to the registry in the name")
	version := flags.String("version", "", "version for the label, instead of the binary's own")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("no arguments are taken, not %q: see --help", flags.Arg(0))
	case *path == "":
		return errors.New("--binary is missing: name a static Linux binary")
	case *output == "" && !*push:
		return errors.New("nothing to do: give --output FILE, --push or both")
	}
	if err := tagged(*ref); err != nil {
		return err
	}
	tag, err := name.NewTag(*ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("--name %q is no image name: use for example ghcr.io/kgents/kgents:v1", *ref)
	}
	b, err := readBinary(*path)
	if err != nil {
		return err
	}
	at, err := created(epoch, b)
	if err != nil {
		return err
	}
	img, err := build(b, *version, at)
	if err != nil {
		return err
	}
	if *output != "" {
		if err := save(*output, tag, img); err != nil {
			return err
		}
	}
	if *push {
		if err := remote.Write(tag, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("can't push %s: %w; log in with 'docker login %s', and check that the repository exists", tag, err, tag.RegistryStr())
		}
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, digest)
	return err
}

// save writes the archive under its name only when it is whole.
func save(path string, tag name.Tag, img v1.Image) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".image-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err = tarball.Write(tag, img, f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
