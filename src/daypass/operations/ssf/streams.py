"""Event streams as their receiver manages them: create, read, update, delete, status, subjects and verification.

A stream has the events of its own account only. Whoever may read it never sees the header that authorizes pushes.
Source: OpenID Shared Signals Framework 1.0, 8.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from daypass.domain.directory import EventStream, RemovedSubject, SecurityEvent
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import text_digest
from daypass.domain.policy.model import Decision
from daypass.domain.ssf import SUPPORTED, VERIFICATION, SubjectId, canonical, of_stream
from daypass.operations.management import allow, read_recorded
from daypass.operations.outcome import check_web_address, served
from daypass.operations.ssf.push import (
    DISABLED,
    ENABLED,
    MAX_REMOVED,
    MAX_STREAMS,
    MAX_WAITING,
    PAUSED,
    POLL,
    PUSH,
    STREAM,
    enqueue,
    existing,
    secret_owner,
    streams_of,
)
from daypass.ports import Call, Env, Reader, Tx

STATUSES: Final = (ENABLED, PAUSED, DISABLED)
VERIFICATION_SECONDS: Final = 10
"""The shortest time between two verification events that a receiver requests."""
MAX_TEXT: Final = 1024
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The receiver's settings. `authorization`: the header of pushes, "" for none."""

    method: str
    endpoint_url: str = ""
    authorization: str = ""
    event_types: tuple[str, ...] = ()
    description: str = ""

    def __repr__(self) -> str:
        return f"StreamSettings({self.method!r}, {self.endpoint_url!r})"


async def create_stream(env: Env, call: Call, settings: StreamSettings) -> EventStream:
    """daypass:CreateEventStream. Raises DaypassError: ACCESS_DENIED, VALIDATION, LIMIT_EXCEEDED."""
    decision = await allow(env, call, "CreateEventStream", STREAM, "*")
    stream = _new_stream(env, call, _checked(env, settings))

    def change(tx: Tx) -> tuple[EventStream, Event]:
        if len(streams_of(tx, stream.account)) >= MAX_STREAMS:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"An account has at most {MAX_STREAMS} event streams.")
        tx.insert(stream)
        return stream, _changed(call, stream, decision, created=True)

    return await env.journal.write(change, account=call.caller.account)


def _new_stream(env: Env, call: Call, settings: StreamSettings) -> EventStream:
    stream_id = env.ids.session()
    return EventStream(
        id=stream_id,
        account=call.caller.account,
        created_by=call.caller.arn,
        description=settings.description,
        method=settings.method,
        endpoint_url=settings.endpoint_url,
        sealed_secret=_sealed(env, call.caller.account, stream_id, settings.authorization),
        event_types=settings.event_types,
        delivery_status=ENABLED,
        reason="",
        position=env.revocations.state().position.position,
        created_at=call.now,
        updated_at=call.now,
    )


def _sealed(env: Env, account: str, stream_id: str, authorization: str) -> bytes:
    if not authorization:
        return b""
    return env.sealer.seal_secret(authorization.encode("ascii"), account, secret_owner(stream_id))


def _checked(env: Env, settings: StreamSettings) -> StreamSettings:
    """The settings with the events that are supported; the rest of a request is ignored (SSF 1.0, 8.1.1.1)."""
    if settings.method not in (PUSH, POLL):
        raise _invalid("The delivery method must be urn:ietf:rfc:8935 (push) or urn:ietf:rfc:8936 (poll).")
    if len(settings.description) > MAX_TEXT or not settings.description.isprintable():
        raise _invalid(f"A description is at most {MAX_TEXT} printable characters.")
    if settings.method == POLL:
        return replace(settings, endpoint_url="", authorization="", event_types=_supported(settings))
    url, header = settings.endpoint_url, settings.authorization
    check_web_address(env, "The endpoint_url", url)
    if len(header) > MAX_TEXT or not header.isascii() or not header.isprintable():
        raise _invalid(f"An authorization_header is at most {MAX_TEXT} printable ASCII characters.")
    return replace(settings, event_types=_supported(settings))


