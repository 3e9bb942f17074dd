package meter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"github.com/kgents/kgents/telemetry"
)

const (
	// timeout bounds one request. OpenMeter was measured to take 50,000 events in
	// 2 s; a longer silence is no answer.
	timeout = 60 * time.Second

	maxDetail = 64 << 10 // of an error's body
	maxAnswer = 64 << 20 // of a query's answer
	maxIdle   = 16       // connections kept open
)

// Client is safe for concurrent use.
type Client struct {
	base string
	key  string
	http *http.Client

	limits *limiter
	about  []attribute.KeyValue // of a span: where the meter is
}

// NewClient returns a client of the API at baseURL. An empty key sends no
// Authorization. Nothing is sent until the first call.
func NewClient(baseURL, key string) (*Client, error) {
	u, err := url.Parse(baseURL)
	// Behind a query or a fragment the path of a request would be lost, and the
	// page at the root would seem to take every batch.
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.ContainsAny(baseURL, "?#") {
		return nil, errors.New("the meter's base URL must be http://host or https://host, without a query")
	}
	return &Client{
		base:   strings.TrimRight(baseURL, "/"),
		key:    key,
		limits: newLimiter(Limits{}),
		about:  aboutMeter(u),
		http: &http.Client{
			Timeout: timeout,
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
				TLSHandshakeTimeout:   10 * time.Second,
				ExpectContinueTimeout: time.Second,
				ForceAttemptHTTP2:     true,
				MaxIdleConns:          maxIdle,
				MaxIdleConnsPerHost:   maxIdle,
				IdleConnTimeout:       time.Minute,
				WriteBufferSize:       64 << 10,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Over makes the client use h from now on, for a meter that is reached in another
// way than by its address alone, and returns it. Call it before the first request. H
// must not follow redirects.
func (c *Client) Over(h *http.Client) *Client {
	c.http = h
	return c
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ingest hands over a batch, a JSON array of CloudEvents. Nil means that the
// meter says it has taken all of it; see Class for errors.
func (c *Client) Ingest(ctx context.Context, batch []byte) error {
	if err := c.limits.acquire(ctx, opIngest, true); err != nil {
		return err
	}
	ctx, span := c.startSpan(ctx) // of the request, not of the wait for it
	resp, err := c.send(ctx, opIngest, http.MethodPost, ingestPath, nil, "application/cloudevents-batch+json", batch)
	endSpan(span, resp)
	if err != nil {
		return err
	}
	defer finish(resp)
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return nil
	}
	return c.failure(resp, batch)
}

// Query returns a meter's values.
func (c *Client) Query(ctx context.Context, q Query) (Result, error) {
	v := url.Values{}
	setTime(v, "from", q.From)
	setTime(v, "to", q.To)
	set(v, "windowSize", q.WindowSize)
	set(v, "windowTimeZone", q.TimeZone)
	for _, s := range q.Subjects {
		v.Add("subject", s)
	}
	for _, g := range q.GroupBy {
		v.Add("groupBy", g)
	}
	for k, values := range q.FilterGroupBy {
		v.Set("filterGroupBy["+k+"]", strings.Join(values, ","))
	}
	var out Result
	return out, c.get(ctx, opQuery, "/api/v1/meters/"+url.PathEscape(q.Meter)+"/query", v, &out)
}

// Events lists stored events, newest first.
func (c *Client) Events(ctx context.Context, f EventFilter) ([]StoredEvent, error) {
	v := url.Values{}
	set(v, "id", f.ID)
	set(v, "subject", f.Subject)
	setTime(v, "from", f.From)
	setTime(v, "to", f.To)
	if f.Limit > 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	var out []StoredEvent
	return out, c.get(ctx, opEvents, "/api/v1/events", v, &out)
}

// Meters lists the meters.
func (c *Client) Meters(ctx context.Context) ([]Meter, error) {
	var out []Meter
	return out, c.get(ctx, opMeters, "/api/v1/meters", nil, &out)
}

// CreateMeter makes a meter. One that exists under its slug is left as it is.
func (c *Client) CreateMeter(ctx context.Context, m Meter) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, opMeters, http.MethodPost, "/api/v1/meters", nil, "application/json", body)
	if err != nil {
		return err
	}
	defer finish(resp)
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusConflict {
		return nil
	}
	return c.failure(resp, nil)
}

// Ping tells whether the meter answers under our key. It doesn't wait for our own
// rate, behind which a busy sink would seem to be a dead meter; in a pause that the
// meter asked for it sends nothing and fails with that.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.limits.acquire(ctx, opMeters, false); err != nil {
		return err
	}
	resp, err := c.send(ctx, opMeters, http.MethodGet, "/api/v1/meters", nil, "", nil)
	if err != nil {
		return err
	}
	defer finish(resp)
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return c.failure(resp, nil)
}

