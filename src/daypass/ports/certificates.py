"""Certificates by role: what operations ask of the authorities of an account, and what they get."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class CertificateKind(StrEnum):
    """The identity that a certificate proves, and its audience."""

    SSH_USER = "ssh-user"  # to sshd
    SSH_HOST = "ssh-host"  # to ssh
    DATABASE = "database"  # to PostgreSQL and other servers that map the CN of a client certificate to a user


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A certificate to issue.

    `names`: principals, host names, or the one user of the database. `not_after` in ms. `critical`: critical options.
    """

    kind: CertificateKind
    account: str
    public_key: str  # a line of OpenSSH
    names: Sequence[str]
    key_id: str
    not_after: int
    critical: Mapping[str, str]
    extensions: Collection[str]


@dataclass(frozen=True, slots=True)
class MadeCertificate:
    """A certificate as its program reads it.

    `authority`: the id of the ring key that signed it. `fingerprint`: of the certified key.
    """

    text: str
    serial: int
    authority: str
    fingerprint: str
