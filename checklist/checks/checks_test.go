package checks

import (
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/kgents/kgents/checklist"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // most rows wait for others
	goleak.VerifyTestMain(m)
}

// row is a system and what a check must find there. Its name is "passes", or begins
// with "fails: ", "warns: " or "cannot tell: ".
type row struct {
	id, name string
	system   func(t *testing.T) *System
	evidence string // part of what is found
}

// areas make the rows of each area; t outlives them all. Each area's test adds its own.
var areas []func(t *testing.T) []row

var verdicts = map[string]checklist.Verdict{
	"passes": checklist.Pass, "fails": checklist.Fail, "warns": checklist.Warn, "cannot tell": checklist.Unknown,
}

// Each check passes where all is well, and finds what is broken in just that way.
func TestChecks(t *testing.T) {
	var rows []row
	for _, area := range areas {
		rows = append(rows, area(t)...)
	}
	proved := map[string]map[string]bool{}
	for _, r := range rows {
		kind, _, _ := strings.Cut(r.name, ":")
		if proved[r.id] == nil {
			proved[r.id] = map[string]bool{}
		}
		proved[r.id][kind] = true
	}
	for id := range All(&System{}) {
		// A bucket that is elsewhere can't be had in a test: TestNear is about its name.
		if !proved[id]["fails"] || !proved[id]["passes"] && id != "backup-elsewhere" {
			t.Errorf("%s has no row in which it passes, or none in which the system is broken and it fails: %v", id, proved[id])
		}
	}
	t.Run("all", func(t *testing.T) { // ends before the servers do
		for _, r := range rows {
			t.Run(r.id+"/"+r.name, func(t *testing.T) {
				t.Parallel()
				kind, _, _ := strings.Cut(r.name, ":")
				want, known := verdicts[kind]
				if !known {
					t.Fatalf("the row's name says no verdict")
				}
				s := r.system(t)
				client := &http.Client{
					Transport:     http.DefaultTransport.(*http.Transport).Clone(),
					CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
				}
				t.Cleanup(client.CloseIdleConnections)
				if s.HTTP == nil {
					s.HTTP = client
				}
				check := All(s)[r.id]
				if check == nil {
					t.Fatal("there is no such check")
				}
				got := check(t.Context())
				if got.Verdict != want || !strings.Contains(got.Evidence, r.evidence) {
					t.Errorf("found %s: %s (%s)\nwant %s: %s", got.Verdict, got.Evidence, got.Next, want, r.evidence)
				}
				if n := utf8.RuneCountInString(got.Evidence); n > 240 || n == 0 {
					t.Errorf("the evidence has %d characters: %s", n, got.Evidence)
				}
				if (got.Next == "") != (got.Verdict == checklist.Pass) {
					t.Errorf("a %s says what to do next: %q", got.Verdict, got.Next)
				}
				for _, secret := range append(append([]string{s.MeterKey}, s.APIKeys...), s.WebhookSecrets...) {
					if len(secret) > 6 && strings.Contains(got.Evidence+got.Next, secret) {
						t.Errorf("a secret is shown: %s (%s)", got.Evidence, got.Next)
					}
				}
			})
		}
	})
}

// drain reads a body to its end, for a server whose answer doesn't need it.
func drain(r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
