//go:build cluster

package staging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// appliedTwice: what has been applied is applied again, and nothing changes: the
// server sees no difference, and no object gets a new generation.
func appliedTwice(c *cluster) {
	generations := func() string {
		return c.kubectl("get", "statefulsets,deployments,services,configmaps,secrets,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,ingresses,cronjobs,roles,rolebindings,serviceaccounts,limitranges,resourcequotas",
			"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.generation}{"\n"}{end}`)
	}
	c.run("kubectl", "apply", "-k", root+"/infra/k8s/.deploy/staging") // with -keep, whoever was here before may have left something
	before := generations()
	c.run("kubectl", "apply", "-k", root+"/infra/k8s/.deploy/staging")
	if after := generations(); after != before {
		c.Errorf("the second time changed something:\n%s\nbefore:\n%s", after, before)
	}
	if out, err := c.try(time.Minute, "kubectl", "diff", "-k", root+"/infra/k8s/.deploy/staging"); err != nil {
		c.Errorf("there is a difference after the second time: %v\n%s", err, out)
	}
}

// foreign are the kinds of others that the production overlay uses. For its dry run
// the server gets definitions of them that take everything.
var foreign = []struct{ group, version, kind, plural string }{
	{"external-secrets.io", "v1", "ExternalSecret", "externalsecrets"},
	{"cert-manager.io", "v1", "Certificate", "certificates"},
	{"cert-manager.io", "v1", "Issuer", "issuers"},
}

// dryRun: the server takes every manifest of both overlays.
func dryRun(c *cluster) {
	out := c.run("kubectl", "apply", "--dry-run=server", "-k", root+"/infra/k8s/.deploy/staging")
	if n := strings.Count(out, "(server dry run)"); n < 40 {
		c.Errorf("only %d objects of staging were taken:\n%s", n, out)
	}

	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: kgents}\n")
	for _, f := range foreign {
		fmt.Fprintf(&b, `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[4]s.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: %[3]s, plural: %[4]s}
  versions:
  - name: %[2]s
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, f.group, f.version, f.kind, f.plural)
	}
	file := filepath.Join(c.TempDir(), "foreign.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		c.Fatal(err)
	}
	c.run("kubectl", "apply", "-f", file)
	defer func() { c.run("kubectl", "delete", "-f", file) }()
	c.run("kubectl", "wait", "--for=condition=Established", "--timeout=30s", "crd/externalsecrets.external-secrets.io", "crd/certificates.cert-manager.io", "crd/issuers.cert-manager.io")
	out = c.run("kubectl", "apply", "--dry-run=server", "-k", root+"/infra/k8s/overlays/production")
	if n := strings.Count(out, "(server dry run)"); n < 40 {
		c.Errorf("only %d objects of production were taken:\n%s", n, out)
	}
}
