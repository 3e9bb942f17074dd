package receive_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// held is a body that sends n bytes and then nothing until it is released.
type held struct {
	n                int
	waiting, release chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	if h.n == 0 {
		close(h.waiting)
		<-h.release
		return 0, io.EOF
	}
	n := min(len(b), h.n)
	for i := range n {
		b[i] = ' '
	}
	h.n -= n
	return n, nil
}

// large is a good event in a body of 7 MB.
var large = usage + strings.Repeat(" ", 7<<20)

// TestEdgeBoundsBodies: what one key's slow bodies hold leaves no room for another of
// its own, but some for another key and for webhooks; and webhooks that hold all that
// webhooks may have leave room for keys.
func TestEdgeBoundsBodies(t *testing.T) {
	r := newRig(t, &admitter{}, secret)
	release := make(chan struct{})
	var senders sync.WaitGroup
	send := func(req *http.Request, sent, says int) {
		h := &held{n: sent, waiting: make(chan struct{}), release: release}
		req.Body, req.ContentLength = io.NopCloser(h), int64(says)
		senders.Go(func() { r.do(req) })
		<-h.waiting
	}
	for range 5 { // 40 of 48 MiB
		send(post("application/json", nil), 5<<20, 8<<20)
	}
	wantProblem(t, r.do(one(large)), http.StatusServiceUnavailable)
	if got := r.admitter.identities(); got != nil {
		t.Errorf("admission got %q", got)
	}
	for name, req := range map[string]*http.Request{"a small event": one(usage), "another key": bearer(one(large), other), "a webhook": signed(payment)} {
		if res := r.do(req); res.StatusCode/100 != 2 {
			t.Errorf("%s beside them got %s", name, res.Status)
		}
	}
	for range 15 { // 15 of 16 MiB
		send(with(httptest.NewRequest(http.MethodPost, hooks, nil), "Stripe-Signature", "t=1,v1=00"), 700<<10, 1<<20)
	}
	wantProblem(t, r.do(signed(payment+strings.Repeat(" ", 1_000_000))), http.StatusServiceUnavailable)
	if res := r.do(one(usage)); res.StatusCode != http.StatusNoContent {
		t.Errorf("a small event beside full webhooks got %s", res.Status)
	}
	close(release)
	senders.Wait()
	for name, req := range map[string]*http.Request{"the large one": one(large), "a large webhook": signed(payment + strings.Repeat(" ", 1_000_000))} {
		if res := r.do(req); res.StatusCode/100 != 2 {
			t.Errorf("after they ended %s got %s", name, res.Status)
		}
	}
}

// TestEdgeBoundsRequests: 1,024 webhooks and 3,072 requests of one key leave no room
// for another. Either leaves room for the others while it is alone.
func TestEdgeBoundsRequests(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var full atomic.Bool
	r := newRig(t, &admitter{during: func(context.Context) {
		if !full.Load() {
			begun <- struct{}{}
			<-release
		}
	}}, secret)
	var senders sync.WaitGroup
	fill := func(n int, req func() *http.Request) {
		full.Store(false)
		for range n {
			senders.Go(func() { r.do(req()) })
			<-begun
		}
		full.Store(true)
	}
	took := func(name string, req *http.Request) {
		t.Helper()
		if res := r.do(req); res.StatusCode/100 != 2 {
			t.Errorf("%s got %s", name, res.Status)
		}
	}
	fill(1024, func() *http.Request { return signed(payment) })
	wantProblem(t, r.do(signed(payment)), http.StatusServiceUnavailable)
	took("an event beside 1,024 webhooks", one(usage))
	fill(3071, func() *http.Request { return one(usage) })
	took("another key beside them", bearer(one(usage), other))
	fill(1, func() *http.Request { return one(usage) })
	for _, req := range []*http.Request{one(usage), bearer(one(usage), other), signed(payment)} {
		wantProblem(t, r.do(req), http.StatusServiceUnavailable)
	}
	close(release)
	senders.Wait()
	took("after they ended an event", one(usage))
	took("after they ended a webhook", signed(payment))
}

// TestEdgeReadsNoBodyWithoutASignature: what can't be Stripe's is not read.
func TestEdgeReadsNoBodyWithoutASignature(t *testing.T) {
	r := newRig(t, &admitter{}, secret)
	good := signed(payment).Header.Get("Stripe-Signature")
	for name, header := range map[string]string{"none": "", "no timestamp": "v1=00", "far too long": good + strings.Repeat(",v1="+strings.Repeat("0", 64), 20)} {
		body := &reads{Reader: strings.NewReader(payment)}
		wantProblem(t, r.do(with(httptest.NewRequest(http.MethodPost, hooks, body), "Stripe-Signature", header)), http.StatusBadRequest)
		if body.n != 0 {
			t.Errorf("%s: the body was read %d times", name, body.n)
		}
	}
}
