#!/usr/bin/env bash
# Installs the Debian packages that the build, the demo and the tests need; does nothing where they are in place.
# `packages.sh consumers` installs the programs of others too that tests run where they find them, as CI does. The
# tests start their own; a machine without a policy-rc.d that forbids it starts the packages' services too.
set -euo pipefail
need=(build-essential pkg-config procps libtss2-dev swtpm swtpm-tools tpm2-tools)
[ "${1:-}" = demo ] || need+=(openssl softhsm2 opensc curl jq python3-venv dbus-daemon dbus-session-bus-common)
[ "${1:-}" != consumers ] || need+=(nginx-light postgresql containerd runc docker.io)

missing=()
for package in "${need[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  if sudo -n true 2>/dev/null; then as_root=(sudo -n); else
    echo "missing packages: ${missing[*]}" >&2
    echo "install them first: sudo apt-get install ${missing[*]}" >&2
    exit 2
  fi
fi
echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
