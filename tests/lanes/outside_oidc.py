"""Finds an issuer's keys by discovery and verifies a JWT-SVID with PyJWT, as a program does that knows no SPIFFE."""

import json
import ssl
import sys
import urllib.request

import jwt


def is_refused(token, key, algorithms, audience, issuer):
    try:
        jwt.decode(token, key, algorithms=algorithms, audience=audience, issuer=issuer)
    except jwt.InvalidTokenError:
        return True
    return False


def main():
    issuer, ca_file, token, other, audience, subject = sys.argv[1:]
    tls = ssl.create_default_context(cafile=ca_file)
    with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", context=tls) as answer:
        assert answer.headers["content-type"] == "application/json", answer.headers
        assert "max-age" in answer.headers["cache-control"], answer.headers
        found = json.load(answer)
    assert found["issuer"] == issuer, found
    algorithms = found["id_token_signing_alg_values_supported"]
    keys = jwt.PyJWKClient(found["jwks_uri"], ssl_context=tls)
    # Every key says what it is for, and none says what only a SPIFFE bundle does.
    assert all(key.public_key_use == "sig" and key.key_id for key in keys.get_signing_keys())
    key = keys.get_signing_key_from_jwt(token).key
    claims = jwt.decode(
        token, key, algorithms=algorithms, audience=audience, issuer=issuer, options={"require": ["exp", "iat", "sub"]}
    )
    assert claims["sub"] == subject, claims
    print(f"{claims['sub']} for {claims['aud']} by {claims['iss']}, {algorithms}")

    assert is_refused(other, key, algorithms, audience, issuer), "for another audience"
    assert is_refused(token, key, algorithms, audience, f"{issuer}/other"), "of another issuer"
    head, payload, signature = token.split(".")
    for at in range(0, len(payload), 7):
        changed = payload[:at] + ("A" if payload[at] != "A" else "B") + payload[at + 1 :]
        assert is_refused(f"{head}.{changed}.{signature}", key, algorithms, audience, issuer), f"character {at}"
    print("refused for another audience, of another issuer, and changed")


main()
