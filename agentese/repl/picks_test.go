package repl

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese/search"
)

const usual = "the usual look at things"

// What a person picked comes first in the next session, from a file of the user alone.
func TestPicksAreKept(t *testing.T) {
	dir := t.TempDir()
	none := func(o *Options) { o.Model, o.State = nil, dir }
	shell := func() *rig {
		r := modelled(t, &model{}, none)
		r.search = newIndex(t)
		if err := r.recall(); err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := shell()
	offers, wrote := first.asks(usual, "n")
	if len(offers) < 3 {
		t.Fatalf("wrote:\n%s", wrote)
	}
	want := offers[2]
	first.asks(usual, "3")
	if got, wrote := shell().asks(usual, "n"); len(got) == 0 || got[0] != want {
		t.Errorf("the pick %s is not first:\n%s", want, wrote)
	}
	info, err := os.Stat(first.keep.path("picks.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// What nobody picked, or looks like a key, is not kept.
func TestPicksHoldNoKey(t *testing.T) {
	r := newRig(t, nil)
	const key = "sk_live_abcDEF123456"
	r.learn("is "+key+" still in use", "world.redis.manifest", true)
	r.learn("where is it", `self.memory.manifest[like="`+key+`"]`, true)
	r.learn("by itself", "world.redis.manifest", false)
	b, err := os.ReadFile(r.keep.path("picks.jsonl"))
	if err != nil || strings.Count(string(b), "\n") != 1 || strings.Contains(string(b), "abcDEF") || !strings.Contains(string(b), masked) {
		t.Errorf("%s, %v", b, err)
	}
	r.learn(strings.Repeat("é", 4000), "world.redis.manifest", true)
	if picks, err := r.keep.picks(); err != nil || len(picks) != 2 || len(picks[1].Question) > search.MaxQuestion {
		t.Errorf("%d picks, %v", len(picks), err)
	}
}

// recalled takes what a shell has handed to its search.
type recalled struct {
	canned
	uses []search.Use
}

func (r *recalled) Recall(uses []search.Use) { r.uses = uses }

// Only what still is something here is taken up.
func TestPicksAreChecked(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	line := func(at time.Time, question, expr string) string {
		return fmt.Sprintf("{\"at\":%q,\"question\":%q,\"expression\":%q}\n", at.Format(time.RFC3339), question, expr)
	}
	r := newRig(t, func(o *Options) { o.Now = func() time.Time { return now } })
	file := line(now, "good", "world.redis.manifest") +
		line(now.AddDate(0, -6, 0), "of a customer", "world.customers.acme.usage.manifest") +
		line(now.AddDate(-2, 0, 0), "too old", "world.redis.manifest") +
		line(now.AddDate(1, 0, 0), "not yet", "world.redis.manifest") +
		line(now, "no path any more", "world.rabbitmq.manifest") +
		line(now, "no clause", "world.redis.manifest[nonsense=1]") +
		line(now, "no expression", "world..[") +
		line(now, "two steps", "world.redis.manifest >> concept.identity.manifest") +
		line(now, "a key", `world.customers.sk_live_abcdef.manifest`) +
		line(now, strings.Repeat("long ", 100), "world.redis.manifest") +
		line(now, "", "world.redis.manifest") +
		`{"at":"` + now.Format(time.RFC3339) + `","question":"\u001b[2J","expression":"world.redis.manifest"}` + "\n" +
		"{\"at\":\n[1]\nnull\n" + strings.Repeat("x", 10_000) + "\n" + `{"question":"no time","expression":"world.redis.manifest"}` + "\n"
	if err := os.WriteFile(r.keep.path("picks.jsonl"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	got := &recalled{}
	r.search = got
	if err := r.recall(); err != nil {
		t.Fatal(err)
	}
	want := []search.Use{
		{Question: "good", Expr: "world.redis.manifest", At: now},
		{Question: "of a customer", Expr: "world.customers.acme.usage.manifest", At: now.AddDate(0, -6, 0)},
	}
	if diff := cmp.Diff(want, got.uses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Two shells at once keep each other's picks; the file is bounded, and a question has
// one pick.
func TestPicksOfTwoShells(t *testing.T) {
	dir := t.TempDir()
	var shells sync.WaitGroup
	for shell := range 2 {
		k, err := openKeep(dir)
		if err != nil {
			t.Fatal(err)
		}
		shells.Go(func() {
			for i := range 30 {
				if err := k.addPick(pick{At: time.Unix(int64(i+1), 0), Question: fmt.Sprintf("shell %d question %d", shell, i), Expr: "world.redis.manifest"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	shells.Wait()
	k, err := openKeep(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := k.picks(); err != nil || len(all) != 60 {
		t.Errorf("%d picks, %v", len(all), err)
	}
	var many strings.Builder
	for i := range 3 * maxPicks {
		_ = writeJSON(&many, pick{At: time.Unix(int64(i+1), 0), Question: fmt.Sprintf("question %d %s", i, strings.Repeat("x", 300)), Expr: "world.redis.manifest"})
	}
	if err := os.WriteFile(k.path("picks.jsonl"), []byte(many.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := k.addPick(pick{At: time.Unix(9, 0), Question: "the newest", Expr: "world.nats.manifest"}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(k.path("picks.jsonl"))
	if err != nil || strings.Count(string(b), "\n") != maxPicks || strings.Count(string(b), "the newest") != 1 {
		t.Errorf("%d lines, %v", strings.Count(string(b), "\n"), err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("what is there beside the picks and the lock: %v, %v", left, err)
	}
}
