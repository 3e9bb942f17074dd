package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MaxLog bounds what is read of one container's log, in bytes.
const MaxLog = 8 << 20

// Logs is what a container of a pod has written since a time ago, from the oldest, and
// whether that is all: more than MaxLog is cut. A container that has not started yet is
// an error.
func (c *Client) Logs(ctx context.Context, pod, container string, since time.Duration) (text []byte, whole bool, err error) {
	what := "pods/log of pod " + pod + " in namespace " + c.Namespace
	query := url.Values{
		"container":    {container},
		"sinceSeconds": {strconv.Itoa(max(1, int(since.Seconds())))},
		"limitBytes":   {strconv.Itoa(MaxLog)},
	}
	text, status, err := c.ask(ctx, "/api/v1/namespaces/"+url.PathEscape(c.Namespace)+"/pods/"+url.PathEscape(pod)+"/log", query)
	switch {
	case err != nil:
		return nil, false, err
	case status == http.StatusNotFound:
		return nil, false, &NotFoundError{"pod " + pod}
	case status != http.StatusOK:
		return nil, false, refused(what, status, text)
	}
	return text, len(text) < MaxLog, nil
}

// Lines chooses which of a container's log are read.
type Lines struct {
	Container string
	Since     time.Time // zero: from the first that is kept
	Most      int       // the newest so many, 1 or more
	Previous  bool      // of the container that ended before the one that runs
}

// Line is one of a log's, without its end.
type Line struct {
	At   time.Time // when it was written; zero where that was not told
	Text string
}

// NoLogError says that a container has no such log: it has not started, or none has
// ended before it.
type NoLogError struct{ Reason string }

func (e *NoLogError) Error() string { return e.Reason }

// Tail is the newest lines that a container of a pod has written, from the oldest of them,
// and whether there are older ones that were asked for. At most MaxLog bytes are read: of
// longer lines there are fewer. The error is a *NoLogError where there is no such log.
func (c *Client) Tail(ctx context.Context, pod string, l Lines) (lines []Line, more bool, err error) {
	path := "/api/v1/namespaces/" + url.PathEscape(c.Namespace) + "/pods/" + url.PathEscape(pod) + "/log"
	query := url.Values{"container": {l.Container}, "timestamps": {"true"}, "limitBytes": {strconv.Itoa(MaxLog)}}
	if !l.Since.IsZero() {
		query.Set("sinceTime", l.Since.UTC().Format(time.RFC3339))
	}
	if l.Previous {
		query.Set("previous", "true")
	}
	most := max(1, l.Most)
	for {
		query.Set("tailLines", strconv.Itoa(most+1)) // one more tells whether there are more
		text, status, err := c.ask(ctx, path, query)
		switch {
		case err != nil:
			return nil, false, err
		case status == http.StatusNotFound:
			return nil, false, &NotFoundError{"pod " + pod}
		case status == http.StatusBadRequest:
			return nil, false, &NoLogError{reasonOf(text)}
		case status != http.StatusOK:
			return nil, false, refused("pods/log of pod "+pod+" in namespace "+c.Namespace, status, text)
		}
		// The bound cuts the newest lines: those are had by asking for fewer.
		if len(text) >= MaxLog && most > 1 {
			most, more = max(1, most/4), true
			continue
		}
		lines = linesOf(string(text))
		if len(lines) > most {
			lines, more = lines[len(lines)-most:], true
		}
		return lines, more, nil
	}
}

func reasonOf(answer []byte) string {
	var said struct{ Message string }
	_ = json.Unmarshal(answer, &said) // without a message the status has to do
	return cmp.Or(said.Message, http.StatusText(http.StatusBadRequest))
}

func linesOf(text string) []Line {
	var out []Line
	for text := range strings.Lines(text) {
		text = strings.TrimRight(text, "\r\n")
		line := Line{Text: text}
		if stamp, rest, ok := strings.Cut(text, " "); ok {
			if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
				line = Line{at, rest}
			}
		} else if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			line = Line{At: at} // an empty line
		}
		out = append(out, line)
	}
	return out
}
