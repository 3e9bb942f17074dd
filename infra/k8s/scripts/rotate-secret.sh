#!/usr/bin/env bash
# Replaces a secret of the staging deployment without an event refused or lost.
# See --help.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
secrets=$root/infra/k8s/overlays/staging/secrets
namespace=kgents-staging
me=rotate-secret.sh

usage() {
  cat <<'HELP'
Usage: infra/k8s/scripts/rotate-secret.sh NAME [flags]

Replaces a secret of the staging deployment: makes a new one beside the old one, deploys,
waits until no pod is left that knows only the old one, verifies, lets clients change
over, takes the old one away, deploys and verifies again. At any moment everybody is let
in who was. Safe to run again: it goes on where it ended.

NAME is one of 'kgents secrets list'. For webhook-secret and api-key, which others hold,
it stops in the middle and asks, or without a terminal says how to go on.

  --from-file F    the new webhook-secret, which Stripe makes; - for standard input
  --begin          only the first half, until both are accepted
  --finish         only the second half: everybody has changed over
  --leaked         ask nobody: who still sends the old one is refused in the end
  --dir D          directory of the secrets (default infra/k8s/overlays/staging/secrets)
  --wait S         longest wait for pods that know only the old one, in seconds
                   (default 600)
  --help           this text
Passed on to deploy-staging.sh, which deploys the image that runs unless one of the
first three says otherwise:
  --image REF, --registry REF, --load 'CMD', --context C, --arch A, --timeout S,
  --no-verify

Examples:
  infra/k8s/scripts/rotate-secret.sh redis
  infra/k8s/scripts/rotate-secret.sh webhook-secret --from-file - <new-secret
  infra/k8s/scripts/rotate-secret.sh api-key --begin
  infra/k8s/scripts/rotate-secret.sh api-key --finish
  infra/k8s/scripts/rotate-secret.sh api-key --leaked

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 prerequisites missing, 4 half-way: others
change over now.
HELP
}

name='' from='' leaked='' context='' image='' longest=600 mode=all
deploy=()
child='' program=kgents
tick=${DEPLOY_TICK:-1} # seconds between two looks while waiting
[[ $tick =~ ^[0-9]+(\.[0-9]+)?$ ]] || tick=1
# shellcheck disable=SC2034 # for fail
advice='docs/saas/secrets.md#when-a-rotation-stops-half-way'

# shellcheck source=lib/ui.sh
. "$here/lib/ui.sh"
# shellcheck source=lib/rollout.sh
. "$here/lib/rollout.sh"
# shellcheck source=lib/rotate.sh
. "$here/lib/rotate.sh"

k() { kubectl --context "$context" "$@"; }
kn() { k --namespace "$namespace" "$@"; }

choose_mode() {
  [ "$mode" = all ] || [ "$mode" = "$1" ] || usage_error "--$mode and --$1 are two halves: without both of them it does the whole"
  mode=$1
}

while [ $# -gt 0 ]; do
  flag=$1 value=''
  case $flag in
    --*=*) flag=${1%%=*}; value=${1#*=}; shift; set -- "$flag" "$value" "$@" ;;
  esac
  case $flag in
    --help | -h) usage; exit 0 ;;
    --begin | --finish | --leaked | --no-verify) [ -z "$value" ] || usage_error "$flag takes no value" ;;
    --from-file | --dir | --wait | --context | --registry | --load | --image | --arch | --timeout)
      [ $# -ge 2 ] && [ -n "$2" ] || usage_error "$flag needs a value" ;;
    -*) usage_error "no such flag: $1" ;;
    *) [ -z "$name" ] || usage_error "one secret at a time: $name or $1" ;;
  esac
  case $flag in
    --begin | --finish) choose_mode "${flag#--}" ;;
    --leaked) leaked=1 ;;
    --no-verify) deploy+=(--no-verify) ;;
    --from-file) from=$2; shift ;;
    --dir) secrets=$2; shift ;;
    --wait) longest=${2%s}; shift ;;
    --context) context=$2; shift ;;
    --registry | --load | --image) image=1; deploy+=("$flag" "$2"); shift ;;
    --arch | --timeout) deploy+=("$flag" "$2"); shift ;;
    *) name=$1 ;;
  esac
  shift
done
[ -n "$name" ] || usage_error "name a secret of 'kgents secrets list', for example redis"
[[ $name =~ ^[a-z][a-z0-9-]{0,62}$ ]] || usage_error "'$name' is no secret of 'kgents secrets list'"
[[ $longest =~ ^[1-9][0-9]{0,4}$ ]] || usage_error "--wait '$longest' is no number of seconds: use for example 600"
[ -z "$from" ] || [ "$name" = webhook-secret ] || usage_error "--from-file goes with webhook-secret, the others are made here"
[ -z "$from" ] || [ "$mode" != finish ] || usage_error "--from-file goes with the first half: leave it out"
[ -z "$leaked" ] || [ "$mode" != begin ] || usage_error "--leaked takes the old one away: leave --begin out"
case $mode in begin) steps=4 ;; finish) steps=5 ;; *) steps=7 ;; esac

work=$(mktemp -d)
cleanup() {
  stop_child
  rm -rf "$work"
}
trap cleanup EXIT
trap 'clear_line; printf "%s: interrupted; running it again continues\n" "$me" >&2; exit 130' INT TERM

step "prerequisites"
check_rotation
done_step "context $context, secrets in ${secrets#"$root"/}"

if [ "$mode" != finish ]; then
  step "a new $name beside the old one"
  begin_rotation
  step "deploy what accepts both"
  run_deploy
  step "pods that know only the old one"
  wait_for_old
  done_step "none is left"
  if [ "$mode" = begin ]; then
    half_way
    exit 0
  fi
  change_over
else
  step "pods that know only the old one"
  wait_for_old
  done_step "none is left"
fi

step "take the old $name away"
end_rotation
step "deploy what accepts the new one only"
run_deploy
step "what was done"
rotated
