package subscription_test

import (
	"fmt"
	"testing"

	. "github.com/kgents/kgents/subscription"
)

// years is a customer who has paid every month.
func years(n int) State {
	all := []Change{event(Created, 0, pro)}
	for i := range 12 * n {
		d := 31 * float64(i+1)
		all = append(all, event(Updated, d, pro, period(d, d+31)), event(Paid, d, invoice(fmt.Sprint("in_", i), 1900)))
	}
	return apply(all)
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("%d years", n), func(b *testing.B) {
			s, c := years(n), event(Updated, 31*12*float64(n)+1, teams)
			for b.Loop() {
				s.Apply(c)
			}
		})
	}
}

func BenchmarkBrief(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("%d years", n), func(b *testing.B) {
			s, now := years(n), day(31*12*float64(n)+1)
			for b.Loop() {
				s.Brief(now, catalog)
			}
		})
	}
}

func BenchmarkStanding(b *testing.B) {
	for _, n := range []int{0, 1, 10} {
		b.Run(fmt.Sprintf("%d years", n), func(b *testing.B) {
			s, now := years(n), day(31*12*float64(n)+1)
			for b.Loop() {
				s.Standing(now, catalog)
			}
		})
	}
}
