package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const incidents = "../docs/saas/operating-with-the-shell.md"

// For who writes the page: what the lines print, tests passing or not.
var printIncidents = flag.Bool("print-incidents", false, "print what the lines of the incidents print, and compare nothing")

// incident is a chapter of the page: its title, and what stands in it in its order.
type incident struct {
	title string
	steps []incidentStep
}

// incidentStep is a line of the shell with what it prints, or something that happens.
type incidentStep struct {
	line     int
	happens  string // from a comment: <!-- happens: the meter is mended -->
	observer string // from a comment, for what follows: <!-- observer: admin -->
	expr     string
	shows    string
}

// comment is an instruction to this test that a reader doesn't see.
var comment = regexp.MustCompile(`^<!-- (happens|observer): (.+) -->$`)

func readIncidents(t *testing.T) (out []incident) {
	t.Helper()
	text, err := os.ReadFile(incidents)
	if err != nil {
		t.Fatal(err)
	}
	var at *incident
	fenced, observer := "", "default"
	var step *incidentStep
	for n, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced == "" {
				fenced = cmp.Or(strings.TrimPrefix(line, "```"), "text")
			} else {
				fenced = ""
			}
			step = nil
		case fenced == "agentese" && strings.HasPrefix(line, "> "):
			if at == nil {
				t.Fatalf("line %d: a command stands outside of the incidents", n+1)
			}
			at.steps = append(at.steps, incidentStep{line: n + 1, observer: observer, expr: strings.TrimPrefix(line, "> ")})
			step = &at.steps[len(at.steps)-1]
		case fenced == "agentese" && step != nil:
			step.shows += line + "\n"
		case fenced != "":
		case regexp.MustCompile(`^## \d+\. `).MatchString(line):
			out = append(out, incident{title: strings.TrimPrefix(line, "## ")})
			at, observer = &out[len(out)-1], "default"
		case strings.HasPrefix(line, "## "):
			at = nil
		case comment.MatchString(line) && at != nil:
			m := comment.FindStringSubmatch(line)
			if m[1] == "observer" {
				observer = m[2]
			} else {
				at.steps = append(at.steps, incidentStep{line: n + 1, happens: m[2]})
			}
		}
	}
	return out
}

// Every incident of the page happens, and is worked through as it stands there: its
// lines are run in the shell in their order, and what the page shows is what they print.
// In what it shows … stands for anything within a line, and a line of … alone for any
// lines. A line is run again for a while until it prints so, unless it changes something.
func TestIncidents(t *testing.T) {
	all := readIncidents(t)
	if len(all) < 10 {
		t.Fatalf("%s has %d incidents, and there should be 10", incidents, len(all))
	}
	stages := stages()
	for _, in := range all {
		number, _, _ := strings.Cut(in.title, ".")
		t.Run(in.title, func(t *testing.T) {
			t.Parallel()
			stage, ok := stages[number]
			if !ok {
				t.Fatalf("nothing makes incident %s happen: add it to stages", number)
			}
			s := stage(t)
			if len(in.steps) < 3 {
				t.Errorf("only %d steps", len(in.steps))
			}
			state := t.TempDir()
			for _, step := range in.steps {
				if step.happens != "" {
					act, ok := s.acts[step.happens]
					if !ok {
						t.Fatalf("line %d: nothing makes happen that %s", step.line, step.happens)
					}
					act()
					continue
				}
				s.work(t, state, step)
			}
		})
	}
}

// scene is a system in trouble.
type scene struct {
	*process
	env  []string          // of the shell
	acts map[string]func() // what happens in between
	vars map[string]string // $NAME in a line, and in what it shows
}

func (s *scene) work(t *testing.T, state string, step incidentStep) {
	t.Helper()
	expr, shows := step.expr, strings.TrimRight(step.shows, "\n")
	for name, value := range s.vars {
		expr, shows = strings.ReplaceAll(expr, "$"+name, value), strings.ReplaceAll(shows, "$"+name, value)
	}
	pattern := regexp.MustCompile(`^` + aligned(shown(shows)) + `\s*$`)
	once := strings.Contains(expr, "[yes]")
	if *printIncidents {
		time.Sleep(8 * time.Second) // until what happened shows
	}
	eventually(t, time.Minute, func() (bool, any) {
		out, errs, _ := run(t, s.env, "repl", "--state", state, "--observer", step.observer, "-c", expr)
		var kept []string // the page shows no trailing blanks
		for _, line := range strings.Split(strings.TrimRight(out+errs, "\n"), "\n") {
			kept = append(kept, strings.TrimRight(line, " "))
		}
		got := strings.Join(kept, "\n")
		if *printIncidents {
			t.Logf("line %d\n> %s\n%s", step.line, expr, got)
			return true, nil
		}
		ok := pattern.MatchString(got)
		if !ok && once {
			t.Fatalf("line %d: > %s\nprints\n%s\nand the page shows\n%s", step.line, expr, got, shows)
		}
		if !ok {
			time.Sleep(300 * time.Millisecond) // a process each time is enough work
		}
		return ok, fmt.Sprintf("line %d: > %s\nprints\n%s\nand the page shows\n%s", step.line, expr, got, shows)
	})
}

// blanks is where columns are apart: what stands in them moves them.
var blanks = regexp.MustCompile(` {2,}`)

// aligned is a pattern that doesn't count the blanks between columns.
func aligned(pattern string) string { return blanks.ReplaceAllString(pattern, ` +`) }

// shell is the environment of a shell of the program's operator.
func shell(t *testing.T, p *process, extra ...string) []string {
	env := slices.DeleteFunc(environ(extra...), func(v string) bool { return strings.HasPrefix(v, "HOME=") })
	return append(env, "HOME="+t.TempDir(), "KGENTS_URL="+p.url)
}

// a program with everything in it.
func alone(t *testing.T, env ...string) *scene {
	dir := t.TempDir()
	p := launch(t, environ(env...), dir, "up", "--data", dir, "--api-port", "0")
	return &scene{process: p, env: shell(t, p), acts: map[string]func(){}, vars: map[string]string{"DATA": filepath.Clean(dir)}}
}
