//go:build linux

package world

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Gate is a way to a server that can be cut.
type Gate struct {
	Addr   string
	target func() string
	mu     sync.Mutex
	cut    bool
	conns  map[net.Conn]bool
}

// NewGate opens a way to what target names at the time of each connection.
func NewGate(t *testing.T, target func() string) *Gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Addr: l.Addr().String(), target: target, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go g.pass(conn)
		}
	}()
	t.Cleanup(func() { l.Close(); g.Close() })
	return g
}

func (g *Gate) pass(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", g.target())
	if err != nil {
		return
	}
	defer out.Close()
	g.mu.Lock()
	if g.cut {
		g.mu.Unlock()
		return
	}
	g.conns[in], g.conns[out] = true, true
	g.mu.Unlock()
	done := make(chan struct{})
	go func() { _, _ = io.Copy(out, in); out.Close(); close(done) }()
	_, _ = io.Copy(in, out)
	in.Close()
	<-done
	g.mu.Lock()
	delete(g.conns, in)
	delete(g.conns, out)
	g.mu.Unlock()
}

// Close cuts all connections, and every new one.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = true
	for c := range g.conns {
		c.Close()
	}
}

// Target is where the way leads now.
func (g *Gate) Target() string { return g.target() }

// Open ends Close.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = false
}