def _supported(settings: StreamSettings) -> tuple[str, ...]:
    return tuple(name for name in SUPPORTED if name in settings.event_types)


def _invalid(message: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, message)


async def get_stream(env: Env, call: Call, stream_id: str) -> EventStream:
    """daypass:GetEventStream on `event-stream/ID`. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""

    def query(tx: Reader, owner: str) -> EventStream:
        return existing(tx, stream_id, owner)

    return await read_recorded(env, call, "GetEventStream", STREAM, stream_id, "", query, stream=stream_id)


async def list_streams(env: Env, call: Call, account: str = "") -> list[EventStream]:
    """daypass:ListEventStreams: those of an account, by default the caller's."""
    return await read_recorded(env, call, "ListEventStreams", STREAM, "*", account, streams_of)


async def update_stream(
    env: Env, call: Call, stream_id: str, changed: Callable[[EventStream], StreamSettings]
) -> EventStream:
    """daypass:UpdateEventStream on `event-stream/ID`. `changed`: the settings that an existing stream gets.

    The delivery method cannot change. Without an authorization in the new settings the stored one stays, as long as the
    endpoint is the same. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION.
    """
    decision = await allow(env, call, "UpdateEventStream", STREAM, stream_id)

    def change(tx: Tx) -> tuple[EventStream, Event]:
        old = existing(tx, stream_id, call.caller.account)
        settings = _checked(env, changed(old))
        if settings.method != old.method:
            raise _invalid("The delivery method of a stream cannot change: create another stream.")
        kept = not settings.authorization and settings.endpoint_url == old.endpoint_url
        new = replace(
            old,
            description=settings.description,
            endpoint_url=settings.endpoint_url,
            sealed_secret=old.sealed_secret if kept else _sealed(env, old.account, old.id, settings.authorization),
            event_types=settings.event_types,
            updated_at=call.now,
        )
        tx.replace(new)
        return new, _changed(call, new, decision)

    return await env.journal.write(change, account=call.caller.account)


