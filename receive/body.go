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

	// firstRead is what a body is given before it has sent anything. Room beyond
	// it is taken as the bytes come, so that slow clients hold no more than they
	// have sent.
	firstRead = 64 << 10
)

// budget is the room for requests.
type budget struct{ bytes, requests atomic.Int64 }

// lease is what one request holds of a budget.
type lease struct {
	budget *budget
	bytes  int64
}

var errBusy = kgents.Unavailable(time.Second, "too many requests are under way: send it again", nil)

func (b *budget) enter() (lease, error) {
	if b.requests.Add(1) > maxRequests {
		b.requests.Add(-1)
		return lease{}, errBusy
	}
	return lease{budget: b}, nil
}

func (l *lease) grow(n int64) error {
	if l.budget.bytes.Add(n) > maxInFlight {
		l.budget.bytes.Add(-n)
		return errBusy
	}
	l.bytes += n
	return nil
}

// leave gives everything back.
func (l *lease) leave() {
	l.budget.bytes.Add(-l.bytes)
	l.budget.requests.Add(-1)
}

// read returns r's body of at most limit bytes.
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
		l.bytes -= old
		l.budget.bytes.Add(-old)
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
