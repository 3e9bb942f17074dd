package cloudevents_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
)

const (
	one   = "application/cloudevents+json"
	batch = "application/cloudevents-batch+json"
	plain = "application/json"

	// good is the event that the tables change in one place each.
	good = `{"specversion":"1.0","id":"1","source":"agent-runner","type":"agent.tokens","subject":"customer-1","time":"2020-02-03T04:05:06.789Z","data":{"tokens":3}}`
)

// now is not in UTC, which must not show.
var now = time.Date(2026, 11, 23, 10, 30, 0, 123456789, time.FixedZone("CET", 3600))

// with returns good with one part replaced.
func with(old, instead string) string {
	if strings.Count(good, old) != 1 {
		panic("the good event has not one of " + old)
	}
	return strings.Replace(good, old, instead, 1)
}

// goodWith returns the good event as decoded, changed by change.
func goodWith(change func(*kgents.Event)) kgents.Event {
	e := kgents.Event{
		Source: "agent-runner", ID: "1", Type: "agent.tokens", Subject: "customer-1",
		Time: time.Date(2020, 2, 3, 4, 5, 6, 789e6, time.UTC),
		Raw:  []byte(good), Data: []byte(`{"tokens":3}`),
	}
	if change != nil {
		change(&e)
	}
	return e
}

// raw returns the good event whose JSON is another.
func raw(text string) kgents.Event {
	return goodWith(func(e *kgents.Event) { e.Raw = []byte(text) })
}

