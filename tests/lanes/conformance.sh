#!/usr/bin/env bash
# Runs the tests of the SPIFFE checklist's rows and writes docs/spiffe-conformance.md from what became of them.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh

said=$(mktemp)
trap 'rm -f "$said"' EXIT
say "building"
cargo test --workspace --quiet --no-run
cargo build --workspace --quiet --bins
say "rows of the checklist"
failed=0
cargo test --workspace --tests --no-fail-fast -- spiffe_ --show-output >"$said" 2>&1 || failed=$?
grep -E '^test .*spiffe_' "$said" | sort || true
[ "$failed" = 0 ] || grep -E 'panicked at|^error' -A 4 "$said" || true
HOLDFAST_CONFORMANCE="$said" cargo test --workspace --quiet --test house conformance
exit "$failed"
