package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// deadLetter is what `kgents deadletter list --output json` says of one.
type deadLetter struct {
	Seq                        uint64
	Reason, Detail, Source, ID string
	Status, Count              int
}

// deadLetters runs `kgents deadletter` and returns the letters that it lists.
func (p *process) deadLetters(args ...string) (list []deadLetter) {
	p.t.Helper()
	out := p.deadletter(append([]string{"list", "--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	return list
}

// deadletter runs a command that succeeds.
func (p *process) deadletter(args ...string) string {
	p.t.Helper()
	out, errs, code := run(p.t, environ("KGENTS_URL="+p.url), append([]string{"deadletter"}, args...)...)
	if code != 0 {
		p.t.Fatalf("kgents deadletter %q: exit code %d: %s%s", args, code, out, errs)
	}
	return out
}

// An event that the meter refuses is listed with the meter's words, is a letter
// again when it is replayed too early, and counts once when it is replayed after
// the meter was mended. A restart in between forgets none of it.
func TestDeadLetters(t *testing.T) {
	o := newOpenMeter(t)
	dir := t.TempDir()
	p := withMeter(t, o, dir)
	r := usage(0, 10)
	r.body = []byte(strings.Replace(string(r.body), `"agent":"a"`, `"agent":"poison"`, 2))
	p.send(r)
	var list []deadLetter
	listed := func(n, count int) func() (bool, any) {
		return func() (bool, any) {
			list = p.deadLetters()
			return len(list) == n && (n == 0 || list[0].Count == count && list[n-1].Count == count), list
		}
	}
	eventually(t, time.Minute, listed(2, 1))
	if l := list[0]; l.ID != "evt-0" || l.Source != "e2e" || l.Reason != "refused" || l.Status != 400 || l.Detail != "this event is refused" {
		t.Errorf("the first letter is %+v", l)
	}
	if got := p.deadLetters("--customer", "customer-1", "--type", "agent.tokens", "--since", "1h"); len(got) != 1 || got[0].ID != "evt-1" {
		t.Errorf("the letters of one customer are %+v, want that of event 1", got)
	}

	// Too early, and at once.
	p.deadletter("replay", "--all")
	eventually(t, time.Minute, listed(2, 2))
	p.kill()
	p = withMeter(t, o, dir)
	if ok, _ := listed(2, 2)(); !ok {
		t.Fatalf("after a restart the letters are %+v", list)
	}

	o.heal()
	p.deadletter("replay", fmt.Sprint(list[0].Seq))
	p.deadletter("replay", "--all", "--reason", "refused")
	eventually(t, time.Minute, func() (bool, any) { return o.events() == 10, o.events() })
	eventually(t, time.Minute, func() (bool, any) {
		backlog := p.metric("kgents_backlog_messages")
		return backlog == "0", backlog
	})
	if ok, last := listed(0, 0)(); !ok {
		t.Errorf("letters are left: %v", last)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for n := range 2 {
		if o.counted[fmt.Sprint("e2e evt-", n)] == 0 { // 2 if the kill took an acknowledgement with it: one identity all the same
			t.Errorf("event %d was not counted under its own identity", n)
		}
	}
}
