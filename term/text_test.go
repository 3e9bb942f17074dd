package term

import (
	"math"
	"slices"
	"testing"
)

func TestCutAndPad(t *testing.T) {
	on := Style{on: true}
	for _, test := range []struct {
		text  string
		width int
		cut   string
		pad   string
	}{
		{"", 0, "", ""},
		{"abc", 3, "abc", "abc"},
		{"abc", 5, "abc", "abc  "},
		{"abcd", 3, "ab…", "ab…"},
		{"abcd", 1, "…", "…"},
		{"abcd", 0, "", ""},
		{"abcd", -1, "", ""},
		{"日本語", 4, "日…", "日… "},
		{"cafe\u0301s", 5, "cafe\u0301s", "cafe\u0301s"},
		{on.Good("abcd"), 3, "\x1b[32mab\x1b[0m…\x1b[0m", "\x1b[32mab\x1b[0m…\x1b[0m"},
		{on.Good("ab"), 3, "\x1b[32mab\x1b[0m", "\x1b[32mab\x1b[0m "},
		{on.Good("ab") + "cd", 3, "\x1b[32mab\x1b[0m…\x1b[0m", "\x1b[32mab\x1b[0m…\x1b[0m"},
	} {
		if got := Cut(test.text, test.width); got != test.cut {
			t.Errorf("Cut(%q, %d) is %q, want %q", test.text, test.width, got, test.cut)
		}
		if got := Pad(test.text, test.width); got != test.pad {
			t.Errorf("Pad(%q, %d) is %q, want %q", test.text, test.width, got, test.pad)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, nil},
		{"  one  two ", 10, []string{"one two"}},
		{"one two three", 7, []string{"one two", "three"}},
		{"one incomprehensible two", 5, []string{"one", "incomprehensible", "two"}},
		{"日本 語", 4, []string{"日本", "語"}},
		{"one two", 0, []string{"one", "two"}},
	} {
		if got := Wrap(test.text, test.width); !slices.Equal(got, test.want) {
			t.Errorf("Wrap(%q, %d) is %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, test := range []struct {
		share float64
		want  string
	}{
		{0, "░░░░"}, {-1, "░░░░"}, {math.NaN(), "░░░░"}, {1, "████"}, {7, "████"}, {math.Inf(1), "████"},
		{.5, "██░░"}, {.375, "█▌░░"}, {.99, "████"}, {.96, "███▉"}, {.01, "░░░░"}, {.03125, "▏░░░"},
	} {
		full, empty := Bar(test.share, 4)
		if got := full + empty; Width(got) != 4 || got != test.want {
			t.Errorf("Bar(%v) is %q, want %q", test.share, got, test.want)
		}
	}
}
