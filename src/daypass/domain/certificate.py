"""The parts of a session that come from a certificate: tags, source identity and session name.

Pure: `federation.x509` verifies the certificate first. A value that is not valid as a session tag is omitted, so that a
truncated or altered value never meets a condition.
Source: IAM Roles Anywhere User Guide, "The IAM Roles Anywhere trust model" and "Certificate attribute mapping".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from daypass.domain.directory import Tags
from daypass.domain.jws import text_digest

SERVICE: Final = "rolesanywhere.amazonaws.com"
"""The service principal that role trust policies name."""

SUBJECT, ISSUER, SAN = "x509Subject", "x509Issuer", "x509SAN"
Mappings: TypeAlias = tuple[tuple[str, str], ...]
"""(certificate field, specifier) pairs that become tags."""

DEFAULT_MAPPINGS: Final[Mappings] = (
    (ISSUER, "*"),
    (SAN, "DNS"),
    (SAN, "URI"),
    (SAN, "Name/*"),
    (SUBJECT, "*"),
)

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
class Certificate:
    """An end-entity certificate that was verified against a trust anchor.

    Attributes:
        serial: as an integer.
        subject, issuer: distinguished names, RFC 4514.
        not_after: ms; the earliest end of validity in the chain.
        fingerprint: SHA-256 of its DER form, hex.
        subject_fields, issuer_fields: the attributes of the names.
        sans: subject alternative names that become tags: DNS, URI, and Name/<attribute> of the first directory name.
        pem: the certificate.
    """

    serial: int
    subject: str
    issuer: str
    not_after: int
    fingerprint: str
    subject_fields: Fields
    issuer_fields: Fields
    sans: Fields = ()
    pem: str = ""

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
