// Package trace finds an event by its id in every place where it can be, and says how far
// it has come: received, in the stream, delivered to the meter, metered, or a dead letter.
//
// It promises that it changes nothing, and never says more than it has seen: what it could
// not ask is `unknown`, and an event that it didn't find is "not found" only together with
// how far it looked. Of an event it shows the type, the subject and times, never the data.
//
// It is bounded: the newest messages of the stream first, MaxMessages or MaxBytes of
// them, and MaxLetters dead letters, within Patience. Where the meter has the event, the
// stream is looked at also around the time at which the meter got it. When NATS is away
// the error has the code kgents.CodeUnavailable; when the meter is, its stage is unknown.
package trace

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/consume/deadletter"
	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/stream"
)

const (
	// MaxMessages and MaxBytes, of what is stored, bound what one question reads of the
	// stream, and MaxLetters what it reads of the dead letters.
	MaxMessages = 20_000
	MaxBytes    = 64 << 20
	MaxLetters  = 5_000

	// Patience bounds a question.
	Patience = 15 * time.Second

	// DefaultSince and MaxSince are how far back a question looks; the stream keeps 30 days.
	DefaultSince = 72 * time.Hour
	MaxSince     = 30 * 24 * time.Hour

	// maxEvents bounds the sources that one id is found with.
	maxEvents = 100

	// settle is how long after an event was stored the meter may not list it yet, though
	// it has taken it: OpenMeter writes some seconds after its 204.
	settle = time.Minute
)

// Name of a stage.
type Name string

// The stages, in the order of an event's way. A dead letter is where it ends instead of
// being metered.
const (
	Received   Name = "received"
	Stored     Name = "stream"
	Delivered  Name = "delivered"
	Metered    Name = "metered"
	DeadLetter Name = "deadletter"
)

// State is what is known of a stage.
type State string

// The states.
const (
	Done    State = "done"
	Waiting State = "waiting" // it has not come so far yet
	Absent  State = "absent"  // looked for, and not there
	Unknown State = "unknown" // it could not be looked for, or not everywhere
)

// Verdicts of an event.
const (
	IsMetered    = "metered"
	IsNotCounted = "not counted" // the meter has stored it, and no meter counts it
	IsDead       = "dead letter"
	IsWaiting    = "waiting" // on its way
	IsMissing    = "missing" // the sinks are through with it, and the meter doesn't list it: reconcile
	IsUnknown    = "unknown" // the meter could not be asked
)

// Stage is one step of an event's way.
type Stage struct {
	Name   Name           `json:"name"`
	State  State          `json:"state"`
	At     time.Time      `json:"at,omitzero"`
	Detail map[string]any `json:"detail,omitempty"`
}

// Words is the detail in a line: name=value, by name. Numbers are whole ones, also where
// they were read from JSON.
func (s Stage) Words() string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.Detail)) {
		v := s.Detail[k]
		if n, ok := v.(float64); ok {
			v = strconv.FormatFloat(n, 'f', -1, 64)
		}
		out = append(out, fmt.Sprintf("%s=%v", k, v))
	}
	return strings.Join(out, " ")
}

// Event is one event of the id, and its way.
type Event struct {
	Source  string    `json:"source"`
	Type    string    `json:"type,omitempty"`
	Subject string    `json:"subject,omitempty"` // the customer
	Time    time.Time `json:"time,omitzero"`     // the event's own
	Stages  []Stage   `json:"stages"`
	Verdict string    `json:"verdict"`
}

// Looked says how far a question has looked.
type Looked struct {
	Messages int       `json:"messages"`      // of the stream
	From     time.Time `json:"from,omitzero"` // of the oldest of them; there is nothing older where Whole
	To       time.Time `json:"to,omitzero"`   // when the question was asked
	Whole    bool      `json:"whole"`         // everything that the stream and the dead letters have since then was looked at
	Letters  int       `json:"letters"`       // dead letters
	Meter    bool      `json:"meter"`         // the meter has answered
	Spooled  int       `json:"spooled"`       // events that wait on this replica's disk, which are not looked at
}

// Answer is what is found of an id.
type Answer struct {
	ID      string    `json:"id"`
	Since   time.Time `json:"since"`
	Sources []string  `json:"sources"` // of Events
	Events  []Event   `json:"events"`  // of each source, by source
	Verdict string    `json:"verdict"` // of the only event, or a line about all
	Looked  Looked    `json:"looked"`
}

