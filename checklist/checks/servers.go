package checks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/stream"
	"github.com/kgents/kgents/system"
)

// The bounds of what several checks read.
const (
	surveyPatience  = 8 * time.Second
	reportPatience  = 6 * time.Second
	programPatience = 8 * time.Second
	redisPatience   = 5 * time.Second
	tryPatience     = 4 * time.Second // one connection to one server
	storePatience   = 20 * time.Second
)

// serverArea asks the servers that hold events: NATS, Redis, the place of backups,
// and the programs before them.
//
// What the NATS servers say is asked of all of them by the system account where its
// key is known. Without it, the program's own report is asked: it knows all of an
// embedded server, and of another only what its user may know.
type serverArea struct {
	*System
	surveyed once[survey]
	reported once[reported]
	seen     once[[]program]
	redis    once[redisLook]
	backups  once[backupList]
}

func servers(s *System) map[string]checklist.Check {
	a := &serverArea{System: s}
	return map[string]checklist.Check{
		"nats-sync":           a.natsSync,
		"nats-tls":            a.natsTLS,
		"nats-anonymous":      a.natsAnonymous,
		"nats-connections":    a.natsConnections,
		"stream-replicas":     a.streamReplicas,
		"stream-discards-new": a.streamDiscardsNew,
		"stream-immutable":    a.streamImmutable,
		"redis-anonymous":     a.redisAnonymous,
		"redis-noeviction":    a.redisNoEviction,
		"redis-persistence":   a.redisPersistence,
		"circuit-closed":      a.circuitClosed,
		"spool-drained":       a.spoolDrained,
		"dead-letters":        a.deadLetters,
		"disk-headroom":       a.diskHeadroom,
		"backlog":             a.backlog,
		"version-skew":        a.versionSkew,
		"clock-offset":        a.clockOffset,
		"certificates":        a.certificates,
		"backup-fresh":        a.backupFresh,
		"backup-restorable":   a.backupRestorable,
		"backup-encrypted":    a.backupEncrypted,
		"backup-elsewhere":    a.backupElsewhere,
	}
}

// gap is the error for what is not configured, with what to set.
type gap struct{ why, next string }

func (g *gap) Error() string { return g.why }

// blind is the finding when nothing could be seen. next is for an error that does not
// say what to set itself.
func blind(err error, next string) checklist.Finding {
	if g, ok := errors.AsType[*gap](err); ok {
		return checklist.CannotTell(cut(g.why, 200), g.next)
	}
	return checklist.CannotTell(cut(err.Error(), 200), next)
}

const lookAtNATS = "look whether the servers run, and at NATS_SERVERS, NATS_CREDS and NATS_TLS_CA"

// reported is a program's report, and when it was asked for and came, by our clock.
type reported struct {
	system.Report
	sent, received time.Time
}

// report is what the program at the API's address says of itself.
func (a *serverArea) report(ctx context.Context) (reported, error) {
	return a.reported.get(ctx, reportPatience, func(ctx context.Context) (r reported, err error) {
		switch {
		case a.APIURL == "":
			return r, &gap{noAPI.Evidence, noAPI.Next}
		case len(a.APIKeys) == 0:
			return r, &gap{noKey.Evidence, noKey.Next}
		}
		return a.ask(ctx, a.APIURL)
	})
}

func (a *serverArea) ask(ctx context.Context, url string) (r reported, err error) {
	r.sent = time.Now()
	r.Report, err = system.Read(ctx, a.client(), url, a.APIKeys[0])
	r.received = time.Now()
	return r, err
}

// survey is what is known of the NATS servers.
type survey struct {
	stream.Survey
	embedded bool // within the program, without a port
}

func (a *serverArea) survey(ctx context.Context) (survey, error) {
	return a.surveyed.get(ctx, surveyPatience+reportPatience, a.surveyNow)
}

func (a *serverArea) surveyNow(ctx context.Context) (survey, error) {
	if len(a.NATSSystem.Servers) > 0 {
		ctx, cancel := context.WithTimeout(ctx, surveyPatience)
		defer cancel()
		s, err := stream.ReadSurvey(ctx, a.NATSSystem)
		if errors.Is(err, stream.ErrNotSystem) {
			err = &gap{err.Error(), "use the seed of a user of the system account"}
		}
		return survey{Survey: s}, err
	}
	r, err := a.report(ctx)
	if err != nil {
		return survey{}, err
	}
	return survey{stream.Survey{Servers: r.NATS.Servers, Size: 1, Streams: r.NATS.Streams}, r.NATS.Embedded}, nil
}

// whole says why the servers that have answered are not all, or don't tell all.
func (s survey) whole() error {
	if len(s.Servers) == 0 {
		return &gap{"the program is not connected to a NATS server", lookAtNATS}
	}
	if len(s.Servers) < s.Size {
		return &gap{fmt.Sprintf("%d of %d servers answer: %s", len(s.Servers), s.Size, s.names()), "bring the others back: look at the pods of NATS and their logs"}
	}
	for _, one := range s.Servers {
		if !one.Known {
			return &gap{"the program's user may not ask " + one.Name + " for its settings", "look with the key of the system account: NATS_CREDS of 'kgents verify --deep'"}
		}
	}
	return nil
}

func (s survey) names() string {
	var names []string
	for _, one := range s.Servers {
		names = append(names, one.Name)
	}
	return some(names)
}

// ours are the two streams as the survey has them, by name; one that isn't there is
// absent. A stream of the same name in another account is not told apart: it is ours
// to answer for too.
func (a *serverArea) ours(s survey) (events, dead []stream.Info) {
	for _, i := range s.Streams {
		switch i.Name {
		case a.Stream.Name:
			events = append(events, i)
		case a.Stream.DeadName():
			dead = append(dead, i)
		}
	}
	return events, dead
}

// streams are both, or why they are not known. That one is not there is a Finding.
func (a *serverArea) streams(ctx context.Context) (all []stream.Info, f checklist.Finding, ok bool) {
	s, err := a.survey(ctx)
	if err != nil {
		return nil, blind(err, lookAtNATS), false
	}
	events, dead := a.ours(s)
	if len(s.Streams) == 0 && len(a.NATSSystem.Servers) == 0 {
		return nil, checklist.CannotTell("the program does not know the streams: NATS does not answer it", lookAtNATS), false
	}
	for name, found := range map[string][]stream.Info{a.Stream.Name: events, a.Stream.DeadName(): dead} {
		if len(found) == 0 {
			return nil, checklist.Failed("the stream "+name+" is not there", "start an api and a sink, which make it; look at NATS_STREAM_NAME"), false
		}
	}
	return append(events, dead...), f, true
}