func (c *Client) get(ctx context.Context, operation, path string, query url.Values, out any) error {
	resp, err := c.do(ctx, operation, http.MethodGet, path, query, "", nil)
	if err != nil {
		return err
	}
	defer finish(resp)
	if resp.StatusCode != http.StatusOK {
		return c.failure(resp, nil)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return &Error{Class: Retry, Err: err}
	}
	if len(body) > maxAnswer {
		return &Error{Status: resp.StatusCode, Class: Refused, Detail: fmt.Sprintf("an answer of more than %d MiB: ask for less", maxAnswer>>20)}
	}
	if err := json.Unmarshal(body, out); err != nil {
		return &Error{Status: resp.StatusCode, Class: Retry, Detail: "an answer that is not what OpenMeter sends: look at the base URL", Err: err}
	}
	return nil
}

// What has a limit of its own at the meter.
const (
	opIngest = "ingest"
	opEvents = "events"
	opMeters = "meters"
	opQuery  = "query"
)

// do waits for the limits and sends.
func (c *Client) do(ctx context.Context, operation, method, path string, query url.Values, contentType string, body []byte) (*http.Response, error) {
	if err := c.limits.acquire(ctx, operation, true); err != nil {
		return nil, err
	}
	return c.send(ctx, operation, method, path, query, contentType, body)
}

// send is for a request that the limits have let go.
func (c *Client) send(ctx context.Context, operation, method, path string, query url.Values, contentType string, body []byte) (*http.Response, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		c.limits.lost(operation)
		return nil, &Error{Class: Blocked, Err: err}
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("User-Agent", "kgents")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	telemetry.Inject(ctx, req.Header)
	resp, err := c.http.Do(req)
	if err != nil {
		c.limits.lost(operation)
		return nil, &Error{Class: Retry, Err: err}
	}
	c.limits.answered(operation, resp.StatusCode, resp.Header, time.Now())
	return resp, nil
}

// failure reads an answer to what was sent that is no success: a problem document,
// or whatever text came.
func (c *Client) failure(resp *http.Response, sent []byte) error {
	e := &Error{Status: resp.StatusCode, Class: classOf(resp.StatusCode), RetryAfter: retryAfter(resp.Header, time.Now())}
	// What came is better than nothing. A key that begins before the cut is read
	// to its end, so that it is found.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxDetail+int64(len(c.key))))
	var problem struct{ Title, Detail string }
	switch err := json.Unmarshal(body, &problem); {
	case err == nil && problem.Detail != "":
		e.Detail = problem.Detail
	case err == nil && problem.Title != "":
		e.Detail = problem.Title
	default:
		e.Detail = strings.ToValidUTF8(strings.TrimSpace(string(body)), "\uFFFD")
	}
	if c.key != "" {
		e.Detail = strings.ReplaceAll(e.Detail, c.key, "[key]") // some servers repeat what they were sent
	}
	if n := maxDetail; len(e.Detail) > n {
		for !utf8.RuneStart(e.Detail[n]) {
			n--
		}
		e.Detail = e.Detail[:n]
	}
	e.words = words(e.Detail, sent)
	return e
}

// finish lets the connection be used again.
func finish(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxDetail)
	_ = resp.Body.Close()
}

func set(v url.Values, key, value string) {
	if value != "" {
		v.Set(key, value)
	}
}

func setTime(v url.Values, key string, t time.Time) {
	if !t.IsZero() {
		v.Set(key, t.UTC().Format(time.RFC3339Nano))
	}
}
