#!/usr/bin/env bash
# Every test, lane by lane, each with its seconds. `tests/lanes/test.sh LANE...` runs only those.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh

# --workspace everywhere: a single package would unify features differently and build its dependencies again.
# The programs too: end_to_end runs them as they are.
build() { cargo test --workspace --quiet --no-run && cargo build --workspace --quiet --bins; }
units() { cargo test --workspace --quiet --lib --bins && cargo test --workspace --quiet --doc; }
only() { cargo test --workspace --quiet --test "$1"; }

# The integration tests: one binary a lane, named after what it needs.
lanes=$(for f in crates/*/tests/*.rs */tests/*.rs; do [ -e "$f" ] && basename "$f" .rs; done
  for f in crates/*/tests/*/main.rs */tests/*/main.rs; do [ -e "$f" ] && basename "$(dirname "$f")"; done; true)
lanes=$(sort -u <<<"$lanes")
wanted=${*:-units $lanes}

lane "build" build
for name in $wanted; do
  if [ "$name" = units ]; then lane "units" units; else lane "$name" only "$name"; fi
done
say "seconds by lane"; printf '%s' "$LANES"
