package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/cluster"
)

// Every kind is read, page by page, and each error stays with its kind.
func TestLook(t *testing.T) {
	const total = 23
	one := func(i int) string {
		return fmt.Sprintf(`{"metadata":{"name":"o-%d"},"data":{},"spec":{},"status":{}}`, i)
	}
	var pages atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		kind := parts[len(parts)-1]
		switch kind {
		case "test":
			fmt.Fprint(w, `{"metadata":{"name":"test"}}`)
			return
		case "networkpolicies":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message":"may not"}`)
			return
		case "prometheusrules":
			http.NotFound(w, r)
			return
		case "jobs": // without end
			if pages.Add(1) > 6 {
				t.Error("a list without end is read on")
			}
			fmt.Fprint(w, `{"metadata":{"continue":"more"},"items":[`+strings.Repeat(one(0)+",", 999)+one(0)+`]}`)
			return
		case "nodes":
			if len(parts) != 3 {
				t.Errorf("nodes were asked for in a namespace: %s", r.URL)
			}
		case "secrets":
			if r.URL.Query().Get("fieldSelector") != "type!=helm.sh/release.v1" {
				t.Errorf("secrets were asked for with %s", r.URL.RawQuery)
			}
		}
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		if limit <= 0 || limit > 250 {
			t.Errorf("%s has a page of %d", kind, limit)
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		var items []string
		for i := from; i < min(total, from+limit); i++ {
			items = append(items, one(i))
		}
		next := ""
		if from+limit < total {
			next = strconv.Itoa(from + limit)
		}
		fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
	}))
	defer s.Close()
	kubeconfig(t, s.URL, nil)
	c, err := cluster.Open(cluster.Options{Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	o := c.Look(t.Context())
	for name, part := range map[string]struct {
		n   int
		err error
	}{
		"nodes": {len(o.Nodes.Items), o.Nodes.Err}, "pods": {len(o.Pods.Items), o.Pods.Err},
		"deployments": {len(o.Deployments.Items), o.Deployments.Err}, "statefulsets": {len(o.StatefulSets.Items), o.StatefulSets.Err},
		"cronjobs": {len(o.CronJobs.Items), o.CronJobs.Err}, "autoscalers": {len(o.Autoscalers.Items), o.Autoscalers.Err},
		"budgets": {len(o.Budgets.Items), o.Budgets.Err}, "ingresses": {len(o.Ingresses.Items), o.Ingresses.Err},
		"services": {len(o.Services.Items), o.Services.Err}, "configmaps": {len(o.ConfigMaps.Items), o.ConfigMaps.Err},
		"secrets": {len(o.Secrets.Items), o.Secrets.Err}, "volumes": {len(o.Volumes.Items), o.Volumes.Err},
		"accounts": {len(o.ServiceAccounts.Items), o.ServiceAccounts.Err}, "roles": {len(o.Roles.Items), o.Roles.Err},
		"bindings": {len(o.RoleBindings.Items), o.RoleBindings.Err}, "quotas": {len(o.Quotas.Items), o.Quotas.Err},
		"limits": {len(o.LimitRanges.Items), o.LimitRanges.Err},
	} {
		if part.n != total || part.err != nil {
			t.Errorf("%s: %d, %v", name, part.n, part.err)
		}
	}
	if len(o.Namespace.Items) != 1 || o.Namespace.Err != nil {
		t.Errorf("the namespace is %+v", o.Namespace)
	}
	if _, ok := errors.AsType[*cluster.DeniedError](o.NetworkPolicies.Err); !ok {
		t.Errorf("network policies: %v", o.NetworkPolicies.Err)
	}
	if _, ok := errors.AsType[*cluster.NotFoundError](o.PrometheusRules.Err); !ok {
		t.Errorf("rules: %v", o.PrometheusRules.Err)
	}
	if o.Jobs.Err == nil || len(o.Jobs.Items) != 0 || !strings.Contains(o.Jobs.Err.Error(), "more than 5000 jobs") {
		t.Errorf("jobs: %d, %v", len(o.Jobs.Items), o.Jobs.Err)
	}
	if d, err := o.Deployments.Named("o-22"); err != nil || d.Name != "o-22" {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := o.Secrets.Named("none"); err == nil || err.Error() != "Secret none is not there" {
		t.Errorf("the error is %v", err)
	}
	if _, err := o.NetworkPolicies.Named("any"); err == nil || !strings.Contains(err.Error(), "no permission") {
		t.Errorf("the error is %v", err)
	}
}

func secret(t *testing.T, text string) (s cluster.Secret) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// However a Secret is shown, its values aren't, nor in what kubectl notes beside them.
func TestSecretHides(t *testing.T) {
	s := secret(t, `{"metadata":{"name":"s","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"aHVzaA==","other":"kept"}},"type":"Opaque","data":{"b":"aHVzaA==","a":"aHVzaA=="}}`)
	if v, ok := s.Value("a"); !ok || string(v) != "hush" || s.Type != "Opaque" || strings.Join(s.Keys(), " ") != "a b" || len(s.Annotations) != 1 || s.Annotations["other"] != "kept" {
		t.Errorf("the secret is %v with %v", s, s.Keys())
	}
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&shown, verb+verb+verb, s, &s, []cluster.Secret{s})
		fmt.Fprintf(&shown, verb, cluster.Part[cluster.Secret]{Items: []cluster.Secret{s}})
	}
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "s", s, "p", &s)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "s", s, "p", &s)
	_ = json.NewEncoder(&shown).Encode(map[string]any{"s": s, "p": &s})
	for _, value := range []string{"hush", "aHVzaA", "68757368", "104 117"} {
		if strings.Contains(shown.String(), value) {
			t.Errorf("%s is in %s", value, shown.String())
		}
	}
}

