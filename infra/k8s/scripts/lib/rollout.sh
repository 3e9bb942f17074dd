# shellcheck shell=bash
# Waits for workloads and verification, and says what stands in the way.

part_of=app.kubernetes.io/part-of=kgents
# A pod that can't get its image or its Secret this long will not get it by waiting.
hopeless=${DEPLOY_HOPELESS:-60}
[[ $hopeless =~ ^[0-9]{1,5}$ ]] || hopeless=60

# fail TEXT [FILE] [SELECTOR] ends the deployment: what failed, what the step's
# program said, the pods of the step, and where to read on. Exit code 1.
fail() {
  local file=${2-} selector=${3-}
  {
    clear_line
    printf '    %sfailed%s: %s (step %s, %s; after %s s)\n' "$red" "$plain" "$1" "$step_number" "$step_name" "$((SECONDS - step_began))"
    if [ -n "$file" ] && [ -s "$file" ]; then tail -n 20 "$file" | cut -c 1-500 | redact | indent; fi
    [ -z "$selector" ] || diagnose "$selector"
    printf '    What to do: %s. Running this again is safe.\n' "${advice:-docs/saas/runbook.md#deploy-failed}"
  } >&2
  exit 1
}

# waiting SELECTOR prints 'POD REASON' for the containers that can't start.
waiting() {
  kn get pods -l "$1" -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{range .status.initContainerStatuses[*]}{.state.waiting.reason}{" "}{end}{range .status.containerStatuses[*]}{.state.waiting.reason}{" "}{end}{"\n"}{end}' 2>/dev/null |
    awk 'NF > 1 && $2 != "ContainerCreating" && $2 != "PodInitializing" {print $1, $2}'
}

# diagnose SELECTOR prints the pods that aren't ready, at most three: state, last
# events, last lines of their logs.
diagnose() {
  local pods pod count=0 previous
  pods=$(kn get pods -l "$1" -o 'jsonpath={range .items[*]}{.metadata.name}|{.status.phase}|{.status.conditions[?(@.type=="Ready")].status}|{.status.containerStatuses[*].restartCount}{"\n"}{end}' 2>/dev/null |
    awk -F '|' '$3 != "True" && $2 != "Succeeded"') || pods=
  if [ -z "$pods" ]; then
    printf '    no pod of %s is in trouble; the last warnings of the namespace:\n' "$1"
    kn get events --field-selector type=Warning --sort-by=.lastTimestamp 2>/dev/null | tail -n 5 | cut -c 1-300 | redact | indent
    return 0
  fi
  printf '%s\n' "$pods" | while IFS='|' read -r pod phase _ restarts; do
    count=$((count + 1))
    if [ $count -gt 3 ]; then printf '    and more: kubectl --context %s -n %s get pods -l %s\n' "$context" "$namespace" "$1"; break; fi
    printf '    %spod %s%s: %s, restarted %s times; its last events:\n' "$strong" "$pod" "$plain" "$phase" "${restarts:-0}"
    kn get events --field-selector "involvedObject.kind=Pod,involvedObject.name=$pod" --sort-by=.lastTimestamp \
      -o 'jsonpath={range .items[*]}{.type}{"  "}{.reason}{"  "}{.message}{"\n"}{end}' 2>/dev/null </dev/null |
      tail -n 5 | cut -c 1-300 | redact | indent
    printf '    the last lines of its log:\n'
    previous=
    case ${restarts:-0} in *[1-9]*) previous=1 ;; esac
    { kn logs "$pod" --all-containers --tail=20 ${previous:+--previous} 2>/dev/null ||
      kn logs "$pod" --all-containers --tail=20 2>&1; } </dev/null | tail -n 20 | cut -c 1-500 | redact | indent
  done
}

