"""Ends what time or a change has ended: overdue requests, grants whose time is over, grants that became void.

Every process sweeps. Each change is checked again in its own transaction, so that it happens once. A grant is refused
at its use whether or not it has been swept; the sweep ends its sessions and tells the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from daypass.domain.access import grant as grants
from daypass.domain.access.request import UNDECIDED, EndReason, moved, overdue
from daypass.domain.access.terms import decode
from daypass.domain.directory import AccessRequest, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.operations.broker.close import grants_of
from daypass.operations.broker.eligible import Void, check_grant
from daypass.operations.broker.facts import is_disabled
from daypass.operations.broker.notify import announce
from daypass.operations.broker.use import end_now
from daypass.operations.broker.view import current_targets, principals_in
from daypass.ports import Env, Reader, Tx

_BATCH: Final = 500
_WARNING_MS: Final = 300_000
_WAITING: Final = (RequestState.DRAFT, RequestState.PENDING, RequestState.APPROVED)


class Swept(NamedTuple):
    """The result of one sweep: requests that expired, grants that ended, and grants that are open."""

    expired: int
    ended: int
    open: int


async def sweep(env: Env, *, changed: bool = True) -> Swept:
    """Looks through all open requests and grants. Raises DaypassError(UNAVAILABLE).

    `changed`: the directory has changed since the last sweep, so that grants may have become void.
    """
    now = env.clock.now()
    due = await env.directory.read(lambda tx: _overdue(tx, now), account="")
    for request in due:
        await _expire(env, request.id)
    for request in await env.directory.read(lambda tx: _unanswered(tx, env, now), account=""):
        await _escalate(env, request.id)
    after, ended, count = "", 0, 0
    while True:
        page = await env.directory.read(_page(env, after, now, changed=changed), account="")
        for grant, reason in page:
            count += 1
            if reason is not None:
                await end_now(env, grant.id, reason)
                ended += 1
            elif _ends_soon(grant, now):
                await _warn(env, grant.id)
        if len(page) < _BATCH:
            return Swept(len(due), ended, count - ended)
        after = page[-1][0].id


def _overdue(tx: Reader, now: int) -> list[AccessRequest]:
    """Requests that have to be closed. Grants expire by themselves, with their requests."""
    found = [
        request
        for state in _WAITING
        for request in tx.find(AccessRequest, state=state.value, order="deadline", limit=_BATCH)
    ]
    return [request for request in found if _closed(tx, request, now) is not None and not grants_of(tx, request.id)]


def _closed(tx: Reader, request: AccessRequest, now: int) -> AccessRequest | None:
    """The request as it has to be closed: its deadline has passed, or a person of it was disabled. None: it stays open."""
    after = overdue(request, now)
    if after is None and request.state in UNDECIDED and is_disabled(tx, (request.requester_id, request.beneficiary_id)):
        return moved(request, RequestState.CANCELLED, now, EndReason.INELIGIBLE.value)
    return after


def _page(
    env: Env, after: str, now: int, *, changed: bool
) -> Callable[[Reader], Sequence[tuple[Grant, EndReason | None]]]:
    def query(tx: Reader) -> Sequence[tuple[Grant, EndReason | None]]:
        found = tx.find(Grant, ended_at=0, order="id", after=after, limit=_BATCH)
        return [(grant, _end_of(env, tx, grant, now, changed=changed)) for grant in found]

    return query


def _end_of(env: Env, tx: Reader, grant: Grant, now: int, *, changed: bool) -> EndReason | None:
    due = grants.end_due(grant, now)
    if due is not None or not changed:
        return due
    request = tx.get(AccessRequest, id=grant.request_id)
    if request is None:
        return EndReason.CHANGED
    try:
        check_grant(env, tx, grant, request, principals_in(request))
    except Void as error:
        return error.reason
    return None


def _unanswered(tx: Reader, env: Env, now: int) -> list[AccessRequest]:
    """Pending requests that have waited longer than a rule's escalation allows."""
    return [
        request
        for request in tx.find(AccessRequest, state=RequestState.PENDING.value, order="deadline", limit=_BATCH)
        if not request.escalated_at and _escalation_due(tx, env, request, now)
    ]


def _escalation_due(tx: Reader, env: Env, request: AccessRequest, now: int) -> bool:
    try:
        targets = current_targets(tx, env.builtin, request, decode(request.document))
    except DaypassError:
        return False
    waits = [target.rule.rule.escalation.after_seconds for target in targets if target.rule.rule.escalation is not None]
    return bool(waits) and now >= request.created_at + min(waits) * 1000


async def _escalate(env: Env, request_id: str) -> None:
    now = env.clock.now()

    def change(tx: Tx) -> tuple[None, Event]:
        request = tx.get(AccessRequest, id=request_id)
        if request is None or request.state is not RequestState.PENDING or request.escalated_at:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The request has been decided.")
        tx.replace(replace(request, escalated_at=now))
        terms = decode(request.document)
        detail = {"request": request.id, "requester": terms.requester, "roles": [ref.arn for ref in terms.roles]}
        return None, announce(env, tx, Event(EventType.ACCESS_ESCALATED, now, request.account, detail=detail))

    await _once(env, change)


def _ends_soon(grant: Grant, now: int) -> bool:
    return bool(grant.claimed_at) and not grant.warned_at and grant.ends_at - now <= _WARNING_MS


async def _warn(env: Env, grant_id: str) -> None:
    """Announces the end of a grant, once, early enough to ask for more time."""
    now = env.clock.now()

    def change(tx: Tx) -> tuple[None, Event]:
        grant = tx.get(Grant, id=grant_id)
        if grant is None or grant.ended_at or not _ends_soon(grant, now):
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The grant has ended or was extended.")
        tx.replace(replace(grant, warned_at=now))
        detail = {
            "request": grant.request_id,
            "grants": [grant.id],
            "roles": [grant.role_arn],
            "ends_at": grant.ends_at,
        }
        return None, announce(env, tx, Event(EventType.ACCESS_ENDING, now, grant.account, detail=detail))

    await _once(env, change)


async def _once(env: Env, change: Callable[[Tx], tuple[None, Event]]) -> None:
    """Runs a change unless another process was first."""
    try:
        await env.journal.write(change)
    except DaypassError as error:
        if error.kind is not ErrorKind.CONCURRENT_MODIFICATION:
            raise


async def _expire(env: Env, request_id: str) -> None:
    now = env.clock.now()

    def change(tx: Tx) -> tuple[None, Event]:
        request = tx.get(AccessRequest, id=request_id)
        after = _closed(tx, request, now) if request is not None else None
        if after is None:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The request has been decided.")
        tx.replace(after)
        detail = {"request": after.id, "state": after.state.value, "reason": after.end_reason}
        return None, announce(env, tx, Event(EventType.ACCESS_EXPIRED, now, after.account, detail=detail))

    await _once(env, change)
