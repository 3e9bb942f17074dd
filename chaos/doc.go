// Package chaos runs the real program with real NATS and Redis servers, drives it
// with load, injects one fault, heals it, and holds the meter to the ledger: every
// acknowledged event is counted exactly once, nothing that was refused is counted.
//
// It needs redis-server (Debian's package), and the Go toolchain to build the
// program and nats-server. OpenMeter is a fake, since the real one is a cloud.
//
// It runs on Linux: it freezes processes, reads their state and mounts small disks.
package chaos
