package cluster

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Given is what a container of a pod is given: its variables, and the files that are
// mounted from Secrets and ConfigMaps. It follows the names in the pod's template, so
// it is what runs, whatever hash ends a name. The zero Given has nothing.
type Given struct {
	what      string
	container corev1.Container
	spec      corev1.PodSpec
	objects   *Objects
}

// Given is what the container, or the only one when the name is empty, of a pod
// template is given. What names the workload, for errors.
func (o *Objects) Given(what string, spec corev1.PodSpec, container string) (Given, error) {
	for _, c := range spec.Containers {
		if c.Name == container || container == "" && len(spec.Containers) == 1 {
			return Given{what, c, spec, o}, nil
		}
	}
	return Given{}, &NotFoundError{fmt.Sprintf("container %q of %s", container, what)}
}

// Setting is what the program is told by a variable: its value, or what is in the
// file that the variable with _FILE behind its name names, without the line's end.
// It is empty when neither is set.
func (g Given) Setting(name string) (string, error) {
	value, ok, err := g.Variable(name)
	if ok || err != nil {
		return value, err
	}
	file, ok, err := g.Variable(name + "_FILE")
	if !ok || err != nil {
		return "", err
	}
	content, err := g.File(file)
	return strings.TrimRight(string(content), "\r\n"), err
}

// Variable is the value of a variable of the environment, and whether it is set. One
// that comes of the pod itself, as its address, is set and empty.
func (g Given) Variable(name string) (value string, set bool, err error) {
	for i := len(g.container.Env) - 1; i >= 0; i-- { // the last one counts
		v := g.container.Env[i]
		if v.Name != name {
			continue
		}
		from := v.ValueFrom
		switch {
		case from == nil:
			return v.Value, true, nil
		case from.SecretKeyRef != nil:
			b, err := g.secret(from.SecretKeyRef.Name, from.SecretKeyRef.Key)
			return string(b), err == nil, optional(err, from.SecretKeyRef.Optional)
		case from.ConfigMapKeyRef != nil:
			b, err := g.configMap(from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
			return string(b), err == nil, optional(err, from.ConfigMapKeyRef.Optional)
		}
		return "", true, nil
	}
	for i := len(g.container.EnvFrom) - 1; i >= 0; i-- {
		from := g.container.EnvFrom[i]
		key, ok := strings.CutPrefix(name, from.Prefix)
		if !ok {
			continue
		}
		if ref := from.SecretRef; ref != nil {
			s, err := g.objects.Secrets.Named(ref.Name)
			if err != nil {
				if err = optional(err, ref.Optional); err != nil {
					return "", false, err
				}
				continue
			}
			if b, ok := s.Value(key); ok {
				return string(b), true, nil
			}
		}
		if ref := from.ConfigMapRef; ref != nil {
			m, err := g.objects.ConfigMaps.Named(ref.Name)
			if err != nil {
				if err = optional(err, ref.Optional); err != nil {
					return "", false, err
				}
				continue
			}
			if text, ok := m.Data[key]; ok {
				return text, true, nil
			}
		}
	}
	return "", false, nil
}

// File is the content of a file of the container that comes of a Secret or of a
// ConfigMap.
func (g Given) File(file string) ([]byte, error) {
	file = path.Clean(file)
	var mount *corev1.VolumeMount
	for i, m := range g.container.VolumeMounts {
		at := path.Clean(m.MountPath)
		if (file == at || strings.HasPrefix(file, at+"/")) && (mount == nil || len(at) > len(path.Clean(mount.MountPath))) {
			mount = &g.container.VolumeMounts[i]
		}
	}
	missing := &NotFoundError{"file " + file + " of " + g.what}
	if mount == nil {
		return nil, missing
	}
	at := strings.TrimPrefix(strings.TrimPrefix(file, path.Clean(mount.MountPath)), "/")
	at = path.Join(mount.SubPath, at)
	for _, v := range g.spec.Volumes {
		if v.Name != mount.Name {
			continue
		}
		switch {
		case v.Secret != nil:
			if key, ok := keyOf(v.Secret.Items, at); ok {
				return g.secret(v.Secret.SecretName, key)
			}
		case v.ConfigMap != nil:
			if key, ok := keyOf(v.ConfigMap.Items, at); ok {
				return g.configMap(v.ConfigMap.Name, key)
			}
		case v.Projected != nil:
			for i := len(v.Projected.Sources) - 1; i >= 0; i-- { // the last one counts
				b, err := g.projected(v.Projected.Sources[i], at)
				if b != nil || err != nil {
					return b, err
				}
			}
		}
	}
	return nil, missing
}

// projected is the content of a source of a projected volume, nil when the file is
// none of it.
func (g Given) projected(from corev1.VolumeProjection, at string) ([]byte, error) {
	switch {
	case from.Secret != nil:
		key, ok := keyOf(from.Secret.Items, at)
		if !ok {
			return nil, nil
		}
		s, err := g.objects.Secrets.Named(from.Secret.Name)
		if err != nil {
			return nil, optional(err, from.Secret.Optional)
		}
		if b, ok := s.Value(key); ok {
			return b, nil
		}
	case from.ConfigMap != nil:
		key, ok := keyOf(from.ConfigMap.Items, at)
		if !ok {
			return nil, nil
		}
		m, err := g.objects.ConfigMaps.Named(from.ConfigMap.Name)
		if err != nil {
			return nil, optional(err, from.ConfigMap.Optional)
		}
		if text, ok := m.Data[key]; ok {
			return []byte(text), nil
		}
		return m.BinaryData[key], nil
	}
	return nil, nil
}

// keyOf is the key whose value is at a path of a volume; without items each key is at
// its own name.
func keyOf(items []corev1.KeyToPath, at string) (key string, ok bool) {
	if len(items) == 0 {
		return at, at != "" && !strings.Contains(at, "/")
	}
	for _, i := range items {
		if path.Clean(i.Path) == at {
			return i.Key, true
		}
	}
	return "", false
}

func (g Given) secret(name, key string) ([]byte, error) {
	s, err := g.objects.Secrets.Named(name)
	if err != nil {
		return nil, err
	}
	if b, ok := s.Value(key); ok {
		return b, nil
	}
	return nil, &NotFoundError{"key " + key + " of Secret " + name}
}

func (g Given) configMap(name, key string) ([]byte, error) {
	m, err := g.objects.ConfigMaps.Named(name)
	if err != nil {
		return nil, err
	}
	if text, ok := m.Data[key]; ok {
		return []byte(text), nil
	}
	if b, ok := m.BinaryData[key]; ok {
		return b, nil
	}
	return nil, &NotFoundError{"key " + key + " of ConfigMap " + name}
}

// optional forgives what isn't there where the pod does.
func optional(err error, is *bool) error {
	if _, missing := err.(*NotFoundError); missing && is != nil && *is {
		return nil
	}
	return err
}
