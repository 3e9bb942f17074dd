package world_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/world"
	"github.com/kgents/kgents/api/client"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/clustertest"
)

// deployed is a tree over a cluster, without a program.
func deployed(t *testing.T, s *clustertest.Server) (run func(string) (tree.Value, error), audit *[]tree.AuditEntry) {
	t.Helper()
	from := &living.Sources{API: &client.Client{URL: "http://127.0.0.1:1"}}
	if s != nil {
		c := s.Client()
		from.Cluster = func() (*cluster.Client, error) { return c, nil }
	}
	whole, err := tree.New(world.Context(from))
	if err != nil {
		t.Fatal(err)
	}
	var lines []tree.AuditEntry
	session := &tree.Session{Observer: tree.Architect, Yes: true, Audit: func(e tree.AuditEntry) error { lines = append(lines, e); return nil }}
	return func(text string) (tree.Value, error) {
		e, err := agentese.Parse(text)
		if err != nil {
			return tree.Value{}, err
		}
		return whole.Run(t.Context(), e, session)
	}, &lines
}

func TestKubernetes(t *testing.T) {
	s := clustertest.New(t,
		clustertest.Workload{Kind: "Deployment", Name: "kgents-api", Replicas: 2, Image: "kgents:1", Least: 2, Most: 6},
		clustertest.Workload{Kind: "Deployment", Name: "kgents-sink", Replicas: 1, Image: "kgents:1"},
		clustertest.Workload{Kind: "StatefulSet", Name: "nats", Replicas: 3, Image: "nats:2"},
	)
	run, audit := deployed(t, s)
	must := func(text string) tree.Value {
		t.Helper()
		v, err := run(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return v
	}
	v := must("world.kubernetes.manifest")
	if v.State != tree.Well || !cmp.Equal([]any{"kgents-api", "kgents-sink", "nats"}, listed(v, "workload")) || figure(v, "restarts") != int32(6) || !cmp.Equal([]any{"2 to 6", "", ""}, listed(v, "scales")) {
		t.Errorf("%+v", v)
	}
	if v := must("world.kubernetes.pods.manifest[app=nats]"); len(v.Table.Rows) != 3 || v.State != tree.Well {
		t.Errorf("%+v", v)
	}
	if v := must("world.kubernetes.deployments.kgents-api.manifest"); figure(v, "wanted") != int32(2) || figure(v, "autoscaler") != "kgents-api" || len(v.Table.Rows) != 2 {
		t.Errorf("%+v", v)
	}

	// A dry run says from what to what, and what to think of; nothing is changed.
	v = must("world.kubernetes.deployments.kgents-api.refine[replicas=0][dry_run]")
	if notes := strings.Join(v.Notes, " "); !strings.Contains(v.Text, "2 → 0 replicas") || !strings.Contains(notes, "nothing of kgents-api runs") || !strings.Contains(notes, "autoscaler kgents-api") {
		t.Errorf("%+v", v)
	}
	if v := must("world.kubernetes.deployments.kgents-api.refine[replicas=9][dry_run]"); !strings.Contains(strings.Join(v.Notes, " "), "out of its bounds") {
		t.Errorf("%+v", v)
	}
	if got := s.Requests(); len(got) > 0 || len(*audit) > 0 {
		t.Fatalf("something was changed: %v", got)
	}

	// Scaled, and it holds.
	v = must("world.kubernetes.deployments.kgents-sink.refine[replicas=3][rollback=5s]")
	if figure(v, "wanted") != int32(3) || s.Replicas("kgents-sink") != 3 || !v.Changed {
		t.Errorf("%+v", v)
	}
	if v := must("world.kubernetes.deployments.kgents-sink.refine[replicas=3]"); v.Title != "Nothing to do" {
		t.Errorf("%+v", v)
	}

	// What isn't scaled from here is refused with the reason.
	if _, err := run("world.kubernetes.deployments.nats.refine[replicas=5]"); kindOf(err) != agentese.KindDeclined || !strings.Contains(err.Error(), "vote") {
		t.Errorf("%v", err)
	}
	if _, err := run("world.kubernetes.deployments.kgents-ap.refine[replicas=5]"); kindOf(err) != agentese.KindNotFound {
		t.Errorf("%v", err)
	}
	if s.Replicas("nats") != 3 {
		t.Error("nats was scaled")
	}
	s.Refuse = func(string, string) int { return 403 }
	if _, err := run("world.kubernetes.deployments.kgents-sink.refine[replicas=2]"); kindOf(err) != agentese.KindDenied {
		t.Errorf("%v", err)
	}
}

// Replicas that don't become ready are taken back in time.
func TestScaleIsTakenBack(t *testing.T) {
	s := clustertest.New(t, clustertest.Workload{Kind: "Deployment", Name: "kgents-sink", Replicas: 1, Image: "kgents:1", Stuck: true})
	run, audit := deployed(t, s)
	if v, err := run("world.kubernetes.manifest"); err != nil || v.State != tree.Bad {
		t.Errorf("%v %+v", err, v)
	}
	if v, err := run("world.kubernetes.pods.manifest"); err != nil || v.State != tree.Bad || !strings.Contains(listed(v, "why")[0].(string), "CrashLoopBackOff") {
		t.Errorf("%v %+v", err, v)
	}
	_, err := run("world.kubernetes.deployments.kgents-sink.refine[replicas=4][rollback=1s]")
	if err == nil || s.Replicas("kgents-sink") != 1 || !strings.Contains(err.Error(), "0 of 4 replicas are ready") {
		t.Errorf("%v, %d replicas", err, s.Replicas("kgents-sink"))
	}
	if last := (*audit)[len(*audit)-1]; last.Outcome != "undone" {
		t.Errorf("%+v", last)
	}
}

// A restart replaces every pod by the workload's own strategy, which it tells before,
// and waits for the new ones as long as it is told.
func TestRestart(t *testing.T) {
	s := clustertest.New(t,
		clustertest.Workload{Kind: "Deployment", Name: "kgents-api", Replicas: 2, Image: "kgents:1", Budget: 1},
		clustertest.Workload{Kind: "Deployment", Name: "kgents-sink", Image: "kgents:1"},
		clustertest.Workload{Kind: "Deployment", Name: "paused", Replicas: 1, Image: "x", Paused: true},
		clustertest.Workload{Kind: "Deployment", Name: "recreated", Replicas: 1, Image: "x", Strategy: "Recreate"},
		clustertest.Workload{Kind: "StatefulSet", Name: "nats", Replicas: 3, Image: "nats:2"},
		clustertest.Workload{Kind: "StatefulSet", Name: "redis", Replicas: 1, Image: "redis:8"},
		clustertest.Workload{Kind: "StatefulSet", Name: "by-hand", Replicas: 1, Image: "x", Strategy: "OnDelete"},
		clustertest.Workload{Kind: "StatefulSet", Name: "ill", Replicas: 3, Image: "x", Stuck: true, Budget: 1},
	)
	run, audit := deployed(t, s)
	for _, tt := range []struct{ workload, clauses, says string }{
		{"kgents-api", "[dry_run]", "restart Deployment kgents-api in kgents-staging: 2 pods of it replaced"},
		{"kgents-api", "[dry_run]", "its pods now: kgents-api-1, kgents-api-2"},
		{"kgents-api", "[dry_run]", "1 at a time: an old pod ends when a new one is ready (RollingUpdate, maxSurge 1, maxUnavailable 0)"},
		{"kgents-api", "[dry_run]", "disruption budget kgents-api wants at most 1 unavailable, and lets 1 be away now"},
		{"kgents-api", "[dry_run]", "It can be undone"},
		{"recreated", "[dry_run]", "Nothing of recreated runs until new pods are ready"},
		{"recreated", "[dry_run]", "no disruption budget covers it"},
		{"nats", "[dry_run]", "one at a time, from nats-2 down to nats-0"},
		{"nats", "[dry_run]", "It can't be undone: a pod that has ended"},
		{"redis", "[dry_run]", "Nothing of redis runs until the new pod is ready"},
		{"ill", "[dry_run]", "Only 0 of 3 are ready"},
		{"ill", "[dry_run]", "The disruption budget ill lets none be away now"},
		{"kgents-sink", "", "nothing of it runs that could be restarted"},
		{"paused", "", "kubectl rollout resume"},
		{"by-hand", "", "OnDelete"},
		{"nats", "[rollback]", "can't be undone"},
		{"nats", "[replicas=3]", "replicas is for"},
		{"nothing", "", "there is no workload nothing"},
	} {
		v, err := run("world.kubernetes.deployments." + tt.workload + ".refine[do=restart]" + tt.clauses)
		said := v.Text + strings.Join(v.Notes, "\n")
		if err != nil {
			said = err.Error() + errorWhy(err)
		}
		if !strings.Contains(said, tt.says) {
			t.Errorf("%s%s says %s, not %q", tt.workload, tt.clauses, said, tt.says)
		}
	}
	if got := s.Requests(); len(got) > 0 || len(*audit) > 0 {
		t.Fatalf("something was changed: %v", got)
	}
	if _, err := run("world.kubernetes.deployments.kgents-api.refine"); kindOf(err) != agentese.KindClause || !strings.Contains(err.Error(), "replicas is missing") {
		t.Errorf("%v", err)
	}

	before := s.Pods()
	for _, name := range []string{"kgents-api", "nats"} {
		v, err := run("world.kubernetes.deployments." + name + ".refine[do=restart][wait=1m]")
		if err != nil || v.Held == nil || !*v.Held || v.Title == "" || figure(v, "restarts") == nil {
			t.Errorf("%v %+v", err, v)
		}
	}
	for _, p := range s.Pods() {
		if restarted := strings.HasPrefix(p, "kgents-api") || strings.HasPrefix(p, "nats"); restarted == slices.Contains(before, p) {
			t.Errorf("%s: %v before, %v now", p, before, s.Pods())
		}
	}
	s.Refuse = func(string, string) int { return 403 }
	if _, err := run("world.kubernetes.deployments.redis.refine[do=restart]"); kindOf(err) != agentese.KindDenied {
		t.Errorf("%v", err)
	}
}

// A restart whose first new pod doesn't become ready is taken back: the pods that were
// not replaced stay.
func TestRestartIsTakenBack(t *testing.T) {
	s := clustertest.New(t, clustertest.Workload{Kind: "Deployment", Name: "kgents-sink", Replicas: 2, Image: "kgents:1", Breaks: true})
	run, audit := deployed(t, s)
	before := s.Pods()
	_, err := run("world.kubernetes.deployments.kgents-sink.refine[do=restart][rollback=1s]")
	if err == nil || !strings.Contains(err.Error()+errorWhy(err), "1 of 2 pods are new, and 2 of 2 ready") {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(before, s.Pods()); diff != "" {
		t.Error(diff)
	}
	if last := (*audit)[len(*audit)-1]; last.Outcome != "undone" {
		t.Errorf("%+v", last)
	}
}

func errorWhy(err error) string {
	if e, ok := errors.AsType[*agentese.Error](err); ok {
		return e.Why
	}
	return ""
}

// Without a cluster, or with one that doesn't answer, it says so with what to do.
func TestKubernetesAway(t *testing.T) {
	run, _ := deployed(t, nil)
	for _, text := range []string{"world.kubernetes.manifest", "world.kubernetes.pods.manifest", "world.kubernetes.deployments.x.manifest", "world.kubernetes.deployments.x.refine[replicas=1]"} {
		if _, err := run(text); kindOf(err) != agentese.KindAway || !strings.Contains(err.Error(), "KUBECONFIG") {
			t.Errorf("%s: %v", text, err)
		}
	}
	s := clustertest.New(t)
	s.URL = "http://127.0.0.1:1"
	run, _ = deployed(t, s)
	if _, err := run("world.kubernetes.manifest"); kindOf(err) != agentese.KindAway || strings.Contains(err.Error(), clustertest.Token) {
		t.Errorf("%v", err)
	}
}
