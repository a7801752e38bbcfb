"""An access request after its votes: claiming, ending, extending, and the sweep that closes what has expired or
is no longer what was approved. It also escalates requests and warns before the end of access.

Every process sweeps. Each change is checked again in its own transaction, so that it happens once. A grant is refused
at its use whether or not it has been swept; the sweep ends its sessions and records the end.

A sweep costs no more than what is due and a fixed number of checks, however many requests and grants are open. Grants in
use are checked when the change feed says that a role, a policy or a rule of their account has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import structs

from daypass.domain.access.request import GRANTED, EndReason, TransitionRefused, end_due, ended_grant, moved, overdue
from daypass.domain.access.rule import LimitExceeded, check_request
from daypass.domain.access.terms import Terms, decode, digest, encode, waiting_since
from daypass.domain.context import request_context
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
from daypass.domain.policy.model import Decision
from daypass.domain.session import FeedPosition
from daypass.operations.access_requests.create import invalid
from daypass.operations.access_requests.prepare import prepare
from daypass.operations.access_requests.view import (
    RequestView,
    automatic_approval,
    current_targets,
    grant_request,
    requested_targets,
    view_of,
)
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa, mfa_context
from daypass.operations.grants.persons import Person, person_of
from daypass.operations.grants.targets import Circumstances, Snapshot, TargetRole, local_time
from daypass.operations.grants.use import (
    announce_end,
    end_grants,
    end_now,
    ending_detail,
    existing,
    grants_of,
    no_such_request,
    refused,
)
from daypass.operations.grants.void import Void, why_void
from daypass.operations.management import allow, allow_own
from daypass.operations.notifications import announce
from daypass.operations.outcome import served
from daypass.operations.principals import principal_behind
from daypass.ports import Call, Env, Reader, Tx

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
    over = [(grant, due) for grant in (*used, *unused) if (due := end_due(grant, now)) is not None]
    return over, [grant for grant in used if end_due(grant, now) is None and _ends_soon(grant, now)]


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


# --- Later steps of a request's persons: accept, cancel, done


_AT_ONCE: Final = 50
"""Grants of a ticket that end in one transaction."""


async def accept_request(env: Env, call: Call, request_id: str, mfa: MfaCode = NO_CODE) -> RequestView:
    """The beneficiary accepts a request that somebody made for it. Until then nobody can approve it.

    It needs no permission: only the beneficiary can accept. Risk, ticket and schedules are looked up again, for
    the person who gets the access. Raises DaypassError: NOT_FOUND, VALIDATION, CONCURRENT_MODIFICATION when it is not a
    draft.
    """
    decision = await allow_own(env, call, "AcceptAccessRequest", "access-request", request_id)
    offered = await env.directory.read(lambda tx: _offered(tx, call, request_id)[0], account=call.caller.account)
    terms = decode(offered.document)
    mfa_at = await check_mfa(env, call, mfa)
    prepared = await prepare(env, call, offered.account, [ref.arn for ref in terms.roles], terms.ticket)
    context = {**request_context(call.caller, call.facts, call.now), **mfa_context(mfa_at), **prepared.keys}
    asked = Circumstances(context, prepared.on_call)

    def change(tx: Tx) -> tuple[RequestView, Event]:
        request, person = _offered(tx, call, request_id, mfa_at)
        request = replace(request, risk=prepared.risk, risk_reasons=prepared.stored_reasons)
        targets = current_targets(env, tx, request, terms)
        _check_conditions(targets, person, asked)
        try:
            for target in targets:
                check_request(terms, target.rule.rule, person.mfa_at, call.now, local_time(call.now))
        except LimitExceeded as error:
            raise invalid(error) from None
        request = _accepted(request, terms, targets, person, call.now)
        approval = automatic_approval(terms, targets, asked, person.mfa_at, call.now)
        if approval is not None:
            request, _ = grant_request(env, tx, request, terms, targets, approval, call.now)
        else:
            tx.replace(request)
        view = view_of(env, tx, request)
        return view, announce(env, tx, _event(call, EventType.ACCESS_ACCEPTED, view, decision))

    return await env.journal.write(change, account=call.caller.account)


def _offered(tx: Reader, call: Call, request_id: str, mfa_at: int = 0) -> tuple[AccessRequest, Person]:
    """A request that waits for the caller to accept it. Raises DaypassError: NOT_FOUND, CONCURRENT_MODIFICATION."""
    request, person = _own(tx, call, request_id, mfa_at)
    if request.beneficiary_id != person.id:
        raise no_such_request(request_id)
    try:
        moved(request, RequestState.PENDING, call.now)
    except TransitionRefused as error:
        raise refused(error) from None
    return request, person


def _check_conditions(targets: Sequence[TargetRole], person: Person, asked: Circumstances) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the rules' conditions on requesters hold for the beneficiary (A209)."""
    for target in targets:
        if not target.rule.requesters.include(person.names, asked.under(target.rule.rule)):
            raise DaypassError(
                ErrorKind.ACCESS_DENIED,
                f"The approval rule does not allow you to accept {target.role.arn} now.",
                private={"reason": "conditions of the rule", "rule": target.rule.name},
            )


def _accepted(
    request: AccessRequest, terms: Terms, targets: Sequence[TargetRole], person: Person, now: int
) -> AccessRequest:
    """The request under the rules as they are now, whose limits and conditions have been tested for the person."""
    persons = tuple(sorted({*request.persons, *person.identifiers}))
    digests = tuple(target.rule.digest for target in targets)
    document = encode(structs.replace(terms, rule_digests=digests, accepted_at=now))
    return replace(
        moved(request, RequestState.PENDING, now), persons=persons, document=document, digest=digest(document)
    )


