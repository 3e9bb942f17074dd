package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/api"
)

// maxListed is the most alerts in an answer.
const maxListed = 1000

// AlertView is an Alert as it is shown.
type AlertView struct {
	ID          string     `json:"id" doc:"Its webhook-id" example:"alert:acme:1764547200:tokens:80"`
	Customer    string     `json:"customer" example:"acme"`
	Plan        string     `json:"plan" doc:"Id of the plan then" example:"free"`
	Feature     string     `json:"feature" example:"tokens"`
	Percent     int        `json:"percent" doc:"Of the limit" example:"80"`
	Crossed     []int      `json:"crossed" doc:"Percents that it tells of" nullable:"false"`
	Used        int64      `json:"used"`
	Limit       api.Limit  `json:"limit"`
	PeriodStart time.Time  `json:"period_start"`
	PeriodEnd   time.Time  `json:"period_end"`
	At          time.Time  `json:"at" doc:"When it was noticed"`
	State       State      `json:"state" enum:"pending,delivered,dead,merged" doc:"Merged: a higher percent was told at once with it"`
	Attempts    int        `json:"attempts" doc:"Tries since it was recorded or replayed"`
	Next        *time.Time `json:"next,omitempty" doc:"When it is tried next"`
	Done        *time.Time `json:"done,omitempty" doc:"When it was delivered or given up"`
	LastStatus  int        `json:"last_status,omitempty" doc:"The receiver's last answer"`
	LastError   string     `json:"last_error,omitempty" doc:"Why the last try failed"`
}

func viewOf(a Alert) AlertView {
	v := AlertView{
		ID: a.ID, Customer: a.Customer, Plan: a.Plan, Feature: a.Feature, Percent: a.Percent, Crossed: append([]int{}, a.Crossed...), Used: a.Used,
		Limit: api.Limit{Limit: a.Limit}, PeriodStart: a.PeriodStart, PeriodEnd: a.PeriodEnd, At: a.At,
		State: a.State, Attempts: a.Attempts, LastStatus: a.Status, LastError: a.Error,
	}
	if !a.Next.IsZero() {
		v.Next = &a.Next
	}
	if !a.Done.IsZero() {
		v.Done = &a.Done
	}
	return v
}

// List returns alerts, the newest first, at most limit of those with the state and the
// customer, each of which may be empty. More says that there are others.
func (s *Service) List(ctx context.Context, state State, customer string, limit int) (list []Alert, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	kv, err := s.bucket(ctx)
	if err == nil {
		err = each(ctx, kv, 1, func(e jetstream.KeyValueEntry) {
			a, err := readAlert(e.Key(), e.Value())
			if err != nil || e.Operation() != jetstream.KeyValuePut || state != "" && a.State != state || customer != "" && a.Customer != customer {
				return
			}
			list = append(list, a)
		})
	}
	if err != nil {
		return nil, false, s.away(err)
	}
	slices.SortFunc(list, func(a, b Alert) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(a.ID, b.ID)) })
	if len(list) > limit {
		return list[:limit], true, nil
	}
	return list, false, nil
}

// Replay has an alert sent again, now and by the whole schedule, under its old id. It is
// CodeNotFound for one that isn't there, and CodeConflict for one that is being sent, or
// was merged into another.
func (s *Service) Replay(ctx context.Context, id string) (Alert, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if s.c.URL == "" {
		return Alert{}, kgents.Errorf(kgents.CodeMisconfig, "USAGE_ALERT_URL is not set: there is nobody to tell")
	}
	key, ok := keyOf(id)
	if !ok {
		return Alert{}, kgents.Errorf(kgents.CodeNotFound, "there is no alert %.80q", id)
	}
	kv, err := s.bucket(ctx)
	if err != nil {
		return Alert{}, s.away(err)
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Alert{}, kgents.Errorf(kgents.CodeNotFound, "there is no alert %.80q", id)
	}
	if err != nil {
		return Alert{}, s.away(err)
	}
	a, err := readAlert(key, entry.Value())
	if err != nil {
		return Alert{}, err
	}
	switch {
	case a.State == Merged:
		return Alert{}, kgents.Errorf(kgents.CodeConflict, "this alert was told with a higher percent: replay that one")
	case a.State == Pending && a.Attempts == 0:
		return a, nil // it is about to be sent
	case a.State == Pending && a.Status == 0 && a.Error == "" && s.now().Before(a.Next):
		return Alert{}, kgents.Errorf(kgents.CodeConflict, "this alert is being sent: look again in a minute")
	}
	a.State, a.Attempts, a.Next, a.Done, a.Status, a.Error = Pending, 0, s.now().UTC(), time.Time{}, 0, ""
	value, err := json.Marshal(a)
	if err != nil {
		return Alert{}, err
	}
	_, err = kv.Update(ctx, key, value, entry.Revision())
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return Alert{}, kgents.Errorf(kgents.CodeConflict, "this alert has changed just now: look again")
	}
	if err != nil {
		return Alert{}, s.away(err)
	}
	return a, nil
}

func (s *Service) away(err error) error {
	s.kv.Store(nil)
	return kgents.Unavailable(2*time.Second, "NATS does not answer: the alerts can't be read now", err)
}

// AlertsIn are the parameters of GET /v1/alerts.
type AlertsIn struct {
	State    State  `query:"state" enum:"pending,delivered,dead,merged" doc:"Only those in this state"`
	Customer string `query:"customer" maxLength:"63" doc:"Only this customer's"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many at most"`
}

// AlertsOut is its answer.
type AlertsOut struct {
	Body struct {
		Alerts []AlertView `json:"alerts" nullable:"false"`
		More   bool        `json:"more" doc:"Whether there are others"`
	}
}

// ReplayAlertIn names an alert.
type ReplayAlertIn struct {
	ID string `path:"id" maxLength:"200" doc:"Its webhook-id"`
}

// ReplayAlertOut is the alert as it is now.
type ReplayAlertOut struct{ Body AlertView }

// Register adds the routes.
func (s *Service) Register(a *api.API) {
	api.Handle(a, api.Route{
		Method: http.MethodGet, Path: "/v1/alerts", Scope: kgents.ScopeRead, Tag: "Plans", ID: "list-alerts", OperatorOnly: true,
		Summary: "Usage alerts, the newest first",
		Detail:  "What USAGE_ALERT_URL was told or is about to be told: that a customer has reached a percent of a limit.",
	}, func(ctx context.Context, _ kgents.Principal, in *AlertsIn) (*AlertsOut, error) {
		list, more, err := s.List(ctx, in.State, in.Customer, min(max(1, in.Limit), maxListed))
		if err != nil {
			return nil, err
		}
		out := &AlertsOut{}
		out.Body.Alerts, out.Body.More = []AlertView{}, more
		for _, a := range list {
			out.Body.Alerts = append(out.Body.Alerts, viewOf(a))
		}
		return out, nil
	})
	api.Handle(a, api.Route{
		Method: http.MethodPost, Path: "/v1/alerts/{id}/replay", Scope: kgents.ScopeAdmin, Tag: "Plans", ID: "replay-alert", OperatorOnly: true,
		Summary: "Send a usage alert again", Detail: "Now, and by the whole schedule if it isn't taken, under the same webhook-id.",
	}, func(ctx context.Context, _ kgents.Principal, in *ReplayAlertIn) (*ReplayAlertOut, error) {
		alert, err := s.Replay(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &ReplayAlertOut{viewOf(alert)}, nil
	})
}
