package checks

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
)

// rolesReadNoSecrets looks at what every role of the namespace allows, and at what the
// roles of the cluster allow to our accounts.
func rolesReadNoSecrets(o *cluster.Objects) checklist.Finding {
	if f := unread(o.Roles.Err, o.RoleBindings.Err, o.ClusterRoles.Err, o.ClusterRoleBindings.Err); f != nil {
		return *f
	}
	var wrong faults
	rules := 0
	for _, r := range o.Roles.Items {
		for _, rule := range r.Rules {
			rules++
			for _, what := range tooMuch(rule) {
				wrong.add("Role "+r.Name, what)
			}
		}
	}
	bound := func(who string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		if ref.Kind != "ClusterRole" || !slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool { return isOurs(o.Name, s) }) {
			return
		}
		role, err := o.ClusterRoles.Named(ref.Name)
		if err != nil {
			return // it gives nothing
		}
		for _, rule := range role.Rules {
			rules++
			for _, what := range tooMuch(rule) {
				wrong.add(who, "gives our pods ClusterRole "+ref.Name+": "+what)
			}
		}
	}
	for _, b := range o.RoleBindings.Items {
		bound("RoleBinding "+b.Name, b.RoleRef, b.Subjects)
	}
	for _, b := range o.ClusterRoleBindings.Items {
		bound("ClusterRoleBinding "+b.Name, b.RoleRef, b.Subjects)
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "take the right away: only kgents-verify asks Kubernetes, and that for pods and workloads (infra/k8s/manifests/verify/role.yaml)")
	}
	return checklist.Passed("%s and the roles of the cluster that reach our accounts, %s in all: none reads Secrets, none has a wildcard", plural(len(o.Roles.Items), "Role"), plural(rules, "rule"))
}

// isOurs says whether a subject is, or holds, a service account of the namespace.
func isOurs(namespace string, s rbacv1.Subject) bool {
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		return s.Namespace == namespace
	case rbacv1.GroupKind:
		return slices.Contains([]string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated", "system:unauthenticated"}, s.Name)
	case rbacv1.UserKind:
		return strings.HasPrefix(s.Name, "system:serviceaccount:"+namespace+":")
	}
	return false
}

// tooMuch is what a rule allows that is a way to Secrets: reading them, everything, or
// making a pod that mounts them.
func tooMuch(r rbacv1.PolicyRule) (out []string) {
	if len(r.NonResourceURLs) > 0 && len(r.Resources) == 0 {
		return nil // addresses of the API server itself
	}
	if slices.Contains(r.Verbs, "*") || slices.Contains(r.Resources, "*") || slices.Contains(r.APIGroups, "*") {
		return []string{"it has a wildcard"}
	}
	may := func(verbs ...string) bool {
		return slices.ContainsFunc(verbs, func(v string) bool { return slices.Contains(r.Verbs, v) })
	}
	for _, resource := range r.Resources {
		name, sub, _ := strings.Cut(resource, "/")
		change := may("create", "update", "patch")
		switch {
		case name == "secrets" && may("get", "list", "watch"):
			out = append(out, "it may read Secrets")
		case resource == "pods/exec" || resource == "pods/attach" || resource == "pods/ephemeralcontainers" || resource == "pods/proxy" && change:
			out = append(out, "it may enter pods ("+resource+")")
		case resource == "serviceaccounts/token" && may("create"):
			out = append(out, "it may make tokens")
		case sub == "" && change && slices.Contains([]string{"pods", "deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs"}, name):
			out = append(out, "it may make "+name+", which can mount every Secret")
		case may("escalate", "bind", "impersonate"):
			out = append(out, "it may give itself more rights")
		}
	}
	return out
}

// tokens wants a token of Kubernetes in those pods only whose account has a role.
func tokens(o *cluster.Objects) checklist.Finding {
	all, f := units(o)
	if f != nil {
		return *f
	}
	if f := unread(o.ServiceAccounts.Err, o.RoleBindings.Err, o.ClusterRoleBindings.Err); f != nil {
		return *f
	}
	asks := map[string]bool{}
	note := func(subjects []rbacv1.Subject) {
		for _, s := range subjects {
			if s.Kind == rbacv1.ServiceAccountKind && s.Namespace == o.Name {
				asks[s.Name] = true
			}
		}
	}
	for _, b := range o.RoleBindings.Items {
		note(b.Subjects)
	}
	for _, b := range o.ClusterRoleBindings.Items {
		note(b.Subjects)
	}
	automount := map[string]bool{}
	for _, a := range o.ServiceAccounts.Items {
		automount[a.Name] = a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken
	}
	var wrong faults
	with := map[string]bool{}
	for _, u := range all {
		account := u.spec.ServiceAccountName
		if account == "" {
			account = "default"
		}
		switch {
		case !carries(u.spec, automount[account]):
		case asks[account]:
			with[account] = true
		default:
			wrong.add(u.name, "carries a token, and its account "+account+" has no role")
		}
	}
	for _, s := range o.Secrets.Items {
		if s.Type == string(corev1.SecretTypeServiceAccountToken) {
			wrong.add("Secret "+s.Name, "is a token that never ends")
		}
	}
	if wrong.any() {
		return checklist.Failed(wrong.String(), "set automountServiceAccountToken: false in the pod's template, and delete Secrets that are tokens")
	}
	who := "none"
	if len(with) > 0 {
		var list []string
		for name := range with {
			list = append(list, name)
		}
		slices.Sort(list)
		who = "only " + some(list)
	}
	return checklist.Passed("%s: %s carries a token", counted(o, all), who)
}

// carries says whether a pod has a token for the API server: asked for, or there.
func carries(spec corev1.PodSpec, byAccount bool) bool {
	for _, v := range spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			// With an audience it is for somebody else, such as a vault.
			if s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == "" {
				return true
			}
		}
	}
	if spec.AutomountServiceAccountToken != nil {
		return *spec.AutomountServiceAccountToken
	}
	return byAccount
}
