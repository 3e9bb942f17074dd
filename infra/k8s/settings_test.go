package k8s

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/config"
)

// keys are the keys of every Secret and ConfigMap, by kind/name.
func (r rendered) keys() map[string][]string {
	out := map[string][]string{}
	for _, s := range all[*corev1.Secret](r) {
		out["Secret/"+s.Name] = slices.Collect(maps.Keys(s.Data))
	}
	for _, c := range all[*corev1.ConfigMap](r) {
		out["ConfigMap/"+c.Name] = slices.Collect(maps.Keys(c.Data))
	}
	for _, o := range r.objects {
		spec, _ := o.raw["spec"].(map[string]any)
		switch o.raw["kind"] {
		case "ExternalSecret":
			name := "Secret/" + spec["target"].(map[string]any)["name"].(string)
			for _, d := range spec["data"].([]any) {
				out[name] = append(out[name], d.(map[string]any)["secretKey"].(string))
			}
		case "Certificate":
			out["Secret/"+spec["secretName"].(string)] = []string{"ca.crt", "tls.crt", "tls.key"}
		}
	}
	return out
}

// mounted are the keys that w's pods take, by kind/name.
func mounted(w workload) map[string][]string {
	out := map[string][]string{}
	add := func(ref string, items []corev1.KeyToPath) {
		out[ref] = append(out[ref], []string{}...)
		for _, i := range items {
			out[ref] = append(out[ref], i.Key)
		}
	}
	for _, v := range w.pod.Spec.Volumes {
		if v.Secret != nil {
			add("Secret/"+v.Secret.SecretName, v.Secret.Items)
		}
		if v.ConfigMap != nil {
			add("ConfigMap/"+v.ConfigMap.Name, v.ConfigMap.Items)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				add("Secret/"+s.Secret.Name, s.Secret.Items)
			}
		}
	}
	for _, c := range containers(w) {
		for _, e := range c.EnvFrom {
			add("ConfigMap/"+e.ConfigMapRef.Name, nil)
		}
	}
	return out
}

// settingProblems checks the environment of a pod that runs the program against the
// program's own settings: names, values, and that each file that is named is mounted.
func settingProblems(w workload) (problems []string) {
	c := w.pod.Spec.Containers[0]
	if !strings.HasPrefix(c.Image, "ghcr.io/kgents/kgents:") {
		return nil
	}
	known := map[string]bool{"GOMEMLIMIT": true, "KGENTS_URL": true, "KGENTS_NAMESPACE": true}
	for _, v := range config.Variables() {
		known[v.Name] = true
		known[v.Name+"_FILE"] = v.Secret
	}
	files, dirs := map[string]bool{}, map[string]bool{}
	for _, v := range w.pod.Spec.Volumes {
		for _, m := range c.VolumeMounts {
			if m.Name == v.Name && v.ConfigMap != nil && m.SubPath == "" { // one that follows changes
				for _, i := range v.ConfigMap.Items {
					files[m.MountPath+"/"+i.Path] = false
				}
			}
			if m.Name != v.Name || v.Projected == nil {
				dirs[m.MountPath] = true
				continue
			}
			for _, s := range v.Projected.Sources {
				for _, i := range s.Secret.Items {
					files[m.MountPath+"/"+i.Path] = false
				}
			}
		}
	}
	values := env(c)
	for name, value := range values {
		if !known[name] {
			problems = append(problems, name+" is no setting")
		}
		if name == "BACKUP_URL" && dirs[value] {
			continue
		}
		if strings.HasSuffix(name, "_FILE") || strings.HasPrefix(value, "/") {
			if _, ok := files[value]; !ok {
				problems = append(problems, name+" names a file that is not mounted: "+value)
			}
			files[value] = true
		}
	}
	for file, used := range files {
		if !used {
			problems = append(problems, file+" is mounted and not used")
		}
	}
	lookup := func(name string) (string, bool) {
		if _, ok := values[name+"_FILE"]; ok && name == "REDIS_URL" {
			return "redis://redis:6379/0", true
		} else if ok {
			return "a secret", true
		}
		value, ok := values[name]
		return value, ok && !strings.HasSuffix(name, "_FILE") // which would be read here
	}
	role := config.Role(c.Args[0])
	loaded, _, err := config.Load(role, config.Source{Env: lookup})
	if err == nil {
		err = loaded.Validate(role)
	}
	if err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}