# wait_for KIND/NAME waits until every pod of the workload runs the newest revision.
# kubectl decides when that is; the line shows what it says meanwhile.
wait_for() {
  local name=${1#*/} selector now says stuck='' stuck_since=0 status=0
  selector=app.kubernetes.io/name=$name,$part_of
  : >"$work/rollout"
  # Not through a function, whose subshell would be what stop_child ends.
  kubectl --context "$context" --namespace "$namespace" rollout status "$1" --timeout="${timeout}s" >"$work/rollout" 2>&1 &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    now=$(waiting "$selector" | head -n 1) || now=
    case $now in
      *ImagePull* | *ErrImage* | *InvalidImageName* | *CreateContainer*Error*)
        [ "$now" = "$stuck" ] || { stuck=$now stuck_since=$SECONDS; }
        # Back-off alternates with its cause, so only the pod is compared.
        if [ $((SECONDS - stuck_since)) -ge $hopeless ]; then
          stop_child
          fail "$1: pod $now" "" "$selector"
        fi ;;
      *) stuck='' ;;
    esac
    says=$(tail -n 1 "$work/rollout" | cut -c 1-120)
    progress "$name: ${says:-looking}${now:+ [$now]} ($((SECONDS - step_began)) s)"
    sleep "$tick"
  done
  wait "$child" || status=$?
  child=
  [ "$status" -eq 0 ] || fail "$1 did not roll out within $timeout s" "$work/rollout" "$selector"
  note "$name: $(kn get "$1" -o 'jsonpath={.status.readyReplicas}/{.spec.replicas}') ready"
}

# wait_for_leaving waits for the pods of older revisions: while they finish what they
# have, they still know the secrets of before, and nothing else.
wait_for_leaving() {
  local leaving until=$((SECONDS + 120))
  while :; do
    leaving=$(kn get pods -l "$part_of" -o 'jsonpath={range .items[*]}{.metadata.deletionTimestamp}{" "}{.metadata.name}{"\n"}{end}' 2>/dev/null |
      awk 'NF > 1 {print $2}') || leaving=
    [ -n "$leaving" ] || return 0
    if [ $SECONDS -ge $until ]; then
      warn "still stopping: $(printf '%s' "$leaving" | tr '\n' ' ')"
      return 0
    fi
    progress "older pods finish what they have: $(printf '%s\n' "$leaving" | wc -l | tr -d ' ') left ($((SECONDS - step_began)) s)"
    sleep "$tick"
  done
}

# wait_for_job NAME SECONDS waits until a Job has ended, leaves its conditions in
# job_state and the end of its log in $work/table, and prints that.
job_state=''
wait_for_job() {
  local until=$((SECONDS + $2))
  job_state=
  while [ $SECONDS -lt $until ]; do
    job_state=$(kn get job "$1" -o 'jsonpath={.status.conditions[?(@.status=="True")].type}' 2>/dev/null) || job_state=
    case $job_state in *Complete* | *Failed*) break ;; esac
    progress "$1 ($((SECONDS - step_began)) s)"
    sleep "$tick"
  done
  clear_line
  kn logs "job/$1" --tail=200 >"$work/table" 2>/dev/null || true
  redact <"$work/table" | indent
}

# run_cronjob NAME PREFIX SECONDS runs a CronJob once, now. The Job is called by the
# prefix and the time.
run_cronjob() {
  job=$2-$(date -u +%Y%m%d-%H%M%S)
  kn create job "$job" --from="cronjob/$1" >"$work/job" 2>&1 || fail "can't start $job" "$work/job"
  wait_for_job "$job" "$3"
}

# verify_inside runs `kgents verify --deep` as a Job made of the CronJob, which has
# the network and the keys for it, and prints its table.
verify_inside() {
  run_cronjob kgents-verify verify 180
  case $job_state in
    *Complete*) done_step "every line passes" ;;
    *Failed*)
      # Without a table the pod never ran, and its events say why.
      [ -s "$work/table" ] && fail "the verification found what the table says"
      fail "the verification ended without a word" "" "batch.kubernetes.io/job-name=$job" ;;
    *) fail "the verification did not end within 180 s" "" "batch.kubernetes.io/job-name=$job" ;;
  esac
}

# first_backup makes one when the CronJob never has: what was just deployed is not to
# wait an hour for it, and that it can be made is known.
first_backup() {
  local last
  last=$(kn get cronjob kgents-backup -o 'jsonpath={.status.lastSuccessfulTime}' 2>/dev/null) || last=
  if [ -n "$last" ]; then
    done_step "the last one ended at $last"
    return
  fi
  run_cronjob kgents-backup backup 300
  case $job_state in
    *Complete*) done_step "made; the CronJob kgents-backup makes the next ones" ;;
    *) fail "no backup was made" "" "batch.kubernetes.io/job-name=$job" ;;
  esac
}

# stop_child ends the kubectl that waits in the background.
stop_child() {
  [ -n "$child" ] || return 0
  kill "$child" 2>/dev/null || true
  wait "$child" 2>/dev/null || true
  child=
}
