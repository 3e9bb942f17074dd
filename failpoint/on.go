//go:build failpoints

// Package failpoint lets tests end the program at exact places, such as between
// a sync and the answer.
//
// KGENTS_FAILPOINT=name:n kills the process, as kill -9 does, when it comes to the
// place called name for the nth time.
package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var (
	place, count, _ = strings.Cut(os.Getenv("KGENTS_FAILPOINT"), ":")
	left            = func() *atomic.Int64 {
		var n atomic.Int64
		v, err := strconv.ParseInt(count, 10, 64)
		if err != nil && place != "" {
			panic("KGENTS_FAILPOINT is no name:n")
		}
		n.Store(v)
		return &n
	}()
)

// Hit marks a place.
func Hit(name string) {
	if name == place && left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing happens behind this place
	}
}
