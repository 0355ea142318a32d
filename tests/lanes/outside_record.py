"""Follows the record as a monitor would: signed notes, tiles and entry bundles of C2SP, hashes of RFC 6962.

Written from the specifications alone. Verifies two checkpoints, computes the root of both from the entries, compares every
tile, and finds a changed byte, a wrong key and a root that does not follow.
"""

import base64
import hashlib
import struct
import sys
import urllib.error
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519, WIDTH = 1, 256


class Bad(Exception):
    """What was read is not what the log signed."""


def open_note(text, vkey):
    """c2sp.org/signed-note: the text, if the key signed it."""
    name, key_id, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key)
    if key[0] != ED25519 or hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() != key_id:
        raise Bad("vkey")
    body, signatures = text.split("\n\n", 1)
    body += "\n"
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ", 2)
        signature = base64.b64decode(signature)
        if dash == "\u2014" and signer == name and signature[:4].hex() == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], body.encode())
            except InvalidSignature:
                raise Bad("signature") from None
            return name, body
    raise Bad("not signed by this key")


def checkpoint(text, vkey):
    """c2sp.org/tlog-checkpoint: size and root."""
    name, body = open_note(text, vkey)
    origin, size, root = body.splitlines()[:3]
    if origin != name:
        raise Bad("origin")
    return int(size), base64.b64decode(root)


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def inner(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes):
    """RFC 6962, section 2.1."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return inner(root_of(hashes[:split]), root_of(hashes[split:]))


def path(kind, index, width):
    """c2sp.org/tlog-tiles: where a tile stands."""
    parts = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{kind}/{'/'.join(parts)}{partial}"


def fetched(base, where):
    with urllib.request.urlopen(f"{base}/{where}", timeout=10) as answer:
        return answer.read()


def widths(count):
    """Full tiles, then what is left."""
    return [WIDTH] * (count // WIDTH) + ([count % WIDTH] if count % WIDTH else [])


def entries_of(bundle, width):
    found, at = [], 0
    for _ in range(width):
        (length,) = struct.unpack_from(">H", bundle, at)
        found.append(bundle[at + 2 : at + 2 + length])
        at += 2 + length
    if at != len(bundle):
        raise Bad("bundle")
    return found


def follow(read, size):
    """Leaf hashes of the first `size` entries, after every tile above them was compared."""
    leaves = []
    for index, width in enumerate(widths(size)):
        leaves += [leaf(entry) for entry in entries_of(read(path("entries", index, width)), width)]
    level, hashes, tiles = 0, leaves, 0
    while hashes:
        for index, width in enumerate(widths(len(hashes))):
            expected = b"".join(hashes[index * WIDTH : index * WIDTH + width])
            tiles += 1
            if read(path(level, index, width)) != expected:
                raise Bad(f"tile {level}/{index}")
        full = len(hashes) // WIDTH
        hashes = [root_of(hashes[n * WIDTH : (n + 1) * WIDTH]) for n in range(full)]
        level += 1
    return leaves, tiles


def is_bad(what, *arguments):
    try:
        what(*arguments)
    except Bad:
        return True
    return False


def main():
    base, vkey_file, early_file, late_file = sys.argv[1:]
    vkey, early, late = (open(name, encoding="utf-8").read() for name in (vkey_file, early_file, late_file))
    (before, old_root), (size, root) = checkpoint(early, vkey), checkpoint(late, vkey)
    assert size > WIDTH > before > 0, (size, before)
    kept = {}

    def read(where):
        if where not in kept:
            kept[where] = fetched(base, where)
        return kept[where]

    leaves, tiles = follow(read, size)
    assert root_of(leaves) == root, "the entries are not those that were signed"
    assert root_of(leaves[:before]) == old_root, "the earlier checkpoint is of another log"
    assert checkpoint(fetched(base, "checkpoint").decode(), vkey)[0] >= before
    print(f"{size} entries, {tiles} tiles: both roots follow, of {before} entries and of {size}")

    changed = base64.b64encode(bytes(32)).decode()
    lines = late.splitlines(keepends=True)
    assert is_bad(checkpoint, "".join([lines[0], lines[1], changed + "\n", *lines[3:]]), vkey), "a forged root is signed"
    name, _, _ = vkey.strip().split("+", 2)
    stranger = bytes([ED25519]) + bytes(31) + b"\1"
    stranger_id = hashlib.sha256(name.encode() + b"\n" + stranger).digest()[:4].hex()
    assert is_bad(checkpoint, late, f"{name}+{stranger_id}+{base64.b64encode(stranger).decode()}"), "another key verifies"
    first = path("entries", 0, WIDTH)
    honest = kept[first]
    kept[first] = honest[:5] + bytes([honest[5] ^ 1]) + honest[6:]
    assert is_bad(follow, read, size), "a changed entry is not found"
    kept[first] = honest
    try:
        fetched(base, path("entries", 9999, WIDTH))
        raise AssertionError("a tile beyond the end is served")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error.code
    print("a forged root, another key, a changed byte and a tile beyond the end are refused")


main()
