package deep

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/kgents/kgents/verify"
)

// closing is how many successes close a half-open circuit.
const closing = 3

// tryCircuits gives the pods whose circuit is half open what they wait for: events.
// A pod without traffic stays half open after an outage for as long as nobody asks
// anything of it, which says nothing about NATS today. What the pods say afterwards
// takes the place of what they said before.
func tryCircuits(ctx context.Context, c Config, first canary, k *kubernetes) {
	if !k.inside || len(first.result.Event) == 0 {
		return
	}
	var tries sync.WaitGroup
	for i := range k.api.pods {
		p := &k.api.pods[i]
		if p.err != nil || p.IP == "" || p.health.NATS.Circuit != "half_open" {
			continue
		}
		tries.Go(func() {
			for range closing {
				event, err := another(first.result.Event)
				if err == nil {
					err = again(ctx, c.Target, p.URL(c.Port), event)
				}
				if err != nil {
					p.health.NATS.Detail = fmt.Sprintf("it was tried: %s", err)
					return
				}
			}
			ctx, cancel := within(ctx, podPatience)
			defer cancel()
			if body, err := c.Cluster.Get(ctx, p.Pod, c.Port, "/health/saas"); err == nil {
				if now, err := parseHealth(body); err == nil {
					p.health = now
				}
			}
		})
	}
	tries.Wait()
}

// another is a canary of its own that no run counts.
func another(event []byte) ([]byte, error) {
	var e map[string]any
	if err := json.Unmarshal(event, &e); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	e["id"], e["subject"] = id.String(), verify.Subject
	return json.Marshal(e)
}
