package api_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// A loop of one customer's ends; others, the operator, and who waits go on.
func TestOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &api.Often{PerHour: 60, AtOnce: 3}
		allowed := func(customer string, want bool) {
			t.Helper()
			err := o.Allow(kgents.Principal{Key: "k", Customer: customer})
			if (err == nil) != want || err != nil && kgents.ErrorCode(err) != kgents.CodeRateLimited {
				t.Errorf("%q is answered with %v", customer, err)
			}
		}
		for range 3 {
			allowed("acme", true)
		}
		allowed("acme", false)
		allowed("other", true)
		for range 100 {
			allowed("", true)
		}
		time.Sleep(time.Minute)
		allowed("acme", true)
		allowed("acme", false)
		for i := range 20_000 { // which would take memory for ever
			allowed(fmt.Sprint("c", i), true)
		}
		allowed("acme", true)
	})
}
