package agentese

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kgents/kgents/term"
)

func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

// A mistake is shown under its place, counted in the terminal's columns.
func TestShow(t *testing.T) {
	full := &Error{Kind: KindNotFound, Pos: 6, End: 12, What: "there is no custos in world", Why: "there are nats, customers", Try: []string{"world.customers.manifest", "?"}, Related: []string{"world.customers", "world.plans"}}
	for _, test := range []struct {
		what, input string
		e           *Error
		want        string
	}{
		{"everything", "world.custos.manifest", full, lines(
			"  world.custos.manifest",
			"        ^^^^^^",
			"path not found: there is no custos in world",
			"  why:  there are nats, customers",
			"  try:  world.customers.manifest",
			"        ?",
			"  near: world.customers",
			"        world.plans",
		)},
		{"no place", "world.custos.manifest", &Error{Kind: KindAway, What: "the meter can't be asked"}, lines(
			"away: the meter can't be asked",
		)},
		{"a place of another input", "short", full, lines(
			"path not found: there is no custos in world",
			"  why:  there are nats, customers",
			"  try:  world.customers.manifest",
			"        ?",
			"  near: world.customers",
			"        world.plans",
		)},
		{"something is missing at the end", "world.", &Error{Kind: KindSyntax, Pos: 6, End: 6, What: "a name is missing"}, lines(
			"  world.",
			"        ^",
			"syntax: a name is missing",
		)},
		{"wide runes take two columns, accents none", "世界.cafe\u0301.x!", &Error{Kind: KindSyntax, Pos: 14, End: 16, What: "x"}, lines(
			"  世界.cafe\u0301.x!",
			"            ^^",
			"syntax: x",
		)},
		{"a wide rune is underlined as wide", "a.世", &Error{Kind: KindSyntax, Pos: 2, End: 5, What: "x"}, lines(
			"  a.世",
			"    ^^",
			"syntax: x",
		)},
		{"only its line", "a.b\n>> c.d!\n>> e.f", &Error{Kind: KindSyntax, Pos: 10, End: 11, What: "x"}, lines(
			"  >> c.d!",
			"        ^",
			"syntax: x",
		)},
		{"over more than one line", "a.b[c=\nd", &Error{Kind: KindSyntax, Pos: 3, End: 8, What: "x"}, lines(
			"  a.b[c=",
			"     ^^^",
			"syntax: x",
		)},
		{"nothing reaches the terminal", "a.b\t\x1b[2J\u202e\xff", &Error{Kind: KindSyntax, Pos: 4, End: 5, What: "a\x1bb\nc\u202ed"}, lines(
			"  a.b �[2J��",
			"      ^",
			"syntax: a�b c�d",
		)},
	} {
		if d := cmp.Diff(test.want, test.e.Show(test.input)); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, d)
		}
	}
}

// A long line is shown around the place, never wider than the terminal, and the
// underline is always at the place.
func TestShowLongLines(t *testing.T) {
	for _, fill := range []string{"a", "é", "世", "e\u0301"} {
		for _, before := range []int{0, 5, 20, 60, 200} {
			for _, behind := range []int{0, 10, 100} {
				for _, width := range []int{20, 40, 80} {
					input := strings.Repeat(fill, before) + "!!!" + strings.Repeat(fill, behind)
					pos := len(fill) * before
					e := &Error{Kind: KindSyntax, Pos: pos, End: pos + 3, What: "x"}
					got := strings.Split(e.Render(input, term.Plain(), width), "\n")
					for _, line := range got[:2] {
						if w := term.Width(line); w > width {
							t.Errorf("%d×%s!!!%d×: %d columns of %d: %s", before, fill, behind, w, width, line)
						}
					}
					at := strings.Index(got[0], "!!!")
					if at < 0 {
						t.Errorf("the place is not shown: %s", got[0])
					} else if w := term.Width(got[0][:at]); w != strings.Index(got[1], "^") || strings.Count(got[1], "^") != 3 {
						t.Errorf("the place is at %d:\n%s\n%s", w, got[0], got[1])
					}
				}
			}
		}
	}
}

// What an error says goes on below where it is wider than the terminal: no option is torn
// apart, and what is there to be typed is whole.
func TestShowWraps(t *testing.T) {
	e := &Error{
		Kind: KindAway, What: "the list of customers can't be asked", Why: "nothing answers at http://127.0.0.1:1: name another with --url",
		Try: []string{"start it with 'kgents up', or wait until it is there"}, Related: []string{"world.customers.manifest[where=status=past_due][first=5]"},
	}
	want := lines(
		"away: the list of customers can't be",
		"      asked",
		"  why:  nothing answers at",
		"        http://127.0.0.1:1: name another",
		"        with --url",
		"  try:  start it with 'kgents up', or",
		"        wait until it is there",
		"  near: world.customers.manifest[where=status=past_due][first=5]",
	)
	if d := cmp.Diff(want, e.Render("", term.Plain(), 40)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What Parse refuses is shown with its place.
func TestShowOfParse(t *testing.T) {
	const input = "world.manifest | void.manifest"
	_, err := Parse(input)
	e, _ := errors.AsType[*Error](err)
	want := lines(
		"  world.manifest | void.manifest",
		"                 ^",
		"syntax: | means nothing",
		"  why:  steps are joined by >>",
		"  try:  world.manifest >> void.manifest",
	)
	if d := cmp.Diff(want, e.Show(input)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
