"""Ends what time or a change has ended: overdue requests, grants whose time is over, and grants in use whose role or rule
is no longer what was approved. It also escalates requests and warns before the end of access.

Every process sweeps. Each change is checked again in its own transaction, so that it happens once. A grant is refused
at its use whether or not it has been swept; the sweep ends its sessions and records the end.

A sweep costs no more than what is due and a fixed number of checks, however many requests and grants are open. Grants in
use are checked when the change feed says that a role, a policy or a rule of their account has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from daypass.domain.access import request as grants
from daypass.domain.access.request import EndReason, overdue
from daypass.domain.access.terms import decode, waiting_since
from daypass.domain.directory import (
    AccessRequest,
    ApprovalRule,
    Attachment,
    Grant,
    InlinePolicy,
    ManagedPolicy,
    PolicyVersion,
    RequestState,
    Role,
)
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.session import FeedPosition
from daypass.operations.access_requests.view import current_targets, requested_targets
from daypass.operations.grants.targets import Snapshot
from daypass.operations.grants.use import end_now, grants_of
from daypass.operations.grants.void import Void, why_void
from daypass.operations.notifications.notify import announce
from daypass.operations.principals import principal_behind
from daypass.ports import Env, Reader, Tx

_BATCH: Final = 500
_CHECKS: Final = 1_000  # grants that one sweep checks
_CHECKED_AT_ONCE: Final = 50  # in one snapshot: other reads wait so long
_WARNING_MS: Final = 300_000
_WAITING: Final = (RequestState.DRAFT, RequestState.PENDING, RequestState.APPROVED)
_EVERY_ACCOUNT: Final = ""
_APPROVED: Final = (ApprovalRule, Attachment, InlinePolicy, ManagedPolicy, PolicyVersion, Role)
"""The kinds of entities that the digest of a grant covers."""


class Swept(NamedTuple):
    """The result of one sweep: requests that expired, grants that ended, and grants that are open."""

    expired: int
    ended: int
    open: int


class Sweeper:
    """The sweeps of one process. `behind`: accounts in which something has changed wait for the next sweep."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._seen: FeedPosition | None = None
        self._waiting: dict[str, str] = {_EVERY_ACCOUNT: ""}
        """Accounts whose grants are to be checked, each with the last grant that was; _EVERY_ACCOUNT: all of them."""
        self._pending = ""
        """The last pending request that was looked at."""

    @property
    def behind(self) -> bool:
        return bool(self._waiting)

    async def sweep(self) -> Swept:
        """Ends what is due, then checks some grants. Raises DaypassError(UNAVAILABLE)."""
        env = self._env
        now = env.clock.now()
        due = await env.directory.read(partial(_overdue, now=now), account="")
        for request in due:
            await _once(env, partial(_expire, env, request.id, now))
        unanswered, self._pending = await env.directory.read(
            partial(_unanswered, env=env, after=self._pending, now=now), account=""
        )
        for request in unanswered:
            await _once(env, partial(_escalate, env, request.id, now))
        over, soon = await env.directory.read(partial(_timed, now=now), account="")
        for grant, reason in over:
            await end_now(env, grant.id, reason)
        for grant in soon:
            await _once(env, partial(_warn, env, grant.id, now))
        await self._notice_changes()
        ended = len(over) + await self._check()
        return Swept(len(due), ended, await env.directory.read(lambda tx: tx.count(Grant, ended_at=0), account=""))

    async def _notice_changes(self) -> None:
        """Adds the accounts in which something has changed since the last sweep; they start over."""
        before, now = self._seen, self._env.directory.seen()
        if before is not None and before != now:
            changed = await self._env.directory.changed_accounts(before, _APPROVED)
            if changed is None:
                self._waiting = {_EVERY_ACCOUNT: ""}
            else:
                self._waiting |= dict.fromkeys(changed - {_EVERY_ACCOUNT}, "")
        self._seen = now

    async def _check(self) -> int:
        """Checks grants until the budget is spent; the number of those that ended."""
        env, left, ended = self._env, _CHECKS, 0
        while self._waiting and left > 0:
            account = next(iter(self._waiting))
            after = self._waiting.pop(account)
            page, last = await env.directory.read(partial(_changed, env=env, account=account, after=after), account="")
            for grant, void in page:
                if void.reason is not None:
                    await end_now(env, grant.id, void.reason, void.message)
            if last:
                self._waiting[account] = last  # behind the others: accounts take turns
            left, ended = left - _CHECKED_AT_ONCE, ended + len(page)
        return ended


async def sweep(env: Env) -> Swept:
    """Sweeps once, and checks every grant in use. Raises DaypassError(UNAVAILABLE)."""
    sweeper = Sweeper(env)
    found = await sweeper.sweep()
    while sweeper.behind:
        more = await sweeper.sweep()
        found = Swept(found.expired + more.expired, found.ended + more.ended, more.open)
    return found


