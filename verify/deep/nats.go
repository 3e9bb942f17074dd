package deep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents/stream"
)

const ping = "$SYS.REQ.SERVER.PING.JSZ"

// servers is what the NATS servers say of themselves.
type servers struct {
	answers []answer
	err     error
}

// The errors that are no fault of the servers.
var (
	errNoServers = errors.New("NATS_SERVERS is not set")
	errNotSystem = stream.ErrNotSystem
)

// answer is the part of a server's answer to JSZ that is looked at.
type answer struct {
	Server struct{ Name string }
	Data   struct {
		Disabled bool
		Config   struct {
			SyncAlways   bool          `json:"sync_always"`
			SyncInterval time.Duration `json:"sync_interval"`
		}
		Meta *struct {
			Leader   string
			Replicas []peer
			Size     int `json:"cluster_size"`
			Rescue   bool
		} `json:"meta_cluster"`
		Accounts []struct {
			Name    string
			Streams []streamDetail `json:"stream_detail"`
		} `json:"account_details"`
	}
}

type peer struct {
	Name                      string
	Current, Offline, Pending bool
	Lag                       uint64
}

// problem says why the peer is no full copy; empty if it is one.
func (p peer) problem() string {
	switch {
	case p.Offline:
		return p.Name + " is offline"
	case p.Pending:
		return p.Name + " is joining or leaving"
	case !p.Current && p.Lag > 0:
		return fmt.Sprintf("%s is %d operations behind", p.Name, p.Lag)
	case !p.Current:
		return p.Name + " is not current"
	}
	return ""
}

type streamDetail struct {
	Name    string
	Cluster *struct {
		Leader   string
		Replicas []peer
	}
	Config *struct {
		Storage     string
		Discard     string
		Replicas    int    `json:"num_replicas"`
		PersistMode string `json:"persist_mode"`
	}
}

func lookAtServers(ctx context.Context, r stream.Remote) servers {
	if len(r.Servers) == 0 {
		return servers{err: errNoServers}
	}
	ctx, cancel := within(ctx, natsPatience)
	defer cancel()
	nc, err := stream.Connect(r, stream.SystemName, slog.New(slog.DiscardHandler))
	if err != nil {
		return servers{err: err}
	}
	defer nc.Close()
	if err := stream.Await(ctx, nc); err != nil {
		return servers{err: err}
	}
	answers, err := askServers(ctx, nc)
	return servers{answers, err}
}

