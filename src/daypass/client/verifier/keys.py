"""The issuer's keys (JWKS), and signatures verified with them. Signatures need the package `cryptography`.

A key is used for its own algorithm only, and only asymmetric algorithms exist here (RFC 8725, 3.1).
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256
except ImportError:  # an optional dependency: tokens are introspected instead
    AVAILABLE = False
else:
    AVAILABLE = True

_AGAIN_SECONDS: Final = 10.0  # between two fetches because of an unknown key
_FRESH_SECONDS: Final = 3600.0
_MAX_TOKEN: Final = 16_384
_HALF: Final = 32


class Malformed(Exception):
    """A text that is not a signed token of the expected type and algorithm, or has another signature."""


class Token(NamedTuple):
    """A signed token that was split, not verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def split(text: str, typ: str) -> Token:
    """The parts of a token of this type. Raises Malformed."""
    if len(text) > _MAX_TOKEN or not text.isascii() or text.count(".") != 2:
        raise Malformed("it is not a signed token")
    head, body, signature = text.split(".")
    try:
        header, claims = json.loads(decoded(head)), json.loads(decoded(body))
        token = Token(header, claims, f"{head}.{body}".encode("ascii"), decoded(signature))
    except (ValueError, RecursionError):
        raise Malformed("it is not a signed token") from None
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise Malformed("it is not a signed token")
    if str(header.get("typ", "")).lower().removeprefix("application/") != typ:
        raise Malformed(f"its type is not {typ}")
    return token


def decoded(text: str) -> bytes:
    """base64url without padding, strictly. Raises ValueError."""
    if not set(text) <= _BASE64URL:
        raise ValueError("not base64url")
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_")
    except binascii.Error:
        raise ValueError("not base64url") from None


_BASE64URL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


class Keys:
    """The keys of an issuer. `fetch` returns the bytes of its JWKS, and raises OSError or ValueError."""

    def __init__(self, fetch: Callable[[], bytes], monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: dict[str, tuple[str, Any]] = {}
        self._fetched_at = float("-inf")
        self._lock = threading.Lock()

    def verify(self, token: Token) -> None:
        """Raises Malformed unless one of the issuer's keys has signed the token; OSError when keys cannot be fetched."""
        algorithm, kid = token.header.get("alg"), token.header.get("kid")
        if not isinstance(kid, str) or algorithm not in _VERIFIERS:
            raise Malformed("it is not signed by a key of the issuer")
        found = self._find(kid)
        if found is None or found[0] != algorithm:
            raise Malformed("it is not signed by a key of the issuer")
        try:
            _VERIFIERS[algorithm](found[1], token.signature, token.signed)
        except (InvalidSignature, ValueError):
            raise Malformed("its signature is wrong") from None

    def _find(self, kid: str) -> tuple[str, Any] | None:
        with self._lock:
            age = self._monotonic() - self._fetched_at
            if age > _FRESH_SECONDS or (kid not in self._keys and age > _AGAIN_SECONDS):
                try:
                    self._keys = _read(self._fetch())
                except (OSError, ValueError):
                    if kid not in self._keys:
                        raise
                self._fetched_at = self._monotonic()
            return self._keys.get(kid)


def _read(data: bytes) -> dict[str, tuple[str, Any]]:
    """Keys by id, each with its algorithm. Keys of other kinds are left out. Raises ValueError."""
    try:
        listed = json.loads(data)["keys"]
        return {str(jwk["kid"]): key for jwk in listed if (key := _key(jwk)) is not None}
    except (KeyError, TypeError, RecursionError):
        raise ValueError("the issuer's keys cannot be read") from None


def _key(jwk: Mapping[str, Any]) -> tuple[str, Any] | None:
    match jwk.get("kty"), jwk.get("crv"):
        case "EC", "P-256":
            x, y = (int.from_bytes(decoded(jwk[name]), "big") for name in ("x", "y"))
            return "ES256", ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        case "OKP", "Ed25519":
            return "EdDSA", ed25519.Ed25519PublicKey.from_public_bytes(decoded(jwk["x"]))
        case "RSA", None:
            n, e = (int.from_bytes(decoded(jwk[name]), "big") for name in ("n", "e"))
            return "RS256", rsa.RSAPublicNumbers(e, n).public_key()
        case _:
            return None


def _es256(key: Any, signature: bytes, signed: bytes) -> None:
    if len(signature) != 2 * _HALF:
        raise ValueError("a signature of another length")
    r, s = (int.from_bytes(part, "big") for part in (signature[:_HALF], signature[_HALF:]))
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))


def _eddsa(key: Any, signature: bytes, signed: bytes) -> None:
    key.verify(signature, signed)


def _rs256(key: Any, signature: bytes, signed: bytes) -> None:
    key.verify(signature, signed, padding.PKCS1v15(), SHA256())


_VERIFIERS: Final[Mapping[Any, Callable[[Any, bytes, bytes], None]]] = {
    "ES256": _es256,
    "EdDSA": _eddsa,
    "RS256": _rs256,
}
