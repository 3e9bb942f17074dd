package checks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/joho/godotenv"

	"github.com/kgents/kgents/checklist"
)

// maxBlob bounds a file of the repository that is looked into, in bytes: what is larger
// was not written by hand.
const maxBlob = 4 << 20

// notInGit looks through every version of every file that is in git, whatever branch
// it is on, and through the tracked files as they are now. Of tests it wants only that
// they hold no known value and no live key.
func (m *manifestArea) notInGit(ctx context.Context) checklist.Finding {
	if m.Repository == "" {
		return checklist.CannotTell("no git repository is known", "name the work tree of the deployment's files: --repository")
	}
	if _, err := exec.LookPath("git"); err != nil {
		return checklist.CannotTell("git is not there", "install git, or run this where it is")
	}
	if _, err := git(ctx, m.Repository, "rev-parse", "--is-inside-work-tree"); err != nil {
		return checklist.CannotTell(cut(m.Repository+" is no git work tree", evidence), "name the work tree of the deployment's files: --repository")
	}
	l := m.ours()
	if err := learnFrom(l, m.SecretsDir); err != nil {
		return checklist.CannotTell(cut(err.Error(), evidence), "let this user read the directory of kgents secrets, or name another: --secrets-dir")
	}
	if o := m.Objects(ctx); o != nil && o.Secrets.Err == nil {
		maps.Copy(l.known, m.ofCluster(o).known)
	}
	files, now, err := m.tracked(ctx, l)
	if err != nil {
		return blindGit(err)
	}
	versions, ever, err := m.history(ctx, l)
	if err != nil {
		return blindGit(err)
	}
	const next = "rotate it first: kgents secrets rotate; then take the file out of git, and out of its history where you can"
	if now.any() {
		return checklist.Failed(now.String(), next)
	}
	if ever.any() {
		return checklist.Failed(cut("in the history: "+ever.String(), evidence), next)
	}
	return checklist.Passed("%s and %s of files on all branches hold no form of a secret, and none of %s", plural(files, "tracked file"), plural(versions, "version"), plural(len(l.known), "known value"))
}

func blindGit(err error) checklist.Finding {
	return checklist.CannotTell(cut(err.Error(), evidence), "try git log in the repository; a broken one must be cloned anew")
}

// learnFrom learns the values in a directory of `kgents secrets`, if it is there.
func learnFrom(l *leaks, dir string) error {
	if dir == "" {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path == dir:
			return nil
		case err != nil || !e.Type().IsRegular():
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		what := "what is in " + filepath.ToSlash(name) + " of kgents secrets"
		switch filepath.Ext(path) {
		case ".env":
			values, err := godotenv.UnmarshalBytes(text)
			if err != nil {
				return fmt.Errorf("%s is no file of variables", name)
			}
			for _, value := range values {
				l.learn(what, value)
			}
		case ".nk", ".key":
			l.learn(what, string(text))
		}
		return nil
	})
}

// tracked looks into the files of the work tree that git knows.
func (m *manifestArea) tracked(ctx context.Context, l *leaks) (files int, wrong faults, err error) {
	list, err := git(ctx, m.Repository, "ls-files", "-z", "--full-name", ":/")
	if err != nil {
		return 0, wrong, err
	}
	top, err := git(ctx, m.Repository, "rev-parse", "--show-toplevel")
	if err != nil {
		return 0, wrong, err
	}
	root, err := os.OpenRoot(strings.TrimSpace(string(top)))
	if err != nil {
		return 0, wrong, err
	}
	defer root.Close()
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		info, err := root.Lstat(filepath.FromSlash(name))
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxBlob {
			continue // deleted here, a link or a submodule; its versions are looked at
		}
		text, err := root.ReadFile(filepath.FromSlash(name))
		if err != nil {
			return 0, wrong, fmt.Errorf("%s can't be read: %w", name, err)
		}
		files++
		if what, line := l.in(name).where(text); what != "" {
			wrong.add(name+":"+strconv.Itoa(line), what)
		}
	}
	return files, wrong, nil
}

// history looks into every blob that any branch or tag has had.
func (m *manifestArea) history(ctx context.Context, l *leaks) (versions int, wrong faults, err error) {
	// Names have no secret, so a list of a large repository is only long.
	list, err := git(ctx, m.Repository, "rev-list", "--objects", "--all", "--filter=blob:limit="+strconv.Itoa(maxBlob))
	if err != nil {
		return 0, wrong, err
	}
	path := map[string]string{}
	for line := range strings.Lines(string(list)) {
		if id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok && name != "" {
			path[id] = name
		}
	}
	ids := &bytes.Buffer{}
	for id := range path {
		fmt.Fprintln(ids, id)
	}
	if ids.Len() == 0 {
		return 0, wrong, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := command(ctx, m.Repository, "cat-file", "--batch", "--buffer")
	cmd.Stdin = ids
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, wrong, err
	}
	if err := cmd.Start(); err != nil {
		return 0, wrong, err
	}
	found := map[string]string{}
	r := bufio.NewReaderSize(out, 1<<16)
	for range path {
		id, kind, text, err := readObject(r)
		if err != nil {
			cancel()
			_ = cmd.Wait() // it was killed
			return 0, wrong, fmt.Errorf("git cat-file: %w", err)
		}
		if kind != "blob" {
			continue
		}
		versions++
		if what := l.in(path[id]).find(text); what != "" {
			found[path[id]] = what
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, wrong, fmt.Errorf("git cat-file: %w", err)
	}
	for _, name := range sortedKeys(found) {
		wrong.add(name, found[name])
	}
	return versions, wrong, nil
}

// in is how a file of that name is looked into.
func (l *leaks) in(name string) *leaks {
	test := *l
	test.tests = strings.HasSuffix(name, "_test.go") || strings.Contains("/"+name, "/testdata/")
	return &test
}

// readObject reads one answer of git cat-file --batch.
func readObject(r *bufio.Reader) (id, kind string, text []byte, err error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return "", "", nil, err
	}
	var size int64
	if n, _ := fmt.Sscanf(head, "%s %s %d", &id, &kind, &size); n != 3 {
		return "", "", nil, errors.New("an object is missing")
	}
	text = make([]byte, size+1) // and the line's end
	_, err = io.ReadFull(r, text)
	return id, kind, text[:size], err
}

// git runs a command that only reads.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := command(ctx, dir, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, cut(stderr.String(), 80))
	}
	return out, nil
}

func command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	// No pager, no question, and no lock that a developer's git would wait for.
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
	return cmd
}
