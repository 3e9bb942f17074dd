package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// fence is a block of code of a document: its language, its file's name if it has one,
// and what is in it.
var fence = regexp.MustCompile("(?ms)^```([a-z]+)(?: title=\"([^\"]+)\")?\n(.*?)^```$")

const tutorial = "../docs/saas/monetization.md"

// The tutorial is followed to the letter: its files are written, its commands run in its
// order, and what it shows is what they print. In what it shows … stands for anything
// within a line, and a line of … alone for any lines.
func TestTutorial(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	s := &student{t: t, dir: t.TempDir(), data: filepath.Join(home, ".local/share/kgents")}
	bin := filepath.Join(home, "bin")
	if err = os.MkdirAll(bin, 0o700); err == nil {
		err = os.Symlink(binary, filepath.Join(bin, "kgents"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(), "API_PORT=0",
		"GOCACHE=" + goEnv(t, "GOCACHE"), "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local",
	}
	steps := 0
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		language, title, code := block[1], block[2], block[3]
		steps++
		switch {
		case title != "":
			if err := os.WriteFile(filepath.Join(s.dir, title), []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
		case language == "sh" && strings.Contains(code, "kgents up"):
			s.serve(code)
		case language == "sh":
			s.run(code)
		case language == "console":
			s.show(code)
		default:
			steps--
		}
	}
	if steps < 10 {
		t.Errorf("only %d steps were found in %s", steps, tutorial)
	}
}

// student is who follows the tutorial.
type student struct {
	t         *testing.T
	dir, data string
	env       []string
}

// serve starts the program as a command line does: settings, then the command.
func (s *student) serve(line string) {
	s.t.Helper()
	words := strings.Fields(line)
	var settings []string
	for len(words) > 0 && strings.Contains(words[0], "=") {
		settings, words = append(settings, words[0]), words[1:]
	}
	for i, setting := range settings { // it is started in another directory
		name, value, _ := strings.Cut(setting, "=")
		if strings.HasSuffix(name, "_FILE") {
			settings[i] = name + "=" + filepath.Join(s.dir, value)
		}
	}
	p := launch(s.t, append(s.env, settings...), s.data, words[1:]...)
	s.env = append(s.env, "KGENTS_URL="+p.url)
}

// run runs a script, and returns what it printed.
func (s *student) run(script string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", script)
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("the tutorial's\n%s\nends with %v:\n%s", script, err, out)
	}
	return string(out)
}

// show runs each command of a block and holds what it prints against what stands below
// it. What it prints may take a moment to be true: it is asked again for a while. A
// command whose line ends in # exits … with a code of its own is expected to.
func (s *student) show(block string) {
	s.t.Helper()
	for _, part := range strings.Split("\n"+block, "\n$ ")[1:] {
		command, want, _ := strings.Cut(part, "\n")
		pattern := regexp.MustCompile(`^` + shown(want) + `\s*$`)
		once := strings.Contains(command, "go run") // it changes something
		eventually(s.t, 30*time.Second, func() (bool, any) {
			got := s.run(command)
			if ok := pattern.MatchString(strings.TrimRight(got, "\n")); ok || once {
				if !ok {
					s.t.Fatalf("$ %s\nprints\n%s\nand the tutorial shows\n%s", command, got, want)
				}
				return true, nil
			}
			return false, "$ " + command + "\nprints\n" + got + "\nand the tutorial shows\n" + want
		})
	}
}

// shown is a pattern for what a document shows.
func shown(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimRight(line, "\n")
		if strings.TrimSpace(line) == "…" {
			b.WriteString(`(?s:.*?)`)
			continue
		}
		parts := strings.Split(strings.TrimRight(line, " "), "…")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		b.WriteString(strings.Join(parts, `.*`) + ` *\n?`)
	}
	return b.String()
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
