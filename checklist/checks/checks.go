// Package checks looks at a running system for the automatic items of the
// checklist: each check asks the system itself, and tries what must not work.
//
// It promises that a check passes only on what it has seen. What isn't configured,
// allowed or reachable is "cannot tell", with what to set. It changes nothing but
// for canaries, which no customer pays for, a test alert that resolves itself, and
// scratch servers of its own in a temporary directory.
//
// What several checks need (the objects of the cluster, what the NATS servers say,
// what the program says of itself) is read once for a run, when the first asks.
package checks

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/stream"
)

// System is what is looked at, and how it is reached. What is empty makes its
// checks say that they can't tell.
type System struct {
	Target  checklist.Target
	Version string // of this program

	// HTTP reaches the API, the meter, Prometheus, Alertmanager and Grafana; it
	// follows no redirects.
	HTTP *http.Client

	// Cluster reads Kubernetes, as the deployment's namespace has it; nil for Local.
	Cluster *cluster.Client

	APIURL         string
	APIKeys        []string // known ones; the first is used
	WebhookSecrets []string

	SinkURL string // of a sink that is not behind the API, empty for 'kgents up'

	// Programs are the pods of api, sink and meter, each by itself; empty for those that
	// Cluster has. Without either only the one at APIURL is known, which is all there
	// is of 'kgents up'.
	Programs []Program

	NATS       stream.Remote // a user who may read the streams and their bucket
	NATSSystem stream.Remote // the system account
	Stream     stream.Config // as the deployment has it

	RedisURL  string
	RedisDial Dialer // nil for an ordinary one

	MeterURL, MeterKey string // of OpenMeter, empty for the embedded meter behind the API

	Prometheus, Alertmanager, Grafana string // base URLs
	Namespace                         string // of what Prometheus knows; empty for all

	Settings config.Config // where backups are, among others

	// BackupVolume is where the pods put backups, when that is a directory of theirs;
	// it can't be read from here.
	BackupVolume string

	SecretsDir string // of `kgents secrets`
	Repository string // a git work tree of the deployment's files

	// PeakRate is the highest rate to be expected, in events a second, and Outage
	// the longest time for which the meter may be away: what is admitted meanwhile
	// must fit.
	PeakRate float64
	Outage   time.Duration

	objects once[*cluster.Objects] // see Objects

	waits struct{ count, objective, settle time.Duration } // 0 for the real ones; tests have less time
}

// Program is one running program of the deployment.
type Program struct {
	Name string // of its pod
	URL  string // base URL, reached by HTTP; empty while it has none
}

// once reads what several checks share the first time that one asks. The context of
// the first is the one that counts, so that a read has a bound of its own.
type once[T any] struct {
	sync.Once
	value T
	err   error
}

func (o *once[T]) get(ctx context.Context, limit time.Duration, read func(context.Context) (T, error)) (T, error) {
	o.Do(func() {
		// Not cancelled with the first check, whose deadline is not the others'.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		o.value, o.err = read(ctx)
	})
	return o.value, o.err
}

// All is every check by its item's id. Each area's file adds its own.
func All(s *System) map[string]checklist.Check {
	out := map[string]checklist.Check{}
	for _, area := range []map[string]checklist.Check{
		servers(s),
		traffic(s),
		manifests(s),
		observability(s),
	} {
		for id, check := range area {
			out[id] = check
		}
	}
	return out
}
