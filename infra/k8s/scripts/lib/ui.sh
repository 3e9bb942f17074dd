# shellcheck shell=bash
# What the user sees: steps with their seconds, one live line while waiting, colour
# on a terminal only (NO_COLOR and TERM=dumb speak against it), and no secret.

if [ -t 1 ] && [ -z "${NO_COLOR-}" ] && [ "${TERM-dumb}" != dumb ]; then
  green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' faint=$'\e[2m' strong=$'\e[1m' plain=$'\e[0m'
else
  green='' red='' yellow='' faint='' strong='' plain=''
fi
[ -t 1 ] && live=1 || live=

step_number=0
step_began=0
step_name=''

# step NAME begins a step; done_step TEXT or fail_step ends it.
step() {
  step_number=$((step_number + 1))
  step_name=$1
  step_began=$SECONDS
  printf '%s%s/%s%s %s%s%s\n' "$faint" "$step_number" "$steps" "$plain" "$strong" "$1" "$plain"
}

done_step() {
  clear_line
  printf '    %sok%s  %s %s(%s s)%s\n' "$green" "$plain" "$1" "$faint" "$((SECONDS - step_began))" "$plain"
}

note() { clear_line; printf '    %s\n' "$*"; }
warn() { clear_line; printf '    %swarning%s: %s\n' "$yellow" "$plain" "$*"; }

# usage_error TEXT says what is wrong with the command line. Exit code 2.
usage_error() {
  printf '%s: %s; see %s --help\n' "$me" "$1" "$me" >&2
  exit 2
}

# Where there is no terminal, a line that says the same as the last is repeated
# only after so many seconds: a log must show life without filling up.
quiet_seconds=15
last_line='' last_line_at=0

# progress TEXT shows where a wait stands.
progress() {
  if [ -n "$live" ]; then
    printf '\r\e[K    %s…%s   %s' "$faint" "$plain" "$(printf '%s' "$1" | cut -c "1-$((${COLUMNS:-100} - 10))")"
  elif [ "${1%% (*}" != "${last_line%% (*}" ] || [ $((SECONDS - last_line_at)) -ge $quiet_seconds ]; then
    printf '    …   %s\n' "$1"
    last_line=$1 last_line_at=$SECONDS
  fi
}

clear_line() { [ -z "$live" ] || printf '\r\e[K'; last_line=''; }

# redact takes out what looks like a secret. Programs are not meant to print one;
# this is for the day when one does. It also drops the patches that kubectl prints
# when an apply fails, which hold Secrets.
redact() {
  sed -E \
    -e '/^[+ -]? *\{.*"(data|stringData|metadata)"/s/\{.*/{… not shown}/' \
    -e 's/S[UAONCX][A-Z2-7]{54,}/SU…/g' \
    -e 's/AGE-SECRET-KEY-[A-Z0-9]+/AGE-SECRET-KEY-…/g' \
    -e 's/whsec_[A-Za-z0-9_+\/=-]+/whsec_…/g' \
    -e 's/([rs]k_(live|test))_[A-Za-z0-9]+/\1_…/g' \
    -e 's/\bkg_[A-Za-z0-9_]{20,}/kg_…/g' \
    -e 's#(://[^:/@ ]*):[^@/ ]+@#\1:…@#g' \
    -e 's/((API_KEYS|OPENMETER_API_KEY|STRIPE_WEBHOOK_SECRET|STRIPE_API_KEY|USAGE_ALERT_SECRET|TOWN_MODEL_KEY|[Pp]assword)["'\'']?[=:] *)[^ ,}]+/\1…/g'
}

indent() { sed 's/^/      /'; }
