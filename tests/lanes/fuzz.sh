#!/usr/bin/env bash
# In-process mutation fuzzing for a bounded time: `make fuzz`, or `make fuzz SECONDS_EACH=300`.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh
HOLDFAST_FUZZ_SECONDS=${1:-30} cargo test --workspace --quiet --test fuzz -- --nocapture