// Meter is the part of meter.Client that is used.
type Meter interface {
	Events(ctx context.Context, f meter.EventFilter) ([]meter.StoredEvent, error)
}

// Config is what a Tracer needs.
type Config struct {
	JetStream jetstream.JetStream
	Stream    stream.Config
	Meter     Meter
	Spooled   func() int // how many events wait on local disk; nil: none can
	Log       *slog.Logger
}

// Tracer is safe for concurrent use.
type Tracer struct {
	Config
	letters *deadletter.Store
}

// New returns a Tracer.
func New(c Config) *Tracer {
	return &Tracer{Config: c, letters: deadletter.NewStore(c.JetStream, c.Stream)}
}

// Question is what is looked for.
type Question struct {
	ID     string // the whole id
	Source string // of one source; empty: of all
	Since  time.Time
}

// Ask looks for an event. Errors have a code.
func (t *Tracer) Ask(ctx context.Context, q Question) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	now := time.Now().UTC()
	a := Answer{ID: q.ID, Since: q.Since.UTC(), Looked: Looked{To: now}}
	f := findings{question: q, bySource: map[string]*finding{}}
	var looks sync.WaitGroup
	var rows []meter.StoredEvent
	var noMeter, noStream, noLetters error
	var place place
	var look look
	var letters []deadletter.Stored
	var allLetters bool
	looks.Go(func() { rows, noMeter = t.Meter.Events(ctx, meter.EventFilter{ID: q.ID}) })
	looks.Go(func() { letters, a.Looked.Letters, allLetters, noLetters = t.readLetters(ctx, q) })
	looks.Go(func() {
		if place, noStream = t.place(ctx); noStream == nil {
			look, noStream = t.newest(ctx, q, place)
		}
	})
	looks.Wait()
	if noStream != nil && len(look.hits) == 0 && look.messages == 0 {
		return Answer{}, unavailable(noStream)
	}
	if noMeter != nil {
		t.Log.Debug("the meter could not be asked about an event", "id", q.ID, "error", noMeter)
	}
	for _, r := range rows {
		f.metered(r)
	}
	if around := f.ingested(); len(look.hits) == 0 && !look.whole && !around.IsZero() {
		more, err := t.around(ctx, q, place, around)
		if err != nil {
			t.Log.Debug("the stream could not be read around the time of an event", "id", q.ID, "error", err)
		}
		look.hits, look.messages = append(look.hits, more.hits...), look.messages+more.messages
	}
	for _, h := range look.hits {
		f.stored(h)
	}
	for _, l := range letters {
		f.buried(l)
	}
	if a.Looked.Messages = look.messages; look.messages > 0 {
		a.Looked.From = look.from.UTC()
	}
	a.Looked.Whole, a.Looked.Meter = look.whole && noStream == nil && allLetters && noLetters == nil, noMeter == nil
	if t.Spooled != nil {
		a.Looked.Spooled = t.Spooled()
	}
	a.Sources, a.Events = []string{}, []Event{}
	for _, source := range f.sources() {
		a.Sources = append(a.Sources, source)
		a.Events = append(a.Events, f.bySource[source].event(place, a.Looked, now))
	}
	a.Verdict = verdict(a, now)
	return a, nil
}

// verdict is one line about all that was found.
func verdict(a Answer, now time.Time) string {
	switch {
	case len(a.Events) == 1:
		return a.Events[0].Verdict
	case len(a.Events) > 1:
		return fmt.Sprintf("found with %d sources", len(a.Events))
	case !a.Looked.Whole:
		return "not found in what was looked at"
	case a.Looked.Spooled > 0:
		return fmt.Sprintf("not found; %d events wait on this replica's disk for NATS", a.Looked.Spooled)
	}
	return "not found in the last " + age(now.Sub(a.Since))
}

