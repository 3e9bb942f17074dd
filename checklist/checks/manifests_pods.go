package checks

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
)

// The way back for what a pod's manifest says.
const asDeployed = "deploy what infra/k8s has; look at who changed the pods or injects containers"

// podsNonRoot wants Kubernetes to refuse root, and no user who is root.
func podsNonRoot(o *cluster.Objects) checklist.Finding {
	return eachContainer(o, func(p corev1.PodSpec, c corev1.Container) (out []string) {
		var refused *bool
		var user *int64
		if s := p.SecurityContext; s != nil {
			refused, user = s.RunAsNonRoot, s.RunAsUser
		}
		if s := c.SecurityContext; s != nil {
			if s.RunAsNonRoot != nil {
				refused = s.RunAsNonRoot
			}
			if s.RunAsUser != nil {
				user = s.RunAsUser
			}
		}
		switch {
		case user != nil && *user == 0:
			out = append(out, "runs as root")
		case !yes(refused):
			out = append(out, "may run as root")
		}
		return out
	}, "runAsNonRoot in every container", asDeployed)
}

// podsReadOnly wants no container to write to its image.
func podsReadOnly(o *cluster.Objects) checklist.Finding {
	return eachContainer(o, func(_ corev1.PodSpec, c corev1.Container) []string {
		if c.SecurityContext == nil || !yes(c.SecurityContext.ReadOnlyRootFilesystem) {
			return []string{"can write to its root filesystem"}
		}
		return nil
	}, "readOnlyRootFilesystem in every container", asDeployed)
}

// podsUnprivileged wants what the restricted standard asks for, beyond the user.
func podsUnprivileged(o *cluster.Objects) checklist.Finding {
	container := func(p corev1.PodSpec, c corev1.Container) (out []string) {
		s := c.SecurityContext
		if s == nil {
			s = &corev1.SecurityContext{}
		}
		if yes(s.Privileged) {
			out = append(out, "is privileged")
		}
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
			out = append(out, "can gain privileges")
		}
		if s.Capabilities == nil || !slices.Contains(s.Capabilities.Drop, "ALL") {
			out = append(out, "keeps capabilities")
		} else if len(s.Capabilities.Add) > 0 {
			out = append(out, fmt.Sprintf("has the capability %s", s.Capabilities.Add[0]))
		}
		profile := s.SeccompProfile
		if profile == nil && p.SecurityContext != nil {
			profile = p.SecurityContext.SeccompProfile
		}
		if profile == nil || profile.Type == corev1.SeccompProfileTypeUnconfined {
			out = append(out, "has no seccomp profile")
		}
		if s.ProcMount != nil && *s.ProcMount != corev1.DefaultProcMount {
			out = append(out, "has /proc unmasked")
		}
		return out
	}
	return eachUnit(o, func(u unit) (out []string) {
		for _, c := range containers(u.spec) {
			for _, what := range container(u.spec, c) {
				out = append(out, "container "+c.Name+" "+what)
			}
		}
		if u.spec.HostNetwork || u.spec.HostPID || u.spec.HostIPC {
			out = append(out, "shares a namespace of its node")
		}
		for _, v := range u.spec.Volumes {
			if v.HostPath != nil {
				out = append(out, "mounts "+v.HostPath.Path+" of its node")
			}
		}
		return out
	}, "no privilege, no capability, a seccomp profile, and nothing of the node", asDeployed)
}

// resourceLimits wants every container to say what it takes.
func resourceLimits(o *cluster.Objects) checklist.Finding {
	return eachContainer(o, func(_ corev1.PodSpec, c corev1.Container) (out []string) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
			if request.IsZero() {
				out = append(out, "has no request of "+string(name))
			}
			if limit.IsZero() {
				out = append(out, "has no limit of "+string(name))
			}
		}
		return out
	}, "each container has requests and limits of cpu and memory", asDeployed)
}

// movingTags are tags that are something else tomorrow.
var movingTags = []string{"latest", "main", "master", "head", "dev", "develop", "edge", "nightly", "stable"}

// imagesPinned wants a version, and that a version is the same image in all pods.
func imagesPinned(o *cluster.Objects) checklist.Finding {
	all, f := units(o)
	if f != nil {
		return *f
	}
	const next = "set the image's version in the overlay's kustomization.yaml, and deploy"
	var wrong, vague faults
	images := map[string]bool{}
	for _, u := range all {
		for _, c := range containers(u.spec) {
			images[c.Image] = true
			_, digest, _ := strings.Cut(c.Image, "@")
			path, _, _ := strings.Cut(c.Image, "@")
			_, tag, _ := strings.Cut(path[strings.LastIndex(path, "/")+1:], ":")
			switch {
			case strings.HasPrefix(digest, "sha256:"):
			case tag == "":
				wrong.add(u.name, "image "+c.Image+" has no version")
			case slices.Contains(movingTags, strings.ToLower(tag)):
				wrong.add(u.name, "image "+c.Image+" has a tag that moves")
			case !strings.ContainsAny(tag, "0123456789"):
				vague.add(u.name, "image "+c.Image+" has a tag that is no version")
			}
		}
	}
	// The runtime knows an image by several names, so only the same name may be
	// compared.
	digests := map[string]string{}
	for _, p := range running(o) {
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.ImageID == "" {
				continue
			}
			was, seen := digests[s.Image]
			digests[s.Image] = s.ImageID
			if seen && was != s.ImageID {
				wrong.add("pod "+p.Name, "image "+s.Image+" is another one than in other pods")
			}
		}
	}
	switch {
	case wrong.any():
		return checklist.Failed(wrong.String(), next)
	case vague.any():
		return checklist.Warned(vague.String(), next)
	}
	return checklist.Passed("%s: %s, each with a version or a digest", counted(o, all), plural(len(images), "image"))
}

// podSecurity wants Kubernetes to refuse what the checks of pods look for.
func podSecurity(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Namespace.Err); f != nil {
		return *f
	}
	if len(o.Namespace.Items) == 0 {
		return *nothing(o, "namespace is known")
	}
	const label = "pod-security.kubernetes.io/enforce"
	has := o.Namespace.Items[0].Labels
	if has[label] != "restricted" {
		level := "nothing"
		if has[label] != "" {
			level = has[label]
		}
		return checklist.Failed(fmt.Sprintf("namespace %s enforces %s, not restricted", o.Name, level),
			fmt.Sprintf("kubectl label namespace %s %s=restricted --overwrite", o.Name, label))
	}
	version := has[label+"-version"]
	if version == "" {
		version = "latest"
	}
	return checklist.Passed("namespace %s enforces restricted, of version %s", o.Name, version)
}

func yes(b *bool) bool { return b != nil && *b }
