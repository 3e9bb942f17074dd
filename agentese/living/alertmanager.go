package living

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Told is an alert as Alertmanager has it.
type Told struct {
	Labels   map[string]string `json:"labels"`
	StartsAt time.Time         `json:"startsAt"`
	Status   struct {
		State       string   `json:"state"` // active, suppressed or unprocessed
		SilencedBy  []string `json:"silencedBy"`
		InhibitedBy []string `json:"inhibitedBy"`
	} `json:"status"`
	Receivers []struct {
		Name string `json:"name"`
	} `json:"receivers"`
}

// Silence is one of Alertmanager's.
type Silence struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []Matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    *struct {
		State string `json:"state"` // active, pending or expired
	} `json:"status,omitempty"`
}

// Matcher says which alerts a silence is for.
type Matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

// Told are the alerts that Alertmanager has, of this deployment.
func (s *Sources) Told(ctx context.Context) ([]Told, error) {
	var all []Told
	if err := s.alertmanager(ctx, http.MethodGet, "alerts", nil, &all); err != nil {
		return nil, err
	}
	out := all[:0]
	for _, a := range all {
		if s.ours(a.Labels) {
			out = append(out, a)
		}
	}
	return out, nil
}

// Silences are those that Alertmanager has for alerts of a name, expired ones left out.
func (s *Sources) Silences(ctx context.Context, alert string) ([]Silence, error) {
	var all []Silence
	if err := s.alertmanager(ctx, http.MethodGet, "silences?filter="+url.QueryEscape("alertname="+quoteLabel(alert)), nil, &all); err != nil {
		return nil, err
	}
	out := all[:0]
	for _, one := range all {
		if one.Status == nil || one.Status.State != "expired" {
			out = append(out, one)
		}
	}
	return out, nil
}

// Silence has Alertmanager tell nobody of an alert of this deployment until a time, and
// gives the silence's id.
func (s *Sources) Silence(ctx context.Context, alert string, from, until time.Time, by, comment string) (string, error) {
	silence := Silence{StartsAt: from.UTC(), EndsAt: until.UTC(), CreatedBy: by, Comment: comment,
		Matchers: []Matcher{{Name: "alertname", Value: alert, IsEqual: true}}}
	if s.Namespace != "" {
		silence.Matchers = append(silence.Matchers, Matcher{Name: "namespace", Value: s.Namespace, IsEqual: true})
	}
	var made struct {
		ID string `json:"silenceID"`
	}
	err := s.alertmanager(ctx, http.MethodPost, "silences", silence, &made)
	return made.ID, err
}

// Unsilence ends a silence.
func (s *Sources) Unsilence(ctx context.Context, id string) error {
	return s.alertmanager(ctx, http.MethodDelete, "silence/"+url.PathEscape(id), nil, nil)
}

// alertmanager asks its API, version 2.
func (s *Sources) alertmanager(ctx context.Context, method, path string, send, into any) error {
	const what = "Alertmanager"
	if s.AlertmanagerURL == "" {
		return Absent(what, "set ALERTMANAGER_URL to its address")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var body io.Reader
	if send != nil {
		b, err := json.Marshal(send)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(s.AlertmanagerURL, "/")+"/api/v2/"+path, body)
	if err != nil {
		return Away(what, fmt.Errorf("ALERTMANAGER_URL is no address"))
	}
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.web().Do(req)
	if err != nil {
		return Away(what, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return Away(what, err)
	case resp.StatusCode != http.StatusOK:
		return Away(what, fmt.Errorf("it answered %d %s", resp.StatusCode, b[:min(len(b), 200)]))
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return Away(what, fmt.Errorf("what it answered can't be read"))
	}
	return nil
}
