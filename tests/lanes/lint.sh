#!/usr/bin/env bash
# Format, clippy, documentation and dependency rules; all without warnings.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }
dependencies() {
  if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources
  else echo "cargo-deny is not installed: the house test over the lock file stands in for it"; fi
}
lane "format" cargo fmt --all --check
lane "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
lane "documentation" documentation
lane "dependencies" dependencies
say "seconds by lane"; printf '%s' "$LANES"
