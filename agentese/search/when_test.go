package search

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpans(t *testing.T) {
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string][]string{
		"why are webhooks slow":            nil,
		"money not counted yesterday":      {"24h"},
		"replay what failed last night":    {"12h"},
		"errors in the past 6 hours":       {"6h"},
		"two days ago":                     {"48h"},
		"a couple of days ago":             {"48h"},
		"since 3am":                        {"6h"},
		"at 14:00 all went bad":            {"19h"},
		"since 6h":                         {"6h"},
		"over the last 90 minutes":         {"90m"},
		"half an hour ago":                 {"30m"},
		"this week":                        {"7d"},
		"last hour":                        {"1h"},
		"mute it for two hours":            {"2h"},
		"every 30 seconds":                 {"30s"},
		"an hour ago":                      {"1h"},
		"a day":                            nil,
		"dead letter 42":                   nil,
		"999999999999999999999 weeks ago":  nil,
		"999999 weeks ago":                 {"24h"},
		"12.400 calls":                     nil,
		"today":                            {"9h"},
		"during the night, until ten days": {"10d"},
		"used this month":                  {"657h"},
		"since lunch":                      {"21h"},
		"on thursday":                      {"57h"},
		"on tuesday at 14:00":              {"91h"},
		"what did the last shift do":       {"8h"},
	} {
		var got []string
		for _, s := range spans(tokens(text), now) {
			got = append(got, s.value())
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", text, d)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		limit int
		want  int
	}{
		{"globx", "globex", 1, 1}, {"tiems", "times", 1, 1}, {"redis", "redis", 1, 0}, {"inittech", "initech", 2, 1},
		{"spool", "pools", 1, 2}, {"", "a", 1, 1}, {"", "abc", 1, 2}, {"abcdef", "badcef", 2, 2}, {"ca", "abc", 2, 3},
	} {
		if got := edits(c.a, c.b, c.limit); got != c.want {
			t.Errorf("edits(%s, %s, %d) = %d, want %d", c.a, c.b, c.limit, got, c.want)
		}
		if x, y := edits(c.a, c.b, c.limit), edits(c.b, c.a, c.limit); x != y {
			t.Errorf("edits of %s and %s depends on their order", c.a, c.b)
		}
	}
}

func TestStem(t *testing.T) {
	for _, same := range [][]string{
		{"stop", "stops", "stopped", "stopping"}, {"reject", "rejected", "rejects"}, {"delay", "delays", "delayed"},
		{"retry", "retries", "retried"}, {"flush", "flushes", "flushed"}, {"replay", "replays", "replayed", "replaying"}, {"queue", "queued", "queues"},
		{"pay", "paid", "pays", "paying"}, {"grow", "grew", "grown"},
	} {
		for _, w := range same[1:] {
			if stem(w) != stem(same[0]) {
				t.Errorf("%s is %s, but %s is %s", w, stem(w), same[0], stem(same[0]))
			}
		}
	}
	for _, apart := range [][2]string{{"meter", "metric"}, {"count", "counter"}, {"use", "user"}} {
		if stem(apart[0]) == stem(apart[1]) {
			t.Errorf("%s and %s are both %s", apart[0], apart[1], stem(apart[0]))
		}
	}
}
