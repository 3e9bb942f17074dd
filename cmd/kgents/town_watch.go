package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/town"
	"github.com/kgents/kgents/town/host"
)

const (
	// watchKept is how many events are kept to be drawn, watchPast how many from before
	// the watching began.
	watchKept = 200
	watchPast = 40

	// watchFrame is how often the terminal's size is looked at, watchTown how often at
	// most the town is asked for, and watchAccount the customer's figures: together they
	// stay within the requests a minute of the smallest plan.
	watchTown    = 1500 * time.Millisecond
	watchFrame   = 200 * time.Millisecond
	watchAccount = 4 * time.Second

	// watchAgain is the pause before a stream that has broken is taken up again.
	watchAgain = 3 * time.Second

	// watchSilence is how long the stream of events may be silent: the server says
	// something every 10 s.
	watchSilence = 30 * time.Second
)

func newTownWatchCommand() *cobra.Command {
	v := &v1{}
	return townCommand(v, &cobra.Command{
		Use:   "watch",
		Short: "Watch a town live",
		Long: `Watch a town live: who is where, who meets whom, the phase of the day, tension and
cooperation, and the tokens and the cost as they accrue. q or Ctrl-C ends it. What is
no terminal gets one look. NO_COLOR is respected.`,
		Example: `  kgents town watch Millbrook --customer harbour-labs
  kgents town watch --customer tiny-co --output json`,
	}, func(ctx context.Context, w io.Writer, t host.Town) error {
		watcher := &watcher{v1: v, view: townView{Town: t}}
		if out, ok := w.(*os.File); ok && v.output != "json" && term.IsTerminal(out) && term.IsTerminal(os.Stdin) {
			return watcher.run(ctx, os.Stdin, out)
		}
		if err := watcher.look(ctx); err != nil {
			return err
		}
		if v.output == "json" {
			return printJSON(w, struct {
				Town    host.Town    `json:"town"`
				Account account      `json:"account"`
				Events  []town.Event `json:"events"`
			}{watcher.view.Town, watcher.view.Account, watcher.view.Events})
		}
		for _, line := range watcher.view.draw(term.StyleFor(w), 80, 0) {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
		}
		return nil
	})
}

// watcher keeps a view up to date.
type watcher struct {
	*v1
	mu      sync.Mutex
	view    townView
	changed chan struct{}
}

// look asks for everything once.
func (w *watcher) look(ctx context.Context) error {
	after := uint64(0)
	if n := w.view.Town.Events; n > watchPast {
		after = n - watchPast
	}
	var page struct{ Events []town.Event }
	query := url.Values{"after": {strconv.FormatUint(after, 10)}, "limit": {strconv.Itoa(watchKept)}}
	if err := w.do(ctx, http.MethodGet, townURL(w.view.Town, "events"), query, nil, &page); err != nil {
		return err
	}
	w.view.Events = page.Events
	w.view.Account = w.account(ctx)
	w.view.Tension, w.view.Cooperation = []float64{w.view.Town.Tension}, []float64{w.view.Town.Cooperation}
	return nil
}

// run draws until the user has seen enough.
func (w *watcher) run(ctx context.Context, in, out *os.File) error {
	if err := w.look(ctx); err != nil {
		return err
	}
	style := term.StyleFor(out)
	screen, err := term.OpenScreen(in, out)
	if err != nil {
		return err
	}
	defer screen.Close()
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	w.changed = make(chan struct{}, 1)
	w.view.Live = true
	tasks.Go(func() { w.follow(ctx) })
	tasks.Go(func() { w.refresh(ctx) })
	frame := time.NewTicker(watchFrame)
	defer frame.Stop()
	for {
		w.mu.Lock()
		width, height := screen.Size()
		lines := w.view.draw(style, width, height)
		w.mu.Unlock()
		if err := screen.Draw(lines); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-screen.Keys():
			if !ok || key == 'q' || key == 'Q' || key == term.CtrlC {
				return nil
			}
		case <-frame.C:
		}
	}
}

func (w *watcher) update(f func(*townView)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.view)
}

// refresh asks for the town when something happened in it, and for the account now and
// then.
func (w *watcher) refresh(ctx context.Context) {
	tick := time.NewTicker(watchAccount)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
			w.refreshTown(ctx)
			select { // what happens meanwhile is asked for together
			case <-ctx.Done():
			case <-time.After(watchTown):
			}
		case <-tick.C:
			a := w.account(ctx)
			w.update(func(v *townView) {
				if a.Tokens.Known || a.Priced {
					v.Account = a
				}
			})
		}
	}
}

func (w *watcher) refreshTown(ctx context.Context) {
	var t host.Town
	if w.do(ctx, http.MethodGet, townURL(w.view.Town), nil, nil, &t) != nil {
		return // the stream tells the trouble
	}
	w.update(func(v *townView) {
		if t.Events != v.Town.Events {
			v.Tension, v.Cooperation = keep(append(v.Tension, t.Tension), bars), keep(append(v.Cooperation, t.Cooperation), bars)
		}
		v.Town = t
	})
}

func keep[T any](all []T, n int) []T { return all[max(0, len(all)-n):] }

// follow takes the stream of events, and comes again with the last one's number when it
// breaks.
func (w *watcher) follow(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		w.update(func(v *townView) { v.Trouble = fmt.Sprintf("not up to date, trying again: %v", err) })
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}

func (w *watcher) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	var last uint64
	if e, ok := w.view.last(); ok {
		last = e.Seq
	}
	w.mu.Unlock()
	req, err := w.request(ctx, http.MethodGet, townURL(w.view.Town, "events"), nil, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-ID", strconv.FormatUint(last, 10))
	silence := time.AfterFunc(watchSilence, cancel)
	defer silence.Stop()
	resp, err := http.DefaultTransport.RoundTrip(req) // without the client's time-out
	if err != nil {
		return fmt.Errorf("%s doesn't answer", w.URL)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, client.MaxAnswer))
		return w.refused(resp.StatusCode, body)
	}
	w.update(func(v *townView) { v.Trouble = "" })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		silence.Reset(watchSilence)
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e town.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		if e.Seq == 0 {
			return fmt.Errorf("the town has ended")
		}
		w.update(func(v *townView) { v.Events = keep(append(v.Events, e), watchKept) })
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	return fmt.Errorf("the stream has ended")
}
