# shellcheck shell=bash
# Checks everything before anything is done, and says all that is missing at once.

least_kubernetes=1.30

missing=()
lack() { missing+=("$1"); }

# at_least HAVE WANT compares versions such as 1.33.2 and 1.30.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# version_in takes the version out of what kubectl answers.
version_in() { sed -n 's/.*"gitVersion": *"v\{0,1\}\([0-9][0-9.]*\).*/\1/p' | head -n 1; }

check_prerequisites() {
  local have
  missing=()
  if ! command -v kubectl >/dev/null; then
    lack "kubectl $least_kubernetes or newer: https://kubernetes.io/docs/tasks/tools/"
  else
    have=$(kubectl version --client -o json 2>/dev/null | version_in) || have=
    if [ -z "$have" ] || ! at_least "$have" $least_kubernetes; then
      lack "kubectl $least_kubernetes or newer, this one is ${have:-of no known version}: https://kubernetes.io/docs/tasks/tools/"
    fi
    check_cluster
  fi
  check_tools
  [ ${#missing[@]} -eq 0 ] && return
  printf '    %smissing%s:\n' "$red" "$plain" >&2
  printf '      - %s\n' "${missing[@]}" >&2
  printf '    Nothing was changed.\n' >&2
  exit 3
}

# check_tools looks for what building, loading and making secrets need.
check_tools() {
  local want have tool
  [ "$mode" = delete ] && return
  if [ -z "$image" ] || ! have_secrets; then
    for tool in make git; do
      command -v $tool >/dev/null || lack "$tool, to build the program: from your system's packages"
    done
    want=$(sed -n 's/^go \([0-9.]*\).*/\1/p' "$root/go.mod")
    if ! command -v go >/dev/null; then
      lack "Go $want, to build the program: https://go.dev/dl/ (or --image with one that is built, once secrets exist)"
    else
      # Asked inside of the module, where Go fetches the version that go.mod names.
      have=$(cd "$root" && go env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9.]*\).*/\1/p') || have=
      if [ -z "$have" ] || ! at_least "$have" "$want"; then
        lack "Go $want, this one is ${have:-of no known version}: https://go.dev/dl/"
      fi
    fi
  fi
  [ -n "$image$registry$load" ] || [ "$mode" != deploy ] || [ -z "$context" ] && return
  case $context in
    kind-*)
      load="kind load image-archive --name $(quoted "${context#kind-}")"
      command -v kind >/dev/null || lack "kind, to load the image into the cluster: https://kind.sigs.k8s.io (or --load, --registry)" ;;
    k3d-*)
      load="k3d image import -c $(quoted "${context#k3d-}")"
      command -v k3d >/dev/null || lack "k3d, to load the image into the cluster: https://k3d.io (or --load, --registry)" ;;
    *)
      lack "a way for the image into the cluster of context \"$context\": --registry REF to push it, --load 'CMD' to load an archive, or --image REF when it is there" ;;
  esac
}

quoted() { printf '%q' "$1"; }

# check_cluster finds the context, its version, what we may do and what it runs on.
check_cluster() {
  local have verb resource classes
  if [ -z "$context" ]; then
    context=$(kubectl config current-context 2>/dev/null) || context=
    [ -n "$context" ] || { lack "a cluster: set KUBECONFIG, or choose one with kubectl config use-context or --context"; return; }
  fi
  if ! have=$(k get --raw /version --request-timeout=10s 2>"$work/error"); then
    lack "an answer of the cluster of context \"$context\": $(tail -n 1 "$work/error" | redact | cut -c 1-300)"
    return
  fi
  server_version=$(printf '%s\n' "$have" | version_in)
  if [ -z "$server_version" ] || ! at_least "$server_version" $least_kubernetes; then
    lack "Kubernetes $least_kubernetes or newer, the cluster's is ${server_version:-of no known version}: upgrade it, or choose another with --context"
  fi
  exists=
  k get namespace "$namespace" -o name >/dev/null 2>&1 && exists=1
  if [ "$mode" = delete ]; then verb=delete resource=namespaces
  elif [ -n "$exists" ]; then verb=create resource=statefulsets.apps
  else verb=create resource=namespaces; fi
  if ! k auth can-i $verb $resource --namespace "$namespace" >/dev/null 2>&1; then
    lack "the right to $verb $resource${exists:+ in namespace $namespace}: ask whoever runs the cluster for the role admin, or cluster-admin when the namespace is not there yet"
  fi
  [ "$mode" = delete ] && return
  classes=$(k get storageclasses -o 'jsonpath={range .items[*]}{.metadata.name}|{.metadata.annotations.storageclass\.kubernetes\.io/is-default-class}{"\n"}{end}' 2>/dev/null) || classes=
  if ! printf '%s\n' "$classes" | grep -q '|true$'; then
    lack "a default StorageClass, for the volumes of NATS, Redis and the meter: kubectl patch storageclass NAME -p '{\"metadata\":{\"annotations\":{\"storageclass.kubernetes.io/is-default-class\":\"true\"}}}'$(printf '%s\n' "$classes" | sed -n 's/^\(..*\)|.*/\1/p' | tr '\n' ' ' | sed 's/\(.*[^ ]\) *$/ (there are: \1)/')"
  fi
  check_nodes
}

# check_nodes counts the nodes that pods can go to, and finds their architecture.
check_nodes() {
  local nodes archs
  nodes=$(k get nodes -o 'jsonpath={range .items[*]}{.metadata.name}|{.spec.unschedulable}|{.spec.taints[*].effect}|{.status.nodeInfo.architecture}|{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null) || nodes=
  nodes=$(printf '%s\n' "$nodes" | awk -F '|' '$2 != "true" && $3 !~ /NoSchedule|NoExecute/ && $5 == "True"')
  ready_nodes=$(printf '%s' "$nodes" | grep -c . || true)
  [ "$ready_nodes" -gt 0 ] || { lack "a node that is Ready and takes pods: kubectl get nodes"; return; }
  archs=$(printf '%s\n' "$nodes" | cut -d '|' -f 4 | sort -u)
  if [ -z "$arch" ]; then
    case $archs in
      amd64 | arm64) arch=$archs ;;
      *$'\n'*) lack "one architecture for the image, the nodes have $(printf '%s' "$archs" | tr '\n' ' '): choose with --arch, and let pods go to those nodes only" ;;
      *) arch=amd64 ;;
    esac
  elif ! printf '%s\n' "$archs" | grep -qx "$arch"; then
    lack "a node for --arch $arch, the nodes have $(printf '%s' "$archs" | tr '\n' ' ')"
  fi
}
