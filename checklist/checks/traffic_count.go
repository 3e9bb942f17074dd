package checks

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/verify"
)

const (
	// objective is that of docs/saas/slo.md: an event is metered within it.
	objective = 60 * time.Second

	// countPatience bounds the wait for an event to be counted, beyond the objective:
	// one that is late has failed, but it is good to know that it came.
	countPatience = 75 * time.Second

	// countEvery is how often the meter is asked.
	countEvery = 50 * time.Millisecond
)

// canary is an event that was followed, with a subject of its own.
type canary struct {
	verify.Result
	subject string
}

// counted says whether a meter has counted it.
func (c canary) counted() bool {
	return c.OK() && len(c.Stages) > 0 && c.Stages[len(c.Stages)-1].Name == "query"
}

// follow sends a canary and follows it, once for all checks.
func (t *trial) follow(ctx context.Context) (canary, error) {
	return t.probe.get(ctx, cmp.Or(t.waits.count, countPatience), func(ctx context.Context) (c canary, err error) {
		c.subject = verify.Subject + "-" + uuid.NewString()
		c.Result, err = verify.Run(ctx, verify.Target{URL: t.APIURL, Key: t.key(), Subject: c.subject, HTTP: t.HTTP}, func(verify.Stage) {})
		return c, err
	})
}

// lookAt is what to look at when a canary is stuck at a stage.
var lookAt = map[string]string{
	"publish": "look at the API key, and at /health/saas",
	"consume": "look at the sink's log, at the meter and at the checks of the backlog",
	"query":   "look at the meter's log, and at its meter " + verify.Meter,
}

// withinObjective wants a canary counted within the objective.
func (t *trial) withinObjective(ctx context.Context) checklist.Finding {
	switch {
	case t.APIURL == "":
		return noAPI
	case t.key() == "":
		return noKey
	}
	c, err := t.follow(ctx)
	switch {
	case err != nil:
		return checklist.CannotTell(cut(err.Error(), 200), lookAtAPI)
	case !c.OK() && strings.HasPrefix(c.Reason, "no answer: "):
		return checklist.CannotTell(cut("the API gives "+c.Reason, 200), lookAtAPI)
	case !c.OK():
		return checklist.Failed(cut(fmt.Sprintf("stuck at %s after %v: %s", c.Stuck, c.Total.Round(time.Second), c.Reason), 200), lookAt[c.Stuck])
	}
	var stages []string
	for _, s := range c.Stages {
		stages = append(stages, fmt.Sprintf("%s %v", s.Name, s.Took.Round(time.Millisecond)))
	}
	seen := fmt.Sprintf("%v in all: %s", c.Total.Round(time.Millisecond), strings.Join(stages, ", "))
	switch {
	case c.Total > cmp.Or(t.waits.objective, objective):
		return checklist.Failed("it took "+seen, "look at the backlog and at the meter's latency: the aim is "+objective.String())
	case !c.counted():
		return checklist.CannotTell("the meter lists it, but no meter counts it: "+seen,
			fmt.Sprintf("make a meter %s: event type %s, aggregation COUNT", verify.Meter, verify.Type))
	}
	return checklist.Passed("%s", seen)
}

// duplicateOnce sends the canary again, alone and twice in a batch, and then another
// as a fence: when that is counted, what came before it has had its turn.
func (t *trial) duplicateOnce(ctx context.Context) checklist.Finding {
	switch {
	case t.APIURL == "":
		return noAPI
	case t.key() == "":
		return noKey
	}
	c, err := t.follow(ctx)
	if err != nil || !c.OK() {
		return checklist.CannotTell("no event came through that could be sent again", "see canary-within-objective")
	}
	again := [][]byte{c.Event, fmt.Appendf(nil, "[%s,%s]", c.Event, c.Event)}
	for _, body := range again {
		if a, err := t.resend(ctx, body); err != nil {
			return unreached("the API", err, lookAtAPI)
		} else if a.status != http.StatusNoContent {
			return checklist.Failed("a duplicate was answered "+a.said(), "look at /health/saas: a duplicate must get a 204, or its sender never stops")
		}
	}
	fence, err := verify.Run(ctx, verify.Target{URL: t.APIURL, Key: t.key(), Subject: c.subject, HTTP: t.HTTP}, func(verify.Stage) {})
	if err != nil || !fence.OK() {
		return checklist.CannotTell("the event that was sent after the duplicates was not counted in time", "see canary-within-objective")
	}
	return t.judge(ctx, c.subject, c.ID, 2, "sent 4 times to the API", "look at Redis, and at the meter: see openmeter-deduplicates")
}

