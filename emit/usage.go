package emit

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// UsageMix is a mix of usage events.
type UsageMix struct {
	Mix
	Batch int      // events a request; at most 1 = single events
	Types []string // of UsageTypes; empty = all of them
}

// UsageTypes are the event types that Usage can make.
var UsageTypes = []string{"agent.tokens", "town.interaction", "api.request"}

// The words that usage is made of.
var (
	models     = []string{"small-2", "large-2", "large-2-thinking"}
	agents     = []string{"planner", "researcher", "coder", "critic"}
	towns      = []string{"millbrook", "oakvale", "harborside"}
	operations = []string{"talk", "move", "trade", "reflect", "dream"}
	routes     = []string{"/v1/agents", "/v1/sessions", "/v1/messages"}
)

// Usage makes usage events.
func Usage(m UsageMix) (Source, error) {
	if len(m.Types) == 0 {
		m.Types = UsageTypes
	}
	for _, t := range m.Types {
		switch t {
		case "agent.tokens", "town.interaction", "api.request":
		default:
			return nil, fmt.Errorf("there is no usage of type %q: choose from %s", t, strings.Join(UsageTypes, ", "))
		}
	}
	r, _ := m.random()
	u := &usage{m: m, r: r, now: time.Now(), ids: newIDs(r, m.Seed != 0, time.Now())}
	return &mixer{mix: m.Mix, r: r, next: u.next}, nil
}

type usage struct {
	m    UsageMix
	r    *rand.Rand
	ids  *ids
	now  time.Time
	made int
}

func (u *usage) next() (Request, bool) {
	n := max(1, u.m.Batch)
	if u.m.Count > 0 {
		n = min(n, u.m.Count-u.made)
	}
	if n <= 0 {
		return Request{}, false
	}
	u.made += n
	req := Request{Path: "/api/v1/events", ContentType: "application/cloudevents+json", Events: n}
	if u.m.Batch <= 1 {
		req.Body = u.append(nil)
		return req, true
	}
	req.ContentType = "application/cloudevents-batch+json"
	req.Body = append(make([]byte, 0, n*400), '[')
	for i := range n {
		if i > 0 {
			req.Body = append(req.Body, ',')
		}
		req.Body = u.append(req.Body)
	}
	req.Body = append(req.Body, ']')
	return req, true
}

// append appends one event, of about 300 bytes.
func (u *usage) append(b []byte) []byte {
	at := u.now
	if u.m.Over > 0 {
		at = u.now.Add(-time.Duration(u.r.Int64N(int64(u.m.Over))))
	} else if u.m.Seed == 0 {
		at = time.Now()
	}
	typ := u.m.Types[u.r.IntN(len(u.m.Types))]
	b = append(b, `{"specversion":"1.0","id":"`...)
	b = u.ids.appendNext(b)
	b = append(b, `","source":"kgents-emit","type":"`...)
	b = append(b, typ...)
	b = append(b, `","subject":"`...)
	b = append(b, customer(u.r.IntN(max(1, u.m.Customers)))...)
	b = append(b, `","time":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","datacontenttype":"application/json","data":{`...)
	switch typ {
	case "agent.tokens":
		b = append(b, `"tokens":`...)
		b = strconv.AppendInt(b, int64(50+u.r.IntN(4000)), 10)
		b = u.pick(b, `,"model":"`, models)
		b = u.pick(b, `,"agent":"`, agents)
	case "town.interaction":
		b = u.pick(b, `"town":"`, towns)
		b = u.pick(b, `,"operation":"`, operations)
		b = append(b, `,"citizen":`...)
		b = strconv.AppendInt(b, int64(u.r.IntN(25)), 10)
	default:
		b = u.pick(b, `"route":"`, routes)
		b = append(b, `,"status":200,"duration_ms":`...)
		b = strconv.AppendInt(b, int64(1+u.r.IntN(900)), 10)
	}
	return append(b, `}}`...)
}

func (u *usage) pick(b []byte, prefix string, from []string) []byte {
	b = append(b, prefix...)
	b = append(b, from[u.r.IntN(len(from))]...)
	return append(b, '"')
}

func customer(n int) string { return fmt.Sprintf("cus_demo%04d", n+1) }
