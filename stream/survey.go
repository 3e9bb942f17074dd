package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// SystemName is the system user's name for a connection, which also gives its
	// private inbox.
	SystemName = "kgents-system"

	pingVarz = "$SYS.REQ.SERVER.PING.VARZ"
	pingJsz  = "$SYS.REQ.SERVER.PING.JSZ"

	// quiet is how long after the last answer no more are waited for.
	quiet = time.Second

	// first is how long is waited for the first answer: a server that is busy takes more
	// than a second to tell of all its streams. Where nobody may answer, NATS says so at
	// once.
	first = 5 * time.Second

	// maxServers bounds the answers that are taken.
	maxServers = 64
)

// ErrNotSystem is the error when no server answers to a question that only the
// system account may ask.
var ErrNotSystem = errors.New("no server answers to the system account's questions")

// Survey is what all servers say of themselves and of every stream.
type Survey struct {
	Servers []Server // by name
	Size    int      // servers that there should be, by what they say; 1 without a cluster
	Streams []Info   // of every account, also of buckets, by account and name, as the leader sees it
}

// ReadSurvey asks all servers, with two questions, as the system account.
func ReadSurvey(ctx context.Context, r Remote) (Survey, error) {
	nc, err := Connect(r, SystemName, slog.New(slog.DiscardHandler))
	if err != nil {
		return Survey{}, err
	}
	defer nc.Close()
	if err := Await(ctx, nc); err != nil {
		return Survey{}, err
	}
	s := Survey{Size: 1}
	sent := time.Now()
	err = AskServers(ctx, nc, pingVarz, nil, func(data []byte) (string, int) {
		var a struct{ Data *server.Varz }
		if json.Unmarshal(data, &a) != nil || a.Data == nil || a.Data.Name == "" ||
			slices.ContainsFunc(s.Servers, func(b Server) bool { return b.Name == a.Data.Name }) {
			return "", 0
		}
		one := serverOf(a.Data)
		one.Sent, one.Received = sent, time.Now()
		size := 0
		if m := a.Data.JetStream.Meta; m != nil {
			size = m.Size
		}
		s.Size = max(s.Size, size)
		s.Servers = append(s.Servers, one)
		return one.Name, size
	})
	if err != nil {
		return Survey{}, err
	}
	slices.SortFunc(s.Servers, func(a, b Server) int { return cmp.Compare(a.Name, b.Name) })
	found := map[[2]string]Info{}
	err = AskServers(ctx, nc, pingJsz, []byte(`{"accounts":true,"streams":true,"config":true}`), func(data []byte) (string, int) {
		var a struct {
			Server struct{ Name string }
			Data   *server.JSInfo
		}
		if json.Unmarshal(data, &a) != nil || a.Data == nil || a.Server.Name == "" {
			return "", 0
		}
		for _, account := range a.Data.AccountDetails {
			for _, d := range account.Streams {
				key := [2]string{account.Name, d.Name}
				i, leads := infoOf(a.Server.Name, account.Name, d)
				if _, ok := found[key]; leads || !ok {
					found[key] = i
				}
			}
		}
		return a.Server.Name, s.Size
	})
	if err != nil {
		return Survey{}, err
	}
	for _, i := range found {
		s.Streams = append(s.Streams, i)
	}
	slices.SortFunc(s.Streams, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name))
	})
	return s, nil
}

// infoOf is what one server says of a stream. Only the leader knows how far the other
// copies are; of a stream that only others speak of, there is no leader.
func infoOf(name, account string, d server.StreamDetail) (i Info, leads bool) {
	i = Info{
		Account: account, Name: d.Name, Messages: d.State.Msgs, Bytes: d.State.Bytes, First: d.State.FirstSeq, Last: d.State.LastSeq,
	}
	if i.Messages > 0 {
		i.Oldest = d.State.FirstTime
	}
	if c := d.Config; c != nil {
		i.Replicas, i.MaxBytes, i.MaxAge = c.Replicas, max(0, c.MaxBytes), c.MaxAge
		i.Storage, i.Discard = "file", "old"
		if c.Storage == server.MemoryStorage {
			i.Storage = "memory"
		}
		if c.Discard == server.DiscardNew {
			i.Discard = "new"
		}
		i.DenyDelete, i.DenyPurge = c.DenyDelete, c.DenyPurge
		i.Unsynced = c.PersistMode == server.AsyncPersistMode
	}
	if d.Cluster != nil && d.Cluster.Leader != "" && d.Cluster.Leader != name {
		return i, false
	}
	i.Leader = d.Cluster == nil || d.Cluster.Leader == name
	if !i.Leader {
		return i, false
	}
	i.Current = 1
	if d.Cluster != nil {
		for _, p := range d.Cluster.Replicas {
			if p.Current && !p.Offline {
				i.Current++
			}
		}
	}
	return i, true
}

// Await waits until the connection is made. The error says why it can't be.
func Await(ctx context.Context, nc *nats.Conn) error {
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	for nc.Status() != nats.CONNECTED {
		if nc.IsClosed() {
			return why("NATS has closed the connection", nc.LastError())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return why("NATS does not answer", nc.LastError())
		}
	}
	return nil
}

func why(what string, err error) error {
	if err == nil {
		return errors.New(what)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// AskServers puts a question of the system account to all servers, and hands each
// answer to read. Read returns the server's name and how many servers
// there are by what it says, 0 if it doesn't; an empty name is an answer that can't
// be read. It returns when as many have answered, or no more come. Without any, the
// error is ErrNotSystem.
func AskServers(ctx context.Context, nc *nats.Conn, subject string, question []byte, read func(data []byte) (name string, size int)) error {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return why("NATS", err)
	}
	defer sub.Unsubscribe()
	if err := nc.PublishRequest(subject, inbox, question); err != nil {
		return why("NATS", err)
	}
	var names []string
	size, patience := 0, first
	for size == 0 || len(names) < size {
		wait, cancel := context.WithTimeout(ctx, patience)
		msg, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil || len(names) == maxServers {
			break // no more come, or there is nobody to answer
		}
		patience = quiet
		name, of := read(msg.Data)
		if name == "" || slices.Contains(names, name) {
			continue // a server of a kind that we don't know
		}
		names = append(names, name)
		size = max(size, of)
	}
	if len(names) == 0 {
		return ErrNotSystem
	}
	return nil
}
