#!/usr/bin/env bash
# Takes a Kubernetes cluster, empty or not, to a staging deployment whose flow of
# events is verified. See --help.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
k8s=$root/infra/k8s
secrets=$k8s/overlays/staging/secrets
namespace=kgents-staging
me=deploy-staging.sh

usage() {
  cat <<'HELP'
Usage: infra/k8s/scripts/deploy-staging.sh [flags]

Builds the program and its image, brings the image to the cluster, makes the staging
secrets on first use, applies infra/k8s/overlays/staging to the namespace
kgents-staging, waits for every rollout, verifies the flow of events from inside and
makes a first backup of the stream.
Safe to run again: what has not changed stays as it is.

Which cluster:
  --context C      context of the kubeconfig (default: the current one)
Where the image comes from:
  --registry REF   push it as REF:TAG, with the credentials of docker login
  --load 'CMD'     run CMD with the path of the image's archive as last argument
                   (default: by the context's name, for kind-NAME and k3d-NAME)
  --image REF      it is in the cluster's reach already: build none
  --arch A         amd64 or arm64 (default: what the nodes are)
What to do:
  --dry-run        let the cluster check everything, change nothing in it
  --diff           show what would change, change nothing in the cluster
  --delete         delete the namespace with all volumes and the events in them
  --yes            with --delete: don't ask
  --no-verify      leave the verification and the first backup out
  --timeout S      longest wait for each rollout, in seconds (default 300)
  --help           this text

--dry-run and --diff build the program and make missing secrets on this machine, as
both are needed to say what would be applied.

Examples:
  kind create cluster && infra/k8s/scripts/deploy-staging.sh
  infra/k8s/scripts/deploy-staging.sh --context staging --registry registry.example.com/billing/kgents
  infra/k8s/scripts/deploy-staging.sh --context minikube --load 'minikube image load'
  infra/k8s/scripts/deploy-staging.sh --image ghcr.io/kgents/kgents:v1.2.3 --diff
  infra/k8s/scripts/deploy-staging.sh --delete

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 prerequisites missing.
HELP
}

context='' registry='' load='' image='' arch='' yes='' verify=1 timeout=300 mode=deploy
repository='' tag='' pinned='' archive='' ready_nodes=0 server_version='' exists=''
child=''
tick=${DEPLOY_TICK:-1} # seconds between two looks while waiting
[[ $tick =~ ^[0-9]+(\.[0-9]+)?$ ]] || tick=1

# shellcheck source=lib/ui.sh
. "$here/lib/ui.sh"
# shellcheck source=lib/prerequisites.sh
. "$here/lib/prerequisites.sh"
# shellcheck source=lib/image.sh
. "$here/lib/image.sh"
# shellcheck source=lib/changes.sh
. "$here/lib/changes.sh"
# shellcheck source=lib/rollout.sh
. "$here/lib/rollout.sh"
# shellcheck source=lib/prune.sh
. "$here/lib/prune.sh"

k() { kubectl --context "$context" "$@"; }
kn() { k --namespace "$namespace" "$@"; }

choose_mode() {
  [ "$mode" = deploy ] || [ "$mode" = "$1" ] || usage_error "--$mode and --$1 are two things: choose one"
  mode=$1
}

while [ $# -gt 0 ]; do
  flag=$1
  case $flag in
    --*=*) flag=${1%%=*}; value=${1#*=}; shift; set -- "$flag" "$value" "$@" ;;
  esac
  case $flag in
    --help | -h) usage; exit 0 ;;
    --dry-run | --diff | --delete | --yes | --no-verify)
      [ -z "${value-}" ] || usage_error "$flag takes no value" ;;
    --context | --registry | --load | --image | --arch | --timeout)
      [ $# -ge 2 ] && [ -n "$2" ] || usage_error "$flag needs a value" ;;
    *) usage_error "no such flag or argument: $1" ;;
  esac
  case $flag in
    --dry-run | --diff | --delete) choose_mode "${flag#--}" ;;
    --yes) yes=1 ;;
    --no-verify) verify='' ;;
    --context) context=$2; shift ;;
    --registry) registry=${2%/}; shift ;;
    --load) load=$2; shift ;;
    --image) image=$2; shift ;;
    --arch) arch=$2; shift ;;
    --timeout) timeout=${2%s}; shift ;;
  esac
  value=''
  shift
done
case $arch in '' | amd64 | arm64) ;; *) usage_error "--arch '$arch' is not built: use amd64 or arm64" ;; esac
[[ $timeout =~ ^[1-9][0-9]{0,4}$ ]] || usage_error "--timeout '$timeout' is no number of seconds: use for example 300"
[ -z "$yes" ] || [ "$mode" = delete ] || usage_error "--yes goes with --delete only"
[ -z "$registry" ] || [ -z "$load" ] || usage_error "--registry and --load are two ways for one image: choose one"
[ -z "$image" ] || [ -z "$registry$load" ] || usage_error "--image says that the image is there: leave --registry and --load out"
[[ -z $registry || $registry =~ ^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$ ]] ||
  usage_error "--registry '$registry' is no repository: use for example registry.example.com/billing/kgents, without a tag"
given_image=$image
[ -z "$image" ] || split_image
case $mode in
  deploy) steps=9; [ -n "$verify" ] || steps=7 ;;
  delete) steps=2 ;;
  *) steps=4 ;;
esac