func TestDecodeAccepts(t *testing.T) {
	second := with(`"id":"1"`, `"id":"2"`)
	event1, event2 := goodWith(nil), goodWith(func(e *kgents.Event) { e.ID, e.Raw = "2", []byte(second) })
	longID := strings.Repeat("x", kgents.MaxIDBytes)
	stamped := func(text string) kgents.Event {
		return goodWith(func(e *kgents.Event) { e.Time, e.Raw = now, []byte(text) })
	}
	at := func(year int, text string) kgents.Event {
		return goodWith(func(e *kgents.Event) { e.Time, e.Raw = time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC), []byte(text) })
	}
	in1970, in2099 := with("2020-02-03T04:05:06.789Z", "1970-01-02T03:04:05Z"), with("2020-02-03T04:05:06.789Z", "2099-01-02T05:04:05+02:00")
	extended := with(`"data"`, `"region":"eu","retries":2,"cached":false,"none":null,"data"`)
	escaped := with(`"id":"1"`, `"\u0069d":"\u0031"`)
	source := with("agent-runner", "https://example.com/a%20b?c=d#e")
	timeless := with(`"time":"2020-02-03T04:05:06.789Z",`, "")
	braces := `{"tokens":"` + strings.Repeat(`{[\"`, 500) + `"}`
	deep := with(`{"tokens":3}`, nest(62))

	for _, test := range []struct {
		name, contentType, body string
		want                    []kgents.Event
	}{
		{"one event", one, good, []kgents.Event{event1}},
		{"white space around", one, " \r\n\t" + good + "\n ", []kgents.Event{event1}},
		{"one event as plain JSON", plain, good, []kgents.Event{event1}},
		{"an array as plain JSON", plain, "[" + good + "," + second + "]", []kgents.Event{event1, event2}},
		{"a batch", batch, "[ " + good + " , " + second + " ]", []kgents.Event{event1, event2}},
		{"equal events stay two", batch, "[" + good + "," + good + "]", []kgents.Event{event1, event1}},
		{"an empty batch", batch, "[]", nil},
		{"a charset", one + "; charset=utf-8", good, []kgents.Event{event1}},
		{"a charset in capitals and quotes", plain + `;charset="UTF-8"`, good, []kgents.Event{event1}},
		{"a charset on a batch", batch + ";charset=utf-8", "[" + good + "]", []kgents.Event{event1}},
		{"a content type in capitals", "Application/CloudEvents+JSON", good, []kgents.Event{event1}},
		{"another parameter", one + "; profile=x", good, []kgents.Event{event1}},
		{"specversion 0.3", one, with(`"1.0"`, `"0.3"`), []kgents.Event{raw(with(`"1.0"`, `"0.3"`))}},
		{"scalar extensions", one, extended, []kgents.Event{raw(extended)}},
		{"a name and a value with escapes", one, escaped, []kgents.Event{raw(escaped)}},
		{"the longest id", one, with(`"id":"1"`, `"id":"`+longID+`"`), []kgents.Event{goodWith(func(e *kgents.Event) {
			e.ID, e.Raw = longID, []byte(with(`"id":"1"`, `"id":"`+longID+`"`))
		})}},
		{"a source that is a URI", one, source, []kgents.Event{goodWith(func(e *kgents.Event) {
			e.Source, e.Raw = "https://example.com/a%20b?c=d#e", []byte(source)
		})}},
		{"no data", one, with(`,"data":{"tokens":3}`, ""), []kgents.Event{goodWith(func(e *kgents.Event) {
			e.Data, e.Raw = nil, []byte(with(`,"data":{"tokens":3}`, ""))
		})}},
		{"data null", one, with(`{"tokens":3}`, "null"), []kgents.Event{goodWith(func(e *kgents.Event) {
			e.Data, e.Raw = nil, []byte(with(`{"tokens":3}`, "null"))
		})}},
		{"63 levels", one, deep, []kgents.Event{goodWith(func(e *kgents.Event) {
			e.Data, e.Raw = []byte(nest(62)), []byte(deep)
		})}},
		{"braces in strings are no levels", one, with(`{"tokens":3}`, braces), []kgents.Event{goodWith(func(e *kgents.Event) {
			e.Data, e.Raw = []byte(braces), []byte(with(`{"tokens":3}`, braces))
		})}},
		{"content type and schema", one, with(`"data"`, `"datacontenttype":"application/json; charset=utf-8","dataschema":"https://example.com/s","data"`),
			[]kgents.Event{raw(with(`"data"`, `"datacontenttype":"application/json; charset=utf-8","dataschema":"https://example.com/s","data"`))}},
		{"content type and schema null", one, with(`"data"`, `"datacontenttype":null,"dataschema":null,"data"`),
			[]kgents.Event{raw(with(`"data"`, `"datacontenttype":null,"dataschema":null,"data"`))}},
		{"without a time", one, timeless, []kgents.Event{stamped(strings.TrimSuffix(timeless, "}") + `,"time":"2026-11-23T09:30:00.123456789Z"}`)}},
		{"time null", one, with(`"2020-02-03T04:05:06.789Z"`, "null"), []kgents.Event{stamped(with("2020-02-03T04:05:06.789Z", "2026-11-23T09:30:00.123456789Z"))}},
		{"a time in 1970", one, in1970, []kgents.Event{at(1970, in1970)}},
		{"a time in 2099, with an offset", one, in2099, []kgents.Event{at(2099, in2099)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := cloudevents.Decode(test.contentType, []byte(test.body), now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(readable(test.want), readable(got)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			for _, e := range got {
				if !json.Valid(e.Raw) {
					t.Errorf("Raw is no JSON: %s", e.Raw)
				}
			}
		})
	}
}

// TestDecodeManyEvents has as many events as a large batch, each of its own text,
// so that one that pointed into another would show.
func TestDecodeManyEvents(t *testing.T) {
	const n = 50_000
	var body strings.Builder
	body.WriteByte('[')
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(numbered(i))
	}
	body.WriteByte(']')
	events, err := cloudevents.Decode(batch, []byte(body.String()), now)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != n {
		t.Fatalf("got %d events, want %d", len(events), n)
	}
	for i, e := range events {
		if e.ID != fmt.Sprintf("id-%d", i) || string(e.Raw) != numbered(i) || string(e.Data) != fmt.Sprintf(`{"tokens":%d}`, i) {
			t.Fatalf("event %d is %+v", i, readable([]kgents.Event{e}))
		}
	}
}

func numbered(i int) string {
	return strings.Replace(with(`"id":"1"`, fmt.Sprintf(`"id":"id-%d"`, i)), `"tokens":3`, fmt.Sprintf(`"tokens":%d`, i), 1)
}

// nest is an object of n levels.
func nest(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }

// text is an event whose bytes a difference shows as text.
type text struct {
	Source, ID, Type, Subject, Raw, Data string
	Time                                 time.Time
}

func readable(events []kgents.Event) []text {
	var out []text
	for _, e := range events {
		out = append(out, text{e.Source, e.ID, e.Type, e.Subject, string(e.Raw), string(e.Data), e.Time})
	}
	return out
}
