"""Delivers security events to receivers that poll (RFC 8936), and shows what could not be delivered.

An event stays in the stream until the receiver acknowledges it. A poll that waits holds no thread and no transaction. It
looks every second: a revocation is queued only after it is known, so waking for one would find nothing yet, and an
account's revocations would make the polls of all others read. Only so many wait in one process, and so many of one
account; further ones are answered at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias

from daypass.domain.directory import EventStream, SecurityEvent
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.operations.management import allow, read_page, read_recorded
from daypass.operations.outcome import served
from daypass.operations.ssf.push import MAX_STREAMS, POLL, PUSH, STREAM, deliverable, existing, signed
from daypass.ports import Call, Env, Reader, Tx

MAX_EVENTS: Final = 100
"""Events of one answer."""
MAX_ACKS: Final = 200
"""Events that one poll acknowledges or refuses, in the transaction for which all writers wait (attack A354)."""
WAIT_SECONDS: Final = 20.0
MAX_WAITING_POLLS: Final = 200
"""Polls that wait for events in one process. An account has as many of the places as it may have streams."""
_LOOK_SECONDS: Final = 1.0
_MAX_ERROR: Final = 500


WaitingPolls: TypeAlias = Counter[str]
"""How many polls of each account wait in this process."""


class PollRequest(NamedTuple):
    """A poll (RFC 8936, 2.2). `errors`: what the receiver says of events that it refuses, by `jti`."""

    max_events: int = MAX_EVENTS
    return_immediately: bool = False
    acks: Sequence[str] = ()
    errors: Mapping[str, str] = {}


class PollAnswer(NamedTuple):
    """SETs by `jti`, and whether there are more."""

    sets: Mapping[str, str]
    more: bool


async def poll(env: Env, call: Call, stream_id: str, request: PollRequest, waiting: WaitingPolls) -> PollAnswer:
    """daypass:PollEventStream on `event-stream/ID`. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION."""
    decision = await allow(env, call, "PollEventStream", STREAM, stream_id)
    if len(request.acks) + len(request.errors) > MAX_ACKS:
        raise DaypassError(ErrorKind.VALIDATION, f"A poll acknowledges at most {MAX_ACKS:,} events.")

    def change(tx: Tx) -> tuple[None, Event]:
        _polled(tx, stream_id, call)
        _finish(tx, stream_id, request, call.now)
        detail = {"stream": stream_id, "acknowledged": len(request.acks), "refused": len(request.errors)}
        return None, served(call, decision=decision, detail=detail)

    await env.journal.write(change, account=call.caller.account)
    limit = max(0, min(request.max_events, MAX_EVENTS))
    events = await _events(env, call, stream_id, limit, request, waiting)
    return PollAnswer({event.id: signed(env, event) for event in events[:limit]}, len(events) > limit)


def _polled(tx: Reader, stream_id: str, call: Call) -> EventStream:
    stream = existing(tx, stream_id, call.caller.account)
    if stream.method != POLL:
        raise DaypassError(ErrorKind.VALIDATION, "The stream is pushed to its receiver.")
    return stream


def _finish(tx: Tx, stream_id: str, request: PollRequest, now: int) -> None:
    """An unknown `jti` is ignored: it may have been acknowledged before (RFC 8936, 2.4)."""
    named = [jti for jti in {*request.acks, *request.errors} if jti.isascii() and jti.isalnum()]
    for event in tx.find_among(SecurityEvent, "id", named, order="id"):
        if event.stream_id != stream_id or event.outcome:
            continue
        if event.id in request.acks:
            tx.delete(event)
        else:
            error = request.errors[event.id][:_MAX_ERROR]
            tx.replace(replace(event, outcome="dead", error=error, finished_at=now))


async def _events(
    env: Env, call: Call, stream_id: str, limit: int, request: PollRequest, waiting: WaitingPolls
) -> list[SecurityEvent]:
    """Up to `limit` + 1 events; waits for the first one unless the receiver does not want that."""

    def read(tx: Reader) -> list[SecurityEvent]:
        return deliverable(tx, _polled(tx, stream_id, call), limit + 1)

    until = time.monotonic() + WAIT_SECONDS
    account = call.caller.account
    room = waiting[account] < MAX_STREAMS and waiting.total() < MAX_WAITING_POLLS
    waits = not request.return_immediately and limit > 0 and room
    waiting[account] += waits
    try:
        while True:
            events = await env.directory.read(read, account=account)
            left = until - time.monotonic()
            if events or not waits or left <= 0 or env.revocations.closed:
                return events
            await asyncio.sleep(min(left, _LOOK_SECONDS))
    finally:
        waiting[account] -= waits
        waiting += Counter()  # forgets accounts without polls


# --- What could not be delivered -------------------------------------------------------------------------------------


async def list_events(
    env: Env, call: Call, stream_id: str, account: str, *, outcome: str, after: str = "", limit: int = 100
) -> tuple[list[SecurityEvent], str]:
    """daypass:ListSecurityEvents on `event-stream/ID`, oldest first, with the `after` of the next page. `outcome`:
    "waiting", "delivered" or "dead".
    """

    def query(tx: Reader, owner: str) -> tuple[list[SecurityEvent], str]:
        existing(tx, stream_id, owner)
        stored = "" if outcome == "waiting" else outcome
        return read_page(tx, SecurityEvent, "id", after, limit, stream_id=stream_id, outcome=stored)

    return await read_recorded(env, call, "ListSecurityEvents", STREAM, stream_id, account, query, stream=stream_id)


async def retry_event(env: Env, call: Call, stream_id: str, account: str, event_id: str) -> SecurityEvent:
    """daypass:RetrySecurityEvent on `event-stream/ID`: a dead event is delivered again. Raises DaypassError: ACCESS_DENIED,
    NOT_FOUND.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "RetrySecurityEvent", STREAM, stream_id, owner)

    def change(tx: Tx) -> tuple[SecurityEvent, Event]:
        stream = existing(tx, stream_id, owner)
        event = tx.get(SecurityEvent, id=event_id)
        if event is None or event.stream_id != stream_id or event.outcome != "dead":
            raise DaypassError(ErrorKind.NOT_FOUND, "The stream has no dead event with this id.")
        again = replace(event, outcome="", attempts=0, finished_at=0)
        tx.replace(again)
        if stream.method == PUSH:
            tx.replace(replace(stream, next_at=call.now, failures=0))
        return again, served(call, account=owner, decision=decision, detail={"stream": stream_id, "event": event_id})

    return await env.journal.write(change, account=call.caller.account)
