"""Signed tokens and the keys that verify them (RFC 7515, 7517, 7518, 8037): the only import of a JOSE library.

A token is first parsed strictly, without any work that the token could cause. Then it is verified with a key that its
issuer published, by an algorithm that its provider allows. A token can only name its key, nothing in it is fetched, and
a key is never used for an algorithm other than its own.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import load_der_private_key

from daypass.domain.jws import PRIVATE_MEMBERS, JoseError, UnverifiedJws, base64url, refusal_of_rsa
from daypass.domain.provider_settings import ALGORITHMS
from daypass.domain.strict_json import read_json

MAX_TOKEN: Final = 20_000  # characters (STS API, AssumeRoleWithWebIdentity, WebIdentityToken)
MAX_KEYS: Final = 100  # in a set
MAX_JWKS: Final = 524_288  # bytes of a set
_MAX_NAME: Final = 1024  # characters of kid and typ
_MAX_IMPORTED: Final = 4  # keys imported to find the one of a token

_PADDING: Final = (b"", b"", b"==", b"=")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_KEYS_IN_TOKEN = ("jwk", "jku", "x5u", "x5c")  # attack A14
_USUAL = frozenset({"alg", "kid", "typ"})
_OTHER_FORMS = ("enc", "zip", "b64", "cty", "p2c")
_USES = (None, "sig", "jwt-svid")  # the last is SPIFFE's (SPIFFE Trust Domain and Bundle, 4.2)
_MATERIAL: Final[Mapping[str, tuple[str, ...]]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

# Requirements on keys by algorithm (RFC 7518, 3.1; RFC 8037, 3.1): kty and crv.
_KIND_OF: Final[Mapping[str, tuple[str, str]]] = {
    **{name: ("RSA", "") for name in ALGORITHMS if name[:2] in ("RS", "PS")},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_KINDS = frozenset(_KIND_OF.values())


# --- Tokens ----------------------------------------------------------------------------------------------------------


def read(unverified_text: str) -> UnverifiedJws:
    """Parses a compact JWS with a JSON payload. Raises JoseError for anything else, before any work on it."""
    return _read(unverified_text)[0]


def read_with_key(unverified_text: str) -> tuple[UnverifiedJws, Mapping[str, Any]]:
    """The same for a JWS whose header must contain its public key (`jwk`), as a DPoP proof does, and that key.

    The key proves only that the signer has it. Raises JoseError.
    """
    jws, header = _read(unverified_text, frozenset({"jwk"}))
    key = header.get("jwk")
    if not isinstance(key, dict):
        raise JoseError("its header has no key")
    if not PRIVATE_MEMBERS.isdisjoint(key):
        raise JoseError("the key in its header is not a public key alone")
    return jws, key


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The SHA-256 thumbprint of a public key (RFC 7638), base64url. Raises JoseError."""
    names = ("kty", *_MATERIAL.get(str(jwk.get("kty")), ()))
    members = {name: jwk.get(name) for name in sorted(names)}
    if len(names) == 1 or not all(isinstance(value, str) for value in members.values()):
        raise JoseError("the key is of an unknown type")
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return base64url(hashlib.sha256(text.encode("utf-8")).digest())


def _read(unverified_text: str, own_key: frozenset[str] = frozenset()) -> tuple[UnverifiedJws, Mapping[str, Any]]:
    """The token and its header. `own_key`: members with a key that its header may have."""
    if not 0 < len(unverified_text) <= MAX_TOKEN:
        raise JoseError(f"a token has at most {MAX_TOKEN} characters")
    parts = unverified_text.split(".")
    if len(parts) != 3:
        raise JoseError("it is an encrypted token" if len(parts) == 5 else "it is not a compact JWS of three parts")
    header = _object(parts[0], "header")
    _check_header(header, own_key)
    signature = _decode(parts[2], "signature")
    if not signature:
        raise JoseError("it has no signature")
    jws = UnverifiedJws(
        alg=header["alg"],
        kid=header.get("kid", ""),
        typ=header.get("typ", ""),
        unverified_claims=_object(parts[1], "payload"),
        signing_input=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
        text=unverified_text,
    )
    return jws, header


