package cloudevents

import (
	"bytes"
	"mime"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kgents/kgents"
)

// earliest and latest bound an event's time. OpenMeter drops a time before 1970
// without a word, and a time beyond 2200 is a mistake of units.
var (
	earliest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// name returns a member's name. The common ones have no escapes.
func (d *decoder) name(v value) string {
	s, _ := d.unquote(v)
	return s
}

// unquote returns the text of a JSON string that the decoder has checked.
func (d *decoder) unquote(v value) (s string, escaped bool) {
	if bytes.IndexByte(v.raw, '\\') < 0 {
		return d.text[v.start+1 : v.start+len(v.raw)-1], false
	}
	b, err := jsontext.AppendUnquote(nil, v.raw)
	if err != nil { // a lone surrogate, which no UTF-8 can hold
		return "", true
	}
	return string(b), true
}

// attributes are the members that CloudEvents itself gives a meaning.
var attributes = []string{"id", "source", "type", "subject", "time", "data", "dataschema", "datacontenttype", "specversion"}

// lookalike returns the attribute that name is but for capitals, "" if it is none.
// Readers of JSON that take no notice of capitals, such as encoding/json, would take the
// one for the other, and so an event for somebody else's.
func lookalike(name string) string {
	for _, a := range attributes {
		if strings.EqualFold(a, name) {
			return a
		}
	}
	return ""
}

// attribute returns a string attribute. It notes what is wrong and returns ""
// then.
func (d *decoder) attribute(name string, v value, most int) string {
	if k := v.raw.Kind(); k != '"' {
		d.wrong(name, "must be a string, this is %s", kindName(k))
		return ""
	}
	s, _ := d.unquote(v)
	switch {
	case s == "":
		d.wrong(name, "must not be empty")
	case len(s) > most:
		d.wrong(name, "has %d bytes, it may have %d", len(s), most)
	case strings.IndexFunc(s, isControl) >= 0:
		d.wrong(name, "must not have control characters")
	default:
		return s
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// sourceOf returns the source attribute, a URI reference.
func (d *decoder) sourceOf(v value) string {
	s := d.attribute("source", v, kgents.MaxSourceBytes)
	switch {
	case s == "" || s == d.source:
		return s
	case !isReference(s):
		d.wrong("source", "must be a URI reference, for example \"agent-runner\" or \"https://example.com/agents\"")
		return ""
	}
	d.source = s
	return s
}

// isReference tells whether s is a URI reference (RFC 3986, 4.1) and free of
// spaces, which would make identities ambiguous.
func isReference(s string) bool {
	plain := true
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/':
		case c <= ' ' || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' || c == '{' || c == '|' || c == '}' || c == 0x7f:
			return false
		default:
			plain = false
		}
	}
	if plain {
		return true
	}
	_, err := url.Parse(s)
	return err == nil
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && isReference(s)
}

func (d *decoder) time(v value) time.Time {
	s := d.attribute("time", v, 64)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil:
		d.wrong("time", "must be a time as in RFC 3339, for example 2026-01-31T09:30:00Z")
	case t.Before(earliest) || !t.Before(latest):
		d.wrong("time", "must lie from 1970 to 2199: the meter would drop it")
	default:
		return t
	}
	return time.Time{}
}

func (d *decoder) contentType(v value) {
	s := d.attribute("datacontenttype", v, 256)
	if s == "" {
		return
	}
	if mediaType, _, err := mime.ParseMediaType(s); err != nil || mediaType != "application/json" {
		d.wrong("datacontenttype", "must be application/json")
	}
}

// tooDeep tells whether data makes the event nest more than maxDepth levels. The
// event itself is one level and a batch another.
func tooDeep(data []byte) bool {
	const most = maxDepth - 2
	if bytes.Count(data, []byte{'{'})+bytes.Count(data, []byte{'['}) <= most {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	default:
		return "something else"
	}
}
