package emit_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/emit"
	"github.com/kgents/kgents/receive/cloudevents"
)

// What towns use is taken by our own edge, and its sums agree for each customer.
func TestTown(t *testing.T) {
	s, err := emit.Town(emit.TownMix{Mix: emit.Mix{Count: 5000, Customers: 3}, Citizens: 7, Batch: 50})
	if err != nil {
		t.Fatal(err)
	}
	count, ids := 0, map[string]bool{}
	interactions, tokens := map[string]int64{}, map[string]int64{}
	for {
		req, ok := s.Next()
		if !ok {
			break
		}
		events, err := cloudevents.Decode(req.ContentType, req.Body, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		count += len(events)
		for _, e := range events {
			if kgents.Reserved(e.Source) || ids[e.ID] {
				t.Fatalf("event %s comes from %s, or again", e.ID, e.Source)
			}
			ids[e.ID] = true
			var data struct{ Tokens int64 }
			if err := json.Unmarshal(e.Data, &data); err != nil || data.Tokens <= 0 {
				t.Fatalf("%s: %v", e.Raw, err)
			}
			if e.Type == "town.interaction" {
				interactions[e.Subject] += data.Tokens
			} else {
				tokens[e.Subject] += data.Tokens
			}
		}
	}
	if count != 5000 || len(interactions) != 3 {
		t.Errorf("%d events of %d customers", count, len(interactions))
	}
	apart := 0 // the last interaction may have been cut off from its tokens
	for who := range interactions {
		if interactions[who] != tokens[who] {
			apart++
		}
	}
	if apart > 1 {
		t.Errorf("interactions have %v tokens, the citizens %v", interactions, tokens)
	}
	for _, wrong := range []emit.TownMix{{Citizens: 4}, {Citizens: 3, Mix: emit.Mix{Customers: 10_001}}} {
		if _, err := emit.Town(wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
	first := func() emit.Request {
		s, err := emit.Town(emit.TownMix{Mix: emit.Mix{Count: 10, Seed: 7}, Citizens: 3, Batch: 10})
		if err != nil {
			t.Fatal(err)
		}
		req, _ := s.Next()
		return req
	}
	if d := cmp.Diff(first(), first()); d != "" {
		t.Errorf("the same seed sends (-one +other):\n%s", d)
	}
}
