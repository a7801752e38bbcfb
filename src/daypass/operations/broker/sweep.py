"""Ends what time or a change has ended: overdue requests, grants whose time is over, grants that became void.

Every process sweeps. Each change is checked again in its own transaction, so that it happens once. A grant is refused
at its use whether or not it has been swept; the sweep ends its sessions and records the end.

A sweep costs no more than what is due and a fixed number of checks, however many requests and grants are open. Those
whose time is over are found by their time. Others are checked in turn, because a person may belong to another account than
the role; grants of accounts in which something has changed come first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from daypass.domain.access import grant as grants
from daypass.domain.access.request import UNDECIDED, EndReason, moved, overdue
from daypass.domain.access.terms import decode, waiting_since
from daypass.domain.directory import (
    AccessKey,
    AccessRequest,
    ApprovalRule,
    Attachment,
    Grant,
    Group,
    Guardrail,
    InlinePolicy,
    IssuerAllowList,
    LoginProfile,
    ManagedPolicy,
    Membership,
    OAuthClient,
    OidcProvider,
    PolicyVersion,
    RequestState,
    Revocation,
    Role,
    SamlProvider,
    TrustAnchor,
    User,
    X509Profile,
)
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.session import FeedPosition
from daypass.operations.broker.view import current_targets, extended_by, requested_targets
from daypass.operations.grants.close import grants_of
from daypass.operations.grants.facts import is_disabled, is_revoked
from daypass.operations.grants.snapshot import Snapshot
from daypass.operations.grants.use import end_now
from daypass.operations.grants.void import CHECKED_AT_ONCE, Void, why_each_void
from daypass.operations.notifications.notify import announce
from daypass.operations.principals import principal_behind
from daypass.ports import Env, Reader, Tx

_BATCH: Final = 500
_UNDECIDED: Final = 500  # requests of each state that one sweep checks
_CHECKS: Final = 1_000  # grants that one sweep checks
_WARNING_MS: Final = 300_000
_WAITING: Final = (RequestState.DRAFT, RequestState.PENDING, RequestState.APPROVED)
_EVERY_ACCOUNT: Final = ""
_DEPENDENCIES: Final = (
    AccessKey,
    ApprovalRule,
    Attachment,
    Group,
    Guardrail,
    InlinePolicy,
    IssuerAllowList,
    LoginProfile,
    ManagedPolicy,
    Membership,
    OAuthClient,
    OidcProvider,
    PolicyVersion,
    Revocation,
    Role,
    SamlProvider,
    TrustAnchor,
    User,
    X509Profile,
)
"""What a grant depends on: a change of these may make it void."""


class Swept(NamedTuple):
    """The result of one sweep: requests that expired, grants that ended, and grants that are open."""

    expired: int
    ended: int
    open: int


class Sweeper:
    """The sweeps of one process. `behind`: accounts of which something has changed wait for the next sweep."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self._seen: FeedPosition | None = None
        self._waiting: dict[str, str] = {_EVERY_ACCOUNT: ""}
        """Accounts whose grants are to be checked, each with the last grant that was; _EVERY_ACCOUNT: all of them."""
        self._turn = ""
        """The last grant that was checked in turn."""
        self._undecided = dict.fromkeys(sorted(UNDECIDED), "")
        """The last request of each state that was checked in turn."""

    @property
    def behind(self) -> bool:
        return bool(self._waiting)

    async def sweep(self) -> Swept:
        """Ends what is due, then checks some grants. Raises DaypassError(UNAVAILABLE)."""
        env = self._env
        now = env.clock.now()
        due = await env.directory.read(lambda tx: _overdue(tx, now), account="")
        due += await self._check_undecided(now)
        for request in due:
            await _expire(env, request.id)
        over, soon = await env.directory.read(lambda tx: _timed(tx, now), account="")
        for grant, reason in over:
            await end_now(env, grant.id, reason)
        for grant in soon:
            await _warn(env, grant.id)
        await self._notice_changes()
        ended = len(over) + await self._check()
        return Swept(len(due), ended, await env.directory.read(lambda tx: tx.count(Grant, ended_at=0), account=""))

    async def _check_undecided(self, now: int) -> list[AccessRequest]:
        """Checks the next undecided requests: escalates those without an answer, and returns those to be closed."""
        closed: list[AccessRequest] = []
        for state, after in self._undecided.items():
            read = partial(_undecided, env=self._env, state=state, after=after, now=now)
            page = await self._env.directory.read(read, account="")
            for request in page.unanswered:
                await _escalate(self._env, request.id)
            closed += page.lost
            self._undecided[state] = page.last
        return closed

    async def _notice_changes(self) -> None:
        """Adds the accounts of which something has changed since the last sweep; they start over."""
        before, now = self._seen, self._env.directory.seen()
        if before is not None and before != now:
            changed = await self._env.directory.changed_accounts(before, _DEPENDENCIES)
            if changed is None:
                self._waiting = {_EVERY_ACCOUNT: ""}
            else:
                self._waiting |= dict.fromkeys(changed - {_EVERY_ACCOUNT}, "")
        self._seen = now

    async def _check(self) -> int:
        """Checks grants until the budget is spent; the number of those that ended."""
        left, ended = _CHECKS, 0
        while self._waiting and left > 0:
            account = next(iter(self._waiting))
            checked, void, last = await self._page(account, self._waiting[account])
            del self._waiting[account]
            if last:
                self._waiting[account] = last  # behind the others: accounts take turns
            left, ended = left - max(checked, 1), ended + void
        if left > 0:
            _, void, self._turn = await self._page(_EVERY_ACCOUNT, self._turn)
            ended += void
        return ended

    async def _page(self, account: str, after: str) -> tuple[int, int, str]:
        """Checks the next grants after this one. How many, how many were void, and the last one; "": all are done."""
        env = self._env
        page = await env.directory.read(_checked(env, account, after), account="")
        for grant, fault in page:
            if fault is not None:
                await end_now(env, grant.id, fault.reason, str(fault))
        void = sum(fault is not None for _, fault in page)
        return len(page), void, page[-1][0].id if len(page) == CHECKED_AT_ONCE else ""


