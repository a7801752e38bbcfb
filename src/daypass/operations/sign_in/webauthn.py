"""WebAuthn ceremonies: the registration of a passkey, and an assertion by one.

The challenge of a ceremony is a digest of its purpose, of what the person confirms, and of a random nonce. The nonce is
sealed in the page, for one browser and five minutes; whoever accepts an assertion consumes the challenge. So nothing is
stored until then, every process accepts what another one asked for, and nothing is accepted twice (attack A79).
User verification is always required: a passkey proves possession and presence of the person, which is MFA by itself.
Source: W3C Web Authentication Level 3, 7.1, 7.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from daypass.domain.directory import Passkey, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import base64url, from_base64url
from daypass.operations.sign_in.ticket import LIFETIME_MS, seal, unseal
from daypass.ports import Env

T = TypeVar("T")

SIGN_IN: Final = "sign-in"
SECOND_FACTOR: Final = "second-factor"
REGISTER: Final = "register"
STEP_UP: Final = "step-up"

_CONTEXT: Final = b"daypass webauthn 1"
_MAX_RESPONSE: Final = 16_384  # characters of JSON
_MAX_RSA: Final = 512  # bytes of a modulus: a longer one makes verification slow
_ES256, _EDDSA, _RS256 = -7, -8, -257
_ALGORITHMS: Final = (_ES256, _EDDSA, _RS256)  # COSE algorithms, preferred first
_RSA_MODULUS: Final = -1  # label of the modulus in an RSA COSE key (RFC 8230)

_EXPIRED: Final = "This page has expired, or it was made for another browser. Start again."
_REFUSED: Final = "The passkey was not accepted. Use the passkey of this account, or another way to sign in."
_UNREGISTERED: Final = "The passkey could not be registered. Try again, or use another authenticator."
_NO_PASSKEYS: Final = (
    "Passkeys need server.public_url to have a host name: https://HOST, or http://localhost for tests."
)


class Ceremony(Struct, frozen=True):
    """The ceremony that the server began. Sealed in the page."""

    purpose: str  # SIGN_IN, SECOND_FACTOR, REGISTER or STEP_UP
    holder: str  # the browser that was asked: the digest of its cookie
    user_id: str  # whose passkey it must be; "" when the assertion says who signs in
    nonce: str  # base64url, 40 random bytes
    digest: str  # what the person confirms (STEP_UP), else ""
    expires_at: int  # ms

    @property
    def challenge(self) -> bytes:
        """32 bytes that commit to purpose, digest and nonce."""
        parts = (_CONTEXT, self.purpose.encode(), self.digest.encode(), self.nonce.encode())
        return hashlib.sha256(b"\0".join(parts)).digest()


_read_ceremony = msgspec.json.Decoder(Ceremony).decode


class Prompt(NamedTuple):
    """Input of a page that asks for a passkey: the options for the browser's API as JSON, and the sealed ceremony."""

    options: str
    ceremony: str


class RelyingParty(NamedTuple):
    """Both are compared exactly: a passkey for another host, or used on another origin, is refused."""

    id: str
    origin: str


class RegisteredCredential(NamedTuple):
    """A new credential, verified."""

    id: str
    public_key: bytes
    sign_count: int
    aaguid: str
    transports: tuple[str, ...]
    backed_up: bool


class Asserted(NamedTuple):
    """A verified assertion. `evidence`: what proves it to others, base64url, for the record."""

    sign_count: int
    backed_up: bool
    evidence: Mapping[str, str]


def relying_party(env: Env) -> RelyingParty:
    """This installation. Raises DaypassError(VALIDATION) where browsers offer no passkeys: see `available`."""
    if not available(env):
        raise DaypassError(ErrorKind.VALIDATION, _NO_PASSKEYS)
    url = env.limits.public_url.rstrip("/")
    return RelyingParty(urlsplit(url).hostname or "", url)


def available(env: Env) -> bool:
    """Whether browsers offer passkeys for the public URL: not for an address, and not without TLS except on localhost."""
    url = urlsplit(env.limits.public_url)
    host = url.hostname or ""
    if url.scheme != "https" and host != "localhost" and not host.endswith(".localhost"):
        return False
    try:
        ip_address(host)
    except ValueError:
        return bool(host)
    return False


# --- Asking ----------------------------------------------------------------------------------------------------------


def ask(
    env: Env,
    purpose: str,
    holder: str,
    now: int,
    passkeys: Sequence[Passkey] = (),
    *,
    user_id: str = "",
    digest: str = "",
) -> Prompt:
    """Asks for an assertion: by one of `passkeys`, or by any passkey that the person has for this installation."""
    party = relying_party(env)
    ceremony = _ceremony(env, purpose, holder, now, user_id, digest)
    options: dict[str, Any] = {
        "challenge": base64url(ceremony.challenge),
        "rpId": party.id,
        "timeout": LIFETIME_MS,
        "userVerification": "required",
        "allowCredentials": [_descriptor(passkey) for passkey in passkeys if not passkey.blocked_at],
    }
    return Prompt(_json(options), seal(env, f"webauthn:{purpose}", ceremony))