async def _once(env: Env, change: Callable[[Tx], tuple[None, Event]]) -> None:
    """Runs a change unless another process was first."""
    with ignored(ErrorKind.CONCURRENT_MODIFICATION):
        await env.journal.write(change)


def _changed(tx: Reader, env: Env, account: str, after: str) -> tuple[list[tuple[Grant, Void]], str]:
    """The next grants in use after this one that are not what was approved any more, and the last one looked at; "": the
    last of all.
    """
    whose = {"account": account} if account != _EVERY_ACCOUNT else {}
    found = tx.find(Grant, ended_at=0, order="id", after=after, limit=_CHECKED_AT_ONCE, **whose)
    snapshot, now = Snapshot(tx), env.clock.now()
    voids = [(grant, why_void(env, snapshot, grant, now)) for grant in found if grant.claimed_at]
    changed = [(grant, void) for grant, void in voids if void is not None]
    return changed, found[-1].id if len(found) == _CHECKED_AT_ONCE else ""


# --- Time --------------------------------------------------------------------------------------------------------------


def _timed(tx: Reader, now: int) -> tuple[list[tuple[Grant, EndReason]], list[Grant]]:
    """Open grants whose time is over, and those in use that end soon, of which no notification was written yet."""
    used = tx.find(Grant, ended_at=0, order="ends_at", after="0", limit=_BATCH)
    unused = tx.find(Grant, ended_at=0, claimed_at=0, order="claim_by", limit=_BATCH)
    over = [(grant, due) for grant in (*used, *unused) if (due := grants.end_due(grant, now)) is not None]
    return over, [grant for grant in used if grants.end_due(grant, now) is None and _ends_soon(grant, now)]


def _ends_soon(grant: Grant, now: int) -> bool:
    return bool(grant.claimed_at) and not grant.warned_at and grant.ends_at - now <= _WARNING_MS


def _warn(env: Env, grant_id: str, now: int, tx: Tx) -> tuple[None, Event]:
    """Announces the end of a grant, once, early enough to ask for more time."""
    grant = tx.get(Grant, id=grant_id)
    if grant is None or grant.ended_at or not _ends_soon(grant, now):
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The grant has ended.")
    tx.replace(replace(grant, warned_at=now))
    detail = {"request": grant.request_id, "grants": [grant.id], "roles": [grant.role_arn], "ends_at": grant.ends_at}
    return None, announce(env, tx, Event(EventType.ACCESS_ENDING, now, grant.account, detail=detail))


def _overdue(tx: Reader, now: int) -> list[AccessRequest]:
    """Requests whose deadline has passed. Grants expire by themselves, with their requests."""
    found = [
        request
        for state in _WAITING
        for request in tx.find(AccessRequest, state=state.value, order="deadline", limit=_BATCH)
    ]
    return [request for request in found if overdue(request, now) is not None and not grants_of(tx, request.id)]


def _expire(env: Env, request_id: str, now: int, tx: Tx) -> tuple[None, Event]:
    request = tx.get(AccessRequest, id=request_id)
    after = overdue(request, now) if request is not None else None
    if after is None:
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The request has been decided.")
    tx.replace(after)
    detail = {"request": after.id, "state": after.state.value, "reason": after.end_reason}
    return None, announce(env, tx, Event(EventType.ACCESS_EXPIRED, now, after.account, detail=detail))


def _unanswered(tx: Reader, env: Env, after: str, now: int) -> tuple[list[AccessRequest], str]:
    """Finds, among the next pending requests, those that have waited longer than a rule's escalation allows; and the last one looked
    at; "": the last of all.
    """
    found = tx.find(AccessRequest, state=RequestState.PENDING.value, order="id", after=after, limit=_BATCH)
    snapshot = Snapshot(tx)
    due = [request for request in found if _escalation_due(snapshot, env, request, now)]
    return due, found[-1].id if len(found) == _BATCH else ""


def _escalation_due(tx: Reader, env: Env, request: AccessRequest, now: int) -> bool:
    if request.escalated_at:
        return False
    rules = [target.rule.rule for target in requested_targets(tx, env.builtin, request)]
    waits = [rule.escalation.after_seconds for rule in rules if rule.escalation is not None]
    if not waits or now < waiting_since(request) + min(waits) * 1000:
        return False
    with ignored(ErrorKind.NOT_FOUND, ErrorKind.ACCESS_DENIED):
        return bool(current_targets(env, tx, request, decode(request.document)))
    return False


def _escalate(env: Env, request_id: str, now: int, tx: Tx) -> tuple[None, Event]:
    request = tx.get(AccessRequest, id=request_id)
    if request is None or request.state is not RequestState.PENDING or request.escalated_at:
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The request has been decided.")
    tx.replace(replace(request, escalated_at=now))
    terms = decode(request.document)
    detail = {
        "request": request.id,
        "requester": terms.requester,
        "principal": principal_behind(tx, request.requester_id, terms.requester),
        "roles": [ref.arn for ref in terms.roles],
    }
    return None, announce(env, tx, Event(EventType.ACCESS_ESCALATED, now, request.account, detail=detail))
