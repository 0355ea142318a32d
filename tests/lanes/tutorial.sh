#!/usr/bin/env bash
# Runs docs/tutorial-policy.md as it is written. With HOLDFAST_BIN the programs there are taken, and nothing is built.
source "$(dirname "$0")/env.sh"
if [ -n "${HOLDFAST_BIN:-}" ]; then BIN=$HOLDFAST_BIN; else cargo build --workspace --bins --quiet; fi
exec python3 "$ROOT/tests/lanes/tutorial.py" "$ROOT" "$BIN"
