package deep

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/term"
	"github.com/kgents/kgents/verify"
)

// poll is how often the meter is asked for a count.
const poll = 50 * time.Millisecond

// canary is the first event that was sent, and what became of it.
type canary struct {
	result  verify.Result
	subject string
	err     error // it could not be sent at all
}

var errNoKey = errors.New("no API key is known")

// taken says that the API has acknowledged it, counted that the meter counts it.
func (c canary) taken() bool   { return c.stage("publish") }
func (c canary) counted() bool { return c.err == nil && c.result.OK() && c.stage("query") }

func (c canary) stage(name string) bool {
	for _, s := range c.result.Stages {
		if s.Name == name {
			return true
		}
	}
	return false
}

// sendCanary follows an event for half of the time there is: the other half is
// the duplicate's.
func sendCanary(ctx context.Context, t verify.Target) (c canary) {
	if t.Key == "" {
		c.err = errNoKey
		return c
	}
	id, err := uuid.NewV7()
	if err != nil {
		c.err = err
		return c
	}
	c.subject = verify.Subject + "-" + id.String()
	t.Subject = c.subject
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = within(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	c.result, c.err = verify.Run(ctx, t, func(verify.Stage) {})
	return c
}

const setKey = "set API_KEYS or API_KEYS_FILE to one of the API's keys"

// advice is what to look at when a canary is stuck at a stage.
var advice = map[string]string{
	"publish": "look at KGENTS_URL, the API key and the lines on NATS and the api pods",
	"consume": "look at the sink's log, at the meter and at 'backlog'",
	"query":   "look at the meter's log and at its meter '" + verify.Meter + "'",
}

func canaryLine(t verify.Target, c canary) Line {
	switch {
	case errors.Is(c.err, errNoKey):
		return unknown(checkCanary, c.err.Error(), setKey)
	case c.err != nil:
		return fail(checkCanary, c.err.Error(), "look at KGENTS_URL: it must be the API's base URL")
	case !c.result.OK():
		return fail(checkCanary, fmt.Sprintf("stuck at %s: %s", c.result.Stuck, c.result.Reason), advice[c.result.Stuck])
	}
	var took []string
	for _, s := range c.result.Stages {
		took = append(took, s.Name+" "+term.Duration(s.Took))
	}
	seen := strings.Join(took, ", ")
	if !c.counted() {
		return unknown(checkCanary, "the meter lists it, but no meter counts it: "+seen,
			fmt.Sprintf("make a meter %s: event type %s, aggregation COUNT", verify.Meter, verify.Type))
	}
	return pass(checkCanary, seen+"; "+term.Duration(c.result.Total)+" in all")
}

// duplicateLine sends the canary again to every api pod, and then another as a
// fence: when that is counted, what came before it has had its turn.
func duplicateLine(ctx context.Context, c Config, first canary, k kubernetes) Line {
	if errors.Is(first.err, errNoKey) {
		return unknown(checkDuplicate, first.err.Error(), setKey)
	}
	if !first.counted() {
		return unknown(checkDuplicate, "no canary was counted that could be sent again", "see '"+checkCanary+"'")
	}
	var urls, unreached []string
	for _, p := range k.api.pods {
		if k.inside && p.IP != "" {
			urls = append(urls, p.URL(c.Port))
		} else {
			unreached = append(unreached, p.Name)
		}
	}
	sent, missed := len(urls), ""
	switch {
	case k.api.err != nil || len(k.api.pods) == 0 || !k.inside:
		// Through the Service, where nobody knows which pod takes it.
		urls = []string{c.Target.URL, c.Target.URL, c.Target.URL}
		sent, missed = len(urls), "which pods took it is not known"
	case len(unreached) > 0:
		missed = "these pods have no address: " + some(unreached)
	}
	var refused []string
	for _, url := range urls {
		if err := again(ctx, c.Target, url, first.result.Event); err != nil {
			refused = append(refused, err.Error())
		}
	}
	t := c.Target
	t.Subject = first.subject
	fence, err := verify.Run(ctx, t, func(verify.Stage) {})
	if err != nil {
		return fail(checkDuplicate, err.Error(), advice["publish"])
	}
	count, listed, err := settled(ctx, c, first)
	const mend = "look at Redis and at the meter: does it deduplicate by source and id?"
	switch {
	case err != nil:
		return unknown(checkDuplicate, err.Error(), advice["query"])
	case count > 2 || listed > 1:
		return fail(checkDuplicate, fmt.Sprintf("sent again %d times: two canaries were counted %s times, the first is listed %s",
			sent, term.Number(count), times(listed)), mend)
	case len(refused) > 0:
		return fail(checkDuplicate, "a duplicate must get a 204: "+some(refused), "see '"+checkAPI+"'")
	case !fence.OK() || count < 2 || listed < 1:
		return unknown(checkDuplicate, "the canary that was sent after it is not counted yet", "give it more time with --timeout")
	case missed != "":
		return unknown(checkDuplicate, fmt.Sprintf("sent again %d times and counted once, but %s", sent, missed), inside)
	}
	return pass(checkDuplicate, fmt.Sprintf("sent again to %s, counted once, listed once", all(sent, "api pod")))
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// held is how long a duplicate may be put off with 503: as long as the claim of
// whoever was at it last, which is 15 s, and some.
const held = 20 * time.Second

// again sends an event and wants a 204, as a client does: a 503 says to come back.
func again(ctx context.Context, t verify.Target, url string, event []byte) error {
	ctx, cancel := within(ctx, held)
	defer cancel()
	for {
		later, err := send(ctx, t, url, event)
		if err == nil || !later {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// send sends an event once. Later says that the answer was 503.
func send(ctx context.Context, t verify.Target, url string, event []byte) (later bool, err error) {
	ctx, cancel := within(ctx, podPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/events", bytes.NewReader(event))
	if err != nil {
		return false, err
	}
	req.Close = true
	req.Header.Set("Content-Type", "application/cloudevents+json")
	req.Header.Set("Authorization", "Bearer "+t.Key)
	resp, err := over(t).Do(req)
	if err != nil {
		return false, fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return false, nil
	}
	return resp.StatusCode == http.StatusServiceUnavailable, fmt.Errorf("%s answered %s%s", url, resp.Status, problem(resp.Body))
}

// over is the client that reaches the target.
func over(t verify.Target) *http.Client { return cmp.Or(t.HTTP, client) }

// client follows no redirect, which would hand the key to another address.
var client = &http.Client{
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// problem is the detail of a problem document, after a colon.
func problem(body io.Reader) string {
	var p struct{ Detail string }
	if json.NewDecoder(io.LimitReader(body, 64<<10)).Decode(&p) != nil || p.Detail == "" {
		return ""
	}
	return ": " + p.Detail
}

// settled waits until both canaries are counted and a duplicate has had the time
// to be, and returns what the meter then says of this run.
func settled(ctx context.Context, c Config, first canary) (count float64, listed int, err error) {
	m, err := meter.NewClient(c.Target.URL, c.Target.Key)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	if c.Target.HTTP != nil {
		m.Over(c.Target.HTTP)
	}
	for {
		if count, err = counted(ctx, m, first.subject); err == nil && count >= 2 {
			break
		}
		if !pause(ctx, poll) {
			return count, 1, err
		}
	}
	if !pause(ctx, c.Settle) {
		return 0, 0, errors.New("the time was up before a duplicate would have been counted")
	}
	if count, err = counted(ctx, m, first.subject); err != nil {
		return 0, 0, err
	}
	events, err := m.Events(ctx, meter.EventFilter{ID: first.result.ID})
	if err != nil {
		return 0, 0, err
	}
	for _, e := range events {
		var head struct{ ID, Source string }
		if json.Unmarshal(e.Event, &head) == nil && head.ID == first.result.ID && head.Source == verify.Source {
			listed++
		}
	}
	return count, listed, nil
}

// counted is the count of this run's canaries.
func counted(ctx context.Context, m *meter.Client, subject string) (float64, error) {
	r, err := m.Query(ctx, meter.Query{Meter: verify.Meter, Subjects: []string{subject}})
	total := 0.0
	for _, row := range r.Data {
		total += row.Value
	}
	return total, err
}
