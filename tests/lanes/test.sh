#!/usr/bin/env bash
# Every test. `tests/lanes/test.sh LANE...` runs only those, each with its seconds: a lane is a test binary, or `units`.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh

# --workspace everywhere: a single package would unify features differently and build its dependencies again.
# The programs too: end_to_end runs them as they are.
build() { cargo test --workspace --quiet --no-run && cargo build --workspace --quiet --bins; }
units() { cargo test --workspace --quiet --no-fail-fast --lib --bins && cargo test --workspace --quiet --doc; }
only() { cargo test --workspace --quiet --no-fail-fast "${@/#/--test=}"; }

# Those that wait for programs most of the time run beside all others: the names of all are cargo's, so that none is left out.
waiting=(authorities confidential consumers containers federation workload_api)
others() {
  cargo metadata --no-deps --format-version 1 | jq -r '.packages[].targets[] | select(.kind == ["test"]).name' | sort -u |
    grep -vxF "$(printf '%s\n' "${waiting[@]}")"
}
everything() {
  local names beside log; log=$(mktemp)
  mapfile -t names < <(others)
  [ ${#names[@]} -gt 0 ] || { echo "cargo names no tests" >&2; return 1; }
  only "${waiting[@]}" >"$log" 2>&1 & beside=$!
  local failed=0
  units || failed=1
  only "${names[@]}" || failed=1
  wait "$beside" || failed=1
  say "meanwhile: ${waiting[*]}"; cat "$log"; rm -f "$log"
  return $failed
}

lane "build" build
if [ $# -eq 0 ]; then
  lane "tests" everything
fi
for name in "$@"; do
  if [ "$name" = units ]; then lane "units" units; else lane "$name" only "$name"; fi
done
say "seconds by lane"; printf '%s' "$LANES"
