package stream

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is what a NATS server says of itself. Only the embedded server and the
// system account's questions know all of it.
type Server struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Now     time.Time `json:"now,omitzero"`

	// TLSRequired and AuthRequired are what it wants of clients. Both are false of
	// an embedded server, which no client can reach.
	TLSRequired  bool `json:"tls_required"`
	AuthRequired bool `json:"auth_required"`

	// Known says that the rest is known.
	Known          bool          `json:"known"`
	SyncAlways     bool          `json:"sync_always"` // synced to disk before it is acknowledged
	SyncInterval   time.Duration `json:"sync_interval_ns"`
	StoreUsed      int64         `json:"store_used_bytes"`
	StoreLimit     int64         `json:"store_limit_bytes"`
	Connections    int           `json:"connections"`
	MaxConnections int           `json:"max_connections"`

	// Sent and Received are when it was asked and when its answer came, by this
	// process's clock. They are zero of a server in this process.
	Sent     time.Time `json:"-"`
	Received time.Time `json:"-"`
}

// Look asks the server itself.
func (e *Embedded) Look() (Server, error) {
	v, err := e.srv.Varz(nil)
	if err != nil {
		return Server{}, err
	}
	return serverOf(v), nil
}

func serverOf(v *server.Varz) Server {
	s := Server{
		Name: v.Name, Version: v.Version, Now: v.Now, TLSRequired: v.TLSRequired, AuthRequired: v.AuthRequired,
		Known: true, Connections: v.Connections, MaxConnections: v.MaxConn,
	}
	if c := v.JetStream.Config; c != nil {
		s.SyncAlways, s.SyncInterval, s.StoreLimit = c.SyncAlways, c.SyncInterval, c.MaxStore
	}
	if st := v.JetStream.Stats; st != nil {
		s.StoreUsed = int64(st.Store)
	}
	return s
}

// ServerOf is what a connection knows of the server that it is connected to.
func ServerOf(nc *nats.Conn) Server {
	return Server{
		Name: nc.ConnectedServerName(), Version: nc.ConnectedServerVersion(),
		TLSRequired: nc.TLSRequired(), AuthRequired: nc.AuthRequired(),
	}
}
