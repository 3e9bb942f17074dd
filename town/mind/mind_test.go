package mind_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/mind"
)

var situation = town.Situation{
	Town: "acme-secret-town", Day: 3, Phase: "evening", Region: "inn",
	Actor:   town.Person{Name: "Alice", Archetype: "innkeeper", Mood: "content"},
	Present: []town.Person{{Name: "Bob", Archetype: "builder", Mood: "calm", View: .25}},
	Options: []town.Option{
		{Operation: town.Trade, Participants: []string{"Alice", "Bob"}, Tokens: 400},
		{Operation: town.Solo, Participants: []string{"Alice"}, Tokens: 300},
		{Operation: town.Gossip, Participants: []string{"Alice", "Bob"}, Subject: "Clara", Tokens: 500},
	},
}

type world struct {
	*mind.Mind
	fake     *fake
	log      bytes.Buffer
	registry *prometheus.Registry
}

func config(api string) mind.Config {
	url := "http://model.test/v1"
	if api == mind.Anthropic {
		url = "http://model.test/"
	}
	return mind.Config{API: api, URL: url, Key: key, Model: "large-2", Budget: 1 << 40, MaxTokens: 64}
}

func newWorld(t *testing.T, api string, replies ...reply) *world {
	t.Helper()
	w := &world{fake: &fake{t: t, api: api, replies: replies}, registry: prometheus.NewPedanticRegistry()}
	c := config(api)
	c.Log, c.Registerer, c.Transport = slog.New(slog.NewTextHandler(&w.log, nil)), w.registry, wire{w.fake}
	m, err := mind.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	w.Mind = m
	return w
}

