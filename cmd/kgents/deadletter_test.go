package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/receive"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/stream/streamtest"
)

// morgue is a kgents that serves its dead letters from a real stream.
type morgue struct {
	store   *deadletter.Store
	url     string
	replays atomic.Int64 // that were asked for
	fail    atomic.Int64 // the replay from which on nothing answers; 0 = none
}

func newMorgue(t *testing.T) *morgue {
	t.Helper()
	alone(t)
	t.Setenv("API_KEYS", "the-key")
	log := slog.New(slog.DiscardHandler)
	js, _ := streamtest.Start(t)
	config := stream.Config{Name: "events", Replicas: 1}
	if _, err := stream.Ensure(t.Context(), js, config); err != nil {
		t.Fatal(err)
	}
	m := &morgue{store: deadletter.NewStore(js, config)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	deadletter.NewAPI(m.store, log).Register(mux, func(_ string, next http.Handler) http.Handler {
		return receive.RequireKey(receive.NewKeys([]string{"the-key"}), next)
	})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if n, fail := m.replays.Add(1), m.fail.Load(); fail > 0 && n >= fail {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"detail":"NATS is away"}`)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	m.url = web.URL
	t.Setenv("KGENTS_URL", web.URL)
	return m
}

// three letters: two refused, one malformed. What is in them is hostile to a
// terminal.
func three() []deadletter.Letter {
	at := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	return []deadletter.Letter{
		deadletter.New([]byte(`{"source":"s","id":"one","type":"agent.tokens","subject":"cus_1","data":{"n":1}}`), deadletter.Refused, 400, "no\x1b[2J number", at, at, 0),
		deadletter.New([]byte(`{"source":"s","id":"two","type":"api.request","subject":"cus_2"}`), deadletter.Refused, 422, strings.Repeat("long ", 100), at, at, 2),
		deadletter.New([]byte("\xffhello"), deadletter.Malformed, 0, "no batch", at, at, 0),
	}
}

// bury keeps the three, as 1, 2 and 3.
func (m *morgue) bury(t *testing.T) {
	t.Helper()
	for _, l := range three() {
		if err := m.store.Bury(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

// left are the sequences of the letters that are still there.
func (m *morgue) left(t *testing.T) (seqs []uint64) {
	t.Helper()
	page, err := m.store.List(t.Context(), deadletter.Filter{}, 0, deadletter.MaxPage)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range page.Letters {
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

// listed are the letters of a list as JSON.
func listed(t *testing.T, out string) (seqs []uint64) {
	t.Helper()
	var list []deadletter.Stored
	if err := json.Unmarshal([]byte(out), &list); err != nil || list == nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, l := range list {
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

func TestDeadLetterList(t *testing.T) {
	m := newMorgue(t)
	code, out, stderr := kgents(t, "deadletter", "list")
	if code != 0 || out != "There are no dead letters.\n" || stderr != "" {
		t.Errorf("an empty list: code %d, %q, %q", code, out, stderr)
	}
	if _, out, _ = kgents(t, "deadletter", "list", "--output", "json"); out != "[]\n" {
		t.Errorf("an empty list as JSON: %q", out)
	}
	m.bury(t)
	for args, want := range map[string][]uint64{
		"":                                       {1, 2, 3},
		"--reason malformed":                     {3},
		"--type agent.tokens":                    {1},
		"--customer cus_2":                       {2},
		"--since 1h":                             {1, 2, 3},
		"--since 7d --until 1h":                  nil,
		"--since 2020-01-01T00:00:00+01:00":      {1, 2, 3},
		"--until 2020-01-01T00:00:00Z":           nil,
		"--type api.request --customer cus_1":    nil,
		"--reason refused --limit 1":             {1},
		"--reason refused --limit 2 --since 30m": {1, 2},
	} {
		code, out, stderr := kgents(t, append([]string{"deadletter", "list", "--output", "json"}, strings.Fields(args)...)...)
		if got := listed(t, out); code != 0 || !slices.Equal(got, want) {
			t.Errorf("%s: code %d, letters %v, want %v", args, code, got, want)
		}
		if more := strings.Contains(stderr, "There are more than these 1"); more != strings.Contains(args, "--limit 1") {
			t.Errorf("%s: stderr %q", args, stderr)
		}
	}
	if _, out, _ = kgents(t, "deadletter", "list", "--type", "none"); out != "There are no dead letters like that.\n" {
		t.Errorf("a filter that leaves none: %q", out)
	}
}

func TestPrintLetters(t *testing.T) {
	var list []deadletter.Stored
	for i, l := range three() {
		list = append(list, deadletter.Stored{Seq: uint64(i + 9), Buried: l.Last, Bytes: len(l.Event), Letter: l})
	}
	var out bytes.Buffer
	if err := printLetters(&out, "table", list); err != nil {
		t.Fatal(err)
	}
	golden(t, "deadletter-list", out.Bytes())
	list[2].Truncated = true
	for name, l := range map[string]deadletter.LetterAnswer{
		"deadletter-show":           {Stored: list[0], Event: list[0].Letter.Event},
		"deadletter-show-malformed": {Stored: list[2], EventBase64: list[2].Letter.Event},
	} {
		out.Reset()
		if err := printLetter(&out, "table", l); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

func TestDeadLetterShow(t *testing.T) {
	m := newMorgue(t)
	m.bury(t)
	code, out, stderr := kgents(t, "deadletter", "show", "1")
	if code != 0 || stderr != "" || !strings.Contains(out, `  "id": "one",`) {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, stderr)
	}
	_, out, _ = kgents(t, "deadletter", "show", "1", "--output", "json")
	var l deadletter.LetterAnswer
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Seq != 1 || l.Status != 400 || !strings.Contains(string(l.Event), `"one"`) {
		t.Errorf("as JSON: %+v, %v", l, err)
	}
	code, out, stderr = kgents(t, "deadletter", "show", "99")
	wantLine(t, code, out, stderr, "no dead letter 99")
}

func TestDeadLetterReplayAndDrop(t *testing.T) {
	for _, test := range []struct {
		line string
		code int
		out  []string
		left []uint64
	}{
		{"replay 1", 0, []string{"1 dead letter replayed.\n"}, []uint64{2, 3}},
		{"replay 1 2", 0, []string{"2 dead letters replayed.\n"}, []uint64{3}},
		{"replay 1 99 2", 1, []string{"2 dead letters replayed.\n", "no dead letter 99"}, []uint64{3}},
		{"replay --all", 1, []string{"2 dead letters replayed.\n", "dead letter 3 can't be replayed"}, []uint64{3}},
		{"replay --all --reason refused", 0, []string{"2 dead letters replayed.\n"}, []uint64{3}},
		{"replay --all --customer cus_2", 0, []string{"1 dead letter replayed.\n"}, []uint64{1, 3}},
		{"replay --all --type none", 0, []string{"0 dead letters replayed.\n"}, []uint64{1, 2, 3}},
		{"replay --all --dry-run", 0, []string{"agent.tokens", "2 dead letters would be replayed, 1 can't be; nothing was done.\n"}, []uint64{1, 2, 3}},
		{"replay 2 --dry-run", 0, []string{"api.request", "1 dead letter would be replayed; nothing was done.\n"}, []uint64{1, 2, 3}},
		{"drop 1 --yes", 0, []string{"1 dead letter dropped.\n"}, []uint64{2, 3}},
		{"drop --all --yes", 0, []string{"3 dead letters dropped.\n"}, nil},
		{"drop --all --reason malformed --yes", 0, []string{"1 dead letter dropped.\n"}, []uint64{1, 2}},
		{"drop --all --dry-run", 0, []string{"3 dead letters would be dropped; nothing was done.\n"}, []uint64{1, 2, 3}},
		{"drop --all --yes --dry-run", 0, []string{"nothing was done.\n"}, []uint64{1, 2, 3}},
		{"replay --all --output json", 1, []string{`"action": "replay"`, `"done": 2`, `"failed": 1`, `"seq": 3`}, []uint64{3}},
	} {
		t.Run(test.line, func(t *testing.T) {
			m := newMorgue(t)
			m.bury(t)
			code, out, stderr := kgents(t, append([]string{"deadletter"}, strings.Fields(test.line)...)...)
			if code != test.code || stderr != "" {
				t.Errorf("code %d, stderr %q, want code %d", code, stderr, test.code)
			}
			for _, part := range test.out {
				if !strings.Contains(out, part) {
					t.Errorf("stdout lacks %q: %s", part, out)
				}
			}
			if got := m.left(t); !slices.Equal(got, test.left) {
				t.Errorf("left are %v, want %v", got, test.left)
			}
		})
	}
}

// When nothing answers any more, what was done is told and the rest is left.
func TestDeadLetterReplayStops(t *testing.T) {
	m := newMorgue(t)
	m.bury(t)
	m.fail.Store(2)
	code, out, stderr := kgents(t, "deadletter", "replay", "--all")
	if code != 1 || stderr != "" || !strings.Contains(out, "1 dead letter replayed.\n") || !strings.Contains(out, "stopped: NATS is away. The rest is still there: run this again.") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, stderr)
	}
	if got := m.left(t); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("left are %v, want 2 and 3", got)
	}
	if n := m.replays.Load(); n != 2 {
		t.Errorf("%d replays were asked for, want 2", n)
	}
	m.fail.Store(1)
	code, out, stderr = kgents(t, "deadletter", "replay", "--all")
	wantLine(t, code, out, stderr, "NATS is away")
}

// What is wrong on the command line is said before anything is asked or done.
func TestDeadLetterWrongCommandLine(t *testing.T) {
	m := newMorgue(t)
	m.bury(t)
	for line, parts := range map[string][]string{
		"lst":                               {"did you mean 'list'?"},
		"list extra":                        {"takes no arguments"},
		"list --limit 0":                    {"--limit must be from 1 to 10000"},
		"list --output xml":                 {"use table or json"},
		"list --since yesterday":            {`--since "yesterday"`, "90m, 24h or 7d"},
		"list --since 1h --until 2h":        {"since must be before until"},
		"list --reason other":               {"use refused or malformed"},
		"show":                              {"name one letter by its SEQ"},
		"show 1 2":                          {"name one letter by its SEQ"},
		"show x":                            {`"x" names no letter`, "'kgents deadletter list'"},
		"replay":                            {"name what to replay", "--all"},
		"replay 0":                          {`"0" names no letter`},
		"replay 1 --all":                    {"exclude each other"},
		"replay 1 --type agent.tokens":      {"go with --all"},
		"replay 3":                          nil, // told below
		"drop 1":                            {"--yes", "--dry-run"},
		"drop --all":                        {"--yes", "--dry-run"},
		"drop --all --reason other --yes":   {"use refused or malformed"},
		"drop --yes":                        {"name what to drop"},
		"drop --all --until tomorrow --yes": {`--until "tomorrow"`},
	} {
		code, out, stderr := kgents(t, append([]string{"deadletter"}, strings.Fields(line)...)...)
		if parts == nil {
			if code != 1 || !strings.Contains(out, "can't be replayed") {
				t.Errorf("%s: code %d, stdout %q", line, code, out)
			}
			continue
		}
		wantLine(t, code, out, stderr, parts...)
	}
	t.Setenv("API_KEYS", "hunter2")
	for _, line := range []string{"list", "show 1", "replay 1", "drop 1 --yes", "replay --all"} {
		code, out, stderr := kgents(t, append([]string{"deadletter"}, strings.Fields(line)...)...)
		wantLine(t, code, out, stderr, "does not know the API key from the environment (API_KEYS)")
	}
	if got := m.left(t); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("left are %v, want all", got)
	}
}
