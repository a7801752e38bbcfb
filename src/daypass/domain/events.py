"""The closed set of events on the record, and their canonical bytes.

An event is encoded once, before it is queued: JSON with sorted keys, no spaces and printable ASCII only. Control
characters, line ends and lone surrogates of hostile input are escaped, so one event is always one line. Its size is
limited: over the limit, long strings are truncated and marked. No secret may be put into an event; text that looks like
one is masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

EVENT_VERSION = 1
MAX_EVENT_BYTES = 32_768
_CUT_STRING = 512
_DECODER = msgspec.json.Decoder()


class EventType(StrEnum):
    """The types of events. The docs list each one; a test fails when one is missing."""

    LOG_OPENED = "log.opened"  # first event of a log: installation, node, heads of other logs, the log it continues
    LOG_CLOSED = "log.closed"  # clean shutdown
    REQUEST_ALLOWED = "request.allowed"  # a served request that changed nothing
    REQUEST_DENIED = "request.denied"  # policies denied the request
    REQUEST_FAILED = "request.failed"  # refused for another reason (validation, not found, …)
    REQUEST_UNAUTHENTICATED = "request.unauthenticated"  # no proof, or a bad one
    REQUEST_MALFORMED = "request.malformed"  # the request cannot be parsed
    REQUEST_REPEATED = "request.repeated"  # counted anonymous refusals: number, first, last, values
    SESSION_ISSUED = "session.issued"  # credentials were issued
    TOKEN_ISSUED = "token.issued"  # an access token was issued for an existing session
    DIRECTORY_CHANGED = "directory.changed"  # an IAM or management write
    WEB_IDENTITY_ISSUED = "web_identity.issued"  # a token for another cloud was issued; it cannot be revoked
    CERTIFICATE_ISSUED = "certificate.issued"  # a certificate for SSH or a database; it ends with its session
    SESSION_REVOKED = "session.revoked"  # a revocation was made
    OFFBOARDED = "principal.offboarded"  # sessions, credentials, requests and grants of a person ended
    BLOCK_LIFTED = "block.lifted"  # a revocation no longer blocks its subject
    ACCOUNT_CREATED = "account.created"  # an operator opened an account
    KEY_ADDED = "key.added"  # a ring key was made (never its material)
    KEYS_ENDED = "key.ended"  # an operator ended ring keys and every session
    KEYS_REWRAPPED = "key.rewrapped"  # another key-encryption key wraps the ring keys
    BACKUP_MADE = "backup.made"  # an encrypted copy of the database was made
    BACKUP_RESTORED = "backup.restored"  # the database comes from a backup; every session ended
    ISSUER_KEYS = "issuer.keys"  # keys of an identity provider were fetched, or one was sought
    CLOCK_RESET = "clock.reset"  # an operator declared the system clock right; every session ended
    SPOOL_DRAINED = "spool.drained"  # a local spool's records are in the database
    RECORDS_RESTORED = "records.restored"  # records lost by a failover were sent again; lost changes are named
    SPOOL_REJECTED = "spool.rejected"  # a spool that was altered or does not continue its log was set aside
    ACCESS_REQUESTED = "access.requested"  # a person asked for roles
    ACCESS_EMERGENCY = "access.emergency"  # a person took emergency access; a review is open
    ACCESS_ACCEPTED = "access.accepted"  # a person accepted a request by another
    ACCESS_APPROVED = "access.approved"  # an approver voted for a request; `state` says whether it is granted
    ACCESS_DENIED = "access.denied"  # an approver voted against a request, which ended it
    ACCESS_CANCELLED = "access.cancelled"  # a person cancelled a request
    ACCESS_EXPIRED = "access.expired"  # nobody decided on a request, or used its grants, in time
    ACCESS_ENDED = "access.ended"  # grants ended, and their sessions with them; `reason` says why
    ACCESS_ESCALATED = "access.escalated"  # further persons can approve a request that waited too long
    ACCESS_ENDING = "access.ending"  # a grant in use ends within five minutes
    ACCESS_REVIEWED = "access.reviewed"  # the review of an emergency access was closed
    PASSKEY_COPIED = "mfa.passkey_copied"  # a passkey whose counter did not rise was blocked
    RECOVERY_CODE_USED = "mfa.recovery_code_used"  # a recovery code replaced an MFA device at a sign-in
    NOTIFICATION = "notification.attempted"  # a notification was taken, delivered, failed, or given up
    SECURITY_EVENT = "security_event.attempted"  # events of a stream were queued, taken, delivered, failed or dropped
    ANOMALY = "anomaly.detected"  # a session deviates from what is usual for its principal; `reasons` say how
    BOOTSTRAPPED = "installation.bootstrapped"  # first start with a new database: its accounts and keys


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="v", tag=EVENT_VERSION):
    """One fact for the record."""

    type: EventType  # what happened
    at: int  # milliseconds since the epoch
    account: str = ""  # the account that owns what was acted on; "" when unknown
    # Who acted: kind, account, arn, principal_id, access_key_id, session_id, source_identity … or {}.
    actor: Mapping[str, Any] = msgspec.field(default_factory=dict)
    source: Mapping[str, Any] = msgspec.field(default_factory=dict)  # how it came: ip, user_agent, region
    # request_id, trace_id: as on the wire.
    request_id: str = ""
    trace_id: str = ""
    operation: str = ""  # "sts:AssumeRole", or "" when unknown
    error: str = ""  # an ErrorKind value, "" when served
    session_id: str = ""  # of the session issued or acted on, else ""
    # The `Decision` in JSON form with all layers, or None when none was taken.
    decision: Mapping[str, Any] | None = None
    # Everything else: request parameters (redacted), resource, private facts.
    detail: Mapping[str, Any] = msgspec.field(default_factory=dict)
    # grant_id, client_id: the access grant and the OAuth client that the session rests on, else "".
    grant_id: str = ""
    client_id: str = ""
    # The session that was issued; set by the journal, with which its row is stored.
    session: SessionRecord | None = None


class SessionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of a session in the record: enough to verify its row and to show the session from the event alone.

    `hops` are arrays in the order of `session.Hop`, from the original principal to the session itself. A hop has a
    grant and a client only where they are set. Times in ms.
    """

    kind: str
    arn: str
    issued_at: int
    expires_at: int
    hops: tuple[tuple[Any, ...], ...]
    user_id: str = ""
    source_identity: str = ""


