//go:build cluster

package staging

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/joho/godotenv"
)

const (
	root      = "../.."
	namespace = "kgents-staging"
	overlay   = root + "/infra/k8s/overlays/staging"
	secrets   = overlay + "/secrets"
)

// cluster is the staging deployment on the cluster of KUBECONFIG.
type cluster struct {
	*testing.T
	tool string // a folder with partition, heal, crash and restart; may be empty
}

// run runs a program to its end and returns what it printed. It fails the test
// when the program fails.
func (c *cluster) run(name string, args ...string) string {
	c.Helper()
	out, err := c.try(10*time.Minute, name, args...)
	if err != nil {
		c.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

func (c *cluster) try(patience time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String() + stderr.String(), err
	}
	return stdout.String(), nil
}

// kubectl runs kubectl in the namespace.
func (c *cluster) kubectl(args ...string) string {
	c.Helper()
	return strings.TrimSpace(c.run("kubectl", append([]string{"-n", namespace}, args...)...))
}

// deploy runs the deployment script, as an operator does.
func (c *cluster) deploy(args ...string) string {
	c.Helper()
	if load := os.Getenv("LOAD"); load != "" {
		args = append(args, "--load", load)
	}
	return c.run(root+"/infra/k8s/scripts/deploy-staging.sh", args...)
}

// rolledOut waits until a workload has all its pods, of the newest revision.
func (c *cluster) rolledOut(workloads ...string) {
	c.Helper()
	for _, w := range workloads {
		c.kubectl("rollout", "status", w, "--timeout=5m")
	}
}

var workloads = []string{"statefulset/nats", "statefulset/redis", "statefulset/kgents-meter", "deployment/kgents-api", "deployment/kgents-sink"}

// whole waits until every workload has its pods and every NATS server says that
// its copies of the streams are current.
func (c *cluster) whole() {
	c.Helper()
	c.rolledOut(workloads...)
	c.eventually("every NATS server is current", 3*time.Minute, func() error {
		for _, ip := range strings.Fields(c.kubectl("get", "pods", "-l", "app.kubernetes.io/name=nats", "-o", "jsonpath={.items[*].status.podIP}")) {
			if err := get("http://" + ip + ":8222/healthz"); err != nil {
				return err
			}
		}
		return nil
	})
}

func get(url string) error {
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %d %s", url, resp.StatusCode, body)
	}
	return nil
}

// eventually asks until ok returns nil.
func (c *cluster) eventually(what string, patience time.Duration, ok func() error) {
	c.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("not within %v: %s: %v", patience, what, err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// address is where the service is reached from this host.
func (c *cluster) address(service string) string {
	c.Helper()
	return "http://" + c.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")
}

// secret reads one value of an env file of the overlay's secrets; of a list the
// newest, which stands first.
func (c *cluster) secret(file, name string) string {
	c.Helper()
	values, err := godotenv.Read(filepath.Join(secrets, file))
	if err != nil || values[name] == "" {
		c.Fatalf("%s: no %s (%v)", file, name, err)
	}
	first, _, _ := strings.Cut(values[name], ",")
	return first
}

// nodes are the names of the cluster's nodes.
func (c *cluster) nodes() []string {
	c.Helper()
	return strings.Fields(c.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
}

// nodeOf is the node that a pod runs on.
func (c *cluster) nodeOf(pod string) string {
	c.Helper()
	return c.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
}

// streamLeader is the pod that leads the stream of events.
func (c *cluster) streamLeader() string {
	c.Helper()
	var leader string
	c.eventually("the stream has a leader", time.Minute, func() error {
		for _, ip := range strings.Fields(c.kubectl("get", "pods", "-l", "app.kubernetes.io/name=nats", "-o", "jsonpath={.items[*].status.podIP}")) {
			resp, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + ip + ":8222/jsz?streams=true&acc=KGENTS")
			if err != nil {
				continue
			}
			var jsz struct {
				Accounts []struct {
					Streams []struct {
						Name    string `json:"name"`
						Cluster struct {
							Leader string `json:"leader"`
						} `json:"cluster"`
					} `json:"stream_detail"`
				} `json:"account_details"`
			}
			err = json.NewDecoder(resp.Body).Decode(&jsz)
			resp.Body.Close()
			if err != nil {
				continue
			}
			for _, a := range jsz.Accounts {
				for _, s := range a.Streams {
					if s.Name == "kgent-events" && s.Cluster.Leader != "" {
						leader = s.Cluster.Leader
						return nil
					}
				}
			}
		}
		return fmt.Errorf("no server names one")
	})
	return leader
}

// node does something to a node that only the cluster's own tool can do.
func (c *cluster) node(verb, node string) {
	c.Helper()
	c.run(filepath.Join(c.tool, verb), node)
}