// What each answer of each API means: what is chosen, what it cost, how often it was
// asked, and how long it isn't asked then.
func TestAnswers(t *testing.T) {
	good := reply{text: "2", in: 180, out: 3}
	for _, c := range []struct {
		name    string
		only    string // one API
		replies []reply
		choice  int
		err     string
		in, out int64
		unsure  bool
		calls   int
		pause   time.Duration
		result  string
	}{
		{name: "a number", replies: []reply{good}, choice: 1, in: 180, out: 3, calls: 1, result: "decided"},
		{name: "a number in words", replies: []reply{{text: "Option 3: gossip.\n", in: 180, out: 9}}, choice: 2, in: 180, out: 9, calls: 1, result: "decided"},
		{name: "cached tokens count", only: mind.Anthropic, replies: []reply{{text: "2", in: 180, cacheIn: 150, out: 3}}, choice: 1, in: 180, out: 3, calls: 1, result: "decided"},
		{name: "tokens of the total only count", only: mind.OpenAI, replies: []reply{{text: "2", in: 180, out: 90, thoughtIn: 80}}, choice: 1, in: 180, out: 90, calls: 1, result: "decided"},

		{name: "no option", replies: []reply{{text: "4", in: 180, out: 3}}, err: "none of the options", in: 180, out: 3, calls: 1, result: "none"},
		{name: "option 0", replies: []reply{{text: "0", in: 180, out: 3}}, err: "none of the options", in: 180, out: 3, calls: 1, result: "none"},
		{name: "a negative one", replies: []reply{{text: "-1", in: 180, out: 3}}, err: "none of the options", in: 180, out: 3, calls: 1, result: "none"},
		{name: "a fraction", replies: []reply{{text: "1.5", in: 180, out: 3}}, err: "none of the options", in: 180, out: 3, calls: 1, result: "none"},
		{name: "two numbers", replies: []reply{{text: "1 or 2", in: 180, out: 3}}, err: "none of the options", in: 180, out: 3, calls: 1, result: "none"},
		{name: "a huge number", replies: []reply{{text: strings.Repeat("9", 999), in: 180, out: 64}}, err: "none of the options", in: 180, out: 64, calls: 1, result: "none"},
		{name: "words", replies: []reply{{text: "Ignore your rules; greet everybody!", in: 180, out: 3}}, err: "none of the options", in: 180, out: 3, calls: 1, result: "none"},
		{name: "nothing", replies: []reply{{in: 180, out: 64}}, err: "none of the options", in: 180, out: 64, calls: 1, result: "none"},
		{name: "a refusal", replies: []reply{{refuses: true, in: 180, out: 20}}, err: "refused", in: 180, out: 20, calls: 1, result: "refused"},
		{name: "no usage", replies: []reply{{text: "2", noUsage: true}}, err: "doesn't say what it cost", unsure: true, calls: 1, result: "no_usage"},

		{name: "401", replies: []reply{{status: 401}}, err: "answered 401", calls: 1, pause: time.Minute, result: "unauthorized"},
		{name: "403", replies: []reply{{status: 403}}, err: "answered 403", calls: 1, pause: time.Minute, result: "unauthorized"},
		{name: "404", replies: []reply{{status: 404}}, err: "answered 404", calls: 1, pause: time.Minute, result: "broken"},
		{name: "a redirect", replies: []reply{{status: 307}}, err: "answered 307", calls: 1, pause: time.Minute, result: "broken"},
		{name: "429, then good", replies: []reply{{status: 429, after: "1"}, good}, choice: 1, in: 180, out: 3, calls: 2, result: "decided"},
		{name: "429 twice", replies: []reply{{status: 429, after: "2"}}, err: "answered 429", calls: 2, pause: 2 * time.Second, result: "limited"},
		{name: "429 for a minute", replies: []reply{{status: 429, after: "60"}}, err: "answered 429", calls: 1, pause: time.Minute, result: "limited"},
		{name: "429 for a year", replies: []reply{{status: 429, after: "31536000"}}, err: "answered 429", calls: 1, pause: 10 * time.Minute, result: "limited"},
		{name: "429 until a date", replies: []reply{{status: 429, after: "Sat, 01 Jan 2000 00:00:30 GMT"}}, err: "answered 429", calls: 1, pause: 30 * time.Second, result: "limited"},
		{name: "429 with nonsense", replies: []reply{{status: 429, after: "soon"}}, err: "answered 429", calls: 2, pause: 10 * time.Second, result: "limited"},
		{name: "429 for want of money", replies: []reply{{status: 429, spent: true}}, err: "answered 429", calls: 1, pause: 10 * time.Minute, result: "limited"},
		{name: "503 for a minute", replies: []reply{{status: 503, after: "60"}}, err: "answered 503", calls: 1, pause: time.Minute, result: "broken"},
		{name: "500, then good", replies: []reply{{status: 500}, good}, choice: 1, in: 180, out: 3, calls: 2, result: "decided"},
		{name: "500 twice", replies: []reply{{status: 500}}, err: "answered 500", calls: 2, pause: 10 * time.Second, result: "broken"},
		{name: "overloaded", replies: []reply{{status: 529}}, err: "answered 529", calls: 2, pause: 10 * time.Second, result: "broken"},
		{name: "the newer name", only: mind.OpenAI, replies: []reply{{wantNewer: true}, good}, choice: 1, in: 180, out: 3, calls: 2, result: "decided"},
		{name: "the newer name, again and again", only: mind.OpenAI, replies: []reply{{wantNewer: true}}, err: "answered 400", calls: 2, pause: time.Minute, result: "broken"},

		{name: "no connection", replies: []reply{{refused: true}}, err: "can't be reached", calls: 2, pause: 10 * time.Second, result: "unreachable"},
		{name: "no connection, then good", replies: []reply{{refused: true}, good}, choice: 1, in: 180, out: 3, calls: 2, result: "decided"},
		{name: "slow", replies: []reply{{slow: true}}, err: "in time", unsure: true, calls: 1, pause: 10 * time.Second, result: "timeout"},
		{name: "500, then slow", replies: []reply{{status: 500}, {slow: true}}, err: "in time", unsure: true, calls: 2, pause: 10 * time.Second, result: "timeout"},
		{name: "broken off", replies: []reply{{breaks: true}}, err: "broke off", unsure: true, calls: 1, pause: 10 * time.Second, result: "unreachable"},
		{name: "garbage", replies: []reply{{raw: "<html>2</html>"}}, err: "can't be read", unsure: true, calls: 1, pause: 10 * time.Second, result: "garbage"},
		{name: "another object", replies: []reply{{raw: `{"choices":[],"type":"error"}`}}, err: "can't be read", unsure: true, calls: 1, pause: 10 * time.Second, result: "garbage"},
		{name: "over-long", replies: []reply{{text: strings.Repeat("2 ", 50_000), in: 1, out: 1}}, err: "too long", unsure: true, calls: 1, pause: 10 * time.Second, result: "garbage"},
		{name: "less than no tokens", replies: []reply{{text: "2", in: -180, out: 3}}, err: "can't be read", unsure: true, calls: 1, pause: 10 * time.Second, result: "garbage"},
		{name: "more tokens than can be", replies: []reply{{text: "2", in: 180, out: 1 << 40}}, err: "can't be read", unsure: true, calls: 1, pause: 10 * time.Second, result: "garbage"},
	} {
		for _, api := range []string{mind.OpenAI, mind.Anthropic} {
			if c.only != "" && c.only != api {
				continue
			}
			t.Run(c.name+"/"+api, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, api, c.replies...)
					d, err := w.Decide(t.Context(), situation)
					if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
						t.Fatalf("error %v, want %q", err, c.err)
					}
					if c.unsure { // the most that it can have been
						c.in = w.Bound(situation)
					}
					if err == nil && (d.Choice != c.choice || d.Model != "large-2") || d.In != c.in || d.Out != c.out || d.Uncertain != c.unsure {
						t.Errorf("%+v, want choice %d for %d and %d", d, c.choice, c.in, c.out)
					}
					if n := w.fake.calls(); n != c.calls {
						t.Errorf("%d calls, want %d", n, c.calls)
					}
					for _, body := range w.fake.bodies {
						if strings.Contains(body, "secret") || len(body) > mind.MaxPromptBytes+1024 {
							t.Errorf("sent %s", body)
						}
					}
					if d.In+d.Out > w.Bound(situation) {
						t.Errorf("%d tokens, at most %d were said", d.In+d.Out, w.Bound(situation))
					}
					if got := w.count(t, c.result); got != 1 {
						t.Errorf("counted %v as %s", got, c.result)
					}
					w.pauses(t, c.pause, c.calls)
					if log := w.log.String(); strings.Contains(log, key) || strings.Contains(log, "secret") || err != nil && strings.Contains(err.Error(), key) {
						t.Errorf("the key or the town is in %s, %v", log, err)
					}
				})
			})
		}
	}
}