async def delete_stream(env: Env, call: Call, stream_id: str) -> None:
    """daypass:DeleteEventStream on `event-stream/ID`, with its events. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    decision = await allow(env, call, "DeleteEventStream", STREAM, stream_id)

    def change(tx: Tx) -> tuple[None, Event]:
        stream = existing(tx, stream_id, call.caller.account)
        tx.delete(stream)
        for removed in tx.find(RemovedSubject, stream_id=stream_id, limit=MAX_REMOVED):
            tx.delete(removed)
        return None, _changed(call, stream, decision, deleted=True)

    await env.journal.write(change, account=call.caller.account)
    await _drop_events(env, call, stream_id)


async def _drop_events(env: Env, call: Call, stream_id: str) -> None:
    """Deletes the events of a stream, some in each transaction."""
    while True:

        def change(tx: Tx) -> tuple[int, Event]:
            events = tx.find(SecurityEvent, stream_id=stream_id, limit=_CHUNK)
            for each in events:
                tx.delete(each)
            detail = {"stream": stream_id, "dropped": len(events)}
            return len(events), Event(EventType.SECURITY_EVENT, call.now, call.caller.account, detail=detail)

        if await env.journal.write(change, account=call.caller.account) < _CHUNK:
            return


async def update_status(env: Env, call: Call, stream_id: str, status: str, reason: str = "") -> EventStream:
    """daypass:UpdateEventStream: enables, pauses or disables a stream. A disabled stream loses its events (SSF 1.0, 8.1.2).

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION.
    """
    decision = await allow(env, call, "UpdateEventStream", STREAM, stream_id)
    if status not in STATUSES:
        raise _invalid(f"The status is one of: {', '.join(STATUSES)}.")
    if len(reason) > MAX_TEXT or not reason.isprintable():
        raise _invalid(f"A reason is at most {MAX_TEXT} printable characters.")

    def change(tx: Tx) -> tuple[EventStream, Event]:
        old = existing(tx, stream_id, call.caller.account)
        new = replace(old, delivery_status=status, reason=reason, updated_at=call.now, next_at=call.now, failures=0)
        if old.delivery_status == DISABLED:  # what was revoked meanwhile is not sent
            new = replace(new, position=env.revocations.state().position.position)
        if new.method == POLL:
            new = replace(new, next_at=0)
        tx.replace(new)
        return new, _changed(call, new, decision, status=status)

    stream = await env.journal.write(change, account=call.caller.account)
    if status == DISABLED:
        await _drop_events(env, call, stream_id)
    return stream


async def remove_subject(env: Env, call: Call, stream_id: str, subject: SubjectId) -> None:
    """daypass:UpdateEventStream: the receiver wants no events of this subject. Raises DaypassError: ACCESS_DENIED, NOT_FOUND,
    LIMIT_EXCEEDED.
    """

    def change(tx: Tx) -> None:
        removed = _removed(call, stream_id, subject)
        if tx.get(RemovedSubject, stream_id=stream_id, digest=removed.digest) is not None:
            return
        if tx.count(RemovedSubject, stream_id=stream_id) >= MAX_REMOVED:
            message = f"At most {MAX_REMOVED:,} subjects can be removed from a stream."
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, message)
        tx.insert(removed)

    await _change_subjects(env, call, stream_id, change)


async def add_subject(env: Env, call: Call, stream_id: str, subject: SubjectId) -> None:
    """daypass:UpdateEventStream: reverses `remove_subject`. All other subjects are in the stream anyway."""

    def change(tx: Tx) -> None:
        removed_subject = tx.get(RemovedSubject, stream_id=stream_id, digest=_removed(call, stream_id, subject).digest)
        if removed_subject is not None:
            tx.delete(removed_subject)

    await _change_subjects(env, call, stream_id, change)


def _removed(call: Call, stream_id: str, subject: SubjectId) -> RemovedSubject:
    text = canonical(subject)
    return RemovedSubject(stream_id, text_digest(text), call.caller.account, text, call.now)


async def _change_subjects(env: Env, call: Call, stream_id: str, change: Callable[[Tx], None]) -> None:
    decision = await allow(env, call, "UpdateEventStream", STREAM, stream_id)

    def run(tx: Tx) -> tuple[None, Event]:
        stream = existing(tx, stream_id, call.caller.account)
        change(tx)
        return None, _changed(call, stream, decision)

    await env.journal.write(run, account=call.caller.account)


async def verify_stream(env: Env, call: Call, stream_id: str, state: str | None) -> None:
    """daypass:VerifyEventStream: queues a verification event, with the receiver's `state`.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION, THROTTLED, LIMIT_EXCEEDED.
    """
    decision = await allow(env, call, "VerifyEventStream", STREAM, stream_id)
    if state is not None and (len(state) > MAX_TEXT or not state.isprintable()):
        raise _invalid(f"A state is at most {MAX_TEXT} printable characters.")

    def change(tx: Tx) -> tuple[None, Event]:
        stream = existing(tx, stream_id, call.caller.account)
        if call.now - stream.verified_at < VERIFICATION_SECONDS * 1000:
            message = f"A stream can be verified every {VERIFICATION_SECONDS} seconds."
            raise DaypassError(ErrorKind.THROTTLED, message)
        if stream.delivery_status == DISABLED:  # it has no events, and none that would wait until it is enabled
            raise _invalid("The stream is disabled: enable it first.")
        if tx.count(SecurityEvent, stream_id=stream_id, outcome="") >= MAX_WAITING:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"{MAX_WAITING:,} events wait in the stream.")
        stream = replace(stream, verified_at=call.now)
        tx.replace(stream)
        payload = {} if state is None else {"state": state}
        enqueue(env, tx, stream, of_stream(VERIFICATION, stream.id, payload), call.now)
        return None, served(call, decision=decision, detail={"stream": stream_id})

    await env.journal.write(change, account=call.caller.account)


def _changed(call: Call, stream: EventStream, decision: Decision, **more: object) -> Event:
    detail = {"stream": stream.id, "method": stream.method, **more}
    return served(call, kind=EventType.DIRECTORY_CHANGED, decision=decision, detail=detail)
