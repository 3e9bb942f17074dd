package verify

import (
	"encoding/json"
	"time"
)

// Distinct is how many different events Pair has.
const Distinct = 2

// Pair is batches for a meter: the canary with the id alone, again, twice in one
// batch, and then another, so that it can be seen when all have had their turn. A
// meter that deduplicates counts Distinct of them for the subject.
func Pair(id, subject string) (batches [][]byte) {
	canary := func(id string) map[string]any {
		return map[string]any{
			"specversion": "1.0", "id": id, "source": Source, "type": Type, "subject": subject,
			"time": time.Now().UTC().Format(time.RFC3339), "data": map[string]any{},
		}
	}
	one, fence := canary(id), canary(id+"-last")
	for _, batch := range [][]any{{one}, {one}, {one, one}, {fence}} {
		b, err := json.Marshal(batch)
		if err != nil {
			panic(err) // strings and maps of strings always marshal
		}
		batches = append(batches, b)
	}
	return batches
}
