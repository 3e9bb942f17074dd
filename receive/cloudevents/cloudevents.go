// Package cloudevents decodes what clients send: one CloudEvent or a batch.
//
// It promises that an event it returns is complete, within every limit of
// package kgents, and that Raw is valid JSON in UTF-8 without duplicate keys,
// with a time. It accepts what OpenMeter's ingest accepts, so that OpenMeter's
// SDKs work, and is better in three ways: a charset behind the content type is
// fine, every bad event of a batch is named, and an event over the limit gets an
// answer that says so. It depends on nothing that could be away.
package cloudevents

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kgents/kgents"
)

const (
	// maxDepth bounds the nesting of a request. Readers of JSON that recurse exist
	// behind the meter (SQLite's stops at 1,000); no usage event needs more.
	maxDepth = 64

	// maxItems bounds how many bad events an answer names.
	maxItems = 100
)

// form is what a content type allows.
type form struct{ one, batch, emptyBatch bool }

// Decode returns the events in body, in order; equal ones are left for admission
// to tell. The time of an event without one is now. It owns body from then on:
// the events point into it.
//
// The error is an *kgents.Error with CodeInvalid or CodeTooLarge. Either all
// events are good or none is returned.
func Decode(contentType string, body []byte, now time.Time) ([]kgents.Event, error) {
	return DecodeFor("", contentType, body, now)
}

// DecodeFor is Decode for a sender who may send events of one subject only, or with
// subject "" of any. A missing subject is filled in, in Raw too; for any other one the
// error has CodeForbidden and names each such event. Subject is a customer's id.
//
// The source is put below the subject, as acme/agent-runner, unless it is there. An
// event's identity is its source and id: else one customer's events, by chance or on
// purpose, would be taken for another's sent again. A reserved source stays, for who
// calls to refuse.
func DecodeFor(subject, contentType string, body []byte, now time.Time) ([]kgents.Event, error) {
	f, err := formOf(contentType)
	if err != nil {
		return nil, err
	}
	if err := bounded(body); err != nil {
		return nil, err
	}
	d := decoder{body: body, text: string(body), now: now, owner: subject, json: decoders.Get().(*jsontext.Decoder)}
	d.json.Reset(bytes.NewBuffer(body))
	defer func() {
		d.json.Reset(new(bytes.Buffer)) // lets go of body
		decoders.Put(d.json)
	}()
	switch kind := d.json.PeekKind(); {
	case kind == '{' && f.one:
		err = d.single()
	case kind == '[' && f.batch:
		err = d.batch()
	case kind == '{':
		return nil, kgents.Errorf(kgents.CodeInvalid, "a batch is a JSON array of events: send one event as application/cloudevents+json")
	case kind == '[':
		return nil, kgents.Errorf(kgents.CodeInvalid, "one event is a JSON object: send several as application/cloudevents-batch+json")
	default:
		return nil, kgents.Errorf(kgents.CodeInvalid, "the body must be a CloudEvent, or an array of them, in JSON")
	}
	if err != nil {
		return nil, d.syntaxError(err)
	}
	if err := d.refusal(); err != nil {
		return nil, err
	}
	if len(d.events) == 0 && !f.emptyBatch {
		return nil, kgents.Errorf(kgents.CodeInvalid, "the array has no events")
	}
	return d.events, nil
}

// decoders are kept for the next request: making one costs more than reading a
// small event.
var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

func formOf(contentType string) (form, error) {
	var f form
	mediaType, params, err := contentType, map[string]string(nil), error(nil)
	if strings.Contains(contentType, ";") { // parsing costs more than decoding a small event
		mediaType, params, err = mime.ParseMediaType(contentType)
	}
	switch strings.ToLower(strings.TrimSpace(mediaType)) {
	case "application/cloudevents+json":
		f = form{one: true}
	case "application/cloudevents-batch+json":
		f = form{batch: true, emptyBatch: true}
	case "application/json":
		f = form{one: true, batch: true}
	default:
		err = errors.New("unsupported")
	}
	if err != nil {
		return f, kgents.Errorf(kgents.CodeInvalid,
			"the content type must be application/cloudevents+json, application/cloudevents-batch+json or application/json")
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return f, kgents.Errorf(kgents.CodeInvalid, "the charset must be UTF-8")
	}
	return f, nil
}

// decoder reads one request.
type decoder struct {
	body []byte
	text string // body again, so that attributes are cut from one string
	now  time.Time
	json *jsontext.Decoder

	owner   string        // whose events may be sent; empty: anybody's
	below   [2]string     // the last source that was put below owner, and what it became
	foreign []kgents.Item // events of others, up to maxItems
	others  int           // and how many there are

	events []kgents.Event
	index  int  // of the event being read
	inList bool // pointers begin with the index
	bad    int  // events with something wrong
	large  int  // events that are only too large
	items  []kgents.Item
	failed bool   // the event being read has something wrong
	source string // the last one that was found good
}

