#!/usr/bin/env bash
# A disk that is nearly full, as the real server sees it: machines that are known renew, a machine that is not known is told
# to come back and nothing of it is written, the alarm is recorded, and all of it ends by itself. The disk is a file system in
# memory, mounted in a namespace of the lane's own. Also that what machines share is kept once. With HOLDFAST_BIN nothing is
# built.
source "$(dirname "$0")/env.sh"
if [ -n "${HOLDFAST_BIN:-}" ]; then BIN=$HOLDFAST_BIN; else cargo build --workspace --bins --quiet; fi

# A namespace in which a file system may be mounted, by whoever runs this.
if [ -z "${HOLDFAST_OWN_MOUNTS:-}" ]; then
  unshare --mount --map-root-user true 2>/dev/null || { echo "SKIPPED: no namespace for mounts here"; exit 0; }
  HOLDFAST_OWN_MOUNTS=1 HOLDFAST_BIN=$BIN exec unshare --mount --map-root-user "$0"
fi

work=$(mktemp -d); started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  umount "$work/state" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
until_true() { for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "in vain: $*" >&2; cat "$work"/*.log >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() { local name=$1; shift; "$@" >"$work/$name.log" 2>&1 & started+=($!); }
PATH=$BIN:$PATH

port=$(free_port)
# agent N: one of machine N.
agent() {
  cat >"$work/agent-$1.toml" <<EOF
server = "127.0.0.1:$port"
trust_domain = "example.org"
trust_bundle = "$work/bundle.pem"
data_dir = "$work/agent-$1"
firmware_log = "$work/lab/machines/$1/binary_bios_measurements"
evidence = ["tpm"]
[tpm]
swtpm = "$(grep -o 'host=[0-9.]*,port=[0-9]*' "$work/simulator.log" | sed -n "$(($1 + 1))p")"
[workload_api]
socket = "$work/api-$1.sock"
EOF
  start "agent-$1" holdfast-agent run --config "$work/agent-$1.toml"
}
count() { grep -c "$1" "$work/server.log" || true; }
nodes() { holdfast-server node list | grep -c ' admitted ' || true; }
is() { [ "$("$1" "${@:3}")" = "$2" ]; }
acts() { holdfast-server events export --type "dev.holdfast.act.$1.v1" | wc -l; }
bodies() { holdfast-server record usage | awk -v kind="$1" '$1 == kind {print $2}'; }

export HOLDFAST_SERVER_CONFIG=$work/server.toml
start simulator holdfast-tpm-sim run --machines 3 --dir "$work/lab"
until_true grep -q 'machine 2' "$work/simulator.log"
mkdir "$work/state"
mount -t tmpfs -o size=64m none "$work/state"
cat >"$work/server.toml" <<EOF
trust_domain = "example.org"
data_dir = "$work/state"
listen = "127.0.0.1:$port"
admin_socket = "$work/admin.sock"
allow_simulated = true
[record]
reserve_mib = 1
EOF
holdfast-server init --root-key "$work/root.key" >/dev/null
start server holdfast-server run
until_true holdfast-server bundle show
holdfast-server endorsements import --class simulated "$work/lab/vendor/root.pem" >/dev/null
for n in 0 1 2; do
  holdfast-server node allow --ek-sha256 "$(holdfast-tpm-sim ek --machine "$work/lab/machines/$n" | awk '/rsa.*public-key/ {print $3}')" >/dev/null
done
holdfast-server policy apply policies/shipped/simulated-machines.toml -m lane >/dev/null
holdfast-server bundle show >"$work/bundle.pem"

say "two machines with room"
agent 0; known=$!
until_true is nodes 1
agent 1
until_true is nodes 2
# Each quotes again on the connection that its new certificate made.
until_true is count 2 'node admitted.*way="renew"'
holdfast-server record usage
[ "$(bodies event-log)" = 1 ] || { echo "the log that both machines booted by is not kept once" >&2; exit 1; }
kept=$(bodies manifest)

say "no room: known machines renew, a new one waits"
fallocate -l $(($(df --output=avail -B1 "$work/state" | tail -n 1) - (4 << 20))) "$work/state/filler"
until_true is acts 1 storage.low
before=$(count 'node admitted.*way="renew"')
kill -HUP "$known"
more() { [ "$(count 'node admitted.*way="renew"')" -gt "$before" ]; }
until_true more
agent 2; new=$!
until_true grep -q "did not decide: ResourceExhausted" "$work/agent-2.log"
is nodes 2 || { echo "a machine was enrolled without room" >&2; exit 1; }
[ "$(bodies manifest)" = "$kept" ] || { echo "evidence was kept without room" >&2; exit 1; }
holdfast-server audit verify

say "room again: it is enrolled"
rm "$work/state/filler"
until_true is acts 1 storage.recovered
kill -HUP "$new"
until_true is nodes 3
[ "$(bodies event-log)" = 1 ]
holdfast-server record usage
