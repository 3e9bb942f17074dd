package host

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/town"
)

const (
	eventStream = "text/event-stream"

	// maxStreams bounds the streams that a replica has open, maxStreamsOf those of one
	// customer among them. Past either the next is answered 503, or 429.
	maxStreams   = 1_000
	maxStreamsOf = 20

	// heartbeat keeps proxies from closing a quiet stream, and lets us notice a client
	// that has gone. The town is looked at then, too: news may have been missed.
	heartbeat = 10 * time.Second

	// streamAge is how long a stream stays open: then the client comes again, and shows a
	// key that is good.
	streamAge = 15 * time.Minute

	// streamWrite is how long a client may take to read what is written to it.
	streamWrite = 30 * time.Second

	// retryAfter is what a client is told to wait before it comes again.
	retryAfter = 2 * time.Second
)

var eventsType = reflect.TypeFor[eventsPage]()

// eventsPage is a page of what happened.
type eventsPage struct {
	Events []town.Event `json:"events" doc:"The oldest first"`
	Next   string       `json:"next,omitempty" doc:"What to send as after for the next page; absent on the last"`
}

type eventsIn struct {
	Path
	After  uint64 `query:"after" doc:"Number of the last event that is known; 0: from the beginning of the history"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most events in a page"`
	Last   string `header:"Last-Event-ID" maxLength:"20" doc:"The same as after, as browsers send it when they come again"`
	Accept string `header:"Accept" doc:"text/event-stream for a stream"`
}

// serveEvents answers with a page, or a stream.
func (h *Host) serveEvents(ctx context.Context, caller kgents.Principal, in *eventsIn, w http.ResponseWriter) error {
	customer, err := caller.For(in.Customer)
	if err != nil {
		return err
	}
	after := in.After
	if in.Last != "" {
		if after, err = strconv.ParseUint(in.Last, 10, 64); err != nil {
			return kgents.Errorf(kgents.CodeInvalid, "Last-Event-ID is the number of an event of this town")
		}
	}
	if !strings.Contains(strings.ToLower(in.Accept), eventStream) {
		var page eventsPage
		if page.Events, err = h.Events(ctx, customer, in.ID, after, min(in.Limit, pageEvents)); err != nil {
			return err
		}
		if n := len(page.Events); n == in.Limit {
			page.Next = strconv.FormatUint(page.Events[n-1].Seq, 10)
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(page)
	}
	if _, _, err := h.load(ctx, customer, in.ID); err != nil {
		return err
	}
	ended, leave, err := h.streams.enter(customer)
	if err != nil {
		return err
	}
	defer leave()
	h.metrics.clients.Inc()
	defer h.metrics.clients.Dec()
	good := func() bool { return h.Good == nil || h.Good(caller) }
	ctx, cancel := context.WithTimeout(ctx, streamAge)
	defer cancel()
	h.stream(ctx, customer, in.ID, after, w, ended, good)
	return nil
}

// stream writes events until the client goes, the town or the program ends, or the
// history can't be read: the client then comes again with the last number it has.
func (h *Host) stream(ctx context.Context, customer, id string, after uint64, w http.ResponseWriter, ended <-chan struct{}, good func() bool) {
	news, end := h.hub.wait(id)
	defer end()
	s := sse{w: w, rc: http.NewResponseController(w)}
	header := w.Header()
	header.Set("Content-Type", eventStream)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // ingress-nginx would hold events back
	if s.write(fmt.Sprintf("retry: %d\n\n", retryAfter.Milliseconds())) != nil {
		return
	}
	r := reader{log: &h.history, id: id, after: after}
	beat := time.NewTicker(h.beat)
	defer beat.Stop()
	for {
		for {
			events, err := r.next(ctx)
			if err != nil {
				return
			}
			if len(events) == 0 {
				break
			}
			if s.events(events) != nil {
				return
			}
			select {
			case <-ended:
				return
			default:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-news:
		case <-beat.C:
			if !good() {
				return // it comes again, and is told why it may not
			}
			if _, _, err := h.load(ctx, customer, id); kgents.ErrorCode(err) == kgents.CodeNotFound {
				_ = s.write("event: end\ndata: {}\n\n")
				return
			}
			if s.write(": still here\n\n") != nil {
				return
			}
		}
	}
}

// sse writes server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html
// has them.
type sse struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (s sse) events(events []town.Event) error {
	var b strings.Builder
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "id: %d\nevent: town\ndata: %s\n\n", e.Seq, data)
	}
	return s.write(b.String())
}

// write writes within a time of its own: the server's bound is for answers that end.
func (s sse) write(text string) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}

// streams counts who has a stream open.
type streams struct {
	mu    sync.Mutex
	of    map[string]int // by customer
	all   int
	once  sync.Once
	ended chan struct{} // closed
}

func newStreams() *streams {
	return &streams{of: map[string]int{}, ended: make(chan struct{})}
}

func (s *streams) enter(customer string) (ended <-chan struct{}, leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		return nil, nil, kgents.Unavailable(time.Second, "this server is stopping: come again", nil)
	default:
	}
	if s.all >= maxStreams {
		return nil, nil, kgents.Unavailable(5*time.Second, "too many streams are open: try again later", nil)
	}
	if s.of[customer] >= maxStreamsOf {
		e := kgents.Errorf(kgents.CodeRateLimited, "a customer has at most %d streams open at once: close one", maxStreamsOf)
		e.RetryAfter = 5 * time.Second
		return nil, nil, e
	}
	s.all++
	s.of[customer]++
	return s.ended, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.of[customer]--; s.of[customer] == 0 {
			delete(s.of, customer)
		}
	}, nil
}

func (s *streams) end() { s.once.Do(func() { close(s.ended) }) }
