package agentese

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every mistake has its exact place, in bytes, and what would be right.
func TestMistakes(t *testing.T) {
	const (
		noAspect = "the path has no aspect"
		name     = "a name has letters, digits, _, - and :, or stands in quotes"
		escapes  = `there are \" \\ \n \t \uXXXX and \UXXXXXXXX`
		behind   = "behind a path come [clauses], then @annotations, then >>"
		aClause  = "a clause is written [key=value]"
		ends     = "a path ends with what is to be done, as in world.manifest"
		special  = `put quotes around a name with special characters: "a b"`
		inQuotes = `put the value in quotes: [a="…"]`
		inValue  = "it can't hold blanks, brackets, @, > or # without quotes"
	)
	for _, test := range []struct {
		in        string
		pos, end  int
		what, why string
		try       string
	}{
		{"", 0, 0, "nothing is written here", "an expression is a path with an aspect", "world.manifest"},
		{" \n", 2, 2, "nothing is written here", "an expression is a path with an aspect", "world.manifest"},

		// Names and dots.
		{"world", 0, 5, noAspect, ends, "world.manifest"},
		{" world ", 1, 6, noAspect, ends, "world.manifest"},
		{"世界", 0, 6, noAspect, ends, "世界.manifest"},
		{"世界 a", 0, 6, noAspect, ends, ""},
		{"world[a=b]", 0, 5, noAspect, ends, "world.manifest[a=b]"},
		{"world@a", 0, 5, noAspect, ends, "world.manifest@a"},
		{"world >> void.manifest", 0, 5, noAspect, ends, "world.manifest >> void.manifest"},
		{"void.manifest >> world", 17, 22, noAspect, ends, "void.manifest >> world.manifest"},
		{`"a b"`, 0, 5, noAspect, ends, `"a b".manifest`},
		{"world.", 6, 6, "a name is missing at the end", "", ""},
		{".world", 0, 1, "a name is missing before this dot", "two names are joined by one dot", ""},
		{"world..manifest", 6, 7, "a name is missing before this dot", "two names are joined by one dot", ""},
		{"world.  manifest", 6, 8, "a name stands directly behind its dot", "", "world.manifest"},
		{"world. ", 6, 7, "a name stands directly behind its dot", "", ""},
		{"world .manifest", 6, 7, "a dot stands directly between two names", "", "world.manifest"},
		{"world.nats .manifest", 11, 12, "a dot stands directly between two names", "", "world.nats.manifest"},
		{"wor!ld.manifest", 3, 4, "'!' can't stand here", behind, special},
		{"world.né/.manifest", 9, 10, "'/' can't stand here", behind, special},
		{"{a}.b", 0, 1, "a name must begin here, not '{'", name, ""},
		{"€.b", 0, 3, "a name must begin here, not '€'", name, ""},
		{`world."".manifest`, 6, 8, "a name can't be empty", "", ""},
		{"world.\"a\tb\".manifest", 8, 9, `'\t' can't stand in quotes as it is`, `write it as an escape such as \u000a`, ""},
		{"world.\"a\u202eb\".manifest", 8, 11, `'\u202e' can't stand in quotes as it is`, `write it as an escape such as \u000a`, ""},
		{`world."a`, 6, 8, "the quote that begins here is not closed", "", ""},

		// Behind a path.
		{"world.manifest!", 14, 15, "'!' can't stand here", behind, special},
		{"world.manifest,void.manifest", 14, 15, "',' can't stand here", behind, special},
		{"world.manifest x", 15, 16, "a second path begins here", "names are joined by a dot, steps by >>", ""},
		{"world.manifest void.manifest", 15, 16, "a second path begins here", "names are joined by a dot, steps by >>", "world.manifest >> void.manifest"},
		{"world.manifest \"é\".manifest", 15, 16, "a second path begins here", "names are joined by a dot, steps by >>", "world.manifest >> é.manifest"},
		{"world.manifest [a=b]", 15, 16, "a clause stands directly behind the path", "there are blanks before it", "world.manifest[a=b]"},
		{"world.manifest @a", 15, 16, "an annotation stands directly behind the step", "there are blanks before it", "world.manifest@a"},
		{"world.manifest@a[b=c]", 16, 17, "a clause can't stand behind an annotation", "clauses come first, then annotations", ""},
		{"world.manifest]", 14, 15, "this ] closes nothing", aClause, ""},
		{"world.manifest(a=b)", 14, 15, "arguments don't stand in parentheses", "they are clauses: [key=value]", ""},
		{"world.manifest@a=b#c", 18, 19, "'#' can't stand here", behind, special},

		// Pipelines.
		{"world.manifest > void.manifest", 15, 16, "one > means nothing", "steps are joined by >>", "world.manifest >> void.manifest"},
		{"world.manifest|void.manifest", 14, 15, "| means nothing", "steps are joined by >>", "world.manifest >> void.manifest"},
		{"world.manifest >>", 17, 17, "a name is missing at the end", "", ""},
		{"world.manifest >> ", 18, 18, "a name is missing at the end", "", ""},
		{"world.manifest >> >> a.b", 18, 19, "a name must begin here, not '>'", name, ""},
		{"world.manifest >>> a.b", 17, 18, "a name must begin here, not '>'", name, ""},
		{">> world.manifest", 0, 1, "a name must begin here, not '>'", name, ""},

		// Clauses.
		{"world.manifest[]", 14, 16, "this clause is empty", "a clause is written [key=value] or [key]", ""},
		{"world.manifest[ ]", 14, 17, "this clause is empty", "a clause is written [key=value] or [key]", ""},
		{"world.manifest[", 15, 15, "a clause's key is missing at the end", "", ""},
		{"world.manifest[a", 14, 16, "the clause that begins here is not closed", "a ] is missing", "world.manifest[a]"},
		{"world.manifest[a=", 14, 17, "the clause that begins here is not closed", "a ] is missing", ""},
		{"world.manifest[a=b", 14, 18, "the clause that begins here is not closed", "a ] is missing", "world.manifest[a=b]"},
		{`world.manifest[a="b" `, 14, 21, "the clause that begins here is not closed", "a ] is missing", "world.manifest[a=b]"},
		{"world.manifest[a=]", 14, 18, "the value of a is missing", "", `[a=""] for an empty one`},
		{"world.manifest[a= ]", 14, 19, "the value of a is missing", "", `[a=""] for an empty one`},
		{"world.manifest[=b]", 15, 16, "a clause's key must begin here, not '='", name, ""},
		{"world.manifest[é b]", 18, 19, "behind the key comes = or ], not 'b'", "", ""},
		{"world.manifest[a=b[c]", 18, 19, "'[' can't stand in a value without quotes", "", inQuotes},
		{`world.manifest[a=b"c"]`, 18, 19, `'"' can't stand in a value without quotes`, "", inQuotes},
		{`world.manifest[a=b\c]`, 18, 19, `'\\' can't stand in a value without quotes`, "", inQuotes},
		{"world.manifest[a=b\tc]", 18, 19, `'\t' can't stand in a value without quotes`, "", inQuotes},
		{"world.manifest[a=b\u200bc]", 18, 21, `'\u200b' can't stand in a value without quotes`, "", inQuotes},
		{`world.manifest[a="b"c]`, 20, 21, "behind the quoted value comes ], not 'c'", "", ""},
		{`world.manifest["a`, 15, 17, "the quote that begins here is not closed", "", ""},
		{`world.manifest[a="b`, 17, 19, "the quote that begins here is not closed", "", ""},

		// Escapes.
		{`world.manifest[a="b\`, 19, 20, "the quote is not closed", `it ends with a \`, ""},
		{`world.manifest[a="\x"]`, 18, 20, "this escape is unknown", escapes, ""},
		{`world.manifest[a="\é"]`, 18, 21, "this escape is unknown", escapes, ""},
		{`world.manifest[a="\u12"]`, 18, 22, "this escape names no character", `behind \u come 4 hexadecimal digits`, ""},
		{`world.manifest[a="\u+123"]`, 18, 20, "this escape names no character", `behind \u come 4 hexadecimal digits`, ""},
		{`world.manifest[a="\u12é4"]`, 18, 22, "this escape names no character", `behind \u come 4 hexadecimal digits`, ""},
		{`world.manifest[a="\ud800"]`, 18, 24, "this escape names no character", `behind \u come 4 hexadecimal digits`, ""},
		{`world.manifest[a="\U00110000"]`, 18, 28, "this escape names no character", `behind \U come 8 hexadecimal digits`, ""},
		{`world.manifest[a="\Uffffffff"]`, 18, 28, "this escape names no character", `behind \U come 8 hexadecimal digits`, ""},

		// Annotations.
		{"world.manifest@", 15, 15, "an annotation's name is missing at the end", "", ""},
		{"world.manifest@!", 15, 16, "an annotation's name must begin here, not '!'", name, ""},
		{"world.manifest@a=", 17, 17, "the value of @a is missing", inValue, `@a="…"`},
		{"world.manifest@a=[", 17, 18, "the value of @a is missing", inValue, `@a="…"`},
		{`world.manifest@"a b"= x`, 21, 22, `the value of @"a b" is missing`, inValue, `@"a b"="…"`},

		// What is no text.
		{"a\xff.b", 1, 2, "this byte is no UTF-8", "", ""},
		{"a.b[c=\ufffd\xc3]", 9, 10, "this byte is no UTF-8", "", ""},
	} {
		_, err := Parse(test.in)
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%q: error %v", test.in, err)
			continue
		}
		want := &Error{Kind: KindSyntax, Pos: test.pos, End: test.end, What: test.what, Why: test.why}
		if test.try != "" {
			want.Try = []string{test.try}
		}
		if d := cmp.Diff(want, e); d != "" {
			t.Errorf("%q (-want +got):\n%s", test.in, d)
		}
	}
}

// At each limit it is an expression, and one more is a mistake at what is too much.
func TestLimits(t *testing.T) {
	path := func(n int) string { return strings.Repeat("a.", n) + "manifest" }
	for _, test := range []struct {
		what     string
		make     func(n int) string
		most     int
		pos, end int
		wrong    string
	}{
		{"characters", func(n int) string { return "é.b" + strings.Repeat(" ", n-3) }, MaxInput, MaxInput + 1, MaxInput + 2, "the input has 10001 characters"},
		{"names", path, MaxDepth, 2 * MaxDepth, 2*MaxDepth + 10, "the path is too deep"},
		{"clauses", func(n int) string { return "a.b" + strings.Repeat("[c]", n) }, MaxClauses, 3 + 3*MaxClauses, 6 + 3*MaxClauses, "too many clauses"},
		{"annotations", func(n int) string { return "a.b" + strings.Repeat("@cd", n) }, MaxClauses, 3 + 3*MaxClauses, 6 + 3*MaxClauses, "too many annotations"},
		{"steps", func(n int) string { return strings.Repeat("a.b>>", n-1) + "a.b" }, MaxSteps, 5*MaxSteps - 2, 5 * MaxSteps, "the pipeline is too long"},
	} {
		if _, err := Parse(test.make(test.most)); err != nil {
			t.Errorf("%d %s: %v", test.most, test.what, err)
		}
		_, err := Parse(test.make(test.most + 1))
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%d %s are taken", test.most+1, test.what)
			continue
		}
		got := fmt.Sprint(e.Pos, e.End, e.What)
		if want := fmt.Sprint(test.pos, test.end, test.wrong); got != want {
			t.Errorf("%d %s: %s, want %s", test.most+1, test.what, got, want)
		}
		if !strings.Contains(e.Why, "at most "+fmt.Sprint(test.most)) {
			t.Errorf("%s: why is %q", test.what, e.Why)
		}
	}
}

func TestErrorIsOneLine(t *testing.T) {
	cause := errors.New("refused")
	for _, test := range []struct {
		e    *Error
		want string
	}{
		{&Error{Kind: KindAway, What: "the meter can't be asked"}, "away: the meter can't be asked"},
		{&Error{Kind: KindAway, What: "the meter can't be asked", Why: "refused", Cause: cause, Try: []string{"later", "never"}}, "away: the meter can't be asked: refused; try later"},
	} {
		if got := test.e.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
		if got := errors.Unwrap(test.e); got != test.e.Cause {
			t.Errorf("cause %v", got)
		}
	}
}
