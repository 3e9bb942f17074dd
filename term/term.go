// Package term is what the commands share to be good at a terminal: aligned
// tables, sparklines, human numbers. Colour goes to a terminal only, and only
// when NO_COLOR and TERM=dumb don't speak against it. It depends on nothing that
// could be away.
package term

import (
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// IsTerminal tells whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Style colours text, or leaves it alone.
type Style struct{ on bool }

// StyleFor returns the style for what is written to w.
func StyleFor(w io.Writer) Style {
	return Style{IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func (s Style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Good, Bad, Faint and Strong are the four meanings that colour has here.
func (s Style) Good(text string) string { return s.paint("32", text) }

// Bad marks what went wrong.
func (s Style) Bad(text string) string { return s.paint("31", text) }

// Faint marks what matters less.
func (s Style) Faint(text string) string { return s.paint("2", text) }

// Strong marks a heading.
func (s Style) Strong(text string) string { return s.paint("1", text) }

// Column is one column of a table.
type Column struct {
	Title string
	Right bool // numbers
}

// Table writes rows under their titles, two spaces apart. Cells may be coloured.
func Table(w io.Writer, s Style, columns []Column, rows [][]string) {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = visible(c.Title)
		for _, row := range rows {
			widths[i] = max(widths[i], visible(row[i]))
		}
	}
	line := func(cells []string) {
		var b strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-visible(cell))
			if i > 0 {
				b.WriteString("  ")
			}
			if columns[i].Right {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		_, _ = io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = s.Strong(c.Title)
	}
	line(titles)
	for _, row := range rows {
		line(row)
	}
}

// visible is the columns that text takes, without its escape sequences.
func visible(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf): // drawn onto the rune before
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// wide are the runes that a terminal draws over two columns: the blocks that
// Unicode's EastAsianWidth.txt has as W or F throughout.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, // leading Hangul
		{Lo: 0x2e80, Hi: 0x303e, Stride: 1}, // CJK radicals and punctuation
		{Lo: 0x3041, Hi: 0x4dbf, Stride: 1}, // kana, CJK extension A
		{Lo: 0x4e00, Hi: 0xa4cf, Stride: 1}, // CJK, Yi
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1}, // Hangul
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, // CJK compatibility
		{Lo: 0xfe30, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xff60, Stride: 1}, // full width
		{Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x1f300, Hi: 0x1f64f, Stride: 1}, // pictographs
		{Lo: 0x1f900, Hi: 0x1f9ff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1}, // CJK extensions
	},
}

// Sparkline draws values as bars of eight heights, the lowest for zero and for
// what is no number.
func Sparkline(values []float64) string {
	most := 0.0
	for _, v := range values {
		if v > most && v <= math.MaxFloat64 { // max would let one NaN hide all
			most = v
		}
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, v := range values {
		i := 0
		if most > 0 && v > 0 {
			i = 1 + int(min(v/most, 1)*float64(len(bars)-2)+0.5)
		}
		b.WriteRune(bars[i])
	}
	return b.String()
}

// Number writes v with thousands separated, and with decimals only where it has
// any.
func Number(v float64) string {
	if v != math.Trunc(v) || math.Abs(v) >= 1e15 {
		text := strconv.FormatFloat(v, 'g', 12, 64)
		if whole, decimals, ok := strings.Cut(text, "."); ok && !strings.Contains(text, "e") {
			return group(whole) + "." + decimals
		}
		return text
	}
	return group(strconv.FormatFloat(v+0, 'f', 0, 64)) // + 0 makes -0 a 0
}

func group(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// minorDigits are the decimals of the currencies that don't have two, as Stripe
// charges them (docs.stripe.com/currencies). UGX and ISK have none, but Stripe
// writes their amounts with two all the same, so they are not in here.
var minorDigits = map[string]int{
	"bif": 0, "clp": 0, "djf": 0, "gnf": 0, "jpy": 0, "kmf": 0, "krw": 0, "mga": 0, "pyg": 0, "rwf": 0,
	"vnd": 0, "vuv": 0, "xaf": 0, "xof": 0, "xpf": 0,
	"bhd": 3, "jod": 3, "kwd": 3, "omr": 3, "tnd": 3,
}

// Decimals is how many decimals a currency has: 2 for usd, 0 for jpy.
func Decimals(currency string) int {
	if digits, ok := minorDigits[strings.ToLower(currency)]; ok {
		return digits
	}
	return 2
}

// Money writes an amount in the minor unit of a currency as people write it:
// 1234 usd is "12.34 USD", 1234 jpy is "1,234 JPY".
func Money(minor float64, currency string) string {
	digits := Decimals(currency)
	code := strings.ToUpper(currency)
	if minor != math.Trunc(minor) || math.Abs(minor) >= 1e15 {
		return Number(minor/math.Pow10(digits)) + " " + code
	}
	sign, whole := "", strconv.FormatFloat(math.Abs(minor), 'f', 0, 64)
	if minor < 0 {
		sign = "-"
	}
	if digits == 0 {
		return sign + group(whole) + " " + code
	}
	for len(whole) <= digits {
		whole = "0" + whole
	}
	at := len(whole) - digits
	return sign + group(whole[:at]) + "." + whole[at:] + " " + code
}

// Duration writes d with three digits that mean something: 1.23ms, 12.3ms, 1.20s.
func Duration(d time.Duration) string {
	if d < time.Microsecond {
		return d.String()
	}
	step := time.Nanosecond
	for step < time.Second && d >= 1000*step {
		step *= 10
	}
	d = d.Round(step) // before the unit is chosen: 999.9ms is 1.00s
	unit, name := time.Second, "s"
	switch {
	case d < time.Millisecond:
		unit, name = time.Microsecond, "µs"
	case d < time.Second:
		unit, name = time.Millisecond, "ms"
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	decimals := 2
	if d >= 100*unit {
		decimals = 0
	} else if d >= 10*unit {
		decimals = 1
	}
	return strconv.FormatFloat(float64(d)/float64(unit), 'f', decimals, 64) + name
}
