package match

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// plain counts edits by the table, as in a textbook.
func plain(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0:
				d[i][j] = j
			case j == 0:
				d[i][j] = i
			default:
				c := 1
				if a[i-1] == b[j-1] {
					c = 0
				}
				d[i][j] = min(d[i-1][j-1]+c, d[i-1][j]+1, d[i][j-1]+1)
				if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
					d[i][j] = min(d[i][j], d[i-2][j-2]+1)
				}
			}
		}
	}
	return d[len(a)][len(b)]
}

// The bit-parallel count is the textbook's, and the filter before it loses nothing.
func TestEdits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte("abcdef01"[r.IntN(8)])
		}
		return b.String()
	}
	for range 20_000 {
		a, b := random(1+r.IntN(12)), random(r.IntN(12))
		if r.IntN(50) == 0 {
			a = random(64)
			b = a[:30] + a[31:]
		}
		want := plain(a, b)
		if got := prepare(a).edits(b); got != want {
			t.Fatalf("%s %s: %d edits, want %d", a, b, got, want)
		}
		x := letters(a) ^ letters(b)
		bits := 0
		for ; x != 0; x &= x - 1 {
			bits++
		}
		if bits > 2*want {
			t.Fatalf("%s %s: %d letters differ, and %d edits are between them", a, b, bits, want)
		}
	}
}

// Slips of the hand are cheaper than other mistakes, and the first letter is dear.
func TestWeighted(t *testing.T) {
	cost := func(typed string) float32 { c, _, _ := weighted(typed, "circuit"); return c }
	order := []string{"circuit", "circcuit", "cicruit", "circyit", "ciruit", "circqit", "zircuit", "xzrcuit"}
	for i := 1; i < len(order); i++ {
		if cost(order[i]) <= cost(order[i-1]) {
			t.Errorf("%s costs %.2f, not more than %s with %.2f", order[i], cost(order[i]), order[i-1], cost(order[i-1]))
		}
	}
	if _, open, upTo := weighted("mainf", "manifest"); upTo != 5 && upTo != 4 || open > 1 {
		t.Errorf("mainf is a beginning up to %d for %.2f", upTo, open)
	}
}

func TestIs(t *testing.T) {
	for _, test := range []struct {
		typed, name string
		how         how
		weak        bool
		literal     bool
		fits        bool
	}{
		{"Circuit", "circuit", asIs, false, false, true},
		{"dead-letter", "deadletter", asIs, false, false, true},
		{"customer", "customers", plural, false, false, true},
		{"summaries", "summary", plural, false, false, true},
		{"k8s", "kubernetes", shortFor, false, false, true},
		{"man", "manifest", shortFor, false, false, true},
		{"m", "manifest", shortFor, true, false, true},
		{"mfst", "manifest", shortFor, true, false, true},
		{"manfiest", "manifest", slip, false, false, true},
		{"cus_1001", "cus_1002", slip, false, true, true},
		{"cust_1001", "cus_1001", slip, false, false, true},
		{"evt_1aBc9", "evt_1aBd9", slip, false, true, true},
		{"manifest", "witness", slip, false, false, false},
		{"", "witness", slip, false, false, false},
	} {
		typed, name := newTyped(test.typed), newWord(test.name)
		h := typed.is(&name)
		if fits := h.cost < none; fits != test.fits {
			t.Errorf("%s for %s: %t, want %t", test.typed, test.name, fits, test.fits)
		} else if fits && (h.how != test.how || h.weak != test.weak || h.literal != test.literal) {
			t.Errorf("%s for %s: how %d weak %t literal %t", test.typed, test.name, h.how, h.weak, h.literal)
		}
	}
}
