package memory_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kgents/kgents/admit"
	"github.com/kgents/kgents/admit/admittest"
	"github.com/kgents/kgents/admit/memory"
)

func TestConformance(t *testing.T) {
	admittest.Run(t, admittest.Harness{
		Open:    func(*testing.T) admit.Store { return memory.New(memory.DefaultCapacity) },
		Advance: time.Sleep, // in a bubble: no time passes outside
		Around:  synctest.Test,
		Short:   time.Second,
	})
}

func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(3)
		defer s.Close()
		check := func(id string, want bool) {
			t.Helper()
			if got, err := s.CheckAndSet(t.Context(), id, time.Hour); err != nil || got != want {
				t.Errorf("CheckAndSet(%q) = %v, %v, want %v", id, got, err, want)
			}
		}
		for i := range 4 {
			check(fmt.Sprint(i), true)
		}
		if s.Len() != 3 || s.Evicted() != 1 {
			t.Errorf("after 4 commits into room for 3: %d kept, %d evicted", s.Len(), s.Evicted())
		}
		check("3", false)
		check("1", false)
		check("0", true) // the oldest was forgotten, and takes the place of 1
		check("1", true)

		time.Sleep(time.Hour)
		for i := range 10 {
			check(fmt.Sprint("later", i), true)
		}
		if s.Len() != 3 {
			t.Errorf("%d kept, want 3", s.Len())
		}
	})
}

// An identity that is committed again is as young as its last commit.
func TestCommitAgainIsYoung(t *testing.T) {
	s := memory.New(2)
	defer s.Close()
	for _, id := range []string{"a", "b"} {
		if err := s.Commit(t.Context(), "o", []string{id}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Commit(t.Context(), "o", []string{"a"}, 2*time.Hour); err != nil { // takes the place of the old a
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), "o", []string{"c"}, time.Hour); err != nil { // takes the place of b
		t.Fatal(err)
	}
	states, err := s.Claim(t.Context(), "p", []string{"a", "b", "c"}, time.Minute)
	if err != nil || states[0] != admit.Done || states[1] != admit.Won || states[2] != admit.Done {
		t.Errorf("states = %v, %v, want a and c done, b forgotten", states, err)
	}
}

func BenchmarkClaimCommit(b *testing.B) {
	s := memory.New(memory.DefaultCapacity)
	defer s.Close()
	const batch = 100
	ids := make([]string, batch)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		for i := range ids {
			ids[i] = fmt.Sprintf("service 0191d7a0-%08x-%d", n, i)
		}
		if _, err := s.Claim(b.Context(), "o", ids, time.Minute); err != nil {
			b.Fatal(err)
		}
		if err := s.Commit(b.Context(), "o", ids, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/event")
}
