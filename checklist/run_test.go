package checklist_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/checklist"
)

const three = `categories:
- id: first
  title: First
  what: The first.
  phase: PLAN
  items:
  - {id: blocks, title: T, why: W, blocking: true, owner: founder, automatic: true, link: runbook.md}
  - {id: later, title: T, why: W, blocking: false, due: launch+30d, owner: founder, automatic: true, link: runbook.md}
- id: second
  title: Second
  what: The second.
  phase: TEST
  items:
  - {id: there, title: T, why: W, blocking: true, owner: founder, automatic: true, on: [kubernetes], link: runbook.md}
  - {id: person, title: T, why: W, blocking: true, owner: founder, steps: [look], keep: a note, link: runbook.md}
`

func parse(t *testing.T, text string) checklist.List {
	t.Helper()
	l, err := checklist.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func always(f checklist.Finding) checklist.Check {
	return func(context.Context) checklist.Finding { return f }
}

var (
	good  = always(checklist.Passed("seen"))
	wrong = always(checklist.Failed("broken", "mend it"))
	signs = checklist.SignOffs{{Item: "person", By: "Ada", At: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Evidence: "note 1"}}
)

func TestRun(t *testing.T) {
	for _, test := range []struct {
		name   string
		checks map[string]checklist.Check
		o      checklist.Options
		ok     bool
		want   map[string]checklist.Verdict
		left   int
	}{
		{
			"all well", map[string]checklist.Check{"blocks": good, "later": good, "there": good},
			checklist.Options{Target: checklist.Kubernetes, SignOffs: signs}, true,
			map[string]checklist.Verdict{"blocks": "pass", "later": "pass", "there": "pass", "person": "signed"}, 0,
		},
		{
			"what isn't for the target is left out", map[string]checklist.Check{"blocks": good, "later": good, "there": wrong},
			checklist.Options{Target: checklist.Local, SignOffs: signs}, true,
			map[string]checklist.Verdict{"blocks": "pass", "later": "pass", "person": "signed"}, 1,
		},
		{
			"a failure that blocks", map[string]checklist.Check{"blocks": wrong, "later": good, "there": good},
			checklist.Options{Target: checklist.Kubernetes, SignOffs: signs}, false,
			map[string]checklist.Verdict{"blocks": "fail", "later": "pass", "there": "pass", "person": "signed"}, 0,
		},
		{
			"a failure that does not block", map[string]checklist.Check{"blocks": good, "later": wrong, "there": good},
			checklist.Options{Target: checklist.Kubernetes, SignOffs: signs}, true,
			map[string]checklist.Verdict{"blocks": "pass", "later": "fail", "there": "pass", "person": "signed"}, 0,
		},
		{
			"a warning does not block", map[string]checklist.Check{"blocks": always(checklist.Warned("soon", "mind it"))},
			checklist.Options{Target: checklist.Local, Categories: []string{"first"}, Blocking: true}, true,
			map[string]checklist.Verdict{"blocks": "warn"}, 0,
		},
		{
			"no check is no pass", nil,
			checklist.Options{Target: checklist.Local, SignOffs: signs, Blocking: true}, false,
			map[string]checklist.Verdict{"blocks": "unknown", "person": "signed"}, 1,
		},
		{
			"nobody has signed", map[string]checklist.Check{"blocks": good, "later": good, "there": good},
			checklist.Options{Target: checklist.Kubernetes}, false,
			map[string]checklist.Verdict{"blocks": "pass", "later": "pass", "there": "pass", "person": "open"}, 0,
		},
		{
			"a check that breaks is no pass, and takes no other with it",
			map[string]checklist.Check{"blocks": func(context.Context) checklist.Finding { panic("oh") }, "later": good},
			checklist.Options{Target: checklist.Local, SignOffs: signs}, false,
			map[string]checklist.Verdict{"blocks": "unknown", "later": "pass", "person": "signed"}, 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := checklist.Run(t.Context(), parse(t, three), test.checks, test.o)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]checklist.Verdict{}
			for _, res := range r.Results {
				got[res.ID] = res.Verdict
				if res.Verdict != checklist.Pass && res.Verdict != checklist.Signed && res.Next == "" {
					t.Errorf("%s does not say what to do", res.ID)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("verdicts (-want +got)\n%s", diff)
			}
			if r.OK != test.ok || r.Left != test.left {
				t.Errorf("OK %t with %d left out, want %t with %d", r.OK, r.Left, test.ok, test.left)
			}
		})
	}
}

func TestRunUnknownCategory(t *testing.T) {
	_, err := checklist.Run(t.Context(), parse(t, three), nil, checklist.Options{Categories: []string{"third"}})
	if err == nil || !strings.Contains(err.Error(), "first, second") {
		t.Errorf("got %v, want the categories that there are", err)
	}
}

// A check that minds no deadline keeps nobody waiting, one that does has the last word.
func TestRunLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		began := time.Now()
		r, err := checklist.Run(t.Context(), parse(t, three), map[string]checklist.Check{
			"blocks": func(context.Context) checklist.Finding { <-release; return checklist.Passed("at last") },
			"later": func(ctx context.Context) checklist.Finding {
				<-ctx.Done()
				return checklist.CannotTell("the meter does not answer", "look at it")
			},
		}, checklist.Options{Target: checklist.Local, Categories: []string{"first"}, Patience: 10 * time.Second})
		close(release)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 12*time.Second {
			t.Errorf("took %s, want the patience and the grace", took)
		}
		if got := r.Results[0].Evidence; got != "no answer in time" {
			t.Errorf("the late one: %q", got)
		}
		if got := r.Results[1].Evidence; got != "the meter does not answer" {
			t.Errorf("the one that minds its context: %q", got)
		}
	})
}

// Checks run side by side, a dozen at most, and each is told when it is done.
func TestRunParallel(t *testing.T) {
	text := "categories:\n- {id: c, title: C, what: C., phase: QA, items: [\n"
	for n := range 30 {
		text += fmt.Sprintf("  {id: i%d, title: T, why: W, blocking: true, owner: founder, automatic: true, link: runbook.md},\n", n)
	}
	l := parse(t, text+"]}\n")
	synctest.Test(t, func(t *testing.T) {
		var (
			mu        sync.Mutex
			now, most int
		)
		checks := map[string]checklist.Check{}
		for _, i := range l.Items() {
			checks[i.ID] = func(context.Context) checklist.Finding {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				now--
				mu.Unlock()
				return checklist.Passed("seen")
			}
		}
		var told []int
		r, err := checklist.Run(t.Context(), l, checks, checklist.Options{Target: checklist.Local, Progress: func(_ string, done, total int) {
			if total != 30 {
				t.Errorf("of %d, want 30", total)
			}
			told = append(told, done)
		}})
		if err != nil || !r.OK {
			t.Fatalf("%v, OK %t", err, r.OK)
		}
		if most != 12 {
			t.Errorf("%d side by side, want 12", most)
		}
		for n, done := range told {
			if n != done {
				t.Fatalf("told %v", told)
			}
		}
		if len(told) != 31 {
			t.Errorf("told %d times, want 31", len(told))
		}
	})
}
