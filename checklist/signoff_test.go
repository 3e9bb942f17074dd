package checklist_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/checklist"
)

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

// Words are added to the file, sorted, and read again as they were.
func TestSignOffs(t *testing.T) {
	l := theList(t)
	path := filepath.Join(t.TempDir(), "sign-offs.yaml")
	words := checklist.SignOffs{
		{Item: "on-call", By: "Ada", At: day("2026-11-20"), Evidence: "rota: page 3 # of the wiki"},
		{Item: "ci-green", By: "Bob 'b' O'Neil", At: day("2026-11-21"), Evidence: "run 4711", Until: day("2027-02-01")},
	}
	for _, w := range words {
		if err := w.Add(path, l); err != nil {
			t.Fatal(err)
		}
	}
	got, err := checklist.ReadSignOffs(path, l)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(checklist.SignOffs{words[1], words[0]}, got); diff != "" {
		t.Errorf("read again (-want +got)\n%s", diff)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if none, err := checklist.ReadSignOffs(filepath.Join(t.TempDir(), "none.yaml"), l); err != nil || none != nil {
		t.Errorf("a file that isn't there: %v, %v", none, err)
	}
}

func TestSignOffRefused(t *testing.T) {
	l := theList(t)
	right := checklist.SignOff{Item: "on-call", By: "Ada", At: day("2026-11-20"), Evidence: "a note"}
	for name, test := range map[string]struct {
		change func(*checklist.SignOff)
		want   string
	}{
		"no such item":      {func(s *checklist.SignOff) { s.Item = "moon" }, "no item \"moon\""},
		"the program looks": {func(s *checklist.SignOff) { s.Item = "nats-sync" }, "nobody signs for it"},
		"nobody":            {func(s *checklist.SignOff) { s.By = "  " }, "--by"},
		"no evidence":       {func(s *checklist.SignOff) { s.Evidence = "" }, "--evidence"},
		"two lines":         {func(s *checklist.SignOff) { s.Evidence = "a\nb" }, "one line"},
		"a novel":           {func(s *checklist.SignOff) { s.Evidence = strings.Repeat("a", 501) }, "500 bytes"},
		"ends too soon":     {func(s *checklist.SignOff) { s.Until = s.At }, "ends before it begins"},
		"no time":           {func(s *checklist.SignOff) { s.At = time.Time{} }, "has no time"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s.yaml")
			s := right
			test.change(&s)
			if err := s.Add(path, l); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("the file was written all the same")
			}
		})
	}
	t.Run("a file that somebody broke", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s.yaml")
		for text, want := range map[string]string{
			"sign_offs: [":                    "can't be read",
			"sign_off: []":                    "unknown field",
			"sign_offs: [{item: on-call}]":    "has no time",
			strings.Repeat("#", 1<<20) + "\n": "more than",
		} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := right.Add(path, l); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%.20q: got %v, want an error with %q", text, err, want)
			}
			if now, _ := os.ReadFile(path); string(now) != text {
				t.Errorf("%.20q was overwritten", text)
			}
		}
	})
}

// The newest word counts, until its day has come.
func TestSignOffCounts(t *testing.T) {
	l := parse(t, three)
	now := time.Now()
	for name, test := range map[string]struct {
		words checklist.SignOffs
		want  checklist.Verdict
		says  string
	}{
		"nobody":    {nil, checklist.Open, "nobody"},
		"signed":    {checklist.SignOffs{{Item: "person", By: "Ada", At: now.Add(-time.Hour), Evidence: "note"}}, checklist.Signed, "Ada"},
		"ended":     {checklist.SignOffs{{Item: "person", By: "Ada", At: now.Add(-48 * time.Hour), Evidence: "note", Until: now.Add(-time.Hour)}}, checklist.Open, "until"},
		"holds on":  {checklist.SignOffs{{Item: "person", By: "Ada", At: now.Add(-48 * time.Hour), Evidence: "note", Until: now.Add(time.Hour)}}, checklist.Signed, "Ada"},
		"to come":   {checklist.SignOffs{{Item: "person", By: "Ada", At: now.Add(48 * time.Hour), Evidence: "note"}}, checklist.Open, "to come"},
		"of others": {checklist.SignOffs{{Item: "else", By: "Ada", At: now, Evidence: "note"}}, checklist.Open, "nobody"},
		"the newest": {checklist.SignOffs{
			{Item: "person", By: "Bob", At: now.Add(-time.Hour), Evidence: "note"},
			{Item: "person", By: "Ada", At: now.Add(-2 * time.Hour), Evidence: "note", Until: now.Add(-time.Hour)},
		}, checklist.Signed, "Bob"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := checklist.Run(t.Context(), l, nil, checklist.Options{Target: checklist.Local, Categories: []string{"second"}, SignOffs: test.words})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Results[0]; got.Verdict != test.want || !strings.Contains(got.Evidence, test.says) {
				t.Errorf("got %s, %q; want %s with %q", got.Verdict, got.Evidence, test.want, test.says)
			}
		})
	}
}
