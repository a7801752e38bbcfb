"""Data of the record: filters and views of records, sessions and revocations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import Struct

from daypass.domain.directory import ReplayEntry, Revocation
from daypass.domain.events import Event
from daypass.domain.jws import VerifiedCertificate
from daypass.domain.session import FeedPosition, SessionClaims


@dataclass(frozen=True, slots=True)
class Offline:
    """A revocation that can be made while the database is unavailable.

    It takes effect in this process at once, without a feed position: it ends every session of its subject. The
    position is assigned when the spool is drained. `value` is what the call of `Journal.write` returns.
    """

    value: Any
    event: Event
    revocation: Revocation


class ProofUsed(Exception):
    """A one-time proof was used before: nothing was written."""

    def __init__(self, entry: ReplayEntry) -> None:
        super().__init__(entry.purpose)
        self.entry = entry


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads the record: the account, and whether it is the operator of the installation (who sees everything)."""

    account: str
    operator: bool = False


@dataclass(frozen=True, slots=True)
class RecordView:
    """The part of one record that the viewer may see.

    `bytes` for the owner of the resource and for the operator: enough to verify the leaf. For the actor's account only
    `body`, without decision and detail. For all others neither; the leaf still verifies the chain.
    """

    log: str
    seq: int
    at: int  # ms
    leaf: str  # 64 hex digits
    chain: str  # 64 hex digits
    body: Mapping[str, Any] | None
    bytes: bytes | None


class ChainCheck(NamedTuple):
    """Hashes of consecutive records, computed from their bytes and leaves."""

    records: int  # how many were computed
    withheld: int  # of these, those whose bytes the viewer may not see: their leaf is taken as it is
    # The number of the first record whose hashes do not agree with what was computed; None: all agree.
    fault: int | None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """A search for records, newest first. Empty fields match everything. Times in ms, `until` exclusive.

    `before` is where the last page ended: (at, log, seq) of its last record.
    """

    account: str = ""  # owner or actor
    type: str = ""
    operation: str = ""
    request_id: str = ""
    session_id: str = ""  # issued or acted on
    access_key_id: str = ""  # the actor's
    access_key_ids: Collection[str] = ()  # the actor's is one of these
    error: str = ""
    changes: bool = False  # only what changed something or was refused
    since: int | None = None
    until: int | None = None
    before: tuple[int, str, int] | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """A search for sessions, newest first. Fields that are empty or None match everything.

    `principal_id` is a role's or user's unique id. `root_principal_id` finds all sessions that originate from a
    principal, down all chains. `before` is where the last page ended: (issued_at, session_id). `looked_at`: the most
    sessions that one page looks through where a filter has to be computed.
    """

    account: str = ""
    session_id: str = ""
    principal_id: str = ""
    root_principal_id: str = ""
    active: bool | None = None  # neither expired nor revoked
    revoked: bool | None = None
    since: int | None = None  # issued then (ms) or later
    before: tuple[int, str] | None = None
    limit: int = 100
    looked_at: int = 5_000


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session according to the record. `claims` hold only what is needed to identify it and to match revocations."""

    claims: SessionClaims
    log: str  # with `seq`: the record that issued it
    seq: int
    depth: int
    revoked_by: Revocation | None
    active: bool
    source_ip: str = ""  # from where it was requested


class FeedState(NamedTuple):
    """How current the revocations of this process are.

    `complete_until` (ms, wall clock): every revocation that any source made before this time is known here.
    """

    position: FeedPosition
    complete_until: int


class StatusList(Struct, frozen=True):
    """A status list token (JWT) with its entity tag, and how long it may be cached (seconds)."""

    token: str
    tag: str
    max_age: int


@dataclass(frozen=True, slots=True)
class CertificateUse:
    """A certificate that asked for a session: what the record of its subject keeps of it. `failed`: it got none."""

    account: str
    region: str
    subject_id: str
    certificate: VerifiedCertificate
    at: int  # ms
    failed: bool = False
    properties: tuple[tuple[str, str], ...] = ()
