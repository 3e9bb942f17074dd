package consume

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents/verify"
)

// canaries remember when the meter last took an event of `kgents verify`: with no
// customer's event for an hour, that is how to tell a quiet night from a broken
// path.
type canaries struct{ last prometheus.Gauge }

func newCanaries(reg prometheus.Registerer) canaries {
	c := canaries{prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kgents_canary_last_metered_timestamp_seconds",
		Help: "When the meter last took an event of 'kgents verify' from this sink; 0 if it never has since the sink began. Use the maximum over the sinks.",
	})}
	reg.MustRegister(c.last)
	return c
}

var canaryType = []byte(`"` + verify.Type + `"`)

// taken looks for a canary in a batch that the meter has taken. It costs one search
// through the bytes unless there is one.
func (c canaries) taken(batch []byte, now time.Time) {
	if !bytes.Contains(batch, canaryType) {
		return
	}
	var events []struct{ Type, Source string }
	_ = json.Unmarshal(batch, &events) // what it could read before a strange element counts
	for _, e := range events {
		if e.Type == verify.Type && e.Source == verify.Source {
			c.last.Set(float64(now.UnixMilli()) / 1000)
			return
		}
	}
}
