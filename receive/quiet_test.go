package receive_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A thousand bad requests a second are one line a second for each reason, which says
// how many more there were.
func TestFloodIsNoFloodOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &admitter{}, secret)
		for range 3 {
			for range 1000 {
				r.do(with(one(usage), "Authorization", ""))
				r.do(hook(payment, "whsec_other", time.Now()))
			}
			time.Sleep(time.Second)
		}
		if got := strings.Count(r.log.String(), "\n"); got != 6 {
			t.Errorf("there are %d lines, want 6:\n%s", got, r.log)
		}
		if got := strings.Count(r.log.String(), "withheld=999"); got != 4 {
			t.Errorf("%d lines say how many were withheld, want 4:\n%s", got, r.log)
		}
	})
}
