package load

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

// The schedule is the rate's integral, whatever its shape.
func TestSchedule(t *testing.T) {
	for _, test := range []struct {
		name, phases string
		want         float64 // requests
		halfWay      float64 // of them in the first half
	}{
		{"flat", "[{name: a, for: 10s, rate: 100}]", 1000, 500},
		{"ramp", "[{name: a, for: 10s, rate: 0, to: 200}]", 1000, 250},
		{"down", "[{name: a, for: 10s, rate: 200, to: 0}]", 1000, 750},
		{"steps", "[{name: a, for: 10s, rate: 50, to: 150, steps: 2}]", 1000, 250},
		{"a tenth of a request at a time", "[{name: a, for: 10s, rate: 10, to: 10, steps: 1000}]", 100, 50},
		{"a pause between", "[{name: a, for: 4s, rate: 100}, {name: b, for: 2s, rate: 0}, {name: c, for: 4s, rate: 100}]", 800, 400},
	} {
		for _, arrivals := range []string{"constant", "poisson"} {
			t.Run(test.name+" "+arrivals, func(t *testing.T) {
				p := profile(t, "arrivals: "+arrivals, "phases: "+test.phases)
				var all, again []time.Duration
				for s, twin := newSchedule(p), newSchedule(p); ; {
					due, _, ok := s.next()
					same, _, _ := twin.next()
					again = append(again, same)
					if !ok {
						break
					}
					all = append(all, due)
				}
				slack := 1.0
				if arrivals == "poisson" {
					slack = 5 * math.Sqrt(test.want)
				}
				early := 0
				for i, d := range all {
					if d != again[i] {
						t.Fatal("the same seed gives another schedule")
					}
					if d < 5*time.Second {
						early++
					}
					if i > 0 && d < all[i-1] || d > p.Length() {
						t.Fatalf("%v comes after %v", d, all[max(0, i-1)])
					}
				}
				if math.Abs(float64(len(all))-test.want) > slack || math.Abs(float64(early)-test.halfWay) > slack {
					t.Errorf("%d requests, %d of them in the first half", len(all), early)
				}
			})
		}
	}
}

// Customers have the shares that the profile says, and events its size.
func TestTraffic(t *testing.T) {
	for _, test := range []struct {
		customers string
		first     float64 // least share of the first customer
		most      float64
	}{
		{"{count: 10, spread: uniform}", 0.05, 0.15},
		{"{count: 10, spread: huge, huge_share: 0.9}", 0.85, 0.95},
		{"{count: 1000, spread: zipf, exponent: 1.5}", 0.3, 0.6},
	} {
		t.Run(test.customers, func(t *testing.T) {
			p := profile(t, "customers: "+test.customers, "events: {batch: 5, bytes: 700, stripe: 0.25, duplicates: 0.1}", "phases: [{name: a, for: 1s, rate: 1}]")
			tr, err := newTraffic(p)
			if err != nil {
				t.Fatal(err)
			}
			var events, first, webhooks, repeats, requests float64
			for range 2000 {
				req, repeated := tr.next(p.Phases[0], time.Now())
				requests++
				if repeated {
					repeats++
					continue
				}
				if req.kind == stripe {
					webhooks++
				} else if size := len(req.Body) / 5; size < 690 || size > 710 || !json.Valid(req.Body) {
					t.Fatalf("an event has %d bytes: %s", size, req.Body)
				}
				for _, e := range req.events {
					events++
					first += only(e.customer == 0)
				}
			}
			if share := first / events; share < test.first || share > test.most {
				t.Errorf("the first customer has %.2f of the events", share)
			}
			if share := repeats / requests; share < 0.05 || share > 0.15 {
				t.Errorf("%.2f of the requests are repeated", share)
			}
			if share := webhooks / (requests - repeats); share < 0.2 || share > 0.3 {
				t.Errorf("%.2f are webhooks", share)
			}
		})
	}
}