// resend sends an event again. Whoever holds its claim may put it off for as long as
// that lasts.
func (t *trial) resend(ctx context.Context, body []byte) (a answer, err error) {
	kind := eventType
	if body[0] == '[' {
		kind = "application/cloudevents-batch+json"
	}
	for range 20 {
		a, err = t.ask(ctx, http.MethodPost, eventsPath, t.key(), kind, body)
		if err != nil || a.status != http.StatusServiceUnavailable || !pause(ctx, time.Second) {
			return a, err
		}
	}
	return a, err
}

// pause waits, false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// settle is how long after events were counted a duplicate may still come: twice the
// longest wait of an event for a flush, and some.
func (t *trial) settle() time.Duration {
	return 2*t.Settings.FlushInterval + cmp.Or(t.waits.settle, time.Second)
}

// reader asks the meter: through the API, or directly where only that is known.
func (t *trial) reader() (*meter.Client, error) {
	url, key := t.APIURL, t.key()
	if url == "" || key == "" {
		url, key = t.MeterURL, t.MeterKey
	}
	m, err := meter.NewClient(url, key)
	if err == nil && t.HTTP != nil {
		m.Over(t.HTTP)
	}
	return m, err
}

// tally is what the meter says of a subject of ours.
type tally struct {
	count  int  // of the meter of canaries, or else of the list
	listed int  // how often the event that was sent more than once is
	none   bool // no meter counts canaries
}

// read asks for what has a subject, and among that for what has the id.
func read(ctx context.Context, m *meter.Client, subject, id string) (s tally, err error) {
	r, err := m.Query(ctx, meter.Query{Meter: verify.Meter, Subjects: []string{subject}})
	if e, ok := errors.AsType[*meter.Error](err); ok && e.Status == http.StatusNotFound {
		s.none, err = true, nil
	}
	if err != nil {
		return s, err
	}
	for _, row := range r.Data {
		s.count += int(row.Value)
	}
	events, err := m.Events(ctx, meter.EventFilter{Subject: subject})
	for _, e := range events {
		var head struct{ ID string }
		if json.Unmarshal(e.Event, &head) == nil && head.ID == id {
			s.listed++
		}
	}
	if s.none {
		s.count = len(events)
	}
	return s, err
}

// judge waits until the meter has counted want events of a subject, gives duplicates
// the time to be counted too, and looks whether the event with the id is among them
// once. Where no meter counts canaries, the meter's list has to do.
func (t *trial) judge(ctx context.Context, subject, id string, want int, sent, mend string) checklist.Finding {
	m, err := t.reader()
	if err != nil {
		return checklist.CannotTell(err.Error(), lookAtAPI)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.waits.count, countPatience))
	defer cancel()
	// That the time is up while a question is open says nothing of the meter: what was
	// heard before stays.
	heard := fmt.Sprintf("0 of %s", plural(want, "event"))
	for {
		s, err := read(ctx, m, subject, id)
		switch {
		case err == nil:
			heard = fmt.Sprintf("%d of %s", s.count, plural(want, "event"))
		case ctx.Err() == nil:
			heard = err.Error()
		}
		if err == nil && s.count >= want {
			break
		}
		if !pause(ctx, countEvery) {
			return checklist.CannotTell(cut("not counted in time: "+heard, 200), lookAt["query"])
		}
	}
	if !pause(ctx, t.settle()) {
		return checklist.CannotTell("the time was up before a duplicate would have been counted", "give it more time with --timeout")
	}
	s, err := read(ctx, m, subject, id)
	switch {
	case err != nil:
		return checklist.CannotTell(cut(err.Error(), 200), lookAt["query"])
	case s.count > want || s.listed > 1:
		return checklist.Failed(fmt.Sprintf("an event %s was counted %d times, and is listed %d times", sent, s.count-want+1, s.listed), mend)
	case s.count < want || s.listed < 1:
		return checklist.CannotTell("the meter forgot what it had counted", lookAt["query"])
	case s.none:
		return checklist.Passed("an event %s is listed once by the meter, which has no meter %s", sent, verify.Meter)
	}
	return checklist.Passed("an event %s was counted once, and is listed once", sent)
}

const mendDedup = "turn on deduplication in OpenMeter's sink (dedupe.enabled, with Redis), then reconcile: kgents reconcile"

