"""Ends grants, and with them their sessions: the end of a grant in use is a revocation in the same transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from daypass.domain.access import grant as grants
from daypass.domain.access.request import GRANTED, UNDECIDED, EndReason, TransitionRefused, moved
from daypass.domain.directory import AccessRequest, Grant, RequestState, Revocation
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.operations.notifications.notify import announce
from daypass.operations.outcome import actor_of
from daypass.operations.revocation import new_revocation
from daypass.ports import Call, Env, Reader, Tx

_MANY: Final = 1_000
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
        if reason not in BY_ITSELF:  # also of a grant that was not used: see `void`
            ended = f"The grant has ended: {reason.value}"
            named = ("grant", grant.id)
            tx.insert(new_revocation(env.ids, grant.account, named, now=now, by=by or "daypass", reason=ended))
    return _end_request(tx, request, reason, now)


def end_revoked_grant(env: Env, call: Call, tx: Tx, revocation: Revocation) -> None:
    """Ends the grant that a revocation names, and announces it. The revocation itself ends the sessions."""
    grant = tx.get(Grant, id=revocation.value)
    request = tx.get(AccessRequest, id=grant.request_id) if grant is not None else None
    if grant is None or request is None or grant.account != revocation.account or grant.ended_at:
        return
    tx.replace(grants.ended(grant, EndReason.REVOKED, revocation.created_at))
    request = _end_request(tx, request, EndReason.REVOKED, revocation.created_at)
    announce_end(env, tx, call, request, [grant], EndReason.REVOKED)


def _end_request(tx: Tx, request: AccessRequest, reason: EndReason, now: int) -> AccessRequest:
    """The request, ended if none of its grants is open."""
    if request.state not in GRANTED or not all(grant.ended_at for grant in grants_of(tx, request.id)):
        return request
    unclaimed = request.state is RequestState.APPROVED and reason is EndReason.UNCLAIMED
    request = moved(request, RequestState.EXPIRED if unclaimed else RequestState.ENDED, now, reason.value)
    tx.replace(request)
    return request


def announce_end(
    env: Env, tx: Tx, call: Call, request: AccessRequest, ended: Sequence[Grant], reason: EndReason
) -> None:
    """Tells the channels that grants of one request ended, as a part of an operation whose own event is another."""
    detail, actor = ending_detail(request, ended, reason), actor_of(call.caller)
    announce(env, tx, Event(EventType.ACCESS_ENDED, call.now, request.account, actor=actor, detail=detail))


def ending_detail(request: AccessRequest, chosen: Sequence[Grant], reason: EndReason) -> Mapping[str, Any]:
    """What the record says about the end of grants."""
    return {
        "request": request.id,
        "state": request.state.value,
        "reason": reason.value,
        "grants": [grant.id for grant in chosen],
        "roles": [grant.role_arn for grant in chosen],
    }


async def end_now(env: Env, grant_id: str, reason: EndReason, why: str = "", request_id: str = "") -> None:
    """Daypass itself ends a grant, if it is still open. `why`: in words, for the record; "": the reason says it."""
    now = env.clock.now()

    def change(tx: Tx) -> tuple[None, Event]:
        grant = tx.get(Grant, id=grant_id)
        request = tx.get(AccessRequest, id=grant.request_id) if grant is not None else None
        if grant is None or request is None or grant.ended_at:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The grant has ended.")
        request = end_grants(env, tx, request, [grant], reason, now)
        detail = {**ending_detail(request, [grant], reason), **({"why": why} if why else {})}
        event = Event(EventType.ACCESS_ENDED, now, grant.account, request_id=request_id, detail=detail)
        return None, announce(env, tx, event)

    with ignored(ErrorKind.CONCURRENT_MODIFICATION):
        await env.journal.write(change, urgent=True)


# --- Persons who leave -------------------------------------------------------------------------------------------------


class OpenAccess(NamedTuple):
    """Undecided requests of which a person is the requester or the beneficiary, and the person's open grants."""

    requests: Sequence[AccessRequest] = ()
    grants: Sequence[Grant] = ()


def open_access(tx: Reader, principal_id: str, account: str = "") -> OpenAccess:
    """What a person has, up to a limit. `principal_id`: of the first hop. `account`: of the roles; "" for any."""
    where = {"account": account} if account else {}
    requests = {
        request.id: request
        for state in UNDECIDED
        for role in ("requester_id", "beneficiary_id")
        for request in tx.find(
            AccessRequest, state=state.value, order="id", limit=_MANY, **where, **{role: principal_id}
        )
    }
    found = tx.find(Grant, principal_id=principal_id, ended_at=0, order="id", limit=_MANY, **where)
    return OpenAccess([request for _, request in sorted(requests.items())], found)


def end_access(env: Env, call: Call, tx: Tx, principal_id: str, account: str = "") -> None:
    """Cancels the open requests of a person and ends the open grants, as a part of another operation, whose event names
    them. Each end is announced by itself, so that channels and tickets follow.
    """
    reason = EndReason.INELIGIBLE
    while (found := open_access(tx, principal_id, account)) != OpenAccess([], []):
        for request in found.requests:
            after = moved(request, RequestState.CANCELLED, call.now, reason.value)
            tx.replace(after)
            detail = {"request": after.id, "state": after.state.value, "reason": after.end_reason}
            actor = actor_of(call.caller)
            announce(env, tx, Event(EventType.ACCESS_CANCELLED, call.now, after.account, actor=actor, detail=detail))
        for grant in found.grants:
            granted = existing(tx, grant.account, grant.request_id)
            granted = end_grants(env, tx, granted, [grant], reason, call.now, call.caller.arn)
            announce_end(env, tx, call, granted, [grant], reason)
