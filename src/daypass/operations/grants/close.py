"""Ends requests and grants. A revocation in the same transaction ends the sessions of a grant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from daypass.domain.access import grant as grants
from daypass.domain.access.request import GRANTED, EndReason, TransitionRefused, moved
from daypass.domain.directory import AccessRequest, Grant, RequestState, Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.operations.notifications.notify import announce
from daypass.operations.outcome import actor_of
from daypass.operations.revocation import new_revocation
from daypass.ports import Call, Env, Reader, Tx

_MANY = 1_000
BY_ITSELF: Final = frozenset({EndReason.TIME, EndReason.UNCLAIMED})
"""Ends that leave no session to end: a session never outlives its grant's time."""


def refused(error: TransitionRefused) -> DaypassError:
    """A transition that the state does not allow, as an error of an operation."""
    return DaypassError(ErrorKind.CONCURRENT_MODIFICATION, str(error))


def existing(tx: Reader, account: str, request_id: str) -> AccessRequest:
    """The request. Raises DaypassError(NOT_FOUND), also for one of another account."""
    request = tx.get(AccessRequest, id=request_id)
    if request is None or request.account != account:
        raise no_such_request(request_id)
    return request


def no_such_request(request_id: str) -> DaypassError:
    """The one refusal for missing requests and for requests of others."""
    return DaypassError(ErrorKind.NOT_FOUND, f"The access request with id {request_id} cannot be found.")


def grants_of(tx: Reader, request_id: str) -> list[Grant]:
    return tx.find(Grant, request_id=request_id, limit=_MANY)


def end_grants(
    env: Env, tx: Tx, request: AccessRequest, chosen: Iterable[Grant], reason: EndReason, now: int, by: str = ""
) -> AccessRequest:
    """Ends these open grants and, when no other is open, the request. Returns the request as it is then.

    `by`: the ARN of the person, "" for Daypass itself.
    """
    for grant in chosen:
        if grant.ended_at:
            continue
        tx.replace(grants.ended(grant, reason, now))
        # Also of a grant that was not used: a failover may lose the end, but no revocation (attack A342).
        if reason not in BY_ITSELF:
            tx.insert(_revocation(env, grant, reason, now, by))
    return _end_request(tx, request, reason, now)


def end_revoked_grant(env: Env, call: Call, tx: Tx, revocation: Revocation) -> None:
    """Ends the grant that a revocation names, and announces it. The revocation itself ends the sessions."""
    grant = tx.get(Grant, id=revocation.value)
    request = tx.get(AccessRequest, id=grant.request_id) if grant is not None else None
    if grant is None or request is None or grant.account != revocation.account:
        return
    if grant.ended_at:
        return
    tx.replace(grants.ended(grant, EndReason.REVOKED, revocation.created_at))
    request = _end_request(tx, request, EndReason.REVOKED, revocation.created_at)
    announce_end(env, tx, call, request, [grant], EndReason.REVOKED)


def announce_end(
    env: Env, tx: Tx, call: Call, request: AccessRequest, ended: Sequence[Grant], reason: EndReason
) -> None:
    """Tells the channels that grants of one request ended, as a part of an operation whose own event is another."""
    detail = ending_detail(request, ended, reason)
    announce(
        env, tx, Event(EventType.ACCESS_ENDED, call.now, request.account, actor=actor_of(call.caller), detail=detail)
    )


def _end_request(tx: Tx, request: AccessRequest, reason: EndReason, now: int) -> AccessRequest:
    """The request, ended if none of its grants is open."""
    if request.state not in GRANTED or not all(grant.ended_at for grant in grants_of(tx, request.id)):
        return request
    unclaimed = request.state is RequestState.APPROVED and reason is EndReason.UNCLAIMED
    request = moved(request, RequestState.EXPIRED if unclaimed else RequestState.ENDED, now, reason.value)
    tx.replace(request)
    return request


def _revocation(env: Env, grant: Grant, reason: EndReason, now: int, by: str) -> Revocation:
    ended = f"The grant has ended: {reason.value}"
    return new_revocation(env.ids, grant.account, ("grant", grant.id), now=now, by=by or "daypass", reason=ended)


def ending_detail(request: AccessRequest, chosen: Sequence[Grant], reason: EndReason) -> Mapping[str, Any]:
    """What the record says about the end of grants."""
    return {
        "request": request.id,
        "state": request.state.value,
        "reason": reason.value,
        "grants": [grant.id for grant in chosen],
        "roles": [grant.role_arn for grant in chosen],
    }