work=$(mktemp -d)
cleanup() {
  stop_child
  rm -rf "$work"
}
trap cleanup EXIT
trap 'clear_line; printf "%s: interrupted; running it again continues\n" "$me" >&2; exit 130' INT TERM
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)

step "prerequisites"
progress "looking"
check_prerequisites
[ "$mode" = delete ] || [ "$ready_nodes" -ge 3 ] ||
  warn "$ready_nodes nodes take pods: with fewer than 3, the loss of one can stop NATS"
done_step "context $context, Kubernetes $server_version${arch:+, linux/$arch}"

if [ "$mode" = delete ]; then
  step "delete namespace $namespace"
  if [ -z "$exists" ]; then
    done_step "it is not there: nothing to delete"
    exit 0
  fi
  # A namespace of the same name that somebody else made is not ours to delete.
  [ "$(k get namespace "$namespace" -o 'jsonpath={.metadata.labels.app\.kubernetes\.io/part-of}')" = kgents ] ||
    fail "namespace $namespace lacks the label $part_of: it was not made by this script, so delete it by hand if that is what you want"
  if [ -z "$yes" ]; then
    note "This deletes the namespace $namespace of context $context, with its volumes and all events in them."
    printf '    Type the name of the namespace to go on: '
    read -r answer || answer=
    [ "$answer" = "$namespace" ] || { echo; fail "nothing was deleted: '$namespace' was not the answer (or use --yes)"; }
  fi
  progress "deleting"
  k delete namespace "$namespace" --wait --timeout="${timeout}s" >"$work/delete" 2>&1 || fail "the namespace is not gone" "$work/delete"
  done_step "deleted with its volumes; the secrets in ${secrets#"$root"/} are kept"
  exit 0
fi

step "build"
if [ -n "$given_image" ]; then
  done_step "nothing: $given_image is taken as it is"
else
  progress "compiling for linux/$arch"
  build_image
  done_step "$image, its parts are in ${built#"$root"/}.sbom.txt"
fi

if [ "$mode" = deploy ]; then
  step "image to the cluster"
  if [ -n "$given_image" ]; then
    done_step "nothing: $given_image is expected to be there"
  else
    load_image
    done_step "${registry:+pushed to $registry}${load:+loaded by $load}"
  fi
fi

step "secrets"
make_secrets
write_overlay
overlay=$k8s/.deploy/staging

# What is applied goes by `kubectl apply` on the client's side, which is what people
# type too: the two ways of applying own fields differently, and mixing them leaves
# fields that nobody removes. See what_differs for what it says of a second run.
case $mode in
  diff)
    step "diff"
    code=0
    KUBECTL_EXTERNAL_DIFF='' k diff -k "$overlay" >"$work/diff" 2>"$work/error" || code=$?
    [ $code -le 1 ] || fail "the cluster can't compare" "$work/error"
    redact <"$work/diff" # kubectl hides the values of Secrets; this hides the copies in annotations
    if [ $code -eq 0 ]; then done_step "nothing would change"; else done_step "this would change"; fi
    exit 0 ;;
  dry-run)
    step "dry run on the server"
    if [ -n "$exists" ]; then
      k apply -k "$overlay" --dry-run=server >"$work/apply" 2>"$work/error" || fail "the cluster refuses it" "$work/error"
    else
      # Nothing can be checked in a namespace that isn't there, so the rest is
      # checked against the default one; its objects are never made.
      warn "namespace $namespace is not there yet: its quota, limits and Pod Security are not checked"
      k kustomize "$overlay" 2>"$work/error" | sed "s/^  namespace: $namespace\$/  namespace: default/" |
        k apply --dry-run=server -f - >"$work/apply" 2>>"$work/error" || fail "the cluster refuses it" "$work/error"
    fi
    indent <"$work/apply"
    done_step "the cluster takes all $(grep -c . "$work/apply") objects; nothing was changed"
    exit 0 ;;
esac

step "apply"
progress "namespace $namespace"
what_differs >"$work/differs"
k apply -k "$overlay" >"$work/apply.raw" 2>"$work/error" || fail "not everything could be applied" "$work/error"
honest "$work/differs" <"$work/apply.raw" >"$work/apply"
clear_line
grep -v ' unchanged$' "$work/apply" | indent || true
done_step "$(awk '{n[$NF]++} END {for (w in n) {printf "%s%d %s", s, n[w], w; s = ", "}}' "$work/apply")"

step "rollouts"
for workload in statefulset/nats statefulset/redis statefulset/kgents-meter deployment/kgents-api deployment/kgents-sink; do
  wait_for "$workload"
done
wait_for_leaving
done_step "every pod runs the newest revision, and no other is left"

if [ -n "$verify" ]; then
  step "verify from inside"
  verify_inside
  step "backup"
  first_backup
fi

step "tidy up"
prune

cat <<SUMMARY

${strong}kgents staging is up${plain} after $SECONDS s${verify:+, and verified}
  context    $context
  namespace  $namespace
  image      $image${digest:+ ($digest)}
  pods
$(kn get pods -l "$part_of" --field-selector=status.phase=Running -o 'custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,RESTARTS:.status.containerStatuses[0].restartCount' --no-headers 2>/dev/null | sed 's/^/    /' || true)

Reach the API, in one terminal:
  kubectl --context $(quoted "$context") -n $namespace port-forward service/kgents-api 8000:80
and send a first event in another:
  make build
  (set -a; . ${secrets#"$root"/}/api.env; bin/kgents emit usage --count 10 --url http://127.0.0.1:8000)
SUMMARY
