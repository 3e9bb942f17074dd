# shellcheck shell=bash
# Removes the Secrets and ConfigMaps that Kustomize has made under a name with a hash
# and that nothing can need any more. What a kept revision mentions stays, so that
# `kubectl rollout undo` works; so does everything when the cluster can't be asked.

# Kustomize's hash: ten of these letters.
hash_suffix='-[2456789bcdfghkmt]{10}$'

prune() {
  local kind name made count=0
  kn get secrets,configmaps -l "$part_of" \
    -o 'jsonpath={range .items[*]}{.kind}|{.metadata.name}|{.metadata.creationTimestamp}{"\n"}{end}' >"$work/generated" 2>"$work/error" &&
    kn get deployments,statefulsets,replicasets,controllerrevisions,cronjobs,jobs,pods -o json >"$work/users" 2>"$work/error" &&
    k kustomize "$k8s/.deploy/staging" 2>"$work/error" | sed -n 's/^  name: //p' >"$work/current" || {
    warn "old Secrets and ConfigMaps were left: $(tail -n 1 "$work/error" | redact | cut -c 1-200)"
    return 0
  }
  while IFS='|' read -r kind name made; do
    printf '%s\n' "$name" | grep -Eq -- "$hash_suffix" || continue
    # Only what was there before this run: another deployment may be half-way.
    [[ $made < $started ]] || continue
    ! grep -Fq -- "\"$name\"" "$work/users" || continue
    ! grep -Fqx -- "$name" "$work/current" || continue
    if kn delete "$kind" "$name" --wait=false >/dev/null 2>"$work/error" </dev/null; then
      count=$((count + 1))
      note "removed $kind $name"
    else
      warn "can't remove $kind $name: $(tail -n 1 "$work/error" | redact | cut -c 1-200)"
    fi
  done <"$work/generated"
  done_step "$count old Secrets and ConfigMaps removed"
}
