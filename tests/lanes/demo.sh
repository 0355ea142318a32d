#!/usr/bin/env bash
# The main job on a software TPM: two machines prove what they are, their workloads meet over mutual TLS, and the machine
# that reboots into a changed kernel is refused. `make demo KIND=snp` tells it of confidential guests;
# so do tdx, nitro, nitrotpm, azure and gcp.
# Artefacts are left in target/demo; nothing else is.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh demo

say "building (the first time takes some minutes)"
cargo build --workspace --bins
exec "$BIN/holdfast-demo" --bin "$BIN" --out "$ROOT/target/demo" --kind "${1:-tpm}"
