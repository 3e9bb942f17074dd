package cloudevents_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
)

// TestDecodeRefuses has inputs with one thing wrong. The answer points at it and
// says what is wrong; an empty pointer means that the message alone does.
func TestDecodeRefuses(t *testing.T) {
	when := func(s string) string { return with("2020-02-03T04:05:06.789Z", s) }
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		name, contentType, body string
		pointer, says           string
	}{
		{"an unknown content type", "text/plain", good, "", "content type must be"},
		{"no content type", "", good, "", "content type must be"},
		{"a broken content type", one + "; charset", good, "", "content type must be"},
		{"another charset", one + "; charset=iso-8859-1", good, "", "charset must be UTF-8"},
		{"another charset of plain JSON", plain + "; charset=utf-16", good, "", "charset must be UTF-8"},
		{"an array sent as one event", one, "[" + good + "]", "", "application/cloudevents-batch+json"},
		{"one event sent as a batch", batch, good, "", "application/cloudevents+json"},
		{"an empty array as plain JSON", plain, "[]", "", "no events"},
		{"an empty array sent as one event", one, "[]", "", "application/cloudevents-batch+json"},
		{"nothing", one, "", "", "must be a CloudEvent"},
		{"white space", plain, " \n", "", "must be a CloudEvent"},
		{"a string", plain, `"x"`, "", "must be a CloudEvent"},
		{"null", plain, "null", "", "must be a CloudEvent"},

		{"no id", one, with(`"id":"1",`, ""), "/id", "missing"},
		{"no source", one, with(`"source":"agent-runner",`, ""), "/source", "missing"},
		{"no type", one, with(`"type":"agent.tokens",`, ""), "/type", "missing"},
		{"no subject", one, with(`"subject":"customer-1",`, ""), "/subject", "missing"},
		{"no specversion", one, with(`"specversion":"1.0",`, ""), "/specversion", "missing"},
		{"an empty id", one, with(`"id":"1"`, `"id":""`), "/id", "empty"},
		{"an empty source", one, with("agent-runner", ""), "/source", "empty"},
		{"an empty type", one, with("agent.tokens", ""), "/type", "empty"},
		{"an empty subject", one, with("customer-1", ""), "/subject", "empty"},
		{"an id that is a number", one, with(`"id":"1"`, `"id":1`), "/id", "this is a number"},
		{"a source that is an object", one, with(`"agent-runner"`, "{}"), "/source", "this is an object"},
		{"a type that is null", one, with(`"agent.tokens"`, "null"), "/type", "this is null"},
		{"a subject that is a boolean", one, with(`"customer-1"`, "true"), "/subject", "this is a boolean"},
		{"a specversion that is a number", one, with(`"1.0"`, "1.0"), "/specversion", "this is a number"},
		{"a time that is a number", one, with(`"2020-02-03T04:05:06.789Z"`, "1580702706"), "/time", "this is a number"},
		{"a control character", one, with("customer-1", `customer\n1`), "/subject", "control"},

		{"an id of 257 bytes", one, with(`"id":"1"`, `"id":"`+long(257)+`"`), "/id", "has 257 bytes, it may have 256"},
		{"an id of 10 kB", one, with(`"id":"1"`, `"id":"`+long(10_000)+`"`), "/id", "has 10000 bytes"},
		{"a source of 513 bytes", one, with("agent-runner", long(513)), "/source", "has 513 bytes"},
		{"a type of 257 bytes", one, with("agent.tokens", long(257)), "/type", "has 257 bytes"},
		{"a subject of 257 bytes", one, with("customer-1", long(257)), "/subject", "has 257 bytes"},
		{"a source with a space", one, with("agent-runner", "agent runner"), "/source", "URI reference"},
		{"a source with a bad escape", one, with("agent-runner", "agent%zz"), "/source", "URI reference"},
		{"specversion 2.0", one, with(`"1.0"`, `"2.0"`), "/specversion", `must be "1.0"`},
		{"an extension that is an object", one, with(`"data"`, `"region":{"a":1},"data"`), "/region", "this is an object"},
		{"an extension that is an array", one, with(`"data"`, `"a/b~c":[],"data"`), "/a~1b~0c", "this is an array"},
		{"data that is a string", one, with(`{"tokens":3}`, `"x"`), "/data", "this is a string"},
		{"data that is an array", one, with(`{"tokens":3}`, `[1]`), "/data", "this is an array"},
		{"data of another content type", one, with(`"data"`, `"datacontenttype":"text/xml","data"`), "/datacontenttype", "application/json"},
		{"a schema that is no URI", one, with(`"data"`, `"dataschema":"not absolute","data"`), "/dataschema", "URI"},
		{"65 levels", one, with(`{"tokens":3}`, nest(64)), "/data", "nested more than 64"},
		{"65 levels in a batch", batch, "[" + with(`{"tokens":3}`, nest(63)) + "]", "/0/data", "nested more than 64"},
		{"100,000 levels", one, with(`{"tokens":3}`, nest(100_000)), "", "no valid JSON"},
		{"100,000 arrays", plain, strings.Repeat("[", 100_000), "", "no valid JSON"},

		{"a name twice", one, with(`"data"`, `"id":"2","data"`), "/id", "twice"},
		{"a name twice, once escaped", one, with(`"data"`, `"\u0069d":"2","data"`), "/id", "twice"},
		{"a name twice in data", one, with(`{"tokens":3}`, `{"a":{"b":1,"b":2}}`), "/data/a/b", "twice"},
		{"a name twice in a batch", batch, "[" + good + "," + with(`"data"`, `"id":"2","data"`) + "]", "/1/id", "twice"},
		{"invalid UTF-8", one, with("customer-1", "customer-\xff"), "", "no valid JSON in UTF-8"},
		{"a cut UTF-8 sequence", one, with("customer-1", "customer-\xe2\x82"), "", "no valid JSON in UTF-8"},
		{"a lone surrogate", one, with("customer-1", `customer-\ud800`), "", "no valid JSON in UTF-8"},
		{"a lone surrogate in data", one, with(`{"tokens":3}`, `{"a":"\udc00x"}`), "", "no valid JSON in UTF-8"},
		{"text behind", one, good + "x", "", "behind"},
		{"a second event behind", one, good + good, "", "behind"},
		{"a bracket behind a batch", batch, "[" + good + "]]", "", "behind"},
		{"a comma too many", batch, "[" + good + ",]", "", "no valid JSON"},

		{"a time in 1960", one, when("1960-01-02T03:04:05Z"), "/time", "1970 to 2199"},
		{"a time in 2200", one, when("2200-01-01T00:00:00Z"), "/time", "1970 to 2199"},
		{"a time without a zone", one, when("2020-01-02T03:04:05"), "/time", "RFC 3339"},
		{"a date", one, when("2020-01-02"), "/time", "RFC 3339"},
		{"a day that does not exist", one, when("2021-02-29T00:00:00Z"), "/time", "RFC 3339"},
		{"a time that is garbage", one, when("yesterday"), "/time", "RFC 3339"},
		{"an empty time", one, when(""), "/time", "empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := refusal(t, test.contentType, test.body)
			if e.Code != kgents.CodeInvalid {
				t.Errorf("the code is %q, want %q", e.Code, kgents.CodeInvalid)
			}
			message := e.Message
			if test.pointer != "" {
				if len(e.Items) != 1 || e.Items[0].Pointer != test.pointer {
					t.Fatalf("the items are %+v, want one at %s", e.Items, test.pointer)
				}
				message = e.Items[0].Message
			}
			if !strings.Contains(message, test.says) {
				t.Errorf("the message is %q, want one with %q", message, test.says)
			}
		})
	}
}

