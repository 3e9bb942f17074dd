package repl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/api/client"
)

// pollEvery is how often the system's health and its alerts are asked for in the
// background, pollTimeout how long that may take.
const (
	pollEvery   = 10 * time.Second
	pollTimeout = 5 * time.Second
)

// The words of the prompt. ok, degraded and error are the system's own.
const (
	stateAsking = "…"
	stateAway   = "away"
)

// health is how the system was when it was last asked.
type health struct {
	asked  bool
	state  string
	parts  map[string]string // by name, what its status is: nats -> circuit_open
	alerts map[string]string // that fire, by name: what to say of each
	known  bool              // alerts could be asked for
}

// note is something to tell above the prompt.
type note struct {
	state tree.State
	text  string
}

// look asks for the system's health, and for the alerts where somebody knows them.
func (s *Shell) look(ctx context.Context) health {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	h := health{asked: true, state: stateAway, parts: map[string]string{}}
	api := s.o.Sources.API
	if api == nil {
		h.state = ""
		return h
	}
	b, err := api.Bytes(ctx, "GET", "/health/saas", nil, nil)
	var answer map[string]json.RawMessage
	switch {
	case err != nil && client.Status(err) == 0:
		return h
	case json.Unmarshal(b, &answer) != nil:
		h.state = string(tree.Unknown)
		return h
	}
	h.state = string(tree.Unknown)
	for name, raw := range answer {
		var part struct{ Status string }
		switch {
		case name == "status":
			var word string
			if json.Unmarshal(raw, &word) == nil && slices.Contains([]string{"ok", "degraded", "error"}, word) {
				h.state = word
			}
		case json.Unmarshal(raw, &part) == nil && part.Status != "":
			h.parts[name] = printable(part.Status)
		}
	}
	h.alerts, h.known = s.firing(ctx)
	return h
}

// firing are the alerts that fire now, where Prometheus is there to ask.
func (s *Shell) firing(ctx context.Context) (map[string]string, bool) {
	if s.o.Sources.PrometheusURL == "" {
		return nil, false
	}
	session := &tree.Session{Observer: tree.Default, Budget: tree.NewBudget(), Clock: s.o.Now}
	v, err := s.tree.Run(ctx, agentese.Expression{Steps: []agentese.Step{agentese.NewStep(agentese.Manifest, "world", "alerts")}}, session)
	if err != nil {
		return nil, false
	}
	out := map[string]string{}
	if v.Table == nil {
		return out, true
	}
	at := func(row []any, names ...string) string {
		for i, c := range v.Table.Columns {
			if slices.Contains(names, c.Name) && i < len(row) && row[i] != nil {
				return printable(fmt.Sprint(row[i]))
			}
		}
		return ""
	}
	for _, row := range v.Table.Rows {
		name := at(row, "alert", "name")
		if name == "" || strings.EqualFold(at(row, "state"), "pending") || strings.HasPrefix(strings.ToLower(at(row, "silenced")), "t") {
			continue
		}
		text := name
		if severity := at(row, "severity"); severity != "" {
			text += " (" + severity + ")"
		}
		if summary := at(row, "summary", "what", "description"); summary != "" {
			text += ": " + summary
		}
		out[name] = text
	}
	return out, true
}

// maxNotes is how many notes one look may give: more are counted.
const maxNotes = 5

// changed is what to tell when the system was so before, and is so now.
func changed(before, now health, url string) []note {
	var out []note
	switch {
	case now.state == stateAway && !before.asked:
		out = append(out, note{tree.Bad, "nothing answers at " + url + ": concept and self work here, the rest will as soon as it answers"})
	case now.state == stateAway && before.state != stateAway:
		out = append(out, note{tree.Bad, url + " doesn't answer any more"})
	case before.asked && before.state == stateAway && now.state != stateAway:
		out = append(out, note{stateOf(now.state), url + " answers: " + now.state})
	}
	if now.state == stateAway {
		return out
	}
	if !before.asked {
		before.parts = map[string]string{}
	}
	var parts []string
	for name := range now.parts {
		parts = append(parts, name)
	}
	slices.Sort(parts)
	for _, name := range parts {
		was, known := before.parts[name]
		is := now.parts[name]
		good := is == "healthy" || is == "ok" || is == "disabled"
		if was == is || !known && good || before.state == stateAway && good {
			continue
		}
		text := name + " is " + strings.ReplaceAll(is, "_", " ")
		if was != "" {
			text += ", was " + strings.ReplaceAll(was, "_", " ")
		}
		state := tree.Warn
		if good {
			state = tree.Well
		}
		out = append(out, note{state, text})
	}
	if now.known {
		var names []string
		for name := range now.alerts {
			if _, old := before.alerts[name]; !old || !before.known {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			out = append(out, note{tree.Bad, "alert " + now.alerts[name] + "   world.alerts." + agentese.QuoteName(name)})
		}
		names = names[:0]
		for name := range before.alerts {
			if _, still := now.alerts[name]; !still && before.known {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			out = append(out, note{tree.Well, "alert " + name + " fires no more"})
		}
	}
	if len(out) > maxNotes {
		more := len(out) - maxNotes + 1
		out = append(out[:maxNotes-1], note{tree.Warn, fmt.Sprintf("and %d more: world.manifest, world.alerts.manifest", more)})
	}
	return out
}

func stateOf(word string) tree.State {
	switch word {
	case "ok":
		return tree.Well
	case "degraded":
		return tree.Warn
	case "error", stateAway:
		return tree.Bad
	}
	return tree.Unknown
}

// keyTrouble is what to tell of an API key that opens nothing; empty where it opens
// something, or that can't be told now.
func (s *Shell) keyTrouble(ctx context.Context) string {
	api := s.o.Sources.API
	if api == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	_, err := api.Bytes(ctx, http.MethodGet, "/v1/entitlements", nil, nil)
	switch {
	case client.Status(err) != http.StatusUnauthorized:
		return ""
	case api.Key == "":
		return "there is no API key, and without one little is shown: name a file with one with --key-file, or set API_KEYS"
	default:
		return "the API key is not known to " + api.URL + ", and without one little is shown: name a file with another with --key-file, or set API_KEYS"
	}
}

// follow looks until ctx ends, and tells what has changed.
func (s *Shell) follow(ctx context.Context, tell func([]note)) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		now := s.look(ctx)
		if errors.Is(ctx.Err(), context.Canceled) {
			return
		}
		s.mu.Lock()
		before := s.health
		if !now.known && before.known && now.state != "" { // couldn't be asked this time
			now.alerts, now.known = before.alerts, true
		}
		s.health = now
		s.mu.Unlock()
		url := ""
		if s.o.Sources.API != nil {
			url = s.o.Sources.API.URL
		}
		notes := changed(before, now, url)
		if len(notes) > 0 || before.state != now.state {
			tell(notes)
		}
		if before.state == stateAway && now.state != stateAway {
			s.refresh(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mark colours text as a state asks.
func (s *Shell) mark(state tree.State, text string) string {
	switch state {
	case tree.Well:
		return s.style.Good(text)
	case tree.Warn:
		return s.style.Warn(text)
	case tree.Bad:
		return s.style.Bad(text)
	}
	return s.style.Faint(text)
}
