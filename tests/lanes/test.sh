#!/usr/bin/env bash
# Every test. `tests/lanes/test.sh LANE...` runs only those, each with its seconds: a lane is a test binary, or `units`.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh

# --workspace everywhere: a single package would unify features differently and build its dependencies again.
# The programs too: end_to_end runs them as they are.
build() { cargo test --workspace --quiet --no-run && cargo build --workspace --quiet --bins; }
units() { cargo test --workspace --quiet --lib --bins && cargo test --workspace --quiet --doc; }
only() { cargo test --workspace --quiet --test "$1"; }

lane "build" build
if [ $# -eq 0 ]; then
  lane "tests" cargo test --workspace --quiet --no-fail-fast
fi
for name in "$@"; do
  if [ "$name" = units ]; then lane "units" units; else lane "$name" only "$name"; fi
done
say "seconds by lane"; printf '%s' "$LANES"
