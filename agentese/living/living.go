// Package living is where the nodes of the tree get what they show: the API of the
// running program, and, where they are configured, Prometheus, Alertmanager and
// Kubernetes.
//
// It promises to hold no secret longer than a request needs it and to put none into
// an error. Each source may be away or absent; Away makes of that an error that says
// what to do, and the other sources are not touched by it.
package living

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/mask"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/cluster"
)

// Sources are where it all comes from. API is always there.
type Sources struct {
	API *client.Client

	PrometheusURL   string // empty: not configured
	AlertmanagerURL string
	HTTP            *http.Client // for those two; nil: one without settings
	Namespace       string       // whose metrics and alerts are ours, where two deployments share them; empty: all

	// Cluster opens Kubernetes; nil, or cluster.ErrNone, when there is none. Its
	// client is kept and shared by who made the Sources.
	Cluster func() (*cluster.Client, error)

	// StateDir is where the shell keeps its notes, history and audit, of the user alone.
	StateDir string

	// SignOffs is the file with people's words for the checklist; empty: none is
	// known, and what a person has to look at is open.
	SignOffs string

	// Shell is the shell that runs this session; nil without one.
	Shell *Shell
}

// For is the API with the headers by which the program's audit names this step, without
// what looks like a secret in it.
func (s *Sources) For(c *tree.Call) *client.Client {
	api := *s.API
	api.Header = http.Header{"X-Kgents-Observer": {c.Observer.String()}, "X-Kgents-Expression": {header(mask.Secrets(c.Text))}}
	return &api
}

// header is text that may stand in a header, 300 bytes at most.
func header(text string) string {
	var b []byte
	for _, r := range text {
		if r < ' ' || r > '~' {
			r = '?'
		}
		if b = append(b, byte(r)); len(b) == 300 {
			break
		}
	}
	return string(b)
}

// Away makes an error of a source one of the language's, with what to do.
func Away(what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e
	}
	e := &agentese.Error{Kind: agentese.KindAway, What: what + " can't be asked", Why: err.Error(), Cause: err}
	switch status := client.Status(err); {
	case errors.Is(err, client.ErrPath): // the program was not asked, and is not away
		e.Kind, e.What = agentese.KindNotFound, what+" can't be asked for by that name"
	case status == http.StatusUnauthorized:
		e.Kind, e.What, e.Why = agentese.KindDenied, "the API key is not known there", "the program has answered 401"
		e.Try = []string{"set API_KEYS to one of its keys, or name a file with one with --key-file"}
	case status == http.StatusForbidden:
		e.Kind, e.What = agentese.KindDenied, "this API key may not ask for "+what
		e.Try = []string{"use an operator's key, or a path below your own customer"}
	case status == http.StatusNotFound:
		e.Kind, e.What = agentese.KindNotFound, what+" is not there"
	case status >= 400 && status < 500:
		e.Kind, e.What = agentese.KindFailed, what+fmt.Sprintf(" was refused with %d", status)
	}
	return e
}

// Absent is the error of a source that nobody has configured.
func Absent(what, how string) error {
	return &agentese.Error{Kind: agentese.KindAway, What: what + " is not configured", Try: []string{how}}
}
