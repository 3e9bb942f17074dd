#!/usr/bin/env bash
# Puts a backup of the stream back into a deployment that has lost it, or proves that
# one could be. See --help.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
k8s=$root/infra/k8s
namespace=kgents-staging
me=restore.sh

usage() {
  cat <<'HELP'
Usage: infra/k8s/scripts/restore.sh [flags]

Restores a backup of the stream into a deployment whose NATS volumes were lost: stops
api and sink, puts the backup behind what NATS has taken since, reads it back, starts
api and sink with as many replicas as before, verifies, and makes a new backup. NATS
must be up: its pods make new volumes by themselves. The meter gets what it did not have
when the backup was made; reconciliation sends what it lacks besides.

It runs in the cluster, with the keys of the CronJob kgents-backup-drill and NATS's
operator key, which is there only until it ends. Safe to run again.

  --context C       context of the kubeconfig (default: the current one)
  --namespace N     of the deployment (default kgents-staging)
  --backup NAME     which one; --list shows them (default: the newest, unless the
                    stream began anew since an older one)
  --meter-lost      the meter has lost its data, too: send it all that the stream holds
  --operator FILE   seed of NATS's operator (default: the staging secrets')
  --list            list the backups, change nothing
  --drill           restore the newest into a server of its own and count, change
                    nothing else
  --yes             don't ask
  --timeout S       longest wait for the restore, and for the sink to catch up, in
                    seconds (default 7200)
  --help            this text

Examples:
  infra/k8s/scripts/restore.sh --drill
  infra/k8s/scripts/restore.sh --list
  infra/k8s/scripts/restore.sh --backup 20261130T120700.123Z-0a1b2c3d
  infra/k8s/scripts/restore.sh --context prod --namespace kgents --operator ~/operator.nk

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 prerequisites missing.
HELP
}

context='' backup=latest metered=--metered operator='' yes='' timeout=7200 mode=restore
child='' secret='' stopped=''
tick=${DEPLOY_TICK:-1} # seconds between two looks while waiting
[[ $tick =~ ^[0-9]+(\.[0-9]+)?$ ]] || tick=1
advice='docs/saas/runbook.md#restore'

# shellcheck source=lib/ui.sh
. "$here/lib/ui.sh"
# shellcheck source=lib/rollout.sh
. "$here/lib/rollout.sh"
# shellcheck source=lib/restore.sh
. "$here/lib/restore.sh"

k() { kubectl --context "$context" "$@"; }
kn() { k --namespace "$namespace" "$@"; }

choose_mode() {
  [ "$mode" = restore ] || [ "$mode" = "$1" ] || usage_error "--$mode and --$1 are two things: choose one"
  mode=$1
}

while [ $# -gt 0 ]; do
  flag=$1 value=''
  case $flag in
    --*=*) flag=${1%%=*}; value=${1#*=}; shift; set -- "$flag" "$value" "$@" ;;
  esac
  case $flag in
    --help | -h) usage; exit 0 ;;
    --drill | --list | --yes | --meter-lost) [ -z "$value" ] || usage_error "$flag takes no value" ;;
    --context | --namespace | --backup | --operator | --timeout)
      [ $# -ge 2 ] && [ -n "$2" ] || usage_error "$flag needs a value" ;;
    *) usage_error "no such flag or argument: $1" ;;
  esac
  case $flag in
    --drill | --list) choose_mode "${flag#--}" ;;
    --yes) yes=1 ;;
    --meter-lost) metered='' ;;
    --context) context=$2; shift ;;
    --namespace) namespace=$2; shift ;;
    --backup) backup=$2; shift ;;
    --operator) operator=$2; shift ;;
    --timeout) timeout=${2%s}; shift ;;
  esac
  shift
done
[[ $timeout =~ ^[1-9][0-9]{0,5}$ ]] || usage_error "--timeout '$timeout' is no number of seconds: use for example 3600"
[[ $namespace =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$ ]] || usage_error "--namespace '$namespace' is none: use for example kgents"
[[ $backup =~ ^(latest|[0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-f]{8})$ ]] || usage_error "--backup '$backup' is no name of a backup: --list shows them"
[ "$mode" = restore ] || [ "$backup$metered$operator$yes" = latest--metered ] || usage_error "--backup, --meter-lost, --operator and --yes go with a restore: leave them out"
[ -n "$operator" ] || operator=$k8s/overlays/staging/secrets/nats/operator.nk
case $mode in restore) steps=6 ;; *) steps=2 ;; esac

work=$(mktemp -d)
trap cleanup EXIT
trap 'clear_line; printf "%s: interrupted; running it again continues\n" "$me" >&2; exit 130' INT TERM

step "prerequisites"
progress "looking"
check_deployment
done_step "context $context, namespace $namespace"

case $mode in
  drill)
    step "drill"
    run_cronjob kgents-backup-drill drill "$timeout"
    case $job_state in
      *Complete*) done_step "the newest backup can be restored" ;;
      *) fail "the drill failed; what it says is above" "" "batch.kubernetes.io/job-name=$job" ;;
    esac
    exit 0 ;;
  list)
    step "backups"
    run_stream list list
    # Exit code 1 of a list says that one is damaged, which the table tells.
    case $job_state in
      *Complete*) done_step "listed" ;;
      *) fail "a backup is damaged, or they can't be listed; what it says is above" "" "batch.kubernetes.io/job-name=$job" ;;
    esac
    exit 0 ;;
esac

if [ -z "$yes" ]; then
  note "This stops api and sink of namespace $namespace (context $context) until the backup '$backup' is restored."
  printf '    Type the name of the namespace to go on: '
  read -r answer || answer=
  [ "$answer" = "$namespace" ] || { echo; fail "nothing was changed: '$answer' was not the answer (or use --yes)"; }
fi

step "stop"
stop_writers
done_step "nobody writes to the stream"

step "restore"
make_operator_secret
run_stream restore restore "$backup" --append ${metered:+"$metered"}
case $job_state in
  *Complete*) done_step "read back, the same" ;;
  *) fail "the restore failed; what it says is above" "" "batch.kubernetes.io/job-name=$job" ;;
esac

step "start"
start_writers
done_step "the sink goes on"

step "verify from inside"
verify_caught_up

step "backup"
run_cronjob kgents-backup backup "$timeout"
case $job_state in
  *Complete*) done_step "made" ;;
  *) fail "no backup was made" "" "batch.kubernetes.io/job-name=$job" ;;
esac

cat <<SUMMARY

${strong}restored${plain} after $SECONDS s. What was taken after the backup and before the loss, and not metered
by then, is in no copy: docs/saas/disaster-recovery.md#events-between-the-backup-and-the-loss
SUMMARY
