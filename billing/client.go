package billing

import (
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stripe/stripe-go/v85"

	"github.com/kgents/kgents"
)

const (
	// callTimeout bounds one call with its retries: a person waits for the answer.
	callTimeout = 20 * time.Second

	// attemptTimeout bounds one attempt of a call. Stripe's checkout takes a second or
	// two on a bad day.
	attemptTimeout = 8 * time.Second

	// retries is how often the library repeats a request that got no answer, or that
	// Stripe asks to repeat, half a second to 5 s apart, under one idempotency key.
	retries = 1

	// maxAnswer bounds an answer that is read; a page of 100 subscriptions has less
	// than 1 MiB. A longer one is cut, and so is no JSON.
	maxAnswer = 8 << 20
)

// ClientConfig is what a Client needs.
type ClientConfig struct {
	Key        string // STRIPE_API_KEY; empty = every call fails with CodeMisconfig
	Base       string // STRIPE_API_BASE; empty = Stripe's own
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil = no metrics
}

// Client calls Stripe's API. It is safe for concurrent use.
type Client struct {
	api      *stripe.Client // nil without a key
	http     *http.Client
	base     string // of ClientConfig
	live     bool
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
}

// NewClient returns a client. Nothing is sent until the first call.
func NewClient(c ClientConfig) *Client {
	out := &Client{
		base: c.Base,
		live: strings.Contains(c.Key, "_live_"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kgents_stripe_requests_total",
			Help: "Calls of Stripe's API by operation and by the code of what came of them: ok, or an error's code.",
		}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kgents_stripe_request_duration_seconds",
			Help: "How long calls of Stripe's API took, with their retries.", Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
	}
	if c.Registerer != nil {
		c.Registerer.MustRegister(out.requests, out.seconds)
	}
	out.http = &http.Client{
		Timeout: attemptTimeout,
		Transport: bounded{&http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
			ForceAttemptHTTP2:   true,
			MaxIdleConns:        16,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     time.Minute,
		}},
		// A redirect would hand the key to another address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.Key == "" {
		return out
	}
	out.api = stripe.NewClient(c.Key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		EnableTelemetry:   stripe.Bool(false),
		HTTPClient:        out.http,
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull}, // it would write answers to stderr
		MaxNetworkRetries: stripe.Int64(retries),
		URL:               stripe.String(cmp.Or(strings.TrimRight(c.Base, "/"), stripe.APIURL)),
	})))
	return out
}

// Enabled tells whether there is a key.
func (c *Client) Enabled() bool { return c.api != nil }

// Live tells whether the key is one with which money moves.
func (c *Client) Live() bool { return c.live }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// bounded cuts answers at maxAnswer, and sends nothing of this machine: the library's
// user agent has its name in it.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("X-Stripe-Client-User-Agent")
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

var errNoKey = kgents.Errorf(kgents.CodeMisconfig,
	"Stripe's API can't be called without its key: the operator has to set STRIPE_API_KEY or STRIPE_API_KEY_FILE, see docs/saas/stripe.md")

// call makes one call, with time-out, metrics and an error of this package.
func call[T any](ctx context.Context, c *Client, operation string, f func(ctx context.Context, api *stripe.Client) (T, error)) (T, error) {
	if c.api == nil {
		var none T
		return none, errNoKey
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	v, err := f(ctx, c.api)
	c.seconds.Observe(time.Since(began).Seconds())
	if err != nil {
		err = failed(operation, err)
	}
	c.requests.WithLabelValues(operation, cmp.Or(string(kgents.ErrorCode(err)), "ok")).Inc()
	return v, err
}

// list collects a list up to most items.
func list[T any](ctx context.Context, c *Client, operation string, most int, f func(ctx context.Context, api *stripe.Client) *stripe.V1List[T]) ([]T, error) {
	return call(ctx, c, operation, func(ctx context.Context, api *stripe.Client) ([]T, error) {
		var all []T
		for v, err := range f(ctx, api).All(ctx) {
			if err != nil {
				return nil, err
			}
			if all = append(all, v); len(all) == most {
				break
			}
		}
		return all, nil
	})
}
