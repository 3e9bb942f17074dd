//go:build cluster

package staging

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/agentese/whole"
	"github.com/kgents/kgents/api/client"
	kube "github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/operate"
)

// The deployment is looked at and changed by expressions, as an operator does in the
// shell: scaled, with a change that doesn't hold taken back, and hurt on purpose.
func expressed(c *cluster) {
	k, err := kube.Open(kube.Options{Namespace: namespace})
	if err != nil {
		c.Fatal(err)
	}
	defer k.Close()
	api := &client.Client{URL: c.address("kgents-api"), Key: c.secret("api.env", "API_KEYS"), HTTP: &http.Client{Timeout: time.Minute}}
	defer api.HTTP.CloseIdleConnections()
	all, err := whole.Tree(&living.Sources{API: api, HTTP: api.HTTP, StateDir: c.TempDir(), Cluster: func() (*kube.Client, error) { return k, nil }})
	if err != nil {
		c.Fatal(err)
	}
	var audit []tree.AuditEntry
	session := &tree.Session{Observer: tree.Admin, Budget: tree.NewBudget(), Yes: true, Audit: func(e tree.AuditEntry) error { audit = append(audit, e); return nil }}
	run := func(text string) (tree.Value, error) {
		ctx, cancel := context.WithTimeout(c.Context(), 5*time.Minute)
		defer cancel()
		e, err := agentese.Parse(text)
		if err != nil {
			return tree.Value{}, err
		}
		v, err := all.Run(ctx, e, session)
		c.Logf("%s: %s %v", text, v.Title, err)
		return v, err
	}
	must := func(text string) tree.Value {
		c.Helper()
		v, err := run(text)
		if err != nil {
			c.Fatalf("%s: %v", text, err)
		}
		return v
	}
	wanted := func(deployment string) string {
		return c.kubectl("get", "deployment", deployment, "-o", "jsonpath={.spec.replicas}")
	}

	v := must("world.kubernetes.manifest")
	if v.State != tree.Well || v.Table == nil || len(v.Table.Rows) != len(workloads) {
		c.Errorf("the deployment is %s, with %+v", v.State, v.Table)
	}
	if v := must("world.kubernetes.pods.manifest[app=nats]"); v.State != tree.Well || len(v.Table.Rows) != 3 {
		c.Errorf("NATS' pods are %s, with %+v", v.State, v.Table)
	}
	if staging, why := operate.Staging(c.Context(), k); !staging {
		c.Errorf("staging is none: %s", why)
	}

	// Within the autoscaler's bounds, so that it stays.
	before := wanted("kgents-api")
	must("world.kubernetes.deployments.kgents-api.refine[replicas=3][rollback=3m]")
	if got := wanted("kgents-api"); got != "3" {
		c.Errorf("%s replicas are wanted", got)
	}
	c.whole()

	// What can't become ready in a second is taken back.
	if _, err := run("world.kubernetes.deployments.kgents-sink.refine[replicas=3][rollback=1s]"); err == nil {
		c.Log("three sinks were ready within a second")
		must("world.kubernetes.deployments.kgents-sink.refine[replicas=2][rollback=3m]")
	} else if last := audit[len(audit)-1]; last.Outcome != "undone" {
		c.Errorf("the audit ends with %s: %v", last.Outcome, err)
	}
	if got := wanted("kgents-sink"); got != "2" {
		c.Errorf("%s sinks are wanted", got)
	}
	if _, err := run("world.kubernetes.deployments.nats.refine[replicas=5]"); err == nil || !strings.Contains(err.Error(), "StatefulSet") {
		c.Errorf("NATS is scaled: %v", err)
	}
	must("world.kubernetes.deployments.kgents-api.refine[replicas=" + before + "][rollback=3m]")
	c.whole()

	// A fault by chance, and everything is there again.
	pods := c.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}")
	must("void.entropy.sip[of=fault]")
	c.eventually("a pod is another", time.Minute, func() error {
		if now := c.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}"); now != pods {
			return nil
		}
		return errors.New("the pods are those of before")
	})
	c.whole()
}
