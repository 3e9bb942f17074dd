// Package world runs the real program with real NATS and Redis servers for tests, and
// can kill, freeze and cut off each of them. Everything ends with the test.
//
// It needs redis-server (Debian's package), and the Go toolchain to build the program
// and nats-server; a test that lacks one fails. It runs on Linux: it reads the state of
// processes and mounts small disks.
package world