// age is a length of time in words: 72h, 30m.
func age(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// head is what is shown of an event.
type head struct {
	Source, ID, Type, Subject string

	Time time.Time
}

// finding is what was found of one source's event.
type finding struct {
	head
	hits    []hit
	row     *meter.StoredEvent
	letters []deadletter.Stored
}

// findings are those of a question.
type findings struct {
	question Question
	bySource map[string]*finding
}

// of is the finding that h belongs to, nil if it isn't asked for.
func (f *findings) of(h head) *finding {
	if h.ID != f.question.ID || f.question.Source != "" && h.Source != f.question.Source {
		return nil
	}
	found := f.bySource[h.Source]
	if found == nil {
		if len(f.bySource) == maxEvents {
			return nil
		}
		found = &finding{}
		f.bySource[h.Source] = found
	}
	if found.ID == "" || found.Time.IsZero() {
		found.head = h
	}
	return found
}

func (f *findings) metered(row meter.StoredEvent) {
	var h head
	_ = json.Unmarshal(row.Event, &h) // one name of the wrong type doesn't hide the others
	if found := f.of(h); found != nil && found.row == nil {
		found.row = &row
	}
}

func (f *findings) stored(h hit) {
	if found := f.of(h.head); found != nil {
		found.hits = append(found.hits, h)
	}
}

func (f *findings) buried(l deadletter.Stored) {
	if found := f.of(head{Source: l.Source, ID: l.ID, Type: l.Type, Subject: l.Subject}); found != nil {
		found.letters = append(found.letters, l)
	}
}

// ingested is when the meter got the event, the first if there are several; zero if it
// didn't.
func (f *findings) ingested() (at time.Time) {
	for _, found := range f.bySource {
		if r := found.row; r != nil && (at.IsZero() || r.IngestedAt.Before(at)) {
			at = r.IngestedAt
		}
	}
	return at
}

func (f *findings) sources() []string {
	var sources []string
	for s := range f.bySource {
		sources = append(sources, s)
	}
	slices.Sort(sources)
	return sources
}

// event is the way of what was found.
func (f *finding) event(p place, looked Looked, now time.Time) Event {
	slices.SortFunc(f.hits, func(a, b hit) int { return cmp.Compare(a.seq, b.seq) })
	e := Event{Source: f.Source, Type: f.Type, Subject: f.Subject, Time: f.Time.UTC()}
	missing := Absent
	if !looked.Whole {
		missing = Unknown
	}
	received, stored := Stage{Name: Received, State: missing}, Stage{Name: Stored, State: missing}
	delivered, metered, dead := Stage{Name: Delivered, State: Unknown}, Stage{Name: Metered, State: Unknown}, Stage{Name: DeadLetter, State: missing}
	if len(f.hits) > 0 {
		first, last := f.hits[0], f.hits[len(f.hits)-1]
		received.State = Unknown // a stranger's message doesn't say
		if !first.received.IsZero() {
			received.State, received.At = Done, first.received.UTC()
		}
		stored.State, stored.At = Done, first.at.UTC()
		stored.Detail = map[string]any{"seq": first.seq, "batch_size": first.batch, "bytes": first.bytes}
		if len(f.hits) > 1 {
			stored.Detail["copies"], stored.Detail["last_seq"] = len(f.hits), last.seq
		}
		delivered = p.delivered(last.seq)
	}
	switch {
	case f.row != nil:
		metered.State, metered.At = Done, cmp.Or(f.row.StoredAt, f.row.IngestedAt).UTC()
		metered.Detail = map[string]any{"ingested_at": f.row.IngestedAt.UTC()}
		if f.row.ValidationError != "" {
			metered.Detail["validation_error"] = cut(f.row.ValidationError, maxWords)
		}
		if delivered.State != Done {
			delivered.State = Done // whatever the sink has acknowledged meanwhile
		}
	case looked.Meter:
		metered.State = Absent
	}
	if n := len(f.letters); n > 0 {
		l := f.letters[n-1]
		dead.State, dead.At = Done, l.Buried
		dead.Detail = map[string]any{"seq": l.Seq, "reason": l.Reason, "status": l.Status, "words": cut(l.Detail, maxWords), "refused": l.Count}
	}
	switch {
	case f.row != nil && f.row.ValidationError != "":
		e.Verdict = IsNotCounted
	case f.row != nil:
		e.Verdict = IsMetered
	case dead.State == Done:
		e.Verdict = IsDead
	case delivered.State == Waiting, len(f.hits) > 0 && now.Sub(f.hits[len(f.hits)-1].at) < settle:
		e.Verdict = IsWaiting
		if metered.State == Absent {
			metered.State = Waiting
		}
	case metered.State == Absent && delivered.State == Done && dead.State == Absent:
		e.Verdict = IsMissing
	default:
		e.Verdict = IsUnknown
	}
	e.Stages = []Stage{received, stored, delivered, metered, dead}
	return e
}

// maxWords bounds the meter's words that are shown, in bytes.
const maxWords = 300

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") // without the half of a rune
}

func unavailable(err error) error {
	return kgents.Unavailable(5*time.Second, "the stream can't be looked at, since NATS does not answer: try again later", err)
}
