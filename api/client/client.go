// Package client asks the HTTP API of a running kgents, for commands and the shell.
//
// It promises that the key is in no error and no log, that every answer it reads is
// bounded by MaxAnswer, and that what the API refuses is a *Problem with the API's own
// words. When nothing answers, the error is an *AwayError that says what to do.
package client

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
	"strings"
)

// MaxAnswer bounds what is read of an answer, in bytes: a page of events has some 500 kB.
const MaxAnswer = 16 << 20

// ErrPath is that a name in a path is "." or "..", which would ask for something else:
// nothing was sent.
var ErrPath = errors.New("leads to another path")

// Client is safe for concurrent use once made.
type Client struct {
	URL  string // base, without a slash at the end
	Key  string // the API key
	HTTP *http.Client

	// Header is added to each request: who asks, and by what expression.
	Header http.Header
}

// AwayError is that nothing answers.
type AwayError struct {
	URL   string
	Cause error
}

func (e *AwayError) Error() string {
	at := e.URL
	if u, err := url.Parse(at); err == nil {
		u.User = nil // nobody's password is for a screen
		at = u.String()
	}
	return fmt.Sprintf("nothing answers at %s: start it with 'kgents up', or name another with --url", at)
}

// Unwrap is what the connection failed with.
func (e *AwayError) Unwrap() error { return e.Cause }

// Problem is what the API has refused with (RFC 9457).
type Problem struct {
	Status int    `json:"status"`
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct{ Pointer, Detail string }
}

func (p *Problem) Error() string {
	text := p.Detail
	for _, e := range p.Errors {
		text += fmt.Sprintf("; %s: %s", strings.TrimPrefix(strings.TrimPrefix(e.Pointer, "body."), "query."), e.Detail)
	}
	return text
}

// Refused says that the API has done nothing of what it was asked for.
func (p *Problem) Refused() bool {
	return p.Status >= 400 && p.Status < 500 && p.Status != http.StatusRequestTimeout
}

// Status is that of a Problem within err; 0 for any other error.
func Status(err error) int {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status
	}
	return 0
}

// Get asks for path and reads the JSON answer into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	return c.Do(ctx, http.MethodGet, path, query, nil, out)
}

// Do makes a request with body as JSON, unless that is nil, and reads the answer into
// out, unless that is nil.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	b, err := c.Bytes(ctx, method, path, query, body)
	if err != nil || out == nil || len(b) == 0 {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s did not answer as expected: is kgents there, and as new as this one? (%w)", method, path, err)
	}
	return nil
}

// Bytes is Do with the answer as it came, which with a Problem is the problem's own text.
func (c *Client) Bytes(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	req, err := c.Request(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	return c.Send(req)
}

// Request makes a request with the key and Header, and body as JSON unless that is nil,
// for who has headers of their own to add before it is sent.
func (c *Client) Request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	for name := range strings.SplitSeq(path, "/") {
		if name == "." || name == ".." {
			return nil, fmt.Errorf("%s %w", path, ErrPath)
		}
	}
	target := c.URL + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, err
	}
	for k, v := range c.Header {
		req.Header[k] = v
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// Send sends a request of Request's and reads the answer.
func (c *Client) Send(req *http.Request) ([]byte, error) {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		if _, ok := errors.AsType[*net.OpError](err); ok && req.Context().Err() == nil {
			return nil, &AwayError{URL: c.URL, Cause: err}
		}
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxAnswer {
		return nil, fmt.Errorf("%s %s answered more than %d bytes: ask for less", req.Method, req.URL.Path, MaxAnswer)
	}
	if resp.StatusCode/100 != 2 {
		p := &Problem{}
		if json.Unmarshal(b, p) != nil || p.Detail == "" {
			p.Detail = fmt.Sprintf("%s answers %d %s", c.URL, resp.StatusCode, http.StatusText(resp.StatusCode))
		}
		p.Status = resp.StatusCode
		return b, p
	}
	return b, nil
}
