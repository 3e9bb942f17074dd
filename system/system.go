// Package system is what a running program says of itself and of the servers that it
// uses, as `GET /api/v1/system` answers it: for people who look inside, and for
// `kgents checklist`, which can't reach the servers of `kgents up` in any other way.
//
// A report holds no secret, no event and nothing of a customer. It is what the
// program has seen within the last seconds. What it doesn't know, because a
// dependency is away or because its user may not ask, is absent, never zero.
package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/kgents/kgents/stream"
)

// Path is the route, which wants an API key. The roles up, api and sink have it.
const Path = "/api/v1/system"

// Report is the answer.
type Report struct {
	Version  string    `json:"version"`
	Revision string    `json:"revision"` // commit, "unknown" when not built from a checkout
	Role     string    `json:"role"`
	Started  time.Time `json:"started"`
	Now      time.Time `json:"now"` // by the program's clock, when it answered

	NATS           NATS            `json:"nats"`
	Identities     Identities      `json:"identities"`
	Meter          Meter           `json:"meter"`
	Disk           *Disk           `json:"disk,omitempty"`         // of the data directory; up only
	Spool          *Spool          `json:"spool,omitempty"`        // absent without one
	DeadLetters    *DeadLetters    `json:"dead_letters,omitempty"` // absent while the servers don't say
	Backup         *Backup         `json:"backup,omitempty"`       // absent while the servers don't say
	Reconciliation *Reconciliation `json:"reconciliation,omitempty"`
	Limits         Limits          `json:"limits"`
}

// NATS is what is known of the servers and of the streams.
type NATS struct {
	Embedded  bool            `json:"embedded"` // the server is within the process and has no port
	Connected bool            `json:"connected"`
	Circuit   string          `json:"circuit,omitempty"` // closed, open or half_open; of a role that publishes
	Servers   []stream.Server `json:"servers"`           // the embedded one, or the one that the program is connected to
	Streams   []stream.Info   `json:"streams"`           // of events and of dead letters

	// StoreLimit is what all streams together may have on disk, by the embedded
	// server or by the account's limits. Absent without a limit.
	StoreLimit int64 `json:"store_limit_bytes,omitempty"`

	Backlog *Backlog `json:"backlog,omitempty"`

	// BytesPerEvent is what an event has taken on disk, of one copy, over the newest
	// messages. Absent while there is none.
	BytesPerEvent float64 `json:"bytes_per_event,omitempty"`
}

// Backlog is what is durable and isn't metered yet.
type Backlog struct {
	Messages    int64   `json:"messages"`
	OldestAge   float64 `json:"oldest_age_seconds"`
	Redelivered int     `json:"redelivered"` // messages that were delivered more than once and are not finished
	Sink        bool    `json:"sink"`        // there was a sink once
}

// The stores of identities.
const (
	StoreMemory   = "memory"
	StoreRedis    = "redis"
	StoreFallback = "fallback" // memory until Redis is back
)

// Identities is where an event's having been seen is kept.
type Identities struct {
	Store string `json:"store,omitempty"` // StoreMemory, StoreRedis or StoreFallback; empty for a sink
	Redis *Redis `json:"redis,omitempty"` // absent without Redis, while it is away, and for a user that may not use INFO
}

// Redis is what it says of itself.
type Redis struct {
	Policy      string `json:"maxmemory_policy"`
	UsedBytes   int64  `json:"used_bytes"`
	MaxBytes    int64  `json:"max_bytes"` // 0 without a bound
	EvictedKeys int64  `json:"evicted_keys"`
	AppendOnly  bool   `json:"aof_enabled"`
	LastWriteOK bool   `json:"aof_last_write_ok"`
}

// Meter is where events are counted.
type Meter struct {
	Embedded bool   `json:"embedded"`
	Host     string `json:"host"` // with the port, of one elsewhere
	Answers  bool   `json:"answers"`
}

// Disk is the filesystem of the data directory.
type Disk struct {
	Free  int64 `json:"free_bytes"` // for the program's user
	Total int64 `json:"total_bytes"`
}

// Spool is the local disk where events wait while NATS is away.
type Spool struct {
	Limit     int64   `json:"limit_bytes"`
	Bytes     int64   `json:"bytes"`
	Events    int     `json:"events"`
	OldestAge float64 `json:"oldest_age_seconds"`
}

// DeadLetters are the refused events that were neither replayed nor dropped.
type DeadLetters struct {
	Waiting uint64    `json:"waiting"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Newest  time.Time `json:"newest,omitzero"`
}

// Backup is what the servers have noted of backups. A zero time is none.
type Backup struct {
	Last  time.Time `json:"last,omitzero"` // the moment that the newest holds
	Drill *Drill    `json:"drill,omitempty"`
}

// Drill is the last restore into a scratch server.
type Drill struct {
	At       time.Time `json:"at"`
	Backup   string    `json:"backup"` // its name
	Messages uint64    `json:"messages"`
	Events   uint64    `json:"events"`
	Took     float64   `json:"took_seconds"`
}

// Reconciliation is what the last complete run of any replica has found. It is known
// to the roles with a sink.
type Reconciliation struct {
	Interval float64   `json:"interval_seconds"` // 0: none is scheduled
	Last     time.Time `json:"last,omitzero"`    // when it ended; absent before the first
	Missing  *int64    `json:"missing_events,omitempty"`
}

// Limits are rates that the program keeps or enforces; 0 is no limit.
type Limits struct {
	APIPerSecond int `json:"api_requests_per_second"` // of one API key, at each replica
	APIBurst     int `json:"api_burst"`

	OpenMeterPerSecond float64 `json:"openmeter_requests_per_second"` // of this process
	OpenMeterBurst     int     `json:"openmeter_burst"`
}

// maxReport bounds what is read as a report.
const maxReport = 1 << 20

// ErrOld is the error for a program without the route.
var ErrOld = errors.New("the program at this address does not know " + Path + ": it is older than this one, or it is the meter")

// Read asks the program at a base URL. The key is never part of the error.
func Read(ctx context.Context, client *http.Client, url, key string) (r Report, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+Path, nil)
	if err != nil {
		return r, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return r, ErrOld
	case http.StatusUnauthorized:
		return r, errors.New("the program refuses the API key: set API_KEYS or API_KEYS_FILE to one that it knows")
	default:
		return r, fmt.Errorf("%s answered %s", Path, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReport)).Decode(&r); err != nil || r.Role == "" {
		return r, fmt.Errorf("%s did not answer with a report: is this the address of kgents?", Path)
	}
	return r, nil
}
