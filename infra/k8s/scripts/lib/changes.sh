# shellcheck shell=bash
# Says what an apply really changes. kubectl says 'configured' whenever it has sent a
# patch, and it always sends one for a Secret whose values Kustomize has wrapped, for
# the claims of a StatefulSet and for the selector of a disruption budget, also when
# the object stays as it was. The server's own comparison knows better.

# what_differs prints one line for each object that applying would change, such as
# apps.v1.statefulset.kgents-staging.nats, or 'unknown' where that can't be asked,
# as before the namespace exists.
what_differs() {
  local code=0
  # Only the names are kept: a difference may quote Secrets.
  KUBECTL_EXTERNAL_DIFF='' k diff -k "$overlay" 2>/dev/null | sed -n 's#^diff .*/##p' | tr '[:upper:]' '[:lower:]' || code=${PIPESTATUS[0]}
  [ "$code" -le 1 ] || echo unknown
}

# honest FILE turns 'configured' into 'unchanged' for what is not in FILE.
honest() {
  awk -v file="$1" '
    BEGIN { while ((getline line < file) > 0) { if (line == "unknown") unknown = 1; differs[++n] = line } }
    $NF == "configured" && !unknown {
      split($1, part, "/"); sub(/\..*/, "", part[1]); same = 1
      tail = "." part[2]
      for (i = 1; i <= n; i++)
        if (index(differs[i], "." part[1] ".") && substr(differs[i], length(differs[i]) - length(tail) + 1) == tail) same = 0
      if (same) $NF = "unchanged"
    }
    { print }'
}
