package cloudevents_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
)

// seeds are single events, good and bad, for both fuzz targets.
var seeds = []string{
	good,
	with(`"2020-02-03T04:05:06.789Z"`, "null"),
	with(`"time":"2020-02-03T04:05:06.789Z",`, ""),
	with("2020-02-03T04:05:06.789Z", "2020-02-03T04:05:06,7+23:59"),
	with(`"id":"1"`, `"\u0069d":"\u0031\ud83d\ude00"`),
	with(`"data"`, `"id":"2","data"`),
	with(`"data"`, `"ext":{},"data"`),
	with(`"data"`, `"datacontenttype":null,"dataschema":"a:b","data"`),
	with(`{"tokens":3}`, nest(63)),
	with(`{"tokens":3}`, `{"a":"\ud800"}`),
	with("agent-runner", "a%zz"),
	"{}", "[]", "null", "", "{\"a\":\xff}",
}

func FuzzDecodeSingle(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkDecode(t, one, body) })
}

func FuzzDecodeBatch(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte("[" + s + "]"))
	}
	f.Add([]byte("[" + strings.Join(seeds[:5], " , ") + "]\n"))
	f.Add([]byte("[{},7,[],null]"))
	f.Fuzz(func(t *testing.T, body []byte) { checkDecode(t, batch, body) })
}

// checkDecode holds Decode to its promises for any body: a refusal has a code and
// no events, and an event that is returned survives being sent again.
func checkDecode(t *testing.T, contentType string, body []byte) {
	events, err := cloudevents.Decode(contentType, bytes.Clone(body), now)
	if err != nil {
		e, ok := errors.AsType[*kgents.Error](err)
		if !ok || events != nil || e.Code != kgents.CodeInvalid && e.Code != kgents.CodeTooLarge {
			t.Fatalf("got %d events and error %v", len(events), err)
		}
		return
	}
	for _, e := range events {
		switch {
		case !json.Valid(e.Raw):
			t.Fatalf("Raw is no JSON: %q", e.Raw)
		case len(e.Raw) > kgents.MaxEventBytes:
			t.Fatalf("Raw has %d bytes", len(e.Raw))
		case e.Time.IsZero():
			t.Fatalf("no time: %q", e.Raw)
		case e.Data != nil && !json.Valid(e.Data):
			t.Fatalf("Data is no JSON: %q", e.Data)
		}
		again, err := cloudevents.Decode(one, bytes.Clone(e.Raw), now.AddDate(1, 0, 0))
		if err != nil {
			t.Fatalf("Raw is refused: %v: %q", err, e.Raw)
		}
		a := again[0]
		if a.ID != e.ID || a.Source != e.Source || a.Type != e.Type || a.Subject != e.Subject || !a.Time.Equal(e.Time) || !bytes.Equal(a.Raw, e.Raw) || !bytes.Equal(a.Data, e.Data) {
			t.Fatalf("decoded again it is %+v, want %+v", readable(again), readable([]kgents.Event{e}))
		}
	}
}
