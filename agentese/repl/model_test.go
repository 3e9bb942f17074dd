package repl

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/search/searchtest"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
)

// unsure are words whose answer on this machine is not sure; hushed is what in them is
// somebody's.
const unsure = "acme and bob@initech.example with sk_live_abcDEF123 say that umbrella's 4711 euros from evt_1QxYz9AbC for Zyxwvut vanished"

var hushed = []string{"acme", "bob", "initech", "umbrella", "4711", "evt_", "1qxyz", "zyxwvut", "sk_live", "abcdef", "globex"}

// model is an API of chat completions as it is documented: a POST of messages with
// roles to /chat/completions, answered with choices.
type model struct {
	t      *testing.T
	answer string
	do     http.HandlerFunc // instead of an answer

	mu   sync.Mutex
	sent []string
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	m.mu.Lock()
	m.sent = append(m.sent, string(raw))
	m.mu.Unlock()
	var body struct {
		Model    string
		Messages []struct{ Role, Content string }
	}
	if err := json.Unmarshal(raw, &body); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" || body.Model != "small" || len(body.Messages) != 2 {
		m.t.Errorf("not what the API documents: %s %s %s", r.Method, r.URL.Path, raw)
	}
	if m.do != nil {
		m.do(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"object": "chat.completion", "choices": []any{map[string]any{
		"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": m.answer}}}})
}

func (m *model) calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent
}

// modelled is a shell over the whole tree, with a model.
func modelled(t *testing.T, m *model, change func(*Options)) *rig {
	t.Helper()
	m.t = t
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	chat, err := search.NewChat(search.ChatConfig{URL: server.URL + "/v1", Key: "sk-secret", Model: "small"})
	if err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(nil) // the system is away: words are understood all the same
	gone.Close()
	r := newRig(t, func(o *Options) {
		o.Tree, o.Model = nil, chat
		o.Sources.HTTP = http.DefaultClient
		o.Sources.API = &client.Client{URL: gone.URL, HTTP: http.DefaultClient}
		if change != nil {
			change(o)
		}
	})
	r.search = fixed{index(t)}
	return r
}

// fixed is an index that keeps the names it has: it serves many tests, which teach it
// nothing.
type fixed struct{ *search.Index }

func (fixed) Update(*tree.Snapshot) {}

var (
	indexed sync.Once
	one     *search.Index
)

// index is of the whole tree, with live names.
func index(t *testing.T) *search.Index {
	indexed.Do(func() { one = newIndex(t) })
	return one
}

func newIndex(t *testing.T) *search.Index {
	t.Helper()
	x, err := search.New(searchtest.Tree(t))
	if err != nil {
		t.Fatal(err)
	}
	x.Update(searchtest.Live(t))
	return x
}

var offered = regexp.MustCompile(`(?m)^  \d  (\S+)`)

// offers are the expressions that the shell has offered.
func (r *rig) offers() []string {
	var out []string
	for _, m := range offered.FindAllStringSubmatch(r.out.String(), -1) {
		out = append(out, m[1])
	}
	return out
}

// asks types words, and an answer to what is offered.
func (r *rig) asks(line, answer string) (offers []string, wrote string) {
	r.out.Reset()
	r.attended(answer)
	_, _ = r.Run(context.Background(), line)
	return r.offers(), r.out.String()
}

// What the model picks is offered first and said to be its choice; it is not taken by
// Enter alone. What it is not asked, or answers out of place, leaves the order.
func TestModelOrdersWords(t *testing.T) {
	local, wrote := modelled(t, &model{}, func(o *Options) { o.Model = nil }).asks(unsure, "")
	if len(local) < 3 || strings.Contains(wrote, "model") {
		t.Fatalf("without a model: %q", wrote)
	}
	for _, test := range []struct {
		name, line string
		model      *model
		first      string
		said       string
		calls      int
		enter      string
	}{
		{name: "picks", line: unsure, model: &model{answer: "2"}, first: local[1], said: "a model had its say", calls: 1},
		{name: "beyond the options", line: unsure, model: &model{answer: "21"}, first: local[0], said: "no model had its say: the model's answer is none of the options", calls: 1},
		{name: "a path of its own", line: unsure, model: &model{answer: "world.deadletter.refine[do=drop][yes]"}, first: local[0], said: "none of the options", calls: 1},
		{name: "fails", line: unsure, model: &model{do: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "\x1b[2J", 500) }}, first: local[0], said: "the model's API answered 500", calls: 1},
		{name: "no entropy", line: unsure + " [entropy=0]", model: &model{answer: "2"}, first: local[0]},
		{name: "too little entropy", line: unsure + "[entropy=0.009]", model: &model{answer: "2"}, first: local[0]},
		{name: "no amount", line: unsure + "[entropy=x]", model: &model{answer: "2"}, first: local[0]},
		{name: "enough entropy", line: unsure + " [entropy=0.01]", model: &model{answer: "2"}, first: local[1], said: "a model had its say", calls: 1},
		{name: "a sure answer", line: "who is over their limit", model: &model{answer: "2"}, first: "world.customers.lens", enter: "n"},
		{name: "no words", line: "world.nats.manfest", model: &model{answer: "2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := modelled(t, test.model, nil)
			got, wrote := r.asks(test.line, test.enter)
			if test.first != "" && (len(got) == 0 || got[0] != test.first) {
				t.Errorf("the first is not %s:\n%s", test.first, wrote)
			}
			if !strings.Contains(wrote, test.said) || test.said == "" && strings.Contains(wrote, "model") || strings.Contains(wrote, "sk-secret") {
				t.Errorf("wrote, without %q:\n%s", test.said, wrote)
			}
			if n := len(test.model.calls()); n != test.calls {
				t.Errorf("the model was asked %d times", n)
			}
			spent, _, _ := r.session.Budget.State()
			if want := float64(test.calls) * search.RerankEntropy; spent != want {
				t.Errorf("%v was spent, not %v", spent, want)
			}
			if test.calls > 0 && !strings.Contains(wrote, "nothing was run") {
				t.Errorf("Enter alone has run it:\n%s", wrote)
			}
		})
	}
}