def _check_header(header: Mapping[str, Any], own_key: frozenset[str]) -> None:
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in _KIND_OF:
        raise JoseError(f"the algorithm {str(alg)[:32]!r} is never accepted")
    if not _USUAL.issuperset(header):
        _check_unusual(header, own_key)
    for name in ("kid", "typ"):
        text = header.get(name, "-")
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_NAME:
            raise JoseError(f"the {name} of its header is not a usable string")


def _check_unusual(header: Mapping[str, Any], own_key: frozenset[str]) -> None:
    if "crit" in header:  # attack A15: no extension is understood here
        raise JoseError("its header has critical extensions")
    for name in _KEYS_IN_TOKEN:
        if name in header and name not in own_key:
            raise JoseError(f"its header brings a key of its own ({name})")
    for name in _OTHER_FORMS:
        if name in header:
            raise JoseError(f"its header has {name!r}, which is not taken here")


def _object(part: str, what: str) -> dict[str, Any]:
    try:
        value = read_json(_decode(part, what))
    except JoseError:
        raise
    except ValueError as error:
        raise JoseError(f"the {what} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise JoseError(f"the {what} is not a JSON object")
    return value


def _decode(part: str, what: str) -> bytes:
    """Decodes base64url in the canonical spelling of RFC 7515: without padding, and the bits of the last character that belong to no
    byte are zero (attack A24). Each value has one such spelling, that in which it would be encoded.
    """
    try:
        decoded = binascii.a2b_base64(part.encode("ascii").translate(_STANDARD) + _PADDING[len(part) % 4])
    except ValueError:
        decoded = None
    if decoded is None or base64url(decoded) != part:
        raise JoseError(f"the {what} is not canonical base64url")
    return decoded


def verify(token: UnverifiedJws, jwks: bytes, algorithms: Collection[str]) -> None:
    """Returns normally if a key of `jwks` has signed the token, by one of `algorithms`. Raises JoseError."""
    if token.alg not in algorithms or token.alg not in _KIND_OF:
        raise JoseError(f"the algorithm {token.alg} is not among those of the provider")
    key = load_keys(jwks).find(token.kid, token.alg)
    model = _models()[token.alg]  # not below: a library that does not load must not pass for a wrong signature
    try:
        genuine = model.verify(token.signing_input, token.signature, key.key)
    except Exception:  # noqa: BLE001  # whatever a library makes of bytes that somebody made up, it is not a signature
        genuine = False
    if genuine is not True:
        raise JoseError("the signature is not that of the issuer's key")


def prepare() -> None:
    """Loads the library, which takes a while: call it on a thread, or the first token waits for it."""
    _models()


@cache
def _models() -> dict[str, Any]:
    from joserfc.jws import JWSRegistry  # noqa: PLC0415  # slow to import, and not every installation takes tokens

    return {name: JWSRegistry.algorithms[name] for name in ALGORITHMS}


# --- Keys ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Key:
    kid: str
    kind: tuple[str, str]  # kty and crv
    alg: str  # the only one it serves, or ""
    material: Mapping[str, Any]  # of the JWK

    def fits(self, alg: str) -> bool:
        """Whether it may verify signatures by this algorithm."""
        return self.kind == _KIND_OF[alg] and self.alg in ("", alg)

    @cached_property
    def key(self) -> Any:
        """The library's key, or None when the material is malformed. Importing takes up to 0.6 ms, so a set of a hundred keys is
        not imported at once.
        """
        return _import(self.material)


class PublicKeys:
    """The keys of a set that can verify signatures."""

    def __init__(self, keys: Collection[_Key]) -> None:
        self._keys = tuple(keys)

    def find(self, kid: str, alg: str) -> _Key:
        """The key named `kid` for this algorithm. Keys without names, or any for a token without, only if one fits.

        Raises JoseError.
        """
        if kid and (named := [key for key in self._keys if key.kid == kid]):
            fitting = [key for key in named if key.fits(alg)]
        else:
            fitting = [key for key in self._keys if key.fits(alg) and not (kid and key.kid)]
        if len(fitting) <= _MAX_IMPORTED:
            fitting = [key for key in fitting if key.key is not None]
        if len(fitting) != 1:
            which = f"named {kid[:128]!r}" if kid else "of which the token names none,"
            raise JoseError(f"the issuer has {'several keys' if fitting else 'no key'} {which} for {alg}")
        return fitting[0]


@lru_cache(maxsize=128)
def load_keys(jwks: bytes) -> PublicKeys:
    """The usable keys of a JWKS; keys of other kinds, for other uses or too weak are skipped.

    Cached by content.

    Raises JoseError when the set itself is not acceptable: not JSON, too large, too many keys, or two keys of one kind
    with the same name (attack A21).
    """
    if len(jwks) > MAX_JWKS:
        raise JoseError(f"the key set is larger than {MAX_JWKS} bytes")
    try:
        members = read_json(jwks)
    except ValueError as error:
        raise JoseError(f"the key set cannot be read: {error}") from None
    listed = members.get("keys") if isinstance(members, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise JoseError("the key set has no list of keys")
    if len(listed) > MAX_KEYS:
        raise JoseError(f"the key set has more than {MAX_KEYS} keys")
    keys = [key for key in map(_usable, listed) if key is not None]
    named = [(key.kid, key.kind) for key in keys if key.kid]
    if len(set(named)) != len(named):
        raise JoseError("the key set has two keys with one name")
    return PublicKeys(keys)


def _usable(entry: Mapping[str, Any]) -> _Key | None:
    crv = "" if entry.get("kty") == "RSA" else entry.get("crv")
    named = (entry.get("kty"), crv, entry.get("alg", ""), entry.get("kid", ""))
    if not all(isinstance(text, str) and len(text) <= _MAX_NAME for text in named):
        return None
    kty, crv, alg, kid = map(str, named)
    operations = entry.get("key_ops", ["verify"])
    fits = (
        (kty, crv) in _KINDS
        and not PRIVATE_MEMBERS & entry.keys()
        and entry.get("use") in _USES
        and isinstance(operations, list)
        and "verify" in operations
        and (not alg or _KIND_OF.get(alg) == (kty, crv))
    )
    if not fits:
        return None
    material = {name: entry.get(name) for name in _MATERIAL[kty]}
    return _Key(kid, (kty, crv), alg, {"kty": kty, **material}) if _strong(kty, material) else None


def _kind_of_key(kty: str) -> Any:
    from joserfc.jwk import ECKey, OKPKey, RSAKey  # noqa: PLC0415  # slow to import

    kinds: Mapping[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    return kinds[kty]


def _import(material: Mapping[str, Any]) -> Any:
    """The library's key of the bare material, or None when it is malformed."""
    try:
        key = _kind_of_key(material["kty"]).import_key(material)
        key.get_op_key("verify")
    except Exception:  # noqa: BLE001  # somebody else's bytes: a key that the library does not accept is not a key
        return None
    return key


def _strong(kty: str, material: Mapping[str, Any]) -> bool:
    """Whether the material is in base64url, and of an RSA key of a safe size."""
    try:
        numbers = {name: _decode(text, name) for name, text in material.items() if name != "crv"}
    except (JoseError, AttributeError):  # or it is not a string
        return False
    if kty != "RSA":
        return True
    n, e = (int.from_bytes(numbers[name], "big") for name in ("n", "e"))
    return not refusal_of_rsa(n.bit_length(), e)


class PrivateJwsKey:
    """A private key of ours (PKCS #8, DER) for one algorithm."""

    def __init__(self, algorithm: str, material: bytes) -> None:
        self._algorithm = algorithm
        self._model = _models()[algorithm]
        self._key = _kind_of_key(_KIND_OF[algorithm][0]).import_key(load_der_private_key(material, None))

    def sign(self, message: bytes) -> bytes:
        """The signature as a JWS has it."""
        signature: bytes = self._model.sign(message, self._key)
        return signature

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether this key has made the signature."""
        genuine: bool = self._model.verify(message, signature, self._key)
        return genuine

    def public(self, kid: str) -> dict[str, Any]:
        """The public key as a JWK."""
        found: dict[str, Any] = self._key.as_dict(private=False, kid=kid, use="sig", alg=self._algorithm)
        return found
