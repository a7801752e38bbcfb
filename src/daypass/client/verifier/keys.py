"""The issuer's keys (JWKS), and signatures verified with them. Signatures need the package `cryptography`.

A key is used for its own algorithm only, and only asymmetric algorithms exist here (RFC 8725, 3.1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
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

_AGAIN_SECONDS: Final = 1.0  # between two attempts to fetch
_FRESH_SECONDS: Final = 3600.0
_MAX_TOKEN: Final = 16_384
_HALF: Final = 32


class Malformed(Exception):
    """A text that is not a signed token of the expected type and algorithm, or has another signature."""


class SplitToken(NamedTuple):
    """A signed token that was split, not verified."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def split(text: str, typ: str, limit: int = _MAX_TOKEN) -> SplitToken:
    """The parts of a token of this type, which has at most `limit` characters. Raises Malformed."""
    if len(text) > limit or not text.isascii() or text.count(".") != 2:
        raise Malformed("it is not a signed token")
    head, body, signature = text.split(".")
    try:
        header, claims = json.loads(decoded(head)), json.loads(decoded(body))
        token = SplitToken(header, claims, f"{head}.{body}".encode("ascii"), decoded(signature))
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


class VerifierKeys:
    """The keys of an issuer. A key that is known never waits for a fetch that an unknown one causes.

    Args:
        fetch: returns the bytes of the issuer's JWKS, and raises OSError or ValueError.
        tag: the entity tag that the JWKS has now, as far as is known; "" if it is not. Another one causes a fetch.
    """

    def __init__(
        self, fetch: Callable[[], bytes], monotonic: Callable[[], float], tag: Callable[[], str] = str
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._tag = tag
        self._keys: dict[str, tuple[str, Any]] = {}
        self._fetched_tag = ""
        self._fetched_at = self._tried_at = float("-inf")
        self._failure: Exception | None = None  # of the last attempt
        self._lock = threading.Lock()  # held while fetching

    def verify(self, token: SplitToken) -> str:
        """The id of the issuer's key that has signed the token. Raises Malformed when there is none; OSError or
        ValueError when keys cannot be fetched.
        """
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
        return kid

    def is_published(self, kid: str) -> bool:
        """Whether the issuer still has this key. Raises OSError or ValueError when that is not known."""
        return self._find(kid) is not None

    def _find(self, kid: str) -> tuple[str, Any] | None:
        needed = self._has_changed() or kid not in self._keys
        if needed or self._monotonic() - self._fetched_at > _FRESH_SECONDS:
            with self._lock:
                if self._monotonic() - self._tried_at > _AGAIN_SECONDS:
                    self._fetch_again()
            if self._failure is not None and (self._has_changed() or kid not in self._keys):
                raise self._failure
        return self._keys.get(kid)

    def _has_changed(self) -> bool:
        return self._tag() not in ("", self._fetched_tag)

    def _fetch_again(self) -> None:
        try:
            data = self._fetch()
            self._keys, self._failure = _read(data), None
            self._fetched_tag = hashlib.sha256(data).hexdigest()[:32]
            self._fetched_at = self._monotonic()
        except (OSError, ValueError) as error:
            self._failure = error
        finally:
            self._tried_at = self._monotonic()


def verify_with(jwk: Mapping[str, Any], token: SplitToken) -> None:
    """Verifies a token with a public key that its reader has chosen, and the algorithm of the token. Raises Malformed."""
    algorithm = str(token.header.get("alg"))
    if not AVAILABLE or algorithm not in _VERIFIERS:
        raise Malformed("signatures of this algorithm cannot be verified here")
    try:
        parsed = _key(jwk)
        if parsed is None or parsed[0] != _SAME_KEYS.get(algorithm, algorithm):
            raise Malformed("its key is not one of its algorithm")
        _VERIFIERS[algorithm](parsed[1], token.signature, token.signed)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        raise Malformed("its signature is wrong") from None


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


def _ps256(key: Any, signature: bytes, signed: bytes) -> None:
    key.verify(signature, signed, padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size), SHA256())


_SAME_KEYS: Final = {"Ed25519": "EdDSA", "PS256": "RS256"}
"""Algorithms that use the keys of another algorithm. The issuer does not sign with them."""
_VERIFIERS: Final[Mapping[Any, Callable[[Any, bytes, bytes], None]]] = {
    "ES256": _es256,
    "EdDSA": _eddsa,
    "Ed25519": _eddsa,
    "RS256": _rs256,
    "PS256": _ps256,
}
