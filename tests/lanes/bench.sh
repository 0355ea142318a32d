#!/usr/bin/env bash
# Measures, prints a table, writes target/bench/results.json. `make bench ONLY=name` measures one row.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh demo
say "building with optimisation (the first time takes some minutes)"
cargo build --workspace --bins --release --quiet
mkdir -p "$ROOT/target/bench"
exec cargo bench --workspace --quiet --bench holdfast -- --out "$ROOT/target/bench/results.json" "$@"
