"""Signed tokens (JWS, RFC 7515) and certificates as proofs.

Only `crypto.jose` creates these values. Do not rely on them before `crypto.jose.verify` has accepted them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from daypass.domain.directory import Tags

ID_JAG: Final = "oauth-id-jag+jwt"
"""The type of an identity assertion grant (draft-ietf-oauth-identity-assertion-authz-grant)."""


class JoseError(ValueError):
    """A token or a key set is not accepted. The message gives the reason, and contains at most names from the token."""


class UnverifiedJws(Struct, frozen=True):
    """The parts of a token. `unverified_claims` is its payload, parsed as JSON; `kid` and `typ` are "" when absent."""

    alg: str
    kid: str
    typ: str
    unverified_claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes
    text: str

    def __repr__(self) -> str:  # the token itself stays out of logs
        return f"UnverifiedJws({self.alg!r}, {self.kid!r}, {self.typ!r})"


# --- The encodings that tokens, codes, answers and stored digests share


_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return b2a_base64(data, newline=False).translate(_URLSAFE, b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """The bytes of base64url, with or without padding. Raises ValueError for any other text, also for other base64."""
    if "+" in text or "/" in text:
        raise ValueError("not base64url")
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)


def text_digest(text: str) -> str:
    """The SHA-256 of a text in hex. Every text has one, also one with lone surrogates."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=1024)  # an answer repeats its times, and many requests arrive in the same second
def iso_time(seconds: int) -> str:
    """Seconds since the epoch as AWS writes times: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Jwk


PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})  # RFC 7518, 6
_MAX_DIGITS: Final = 8_192
"""Characters of a number that are decoded; the modulus of 16,384 bits has 2,731."""
_STANDARD: Final = str.maketrans("-_", "+/")


def fault_of_rsa_keys(keys: Iterable[Any]) -> str:
    """Why one of these keys is not accepted, naming it, or "". Keys of other types, or for other uses, have no fault."""
    for at, key in enumerate(keys):
        if not isinstance(key, Mapping) or key.get("kty") != "RSA" or key.get("use", "sig") == "enc":
            continue
        n, e = _number(key.get("n")), _number(key.get("e"))
        if n is None or e is None:
            return f"{_name(at, key)} is an RSA key whose n or e is not a number in base64url"
        if refusal := refusal_of_rsa(n.bit_length(), e):
            return f"{_name(at, key)} is an RSA key {refusal}"
    return ""


def _name(at: int, key: Mapping[str, Any]) -> str:
    kid = key.get("kid")
    return f"key {kid[:128]!r}" if isinstance(kid, str) and kid else f"key {at + 1}"


def _number(unverified_text: Any) -> int | None:
    if not isinstance(unverified_text, str) or not 0 < len(unverified_text) <= _MAX_DIGITS:
        return None
    padding = "=" * (-len(unverified_text) % 4)
    try:
        return int.from_bytes(binascii.a2b_base64(unverified_text.translate(_STANDARD) + padding, strict_mode=True))
    except ValueError:
        return None


# --- Which RSA public keys are accepted from any source: certificates, SAML metadata, key sets


MIN_BITS: Final = 2048
MAX_BITS: Final = 8192
MIN_EXPONENT: Final = 65_537  # FIPS 186-5, 5.4: the exponent is odd and greater than 2^16
END_OF_EXPONENTS: Final = 1 << 32


def refusal_of_rsa(modulus_bits: int, exponent: int) -> str:
    """Why a public key is not accepted, to follow the words "an RSA key "; "" when it is accepted."""
    if not MIN_BITS <= modulus_bits <= MAX_BITS:
        return f"of {modulus_bits} bits; {MIN_BITS} to {MAX_BITS} are accepted"
    if not MIN_EXPONENT <= exponent < END_OF_EXPONENTS or exponent % 2 == 0:
        return f"with a public exponent of {exponent.bit_length()} bits; an odd one from {MIN_EXPONENT} to 2^32 is accepted"
    return ""


# --- The parts of a session that come from a certificate: tags, source identity and session name


SERVICE: Final = "rolesanywhere.amazonaws.com"
"""The service principal that role trust policies name."""

SUBJECT, ISSUER, SAN = "x509Subject", "x509Issuer", "x509SAN"
Mappings: TypeAlias = tuple[tuple[str, str], ...]
"""(certificate field, specifier) pairs that become tags."""

DEFAULT_MAPPINGS: Final[Mappings] = ((ISSUER, "*"), (SAN, "DNS"), (SAN, "URI"), (SAN, "Name/*"), (SUBJECT, "*"))

ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "2.5.4.3": "CN",
        "2.5.4.4": "SN",
        "2.5.4.5": "SERIALNUMBER",
        "2.5.4.6": "C",
        "2.5.4.7": "L",
        "2.5.4.8": "ST",
        "2.5.4.9": "STREET",
        "2.5.4.10": "O",
        "2.5.4.11": "OU",
        "2.5.4.12": "T",
        "2.5.4.17": "POSTALCODE",
        "2.5.4.42": "GN",
        "2.5.4.43": "INITIALS",
        "2.5.4.44": "GENERATION",
        "2.5.4.46": "DNQ",
        "2.5.4.65": "PSEUDONYM",
        "0.9.2342.19200300.100.1.1": "UID",
        "0.9.2342.19200300.100.1.25": "DC",
        "1.2.840.113549.1.9.1": "E",
    }
)
"""Distinguished name attributes that become tags: object identifier to specifier name."""

_NAMES: Final = frozenset(ATTRIBUTES.values())
_SAN_SPECIFIERS: Final = frozenset({"DNS", "URI", "Name/*", *(f"Name/{name}" for name in _NAMES)})
SPECIFIERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {SUBJECT: _NAMES | {"*"}, ISSUER: _NAMES | {"*"}, SAN: _SAN_SPECIFIERS}
)
"""The valid specifiers of each certificate field."""

_TAG_VALUE = 256
_SOURCE_IDENTITY = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")  # STS API, AssumeRole, SourceIdentity

Fields: TypeAlias = tuple[tuple[str, str], ...]
"""(attribute, value) of a name, in the certificate's order."""


