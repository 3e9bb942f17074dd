package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/clustertest"
)

// The newest lines are had, from the oldest of them, and what is left out is told.
func TestTail(t *testing.T) {
	long := strings.Repeat("x", cluster.MaxLog/8)
	s := clustertest.New(t,
		clustertest.Workload{Kind: "StatefulSet", Name: "nats", Replicas: 1, Log: []string{"one", "", "three four"}, Previous: []string{"panic: no"}},
		clustertest.Workload{Kind: "StatefulSet", Name: "big", Replicas: 1, Log: []string{long, long, long, long, long, long, long, long, long, "the end"}},
		clustertest.Workload{Kind: "StatefulSet", Name: "mute", Replicas: 1, Stuck: true},
	)
	c := s.Client()
	for _, tt := range []struct {
		pod   string
		lines cluster.Lines
		want  string
		more  bool
	}{
		{"nats-1", cluster.Lines{Most: 10}, "one||three four", false},
		{"nats-1", cluster.Lines{Most: 3}, "one||three four", false},
		{"nats-1", cluster.Lines{Most: 2}, "|three four", true},
		{"nats-1", cluster.Lines{Most: 10, Since: time.Now().Add(-75 * time.Second)}, "three four", false},
		{"nats-1", cluster.Lines{Most: 10, Previous: true}, "panic: no", false},
		// Eight times more than may be read: fewer are, and they are the newest.
		{"big-2", cluster.Lines{Most: 9}, long + "|the end", true},
	} {
		tt.lines.Container = "main"
		lines, more, err := c.Tail(t.Context(), tt.pod, tt.lines)
		if err != nil || more != tt.more {
			t.Errorf("%s %+v: more is %t, %v", tt.pod, tt.lines, more, err)
		}
		var got []string
		for _, l := range lines {
			got = append(got, l.Text)
			if d := time.Since(l.At); d < time.Minute || d > time.Hour {
				t.Errorf("%s: a line of %s", tt.pod, l.At)
			}
		}
		if d := cmp.Diff(tt.want, strings.Join(got, "|")); d != "" {
			t.Errorf("%s %+v: %.300s", tt.pod, tt.lines, d)
		}
	}
	for pod, want := range map[string]error{"nats-1": nil, "mute-3": &cluster.NoLogError{}, "nothing": &cluster.NotFoundError{}} {
		_, _, err := c.Tail(t.Context(), pod, cluster.Lines{Container: "main", Most: 1})
		if got, want := fmt.Sprintf("%T", err), fmt.Sprintf("%T", want); got != want {
			t.Errorf("%s: %v, not %s", pod, err, want)
		}
	}
	_, _, err := c.Tail(t.Context(), "big-2", cluster.Lines{Container: "main", Most: 1, Previous: true})
	if e, ok := errors.AsType[*cluster.NoLogError](err); !ok || !strings.Contains(e.Reason, "previous terminated container") {
		t.Errorf("%v", err)
	}
}
