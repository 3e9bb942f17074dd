package receive

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kgents/kgents"
)

const (
	// maxInFlight bounds the bytes of bodies that are held at once, maxRequests
	// the requests. Past either a request is refused with 503.
	maxInFlight = 64 << 20
	maxRequests = 4096

	// Of both, webhooks get a quarter at most, since anybody may send one and have
	// its body read; and one key gets the rest at most. So strangers can't shut out
	// those who have a key, nor one key Stripe.
	webhookShare = 4

	// firstRead is what a body is given before it has sent anything. Room beyond
	// it is taken as the bytes come, so that slow clients hold no more than they
	// have sent.
	firstRead = 64 << 10
)

// budget is the room for requests.
type budget struct {
	bytes, requests       atomic.Int64
	maxBytes, maxRequests int64
}

func (b *budget) enter() error {
	if b.requests.Add(1) > b.maxRequests {
		b.requests.Add(-1)
		return errBusy
	}
	return nil
}

func (b *budget) grow(n int64) error {
	if b.bytes.Add(n) > b.maxBytes {
		b.bytes.Add(-n)
		return errBusy
	}
	return nil
}

// lease is what one request holds of the whole budget, and of the share of it that
// its sender has; share is nil until the sender is known.
type lease struct {
	whole, share *budget
	bytes        int64
}

var errBusy = kgents.Unavailable(time.Second, "too many requests are under way: send it again", nil)

// join counts the request to a share as well, before it has read anything.
func (l *lease) join(share *budget) error {
	if err := share.enter(); err != nil {
		return err
	}
	l.share = share
	return nil
}

func (l *lease) grow(n int64) error {
	if err := l.share.grow(n); err != nil {
		return err
	}
	if err := l.whole.grow(n); err != nil {
		l.share.bytes.Add(-n)
		return err
	}
	l.bytes += n
	return nil
}

func (l *lease) shrink(n int64) {
	l.share.bytes.Add(-n)
	l.whole.bytes.Add(-n)
	l.bytes -= n
}

// leave gives everything back.
func (l *lease) leave() {
	if l.share != nil {
		l.shrink(l.bytes)
		l.share.requests.Add(-1)
	}
	l.whole.requests.Add(-1)
}

// read returns r's body of at most limit bytes. The lease has a share by now.
func (l *lease) read(r *http.Request, limit int64) ([]byte, error) {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, kgents.Errorf(kgents.CodeInvalid, "a body with a Content-Encoding is not taken: send it as it is")
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	size := r.ContentLength
	if size < 0 || size > firstRead {
		size = firstRead
	}
	if err := l.grow(size); err != nil {
		return nil, err
	}
	if r.ContentLength == size { // all of it fits
		body := make([]byte, size)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, readError(err)
		}
		return body, nil
	}
	body := make([]byte, 0, size)
	for {
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case int64(len(body)) > limit:
			return nil, tooLarge(limit)
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, readError(err)
		}
		if len(body) < cap(body) {
			continue
		}
		next := min(2*int64(cap(body)), limit+1)
		if r.ContentLength > 0 {
			next = min(next, r.ContentLength+1)
		}
		if err := l.grow(next); err != nil { // old and new are both held while it is copied
			return nil, err
		}
		old := int64(cap(body))
		body = append(make([]byte, 0, next), body...)
		l.shrink(old)
	}
}

func tooLarge(limit int64) error {
	return kgents.Errorf(kgents.CodeTooLarge, "the body has more than %d bytes: send it in parts", limit)
}

func readError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return kgents.Errorf(kgents.CodeTimeout, "the body came too slowly")
	}
	return &kgents.Error{Code: kgents.CodeInvalid, Message: "the body was cut short", Err: err}
}
