package town_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

func snapshotOf(t testing.TB, size int) []byte {
	t.Helper()
	tw := found(t, size, 9)
	for range 4 * 20 {
		tw.Step(t.Context(), founded, nil, nil)
	}
	b, err := json.Marshal(tw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A snapshot that no town can have written is refused with a code, whatever is wrong
// with it, and the town that was to read it stays what it was.
func TestSnapshotRefused(t *testing.T) {
	good := snapshotOf(t, 3)
	change := func(f func(m map[string]any)) []byte {
		var m map[string]any
		d := json.NewDecoder(bytes.NewReader(good))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		f(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	set := func(member string, v any) []byte { return change(func(m map[string]any) { m[member] = v }) }
	citizen := func(member string, v any) []byte {
		return change(func(m map[string]any) { m["citizens"].([]any)[1].(map[string]any)[member] = v })
	}
	counter := func(member string, v any) []byte {
		return change(func(m map[string]any) { m["counters"].(map[string]any)[member] = v })
	}
	bad := map[string][]byte{
		"not an object":         []byte(`[]`),
		"null members":          []byte(`{}`),
		"too long":              append(bytes.Clone(good), bytes.Repeat([]byte(" "), town.MaxSnapshotBytes)...),
		"another version":       set("v", 2),
		"no id":                 set("id", ""),
		"a bad id":              set("id", "a.b"),
		"a birth with a dot":    set("birth", "a.1"),
		"no birth":              set("birth", ""),
		"a founding in year 1":  set("created", "0001-01-01T00:00:00Z"),
		"no phase":              set("phase", "noon"),
		"day 0":                 set("day", 0),
		"a day beyond all":      set("day", json.Number("9223372036854775807")),
		"a sequence beyond all": set("seq", json.Number("18446744073709551615")),
		"a negative sequence":   set("seq", -1),
		"no random numbers":     set("random", nil),
		"other random numbers":  set("random", "cGNnOjEyMw=="),
		"four citizens":         change(func(m map[string]any) { c := m["citizens"].([]any); m["citizens"] = append(c, c[0]) }),
		"no citizens":           set("citizens", nil),
		"a name twice":          citizen("name", "Alice"),
		"a name with a dot":     citizen("name", "Bob."),
		"an unknown archetype":  citizen("archetype", "king"),
		"an unknown region":     citizen("region", "garden"),
		"an unknown home":       citizen("home", "moon"),
		"an unknown state":      citizen("state", "dead"),
		"a debt":                citizen("surplus", -1),
		"a surplus beyond all":  citizen("surplus", 1e300),
		"too few relationships": citizen("views", []float64{0, 0}),
		"too strong a one":      citizen("views", []float64{1.01, 0, 0}),
		"one to oneself":        citizen("views", []float64{0, 1, 0}),
		"too strong a trait":    citizen("traits", map[string]float64{"trust": 1.5}),
		"a negative trait":      citizen("traits", map[string]float64{"ambition": -.1}),
		"tokens below 0":        counter("tokens", -1),
		"tokens beyond all":     counter("tokens", json.Number("9223372036854775807")),
		"an unknown operation":  counter("by_operation", map[string]int{"fly": 1}),
		"operations below 0":    counter("by_operation", map[string]int{"greet": -1}),
		"spending beyond all":   set("spent", map[string]any{"tokens": json.Number("9223372036854775807")}),
		"a day that is none":    set("spent", map[string]any{"day": "Monday"}),
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		tw := found(t, 7, 1)
		before, _ := json.Marshal(tw)
		if err := tw.UnmarshalJSON(bad[name]); kgents.ErrorCode(err) != kgents.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := json.Marshal(tw); !bytes.Equal(before, after) {
			t.Errorf("%s: changed the town that was there", name)
		}
	}
	crowd := snapshotOf(t, 25)
	var tw town.Town
	for _, region := range []string{"square", "garden", "market", "library", "observatory", "workshop", "archive"} {
		crowd = []byte(strings.ReplaceAll(string(crowd), `"region":"`+region+`"`, `"region":"inn"`))
	}
	if err := json.Unmarshal(crowd, &tw); kgents.ErrorCode(err) != kgents.CodeInvalid {
		t.Errorf("25 in the inn, which holds 10: %v", err)
	}
	if err := json.Unmarshal(good, &tw); err != nil {
		t.Error(err)
	}
}

// Whatever is read, it is refused or it is a town that lives and can be written down.
func FuzzSnapshot(f *testing.F) {
	for _, size := range sizes {
		b := snapshotOf(f, size)
		f.Add(b)
		f.Add(bytes.ReplaceAll(b, []byte("0."), []byte("-1.")))
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte(`{"v":1,"id":"a","citizens":[{},{},{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var tw town.Town
		if err := tw.UnmarshalJSON(b); err != nil {
			if kgents.ErrorCode(err) != kgents.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		w := watcher{t: t, seq: tw.Seq(), asleep: map[string]bool{}}
		for _, p := range tw.Places() {
			for _, name := range p.Resting {
				w.asleep[name] = true
			}
		}
		for range 8 {
			for _, e := range tw.Step(t.Context(), founded, nil, nil) {
				w.event(e)
			}
			w.town(&tw)
		}
		out, err := json.Marshal(&tw)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("900719")) { // counters that began at their bound are past it by now
			return
		}
		if err := new(town.Town).UnmarshalJSON(out); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
