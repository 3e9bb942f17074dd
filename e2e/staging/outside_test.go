//go:build cluster

package staging

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	kube "github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/access"
)

// verifiedFromOutside: an operator's machine has a kubeconfig and nothing else. Every
// line of the verification passes there, through tunnels: no name of the cluster means
// anything on this host.
func verifiedFromOutside(c *cluster) {
	program, err := filepath.Abs(root + "/bin/kgents")
	if err != nil {
		c.Fatal(err)
	}
	for _, name := range []string{"KGENTS_URL", "API_KEYS", "API_KEYS_FILE", "NATS_SERVERS", "REDIS_URL", "REDIS_URL_FILE"} {
		c.Setenv(name, "")
	}
	c.Chdir(c.TempDir()) // no .env
	out := c.run(program, "verify", "--deep", "--namespace", namespace, "--timeout", "60s", "--data", c.TempDir())
	if !strings.Contains(out, "all 10 checks pass") {
		c.Errorf("not every line passes:\n%s", out)
	}
	c.Log(out)
	tunnels(c)
}

// tunnels: real pods by each form of their name; what isn't there says so.
func tunnels(c *cluster) {
	client, err := kube.Open(kube.Options{Namespace: namespace})
	if err != nil {
		c.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o := client.Look(ctx)
	a := access.New(client, o)
	defer a.Close()
	for what, err := range map[string]error{
		"api": a.API.Err, "sink": a.Sink.Err, "verify": a.Verify.Err, "NATS as api": a.NATSAPI.Err, "NATS as sink": a.NATSSink.Err, "NATS as system": a.NATSSystem.Err,
		"pods": o.Pods.Err, "secrets": o.Secrets.Err, "nodes": o.Nodes.Err, "policies": o.NetworkPolicies.Err, "roles": o.Roles.Err,
	} {
		if err != nil {
			c.Errorf("%s: %v", what, err)
		}
	}
	for _, url := range []string{
		"http://kgents-api/livez", "http://kgents-api." + namespace + ":80/livez", "http://kgents-api." + namespace + ".svc/livez", "http://kgents-api." + namespace + ".svc.cluster.local/livez",
		"http://nats-0.nats-headless:8222/healthz", "http://nats-1.nats-headless." + namespace + ".svc:8222/healthz",
		"http://" + c.kubectl("get", "pod", "nats-2", "-o", "jsonpath={.status.podIP}") + ":8222/healthz",
	} {
		resp, err := a.HTTP.Get(url)
		if err != nil {
			c.Errorf("%s: %v", url, err)
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			c.Errorf("%s: %s", url, resp.Status)
		}
	}
	conn, err := client.DialContext(ctx, "tcp", "nats-0.nats-headless:9")
	if err != nil {
		c.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil || err.Error() != "pod nats-0: nothing listens on port 9" {
		c.Errorf("the error is %v", err)
	}
	_, err = client.DialContext(ctx, "tcp", "nats-9.nats-headless:4222")
	if _, ok := errors.AsType[*kube.NotFoundError](err); !ok {
		c.Errorf("the error is %v", err)
	}
	if _, err := net.DefaultResolver.LookupHost(ctx, "nats-0.nats-headless"); err == nil {
		c.Error("this host knows the cluster's names, so that nothing was shown")
	}
}
