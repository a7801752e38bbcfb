"""Queues security events and pushes them to their receivers (RFC 8935).

Each stream is a queue: its oldest events are sent in order, and a receiver that fails delays only its own stream, with
growing pauses. An event that fails too often is dead; it stays visible until the account retries or deletes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

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
from daypass.ports import Env, OutboundFailed, Reader, Tx

PAUSES_MS: Final = (1_000, 10_000, 60_000, 300_000, 900_000)
"""The pauses after failed attempts in a row; the last one repeats."""
ATTEMPTS: Final = 196
"""An event that has failed so often is dead: 48 hours after its first attempt."""
REFUSALS: Final = 8
"""As `ATTEMPTS`, for one that the receiver answers with 400. It is not expected to accept it later (RFC 8935, 2.4), and those
behind it wait.
"""
MEDIA_TYPE: Final = "application/secevent+jwt"
_LEASE_MS: Final = 120_000
_REFUSED: Final = 400
_STREAMS: Final = 200
_EVENTS: Final = 20
_SENDING_SECONDS: Final = 10.0  # after which a slow receiver has its next events in another turn
_KEEP_MS: Final = 30 * 86_400_000


class PushAttempt(NamedTuple):
    """An event that was sent. `fault`: "" when it was delivered. `refused`: the receiver does not accept it."""

    event: SecurityEvent
    fault: str = ""
    refused: bool = False


async def due_streams(env: Env) -> list[EventStream]:
    """Streams that have something to push now, the longest due first. Raises DaypassError(UNAVAILABLE)."""
    now = env.clock.now()
    waiting = await env.directory.read(
        lambda tx: tx.find(EventStream, order="next_at", after="0", limit=_STREAMS), account=""
    )
    return [stream for stream in waiting if stream.next_at <= now]


async def push_stream(env: Env, stream: EventStream) -> int:
    """Pushes the oldest events of a stream, and returns the number of attempts: 0 if another process has the stream.

    Raises DaypassError(UNAVAILABLE).
    """
    events = await _lease(env, stream, env.clock.now())
    if not events:
        return 0
    attempts = await _send_in_order(env, stream, events)
    await _finish(env, stream, attempts)
    return len(attempts)


def deliverable(tx: Reader, stream: EventStream, limit: int) -> list[SecurityEvent]:
    """The oldest events that may be delivered now: all of an enabled stream, of a disabled one only the notice of that."""
    if stream.delivery_status == ENABLED:
        return tx.find(SecurityEvent, stream_id=stream.id, outcome="", order="id", limit=limit)
    if stream.delivery_status == DISABLED:
        return tx.find(SecurityEvent, stream_id=stream.id, outcome="", event=STREAM_UPDATED, order="id", limit=limit)
    return []


async def _lease(env: Env, stream: EventStream, now: int) -> list[SecurityEvent]:
    """The events to send, if this process gets the stream: two processes do not push it at the same time."""

    def change(tx: Tx) -> tuple[list[SecurityEvent], Event]:
        if tx.get(EventStream, id=stream.id) != stream:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "Another process pushes it, or it has changed.")
        events = deliverable(tx, stream, _EVENTS)
        tx.replace(replace(stream, next_at=now + _LEASE_MS if events else 0))
        return events, _recorded(stream, now, {"claimed": len(events)})

    with ignored(ErrorKind.CONCURRENT_MODIFICATION):
        return await env.journal.write(change)
    return []


async def _send_in_order(env: Env, stream: EventStream, events: Sequence[SecurityEvent]) -> list[PushAttempt]:
    """Sends until one fails, or the receiver has taken long."""
    attempts: list[PushAttempt] = []
    until = time.monotonic() + _SENDING_SECONDS
    for event in events:
        attempts.append(await _send(env, stream, event))
        if attempts[-1].fault or time.monotonic() > until:
            break
    return attempts


async def _send(env: Env, stream: EventStream, event: SecurityEvent) -> PushAttempt:
    headers = {"content-type": MEDIA_TYPE, "accept": "application/json"}
    if stream.sealed_secret:
        secret = env.sealer.open_secret(stream.sealed_secret, stream.account, secret_owner(stream.id))
        headers["authorization"] = secret.decode("ascii")
    body = signed(env, event).encode("ascii")
    try:
        await env.outbound.post(stream.endpoint_url, body, headers, owner=stream.account)
    except OutboundFailed as error:
        return PushAttempt(event, str(error)[:500], refused=error.status == _REFUSED)
    return PushAttempt(event)


async def _finish(env: Env, stream: EventStream, attempts: Sequence[PushAttempt]) -> None:
    """Writes how the attempts ended, and when the stream is due again."""
    now = env.clock.now()
    failed = bool(attempts[-1].fault)

    def change(tx: Tx) -> tuple[None, Event]:
        current = tx.get(EventStream, id=stream.id)
        if current is None:
            raise DaypassError(ErrorKind.NOT_FOUND, "The stream was deleted.")
        outcomes = [_store_outcome(tx, attempt, now) for attempt in attempts]
        failures = current.failures + 1 if failed else 0
        pause = PAUSES_MS[min(failures, len(PAUSES_MS)) - 1] if failed else 0
        more = bool(deliverable(tx, current, 1))
        tx.replace(replace(current, failures=failures, next_at=now + pause if more else 0))
        _forget_old(tx, stream.id, now)
        fault = attempts[-1].fault
        return None, _recorded(stream, now, {"outcomes": outcomes, **({"error": fault} if fault else {})})

    with ignored(ErrorKind.NOT_FOUND):
        await env.journal.write(change)


def _store_outcome(tx: Tx, attempt: PushAttempt, now: int) -> str:
    event = tx.get(SecurityEvent, id=attempt.event.id)
    if event is None or event.outcome:
        return "gone"
    after = replace(event, attempts=event.attempts + 1, error=attempt.fault)
    if not attempt.fault:
        after = replace(after, outcome="delivered", finished_at=now)
    elif after.attempts >= (REFUSALS if attempt.refused else ATTEMPTS):
        after = replace(after, outcome="dead", finished_at=now)
    tx.replace(after)
    return after.outcome or "failed"


def _forget_old(tx: Tx, stream_id: str, now: int) -> None:
    for outcome in ("delivered", "dead"):
        for old in tx.find(SecurityEvent, stream_id=stream_id, outcome=outcome, order="id", limit=_EVENTS * 2):
            if old.created_at < now - _KEEP_MS:
                tx.delete(old)


def _recorded(stream: EventStream, now: int, detail: dict[str, object]) -> Event:
    return Event(EventType.SECURITY_EVENT, now, stream.account, detail={"stream": stream.id, **detail})


def signed(env: Env, event: SecurityEvent) -> str:
    """The SET of an event. Its type keeps it from being an access token (attack A25). Raises DaypassError(UNAVAILABLE)."""
    claims = {**json.loads(event.document), "jti": event.id}
    return env.oauth.sign(claims, "secevent+jwt")


def secret_owner(stream_id: str) -> str:
    """The associated data of a stream's sealed header."""
    return f"event-stream:{stream_id}"


# --- Puts security events into the streams of their account


MAX_STREAMS: Final = 20
"""Streams of one account."""
MAX_WAITING: Final = 10_000
"""Events that wait in one stream. One more disables it."""
MAX_REMOVED: Final = 1_000
"""Subjects that a receiver has removed from one stream."""
STREAM: Final = "event-stream"
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
