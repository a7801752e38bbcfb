"""Later steps of a request's persons: accept, cancel, done. Also ends single grants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from msgspec import structs

from daypass.domain.access import limits
from daypass.domain.access import request as grants
from daypass.domain.access import terms as t
from daypass.domain.access.request import GRANTED, EndReason, TransitionRefused, moved
from daypass.domain.context import request_context
from daypass.domain.directory import AccessRequest, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.access_requests.create import invalid
from daypass.operations.access_requests.prepare import prepare
from daypass.operations.access_requests.view import (
    RequestView,
    automatic_approval,
    current_targets,
    grant_request,
    local_time,
    view_of,
)
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa, mfa_context
from daypass.operations.grants.persons import Person, person_of
from daypass.operations.grants.targets import Circumstances, RequestedRole
from daypass.operations.grants.use import (
    announce_end,
    end_grants,
    ending_detail,
    existing,
    grants_of,
    no_such_request,
    refused,
)
from daypass.operations.management import allow, allow_own
from daypass.operations.notifications.notify import announce
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader, Tx

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
    terms = t.decode(offered.document)
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
                limits.check_request(terms, target.rule.rule, person.mfa_at, call.now, local_time(call.now))
        except limits.LimitExceeded as error:
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


def _check_conditions(targets: Sequence[RequestedRole], person: Person, asked: Circumstances) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the rules' conditions on requesters hold for the beneficiary (A209)."""
    for target in targets:
        if not target.rule.requesters.include(person.names, asked.under(target.rule.rule)):
            raise DaypassError(
                ErrorKind.ACCESS_DENIED,
                f"The approval rule does not allow you to accept {target.role.arn} now.",
                private={"reason": "conditions of the rule", "rule": target.rule.name},
            )


def _accepted(
    request: AccessRequest, terms: t.Terms, targets: Sequence[RequestedRole], person: Person, now: int
) -> AccessRequest:
    """The request under the rules as they are now, whose limits and conditions have been tested for the person."""
    persons = tuple(sorted({*request.persons, *person.identifiers}))
    digests = tuple(target.rule.digest for target in targets)
    document = t.encode(structs.replace(terms, rule_digests=digests, accepted_at=now))
    return replace(
        moved(request, RequestState.PENDING, now), persons=persons, document=document, digest=t.digest(document)
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
        after = grants.ended(grant, reason, call.now)
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
        after = [grants.ended(grant, EndReason.TICKET_CLOSED, call.now) for grant in ending]
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