async def sweep(env: Env) -> Swept:
    """Sweeps once, and checks every grant. Raises DaypassError(UNAVAILABLE)."""
    sweeper = Sweeper(env)
    found = await sweeper.sweep()
    while sweeper.behind:
        more = await sweeper.sweep()
        found = Swept(found.expired + more.expired, found.ended + more.ended, more.open)
    return found


def _timed(tx: Reader, now: int) -> tuple[list[tuple[Grant, EndReason]], list[Grant]]:
    """Open grants whose time is over, and those in use that end soon, of which no notification was written yet."""
    used = tx.find(Grant, ended_at=0, order="ends_at", after="0", limit=_BATCH)
    unused = tx.find(Grant, ended_at=0, claimed_at=0, order="claim_by", limit=_BATCH)
    over = [(grant, due) for grant in (*used, *unused) if (due := grants.end_due(grant, now)) is not None]
    return over, [grant for grant in used if grants.end_due(grant, now) is None and _ends_soon(grant, now)]


def _overdue(tx: Reader, now: int) -> list[AccessRequest]:
    """Requests that have to be closed. Grants expire by themselves, with their requests."""
    found = [
        request
        for state in _WAITING
        for request in tx.find(AccessRequest, state=state.value, order="deadline", limit=_BATCH)
    ]
    return [request for request in found if overdue(request, now) is not None and not grants_of(tx, request.id)]


def _closed(tx: Reader, request: AccessRequest, now: int) -> AccessRequest | None:
    """The request as it has to be closed: its deadline has passed, or it can never be granted. None: it stays open."""
    after, lost = overdue(request, now), _why_lost(tx, request, now)
    if after is None and lost is not None:
        return moved(request, RequestState.CANCELLED, now, lost.value)
    return after


def _why_lost(tx: Reader, request: AccessRequest, now: int) -> EndReason | None:
    """Why an undecided request can never be granted. None: it can, perhaps."""
    ids, terms = (request.requester_id, request.beneficiary_id), decode(request.document)
    if request.state not in UNDECIDED:
        return None
    if is_disabled(tx, ids) or is_revoked(tx, request, ids, now):
        return EndReason.INELIGIBLE
    if any(tx.get(Role, id=ref.id) is None for ref in terms.roles):
        return EndReason.DELETED
    return EndReason.OVER if terms.extends and not extended_by(tx, terms) else None


def _checked(env: Env, account: str, after: str) -> Callable[[Reader], Sequence[tuple[Grant, Void | None]]]:
    whose = {"account": account} if account != _EVERY_ACCOUNT else {}

    def query(tx: Reader) -> Sequence[tuple[Grant, Void | None]]:
        found = tx.find(Grant, ended_at=0, order="id", after=after, limit=CHECKED_AT_ONCE, **whose)
        return why_each_void(env, tx, found)

    return query


class _Undecided(NamedTuple):
    """A page of requests in one state: those that can never be granted, those that have waited longer than a rule's
    escalation allows, and where the next page begins; "": at the first request.
    """

    lost: list[AccessRequest]
    unanswered: list[AccessRequest]
    last: str


def _undecided(tx: Reader, env: Env, state: RequestState, after: str, now: int) -> _Undecided:
    found = tx.find(AccessRequest, state=state.value, order="id", after=after, limit=_UNDECIDED)
    snapshot = Snapshot(tx)
    return _Undecided(
        [request for request in found if _why_lost(snapshot, request, now) is not None],
        [request for request in found if _escalation_due(snapshot, env, request, now)],
        found[-1].id if len(found) == _UNDECIDED else "",
    )


def _escalation_due(tx: Reader, env: Env, request: AccessRequest, now: int) -> bool:
    if request.state is not RequestState.PENDING or request.escalated_at:
        return False
    rules = [target.rule.rule for target in requested_targets(tx, env.builtin, request)]
    waits = [rule.escalation.after_seconds for rule in rules if rule.escalation is not None]
    if not waits or now < waiting_since(request) + min(waits) * 1000:
        return False
    try:
        return bool(current_targets(env, tx, request, decode(request.document)))
    except DaypassError:
        return False


async def _escalate(env: Env, request_id: str) -> None:
    now = env.clock.now()

    def change(tx: Tx) -> tuple[None, Event]:
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
    with ignored(ErrorKind.CONCURRENT_MODIFICATION):
        await env.journal.write(change)


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
