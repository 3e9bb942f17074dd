// Package meter is a small client of OpenMeter's HTTP API: ingest, query, list.
//
// It promises that an error says whether the same request can succeed later
// (Classify), that the API key is in no error, and that what it reads of an
// answer is bounded. It never follows a redirect, which would hand the key to
// another address. When the meter is away every call fails with class Retry
// within the client's time-out; waiting is the caller's business.
//
// What waits here is a request that would break a limit: the client's own rate
// (Client.Limit), or what the meter's answers ask for. Such a wait ends with the
// request's context, and the metric and the log tell of it.
package meter

import (
	"encoding/json"
	"time"
)

// Aggregation is how a meter makes one value of many events.
type Aggregation string

// The aggregations that OpenMeter knows.
const (
	Sum         Aggregation = "SUM"
	Count       Aggregation = "COUNT"
	UniqueCount Aggregation = "UNIQUE_COUNT"
	Avg         Aggregation = "AVG"
	Min         Aggregation = "MIN"
	Max         Aggregation = "MAX"
	Latest      Aggregation = "LATEST"
)

// Meter is a definition of what is counted, as OpenMeter's API shows it.
type Meter struct {
	ID            string            `json:"id,omitempty"`
	Slug          string            `json:"slug"`
	Name          string            `json:"name,omitempty"`
	Description   string            `json:"description,omitempty"`
	EventType     string            `json:"eventType"`
	Aggregation   Aggregation       `json:"aggregation"`
	ValueProperty string            `json:"valueProperty,omitempty"` // JSONPath; not for COUNT
	GroupBy       map[string]string `json:"groupBy,omitempty"`       // name to JSONPath
	EventFrom     *time.Time        `json:"eventFrom,omitempty"`     // earlier events don't count
	CreatedAt     time.Time         `json:"createdAt,omitzero"`
	UpdatedAt     time.Time         `json:"updatedAt,omitzero"`
}

// Window sizes of a query.
const (
	Minute = "MINUTE"
	Hour   = "HOUR"
	Day    = "DAY"
	Month  = "MONTH"
)

// Query asks for a meter's values. Zero fields don't restrict.
type Query struct {
	Meter         string // slug or id
	From, To      time.Time
	WindowSize    string // MINUTE, HOUR, DAY or MONTH; empty for one window over all
	TimeZone      string // IANA name in which windows begin; empty = UTC
	Subjects      []string
	FilterGroupBy map[string][]string
	GroupBy       []string // `subject` or a name of the meter's group-bys
}

// Result is the answer to a Query.
type Result struct {
	From       *time.Time `json:"from,omitempty"`
	To         *time.Time `json:"to,omitempty"`
	WindowSize string     `json:"windowSize,omitempty"`
	Data       []Row      `json:"data"`
}

// Row is one value. Subject is nil unless grouped by it.
type Row struct {
	Value       float64            `json:"value"`
	WindowStart time.Time          `json:"windowStart"`
	WindowEnd   time.Time          `json:"windowEnd"`
	Subject     *string            `json:"subject"`
	GroupBy     map[string]*string `json:"groupBy"`
}

// EventFilter selects stored events. Zero fields don't restrict.
type EventFilter struct {
	ID       string // part of an id
	Subject  string
	From, To time.Time
	Limit    int // 1 to 100; 0 = 100
}

// StoredEvent is an event as the meter holds it.
type StoredEvent struct {
	Event           json.RawMessage `json:"event"`
	IngestedAt      time.Time       `json:"ingestedAt"`
	StoredAt        time.Time       `json:"storedAt"`
	ValidationError string          `json:"validationError,omitempty"` // why no meter counts it
}
