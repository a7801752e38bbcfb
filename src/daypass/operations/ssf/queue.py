"""Puts security events into the streams of their account.

A change of a credential is queued in its own transaction, so none is lost and none reports what did not happen. A
revocation may be made without the database, so it is queued when it has its feed position: every process looks, and the
first one moves the stream's position in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from daypass.domain.directory import EventStream, RemovedSubject, Revocation, SecurityEvent
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.jws import text_digest
from daypass.domain.ssf import (
    STREAM_UPDATED,
    SUPPORTED,
    CredentialChange,
    SecurityEventContent,
    SubjectId,
    claims_of,
    covering,
    credential_change,
    of_stream,
    session_revoked,
)
from daypass.ports import Env, Reader, Tx

MAX_STREAMS: Final = 20
"""Streams of one account."""
MAX_WAITING: Final = 10_000
"""Events that wait in one stream. One more disables it."""
MAX_REMOVED: Final = 1_000
"""Subjects that a receiver has removed from one stream."""
KIND: Final = "event-stream"
"""The kind of resource: `arn:aws:daypass::ACCOUNT:event-stream/ID`."""
ENABLED: Final = "enabled"
PAUSED: Final = "paused"
DISABLED: Final = "disabled"
PUSH: Final = "push"
POLL: Final = "poll"
_EVERY_STREAM: Final = 10_000
_BATCH: Final = 200


def enqueue(env: Env, tx: Tx, stream: EventStream, content: SecurityEventContent, now: int) -> EventStream:
    """Adds an event to a stream, and returns the stream as it is stored now."""
    document = claims_of(env.oauth.issuer, stream.arn, content, now)
    tx.insert(SecurityEvent(env.ids.session(), stream.account, stream.id, content.type, document, now))
    if stream.method == PUSH and not stream.next_at:
        stream = replace(stream, next_at=now)
        tx.replace(stream)
    return stream


def offer(env: Env, tx: Tx, stream: EventStream, content: SecurityEventContent, now: int) -> EventStream:
    """Adds an event if the receiver wants it: it has requested the type and not removed the subject.

    A stream that is full is disabled, and says so in a last event.
    """
    if stream.delivery_status == DISABLED or content.type not in stream.event_types:
        return stream
    if _is_removed(tx, stream.id, content.subject):
        return stream
    if tx.count(SecurityEvent, stream_id=stream.id, outcome="") < MAX_WAITING:
        return enqueue(env, tx, stream, content, now)
    reason = f"More than {MAX_WAITING:,} events wait."
    stream = replace(stream, delivery_status=DISABLED, reason=reason, updated_at=now)
    tx.replace(stream)
    updated = of_stream(STREAM_UPDATED, stream.id, {"status": DISABLED, "reason": reason})
    return enqueue(env, tx, stream, updated, now)


def _is_removed(tx: Reader, stream_id: str, subject: SubjectId) -> bool:
    """Looks up the few subjects that cover this one: reading all removed ones held up everybody's writes (attack A351)."""
    if not tx.find(RemovedSubject, stream_id=stream_id, limit=1):
        return False
    digests = map(text_digest, covering(subject))
    return any(tx.get(RemovedSubject, stream_id=stream_id, digest=each) is not None for each in digests)


def announce(env: Env, tx: Tx, changes: Iterable[CredentialChange], now: int, *, actor_id: str) -> None:
    """Queues changes of credentials of one account, in their transaction. `actor_id`: the principal id of who made them, ""
    for this service.
    """
    for change in changes:
        content = credential_change(env.oauth.issuer, change, now, actor_id)
        for stream in streams_of(tx, change.account):
            offer(env, tx, stream, content, now)


def streams_of(tx: Reader, account: str) -> list[EventStream]:
    """The streams of an account, by id."""
    return tx.find(EventStream, account=account, order="id", limit=MAX_STREAMS)


def existing(tx: Reader, stream_id: str, account: str) -> EventStream:
    """The stream. Raises DaypassError(NOT_FOUND), also for one of another account."""
    stream = tx.get(EventStream, id=stream_id)
    if stream is None or stream.account != account:
        raise DaypassError(ErrorKind.NOT_FOUND, "An event stream with this id does not exist.")
    return stream


# --- Revocations -----------------------------------------------------------------------------------------------------


async def queue_revocations(env: Env) -> int:
    """Queues the revocations that are not in their streams yet, and returns their number. Raises
    DaypassError(UNAVAILABLE).
    """
    newest: dict[str, int] = {}
    for revocation in env.revocations.everything():
        if revocation.position > 0:
            newest[revocation.account] = max(revocation.position, newest.get(revocation.account, 0))
    streams = await env.directory.read(lambda tx: tx.find(EventStream, limit=_EVERY_STREAM), account="")
    behind = [each for each in streams if _wants_revocations(each) and each.position < newest.get(each.account, 0)]
    return sum([await _queue_revocations(env, stream.id) for stream in behind])


def _wants_revocations(stream: EventStream) -> bool:
    return stream.delivery_status != DISABLED and bool(set(stream.event_types) & set(SUPPORTED))


async def _queue_revocations(env: Env, stream_id: str) -> int:
    """The revocations of one stream that have been committed, in batches. Positions are in order of commits."""
    total = 0
    while True:
        queued = await _queue_batch(env, stream_id)
        total += queued
        if queued < _BATCH:
            return total


async def _queue_batch(env: Env, stream_id: str) -> int:
    now = env.clock.now()

    def change(tx: Tx) -> tuple[int, Event]:
        stream = tx.get(EventStream, id=stream_id)
        if stream is None:
            raise DaypassError(ErrorKind.NOT_FOUND, "The stream was deleted.")
        revocations = tx.find(
            Revocation, account=stream.account, order="position", after=str(stream.position), limit=_BATCH
        )
        if not revocations:
            raise DaypassError(ErrorKind.NOT_FOUND, "Another process has queued them.")
        stream = replace(stream, position=revocations[-1].position)
        tx.replace(stream)
        for revocation in revocations:
            stream = offer(env, tx, stream, session_revoked(env.oauth.issuer, revocation), now)
        detail = {"stream": stream.id, "queued": len(revocations), "position": stream.position}
        if stream.delivery_status == DISABLED:
            detail["disabled"] = stream.reason
        return len(revocations), Event(EventType.SECURITY_EVENT, now, stream.account, detail=detail)

    with ignored(ErrorKind.NOT_FOUND):
        return await env.journal.write(change)
    return 0
