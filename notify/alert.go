package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents"
)

// State is what has become of an alert.
type State string

// The states. Merged is of a percent that a higher one was told with.
const (
	Pending   State = "pending"
	Delivered State = "delivered"
	Dead      State = "dead"
	Merged    State = "merged"
)

// Alert is one, as the bucket has it.
type Alert struct {
	ID          string       `json:"id"` // webhook-id
	Customer    string       `json:"customer"`
	Plan        string       `json:"plan"`
	Feature     string       `json:"feature"`
	Name        string       `json:"name"`
	Unit        string       `json:"unit"`
	Percent     int          `json:"percent"`
	Crossed     []int        `json:"crossed"` // percents that this one tells of, ascending
	Used        int64        `json:"used"`
	Limit       kgents.Limit `json:"limit"`
	Over        kgents.Over  `json:"over"`
	PeriodStart time.Time    `json:"period_start"`
	PeriodEnd   time.Time    `json:"period_end"`
	At          time.Time    `json:"at"` // when it was noticed

	State    State     `json:"state"`
	Attempts int       `json:"attempts"`             // since it was recorded or replayed
	Next     time.Time `json:"next,omitzero"`        // of a pending one: not before; while it is being sent: until when nobody else does
	Done     time.Time `json:"done,omitzero"`        // when it was delivered or died
	Status   int       `json:"last_status,omitzero"` // of the last answer; 0 without one
	Error    string    `json:"last_error,omitempty"` // why the last try failed
}

const (
	keyPrefix = "alert."
	allAlerts = keyPrefix + ">"
)

// key names it in the bucket, and so makes it one.
func (a Alert) key() string {
	return keyPrefix + a.Customer + "." + strconv.FormatInt(a.PeriodStart.Unix(), 10) + "." + a.Feature + "." + strconv.Itoa(a.Percent)
}

// idOf is the webhook-id of the alert under key. It has no full stop, as the
// specification asks, and stays the same however often the alert is sent.
func idOf(key string) string { return strings.ReplaceAll(key, ".", ":") }

// keyOf is the reverse. It is false for what is no id.
func keyOf(id string) (string, bool) {
	parts := strings.Split(id, ":")
	if len(parts) != 5 || parts[0]+"." != keyPrefix || strings.ContainsAny(id, ".*> \t\r\n") || len(id) > 200 {
		return "", false
	}
	for _, p := range parts {
		if p == "" {
			return "", false
		}
	}
	return strings.Join(parts, "."), true
}

var errAlert = errors.New("it is no alert")

func readAlert(key string, value []byte) (Alert, error) {
	var a Alert
	if err := json.Unmarshal(value, &a); err != nil || a.key() != key || a.ID == "" {
		return Alert{}, fmt.Errorf("key %s: %w", key, errAlert)
	}
	return a, nil
}

// Type is the type of the one message that is sent.
const Type = "usage.threshold_reached"

// Message is the body of the webhook.
type Message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Data is what it tells.
type Data struct {
	Customer    string       `json:"customer"`
	Plan        string       `json:"plan"`
	Feature     string       `json:"feature"`
	Name        string       `json:"feature_name"`
	Unit        string       `json:"unit"`
	Percent     int          `json:"percent"` // the highest that is reached
	Crossed     []int        `json:"crossed"` // those that were reached since the last message
	Used        int64        `json:"used"`
	Limit       kgents.Limit `json:"limit"`
	Over        kgents.Over  `json:"over"` // what happens past the limit: refuse or bill
	PeriodStart time.Time    `json:"period_start"`
	PeriodEnd   time.Time    `json:"period_end"`
}

// payload is the same for every try.
func (a Alert) payload() ([]byte, error) {
	return json.Marshal(Message{Type: Type, Timestamp: a.At.UTC(), Data: Data{
		Customer: a.Customer, Plan: a.Plan, Feature: a.Feature, Name: a.Name, Unit: a.Unit, Percent: a.Percent, Crossed: a.Crossed,
		Used: a.Used, Limit: a.Limit, Over: a.Over, PeriodStart: a.PeriodStart.UTC(), PeriodEnd: a.PeriodEnd.UTC(),
	}})
}
