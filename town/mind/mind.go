// Package mind lets a language model decide what the citizens of a town do, through
// an OpenAI-compatible API (chat completions) or Anthropic's (messages).
//
// The model picks one of the numbered options that the town's rules allow; it can do
// nothing else. What its answer says that it has used, in and out, is what the
// decision costs: the town meters that instead of the operation's own tokens. An
// answer that doesn't say what it cost, or is none of the options, is no decision.
//
// When the model fails, Decide returns an error at once or within the time-out, and
// the town goes on by rules. One call is repeated at most once, and only if the first
// can't have cost anything: it was answered by a status, or never sent. A call that
// broke otherwise may have been charged, which the Decision says. After a failure the
// model isn't asked for a while (see pause), so that a thousand towns don't wait for
// one that is away.
//
// The operator is protected by a budget of tokens for each town and day of UTC, which
// the town remembers. What is sent holds names of the town only: nothing of its
// customer, not even the town's id. The key, what was sent and what was answered are
// in no log and no error.
package mind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

// The APIs.
const (
	OpenAI    = "openai"
	Anthropic = "anthropic"
)

// Bounds of a Mind.
const (
	// DefaultTimeout bounds one call. A step asks at most town.MaxOperations times,
	// and stops asking at the first failure.
	DefaultTimeout = 10 * time.Second

	// DefaultMaxTokens is the most that an answer may have. A number has one or two;
	// the rest is for models that think first.
	DefaultMaxTokens = 256

	// MaxPromptBytes bounds what is sent as text. A situation beyond it isn't sent.
	MaxPromptBytes = 4096

	// maxAnswerBytes bounds what is read of an answer; a longer one is no answer.
	maxAnswerBytes = 64 << 10

	// maxCalls bounds the calls under way; whoever comes then waits within its
	// time-out.
	maxCalls = 64

	// maxWait is the longest that a repetition waits; if the API asks for more, there
	// is none.
	maxWait = 2 * time.Second

	// maxModelName bounds the model's name in bytes: it is a dimension of the meter.
	maxModelName = 100

	// framing is more than the tokens that an API adds to the bytes of the messages.
	framing = 64
)

// Config is what a Mind needs.
type Config struct {
	API   string // OpenAI or Anthropic
	URL   string // base of the API: https://api.openai.com/v1, https://api.anthropic.com
	Key   string // none for a server that wants none
	Model string

	// Budget is how many tokens the decisions of one town may cost in a day of UTC.
	Budget int64

	Timeout   time.Duration // of one call; 0 = DefaultTimeout
	MaxTokens int           // of an answer; 0 = DefaultMaxTokens

	Log        *slog.Logger
	Registerer prometheus.Registerer
	Transport  http.RoundTripper // nil = one of its own
}

// Mind is a town.Decider for any number of towns at once.
type Mind struct {
	c       Config
	api     api
	url     string
	http    *http.Client
	calls   chan struct{}
	metrics *metrics

	newer atomic.Bool // the OpenAI model wants max_completion_tokens

	mu     sync.Mutex
	until  time.Time // the model isn't asked before
	reason string
}

// New returns a Mind, or an error with CodeMisconfig. It asks the network for
// nothing: whether the key is good shows at the first decision.
func New(c Config) (*Mind, error) {
	a, ok := apis[c.API]
	if !ok {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "the model's API must be %s or %s", OpenAI, Anthropic)
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "the URL of the model's API must be an http or https one")
	}
	if c.Model == "" || len(c.Model) > maxModelName || strings.ContainsFunc(c.Model, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "the model must have a name of at most %d bytes", maxModelName)
	}
	if c.Model == town.ModelRules {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "a model can't be called %q: that is how decisions by rules are metered", c.Model)
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxTokens <= 0 {
		c.MaxTokens = DefaultMaxTokens
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			MaxIdleConnsPerHost: maxCalls,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		}
	}
	return &Mind{
		c: c, api: a, url: a.address(strings.TrimRight(c.URL, "/")), calls: make(chan struct{}, maxCalls), metrics: newMetrics(c.Registerer),
		http: &http.Client{
			Transport: c.Transport,
			// A redirect would hand the key to another address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close lets go of idle connections. Calls under way end with their contexts.
func (m *Mind) Close() { m.http.CloseIdleConnections() }

// Bound is more than a decision on s can cost: no token is shorter than a byte.
func (m *Mind) Bound(s town.Situation) int64 {
	return int64(len(system)+len(prompt(s))+framing) + int64(m.c.MaxTokens)
}

// Decide asks the model. Its error's text may be shown to the town's customer.
func (m *Mind) Decide(ctx context.Context, s town.Situation) (town.Decision, error) {
	d, result, err := m.decide(ctx, s)
	m.metrics.decisions.WithLabelValues(string(result)).Inc()
	billed := "yes"
	if err != nil {
		billed = "no"
	}
	m.metrics.tokens.WithLabelValues("in", billed).Add(float64(d.In))
	m.metrics.tokens.WithLabelValues("out", billed).Add(float64(d.Out))
	return d, err
}

func (m *Mind) decide(ctx context.Context, s town.Situation) (town.Decision, result, error) {
	if s.Spent+m.Bound(s) > m.c.Budget {
		return town.Decision{}, overBudget, fmt.Errorf("the town's budget of %d tokens a day for decisions is used up until midnight UTC", m.c.Budget)
	}
	if why := m.paused(); why != "" {
		return town.Decision{}, resting, errors.New(why)
	}
	text := prompt(s)
	if len(text) > MaxPromptBytes {
		return town.Decision{}, garbage, errors.New("the situation is too long for the model")
	}
	begin := time.Now()
	a, err := m.ask(ctx, text)
	d := town.Decision{Model: m.c.Model, Latency: time.Since(begin), In: a.in, Out: a.out}
	if err != nil {
		f := failureOf(err)
		if f.uncertain {
			d.In, d.Out, d.Uncertain = m.Bound(s), 0, true
		}
		m.pause(f)
		return d, f.result, errors.New(f.text)
	}
	m.metrics.seconds.Observe(d.Latency.Seconds())
	if a.in+a.out == 0 {
		d.In, d.Uncertain = m.Bound(s), true
		return d, noUsage, errors.New("the model's answer doesn't say what it cost")
	}
	if a.refused {
		return d, refused, errors.New("the model refused to decide")
	}
	n, ok := number(a.text)
	if !ok || n < 1 || n > len(s.Options) {
		return d, none, errors.New("the model's answer is none of the options")
	}
	d.Choice = n - 1
	return d, decided, nil
}

// paused tells why the model isn't asked now, "" if it may be.
func (m *Mind) paused() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Now().Before(m.until) {
		return m.reason
	}
	return ""
}

// pause lets the model alone after a failure.
func (m *Mind) pause(f failure) {
	if f.pause <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if until := time.Now().Add(f.pause); until.After(m.until) {
		m.until, m.reason = until, f.text
		m.c.Log.Warn("the model that decides for citizens fails: they act by rules for a while",
			"result", string(f.result), "status", f.status, "pause", f.pause)
	}
}
