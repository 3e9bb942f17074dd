package operate_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/clustertest"
	"github.com/kgents/kgents/cluster/operate"
)

func deployment() clustertest.Workload {
	return clustertest.Workload{Kind: "Deployment", Name: "kgents-api", Replicas: 2, Image: "ghcr.io/kgents/kgents:staging"}
}

func TestScale(t *testing.T) {
	s := clustertest.New(t, deployment())
	c := s.Client()
	if err := operate.Scale(t.Context(), c, "kgents-api", 4); err != nil {
		t.Fatal(err)
	}
	want := []string{"PATCH /apis/apps/v1/namespaces/kgents-staging/deployments/kgents-api/scale " + `{"spec":{"replicas":4}}`}
	if diff := cmp.Diff(want, s.Requests()); diff != "" || s.Replicas("kgents-api") != 4 {
		t.Errorf("%s, %d replicas", diff, s.Replicas("kgents-api"))
	}
	w, err := c.Deployment(t.Context(), "kgents-api")
	if err != nil || !w.Settled() || w.Wanted != 4 {
		t.Errorf("%+v %v", w, err)
	}
}

// A restart changes the template's annotation alone, and set back to what it was it ends
// where no pod was replaced.
func TestRestart(t *testing.T) {
	s := clustertest.New(t, deployment(), clustertest.Workload{Kind: "StatefulSet", Name: "nats", Replicas: 3, Image: "nats:2"})
	c, before := s.Client(), s.Pods()
	const at = "2026-11-28T22:00:00Z"
	for _, err := range []error{
		operate.Restart(t.Context(), c, "Deployment", "kgents-api", at), operate.Restart(t.Context(), c, "StatefulSet", "nats", at),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	patch := func(at string) string {
		return ` {"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":` + at + `}}}}}`
	}
	const apps = "PATCH /apis/apps/v1/namespaces/kgents-staging/"
	want := []string{apps + "deployments/kgents-api" + patch(`"`+at+`"`), apps + "statefulsets/nats" + patch(`"`+at+`"`)}
	if diff := cmp.Diff(want, s.Requests()); diff != "" {
		t.Error(diff)
	}
	for _, p := range s.Pods() {
		if slices.Contains(before, p) {
			t.Errorf("%s was not replaced", p)
		}
	}
	if w, err := c.StatefulSet(t.Context(), "nats"); err != nil || w.Restarted != at || !w.Settled() || w.Pods != 3 {
		t.Errorf("%+v %v", w, err)
	}
	if err := operate.Restart(t.Context(), c, "Deployment", "kgents-api", ""); err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[2]; got != apps+"deployments/kgents-api"+patch("null") {
		t.Error(got)
	}
	if w, err := c.Deployment(t.Context(), "kgents-api"); err != nil || w.Restarted != "" {
		t.Errorf("%+v %v", w, err)
	}
	for kind, at := range map[string]string{"DaemonSet": at, "Deployment": "yesterday"} {
		if operate.Restart(t.Context(), c, kind, "kgents-api", at) == nil {
			t.Errorf("a %s is restarted at %s", kind, at)
		}
	}
	if len(s.Requests()) != 3 {
		t.Error("it was asked")
	}
}

func TestDeletePod(t *testing.T) {
	s := clustertest.New(t, deployment())
	c, before := s.Client(), s.Pods()
	if err := operate.DeletePod(t.Context(), c, before[0]); err != nil {
		t.Fatal(err)
	}
	after := s.Pods()
	if slices.Contains(after, before[0]) || len(after) != 2 {
		t.Errorf("%v after %v", after, before)
	}
	if _, missing := errors.AsType[*cluster.NotFoundError](operate.DeletePod(t.Context(), c, before[0])); !missing {
		t.Error("a pod that is gone is deleted again")
	}
}

// What can't be is refused before anything is asked, and what the server refuses is said
// in its words, without a credential.
func TestRefused(t *testing.T) {
	s := clustertest.New(t, deployment())
	c := s.Client()
	for _, replicas := range []int{-1, operate.MaxReplicas + 1} {
		if operate.Scale(t.Context(), c, "kgents-api", replicas) == nil {
			t.Errorf("%d replicas are taken", replicas)
		}
	}
	for _, name := range []string{"", "..", "../../nodes/n", "a/b", "A", "a?x=1", "a%2fb", strings.Repeat("a", 254), "-a", "a\n"} {
		if operate.Scale(t.Context(), c, name, 1) == nil || operate.DeletePod(t.Context(), c, name) == nil || operate.Restart(t.Context(), c, "Deployment", name, "") == nil {
			t.Errorf("the name %q is taken", name)
		}
	}
	if got := s.Requests(); len(got) > 0 {
		t.Errorf("it was asked: %v", got)
	}
	if _, missing := errors.AsType[*cluster.NotFoundError](operate.Scale(t.Context(), c, "nothing", 1)); !missing {
		t.Error("what isn't there is scaled")
	}
	for _, code := range []int{http.StatusForbidden, http.StatusConflict, http.StatusInternalServerError, http.StatusFound} {
		s.Refuse = func(string, string) int { return code }
		err := operate.Scale(t.Context(), c, "kgents-api", 3)
		e, ok := errors.AsType[*operate.Error](err)
		if !ok || e.Status != code || !strings.Contains(err.Error(), "this is refused") || strings.Contains(err.Error(), clustertest.Token) {
			t.Errorf("%d: %v", code, err)
		}
	}
	if s.Replicas("kgents-api") != 2 {
		t.Error("it was changed")
	}
}

func TestStaging(t *testing.T) {
	s := clustertest.New(t)
	c := s.Client()
	for _, tt := range []struct {
		labels map[string]string
		want   bool
		why    string
	}{
		{map[string]string{operate.EnvironmentLabel: "staging"}, true, "is staging"},
		{map[string]string{operate.EnvironmentLabel: "production"}, false, "is production"},
		{map[string]string{operate.EnvironmentLabel: "Staging"}, false, "is Staging"},
		{map[string]string{"environment": "staging"}, false, "taken for production"},
		{nil, false, "taken for production"}, // whatever the namespace is called
	} {
		s.Labels = tt.labels
		if got, why := operate.Staging(t.Context(), c); got != tt.want || !strings.Contains(why, tt.why) {
			t.Errorf("%v: %t, %s", tt.labels, got, why)
		}
	}
	away := s.Client()
	away.Namespace = "nowhere"
	if got, why := operate.Staging(t.Context(), away); got || !strings.Contains(why, "can't be read") {
		t.Errorf("%t, %s", got, why)
	}
}
