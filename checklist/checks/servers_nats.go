package checks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kgents/kgents/checklist"
)

// copiesAgain is how often the copies are looked at again, a second apart: one is a
// write behind while that write is under way, and canaries are written meanwhile.
const copiesAgain = 3

// copiesWanted is how many copies of a stream a deployment needs: any one server may
// be lost, and the two others still agree.
const copiesWanted = 3

func (a *serverArea) natsSync(ctx context.Context) checklist.Finding {
	s, err := a.survey(ctx)
	if err != nil {
		return blind(err, lookAtNATS)
	}
	const mend = "set sync_interval: always in nats.conf and restart the servers one by one"
	var problems []string
	for _, one := range s.Servers {
		if one.Known && !one.SyncAlways {
			problems = append(problems, fmt.Sprintf("%s acknowledges before it syncs, every %v", one.Name, one.SyncInterval))
		}
	}
	for _, i := range s.Streams {
		if i.Unsynced {
			problems = append(problems, i.Name+" acknowledges before it writes")
		}
	}
	if len(problems) > 0 {
		return checklist.Failed(cut(some(problems), 200), mend)
	}
	if err := s.whole(); err != nil {
		return blind(err, lookAtNATS)
	}
	return checklist.Passed("%s always: %s", plural(len(s.Servers), "server")+" sync", s.names())
}

func (a *serverArea) natsConnections(ctx context.Context) checklist.Finding {
	s, err := a.survey(ctx)
	if err == nil {
		err = s.whole()
	}
	if err != nil {
		return blind(err, lookAtNATS)
	}
	var problems []string
	most, limit := 0, 0
	for _, one := range s.Servers {
		if 2*one.Connections > one.MaxConnections {
			problems = append(problems, fmt.Sprintf("%s has %d of %d", one.Name, one.Connections, one.MaxConnections))
		}
		if one.Connections >= most {
			most, limit = one.Connections, one.MaxConnections
		}
	}
	if len(problems) > 0 {
		return checklist.Failed(cut("less than half is free: "+some(problems), 200), "raise max_connections in nats.conf, or find who opens so many: the server's /connz")
	}
	return checklist.Passed("at most %d of %d connections at one of %s", most, limit, plural(len(s.Servers), "server"))
}

// streamReplicas looks at every stream that the servers have, those of buckets too.
func (a *serverArea) streamReplicas(ctx context.Context) checklist.Finding {
	if _, f, ok := a.streams(ctx); !ok {
		return f
	}
	s, err := a.survey(ctx)
	if err != nil {
		return blind(err, lookAtNATS)
	}
	problems := a.copyProblems(s)
	for range copiesAgain {
		if len(problems) == 0 || len(a.NATSSystem.Servers) == 0 || !pause(ctx, time.Second) {
			break
		}
		if s, err = a.surveyNow(ctx); err != nil {
			return blind(err, lookAtNATS)
		}
		problems = a.copyProblems(s)
	}
	if len(problems) > 0 {
		return checklist.Failed(cut(some(problems), 200), "look at the pods of NATS; NATS_REPLICAS sets how many copies api and sink make")
	}
	if s.embedded {
		return checklist.Passed("%s and %s are whole on the embedded server, which is the only one", a.Stream.Name, a.Stream.DeadName())
	}
	return checklist.Passed("%s have a leader and all their copies, %s and %s %d each", plural(len(s.Streams), "stream"),
		a.Stream.Name, a.Stream.DeadName(), a.copies())
}

// copies is how many copies both streams must have.
func (a *serverArea) copies() int {
	if a.Target == checklist.Kubernetes {
		return max(a.Stream.Replicas, copiesWanted)
	}
	return max(a.Stream.Replicas, 1)
}

func (a *serverArea) copyProblems(s survey) (problems []string) {
	events, dead := a.ours(s)
	for _, i := range append(events, dead...) {
		if i.Replicas < a.copies() {
			problems = append(problems, fmt.Sprintf("%s is made for %d of %d copies", i.Name, i.Replicas, a.copies()))
		}
	}
	for _, i := range s.Streams {
		switch {
		case !i.Leader:
			problems = append(problems, i.Name+" has no leader")
		case i.Current < i.Replicas:
			problems = append(problems, fmt.Sprintf("%d of %d copies of %s are current", i.Current, i.Replicas, i.Name))
		}
	}
	return problems
}

func (a *serverArea) streamDiscardsNew(ctx context.Context) checklist.Finding {
	all, f, ok := a.streams(ctx)
	if !ok {
		return f
	}
	var problems []string
	for _, i := range all {
		if i.Discard != "new" {
			problems = append(problems, fmt.Sprintf("%s discards the %s", i.Name, i.Discard))
		}
		if i.Storage != "file" {
			problems = append(problems, fmt.Sprintf("%s is kept in %s, not in files", i.Name, i.Storage))
		}
	}
	if len(problems) > 0 {
		return checklist.Failed(cut(some(problems), 200), "restart the sinks, which mend it at their start, and find who changed it; a stream that is kept in memory must be backed up, deleted and restored")
	}
	return checklist.Passed("%s and %s discard the new, and are kept in files", a.Stream.Name, a.Stream.DeadName())
}

// streamImmutable is about the stream of events alone: dead letters leave theirs when
// they are replayed.
func (a *serverArea) streamImmutable(ctx context.Context) checklist.Finding {
	all, f, ok := a.streams(ctx)
	if !ok {
		return f
	}
	var allowed []string
	for _, i := range all {
		if i.Name != a.Stream.Name {
			continue
		}
		if !i.DenyDelete {
			allowed = append(allowed, "to delete messages")
		}
		if !i.DenyPurge {
			allowed = append(allowed, "to purge")
		}
	}
	if len(allowed) > 0 {
		slices.Sort(allowed)
		return checklist.Failed(fmt.Sprintf("%s allows %s", a.Stream.Name, some(allowed)), "restart the sinks, which mend it at their start")
	}
	return checklist.Passed("the servers take no request to delete or purge messages of %s, whoever asks (deny_delete, deny_purge)", a.Stream.Name)
}
