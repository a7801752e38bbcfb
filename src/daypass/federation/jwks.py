"""Reads what an issuer publishes: its discovery document and its key set, both within limits.

The output contains only public keys for signatures, in a canonical form. Whether a key is acceptable is decided in
`crypto.jose`. An ambiguous set, or one larger than any legitimate set, is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from daypass.domain.strict_json import read_json
from daypass.ports.certificates import KeySet

MAX_KEYS = 100
_MAX_MARKS = 5_000  # commas and brackets: parsing more would delay other requests
_MAX_KID = 512
_MAX_MEMBER = 4096  # characters; the modulus of an RSA key of 16,384 bits has 2,731
_KINDS = ("RSA", "EC", "OKP")  # never "oct": a published symmetric key is known to all
_PUBLIC = ("kty", "kid", "alg", "crv", "n", "e", "x", "y")
_SVID = "jwt-svid"


class Keys(NamedTuple):
    """Usable keys of an issuer. `sequence` and `hint` (seconds) are those of a SPIFFE bundle, else 0."""

    set: KeySet
    kids: frozenset[str]
    sequence: int = 0
    hint: int = 0


def read_keys(body: bytes, *, spiffe: bool = False) -> Keys:
    """The signature keys of a JWKS (RFC 7517), or with `spiffe` of a trust bundle (SPIFFE Trust Domain and Bundle, 4).

    Raises ValueError saying what is wrong.
    """
    document = read_bounded(body)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is not a key set")  # noqa: TRY004  # the document is wrong, not the program
    if len(listed) > MAX_KEYS:
        raise ValueError(f"it has more than {MAX_KEYS} keys")
    use = _SVID if spiffe else "sig"
    kept = [_public(key) for key in listed if _verifies(key, use)]
    kids = [key["kid"] for key in kept if "kid" in key]
    if len(set(kids)) != len(kids):
        raise ValueError("two of its keys have the same kid")
    if not kept:
        raise ValueError("none of its keys verifies signatures")
    data = json.dumps({"keys": kept}, sort_keys=True, separators=(",", ":")).encode("ascii")
    sequence = _whole(document.get("spiffe_sequence")) if spiffe else 0
    hint = _whole(document.get("spiffe_refresh_hint")) if spiffe else 0
    return Keys(KeySet(data, hashlib.sha256(data).hexdigest()), frozenset(kids), sequence, hint)


def read_discovery(body: bytes, issuers: frozenset[str]) -> str:
    """The jwks_uri of a discovery document whose issuer is exactly one of these (OpenID Connect Discovery 1.0, 4.3).

    Raises ValueError saying what is wrong.
    """
    document = read_bounded(body)
    if not isinstance(document, dict):
        raise ValueError("it is not a discovery document")  # noqa: TRY004  # as above
    issuer = document.get("issuer")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise ValueError(f"it is of another issuer than {' or '.join(sorted(issuers))}")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise ValueError("it names no jwks_uri")  # noqa: TRY004  # as above
    return uri


def read_bounded(body: bytes) -> Any:
    """Parses untrusted JSON that is small enough for the event loop. Raises ValueError."""
    if sum(body.count(mark) for mark in (b",", b"{", b"[")) > _MAX_MARKS:
        raise ValueError("it has too many parts")
    return read_json(body)


def described(jwks: bytes) -> tuple[Mapping[str, str], ...]:
    """The description of keys for people: kid, type, algorithm."""
    return tuple(
        {"kid": key.get("kid", ""), "kty": key["kty"], "alg": key.get("alg", ""), "crv": key.get("crv", "")}
        for key in json.loads(jwks)["keys"]
    )


def _verifies(key: Any, use: str) -> bool:
    """Keys for other uses, of unknown types, or with private parts are ignored (RFC 7517, 5)."""
    if not isinstance(key, dict) or key.get("kty") not in _KINDS or "d" in key:
        return False
    if key.get("use", use if use == "sig" else None) != use:
        return False
    operations = key.get("key_ops", ["verify"])
    return isinstance(operations, list) and "verify" in operations


def _public(key: Mapping[str, Any]) -> dict[str, str]:
    kept = {name: key[name] for name in _PUBLIC if name in key}
    for name, value in kept.items():
        if not isinstance(value, str) or len(value) > (_MAX_KID if name == "kid" else _MAX_MEMBER):
            raise ValueError(f"the member {name} of a key is not a string, or too long")
    return kept


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0
