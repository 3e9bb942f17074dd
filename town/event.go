package town

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/kgents/kgents"
)

// MaxStepEvents bounds the events of one step: what is done in a phase, and one
// event each for waking, moving and resting.
const MaxStepEvents = MaxOperations + 3

// Source is the source of the usage events of every town, and TypeInteraction and
// TypeTokens are their types. The source has no dash, as OpenMeter joins source and
// id with one to tell events apart.
const (
	Source          = kgents.SourceTown
	TypeInteraction = "town.interaction"
	TypeTokens      = "agent.tokens"
)

// ModelRules is the model of what was decided by rules.
const ModelRules = "rules"

// Event is one thing that happened in a town, or failed to.
type Event struct {
	// ID is <town>.<birth>.<seq>. No other event of any town has it: birth tells
	// towns apart that have had the same name one after the other.
	ID string `json:"id"`

	// Seq counts the town's events from 1 without a gap.
	Seq uint64 `json:"seq"`

	Town      string `json:"town"`
	Day       int    `json:"day"` // of the town's calendar, from 1
	Phase     string `json:"phase"`
	Operation string `json:"operation"`

	// Region is where it happened; empty for waking, moving and resting, which are
	// one event for everybody.
	Region string `json:"region,omitempty"`

	Participants []string `json:"participants"`
	Success      bool     `json:"success"`
	Message      string   `json:"message"`

	// Time is the real time of the step, in UTC: usage is billed at it.
	Time time.Time `json:"time"`

	// Tokens is what the event cost, 0 if it didn't succeed.
	Tokens int64   `json:"tokens"`
	Drama  float64 `json:"drama"`

	// Metadata says more: of a move, where everybody went; of a decision, why it
	// was made by rules although a model was there.
	Metadata map[string]string `json:"metadata,omitempty"`

	// Shares split Tokens over the participants.
	Shares []Share `json:"shares,omitempty"`

	// LatencyMS is how long the model took to decide, in ms.
	LatencyMS int64 `json:"latency_ms,omitempty"`

	// Limited says that the Gate refused: Message tells why.
	Limited bool `json:"limited,omitempty"`
}

// Share is what one citizen's part in an event cost. In and Out are tokens.
type Share struct {
	Citizen string `json:"citizen"`
	Model   string `json:"model"` // ModelRules, or the name of the language model
	In      int64  `json:"tokens_in"`
	Out     int64  `json:"tokens_out"`
}

// Usage returns the usage events of e for customer, which must be a valid subject:
// one TypeInteraction and, for each share, one TypeTokens, whose tokens sum up to
// the first one's. Their ids are e.ID, and e.ID with the share's number, so that
// making them again makes the same events. What cost nothing has no usage.
func (e Event) Usage(customer string) []kgents.Event {
	if !e.Success || e.Tokens == 0 {
		return nil
	}
	out := make([]kgents.Event, 0, 1+len(e.Shares))
	out = append(out, e.usage(customer, e.ID, TypeInteraction, interactionData{
		Town: e.Town, Day: e.Day, Phase: e.Phase, Operation: e.Operation, Participants: e.Participants,
		Tokens: e.Tokens, Success: e.Success, LatencyMS: e.LatencyMS,
	}))
	for i, s := range e.Shares {
		out = append(out, e.usage(customer, e.ID+"."+strconv.Itoa(i), TypeTokens, tokensData{
			Town: e.Town, Citizen: idOf(s.Citizen), Agent: s.Citizen, Model: s.Model, Operation: e.Operation,
			Tokens: s.In + s.Out, In: s.In, Out: s.Out, LatencyMS: e.LatencyMS,
		}))
	}
	return out
}

type interactionData struct {
	Town         string   `json:"town"`
	Day          int      `json:"day"`
	Phase        string   `json:"phase"`
	Operation    string   `json:"operation"`
	Participants []string `json:"participants"`
	Tokens       int64    `json:"tokens"`
	Success      bool     `json:"success"`
	LatencyMS    int64    `json:"latency_ms"`
}

type tokensData struct {
	Town      string `json:"town"`
	Citizen   string `json:"citizen"`
	Agent     string `json:"agent"`
	Model     string `json:"model"`
	Operation string `json:"operation"`
	Tokens    int64  `json:"tokens"`
	In        int64  `json:"tokens_in"`
	Out       int64  `json:"tokens_out"`
	LatencyMS int64  `json:"latency_ms"`
}

func (e Event) usage(customer, id, typ string, data any) kgents.Event {
	d := must(json.Marshal(data))
	raw := must(json.Marshal(struct {
		Spec    string          `json:"specversion"`
		ID      string          `json:"id"`
		Source  string          `json:"source"`
		Type    string          `json:"type"`
		Subject string          `json:"subject"`
		Time    string          `json:"time"`
		Data    json.RawMessage `json:"data"`
	}{"1.0", id, Source, typ, customer, e.Time.Format(time.RFC3339Nano), d}))
	return kgents.Event{
		Source: Source, ID: id, Type: typ, Subject: customer, Time: e.Time,
		Raw: raw, Data: raw[len(raw)-1-len(d) : len(raw)-1 : len(raw)-1], // data is the last member
	}
}

// must is for what can't fail: marshalling structs of strings and numbers.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("town: %v", err))
	}
	return v
}
