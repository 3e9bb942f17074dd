package cluster

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
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