def ask_to_register(env: Env, holder: str, now: int, user: User, known: Sequence[Passkey]) -> Prompt:
    """Asks for a new passkey of a user, on an authenticator that has none of `known`."""
    party = relying_party(env)
    ceremony = _ceremony(env, REGISTER, holder, now, user.id, "")
    options = {
        "rp": {"id": party.id, "name": "Daypass"},
        "user": {"id": base64url(user.id.encode()), "name": f"{user.name}@{user.account}", "displayName": user.name},
        "challenge": base64url(ceremony.challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in _ALGORITHMS],
        "timeout": LIFETIME_MS,
        "excludeCredentials": [_descriptor(passkey) for passkey in known],
        "authenticatorSelection": {"residentKey": "preferred", "userVerification": "required"},
        "attestation": "direct" if env.limits.passkeys.roots else "none",
    }
    return Prompt(_json(options), seal(env, f"webauthn:{REGISTER}", ceremony))


def opened(env: Env, purpose: str, holder: str, unverified: str, now: int, digest: str = "") -> Ceremony:
    """The ceremony that a page sends back. Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN."""
    ceremony = unseal(env, f"webauthn:{purpose}", unverified, _read_ceremony)
    if ceremony is None or (ceremony.purpose, ceremony.holder, ceremony.digest) != (purpose, holder, digest):
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _EXPIRED, private={"reason": "ceremony"})
    if now >= ceremony.expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, _EXPIRED)
    return ceremony


def _ceremony(env: Env, purpose: str, holder: str, now: int, user_id: str, digest: str) -> Ceremony:
    return Ceremony(purpose, holder, user_id, base64url(env.ids.seed()), digest, now + LIFETIME_MS)


def _descriptor(passkey: Passkey) -> dict[str, Any]:
    return {"type": "public-key", "id": passkey.id, "transports": list(passkey.transports)}


# --- Verifying -------------------------------------------------------------------------------------------------------


def credential_id(unverified: str) -> str:
    """The credential that an assertion names, as `Passkey.id`. Raises DaypassError(ACCESS_DENIED)."""
    named = _members(unverified, _REFUSED).get("id")
    if not isinstance(named, str) or not 0 < len(named) <= 1_400:  # 1,023 bytes at most (7.1, step 25)
        raise _denied(_REFUSED, "no credential id")
    return named.rstrip("=")


def assertion(env: Env, ceremony: Ceremony, passkey: Passkey, unverified: str) -> Asserted:
    """Verifies an assertion by this passkey. Raises DaypassError(ACCESS_DENIED).

    `unverified`: `PublicKeyCredential.toJSON()`. Its origin, RP id, challenge, flags, user handle and signature are
    checked. The caller consumes the challenge and compares the signature counter.
    """
    from fido2.cose import CoseKey  # noqa: PLC0415  # seldom needed, slow to import
    from fido2.webauthn import Aaguid, AttestedCredentialData, AuthenticationResponse  # noqa: PLC0415

    members = _members(unverified, _REFUSED)

    def verify() -> Asserted:
        answer = AuthenticationResponse.from_dict(members)
        key = CoseKey.parse(_cose(passkey.public_key))
        known = AttestedCredentialData.create(Aaguid(bytes(16)), from_base64url(passkey.id), key)
        party = _server(env)
        party.authenticate_complete(_state(ceremony), [known], answer)
        data = answer.response.authenticator_data
        _check_client_data(answer.response.client_data)
        handle = answer.response.user_handle
        if handle is not None and bytes(handle) != passkey.user_id.encode():
            raise ValueError("user handle of another user")
        evidence = {
            "client_data": base64url(answer.response.client_data),
            "authenticator_data": base64url(data),
            "signature": base64url(answer.response.signature),
        }
        return Asserted(data.counter, data.is_backed_up(), evidence)

    if ceremony.user_id not in ("", passkey.user_id):
        raise _denied(_REFUSED, "credential of another user")
    if passkey.blocked_at:
        raise _denied(_REFUSED, "credential is blocked, because a copy was detected")
    return _verified(verify, _REFUSED)


def registration(env: Env, ceremony: Ceremony, unverified: str) -> RegisteredCredential:
    """Verifies a new credential, and its attestation where the settings require one. Raises DaypassError(ACCESS_DENIED)."""
    from fido2 import cbor  # noqa: PLC0415  # slow to import
    from fido2.webauthn import RegistrationResponse  # noqa: PLC0415

    members = _members(unverified, _UNREGISTERED)

    def verify() -> RegisteredCredential:
        answer = RegistrationResponse.from_dict(members)
        data = _server(env).register_complete(_state(ceremony), answer)
        _check_client_data(answer.response.client_data)
        made = data.credential_data
        if made is None or bytes(answer.raw_id) != made.credential_id:
            raise ValueError("no credential, or not the named one")
        _check_key(made.public_key)
        aaguid = str(made.aaguid)
        models = env.limits.passkeys.models
        if models and aaguid not in models:
            raise ValueError(f"model {aaguid} is not allowed")
        return RegisteredCredential(
            base64url(made.credential_id),
            cbor.encode(dict(made.public_key)),
            data.counter,
            aaguid,
            _transports(members),
            data.is_backed_up(),
        )

    return _verified(verify, _UNREGISTERED)


