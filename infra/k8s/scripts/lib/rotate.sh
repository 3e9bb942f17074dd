# shellcheck shell=bash
# The parts of a rotation. That one has begun, and when, is in rotating.json, which
# `kgents secrets rotate` writes.

lacks() {
  clear_line
  printf '    %smissing%s: %s\n    Nothing was changed.\n' "$red" "$plain" "$1" >&2
  exit 3
}

# begun prints since when the secret is being rotated, nothing if it isn't.
begun() {
  [ ! -s "$secrets/rotating.json" ] || sed -n 's/.*"'"$name"'": *"\([0-9TZ:-]*\)".*/\1/p' "$secrets/rotating.json"
}

# check_rotation finds the cluster, the program and the secrets.
check_rotation() {
  command -v kubectl >/dev/null || lacks "kubectl: https://kubernetes.io/docs/tasks/tools/"
  if [ -z "$context" ]; then
    context=$(kubectl config current-context 2>/dev/null) || context=
    [ -n "$context" ] || lacks "a cluster: set KUBECONFIG, or choose one with --context"
  fi
  k get --raw /version --request-timeout=10s >/dev/null 2>"$work/error" ||
    lacks "an answer of the cluster of context \"$context\": $(tail -n 1 "$work/error" | redact | cut -c 1-300)"
  running=$(kn get deployment kgents-api -o 'jsonpath={.spec.template.spec.containers[0].image}' 2>/dev/null) && [ -n "$running" ] ||
    lacks "the deployment in namespace $namespace: infra/k8s/scripts/deploy-staging.sh makes it, with secrets that are new"
  command -v "$program" >/dev/null || program=$root/bin/kgents
  [ -x "$program" ] || command -v "$program" >/dev/null || lacks "the program: make build"
  # A rotation is no release: what runs goes on running.
  [ -n "$image" ] || deploy+=(--image "$running")
  # It knows the names, and whether the files are there.
  "$program" secrets list --dir "$secrets" --output json >"$work/list" 2>"$work/error" ||
    lacks "secrets that can be read: $(tail -n 1 "$work/error" | redact | cut -c 1-300)"
  grep -q "\"name\": \"$name\"" "$work/list" ||
    lacks "a secret called $name, there are: $(sed -n 's/.*"name": "\(.*\)".*/\1/p' "$work/list" | tr '\n' ' ')"
  [ "$mode" != finish ] || [ -n "$(begun)" ] || lacks "a rotation of $name that has begun: leave --finish out to begin one, or run deploy-staging.sh if the last run ended in its second deployment"
  [ "$name" != webhook-secret ] || [ "$mode" = finish ] || [ -n "$from" ] || [ -n "$(begun)" ] ||
    lacks "the new webhook-secret: roll it in Stripe's dashboard with an overlap of 24 h, and give it with --from-file"
}

begin_rotation() {
  if [ -n "$(begun)" ]; then
    done_step "there already, since $(begun): an earlier run made it"
    return
  fi
  "$program" secrets rotate "$name" --dir "$secrets" ${from:+--from-file "$from"} >"$work/rotate" 2>&1 ||
    fail "the new secret can't be made" "$work/rotate"
  done_step "both are accepted from the next deployment on"
}

end_rotation() {
  "$program" secrets rotate "$name" --finish --dir "$secrets" >"$work/rotate" 2>&1 ||
    fail "the old secret can't be taken away" "$work/rotate"
  done_step "accepted until the next deployment"
}

# run_deploy brings the files to the cluster, with a progress of its own. That it has
# waited for the rollouts is what the old one's end relies on.
run_deploy() {
  "$here/deploy-staging.sh" --context "$context" ${deploy[@]+"${deploy[@]}"} ||
    fail "the deployment failed; nobody is refused, as both are accepted until it is done"
  deployed=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  done_step "deployed"
}

# old_pods prints the pods that may know only the secret of before: those that are
# stopping, and those of Jobs from before the deployment, which no rollout replaces.
old_pods() {
  kn get pods -l "$part_of" -o 'jsonpath={range .items[*]}{.metadata.name}|{.metadata.deletionTimestamp}|{.metadata.ownerReferences[0].kind}|{.status.phase}|{.metadata.creationTimestamp}{"\n"}{end}' |
    awk -F '|' -v before="$1" '$2 != "" || ($3 == "Job" && ($4 == "Running" || $4 == "Pending") && $5 < before) {print $1}'
}

# wait_for_old is patient, but never takes a pod's way in away: past the longest wait
# it fails with both accepted.
deployed=''
wait_for_old() {
  local left until=$((SECONDS + longest))
  [ -n "$deployed" ] || deployed=$(begun)
  while :; do
    left=$(old_pods "$deployed" 2>"$work/error") || fail "the pods can't be looked at" "$work/error"
    [ -n "$left" ] || return 0
    [ $SECONDS -lt $until ] ||
      fail "still there after $longest s: $(printf '%s' "$left" | tr '\n' ' '); both secrets are accepted until this goes on"
    progress "$(printf '%s\n' "$left" | wc -l | tr -d ' ') left: $(printf '%s' "$left" | tr '\n' ' ')($((SECONDS - step_began)) s)"
    sleep "$tick"
  done
}

# holders says who outside of the deployment holds the secret.
holders() {
  case $name in
    webhook-secret) echo "Stripe, which signs with both until the overlap ends" ;;
    api-key) echo "your clients: the new key is the first of API_KEYS in api.env" ;;
    nats-operator) echo "the people who use nats/operator.nk" ;;
    backup-identity) echo "whoever keeps a copy to open backups with: give them the new one" ;;
  esac
}

half_way() {
  local who
  who=$(holders)
  cat <<TEXT

${strong}both are accepted${plain}: now change over ${who:-nobody, since only pods hold it}. Then:
  infra/k8s/scripts/$me $name --finish
TEXT
}

# change_over asks whether the holders outside have changed over.
change_over() {
  local answer
  case $name in webhook-secret | api-key) ;; *) return 0 ;; esac
  if [ -n "$leaked" ]; then
    warn "nobody is waited for: who still sends the old one will be refused"
    return 0
  fi
  half_way
  [ -t 0 ] || exit 4
  printf 'When they have, type %s to go on: ' "$name"
  read -r answer || answer=
  [ "$answer" = "$name" ] || { echo; exit 4; }
}

rotated() {
  "$program" secrets list --dir "$secrets" --output json 2>/dev/null >"$work/list" || true
  done_step "$name is new, and the old one is refused"
  case $name in
    backup-identity) note "backups from before are opened by the old identity only: keep it until the last of them is pruned" ;;
    webhook-secret) note "let Stripe's overlap end, or end it in the dashboard" ;;
  esac
  note "$(grep -c '"problem"' "$work/list" || true) of $(grep -c '"name"' "$work/list" || true) secrets need something done: kgents secrets list"
}