// Nothing that is somebody's is sent, and no more than 20 options.
func TestModelSeesNothingOfCustomers(t *testing.T) {
	m := &model{answer: "1"}
	r := modelled(t, m, nil)
	r.asks(unsure, "")
	calls := m.calls()
	if len(calls) != 1 {
		t.Fatalf("%d calls", len(calls))
	}
	for _, secret := range hushed {
		if strings.Contains(strings.ToLower(calls[0]), secret) {
			t.Errorf("%s was sent: %s", secret, calls[0])
		}
	}
	if n := len(regexp.MustCompile(`\\n\d+\. `).FindAllString(calls[0], -1)); n < 2 || n > search.MaxOptions {
		t.Errorf("%d options", n)
	}
}

// Ten calls are a session's entropy; what was given back can't be spent. Why the model
// has no say any more is told once.
func TestModelAndTheBudget(t *testing.T) {
	t.Run("spent", func(t *testing.T) {
		m := &model{answer: "2"}
		r := modelled(t, m, nil)
		told := 0
		for range 13 {
			if _, wrote := r.asks(unsure, ""); strings.Contains(wrote, "entropy is spent") {
				told++
			}
		}
		if len(m.calls()) != 10 || told != 1 {
			t.Errorf("%d calls; it was told %d times", len(m.calls()), told)
		}
	})
	t.Run("given back", func(t *testing.T) {
		m := &model{answer: "2"}
		r := modelled(t, m, nil)
		r.session.Budget.Tithe()
		if _, wrote := r.asks(unsure, ""); len(m.calls()) != 0 || !strings.Contains(wrote, "given back") {
			t.Errorf("%d calls, wrote:\n%s", len(m.calls()), wrote)
		}
	})
}

// In scripts and for find the model is asked only where the options say so.
func TestModelInScripts(t *testing.T) {
	for _, ask := range []bool{false, true} {
		for _, line := range []string{"find " + unsure, unsure} {
			m := &model{answer: "2"}
			r := modelled(t, m, func(o *Options) { o.AskModel = ask })
			_ = r.Commands(t.Context(), []string{line, line + " [entropy=0]"}, true)
			if asked := len(m.calls()) == 1; asked != ask || strings.Contains(r.out.String(), "a model had its say") != ask {
				t.Errorf("flag %v, %.8s…: %d calls, wrote:\n%s", ask, line, len(m.calls()), r.out.String())
			}
		}
	}
	m := &model{answer: "2"}
	r := modelled(t, m, nil)
	r.asks("find "+unsure, "")
	r.suggestion(unsure)
	r.found(unsure)
	if len(m.calls()) != 0 {
		t.Error("the model was asked for find, or while a line is typed")
	}
}

// Ctrl-C while the model thinks stops the line.
func TestModelIsLeftByCtrlC(t *testing.T) {
	asked := make(chan struct{})
	m := &model{do: func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}}
	r := modelled(t, m, nil).attended("1")
	interrupts := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		defer close(interrupts)
		<-asked
		cancel()
	}()
	_, err := r.Run(ctx, unsure)
	<-interrupts
	if err == nil || len(r.asked) != 0 || !strings.Contains(r.out.String(), "stopped") {
		t.Errorf("%v, asked %q, wrote:\n%s", err, r.asked, r.out.String())
	}
}

// The budget is the one that the tree's steps draw from.
func TestModelSharesTheBudget(t *testing.T) {
	m := &model{answer: "2"}
	r := modelled(t, m, nil)
	for r.session.Budget.Draw(tree.CallEntropy) {
	}
	if _, wrote := r.asks(unsure, ""); len(m.calls()) != 0 || !strings.Contains(wrote, search.ErrSpent.Error()) {
		t.Errorf("wrote:\n%s", wrote)
	}
}
