// Package verify sends one event through the whole path and says how long each
// stage took, or where it is stuck.
//
// It promises to call a stage done only when it has seen the proof: the 204, the
// event in the meter's list, the event in the meter's count. It sends a canary
// that no customer pays for.
package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/kgents/kgents/meter"
)

// The canary's attributes.
const (
	Type    = "kgents.canary"
	Subject = "kgents-canary"
	Source  = "kgents"
	Meter   = "canaries" // counts them, where there is one
)

// poll is how often the meter is asked.
const poll = 20 * time.Millisecond

// Stage is one part of the path.
type Stage struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took_ns"`
	What string        `json:"what"` // what its end proves
}

// Result is the outcome. Stuck names the stage that did not end.
type Result struct {
	ID     string        `json:"id"`
	Stages []Stage       `json:"stages"`
	Total  time.Duration `json:"total_ns"`
	Stuck  string        `json:"stuck,omitempty"`
	Reason string        `json:"reason,omitempty"` // the last thing that was heard
	Health any           `json:"health,omitempty"` // GET /health/saas, when stuck
	Event  []byte        `json:"-"`                // what was sent, to be sent again
}

// OK says whether the canary was counted.
func (r Result) OK() bool { return r.Stuck == "" }

// Target is what to verify.
type Target struct {
	URL string // base URL of the API
	Key string

	// Subject is the canary's, empty for Subject. One that nobody else uses has a
	// count of its own.
	Subject string

	// HTTP reaches the API and follows no redirects, nil for an ordinary client.
	HTTP *http.Client
}

func (t Target) http() *http.Client { return cmp.Or(t.HTTP, http.DefaultClient) }

// Run sends a canary and follows it until ctx ends. Each stage is told to
// progress when it ends.
func Run(ctx context.Context, t Target, progress func(Stage)) (Result, error) {
	client, err := meter.NewClient(t.URL, t.Key)
	if err != nil {
		return Result{}, err
	}
	defer client.Close()
	if t.HTTP != nil {
		client.Over(t.HTTP)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Result{}, err
	}
	v := &run{Target: t, ctx: ctx, meter: client, result: Result{ID: id.String()}, progress: progress, began: time.Now()}
	v.follow()
	v.result.Total = time.Since(v.began)
	if !v.result.OK() {
		v.result.Health = v.health()
	}
	return v.result, nil
}

type run struct {
	Target
	ctx      context.Context
	meter    *meter.Client
	result   Result
	progress func(Stage)
	began    time.Time
}

func (v *run) done(name string, took time.Duration, what string) {
	s := Stage{name, max(0, took), what}
	v.result.Stages = append(v.result.Stages, s)
	v.progress(s)
}

func (v *run) stuck(stage, reason string) { v.result.Stuck, v.result.Reason = stage, reason }

func (v *run) follow() {
	before, beforeErr := v.count()
	if reason := v.publish(); reason != "" {
		v.stuck("publish", reason)
		return
	}
	durable := time.Now()
	v.done("publish", durable.Sub(v.began), "the event is on disk in the stream")

	var stored meter.StoredEvent
	last := "the meter's list does not have the event yet"
	if !v.until(func() bool {
		events, err := v.meter.Events(v.ctx, meter.EventFilter{ID: v.result.ID})
		if err != nil {
			last = v.heard(last, err.Error())
			return false
		}
		if len(events) > 0 {
			stored = events[0]
		}
		return len(events) > 0
	}) {
		v.stuck("consume", last)
		return
	}
	seen := time.Now()
	// The meter's clock may differ from ours: a time outside what we saw is cut.
	ingested := stored.IngestedAt
	if ingested.Before(durable) {
		ingested = durable
	}
	if ingested.After(seen) {
		ingested = seen
	}
	v.done("consume", ingested.Sub(durable), "the sink has handed it to the meter")
	v.done("meter", seen.Sub(ingested), "the meter lists it")
	if e, ok := errors.AsType[*meter.Error](beforeErr); stored.ValidationError != "" || ok && e.Status == http.StatusNotFound {
		return // no meter counts canaries here
	}
	if beforeErr != nil {
		v.stuck("query", "the count from before the event is not known, so that of now proves nothing: "+beforeErr.Error())
		return
	}
	last = "the meter " + Meter + " has not counted the event yet"
	if !v.until(func() bool {
		now, err := v.count()
		if err != nil {
			last = v.heard(last, err.Error())
			return false
		}
		return now > before
	}) {
		v.stuck("query", last)
		return
	}
	v.done("query", time.Since(seen), "the meter "+Meter+" has counted it")
}

// until asks until ok, false when the time is up.
func (v *run) until(ok func() bool) bool {
	for !ok() {
		select {
		case <-v.ctx.Done():
			return false
		case <-time.After(poll):
		}
	}
	return true
}

// heard is the reason to give when news has come. That the time is up while a
// question is open says nothing of the path: what was heard before stays.
func (v *run) heard(before, news string) string {
	if before != "" && v.ctx.Err() != nil {
		return before
	}
	return news
}

// publish sends the canary and returns why it was not taken. It tries again
// while nothing durable can take it.
func (v *run) publish() (reason string) {
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": v.result.ID, "source": Source, "type": Type, "subject": cmp.Or(v.Subject, Subject),
		"time": v.began.UTC().Format(time.RFC3339Nano), "data": map[string]any{},
	})
	if err != nil {
		return err.Error()
	}
	v.result.Event = body
	final := false
	v.until(func() bool {
		req, err := http.NewRequestWithContext(v.ctx, http.MethodPost, v.URL+"/api/v1/events", bytes.NewReader(body))
		if err != nil {
			reason, final = err.Error(), true
			return true
		}
		req.Header.Set("Content-Type", "application/cloudevents+json")
		req.Header.Set("Authorization", "Bearer "+v.Key)
		resp, err := v.http().Do(req)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && v.ctx.Err() != nil {
				err = errors.New("the time was up")
			}
			reason = v.heard(reason, "no answer: "+err.Error())
			return false
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode == http.StatusNoContent {
			reason = ""
			return true
		}
		var problem struct{ Detail string }
		_ = json.Unmarshal(answer, &problem) // without a detail the status has to do
		reason = fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
		if problem.Detail != "" {
			reason += ": " + problem.Detail
		}
		final = resp.StatusCode/100 == 4
		return final
	})
	return reason
}

// count is what the meter of canaries says.
func (v *run) count() (float64, error) {
	q := meter.Query{Meter: Meter}
	if v.Subject != "" {
		q.Subjects = []string{v.Subject}
	}
	r, err := v.meter.Query(v.ctx, q)
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, row := range r.Data {
		total += row.Value
	}
	return total, nil
}

// health is what the program says of itself, on a time of its own.
func (v *run) health() any {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.URL+"/health/saas", nil)
	if err != nil {
		return nil
	}
	resp, err := v.http().Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var health any
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&health) != nil {
		return nil
	}
	return health
}
