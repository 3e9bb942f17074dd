package match

// maxWord is the longest word, in bytes, that is compared with tolerance; longer ones
// match only as they are.
const maxWord = 64

// What a slip of the hand costs, by how often it is one: letters that are swapped or
// doubled and keys that lie side by side are cheap, and what is wrong at the first
// letter, which people mostly get right, is dear (Pollock and Zamora 1984 found 80 % of
// misspellings to be one edit, and few of them at the first letter).
const (
	costInsert   = 0.9
	costDelete   = 0.9
	costReplace  = 1.0
	costNear     = 0.7  // the key beside it
	costVowel    = 0.85 // one vowel for another
	costSwap     = 0.65
	costDouble   = 0.45 // a letter twice, or once where it is twice
	costFirst    = 0.25 // on top, at the first letter
	costDigit    = 1.3  // a digit for anything else
	costCompound = 0.1  // on top of what a prefix costs, for each edit in it
)

// keyboard is where the keys lie: QWERTY, rows shifted by half a key.
var keyboard = func() (near [256][256]bool) {
	rows := []string{"1234567890-", "qwertyuiop[", "asdfghjkl;", "zxcvbnm,."}
	set := func(a, b byte) { near[a][b], near[b][a] = true, true }
	for r, row := range rows {
		for i := range row {
			if i+1 < len(row) {
				set(row[i], row[i+1])
			}
			if r+1 < len(rows) {
				below := rows[r+1]
				if i < len(below) {
					set(row[i], below[i])
				}
				if i > 0 && i-1 < len(below) {
					set(row[i], below[i-1])
				}
			}
		}
	}
	return near
}()

func vowel(c byte) bool {
	return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y'
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// weighted is what it costs to have typed t for w (both folded, maxWord bytes at most);
// open is the least that t costs for a beginning of w, which has upTo bytes.
func weighted(t, w string) (cost, open float32, upTo int) {
	var rows [3][maxWord + 1]float32
	n, m := len(t), len(w)
	cur, last, before := &rows[0], &rows[1], &rows[2]
	for j := 1; j <= m; j++ {
		cur[j] = cur[j-1] + remove(w, j)
	}
	for i := 1; i <= n; i++ {
		before, last, cur = last, cur, before
		cur[0] = last[0] + insert(t, i)
		for j := 1; j <= m; j++ {
			c := last[j-1] + replace(t[i-1], w[j-1], i == 1 && j == 1)
			c = min(c, last[j]+insert(t, i), cur[j-1]+remove(w, j))
			if i > 1 && j > 1 && t[i-1] == w[j-2] && t[i-2] == w[j-1] && t[i-1] != t[i-2] {
				c = min(c, before[j-2]+costSwap)
			}
			cur[j] = c
		}
	}
	open, upTo = cur[m], m
	for j := m - 1; j >= max(1, n-2); j-- {
		if cur[j] < open {
			open, upTo = cur[j], j
		}
	}
	return cur[m], open, upTo
}

// insert is the cost of the i-th letter of t, which should not be there.
func insert(t string, i int) float32 {
	c := t[i-1]
	switch {
	case i > 1 && c == t[i-2] || i < len(t) && c == t[i]:
		return costDouble
	case digit(c):
		return costDigit
	case i == 1:
		return costInsert + costFirst/2
	case keyboard[c][t[i-2]] || i < len(t) && keyboard[c][t[i]]:
		return costInsert - 0.15
	}
	return costInsert
}

// remove is the cost of the j-th letter of w, which is missing.
func remove(w string, j int) float32 {
	c := w[j-1]
	switch {
	case j > 1 && c == w[j-2]:
		return costDouble
	case digit(c):
		return costDigit
	case j == 1:
		return costDelete + costFirst
	}
	return costDelete
}

func replace(a, b byte, first bool) float32 {
	var c float32
	switch {
	case a == b:
		return 0
	case digit(a) || digit(b):
		return costDigit
	case keyboard[a][b]:
		c = costNear
	case vowel(a) && vowel(b):
		c = costVowel
	default:
		c = costReplace
	}
	if first {
		c += costFirst
	}
	return c
}

// pattern is a word prepared for counting edits to many others: a bit for each place
// where a byte stands in it.
type pattern struct {
	at   [128]uint64 // bytes of letters beyond ASCII share places: they count too few edits, not too many
	size int
}

// prepare is for a word of 1 to maxWord bytes.
func prepare(word string) *pattern {
	p := &pattern{size: len(word)}
	for i := range len(word) {
		p.at[word[i]&127] |= 1 << i
	}
	return p
}

// edits counts insertions, deletions, substitutions and swaps of neighbours between
// the pattern and word, all columns of the table at once (Hyyrö 2003, "A bit-vector
// algorithm for computing Levenshtein and Damerau edit distances").
func (p *pattern) edits(word string) int {
	score := p.size
	vp, vn, d0, prev := ^uint64(0), uint64(0), uint64(0), uint64(0)
	last := uint64(1) << (p.size - 1)
	for i := range len(word) {
		pm := p.at[word[i]&127]
		swap := ((^d0 & pm) << 1) & prev
		d0 = (((pm & vp) + vp) ^ vp) | pm | vn | swap
		hp := vn | ^(d0 | vp)
		hn := d0 & vp
		if hp&last != 0 {
			score++
		}
		if hn&last != 0 {
			score--
		}
		hp = hp<<1 | 1
		hn <<= 1
		vp = hn | ^(d0 | hp)
		vn = hp & d0
		prev = pm
	}
	return score
}

// letters has a bit for each byte that stands in a word; bytes beyond letters and
// digits share bits. Words that are k edits apart differ in at most 2k bits.
func letters(word string) (mask uint64) {
	for i := range len(word) {
		switch c := word[i]; {
		case 'a' <= c && c <= 'z':
			mask |= 1 << (c - 'a')
		case digit(c):
			mask |= 1 << (26 + c - '0')
		default:
			mask |= 1 << (36 + c%28)
		}
	}
	return mask
}

// tolerance is how many edits a word of n bytes may be away.
func tolerance(n int) int {
	switch {
	case n < 2:
		return 0
	case n < 4:
		return 1
	case n < 9:
		return 2
	default:
		return 3
	}
}
