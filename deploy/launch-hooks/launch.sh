# shellcheck shell=bash
# Sourced by the launch hooks: computes what a guest will measure to, and announces its launch to the server.
# Values that are not exported by whoever runs the hook come from /etc/holdfast/launch.conf.

if [ -r "${HOLDFAST_LAUNCH_CONF:-/etc/holdfast/launch.conf}" ]; then
  # shellcheck disable=SC1090
  . "${HOLDFAST_LAUNCH_CONF:-/etc/holdfast/launch.conf}"
fi
# The offline tool, and the operator's command of the server; each may be several words: `ssh desk holdfast-server`.
: "${HOLDFAST_POLICY:=holdfast-policy}"
: "${HOLDFAST_SERVER:=holdfast-server}"
# Where the digests of running launches are remembered.
: "${HOLDFAST_LAUNCHES:=/run/holdfast/launches}"

holdfast_fail() {
  printf 'holdfast: %s\n' "$*" >&2
  exit 1
}

# Random bytes in hex: holdfast_random BYTES
holdfast_random() {
  head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

# Hex to base64, as QEMU and libvirt want these values.
holdfast_base64() {
  local hex=$1 text=""
  while [ -n "$hex" ]; do
    text+="\\x${hex:0:2}"
    hex=${hex:2}
  done
  printf '%b' "$text" | base64 -w 0
}

# Base64 on standard input to hex.
holdfast_hex() {
  base64 -d | od -An -v -tx1 | tr -d ' \n'
}

# One value of a report of `holdfast-policy measure`: holdfast_value FACT, the report on standard input.
holdfast_value() {
  local value
  value=$(sed -n "s/^$1 = \([0-9a-f][0-9a-f]*\)\$/\1/p")
  [ -n "$value" ] || return 1
  printf '%s\n' "$value"
}

# The launch digest of a SEV-SNP guest: holdfast_measure_snp FLAGS OF measure snp...
holdfast_measure_snp() {
  local report
  # shellcheck disable=SC2086
  report=$($HOLDFAST_POLICY measure snp "$@") || {
    printf '%s\n' "$report" >&2
    return 1
  }
  holdfast_value snp.measurement <<<"$report"
}

# MRTD of a TDX guest: holdfast_measure_tdx FLAGS OF measure tdx...
holdfast_measure_tdx() {
  local report
  # shellcheck disable=SC2086
  report=$($HOLDFAST_POLICY measure tdx "$@") || {
    printf '%s\n' "$report" >&2
    return 1
  }
  holdfast_value tdx.mrtd <<<"$report"
}

# Announces a launch and remembers it under NAME: holdfast_register NAME FLAGS OF launch register...
holdfast_register() {
  local name=$1 digest
  shift
  mkdir -p "$HOLDFAST_LAUNCHES"
  # shellcheck disable=SC2086
  digest=$($HOLDFAST_SERVER launch register "$@") || return 1
  printf '%s\n' "$digest" >"$HOLDFAST_LAUNCHES/$name"
}

# Takes the announcement of NAME back; nothing if there is none.
holdfast_remove() {
  local file=$HOLDFAST_LAUNCHES/$1
  [ -r "$file" ] || return 0
  # shellcheck disable=SC2086
  $HOLDFAST_SERVER launch remove "$(cat "$file")" >/dev/null || return 1
  rm -f "$file"
}
