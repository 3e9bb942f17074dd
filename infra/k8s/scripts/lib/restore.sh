# shellcheck shell=bash
# What restore.sh does to a deployment. What it has stopped is written into the
# CronJob kgents-backup as annotations, so that another run starts it.

cronjobs='kgents-verify kgents-backup kgents-backup-drill'

# cleanup takes the operator's key out of the cluster, whatever happened.
cleanup() {
  stop_child
  if [ -n "$secret" ]; then
    kn delete secret "$secret" --ignore-not-found --wait=false >/dev/null 2>&1 ||
      printf '%s: the Secret %s with the operator'"'"'s key could not be deleted: delete it by hand\n' "$me" "$secret" >&2
  fi
  [ -z "$stopped" ] || printf '    api and sink are stopped: run %s again, or start them by docs/saas/runbook.md#start\n' "$me" >&2
  rm -rf "$work"
}

lacks() {
  clear_line
  printf '    %smissing%s: %s\n    Nothing was changed.\n' "$red" "$plain" "$1" >&2
  exit 3
}

# check_deployment finds the cluster and what is needed in it.
check_deployment() {
  command -v kubectl >/dev/null || lacks "kubectl: https://kubernetes.io/docs/tasks/tools/"
  if [ -z "$context" ]; then
    context=$(kubectl config current-context 2>/dev/null) || context=
    [ -n "$context" ] || lacks "a cluster: set KUBECONFIG, or choose one with --context"
  fi
  k get --raw /version --request-timeout=10s >/dev/null 2>"$work/error" ||
    lacks "an answer of the cluster of context \"$context\": $(tail -n 1 "$work/error" | redact | cut -c 1-300)"
  kn get cronjob kgents-backup-drill -o name >/dev/null 2>&1 ||
    lacks "the CronJob kgents-backup-drill in namespace $namespace, which has the keys: deploy first, or restore by hand with 'kgents stream restore'"
  [ "$mode" = restore ] || return 0
  [ -s "$operator" ] || lacks "the seed of NATS's operator, which is not in the cluster: name its file with --operator ($operator is not there)"
  [ "$(kn get statefulset nats -o 'jsonpath={.status.readyReplicas}' 2>/dev/null)" = "$(kn get statefulset nats -o 'jsonpath={.spec.replicas}' 2>/dev/null)" ] ||
    lacks "all of NATS's pods ready: docs/saas/runbook.md#nats-server-down"
}

remembered() { kn get cronjob kgents-backup -o "jsonpath={.metadata.annotations.kgents/restore-$1}" 2>/dev/null || true; }

# stop_writers stops who writes to the stream, and the jobs that would look at it or
# copy it half-way.
stop_writers() {
  local name replicas job
  for job in $cronjobs; do
    kn patch cronjob "$job" --patch '{"spec":{"suspend":true}}' >"$work/out" 2>&1 || fail "can't suspend $job" "$work/out"
  done
  for name in api sink; do
    replicas=$(kn get deployment "kgents-$name" -o 'jsonpath={.spec.replicas}') || fail "can't read deployment/kgents-$name"
    # 0 is of a run before that was interrupted, and has noted what there was.
    if [ "$replicas" != 0 ] || [ -z "$(remembered "$name")" ]; then
      kn annotate cronjob kgents-backup --overwrite "kgents/restore-$name=$replicas" >"$work/out" 2>&1 || fail "can't note the replicas" "$work/out"
    fi
    stopped=1
    kn scale "deployment/kgents-$name" --replicas=0 >"$work/out" 2>&1 || fail "can't stop $name" "$work/out"
  done
  for name in api sink; do
    progress "$name finishes what it has"
    kn wait pod -l "app.kubernetes.io/name=kgents-$name" --for=delete --timeout=120s >"$work/out" 2>&1 || fail "$name does not stop" "$work/out" "app.kubernetes.io/name=kgents-$name"
  done
}

# start_writers starts them as they were.
start_writers() {
  local name replicas job
  for name in sink api; do
    replicas=$(remembered "$name")
    [[ $replicas =~ ^[1-9][0-9]*$ ]] || replicas=2
    kn scale "deployment/kgents-$name" --replicas="$replicas" >"$work/out" 2>&1 || fail "can't start $name" "$work/out"
  done
  for job in $cronjobs; do
    kn patch cronjob "$job" --patch '{"spec":{"suspend":false}}' >"$work/out" 2>&1 || fail "can't resume $job" "$work/out"
  done
  stopped=
  local catch_up=$timeout
  timeout=300
  for name in sink api; do wait_for "deployment/kgents-$name"; done
  timeout=$catch_up
  kn annotate cronjob kgents-backup kgents/restore-api- kgents/restore-sink- >"$work/out" 2>&1 || warn "annotations of the CronJob kgents-backup were left"
}

# verify_caught_up verifies until all is well: a canary stands behind all that was
# restored, and so is late until the sink has caught up.
verify_caught_up() {
  local until=$((SECONDS + timeout))
  while :; do
    run_cronjob kgents-verify verify 180
    case $job_state in *Complete*) break ;; esac
    [ $SECONDS -lt $until ] || fail "the verification finds what the table says, $timeout s after the start" "" "batch.kubernetes.io/job-name=$job"
    note "not yet: the sink may still be catching up with what was restored"
    sleep "$tick"
  done
  done_step "every line passes"
}

# make_operator_secret brings the key that may write to the stream.
make_operator_secret() {
  secret=kgents-restore-$(date -u +%Y%m%d-%H%M%S)
  kn create secret generic "$secret" --from-file="seed=$operator" >"$work/out" 2>&1 || { secret=; fail "the operator's key can't be brought to the cluster" "$work/out"; }
}

# run_stream PREFIX COMMAND... runs `kgents stream COMMAND...` in a Job like that of the
# drill, which reaches backups and opens them; with the operator's key once there is one.
run_stream() {
  job=$1-$(date -u +%Y%m%d-%H%M%S)
  shift
  kn create job "$job" --from=cronjob/kgents-backup-drill --dry-run=client -o yaml >"$work/drill" 2>"$work/out" || fail "can't read the CronJob kgents-backup-drill" "$work/out"
  other_command "$secret" "$@" <"$work/drill" >"$work/manifest"
  kn create -f - <"$work/manifest" >"$work/out" 2>&1 || fail "can't start $job" "$work/out"
  wait_for_job "$job" "$timeout"
}

# other_command SECRET WORD... rewrites the drill's Job: its arguments, and whose key it
# shows to NATS.
other_command() {
  awk -v secret="$1" -v words="${*:2}" '
    /^ *- args:$|^ *args:$/ { print; match($0, /^ */); inside = 1; dash = ($0 ~ /- args:/); next }
    inside && /^ *- / && !done {
      if ($2 == "stream") { match($0, /^ */); pad = substr($0, 1, RLENGTH); print; n = split(words, w, " "); for (i = 1; i <= n; i++) print pad "- " w[i]; skipping = 1; next }
      if (skipping && substr($0, 1, length(pad) + 1) == pad "-") next
    }
    inside { inside = 0; skipping = 0; done = 1 }
    secret != "" && $1 == "name:" && $2 ~ /^nats-backup(-[0-9a-z]+)?$/ { sub(/nats-backup.*/, secret) }
    { print }'
}
