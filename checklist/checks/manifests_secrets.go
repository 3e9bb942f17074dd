package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/config"
)

// ours are the secrets that this program was told.
func (m *manifestArea) ours() *leaks {
	l := &leaks{}
	for _, key := range m.APIKeys {
		l.learn("one of the API's keys", key)
	}
	for _, secret := range m.WebhookSecrets {
		l.learn("a webhook secret", secret)
	}
	l.learn("the meter's key", m.MeterKey)
	if strings.Contains(m.RedisURL, "@") {
		l.learn("the password of Redis", m.RedisURL)
	}
	return l
}

// ofCluster are those and the values of the namespace's Secrets.
func (m *manifestArea) ofCluster(o *cluster.Objects) *leaks {
	l := m.ours()
	for _, s := range o.Secrets.Items {
		for _, key := range s.Keys() {
			value, _ := s.Value(key)
			if key == corev1.TLSCertKey || key == "ca.crt" || key == "namespace" {
				continue // public
			}
			l.learn("the value "+key+" of Secret "+s.Name, string(value))
		}
	}
	return l
}

// notInConfigMaps looks through every value of every ConfigMap.
func (m *manifestArea) notInConfigMaps(o *cluster.Objects) checklist.Finding {
	if f := unread(o.ConfigMaps.Err, o.Secrets.Err); f != nil {
		return *f
	}
	if len(o.ConfigMaps.Items) == 0 {
		return *nothing(o, "ConfigMap is")
	}
	l := m.ofCluster(o)
	var wrong faults
	values := 0
	for _, c := range o.ConfigMaps.Items {
		texts := map[string][]byte{}
		for key, text := range c.Data {
			texts[key] = []byte(text)
		}
		for key, text := range c.BinaryData {
			texts[key] = text
		}
		for _, key := range sortedKeys(texts) {
			values++
			if what := l.find(texts[key]); what != "" {
				wrong.add("ConfigMap "+c.Name, key+" holds "+what)
			} else if secretName(key) && len(texts[key]) > 0 {
				wrong.add("ConfigMap "+c.Name, key+" is the name of a secret")
			}
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "move it into a Secret, and rotate it: kgents secrets rotate; who reads ConfigMaps has seen it")
	}
	return checklist.Passed("%s in %s hold no form of a secret, and none of %s of Secrets", plural(values, "value"), plural(len(o.ConfigMaps.Items), "ConfigMap"), plural(len(l.known), "value"))
}

// notInEnvironment looks at the variables and the command line of every container.
func (m *manifestArea) notInEnvironment(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Secrets.Err, o.ConfigMaps.Err); f != nil {
		return *f
	}
	l := m.ofCluster(o)
	return eachContainer(o, func(_ corev1.PodSpec, c corev1.Container) (out []string) {
		for _, e := range c.Env {
			switch {
			case e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil:
				out = append(out, "has "+e.Name+" of Secret "+e.ValueFrom.SecretKeyRef.Name)
			case e.Value != "" && secretName(e.Name):
				out = append(out, "has "+e.Name)
			case l.find([]byte(e.Value)) != "":
				out = append(out, "has "+l.find([]byte(e.Value))+" in "+e.Name)
			}
		}
		for _, e := range c.EnvFrom {
			if e.SecretRef != nil {
				out = append(out, "has all of Secret "+e.SecretRef.Name)
			}
		}
		for _, word := range slices.Concat(c.Command, c.Args) {
			if what := l.find([]byte(word)); what != "" {
				out = append(out, "has "+what+" on its command line")
			}
		}
		return out
	}, "no secret in a variable or on a command line", "mount the Secret as a file, and name it in the variable with _FILE; then rotate it: kgents secrets rotate")
}

// secretName says whether the program takes a variable of that name for a secret.
func secretName(name string) bool {
	return slices.ContainsFunc(config.Variables(), func(v config.Variable) bool { return v.Secret && v.Name == name })
}

func sortedKeys[V any](m map[string]V) (out []string) {
	for key := range m {
		out = append(out, key)
	}
	slices.Sort(out)
	return out
}

// logsHoldNoSecrets reads what every container has written within the hour.
func (m *manifestArea) logsHoldNoSecrets(ctx context.Context) checklist.Finding {
	o := m.Objects(ctx)
	if o == nil {
		return noCluster
	}
	if f := unread(o.Pods.Err, o.Secrets.Err); f != nil {
		return *f
	}
	l := m.ofCluster(o)
	l.mail = true
	const next = "find the line with kubectl logs --since 1h, rotate what it shows, delete the collected copy, and report what wrote it"
	var wrong faults
	lines, logs := 0, 0
	var cutShort []string
	for _, p := range o.Pods.Items {
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.State.Waiting != nil && s.RestartCount == 0 {
				continue // it has not begun
			}
			text, whole, err := m.Cluster.Logs(ctx, p.Name, s.Name, restless)
			if _, gone := errors.AsType[*cluster.NotFoundError](err); gone {
				continue
			}
			if err != nil {
				return *unread(err)
			}
			logs++
			if !whole {
				cutShort = append(cutShort, p.Name)
			}
			if what, line := l.where(text); what != "" {
				wrong.add("pod "+p.Name, fmt.Sprintf("line %d of container %s holds %s", line, s.Name, what))
			}
			lines += bytes.Count(text, []byte("\n"))
		}
	}
	switch {
	case wrong.any():
		return checklist.Failed(wrong.String(), next)
	case logs == 0:
		return *nothing(o, "container has begun")
	case len(cutShort) > 0:
		return checklist.Warned(cut(fmt.Sprintf("%s of %s are clean, but of %s only the first %d MiB were read", plural(lines, "line"), plural(logs, "container"), some(cutShort), cluster.MaxLog>>20), evidence),
			"set LOG_LEVEL to info: so much is not meant to be logged in an hour")
	}
	return checklist.Passed("%s of %s in the last hour: no secret by its form, none of %s of Secrets, no e-mail address", plural(lines, "line"), plural(logs, "container"), plural(len(l.known), "value"))
}