async def cancel_request(env: Env, call: Call, request_id: str) -> RequestView:
    """The requester or the beneficiary takes a request back, before it is used. Its grants end."""
    decision = await allow_own(env, call, "CancelAccessRequest", "access-request", request_id)

    def change(tx: Tx) -> tuple[RequestView, Event]:
        request, _ = _own(tx, call, request_id)
        for grant in grants_of(tx, request.id):
            if grant.claimed_at:
                raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The access is in use. Say done to end it.")
        try:
            request = moved(request, RequestState.CANCELLED, call.now, EndReason.CANCELLED.value)
        except TransitionRefused as error:
            raise refused(error) from None
        tx.replace(request)
        end_grants(env, tx, request, grants_of(tx, request.id), EndReason.CANCELLED, call.now, call.caller.arn)
        view = view_of(env, tx, request)
        return view, announce(env, tx, _event(call, EventType.ACCESS_CANCELLED, view, decision))

    return await env.journal.write(change, account=call.caller.account, urgent=True)


async def finish_request(env: Env, call: Call, request_id: str) -> RequestView:
    """The requester or the beneficiary is done: the grants and all their sessions end."""
    decision = await allow_own(env, call, "FinishAccessRequest", "access-request", request_id)

    def change(tx: Tx) -> tuple[RequestView, Event]:
        request, _ = _own(tx, call, request_id)
        if request.state not in GRANTED:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, f"The access request is {request.state.value}.")
        ending = [grant for grant in grants_of(tx, request.id) if not grant.ended_at]
        request = end_grants(env, tx, request, ending, EndReason.DONE, call.now, call.caller.arn)
        view = view_of(env, tx, request)
        detail = ending_detail(request, ending, EndReason.DONE)
        event = served(call, kind=EventType.ACCESS_ENDED, account=request.account, decision=decision, detail=detail)
        return view, announce(env, tx, event)

    return await env.journal.write(change, account=call.caller.account, urgent=True)


async def end_grant(env: Env, call: Call, account: str, grant_id: str, reason: EndReason = EndReason.REVOKED) -> Grant:
    """daypass:EndGrant on `grant/ID`: ends a grant and its sessions. Raises DaypassError: ACCESS_DENIED, NOT_FOUND.

    `reason`: REVOKED, or TICKET_CLOSED.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "EndGrant", "grant", grant_id, owner)

    def change(tx: Tx) -> tuple[Grant, Event]:
        grant = tx.get(Grant, id=grant_id)
        if grant is None or grant.account != owner:
            raise DaypassError(ErrorKind.NOT_FOUND, f"The grant with id {grant_id} cannot be found.")
        request = existing(tx, owner, grant.request_id)
        if grant.ended_at:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, f"The grant has ended ({grant.end_reason}).")
        request = end_grants(env, tx, request, [grant], reason, call.now, call.caller.arn)
        detail = ending_detail(request, [grant], reason)
        after = ended_grant(grant, reason, call.now)
        return after, announce(
            env, tx, served(call, kind=EventType.ACCESS_ENDED, account=owner, decision=decision, detail=detail)
        )

    return await env.journal.write(change, account=call.caller.account, urgent=True)


async def end_for_ticket(env: Env, call: Call, account: str, ticket: str) -> list[Grant]:
    """daypass:EndGrant on `grant/*`: ends all grants of a ticket that has been closed, some in each transaction, for which
    all writers wait (attack A354). Returns those that ended.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "EndGrant", "grant", "*", owner)

    def change(tx: Tx) -> tuple[list[Grant], Event]:
        ending = tx.find(Grant, account=owner, ended_at=0, ticket=ticket, limit=_AT_ONCE)
        for request_id in {grant.request_id for grant in ending}:
            request = existing(tx, owner, request_id)
            chosen = [grant for grant in ending if grant.request_id == request_id]
            request = end_grants(env, tx, request, chosen, EndReason.TICKET_CLOSED, call.now, call.caller.arn)
            announce_end(env, tx, call, request, chosen, EndReason.TICKET_CLOSED)
        detail = {
            "ticket": ticket,
            "reason": EndReason.TICKET_CLOSED.value,
            "grants": [grant.id for grant in ending],
            "roles": [grant.role_arn for grant in ending],
        }
        after = [ended_grant(grant, EndReason.TICKET_CLOSED, call.now) for grant in ending]
        return after, served(call, kind=EventType.ACCESS_ENDED, account=owner, decision=decision, detail=detail)

    ended: list[Grant] = []
    while True:
        some = await env.journal.write(change, account=call.caller.account, urgent=True)
        ended += some
        if len(some) < _AT_ONCE:
            return ended


def _own(tx: Reader, call: Call, request_id: str, mfa_at: int = 0) -> tuple[AccessRequest, Person]:
    """A request of the caller as requester or beneficiary. Raises DaypassError(NOT_FOUND)."""
    request, person = tx.get(AccessRequest, id=request_id), person_of(tx, call.caller, mfa_at)
    if request is None or not person.id or person.id not in (request.requester_id, request.beneficiary_id):
        raise no_such_request(request_id)
    return request, person


def _event(call: Call, kind: EventType, view: RequestView, decision: Decision) -> Event:
    detail: dict[str, Any] = {"request": view.request.id, "state": view.request.state.value}
    made = [grant.id for grant in view.grants]
    if made:
        detail["grants"] = made
    return served(call, kind=kind, account=view.request.account, decision=decision, detail=detail)