// meterDeduplicates hands the meter equal events past all that would hold them back:
// directly where its address is known, else by the API's route for that.
func (t *trial) meterDeduplicates(ctx context.Context) checklist.Finding {
	switch {
	case t.MeterURL == "" && t.APIURL == "":
		return noAPI
	case t.MeterURL == "" && t.key() == "":
		return noKey
	}
	direct := errors.New("its address is not known here")
	if t.MeterURL != "" {
		var id, subject string
		if id, subject, direct = t.pair(ctx); direct == nil {
			return t.judge(ctx, subject, id, 2, "handed to the meter 4 times", mendDedup)
		}
		if t.key() == "" || t.APIURL == "" {
			return checklist.CannotTell(cut("the meter does not take the pair of equal events: "+direct.Error(), 200), "see openmeter-reachable")
		}
	}
	a, err := t.ask(ctx, http.MethodPost, "/api/v1/canaries", t.key(), "", nil)
	var told struct {
		ID, Subject string
		Distinct    int
	}
	switch {
	case err != nil:
		return unreached("the API", err, lookAtAPI)
	case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed:
		return checklist.CannotTell(cut("the meter can't be handed a pair of equal events: "+direct.Error(), 200),
			"set OPENMETER_BASE_URL and OPENMETER_API_KEY, or deploy a newer kgents")
	case a.status != http.StatusOK || json.Unmarshal(a.body, &told) != nil || told.ID == "" || told.Distinct < 1:
		return checklist.CannotTell("the API's route for pairs of equal events answered "+a.said(), "see openmeter-reachable")
	}
	return t.judge(ctx, told.Subject, told.ID, told.Distinct, "handed to the meter more than once", mendDedup)
}

// pair hands the meter an event four times, twice of that in one batch, and another.
func (t *trial) pair(ctx context.Context) (id, subject string, err error) {
	m, err := meter.NewClient(t.MeterURL, t.MeterKey)
	if err != nil {
		return "", "", err
	}
	if t.HTTP != nil {
		m.Over(t.HTTP)
	}
	ctx, cancel := context.WithTimeout(ctx, patienceOnce)
	defer cancel()
	id = rand.Text()
	subject = verify.Subject + "-" + id
	for _, batch := range verify.Pair(id, subject) {
		if err := m.Ingest(ctx, batch); err != nil {
			return "", "", err
		}
	}
	return id, subject, nil
}

// meterReachable asks the meter through the API, which has the deployment's key, and
// directly with the one that is known here.
func (t *trial) meterReachable(ctx context.Context) checklist.Finding {
	const mend = "look at OPENMETER_BASE_URL and OPENMETER_API_KEY of api and sink, and at the meter"
	if t.MeterURL == "" && (t.APIURL == "" || t.key() == "") {
		if t.APIURL == "" {
			return noAPI
		}
		return noKey
	}
	var seen []string
	if t.APIURL != "" && t.key() != "" {
		a, err := t.ask(ctx, http.MethodGet, "/api/v1/meters", t.key(), "", nil)
		var meters []meter.Meter
		switch {
		case err != nil:
			return unreached("the API", err, lookAtAPI)
		case a.status == http.StatusUnauthorized:
			return checklist.CannotTell("the API refuses the key that is known here", noKey.Next)
		case a.status != http.StatusOK:
			return checklist.Failed("the meter, asked by the API, came to "+a.said(), mend)
		case json.Unmarshal(a.body, &meters) != nil:
			return checklist.Failed("what the API takes for its meter did not answer with a list of meters", mend)
		}
		if told, err := t.told(ctx); err == nil && !told.Meter.Answers {
			return checklist.Failed("the API says that its meter does not answer", mend)
		}
		seen = append(seen, fmt.Sprintf("it answers the API, with %s", plural(len(meters), "meter")))
	}
	if t.MeterURL != "" {
		m, err := meter.NewClient(t.MeterURL, t.MeterKey)
		if err != nil {
			return checklist.CannotTell(err.Error(), mend)
		}
		if t.HTTP != nil {
			m.Over(t.HTTP)
		}
		ctx, cancel := context.WithTimeout(ctx, patienceOnce)
		defer cancel()
		err = m.Ping(ctx)
		e, answered := errors.AsType[*meter.Error](err)
		answered = answered && e.Status != 0
		switch {
		case err == nil:
			seen = append(seen, "it takes the key that is known here")
		case answered:
			return checklist.Failed(cut(err.Error(), 200), mend)
		case len(seen) == 0:
			return unreached("the meter", err, mend)
		default:
			seen = append(seen, "from here it is not reached")
		}
	}
	return checklist.Passed("%s", strings.Join(seen, "; "))
}
