package world_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/mask"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster/clustertest"
)

// A line is shown as what it says, without what looks like a secret and without what a
// terminal would obey.
func TestLogLines(t *testing.T) {
	for _, tt := range []struct{ line, level, message, rest string }{
		{`{"time":"2026-11-28T22:00:00Z","level":"WARN","msg":"retrying","attempt":3,"error":"no route"}`, "WARN", "retrying", `attempt=3 error="no route"`},
		{`{"ts":1764367200.5,"severity":"info","message":"ready","big":12345678901234567890}`, "INFO", "ready", "big=12345678901234567890"},
		{`{"msg":"nested","a":{"b":[1,"x"],"c":null},"empty":""}`, "", "nested", `a.b.0=1 a.b.1=x a.c=null empty=""`},
		{`{"msg":"key kg_abcdefghij_0123456789abcdef","db":{"password":"two words"},"auth":"Bearer abcdefghijkl"}`, "", "key kg_abcdefghij_" + mask.Masked, `auth="Bearer ` + mask.Masked + `" db.password=` + mask.Masked},
		{`[1] 2026/11/28 22:00:00.000000 [INF] Server is ready`, "", "[1] 2026/11/28 22:00:00.000000 [INF] Server is ready", ""},
		{"\x1b[31mred\x1b[0m \x1b]0;title\x07and\x1b[2J gone\u202e", "", "red and gone\ufffd", ""},
		{`{"msg":"\u001b[2Jcleared\nand more"}`, "", "cleared and more", ""},
		{`{"msg":"half`, "", `{"msg":"half`, ""},
		{`{"msg":"one"} {"msg":"two"}`, "", `{"msg":"one"} {"msg":"two"}`, ""},
		{`dial redis://user:hunter2@redis:6379 NATS_PASSWORD=x`, "", "dial redis://user:" + mask.Masked + "@redis:6379 NATS_PASSWORD=" + mask.Masked, ""},
		{strings.Repeat("long ", 500), "", strings.Repeat("long ", 400) + "…", ""},
	} {
		s := clustertest.New(t, clustertest.Workload{Kind: "StatefulSet", Name: "nats", Replicas: 1, Log: []string{tt.line}})
		run, _ := deployed(t, s)
		v, err := run("world.kubernetes.pods.nats-1.witness")
		if err != nil {
			t.Fatal(err)
		}
		got := [3]string{}
		for i, column := range []string{"level", "message", "rest"} {
			got[i] = listed(v, column)[0].(string)
		}
		if d := cmp.Diff([3]string{tt.level, tt.message, tt.rest}, got); d != "" {
			t.Errorf("%.100s: %s", tt.line, d)
		}
	}
}

func TestLogs(t *testing.T) {
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf(`{"level":"INFO","msg":"batch %d","customer":"c%d"}`, i, i%3))
	}
	s := clustertest.New(t,
		clustertest.Workload{Kind: "Deployment", Name: "kgents-sink", Replicas: 2, Image: "kgents:1", Log: many, Previous: []string{"panic: no"}},
		clustertest.Workload{Kind: "StatefulSet", Name: "nats", Replicas: 1, Image: "nats:2", Log: []string{"one"}},
		clustertest.Workload{Kind: "Deployment", Name: "new", Replicas: 1, Image: "x", Stuck: true},
		clustertest.Workload{Kind: "Deployment", Name: "none", Image: "x"},
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
	for _, tt := range []struct {
		expr        string
		lines       int
		first, last any    // messages
		says        string // in a note
	}{
		{"world.kubernetes.pods.kgents-sink-1.witness", 100, "batch 200", "batch 299", "older lines"},
		{"world.kubernetes.pods.kgents-sink-1.witness[limit=2]", 2, "batch 298", "batch 299", "older lines"},
		{"world.kubernetes.pods.kgents-sink-1.witness[limit=300]", 300, "batch 0", "batch 299", ""},
		{"world.kubernetes.pods.kgents-sink-1.witness[word=BATCH 7]", 11, "batch 7", "batch 79", ""},
		{"world.kubernetes.pods.kgents-sink-1.witness[word=customer=c1][limit=1]", 1, "batch 298", "batch 298", "older lines"},
		{"world.kubernetes.pods.kgents-sink-1.witness[word=nowhere]", 0, nil, nil, "No line is there"},
		{"world.kubernetes.pods.kgents-sink-1.witness[since=90s]", 3, "batch 297", "batch 299", ""},
		{"world.kubernetes.pods.kgents-sink-1.witness[previous]", 1, "panic: no", "panic: no", ""},
		{"world.kubernetes.pods.kgents-sink-1.witness[container=main][limit=1]", 1, "batch 299", "batch 299", ""},
		{"world.kubernetes.pods.nats-3.witness[previous]", 0, nil, nil, "previous terminated container"},
		{"world.kubernetes.pods.new-4.witness", 0, nil, nil, "waiting to start"},
		{"world.kubernetes.deployments.kgents-sink.witness[limit=4]", 4, "batch 298", "batch 299", "older lines"},
		{"world.kubernetes.deployments.kgents-sink.witness[word=batch 299]", 2, "batch 299", "batch 299", ""},
		{"world.kubernetes.deployments.none.witness", 0, nil, nil, "It has no pod"},
	} {
		v := must(tt.expr)
		messages := listed(v, "message")
		var first, last any
		if len(messages) > 0 {
			first, last = messages[0], messages[len(messages)-1]
		}
		if len(messages) != tt.lines || first != tt.first || last != tt.last || !strings.Contains(strings.Join(v.Notes, "\n"), tt.says) {
			t.Errorf("%s: %d lines from %v to %v, %q", tt.expr, len(messages), first, last, v.Notes)
		}
	}
	if v := must("world.kubernetes.pods.kgents-sink-1.witness"); len(v.Next) != 1 || v.Next[0].Expr != "world.kubernetes.pods.kgents-sink-1.witness[previous]" {
		t.Errorf("%+v", v.Next)
	}
	if v := must("world.kubernetes.pods.kgents-sink-1.manifest"); v.State != tree.Well || listed(v, "ended before")[0] != "with 2, Error" || figure(v, "node") != "node-1" {
		t.Errorf("%+v", v)
	}
	for expr, kind := range map[string]agentese.Kind{
		"world.kubernetes.pods.kgents-sink.witness":                     agentese.KindNotFound,
		"world.kubernetes.pods.nothing.manifest":                        agentese.KindNotFound,
		"world.kubernetes.pods.kgents-sink-1.witness[container=nobody]": agentese.KindClause,
		"world.kubernetes.pods.kgents-sink-1.witness[limit=1001]":       agentese.KindClause,
		"world.kubernetes.deployments.nothing.witness":                  agentese.KindNotFound,
	} {
		if _, err := run(expr); kindOf(err) != kind {
			t.Errorf("%s: %v", expr, err)
		}
	}
	if len(*audit) > 0 || len(s.Requests()) > 0 {
		t.Error("looking has changed something")
	}
}
