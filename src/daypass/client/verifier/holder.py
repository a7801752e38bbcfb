"""Tokens that are bound to a key: what their sender must prove besides having the token.

A bound token is accepted only with its key: one that was stolen, or that another service received, is refused.
Sources: RFC 9449, 4.3 and 7.1; RFC 8705, 3; RFC 7638, 3.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

from daypass.client.transport import base64url
from daypass.client.verifier import keys
from daypass.client.verifier.keys import Malformed, split

_TYPE: Final = "dpop+jwt"
_MAX_PROOF: Final = 4_096
_MAX_JTI: Final = 512
_AGE_SECONDS: Final = 60
_REMEMBERED: Final = 100_000  # proofs; the oldest are forgotten first
_THUMBPRINT_OF: Final = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
_PORTS: Final = {"https": ":443", "http": ":80"}


class UnprovenHolder(Exception):
    """The sender has not proved to have the key of the token. `proof`: a DPoP proof is the reason."""

    def __init__(self, reason: str, *, proof: bool = False) -> None:
        super().__init__(reason)
        self.proof = proof


@dataclass(frozen=True, slots=True)
class Sent:
    """How a request brought its token."""

    dpop: bool = False  # the scheme was `DPoP`, not `Bearer`
    proofs: tuple[str, ...] = ()  # the values of the header `DPoP`
    # method, path: of the request; the path is decoded, without the query.
    method: str = ""
    path: bytes = b""
    certificate: bytes = b""  # the client's (DER), if the request came over a TLS connection with one; b"" for none


class Holders:
    """Checks who sends bound tokens to the service at `origin` ("https://api.example.com"). Safe for threads."""

    def __init__(self, origin: str) -> None:
        self._origin = _origin(origin)
        self._used: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, claims: Mapping[str, Any], unverified_token: str, sent: Sent, now: float) -> None:
        """Raises UnprovenHolder unless the sender has the key in `cnf`, or there is none."""
        bound = claims.get("cnf")
        if bound is None:
            if sent.dpop:
                raise UnprovenHolder("it is bound to no key, and came with the scheme DPoP")
            return
        jkt = bound.get("jkt") if isinstance(bound, Mapping) else None
        thumbprint = bound.get("x5t#S256") if isinstance(bound, Mapping) else None
        if isinstance(jkt, str) and thumbprint is None:
            self._check_proof(jkt, unverified_token, sent, now)
        elif not isinstance(thumbprint, str) or jkt is not None:
            raise UnprovenHolder("it is bound in a way that is not known here")
        elif sent.dpop or not sent.certificate or base64url(hashlib.sha256(sent.certificate).digest()) != thumbprint:
            raise UnprovenHolder("it is bound to a certificate that the sender did not use")

    def _check_proof(self, jkt: str, unverified_token: str, sent: Sent, now: float) -> None:
        if not sent.dpop:
            raise UnprovenHolder("it is bound to a key, and came without the scheme DPoP")
        if len(sent.proofs) != 1:
            raise UnprovenHolder("it needs exactly one DPoP proof", proof=True)
        try:
            proof = split(sent.proofs[0], _TYPE, _MAX_PROOF)
            jwk = proof.header.get("jwk")
            if not isinstance(jwk, dict) or "d" in jwk or _thumbprint(jwk) != jkt:  # before its signature is verified
                raise Malformed("it is of another key")
            keys.verify_with(jwk, proof)
        except Malformed as error:
            raise UnprovenHolder(f"the DPoP proof: {error}", proof=True) from None
        claims = proof.claims
        if claims.get("htm") != sent.method or not self._is_here(claims.get("htu"), sent.path):
            raise UnprovenHolder("the DPoP proof is for another request", proof=True)
        if claims.get("ath") != base64url(hashlib.sha256(unverified_token.encode("utf-8", "surrogatepass")).digest()):
            raise UnprovenHolder("the DPoP proof is for another token", proof=True)
        issued, jti = claims.get("iat"), claims.get("jti")
        if type(issued) is not int or not now - _AGE_SECONDS <= issued <= now + _AGE_SECONDS:
            raise UnprovenHolder("the DPoP proof is too old, or its time is ahead", proof=True)
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI or not self._is_first(f"{jkt}\0{jti}", now):
            raise UnprovenHolder("the DPoP proof has no usable jti, or was used before", proof=True)

    def _is_here(self, htu: Any, path: bytes) -> bool:
        """Whether `htu` is the address of the request. Its query and fragment do not count (RFC 9449, 4.3)."""
        if not isinstance(htu, str) or not htu.isascii():
            return False
        own = unquote_to_bytes(urlsplit(htu).path) if _origin(htu) == self._origin != "" else None
        return own is not None and (own or b"/") == (path or b"/")

    def _is_first(self, used: str, now: float) -> bool:
        digest = hashlib.sha256(used.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            while self._used and next(iter(self._used.values())) <= now:
                self._used.popitem(last=False)
            if digest in self._used:
                return False
            self._used[digest] = int(now) + 2 * _AGE_SECONDS + 1
            if len(self._used) > _REMEMBERED:
                self._used.popitem(last=False)
        return True


def _origin(address: str) -> str:
    """Scheme, host and port of an address, in one spelling; "" for a text that is not one."""
    try:
        parts = urlsplit(address)
        scheme, host = parts.scheme.lower(), parts.netloc.lower()
    except ValueError:
        return ""
    if scheme not in _PORTS or not host or "@" in host:
        return ""
    return f"{scheme}://{host.removesuffix(_PORTS[scheme])}"


def _thumbprint(jwk: Mapping[str, Any]) -> str:
    """`jkt` (RFC 7638). Raises Malformed."""
    names = _THUMBPRINT_OF.get(str(jwk.get("kty")), ())
    if not names or not all(isinstance(jwk.get(name), str) for name in names):
        raise Malformed("its key cannot be read")
    text = json.dumps({name: jwk[name] for name in names}, sort_keys=True, separators=(",", ":"))
    return base64url(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