// askServers gathers one answer of each server, until as many have come as the
// meta group has members, or no more come.
func askServers(ctx context.Context, nc *nats.Conn) ([]answer, error) {
	var answers []answer
	err := stream.AskServers(ctx, nc, ping, []byte(`{"accounts":true,"streams":true,"config":true}`), func(data []byte) (string, int) {
		var a answer
		if json.Unmarshal(data, &a) != nil || a.Server.Name == "" {
			return "", 0
		}
		if !slices.ContainsFunc(answers, func(b answer) bool { return b.Server.Name == a.Server.Name }) {
			answers = append(answers, a)
		}
		if a.Data.Meta == nil {
			return a.Server.Name, 0
		}
		return a.Server.Name, a.Data.Meta.Size
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(answers, func(a, b answer) int {
		if a.Server.Name < b.Server.Name {
			return -1
		}
		return 1
	})
	return answers, nil
}

// unseen is the line when no server told anything.
func (s servers) unseen(check string) Line {
	switch {
	case errors.Is(s.err, errNoServers):
		return unknown(check, s.err.Error(), "set NATS_SERVERS, and NATS_CREDS to the system account's seed, or "+inside)
	case errors.Is(s.err, errNotSystem):
		return unknown(check, s.err.Error(), "set NATS_CREDS to the seed of a user of the system account")
	}
	return fail(check, s.err.Error(), "look at NATS_SERVERS, NATS_CREDS and NATS_TLS_CA, then at the log of a NATS pod")
}

func (s servers) find(name string) *answer {
	for i := range s.answers {
		if s.answers[i].Server.Name == name {
			return &s.answers[i]
		}
	}
	return nil
}

// size is how many servers the meta group has by what they say.
func (s servers) size() int {
	size := 0
	for _, a := range s.answers {
		if a.Data.Meta != nil {
			size = max(size, a.Data.Meta.Size)
		}
	}
	return size
}

func metaLine(c Config, s servers, k kubernetes) Line {
	if s.err != nil {
		return s.unseen(checkMeta)
	}
	const look = "look at the log of the NATS pods and at the network between them (port 6222)"
	size := s.size()
	if size == 0 {
		if len(s.answers) == 1 && !s.answers[0].Data.Disabled && c.Stream.Replicas == 1 {
			return pass(checkMeta, "one server, no cluster")
		}
		return fail(checkMeta, "the servers form no JetStream cluster", "look at `cluster` and `jetstream` in nats.conf")
	}
	var problems []string
	leader := ""
	for _, a := range s.answers {
		m := a.Data.Meta
		switch {
		case m == nil:
			problems = append(problems, a.Server.Name+" is in no JetStream cluster")
		case m.Leader == "":
			problems = append(problems, a.Server.Name+" knows no meta leader")
		case leader == "":
			leader = m.Leader
		case leader != m.Leader:
			problems = append(problems, fmt.Sprintf("%s follows %s, others %s", a.Server.Name, m.Leader, leader))
		}
	}
	if leader != "" {
		if l := s.find(leader); l == nil || l.Data.Meta == nil {
			problems = append(problems, "the leader "+leader+" does not answer")
		} else {
			if l.Data.Meta.Rescue {
				problems = append(problems, "the quorum is lowered by a rescue")
			}
			for _, p := range l.Data.Meta.Replicas {
				if problem := p.problem(); problem != "" {
					problems = append(problems, problem)
				}
			}
			if have := len(l.Data.Meta.Replicas) + 1; have != size {
				problems = append(problems, fmt.Sprintf("the leader knows %d of %d peers", have, size))
			}
		}
	}
	if len(s.answers) < size {
		problems = append(problems, fmt.Sprintf("%d of %d servers answer", len(s.answers), size))
	}
	if k.nats.err == nil && k.nats.Wanted != size {
		problems = append(problems, fmt.Sprintf("the StatefulSet has %d servers, the meta group %d", k.nats.Wanted, size))
	}
	if size < c.Stream.Replicas {
		problems = append(problems, fmt.Sprintf("%d servers for streams with %d replicas", size, c.Stream.Replicas))
	}
	if len(problems) > 0 {
		return fail(checkMeta, some(problems), look)
	}
	return pass(checkMeta, fmt.Sprintf("leader %s, %d of %d servers current", leader, len(s.answers), size))
}

func syncLine(s servers) Line {
	if s.err != nil {
		return s.unseen(checkSync)
	}
	const mend = "set sync_interval: always in nats.conf and restart the servers one by one"
	var problems []string
	for _, a := range s.answers {
		switch d := a.Data; {
		case d.Disabled:
			problems = append(problems, a.Server.Name+" has no JetStream")
		case !d.Config.SyncAlways:
			problems = append(problems, fmt.Sprintf("%s acknowledges before it syncs, every %v", a.Server.Name, d.Config.SyncInterval))
		}
	}
	switch size := s.size(); {
	case len(problems) > 0:
		return fail(checkSync, some(problems), mend)
	case len(s.answers) < size:
		return unknown(checkSync, fmt.Sprintf("%d of %d servers answer, and they do", len(s.answers), size), "bring the others back: see '"+checkMeta+"'")
	}
	return pass(checkSync, fmt.Sprintf("%s write to disk before they acknowledge", all(len(s.answers), "server")))
}

func all(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("all %d %ss", n, what)
}

func streamsLine(c stream.Config, s servers) Line {
	if s.err != nil {
		return s.unseen(checkStreams)
	}
	var problems []string
	for _, name := range []string{c.Name, c.DeadName()} {
		found := false
		for account, copies := range s.copies(name) {
			found = true
			for _, p := range streamProblems(c, copies) {
				problems = append(problems, fmt.Sprintf("%s: %s", label(name, account), p))
			}
		}
		if !found {
			problems = append(problems, name+" is not there")
		}
	}
	slices.Sort(problems)
	if len(problems) > 0 {
		return fail(checkStreams, some(problems), "look at '"+checkMeta+"' first; api and sink make streams and mend their settings at start, with NATS_REPLICAS copies")
	}
	return pass(checkStreams, fmt.Sprintf("%s and %s: leader, %d of %d replicas current, discard new", c.Name, c.DeadName(), c.Replicas, c.Replicas))
}

func label(name, account string) string {
	if account == "" || account == "$G" {
		return name
	}
	return name + " in " + account
}

// copies are what the servers say of a stream, by account and server.
func (s servers) copies(name string) map[string]map[string]streamDetail {
	out := map[string]map[string]streamDetail{}
	for _, a := range s.answers {
		for _, account := range a.Data.Accounts {
			for _, d := range account.Streams {
				if d.Name != name {
					continue
				}
				if out[account.Name] == nil {
					out[account.Name] = map[string]streamDetail{}
				}
				out[account.Name][a.Server.Name] = d
			}
		}
	}
	return out
}

// streamProblems judges a stream by what its leader says: only the leader knows
// how far the others are.
func streamProblems(c stream.Config, copies map[string]streamDetail) (problems []string) {
	for name, d := range copies {
		alone := d.Cluster == nil && len(copies) == 1
		if !alone && (d.Cluster == nil || d.Cluster.Leader != name) {
			continue
		}
		current := 1
		if d.Cluster != nil {
			for _, p := range d.Cluster.Replicas {
				if problem := p.problem(); problem != "" {
					problems = append(problems, problem)
				} else {
					current++
				}
			}
		}
		if current < c.Replicas {
			problems = append(problems, fmt.Sprintf("%d of %d replicas are current", current, c.Replicas))
		}
		switch {
		case d.Config == nil:
			return append(problems, "the server does not tell its settings")
		case d.Config.Replicas < c.Replicas:
			problems = append(problems, fmt.Sprintf("it is made for %d replicas", d.Config.Replicas))
		}
		if d.Config.Discard != "new" {
			problems = append(problems, fmt.Sprintf("a full stream discards %s, not new", d.Config.Discard))
		}
		if d.Config.Storage != "file" {
			problems = append(problems, "its storage is "+d.Config.Storage+", not file")
		}
		if m := d.Config.PersistMode; m != "" && m != "default" {
			problems = append(problems, "its persist mode is "+m+": it acknowledges before it writes")
		}
		return problems
	}
	return []string{"no leader"}
}
