# Sourced by every lane: where things are, and how a lane says what it does.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT"
# The build directory stands outside the clone, so that a clean clone is quick to test and a deleted one leaves nothing.
# Each clone has its own: tests carry the path that they were built at, and would judge another clone's tree.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/target-$(cksum <<<"$ROOT" | cut -d ' ' -f 1)}
BIN=$CARGO_TARGET_DIR/debug

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# lane NAME COMMAND...: runs it and prints how long it took.
lane() {
  local name=$1 from=$SECONDS; shift
  say "$name"
  "$@"
  LANES+="$(printf '%6ds  %s' $((SECONDS - from)) "$name")"$'\n'
}
LANES=""
