package alertmanagertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	slackPath  = "/services/T0/B0/secret"
	routingKey = "0123456789abcdef0123456789abcdef"
)

// Message is what a person gets.
type Message struct {
	To        string // "slack" or "pagerduty"
	At        time.Time
	Alert     string // its name
	Namespace string
	Severity  string // empty in Slack's words of an end
	Resolved  bool
	Title     string
	Text      string
	Links     map[string]string // text → URL
	Key       string            // by which PagerDuty knows that messages are about one thing
	Color     string            // of Slack
}

// Receiver answers as Slack's incoming webhooks and PagerDuty's Events API v2 do. A
// message that those would refuse fails the test.
type Receiver struct {
	t   testing.TB
	url string

	mu       sync.Mutex
	messages []Message
}

func newReceiver(t testing.TB) *Receiver {
	r := &Receiver{t: t}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *Receiver) slackURL() string     { return r.url + slackPath }
func (r *Receiver) pagerDutyURL() string { return r.url + "/v2/enqueue" }

// Messages returns what has come so far, in order.
func (r *Receiver) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Find returns the first message that is the one.
func (r *Receiver) Find(one func(Message) bool) (Message, bool) {
	for _, m := range r.Messages() {
		if one(m) {
			return m, true
		}
	}
	return Message{}, false
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	var m Message
	switch req.URL.Path {
	case slackPath:
		m, err = readSlack(body)
	case "/v2/enqueue":
		m, err = readPagerDuty(body)
	default:
		err = fmt.Errorf("nobody is at %s", req.URL.Path)
	}
	if err != nil {
		r.t.Errorf("a message that would be refused: %v\n%s", err, body)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	m.At = time.Now()
	r.mu.Lock()
	r.messages = append(r.messages, m)
	r.mu.Unlock()
	if m.To == "pagerduty" {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	_, _ = io.WriteString(w, "ok")
}

func readSlack(body []byte) (Message, error) {
	var in struct {
		Channel, Username string
		Attachments       []struct {
			Title, Text, Fallback, Color, Footer string
			TitleLink                            string   `json:"title_link"`
			Markdown                             []string `json:"mrkdwn_in"`
			Callback                             string   `json:"callback_id"`
		}
	}
	if err := strict(body, &in); err != nil {
		return Message{}, err
	}
	if len(in.Attachments) != 1 {
		return Message{}, fmt.Errorf("%d attachments", len(in.Attachments))
	}
	a := in.Attachments[0]
	m := Message{To: "slack", Title: a.Title, Text: a.Text, Color: a.Color, Links: map[string]string{"title": a.TitleLink}}
	state, rest, ok := strings.Cut(a.Title, ": ")
	if !ok || a.Text == "" || a.Fallback == "" || a.TitleLink == "" {
		return m, fmt.Errorf("something is empty")
	}
	m.Resolved = state == "RESOLVED"
	if !m.Resolved {
		m.Severity = strings.ToLower(state)
	}
	rest, _, _ = strings.Cut(rest, " (")
	m.Alert, m.Namespace, _ = strings.Cut(rest, " in ")
	for _, link := range strings.Split(a.Text, "<")[1:] {
		inside, _, closed := strings.Cut(link, ">")
		url, text, named := strings.Cut(inside, "|")
		if !closed || !named || !strings.HasPrefix(url, "http") {
			return m, fmt.Errorf("what Slack takes for a link is none: <%s", link)
		}
		m.Links[text] = url
	}
	return m, nil
}

func readPagerDuty(body []byte) (Message, error) {
	var in struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		Key        string `json:"dedup_key"`
		Client     string `json:"client"`
		ClientURL  string `json:"client_url"`
		Payload    struct {
			Summary, Source, Severity, Timestamp, Class, Component, Group string
			Details                                                       map[string]string `json:"custom_details"`
		}
		Images []any
		Links  []struct{ HRef, Text string }
	}
	if err := strict(body, &in); err != nil {
		return Message{}, err
	}
	p := in.Payload
	m := Message{To: "pagerduty", Title: p.Summary, Text: p.Details["firing"] + p.Details["resolved"], Alert: p.Class, Namespace: p.Group,
		Resolved: in.Action == "resolve", Severity: p.Severity, Key: in.Key, Links: map[string]string{}}
	for _, l := range in.Links {
		if l.HRef != "" && !strings.HasPrefix(l.HRef, "http") {
			return m, fmt.Errorf("no link: %q", l.HRef)
		}
		m.Links[l.Text] = l.HRef
	}
	switch {
	case in.RoutingKey != routingKey:
		return m, fmt.Errorf("the routing key is %q", in.RoutingKey)
	case in.Action != "trigger" && in.Action != "resolve":
		return m, fmt.Errorf("the action is %q", in.Action)
	case in.Key == "":
		return m, fmt.Errorf("no key")
	case p.Summary == "" || len(p.Summary) > 1024 || p.Source == "":
		return m, fmt.Errorf("the summary is empty or too long, or the source is empty")
	case !slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity):
		return m, fmt.Errorf("the severity is %q", p.Severity)
	}
	return m, nil
}

func strict(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
