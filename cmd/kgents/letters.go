package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kgents/kgents/consume/deadletter"
)

const (
	lettersTimeout = 30 * time.Second // for one request; the server gives up before
	maxLetters     = 64 << 20         // bytes of an answer: a page of the longest letters takes 6 MB
)

// letters asks a kgents for its dead letters.
type letters struct {
	target *target
	http   *http.Client
}

// openLetters finds the kgents that t names. Close gives its connections back.
func openLetters(t *target) (*letters, error) {
	if err := t.resolve(); err != nil {
		return nil, err
	}
	if err := t.needKey(); err != nil {
		return nil, err
	}
	if err := t.reach(); err != nil {
		return nil, err
	}
	return &letters{t, &http.Client{Timeout: lettersTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}}, nil
}

func (l *letters) close() { l.http.CloseIdleConnections() }

// refusal is an answer that isn't what was asked for.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

// refusedWith tells whether err is an answer with this status.
func refusedWith(err error, status int) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.status == status
}

// do sends one request and decodes the answer into out, unless that is nil.
func (l *letters) do(ctx context.Context, method, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, l.target.URL+"/api/v1/deadletters"+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.target.Key)
	resp, err := l.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s does not answer: %w", l.target.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLetters))
	if err != nil {
		return fmt.Errorf("%s broke off its answer: %w", l.target.URL, err)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return l.target.keyRefused()
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		var problem struct{ Detail string }
		_ = json.Unmarshal(body, &problem) // what is no problem document has no detail
		if problem.Detail == "" {
			problem.Detail = fmt.Sprintf("%s answers %s", l.target.URL, resp.Status)
		}
		return &refusal{resp.StatusCode, problem.Detail}
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("what %s answers can't be read: is it a kgents of another version? %w", l.target.URL, err)
	}
	return nil
}

// each calls f with the letters that query names, up to most of them, and tells
// whether there are more.
func (l *letters) each(ctx context.Context, query url.Values, most int, f func(deadletter.Stored)) (more bool, err error) {
	after, n := uint64(0), 0
	for {
		// One more than asked for tells whether there are more.
		query.Set("limit", strconv.Itoa(min(most-n+1, deadletter.MaxPage)))
		query.Set("after", strconv.FormatUint(after, 10))
		var page deadletter.ListAnswer
		if err := l.do(ctx, http.MethodGet, "?"+query.Encode(), &page); err != nil {
			return false, err
		}
		for _, letter := range page.Letters {
			if n == most {
				return true, nil
			}
			f(letter)
			n++
		}
		if page.Next <= after { // 0 at the end
			return false, nil
		}
		after = page.Next
	}
}

// show returns a letter with its event.
func (l *letters) show(ctx context.Context, seq uint64) (out deadletter.LetterAnswer, err error) {
	return out, l.do(ctx, http.MethodGet, fmt.Sprintf("/%d", seq), &out)
}

// replay sends a letter's event again, drop deletes it.
func (l *letters) replay(ctx context.Context, seq uint64) error {
	return l.do(ctx, http.MethodPost, fmt.Sprintf("/%d/replay", seq), nil)
}

func (l *letters) drop(ctx context.Context, seq uint64) error {
	return l.do(ctx, http.MethodDelete, fmt.Sprintf("/%d", seq), nil)
}
