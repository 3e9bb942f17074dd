package k8s

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/cluster/reach"
	"github.com/kgents/kgents/config"
	"github.com/kgents/kgents/plan"
)

// TestPlansOfTheManifests: the plans that are deployed are the program's own, and a
// change of them reaches the pods that run.
func TestPlansOfTheManifests(t *testing.T) {
	own := readFile(t, "../../plan/plans.yaml")
	eachOverlay(t, func(t *testing.T, r rendered) {
		found := false
		for _, c := range all[*corev1.ConfigMap](r) {
			if c.Name != "kgents-plans" {
				continue
			}
			found = true
			if c.Data["plans.yaml"] != own {
				t.Error("the ConfigMap is not plan/plans.yaml: copy it to manifests/plans")
			}
			if _, err := plan.Load([]byte(c.Data["plans.yaml"])); err != nil {
				t.Error(err)
			}
		}
		if !found {
			t.Error("there is no ConfigMap kgents-plans")
		}
		for _, w := range r.workloads() {
			if w.name != "kgents-api" && w.name != "kgents-sink" {
				continue
			}
			i := slices.IndexFunc(w.pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
				return strings.HasPrefix(env(w.pod.Spec.Containers[0])["PLANS_FILE"], m.MountPath+"/")
			})
			if i < 0 || w.pod.Spec.Containers[0].VolumeMounts[i].SubPath != "" {
				t.Errorf("%s does not follow its plans", w.name)
			}
		}
	})
}

// sold is an overlay that sells plans by Stripe.
func sold(t *testing.T, overlay string) rendered {
	t.Helper()
	dir := filepath.Join(workspace(t), "overlays", overlay)
	file := filepath.Join(dir, "kustomization.yaml")
	text := readFile(t, file)
	const component = "- ../../components/stripe\n"
	if strings.Contains(text, "\ncomponents:\n") {
		text = strings.Replace(text, "\ncomponents:\n", "\ncomponents:\n"+component, 1)
	} else {
		text += "components:\n" + component
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := build(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := rendered{overlay: overlay, namespace: overlays[overlay]}
	if r.objects, err = decode(out); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStripe: with the component, api and sink have the keys as files, know every
// setting, and reach Stripe but nothing that is private. Nobody else has a key.
func TestStripe(t *testing.T) {
	for overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			r := sold(t, overlay)
			seen := 0
			for _, w := range r.workloads() {
				_, has := mounted(w)["Secret/kgents-stripe"]
				if want := w.name == "kgents-api" || w.name == "kgents-sink"; has != want {
					t.Errorf("%s has Stripe's keys: %t", w.name, has)
				} else if want {
					seen++
				}
				for rule, check := range podRules {
					if rule == "mounted keys exist" {
						continue // the Secret is the operator's
					}
					for _, problem := range check(r, w) {
						t.Errorf("%s: %s: %s", w.id, rule, problem)
					}
				}
			}
			if seen != 2 {
				t.Errorf("%d workloads have Stripe's keys", seen)
			}
			for _, c := range all[*corev1.ConfigMap](r) {
				if !strings.HasPrefix(c.Name, "kgents-stripe-") {
					continue
				}
				seen++
				if c.Data["PUBLIC_URL"] == "" {
					t.Error("links to checkout would be paths: PUBLIC_URL is not set")
				}
				for name := range c.Data {
					if !slices.ContainsFunc(config.Variables(), func(v config.Variable) bool { return v.Name == name && !v.Secret }) {
						t.Errorf("%s is no setting, or a secret one", name)
					}
				}
			}
			if seen != 3 {
				t.Error("there is no ConfigMap kgents-stripe with a hash in its name")
			}
			policies := policiesOf(r)
			for _, w := range r.workloads() {
				if w.name != "kgents-api" && w.name != "kgents-sink" {
					continue
				}
				from := reach.End{Name: w.name, Namespace: r.namespace, Labels: w.pod.Labels}
				for _, to := range around(r.namespace) {
					want := strings.HasPrefix(to.Name, "internet")
					if got := reach.Allowed(policies, from, to, reach.TCP(443)); got != want {
						t.Errorf("%s reaches %s: %t", w.name, to.Name, got)
					}
				}
			}
		})
	}
}
