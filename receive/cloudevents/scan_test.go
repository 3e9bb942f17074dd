package cloudevents_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/receive/cloudevents"
)

// many is a batch of n short events.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,{"specversion":"1.0","id":"%d","source":"a","type":"t","subject":"c"}`, i)
	}
	return "[" + b.String()[1:] + "]"
}

// names is an object with n bytes of names, each another.
func names(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `,"%x":1`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// TestDecodeBoundsEvents: as many events as a request may have, and one more.
func TestDecodeBoundsEvents(t *testing.T) {
	events, err := cloudevents.Decode(batch, []byte(many(cloudevents.MaxEvents)), now)
	if err != nil || len(events) != cloudevents.MaxEvents {
		t.Fatalf("got %d events and %v, want %d", len(events), err, cloudevents.MaxEvents)
	}
	for name, body := range map[string]string{
		"events":  many(cloudevents.MaxEvents + 1),
		"numbers": "[" + strings.Repeat("1,", 4_000_000) + "1]",
		"objects": "[" + strings.Repeat("{},", 2_700_000) + "{}]",
	} {
		if e := refusal(t, batch, body); e.Code != kgents.CodeTooLarge || !strings.Contains(e.Message, "50000") {
			t.Errorf("%s: got %q %q, want %q and the bound", name, e.Code, e.Message, kgents.CodeTooLarge)
		}
	}
}

// TestDecodeBoundsMemory: what is refused for its size has not been read: it takes
// no more memory than its body does a second time.
func TestDecodeBoundsMemory(t *testing.T) {
	const size = 8_300_000
	wide := names(size)
	for _, test := range []struct {
		name, contentType, body string
		want                    kgents.Item
	}{
		{"names in data", one, with(`{"tokens":3}`, wide), kgents.Item{}},
		{"names far down", one, with(`{"tokens":3}`, `{"a":`+wide+"}"), kgents.Item{}},
		{"extensions", one, with(`"data":{`, wide[1:len(wide)-1]+`,"data":{`), kgents.Item{}},
		{"an event that never ends", one, with(`{"tokens":3}`, wide)[:size], kgents.Item{}},
		{"a second event", batch, "[" + good + "," + with(`{"tokens":3}`, wide) + "]", kgents.Item{Index: 1, Pointer: "/1"}},
		{"behind quotes and brackets", batch, `[` + with("agent-runner", `a\"]}\\`) + "," + with(`{"tokens":3}`, wide) + "]", kgents.Item{Index: 1, Pointer: "/1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := []byte(test.body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := cloudevents.Decode(test.contentType, body, now)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > uint64(len(body))*3/2 {
				t.Errorf("it took %d MB to refuse a body of %d MB", got>>20, len(body)>>20)
			}
			e, ok := err.(*kgents.Error)
			if !ok || e.Code != kgents.CodeTooLarge || len(e.Items) != 1 || !strings.Contains(e.Items[0].Message, "900000") {
				t.Fatalf("got %+v, want %q with the limit", err, kgents.CodeTooLarge)
			}
			e.Items[0].Message = ""
			if diff := cmp.Diff(test.want, e.Items[0]); diff != "" {
				t.Errorf("item (-want +got):\n%s", diff)
			}
		})
	}
}
