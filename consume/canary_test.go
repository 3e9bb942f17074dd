package consume

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestCanaries(t *testing.T) {
	now := time.UnixMilli(1_764_000_000_500)
	const canary = `{"specversion":"1.0","id":"1","source":"kgents","type":"kgents.canary","data":{}}`
	for name, test := range map[string]struct {
		batch string
		found bool
	}{
		"alone":                    {"[" + canary + "]", true},
		"among others":             {`[{"source":"town","type":"x"},` + canary + `,{"source":"town","type":"y"}]`, true},
		"after a strange one":      {`[{"source":1,"type":[]},` + canary + `]`, true},
		"none":                     {`[{"source":"town","type":"x"}]`, false},
		"a customer speaks of it":  {`[{"source":"town","type":"x","data":{"type":"kgents.canary","source":"kgents"}}]`, false},
		"a customer's of its type": {`[{"source":"town","type":"kgents.canary"}]`, false},
		"no batch":                 {`"kgents.canary"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewPedanticRegistry()
			c := newCanaries(reg)
			c.taken([]byte(test.batch), now)
			want := 0.0
			if test.found {
				want = 1_764_000_000.5
			}
			if got := testutil.ToFloat64(c.last); got != want {
				t.Errorf("the last canary was metered at %f, want %f", got, want)
			}
		})
	}
}

func BenchmarkNoCanary(b *testing.B) {
	batch := []byte("[" + strings.Repeat(`{"specversion":"1.0","id":"1","source":"town","type":"town.interaction","subject":"c","data":{"n":1}},`, 20_000) + "{}]")
	c := newCanaries(prometheus.NewRegistry())
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		c.taken(batch, time.Now())
	}
}
