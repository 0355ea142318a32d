"""An issuer of tokens as a CI system is one: `make FOLDER` draws its key, `token FOLDER [CLAIM=VALUE...]` prints a token."""

import json
import pathlib
import sys
import time
import uuid

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm


def make(folder):
    folder.mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(pem)
    public = {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": "ci-1", "use": "sig", "alg": "RS256"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [public]}))


def token(folder, changes):
    now = int(time.time())
    claims = {
        "iss": "https://ci.example.org",
        "sub": "repo:acme/app:ref:refs/heads/main",
        "repository_owner_id": "12",
        "jti": str(uuid.uuid4()),
        "iat": now,
        "nbf": now,
        "exp": now + 300,
    }
    claims.update(change.split("=", 1) for change in changes)
    print(jwt.encode(claims, (folder / "key.pem").read_text(), algorithm="RS256", headers={"kid": "ci-1"}))


def main():
    act, folder, *rest = sys.argv[1:]
    if act == "make":
        make(pathlib.Path(folder))
    else:
        token(pathlib.Path(folder), rest)


main()
