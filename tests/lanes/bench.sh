#!/usr/bin/env bash
# Measures, prints a table, writes target/bench/results.json. `make bench ONLY=name` measures one row.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh demo
say "building with optimisation (the first time takes some minutes)"
cargo build --workspace --bins --release
mkdir -p "$ROOT/target/bench"
exec "$CARGO_TARGET_DIR/release/holdfast-bench" --out "$ROOT/target/bench/results.json" "$@"
