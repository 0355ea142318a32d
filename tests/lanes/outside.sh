#!/usr/bin/env bash
# What others must be able to read is read by others' code: an attestation result by the `cwt` package from PyPI, the record
# by a client of C2SP checkpoints and tiles that shares nothing with ours. With HOLDFAST_BIN the programs there are taken.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh
if [ -n "${HOLDFAST_BIN:-}" ]; then BIN=$HOLDFAST_BIN; else cargo build --workspace --bins --quiet; fi

venv=$CARGO_TARGET_DIR/python-cwt-3.3.0
if [ ! -e "$venv/made" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check cwt==3.3.0
  touch "$venv/made"
fi

work=$(mktemp -d); started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
until_true() { for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "in vain: $*" >&2; cat "$work"/*.log >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() { local name=$1; shift; "$@" >"$work/$name.log" 2>&1 & started+=($!); }
PATH=$BIN:$PATH

port=$(free_port); record=$(free_port)
cat >"$work/server.toml" <<EOF
trust_domain = "example.org"
data_dir = "$work/state"
listen = "127.0.0.1:$port"
admin_socket = "$work/admin.sock"
allow_simulated = true
[record]
listen = "127.0.0.1:$record"
EOF
export HOLDFAST_SERVER_CONFIG=$work/server.toml
start simulator holdfast-tpm-sim run --machines 1 --dir "$work/lab"
holdfast-server init --root-key "$work/root.key" >/dev/null
start server holdfast-server run
until_true holdfast-server bundle show
until_true grep -q swtpm "$work/simulator.log"
holdfast-server endorsements import --class simulated "$work/lab/vendor/root.pem" >/dev/null
key=$(holdfast-tpm-sim ek --machine "$work/lab/machines/0" | awk '/rsa.*public-key/ {print $3}')
holdfast-server node allow --ek-sha256 "$key" >/dev/null
holdfast-server policy apply policies/shipped/simulated-machines.toml -m lane >/dev/null
holdfast-server bundle show >"$work/bundle.pem"
holdfast-server record vkey >"$work/log.vkey"
holdfast-server record checkpoint >"$work/early.checkpoint"
cat >"$work/agent.toml" <<EOF
server = "127.0.0.1:$port"
trust_domain = "example.org"
trust_bundle = "$work/bundle.pem"
data_dir = "$work/agent-state"
firmware_log = "$work/lab/machines/0/binary_bios_measurements"
evidence = ["tpm"]
[tpm]
swtpm = "$(grep -o 'host=[0-9.]*,port=[0-9]*' "$work/simulator.log")"
[workload_api]
socket = "$work/api.sock"
EOF
start agent holdfast-agent run --config "$work/agent.toml"
admitted() { holdfast-server node list | grep -q ' admitted '; }
until_true admitted
node=$(holdfast-server node list | grep -o 'spiffe://[^ ]*')
nonce=00112233445566ff
holdfast-server ear key >"$work/ear.pem"
holdfast-server ear issue --node "$node" --nonce $nonce --out "$work/result.cwt" >/dev/null
# More than one full tile and bundle: 256 entries and some.
for n in $(seq 260); do printf '%064x\n' "$n"; done | xargs -n 1 -P 4 holdfast-server node allow --ek-sha256 >/dev/null
holdfast-server record checkpoint >"$work/late.checkpoint"

say "an attestation result, read by cwt"
"$venv/bin/python" tests/lanes/outside_ear.py "$work/result.cwt" "$work/ear.pem" "$node" "$nonce"
say "the record, followed by a client of C2SP's formats"
"$venv/bin/python" tests/lanes/outside_record.py "http://127.0.0.1:$record" "$work/log.vkey" "$work/early.checkpoint" "$work/late.checkpoint"