// refusal decodes what must be refused.
func refusal(t *testing.T, contentType, body string) *kgents.Error {
	t.Helper()
	events, err := cloudevents.Decode(contentType, []byte(body), now)
	e, ok := errors.AsType[*kgents.Error](err)
	if !ok || events != nil {
		t.Fatalf("got %d events and error %v, want none and a refusal", len(events), err)
	}
	return e
}

func TestDecodeRefusesEveryCut(t *testing.T) {
	for contentType, body := range map[string]string{one: good, plain: string(sample(1)), batch: "[" + good + "," + good + "]"} {
		for n := range body {
			refusal(t, contentType, body[:n])
		}
	}
}

// TestDecodeSizes has an event at its limit, over it, and over it only by the
// time that it gets here.
func TestDecodeSizes(t *testing.T) {
	sized := func(event string, n int) string {
		return strings.Replace(event, `"tokens":3`, `"x":"`+strings.Repeat("x", n-len(event)+4)+`"`, 1)
	}
	timeless := with(`"time":"2020-02-03T04:05:06.789Z",`, "")
	events, err := cloudevents.Decode(one, []byte(sized(good, kgents.MaxEventBytes)), now)
	if err != nil || len(events[0].Raw) != kgents.MaxEventBytes {
		t.Fatalf("the largest event: %v", err)
	}
	for name, body := range map[string]string{
		"over":             sized(good, kgents.MaxEventBytes+1),
		"over by its time": sized(timeless, kgents.MaxEventBytes),
	} {
		t.Run(name, func(t *testing.T) {
			e := refusal(t, one, body)
			if e.Code != kgents.CodeTooLarge || len(e.Items) != 1 || !strings.Contains(e.Items[0].Message, "900000") {
				t.Errorf("got %q %+v, want %q and the limit named", e.Code, e.Items, kgents.CodeTooLarge)
			}
		})
	}
	if e := refusal(t, batch, "["+sized(good, kgents.MaxEventBytes+1)+",{}]"); e.Code != kgents.CodeInvalid {
		t.Errorf("a large event next to a bad one: %q, want %q", e.Code, kgents.CodeInvalid)
	}
}

