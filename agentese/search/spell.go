package search

// vocabulary is the words that the index knows, to mend those that it doesn't.
type vocabulary struct {
	known map[string]int // how often
	byLen [maxMended + 1][]string
}

// maxMended is the longest word that is mended.
const maxMended = 20

func newVocabulary(words map[string]int) *vocabulary {
	v := &vocabulary{known: words}
	for w := range words {
		if n := len(w); n >= 4 && n <= maxMended && ascii(w) {
			v.byLen[n] = append(v.byLen[n], w)
		}
	}
	return v
}

// mend gives the known word that an unknown one was most likely meant to be: one edit
// away, or two if it has eight letters or more. Of several as near, the commoner; of
// those as common, the one that begins like it, then the first in the alphabet.
func (v *vocabulary) mend(w string) (string, bool) {
	if v.known[w] > 0 || len(w) < 4 || len(w) > maxMended || !ascii(w) || digits(w) {
		return w, false
	}
	limit := 1
	if len(w) >= 7 {
		limit = 2
	}
	best, bestCost := "", 1e9
	for n := max(4, len(w)-limit); n <= min(maxMended, len(w)+limit); n++ {
		for _, k := range v.byLen[n] {
			d := edits(w, k, limit)
			if d > limit {
				continue
			}
			cost := float64(d)*10 - float64(min(v.known[k], 50))/25
			if k[0] != w[0] {
				cost += 6
			}
			if cost < bestCost || cost == bestCost && k < best {
				best, bestCost = k, cost
			}
		}
	}
	return best, best != ""
}

func digits(w string) bool {
	for i := range len(w) {
		if w[i] >= '0' && w[i] <= '9' {
			return true
		}
	}
	return false
}

// edits is how many letters must be put in, left out, replaced or exchanged with their
// neighbour to make b of a; limit+1 if more than limit (optimal string alignment).
func edits(a, b string, limit int) int {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > limit || len(b) > 63 {
		if a == b {
			return 0
		}
		return limit + 1
	}
	for len(a) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	if len(a) == 0 {
		return min(len(b), limit+1)
	}
	var rows [3][64]uint8
	before, above, row := &rows[0], &rows[1], &rows[2]
	for j := 0; j <= len(b); j++ {
		above[j] = uint8(j)
	}
	for i := 1; i <= len(a); i++ {
		row[0] = uint8(i)
		least := row[0]
		for j := 1; j <= len(b); j++ {
			cost := uint8(1)
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if int(least) > limit {
			return limit + 1
		}
		before, above, row = above, row, before
	}
	return int(above[len(b)])
}
