"""An issuer of tokens for tests: it signs with `cryptography` alone, so that it agrees with nothing of ours by accident.

It makes honest tokens, with the claims that a test asks for, and whatever a forger would make of them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CURVES: Mapping[str, tuple[Any, str, int]] = {
    "ES256": (ec.SECP256R1, "P-256", 32),
    "ES384": (ec.SECP384R1, "P-384", 48),
    "ES512": (ec.SECP521R1, "P-521", 66),
}
HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def number(value: int, size: int = 0) -> str:
    return b64(value.to_bytes(size or -(-value.bit_length() // 8), "big"))


@cache  # RSA keys are slow to make: one serves a whole test run
def rsa_key(bits: int = 2048, exponent: int = 65_537, serial: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


def make_key(alg: str, serial: int = 0) -> Any:
    """A private key for an algorithm; RSA keys are shared by those who ask for the same serial."""
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg][0]())
    if alg in ("EdDSA", "Ed25519"):
        return ed25519.Ed25519PrivateKey.generate()
    return rsa_key(serial=serial)


def public_jwk(key: Any, **more: Any) -> dict[str, Any]:
    """The public half of a private key as a JWK."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw()), **more}
    point = public.public_numbers()
    _, crv, size = next(row for row in CURVES.values() if row[0].name == public.curve.name)
    return {"kty": "EC", "crv": crv, "x": number(point.x, size), "y": number(point.y, size), **more}


def raw_signature(key: Any, alg: str, message: bytes) -> bytes:
    """The signature of RFC 7518 over a message."""
    if alg in CURVES:
        size = CURVES[alg][2]
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(HASHES[alg[2:]]())))
        return bytes(r.to_bytes(size, "big") + s.to_bytes(size, "big"))
    if alg in ("EdDSA", "Ed25519"):
        return bytes(key.sign(message))
    digest = HASHES[alg[2:]]()
    pad: Any = padding.PKCS1v15()
    if alg.startswith("PS"):
        pad = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
    return bytes(key.sign(message, pad, digest))


def compact(header: Mapping[str, Any] | str, payload: Mapping[str, Any] | str, key: Any, alg: str) -> str:
    """A compact JWS of any header and payload, signed; texts are taken as they are."""
    parts = [part if isinstance(part, str) else json.dumps(part) for part in (header, payload)]
    signed = ".".join(b64(part.encode()) for part in parts)
    return f"{signed}.{b64(raw_signature(key, alg, signed.encode()))}"


@dataclass
class Issuer:
    """An issuer at `https://URL` with one current key, and those that it had before."""

    url: str = "idp.example.com"
    alg: str = "RS256"
    audience: str = "daypass"
    issuer: str = ""  # "https://" + url, unless given
    serial: int = 0
    keys: list[tuple[str, str, Any]] = field(default_factory=list)  # (kid, alg, private key), the current one last

    def __post_init__(self) -> None:
        self.issuer = self.issuer or f"https://{self.url}"
        if not self.keys:
            self.rotate(keep=False)

    def rotate(self, alg: str = "", *, keep: bool = True) -> str:
        """A new current key; the old ones stay published with `keep`. Returns its kid."""
        chosen = alg or self.alg
        self.serial += 1
        made = (f"key-{self.serial}", chosen, make_key(chosen, self.serial))
        self.keys = [*self.keys, made] if keep else [made]
        self.alg = chosen
        return made[0]

    def jwks(self) -> dict[str, Any]:
        return {"keys": [public_jwk(key, kid=kid, alg=alg, use="sig") for kid, alg, key in self.keys]}

    def claims(self, now_ms: int, **more: Any) -> dict[str, Any]:
        """The claims of an honest token issued at `now_ms`, with more of them; one that is None is left out."""
        seconds = now_ms // 1000
        whole = {
            "iss": self.issuer,
            "sub": "repo:org/name:ref:refs/heads/main",
            "aud": self.audience,
            "iat": seconds,
            "nbf": seconds,
            "exp": seconds + 300,
            **more,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def token(self, now_ms: int, *, header: Mapping[str, Any] | None = None, kid: str = "", **claims: Any) -> str:
        """A token with honest claims, changed as asked; `header` overrides members (None leaves one out)."""
        name, alg, key = next(row for row in reversed(self.keys) if kid in ("", row[0]))
        head = {"typ": "JWT", "alg": alg, "kid": name, **(header or {})}
        shown = {member: value for member, value in head.items() if value is not None}
        return compact(shown, self.claims(now_ms, **claims), key, alg)

    def discovery(self) -> dict[str, Any]:
        """The discovery document (OpenID Connect Discovery 1.0)."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({alg for _, alg, _ in self.keys}),
        }
