package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
)

// connectWait is how long a command waits for a NATS server to answer.
const connectWait = 10 * time.Second

// User is who a command connects as: the connection's name, and so that of its inbox.
// Each user of nats.conf may read its own, and the operator that of Backup, too.
type User string

// Who commands connect as.
const (
	Operator User = "kgents-operator" // a person, who may do everything
	Backup   User = "kgents-backup"   // who may read the streams and note backups and drills
)

// Offline is JetStream for a command that works on the streams and is no role: it
// serves nothing, and makes no stream by itself.
type Offline struct {
	JetStream jetstream.JetStream
	Streams   stream.Config
	Close     func()
}

// OpenOffline connects to NATS_SERVERS. Without them it takes the data directory,
// which no running program may use, and runs the embedded server in it until
// Close. A data directory without streams is an error unless create is true.
func OpenOffline(ctx context.Context, c config.Config, as User, create bool, log *slog.Logger) (_ Offline, err error) {
	a := &App{config: c, log: log}
	defer func() {
		if err != nil {
			a.releaseAll()
		}
	}()
	var nc *nats.Conn
	if c.EmbeddedNATS() {
		nc, err = a.connectEmbedded(as, create)
	} else {
		nc, err = a.connectRemote(ctx, as)
	}
	if err != nil {
		return Offline{}, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return Offline{}, err
	}
	return Offline{
		JetStream: js, Close: a.releaseAll,
		Streams: stream.Config{Name: c.StreamName, Replicas: c.Replicas, MaxBytes: c.StreamBytes},
	}, nil
}

func (a *App) connectEmbedded(as User, create bool) (*nats.Conn, error) {
	dir := filepath.Join(a.config.DataDir, "nats")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) && !create {
		return nil, fmt.Errorf("there is no stream in %s: name the data directory of 'kgents up' with --data, or set NATS_SERVERS", a.config.DataDir)
	}
	unlock, err := lockDir(a.config.DataDir)
	if err != nil {
		return nil, fmt.Errorf("%w, or set NATS_SERVERS to use a NATS server", err)
	}
	a.onStop(func() { _ = unlock() })
	server, err := stream.StartEmbedded(dir, a.log)
	if err != nil {
		return nil, fmt.Errorf("%w; its data is in %s", err, dir)
	}
	a.onStop(server.Stop)
	nc, err := server.Connect(string(as), a.log)
	if err != nil {
		return nil, err
	}
	a.onStop(nc.Close)
	return nc, nil
}

func (a *App) connectRemote(ctx context.Context, as User) (*nats.Conn, error) {
	nc, err := stream.Connect(stream.Remote{
		Servers: a.config.NATSServers, Creds: a.config.NATSCreds,
		TLSCA: a.config.NATSTLSCA, TLSCert: a.config.NATSTLSCert, TLSKey: a.config.NATSTLSKey,
	}, string(as), slog.New(slog.DiscardHandler)) // what there is to say is in the error
	if err != nil {
		return nil, err
	}
	a.onStop(nc.Close)
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for nc.Status() != nats.CONNECTED {
		select {
		case <-ctx.Done():
			where := a.config.Public("NATS_SERVERS")
			if last := nc.LastError(); last != nil {
				return nil, fmt.Errorf("NATS does not answer at %s within %v: %w", where, connectWait, last)
			}
			return nil, fmt.Errorf("NATS does not answer at %s within %v: look at NATS_SERVERS", where, connectWait)
		case <-tick.C:
		}
	}
	return nc, nil
}