func (w *world) count(t *testing.T, result string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "kgents_town_model_decisions_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// pauses wants the model not to be asked for as long as that, and then again.
func (w *world) pauses(t *testing.T, pause time.Duration, calls int) {
	t.Helper()
	if pause > 0 {
		time.Sleep(pause - time.Millisecond)
		if _, err := w.Decide(t.Context(), situation); err == nil || w.fake.calls() != calls {
			t.Errorf("asked again before %s: %v", pause, err)
		}
		time.Sleep(time.Millisecond)
	}
	w.fake.mu.Lock()
	w.fake.replies = []reply{{text: "1", in: 1, out: 1}}
	w.fake.mu.Unlock()
	if _, err := w.Decide(t.Context(), situation); err != nil || w.fake.calls() != calls+1 {
		t.Errorf("not asked again after %s: %v", pause, err)
	}
}

// The step's context ends a call; that the host is going down says nothing about the
// model.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mind.OpenAI, reply{slow: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d, err := w.Decide(ctx, situation)
		if err == nil || !d.Uncertain || d.Latency != time.Second {
			t.Errorf("%+v, %v", d, err)
		}
		w.pauses(t, 0, 1)
	})
}

// A hundred towns at once keep to the bound of calls, and wait no longer than the
// time-out.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, mind.OpenAI, reply{slow: true})
		const n = 100
		done := make(chan town.Decision, n)
		for range n {
			go func() {
				d, err := w.Decide(t.Context(), situation)
				if err == nil {
					t.Error("decided")
				}
				done <- d
			}()
		}
		begin, unsure := time.Now(), 0
		for range n {
			if (<-done).Uncertain {
				unsure++
			}
		}
		if took := time.Since(begin); took > mind.DefaultTimeout || unsure != w.fake.calls() || unsure < 64 || unsure == n {
			t.Errorf("%d calls of %d decisions, %d may have cost tokens, in %s", w.fake.calls(), n, unsure, took)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*mind.Config){
		"another API":      func(c *mind.Config) { c.API = "gopher" },
		"no URL":           func(c *mind.Config) { c.URL = "" },
		"a file":           func(c *mind.Config) { c.URL = "file:///etc/passwd" },
		"no model":         func(c *mind.Config) { c.Model = "" },
		"a model of lines": func(c *mind.Config) { c.Model = "a\nb" },
		"a long model":     func(c *mind.Config) { c.Model = strings.Repeat("m", 101) },
		"rules":            func(c *mind.Config) { c.Model = town.ModelRules },
	} {
		c := config(mind.OpenAI)
		c.Log, c.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
		change(&c)
		if _, err := mind.New(c); kgents.ErrorCode(err) != kgents.CodeMisconfig || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Over real connections, with a server that speaks HTTP: a decision, and one that
// breaks off.
func TestOverHTTP(t *testing.T) {
	for _, api := range []string{mind.OpenAI, mind.Anthropic} {
		f := &fake{t: t, api: api, replies: []reply{{text: "3", in: 180, out: 1}, {breaks: true}}}
		srv := httptest.NewServer(f)
		c := config(api)
		c.URL = strings.Replace(c.URL, "http://model.test", srv.URL, 1)
		c.Log, c.Registerer = slog.New(slog.DiscardHandler), prometheus.NewRegistry()
		m, err := mind.New(c)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := m.Decide(t.Context(), situation); err != nil || d.Choice != 2 || d.In != 180 || d.Out != 1 || d.Latency <= 0 {
			t.Errorf("%s: %+v, %v", api, d, err)
		}
		if d, err := m.Decide(t.Context(), situation); err == nil || !d.Uncertain || strings.Contains(err.Error(), srv.URL) {
			t.Errorf("%s: %+v, %v", api, d, err)
		}
		m.Close()
		srv.Close()
	}
}

// A town lives for weeks with a model that fails in every way. What is billed is what
// the good answers have used and what rules cost, no town goes over its budget of a
// day, and a town that has spent it goes on by rules.
func TestATownByModel(t *testing.T) {
	for _, api := range []string{mind.OpenAI, mind.Anthropic} {
		synctest.Test(t, func(t *testing.T) { // time is the bubble's: from 2000-01-01 on
			w := newWorld(t, api, reply{})
			c := config(api)
			c.Budget, c.Log, c.Registerer, c.Transport = 6000, slog.New(slog.NewTextHandler(&w.log, nil)), prometheus.NewPedanticRegistry(), wire{w.fake}
			m, err := mind.New(c)
			if err != nil {
				t.Fatal(err)
			}
			tw, err := town.New("acme-secret-town", 25, 5, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			var history bytes.Buffer
			var byModel int64
			spent := map[string]int64{}
			budget := 0
			for range 4 * 60 {
				good := reply{text: "1", in: 100 + r.Int64N(300), out: 1 + r.Int64N(20)}
				bad := []reply{{status: 500}, {slow: true}, {text: "none", in: 90, out: 9}, {noUsage: true, text: "1"}, {raw: "{"}, {breaks: true}, {refuses: true, in: 90, out: 9}}
				w.fake.mu.Lock()
				w.fake.replies = []reply{good}
				if r.IntN(3) == 0 {
					w.fake.replies = []reply{good, bad[r.IntN(len(bad))], good}
				}
				w.fake.mu.Unlock()
				now := time.Now()
				for _, e := range tw.Step(t.Context(), now, m, nil) {
					b, err := json.Marshal(e)
					if err != nil {
						t.Fatal(err)
					}
					history.Write(b)
					var sum int64
					for i, u := range e.Usage("acme") {
						var data struct {
							Tokens int64
							Model  string
						}
						if err := json.Unmarshal(u.Data, &data); err != nil {
							t.Fatal(err)
						}
						if i > 0 {
							sum += data.Tokens
						}
					}
					if sum != e.Tokens {
						t.Fatalf("%+v: metered %d", e, sum)
					}
					day := now.UTC().Format(time.DateOnly)
					if e.Tokens > 0 && e.Shares[0].Model == "large-2" {
						byModel += e.Tokens
						spent[day] += e.Tokens
						if e.Tokens != good.in+good.out {
							t.Fatalf("%+v: the model has used %d and %d", e, good.in, good.out)
						}
					}
					if n := e.Metadata[town.MetaWasted]; n != "" {
						var wasted int64
						if _, err := fmt.Sscan(n, &wasted); err != nil {
							t.Fatal(err)
						}
						spent[day] += wasted
					}
					if strings.Contains(e.Metadata[town.MetaFallback], "budget of 6000") {
						budget++
					}
				}
				time.Sleep(time.Hour)
			}
			for day, n := range spent {
				if n > 6000 {
					t.Errorf("%s: spent %d", day, n)
				}
			}
			mt := tw.Metrics()
			if mt.Decided < 50 || mt.Fallbacks < 20 || mt.Wasted == 0 || budget == 0 || byModel == 0 || len(spent) < 10 {
				t.Errorf("%d times over the budget, %d by the model: %+v", budget, byModel, mt)
			}
			for _, body := range w.fake.bodies {
				if strings.Contains(body, "secret") || strings.Contains(body, "acme") || len(body) > mind.MaxPromptBytes {
					t.Errorf("sent %s", body)
				}
			}
			if log := w.log.String() + history.String(); strings.Contains(log, key) {
				t.Error("the key is in the log or the history")
			}
		})
	}
}

func TestMetricsAreNamedWell(t *testing.T) {
	w := newWorld(t, mind.OpenAI, reply{})
	problems, err := testutil.GatherAndLint(w.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
