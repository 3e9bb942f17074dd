package town_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		id   string
		size int
		at   time.Time
	}{
		{"", 3, founded}, {"-a", 3, founded}, {"A", 3, founded}, {"a b", 3, founded}, {"a.b", 3, founded}, {"a\n", 3, founded},
		{strings.Repeat("a", town.MaxIDBytes+1), 3, founded},
		{"a", 0, founded}, {"a", 4, founded}, {"a", -3, founded}, {"a", 26, founded},
		{"a", 3, time.Time{}}, {"a", 3, founded.AddDate(1000, 0, 0)},
	} {
		if _, err := town.New(c.id, c.size, 1, c.at); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("%q of %d at %s: %v", c.id, c.size, c.at, err)
		}
	}
	if _, err := town.New(strings.Repeat("a", town.MaxIDBytes), 25, 0, founded); err != nil {
		t.Error(err)
	}
}

// The citizens that the facts name stand where they say.
func TestPlaces(t *testing.T) {
	capacity := map[string]int{"inn": 10, "square": 20, "garden": 8, "market": 15, "library": 6, "observatory": 6, "workshop": 10, "archive": 8}
	for size, regions := range map[int]int{3: 2, 7: 5, 10: 6, 25: 8} {
		tw := found(t, size, 1)
		places := tw.Places()
		if len(places) != regions || len(tw.Names()) != size {
			t.Errorf("%d citizens in %d regions", len(tw.Names()), len(places))
		}
		for _, p := range places {
			if p.Capacity != capacity[p.Name] {
				t.Errorf("%s holds %d", p.Name, p.Capacity)
			}
		}
		for name, want := range map[string][2]string{"Alice": {"innkeeper", "inn"}, "Bob": {"builder", "square"}, "Clara": {"explorer", "inn"}} {
			if v, err := tw.View(name, 1); err != nil || v.Archetype != want[0] || v.Region != want[1] {
				t.Errorf("%+v, %v", v, err)
			}
		}
	}
}

