"""Reads an attestation result with the `cwt` package: verifies it, reads its trust vector; a wrong key is refused."""

import hashlib
import sys

import cwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Labels of claims: RFC 8392, RFC 9711, draft-ietf-rats-ear.
SUB, NONCE, PROFILE, SUBMODS = 2, 10, 265, 266
STATUS, VECTOR = 1000, 1001
INSTANCE_IDENTITY, HARDWARE = 0, 4


def key_of(public):
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return cwt.COSEKey.from_pem(pem, kid=hashlib.sha256(der).digest()[:8])


def is_refused(token, key):
    # Whatever it raises, it gave no claims: a byte of the structure makes it trip over a type, not over the signature.
    try:
        cwt.decode(token, key)
    except Exception:
        return True
    return False


def main():
    token_file, key_file, node, nonce = sys.argv[1:]
    with open(token_file, "rb") as file:
        token = file.read()
    with open(key_file, "rb") as file:
        public = serialization.load_pem_public_key(file.read())
    key = key_of(public)
    claims = cwt.decode(token, key)
    assert claims[SUB] == node, claims
    assert claims[NONCE] == bytes.fromhex(nonce), claims
    assert claims[PROFILE] == "tag:ietf.org,2026:rats/ear#04", claims
    tpm = claims[SUBMODS]["tpm"]
    vector = tpm[VECTOR]
    print(f"status {tpm[STATUS]}, trust vector {vector}")
    # A simulated machine is never affirmed (2), whatever it shows.
    assert tpm[STATUS] == 32 and vector[HARDWARE] == -33, claims

    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert is_refused(token, key_of(other)), "another key verifies it"
    # Under the right key's name, too: it is the signature that refuses.
    pem = other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert is_refused(token, cwt.COSEKey.from_pem(pem, kid=key.kid)), "another key of that name verifies it"
    for at in range(len(token)):
        changed = bytearray(token)
        changed[at] ^= 1
        assert is_refused(bytes(changed), key), f"byte {at} can be changed"
    print(f"verified; refused with another key, and with any of its {len(token)} bytes changed")


main()
