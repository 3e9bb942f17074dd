package cloudevents_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/kgents/kgents/receive/cloudevents"
)

// sample is an event of about 400 bytes, as the figures in docs/benchmarks.md use.
func sample(n int) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":"0191d7a0-7c1e-7a3b-9c55-%012d","source":"agent-runner","type":"agent.tokens",`+
		`"subject":"customer-%04d","time":"2026-11-23T09:30:00.123Z","datacontenttype":"application/json",`+
		`"data":{"tokens":1834,"model":"large-2","agent":"planner","session":"0191d7a0-7c1e-7a3b-9c55-aabbccddeeff",`+
		`"latency_ms":812.5,"cached":false,"tools":["search","read"],"region":"eu-central"}}`, n, n%1000)
}

func BenchmarkDecodeSingle(b *testing.B) {
	body := sample(1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudevents.Decode("application/cloudevents+json", body, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeBatch100(b *testing.B) {
	var events [][]byte
	for n := range 100 {
		events = append(events, sample(n))
	}
	body := append(append([]byte{'['}, bytes.Join(events, []byte{','})...), ']')
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudevents.Decode("application/cloudevents-batch+json", body, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100), "ns/event")
}