# Secrets in the wrong place, for example a token in a name: private keys in PEM, and signed tokens (RFC 7515).
# The text is JSON in ASCII: a string ends at its closing quotation mark.
_MISPLACED = re.compile(
    rb"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----(?:[^\"\\]|\\.)*"
    rb"|(?:(?<![A-Za-z0-9_-])|(?<=\\[bfnrt]))e[yw][A-Za-z0-9_-]{8,}\.e[yw][A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"
)
_SIGNED_PART = re.compile(rb"\.e[yw]")  # part of every such token; four times as fast as two `in` tests


def _plain_mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be a value of an event")


_encode = msgspec.json.Encoder(enc_hook=_plain_mapping, order="sorted").encode
_dumps = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain_mapping
).encode


def encode(event: Event) -> bytes:
    """See `encoded`."""
    return encoded(event)[0]


def encoded(event: Event) -> tuple[bytes, bool]:
    """The canonical bytes of an event: at most MAX_EVENT_BYTES of printable ASCII, on one line. And whether they hold all of
    it: no text was masked or cut.

    Raises TypeError, ValueError or RecursionError for values that JSON cannot represent.
    """
    try:
        data = _encode(event)
    except (TypeError, ValueError):  # a lone surrogate, or keys that are not strings
        data = _escaped(event)
    else:
        if not data.isascii() or b"\x7f" in data:  # msgspec escapes neither
            data = _escaped(event)
    whole = len(data) <= MAX_EVENT_BYTES
    if not whole:
        data = _shortened(event)
    if b"PRIVATE KEY-----" in data or _SIGNED_PART.search(data):
        data, masked = _MISPLACED.subn(b"***", data)
        whole = whole and not masked
    return data, whole


def _escaped(event: Event) -> bytes:
    return _dumps(_body(event)).encode("ascii")


def _body(event: Event) -> dict[str, Any]:
    present = {name: value for name, value in msgspec.structs.asdict(event).items() if value}
    if event.session is not None:
        present["session"] = {name: v for name, v in msgspec.structs.asdict(event.session).items() if v != ""}
    return {**present, "v": EVENT_VERSION, "type": event.type.value, "at": event.at}


def _shortened(event: Event) -> bytes:
    body = _body(event)
    data = _dumps(_cut(body, _CUT_STRING)).encode("ascii")
    if len(data) > MAX_EVENT_BYTES:  # many short strings: keep who, what and when, and mark the rest as dropped
        dropped = {"dropped": "detail and decision were over the size limit", "bytes": len(data)}
        kept = {k: v for k, v in body.items() if k not in ("detail", "decision")}
        data = _dumps(_cut({**kept, "detail": dropped}, 128)).encode("ascii")
    return data


def decode(data: bytes) -> dict[str, Any]:
    """The body of an event from its canonical bytes. Raises ValueError when they are not an event."""
    try:
        body = _DECODER.decode(data)
    except msgspec.DecodeError:  # also for lone surrogates, which an event may have
        body = json.loads(data)
    if not isinstance(body, dict) or body.get("v") != EVENT_VERSION:
        raise ValueError("not an event of a known version")
    return body


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[:limit]}...(+{len(value) - limit})"
    if isinstance(value, Mapping):
        return {_cut(k, limit): _cut(v, limit) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(v, limit) for v in value]
    return value