// The same town lives the same life: on every machine, and until somebody changes
// the rules, which changes these sums and has to be said in the changelog.
func TestDeterministic(t *testing.T) {
	want := map[int]string{3: "e82a707633068107", 7: "406cb3421153645f", 10: "11ba07442f3ce3c1", 25: "2920d4c582a4a2be"}
	for _, size := range sizes {
		h := sha256.New()
		tw := found(t, size, 42)
		for range 4 * 365 {
			if err := json.NewEncoder(h).Encode(tw.Step(t.Context(), founded, nil, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != want[size] {
			t.Errorf("a year of %d citizens has the sum %s, it had %s", size, got, want[size])
		}
	}
}

var fused = regexp.MustCompile(`FN?M(ADD|SUB)`)

// On processors that can, the compiler may fuse a product and a sum, which rounds once
// instead of twice: a town would live differently there. Nowhere in the rules it does.
func TestNothingIsFused(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", ".")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "FADDD") {
		t.Fatal("this is no assembly of arm64")
	}
	for line := range strings.Lines(string(out)) {
		if fused.MatchString(line) {
			t.Errorf("write float64(…) around the product: %s", line)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, b := found(t, 7, 1), found(t, 7, 2)
	var x, y []string
	for range 8 {
		for _, e := range a.Step(t.Context(), founded, nil, nil) {
			x = append(x, e.Message)
		}
		for _, e := range b.Step(t.Context(), founded, nil, nil) {
			y = append(y, e.Message)
		}
	}
	if slices.Equal(x, y) {
		t.Error("two seeds, one life")
	}
}

// strict allows so many tokens, and remembers what it was asked for.
type strict struct {
	left  int64
	asked []int64
}

func (s *strict) Allow(tokens int64) (bool, string) {
	s.asked = append(s.asked, tokens)
	if tokens > s.left {
		return false, "the plan's tokens are used up until 1 December"
	}
	s.left -= tokens
	return true, ""
}

// The gate is asked before each operation with just its tokens; past it nothing is
// spent, the reason is told, once a phase, and life goes on.
func TestGate(t *testing.T) {
	g := &strict{left: 10_000}
	tw := found(t, 7, 3)
	var spent int64
	var quiet []string
	limited := 0
	for step := range 4 * 30 {
		phase := 0
		for _, e := range tw.Step(t.Context(), founded, nil, g) {
			spent += e.Tokens
			switch {
			case e.Limited:
				phase++
				if e.Success || e.Message != "the plan's tokens are used up until 1 December" || e.Usage("c") != nil {
					t.Errorf("step %d: %+v", step, e)
				}
			case phase > 0 && e.Operation != town.Rest:
				t.Errorf("step %d: %+v after the limit", step, e)
			}
			if limited > 20 && e.Region == "" {
				quiet = append(quiet, e.Operation)
			}
		}
		if phase > 1 {
			t.Errorf("step %d: told the limit %d times", step, phase)
		}
		limited += phase
	}
	if spent != 10_000-g.left || spent == 0 || g.left >= 8000 {
		t.Errorf("spent %d, the gate has allowed %d", spent, 10_000-g.left)
	}
	slices.Sort(quiet)
	if got := slices.Compact(quiet); !slices.Equal(got, []string{town.Move, town.Rest, town.Wake}) {
		t.Errorf("over the limit they only %v", got)
	}
	if tw.Day() != 31 || limited < 60 {
		t.Errorf("day %d, limited %d times", tw.Day(), limited)
	}
	// What a failed precondition would have cost isn't asked for.
	g = &strict{left: 1 << 40}
	tw = found(t, 7, 3)
	var tokens []int64
	for range 4 * 30 {
		for _, e := range tw.Step(t.Context(), founded, nil, g) {
			if e.Tokens > 0 {
				tokens = append(tokens, e.Tokens)
			}
		}
	}
	if diff := cmp.Diff(tokens, g.asked); diff != "" || tw.Metrics().Failed == 0 {
		t.Errorf("spent and asked, with %d failures:\n%s", tw.Metrics().Failed, diff)
	}
}

func TestView(t *testing.T) {
	tw := found(t, 7, 5)
	for range 40 {
		tw.Step(t.Context(), founded, nil, nil)
	}
	levels := [][]string{
		{"lod", "name", "region", "phase"}, {"archetype", "mood"}, {"philosophy", "metaphor"},
		{"traits", "relationships"}, {"surplus", "id"}, {"opaque"},
	}
	var want []string
	for lod, members := range levels {
		want = append(want, members...)
		v, err := tw.View("alice", lod)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("level %d:\n%s", lod, diff)
		}
		if got["name"] != "Alice" || got["lod"] != float64(lod) {
			t.Errorf("%s", b)
		}
	}
	if _, err := tw.View("Mallory", 0); kgents.ErrorCode(err) != kgents.CodeNotFound {
		t.Error(err)
	}
	for _, lod := range []int{-1, 6} {
		if _, err := tw.View("Alice", lod); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Error(err)
		}
	}
	v, _ := tw.View("Alice", 3)
	v.Traits.Warmth, v.Relationships["Bob"] = 99, 99
	if again, _ := tw.View("Alice", 3); again.Traits.Warmth == 99 || again.Relationships["Bob"] == 99 {
		t.Error("a view is the town's own")
	}
}

// No two events have one id, whatever towns there are and were: not the share of one
// and the event of another, and not a town and the deleted one whose name it has.
func TestIDs(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "a-1", "a-1-1", "1"} {
		for life := range 3 {
			tw, err := town.New(id, 3, uint64(life%2), founded.Add(time.Duration(life/2)*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			whose := id + " " + strconv.Itoa(life)
			for range 40 {
				for _, e := range tw.Step(t.Context(), founded, nil, nil) {
					ids := []string{e.ID}
					if usage := e.Usage("c"); usage != nil {
						for i, u := range usage {
							if (i == 0) != (u.ID == e.ID) {
								t.Fatalf("%s has usage %s", e.ID, u.ID)
							}
							ids = append(ids, u.ID)
						}
						ids = ids[1:]
					}
					for _, id := range ids {
						if other, ok := seen[id]; ok {
							t.Fatalf("%s is of %s and of %s", id, whose, other)
						}
						seen[id] = whose
					}
				}
			}
		}
	}
}