func TestDecodeNamesEveryBadEvent(t *testing.T) {
	body := "[" + strings.Join([]string{good, with(`"id":"1"`, `"id":1`), `"x"`, good, with("agent-runner", "a b"), with(`{"tokens":3}`, "7")}, ",") + "]"
	e := refusal(t, batch, body)
	want := []kgents.Item{{Index: 1, Pointer: "/1/id"}, {Index: 2, Pointer: "/2"}, {Index: 4, Pointer: "/4/source"}, {Index: 5, Pointer: "/5/data"}}
	got := append([]kgents.Item(nil), e.Items...)
	for i := range got {
		got[i].Message = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	if !strings.Contains(e.Message, "4 of 6") {
		t.Errorf("the message is %q, want one that counts 4 of 6", e.Message)
	}
}

// TestDecodeAnswersInBounds: what a client sent does not come back at length.
func TestDecodeAnswersInBounds(t *testing.T) {
	e := refusal(t, batch, "["+strings.Repeat("{},", 999)+"{}]")
	if len(e.Items) != 100 || !strings.Contains(e.Message, "1000 of 1000") || !strings.Contains(e.Message, "first 100") {
		t.Errorf("got %d items and %q, want 100 and both counts", len(e.Items), e.Message)
	}
	name := strings.Repeat("x", 10_000)
	for what, body := range map[string]string{
		"an extension": with(`"data"`, fmt.Sprintf(`%q:{},"data"`, name)),
		"a name twice": with(`"data"`, fmt.Sprintf(`%q:1,%[1]q:2,"data"`, name)),
	} {
		if e := refusal(t, one, body); len(e.Items) != 1 || len(e.Items[0].Pointer) > 300 {
			t.Errorf("%s: got %d items, the first of %d bytes, want a short one", what, len(e.Items), len(e.Items[0].Pointer))
		}
	}
}