// What a container is given, in every form in which a pod template says it.
func TestGiven(t *testing.T) {
	o := &cluster.Objects{}
	o.Secrets.Items = []cluster.Secret{secret(t, `{"metadata":{"name":"keys-abc"},"data":{"K":"a2V5Cg==","Z":""}}`)}
	if err := json.Unmarshal([]byte(`[{"metadata":{"name":"conf"},"data":{"C":"text","PRE_X":"px"}}]`), &o.ConfigMaps.Items); err != nil {
		t.Fatal(err)
	}
	var spec corev1.PodSpec
	if err := json.Unmarshal([]byte(`{"containers":[{"name":"main","env":[
{"name":"A","value":"first"},{"name":"A","value":"plain"},
{"name":"KEY","valueFrom":{"secretKeyRef":{"name":"keys-abc","key":"K"}}},
{"name":"TEXT","valueFrom":{"configMapKeyRef":{"name":"conf","key":"C"}}},
{"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
{"name":"LOST","valueFrom":{"secretKeyRef":{"name":"gone","key":"K"}}},
{"name":"MAYBE","valueFrom":{"secretKeyRef":{"name":"gone","key":"K","optional":true}}},
{"name":"P_FILE","value":"/run/p/key"},{"name":"Q_FILE","value":"/run/none"}],
"envFrom":[{"configMapRef":{"name":"conf"}},{"prefix":"S_","secretRef":{"name":"keys-abc"}},{"secretRef":{"name":"gone","optional":true}}],
"volumeMounts":[{"name":"p","mountPath":"/run/p"},{"name":"s","mountPath":"/run/s/"},{"name":"c","mountPath":"/etc/app/conf.txt","subPath":"C"},{"name":"e","mountPath":"/run"}]}],
"volumes":[{"name":"p","projected":{"sources":[{"configMap":{"name":"conf","items":[{"key":"C","path":"key"}]}},{"secret":{"name":"keys-abc","items":[{"key":"K","path":"key"},{"key":"K","path":"deep/er"}]}},{"secret":{"name":"gone","optional":true}}]}},
{"name":"s","secret":{"secretName":"keys-abc"}},{"name":"c","configMap":{"name":"conf"}},{"name":"e","emptyDir":{}}]}`), &spec); err != nil {
		t.Fatal(err)
	}
	g, err := o.Given("Deployment x", spec, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"A": "plain", "KEY": "key\n", "TEXT": "text", "IP": "", "MAYBE": "", "PRE_X": "px", "C": "text", "S_K": "key\n", "P": "key", "NONE": "",
	} {
		if got, err := g.Setting(name); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{"LOST": "Secret gone is not there", "Q": "file /run/none of Deployment x is not there"} {
		if _, err := g.Setting(name); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "Secret ")) {
			t.Errorf("%s: the error is %v, want %q", name, err, want)
		}
	}
	for file, want := range map[string]string{
		"/run/p/key": "key\n", "/run/p/deep/er": "key\n", "/run/s/K": "key\n", "/run/s/../s/K": "key\n", "/etc/app/conf.txt": "text", "/run/s/Z": "",
	} {
		if got, err := g.File(file); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", file, got, err, want)
		}
	}
	for _, file := range []string{"/run/other", "/elsewhere", "/run/s", "/run/s/none", "/run/secret"} {
		if _, err := g.File(file); err == nil {
			t.Errorf("%s was found", file)
		}
	}
	if _, err := o.Given("Deployment x", spec, "other"); err == nil {
		t.Error("a container that isn't there")
	}
	if v, set, err := (cluster.Given{}).Variable("A"); v != "" || set || err != nil {
		t.Error("the zero Given has something")
	}
	o.Secrets.Err = &cluster.DeniedError{What: "secrets", Reason: "may not"}
	if _, err := g.Setting("P"); err == nil || !strings.Contains(err.Error(), "no permission to read secrets") {
		t.Errorf("the error is %v", err)
	}
}
