//go:build failpoints

// Package failpoint lets tests end the program, or a server that it talks to, at
// exact places, such as between a sync and the answer.
//
// KGENTS_FAILPOINT=name:n does so when the program comes to the place called name
// for the nth time. It sends KILL to the program itself, unless
// KGENTS_FAILPOINT_PID names another process, and KGENTS_FAILPOINT_SIGNAL is STOP.
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
		n.Store(int64(number(count, 0)))
		return &n
	}()
	victim = number(os.Getenv("KGENTS_FAILPOINT_PID"), os.Getpid())
	signal = map[string]syscall.Signal{"": syscall.SIGKILL, "STOP": syscall.SIGSTOP}[os.Getenv("KGENTS_FAILPOINT_SIGNAL")]
)

func number(text string, dflt int) int {
	if text == "" {
		return dflt
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic("KGENTS_FAILPOINT is no name:n, or its PID no number")
	}
	return n
}

// Hit marks a place.
func Hit(name string) {
	if name != place || left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(victim, signal)
	if victim == os.Getpid() {
		select {} // nothing happens behind this place
	}
}