class CertificateRefused(Exception):
    """Why a certificate, chain, CRL or signature is not accepted. The message is only for the record."""


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """An end-entity certificate that was verified against a trust anchor."""

    serial: int  # as an integer
    # subject, issuer: distinguished names, RFC 4514.
    subject: str
    issuer: str
    not_after: int  # ms; the earliest end of validity in the chain
    fingerprint: str  # SHA-256 of its DER form, hex
    # subject_fields, issuer_fields: the attributes of the names.
    subject_fields: Fields
    issuer_fields: Fields
    # Subject alternative names that become tags: DNS, URI, and Name/<attribute> of the first directory name.
    sans: Fields = ()
    pem: str = ""  # the certificate

    @property
    def display_name(self) -> str:
        """The subject or, when it is empty (as in a SPIFFE X.509-SVID), the first alternative name."""
        if self.subject:
            return self.subject
        return next((value for _, value in self.sans), self.session_name)

    @property
    def session_name(self) -> str:
        """The serial number in hex: AWS's default session name."""
        digits = f"{self.serial:x}"
        return digits if len(digits) > 1 else f"0{digits}"

    @property
    def source_identity(self) -> str:
        """`CN=` and the common name; "" when it is absent or not valid as a source identity."""
        common = _joined(value for name, value in self.subject_fields if name == "CN")
        text = f"CN={common}"
        return text if common and _SOURCE_IDENTITY.fullmatch(text) else ""

    def tags(self, mappings: Mappings) -> Tags:
        """The session tags of this certificate: `x509Subject/CN`, `x509Issuer/O`, `x509SAN/URI`, …

        Several values of one attribute become one tag, joined by slashes. Only the first SAN of each type is used.
        """
        fields = {SUBJECT: self.subject_fields, ISSUER: self.issuer_fields, SAN: self.sans}
        found: dict[str, str] = {}
        for field, specifier in mappings:
            for name in _named(fields[field], specifier):
                values = [value for known, value in fields[field] if known == name]
                value = values[0] if field == SAN and not name.startswith("Name/") else _joined(values)
                if 0 < len(value) <= _TAG_VALUE and value.isprintable():
                    found[f"{field}/{name}"] = value
        return tuple(found.items())

    def subject_id(self, account: str) -> str:
        """The id of the subject in an account, a UUID of version 8. Certificates with the same subject share it."""
        x = text_digest(f"{account}\0{self.display_name}")
        return f"{x[:8]}-{x[8:12]}-8{x[13:16]}-a{x[17:20]}-{x[20:32]}"


def _named(fields: Fields, specifier: str) -> Sequence[str]:
    """The names among `fields` that match a specifier, each once."""
    if specifier == "*":
        return list(dict.fromkeys(name for name, _ in fields))
    if specifier == "Name/*":
        return list(dict.fromkeys(name for name, _ in fields if name.startswith("Name/")))
    return [specifier] if any(name == specifier for name, _ in fields) else []


def _joined(values: Iterable[str]) -> str:
    return "/".join(values)


def check_mapping(field: str, specifiers: Sequence[str]) -> str:
    """The first specifier that is not valid for `field`, or ""."""
    return next((specifier for specifier in specifiers if specifier not in SPECIFIERS[field]), "")


# --- Delegation in tokens: who acts for the subject (`act`) and who may act for it (`may_act`)


MAX_DEPTH: Final = 4
"""The maximum depth of nested `act` claims (attack A64)."""

_MAX_TEXT: Final = 255
_DELEGATION_NAMES: Final = frozenset({"sub", "iss", "act"})


class Party(NamedTuple):
    """A party named in a token. `issuer` defines the namespace of `subject`."""

    issuer: str
    subject: str


def actors(claims: Mapping[str, Any], issuer: str) -> tuple[Party, ...]:
    """The parties that act for the subject, newest first. Raises ValueError with the reason when they are not valid."""
    parties: list[Party] = []
    inner = claims.get("act")
    while inner is not None:
        if len(parties) >= MAX_DEPTH:
            raise ValueError(f"its act claim is nested more than {MAX_DEPTH} times")
        parties.append(_party(inner, issuer, "act"))
        inner = inner.get("act")
    return tuple(parties)


def may_act(claims: Mapping[str, Any], issuer: str) -> Party | None:
    """The party that may act for the subject; None when the token names none. Raises ValueError."""
    named = claims.get("may_act")
    if named is None:
        return None
    party = _party(named, issuer, "may_act")
    if "act" in named:
        raise ValueError("its may_act claim has members that are not understood")
    return party


def _party(value: Any, issuer: str, claim: str) -> Party:
    if not isinstance(value, Mapping):
        raise ValueError(f"its {claim} claim is not an object")  # noqa: TRY004  # the token is bad, not the caller's types
    if not value.keys() <= _DELEGATION_NAMES:
        raise ValueError(f"its {claim} claim has members that are not understood")
    named: tuple[Any, Any] = value.get("iss", issuer), value.get("sub")
    for text in named:
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_TEXT or not text.isprintable():
            raise ValueError(f"its {claim} claim does not name a party by sub and iss")
    return Party(*named)