func (d *decoder) single() error {
	if err := d.event(); err != nil {
		return err
	}
	return d.end()
}

func (d *decoder) batch() error {
	d.inList = true
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for ; d.json.PeekKind() != ']'; d.index++ {
		if err := d.event(); err != nil {
			return err
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	return d.end()
}

// end wants nothing but white space behind the value.
func (d *decoder) end() error {
	if _, err := d.json.ReadToken(); err != io.EOF {
		return errors.New("there is something behind the JSON value")
	}
	return nil
}

// value is a raw JSON value and where it stands in the body.
type value struct {
	raw   jsontext.Value
	start int
}

func (d *decoder) read() (value, error) {
	raw, err := d.json.ReadValue()
	return value{raw, int(d.json.InputOffset()) - len(raw)}, err
}

// event reads one event and keeps it if it is good. The error is one of syntax;
// what else is wrong goes to items.
func (d *decoder) event() error {
	d.failed = false
	if d.json.PeekKind() != '{' {
		v, err := d.read()
		if err != nil {
			return err
		}
		d.wrong("", "an event must be a JSON object, this is %s", kindName(v.raw.Kind()))
		return nil
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	start := int(d.json.InputOffset()) - 1
	var (
		e         kgents.Event
		version   string
		when, who value // of time and subject, when they are null
		from      value // of source
	)
	for d.json.PeekKind() != '}' {
		name, err := d.read()
		if err != nil {
			return err
		}
		v, err := d.read()
		if err != nil {
			return err
		}
		switch d.name(name) {
		case "id":
			e.ID = d.attribute("id", v, kgents.MaxIDBytes)
		case "source":
			e.Source, from = d.sourceOf(v), v
		case "type":
			e.Type = d.attribute("type", v, kgents.MaxTypeBytes)
		case "subject":
			if d.owner != "" && v.raw.Kind() == 'n' {
				who = v
				break
			}
			e.Subject = d.attribute("subject", v, kgents.MaxSubjectBytes)
		case "specversion":
			if version = d.attribute("specversion", v, 8); version != "" && version != "1.0" && version != "0.3" {
				d.wrong("specversion", `must be "1.0"`)
			}
		case "time":
			if v.raw.Kind() == 'n' {
				when = v
				break
			}
			e.Time = d.time(v)
		case "data":
			switch k := v.raw.Kind(); {
			case k == 'n':
			case k != '{':
				d.wrong("data", "must be a JSON object, this is %s", kindName(k))
			case tooDeep(v.raw):
				d.wrong("data", "is nested more than %d levels deep", maxDepth)
			default:
				e.Data = v.raw
			}
		case "dataschema":
			if v.raw.Kind() != 'n' {
				if s := d.attribute("dataschema", v, 2048); s != "" && !isURI(s) {
					d.wrong("dataschema", "must be a URI")
				}
			}
		case "datacontenttype":
			if v.raw.Kind() != 'n' {
				d.contentType(v)
			}
		default:
			if like := lookalike(d.name(name)); like != "" {
				d.wrong(d.name(name), "is not written like this: the attribute is %q", like)
			}
			if k := v.raw.Kind(); k == '{' || k == '[' {
				d.wrong(d.name(name), "an extension attribute must be a string, a number or a boolean, this is %s", kindName(k))
			}
		}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	end := int(d.json.InputOffset())
	var adds [3]addition // what is filled in
	added := adds[:0]
	if d.owner != "" && !d.failed {
		if e.Subject != "" && e.Subject != d.owner {
			d.stranger()
			return nil
		}
		if e.Subject == "" {
			e.Subject = d.owner
			added = append(added, addition{"subject", quote(d.owner), who})
		}
		if source := d.ownSource(e.Source); source != e.Source {
			e.Source = source
			added = append(added, addition{"source", quote(source), from})
		}
	}
	if !d.failed {
		d.missing(e, version)
	}
	if d.failed {
		return nil
	}
	e.Raw = d.body[start:end:end]
	if e.Time.IsZero() {
		e.Time = d.now.UTC()
		added = append(added, addition{"time", appendTime(make([]byte, 0, len(time.RFC3339Nano)+2), e.Time), when})
	}
	if len(added) > 0 {
		e.Raw = fill(d.body, start, end, added)
	}
	if len(e.Raw) > kgents.MaxEventBytes {
		d.large++
		d.wrong("", "has %d bytes, an event may have %d", len(e.Raw), kgents.MaxEventBytes)
		return nil
	}
	d.events = append(d.events, e)
	return nil
}

// ownSource is a source below the owner's.
func (d *decoder) ownSource(source string) string {
	switch {
	case source == "" || kgents.Reserved(source) || strings.HasPrefix(source, d.owner+"/"):
		return source
	case source == d.below[0]:
		return d.below[1]
	}
	below := d.owner + "/" + source
	if len(below) > kgents.MaxSourceBytes {
		d.wrong("source", "has %d bytes with the customer before it, it may have %d", len(below), kgents.MaxSourceBytes)
		return source
	}
	d.below = [2]string{source, below}
	return below
}

// quote writes a text that is UTF-8 as JSON.
func quote(text string) []byte {
	b, _ := jsontext.AppendQuote(make([]byte, 0, len(text)+2), text)
	return b
}

// addition is a member of an event that gets another value: in place of old, or at the
// end if the event came without.
type addition struct {
	name  string
	value []byte
	old   value
}

// fill writes members into an event: without a time the meter would put its own, later
// clock there.
func fill(body []byte, start, end int, adds []addition) []byte {
	size := end - start
	for _, a := range adds {
		size += len(a.name) + len(a.value) + 4
	}
	out := make([]byte, 0, size)
	slices.SortFunc(adds, func(a, b addition) int { return a.old.start - b.old.start })
	from := start
	for _, a := range adds {
		if a.old.raw != nil {
			out = append(append(out, body[from:a.old.start]...), a.value...)
			from = a.old.start + len(a.old.raw)
		}
	}
	out = append(out, body[from:end-1]...)
	for _, a := range adds {
		if a.old.raw == nil {
			out = append(append(append(out, `,"`...), a.name...), `":`...)
			out = append(out, a.value...)
		}
	}
	return append(out, '}')
}

// stranger notes that the current event is another's.
func (d *decoder) stranger() {
	d.others++
	if len(d.foreign) < maxItems {
		d.foreign = append(d.foreign, kgents.Item{Index: d.index, Pointer: d.pointer("subject"), Message: "is another customer: leave it out, or send it with that customer's key"})
	}
}

func appendTime(out []byte, t time.Time) []byte {
	out = append(out, '"')
	out = t.AppendFormat(out, time.RFC3339Nano)
	return append(out, '"')
}

func (d *decoder) missing(e kgents.Event, version string) {
	for _, a := range []struct{ name, value string }{
		{"id", e.ID}, {"source", e.Source}, {"specversion", version}, {"type", e.Type}, {"subject", e.Subject},
	} {
		if a.value == "" {
			d.wrong(a.name, "is missing")
		}
	}
}

// wrong notes what is wrong with the current event's attribute.
func (d *decoder) wrong(attribute, format string, args ...any) {
	if !d.failed {
		d.bad++
	}
	d.failed = true
	if len(d.items) >= maxItems {
		return
	}
	d.items = append(d.items, kgents.Item{Index: d.index, Pointer: d.pointer(attribute), Message: fmt.Sprintf(format, args...)})
}

// pointer leads to an attribute of the current event, or with "" to the event.
func (d *decoder) pointer(attribute string) string {
	pointer := ""
	if d.inList {
		pointer = "/" + strconv.Itoa(d.index)
	}
	if attribute != "" {
		pointer = clip(string(jsontext.Pointer(pointer).AppendToken(attribute)))
	}
	return pointer
}

// refusal is the error for the events that were found bad, or another's.
func (d *decoder) refusal() error {
	switch {
	case d.others > 0:
		err := kgents.Errorf(kgents.CodeForbidden, "this API key sends events of its own customer only, and the event is of another")
		if d.inList {
			err.Message = fmt.Sprintf("this API key sends events of its own customer only: %d of %d events are of others, and none was taken", d.others, d.index)
			if d.others > len(d.foreign) {
				err.Message += fmt.Sprintf(" (the first %d are named)", len(d.foreign))
			}
		}
		err.Items = d.foreign
		return err
	case d.bad == 0:
		return nil
	}
	code := kgents.CodeInvalid
	if d.large == d.bad {
		code = kgents.CodeTooLarge
	}
	err := kgents.Errorf(code, "the event is refused")
	if d.inList {
		err.Message = fmt.Sprintf("%d of %d events are refused, and none was taken: mend or leave out what is named in errors", d.bad, d.index)
		if len(d.items) == maxItems {
			err.Message += fmt.Sprintf(" (the first %d are)", maxItems)
		}
	}
	err.Items = d.items
	return err
}

// syntaxError says where the JSON is broken, without quoting it.
func (d *decoder) syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		errors.As(err, &syntax)
		e := kgents.Errorf(kgents.CodeInvalid, "the body has an object with two members of one name")
		e.Items = []kgents.Item{{Index: d.index, Pointer: clip(string(syntax.JSONPointer)), Message: "stands twice in its object"}}
		return e
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return kgents.Errorf(kgents.CodeInvalid, "the body ends in the middle of the JSON")
	case errors.As(err, &syntax):
		return kgents.Errorf(kgents.CodeInvalid, "the body is no valid JSON in UTF-8: look at byte %d", syntax.ByteOffset)
	default:
		return kgents.Errorf(kgents.CodeInvalid, "the body is no valid JSON: %s", err)
	}
}

// clip bounds what a client chose and gets back.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