def _verified(verify: Callable[[], T], public: str) -> T:
    try:
        return verify()
    except Exception as error:  # noqa: BLE001  # whatever the library raises for hostile bytes is a refusal
        raise _denied(public, f"{type(error).__name__}: {error}"[:200]) from None


def _server(env: Env) -> Any:
    """The library's relying party. It compares the origin exactly, instead of accepting subdomains."""
    from fido2.server import Fido2Server  # noqa: PLC0415  # slow to import
    from fido2.webauthn import PublicKeyCredentialRpEntity  # noqa: PLC0415

    party = relying_party(env)
    roots = env.limits.passkeys.roots
    return Fido2Server(
        PublicKeyCredentialRpEntity(name="Daypass", id=party.id),
        attestation="direct" if roots else "none",  # type: ignore[arg-type]  # the library takes the text
        verify_origin=lambda origin: origin == party.origin,
        verify_attestation=attestation_verifier(roots, env.clock.now()) if roots else None,
    )


def _state(ceremony: Ceremony) -> dict[str, str]:
    return {"challenge": base64url(ceremony.challenge), "user_verification": "required"}


def _check_client_data(data: Any) -> None:
    if data.cross_origin:
        raise ValueError("used in a frame of another origin")


def _check_key(key: Mapping[int, Any]) -> None:
    if key.get(3) not in _ALGORITHMS:
        raise ValueError("algorithm is not one that was offered")
    if key.get(3) == _RS256 and len(key[_RSA_MODULUS]) > _MAX_RSA:
        raise ValueError("RSA key is too long")


def _cose(stored: bytes) -> Mapping[int, Any]:
    from fido2 import cbor  # noqa: PLC0415  # slow to import

    decoded = cbor.decode(stored)
    if not isinstance(decoded, Mapping):
        raise TypeError("the stored key is not a COSE key")
    return decoded


def _transports(members: Mapping[str, Any]) -> tuple[str, ...]:
    """As the browser reports them; only used as a hint for browsers."""
    listed = members.get("response", {}).get("transports")
    if not isinstance(listed, list):
        return ()
    return tuple(each for each in listed if each in ("usb", "nfc", "ble", "smart-card", "hybrid", "internal"))


def _members(unverified: str, public: str) -> dict[str, Any]:
    if len(unverified) > _MAX_RESPONSE:
        raise _denied(public, "response is too long")
    try:
        decoded = json.loads(unverified)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise _denied(public, "response is not a JSON object")
    return decoded


def _denied(public: str, reason: str) -> DaypassError:
    return DaypassError(ErrorKind.ACCESS_DENIED, public, private={"reason": "passkey", "passkey": reason})


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


# --- The attestation of a new passkey: its certificates must lead to one of the configured roots


def attestation_verifier(roots: Sequence[bytes], now: int) -> Any:
    """Accepts an attestation whose chain ends in one of the configured roots (DER).

    The library compares the signatures of the chain, and nothing else: a genuine attestation certificate would vouch for others.
    """
    from cryptography import x509  # noqa: PLC0415  # slow to import
    from fido2.attestation.base import AttestationResult, AttestationVerifier  # noqa: PLC0415
    from fido2.webauthn import AuthenticatorData  # noqa: PLC0415

    class Verifier(AttestationVerifier):
        def ca_lookup(self, attestation_result: AttestationResult, auth_data: AuthenticatorData) -> bytes | None:
            del auth_data
            path = [x509.load_der_x509_certificate(each) for each in attestation_result.trust_path]
            if not path:
                return None
            _check_path(path, now)
            return next((root for root in roots if _issued_by(path[-1], x509.load_der_x509_certificate(root))), None)

    return Verifier()


def _check_path(path: Sequence[Any], now: int) -> None:
    """Raises ValueError unless every certificate is valid at `now` (ms), and each after the first is a CA that issued the
    one before (RFC 5280, 6.1). The first one's requirements depend on the format; the library checks them.
    """
    from cryptography.x509 import BasicConstraints  # noqa: PLC0415  # slow to import

    at = datetime.fromtimestamp(now / 1000, UTC)
    for each in path:
        if not each.not_valid_before_utc <= at <= each.not_valid_after_utc:
            raise ValueError("a certificate of the attestation is not valid now")
    for below, (child, issuer) in enumerate(pairwise(path)):
        limits = issuer.extensions.get_extension_for_class(BasicConstraints).value
        if not limits.ca or (limits.path_length is not None and limits.path_length < below):
            raise ValueError("a certificate of the attestation was not issued by a CA")
        child.verify_directly_issued_by(issuer)


def _issued_by(child: Any, issuer: Any) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # slow to import

    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True
