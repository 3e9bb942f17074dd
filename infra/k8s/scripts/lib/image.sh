# shellcheck shell=bash
# Builds the program and its image, and brings the image to the cluster.

default_image=ghcr.io/kgents/kgents
digest=''

# compile OS ARCH OUTPUT builds the program. The version is what git says, also
# where Go has been told not to ask: an image must say which commit it is.
compile() {
  mkdir -p "$root/dist"
  (
    cd "$root"
    GOFLAGS="$(go env GOFLAGS) -buildvcs=auto" GOOS=$1 GOARCH=$2 \
      make --no-print-directory build BIN="$3" CGO_ENABLED=0
  ) >"$work/build.log" 2>&1 || { fail "the program does not build" "$work/build.log"; }
}

host_binary=''
# build_host builds the program for this machine, once.
build_host() {
  [ -z "$host_binary" ] || return 0
  local os cpu
  os=$(go env GOHOSTOS) cpu=$(go env GOHOSTARCH)
  if [ "$os/$cpu" = "linux/$arch" ] && [ -n "$built" ]; then
    host_binary=$built
  else
    host_binary=$root/dist/kgents-$os-$cpu
    compile "$os" "$cpu" "$host_binary"
  fi
}

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

built=''
# build_image names the image by its content, so that the same program rolls nothing
# and another one rolls the pods, also when nothing was committed in between.
build_image() {
  local revision
  built=$root/dist/kgents-linux-$arch
  compile linux "$arch" "$built"
  (cd "$root/dist" && go version -m "kgents-linux-$arch") >"$work/sbom"
  mv "$work/sbom" "$built.sbom.txt"
  revision=$(sed -n 's/.*vcs\.revision=\([0-9a-f]\{12\}\).*/\1/p' "$built.sbom.txt" | head -n 1)
  tag=${revision:-devel}-$(sha256 "$built" | cut -c 1-8)
  repository=${registry:-$default_image}
  image=$repository:$tag
  archive=$root/dist/kgents-linux-$arch.tar
  # Pushed in its own step: nothing leaves this machine in a dry run.
  digest=$(cd "$root" && go run -C tools ./image --binary "$built" --name "$image" --output "$archive" 2>"$work/build.log") ||
    fail "the image can't be made" "$work/build.log"
}

# load_image pushes to the registry, or runs the hook with the archive's path.
load_image() {
  progress "$image"
  if [ -n "$registry" ]; then
    (cd "$root" && go run -C tools ./image --binary "$built" --name "$image" --push) >"$work/load.log" 2>&1 ||
      fail "the image can't be pushed to $registry" "$work/load.log"
    return
  fi
  bash -c "$load "'"$1"' -- "$archive" >"$work/load.log" 2>&1 ||
    fail "'$load' failed" "$work/load.log"
}

# split_image makes repository and tag (or digest) of --image.
split_image() {
  local last
  case $image in
    *[!A-Za-z0-9._/:@-]* | -* | */ | '') usage_error "--image '$image' is no image: use for example $default_image:v1" ;;
    *@sha256:*) repository=${image%@*} tag='' pinned=${image#*@}; return ;;
  esac
  last=${image##*/}
  case $last in
    *:latest | *: | *@*) usage_error "--image '$image' needs a tag of its own: a pod must say which build it runs" ;;
    *:*) repository=${image%:*} tag=${image##*:} ;;
    *) usage_error "--image '$image' needs a tag: use for example $default_image:v1" ;;
  esac
}

# write_overlay puts this build's image over the staging overlay, in a folder beside
# it, since Kustomize has no parameters. It appears whole or not at all.
write_overlay() {
  mkdir -p "$k8s/.deploy/staging"
  {
    printf '# Written by deploy-staging.sh; the next run writes it again.\n'
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- ../../overlays/staging\n'
    printf 'images:\n- name: %s\n  newName: %s\n' "$default_image" "$repository"
    if [ -n "$tag" ]; then printf '  newTag: "%s"\n' "$tag"; else printf '  digest: "%s"\n' "$pinned"; fi
  } >"$work/kustomization.yaml"
  mv "$work/kustomization.yaml" "$k8s/.deploy/staging/kustomization.yaml"
}

secret_files='api.env meter.env redis.env redis/users.acl nats/users.env nats/api.nk nats/sink.nk nats/backup.nk nats/operator.nk nats/system.nk nats/ca.crt nats/tls.crt nats/tls.key backup/identity.txt backup/recipient.env ages.json'

have_secrets() {
  local file
  for file in $secret_files; do [ -s "$secrets/$file" ] || return 1; done
}

# make_secrets makes what is missing and leaves what is there.
make_secrets() {
  if have_secrets; then
    done_step "there already: ${secrets#"$root"/}"
    return
  fi
  progress "making keys, passwords and certificates"
  build_host
  "$host_binary" secrets init --dir "$secrets" --namespace "$namespace" >"$work/secrets.log" 2>&1 ||
    fail "the secrets can't be made" "$work/secrets.log"
  done_step "made in ${secrets#"$root"/}, which git ignores: keep it, the next deployment needs it"
}
