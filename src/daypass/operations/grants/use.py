"""A grant is used: by the ordinary call that assumes the role, whatever proof the person has.

Candidates come from the cached view of the role. The use itself is part of the transaction that records the session:
it asks whether the grant is void, starts its clock and counts the use. Without the database no grant is used.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from daypass.domain.access.request import (
    GRANTED,
    UNDECIDED,
    EndReason,
    GrantUnusable,
    TransitionRefused,
    ended_grant,
    is_usable,
    moved,
    original_principal,
    used_grant,
)
from daypass.domain.directory import AccessRequest, Grant, ReplayEntry, RequestState, Revocation
from daypass.domain.errors import DaypassError, ErrorKind, ignored
from daypass.domain.events import Event, EventType
from daypass.domain.session import Hop, SessionClaims
from daypass.operations.grants.targets import Snapshot
from daypass.operations.grants.void import why_void
from daypass.operations.notifications import announce
from daypass.operations.outcome import actor_of
from daypass.operations.revocation import new_revocation
from daypass.ports import Call, Env, Reader, RoleView, Tx

_PURPOSE: Final = "grant"
_LONGEST_MS: Final = 86_400_000  # more than the longest grant


class GrantRefused(DaypassError):
    """The transaction of a use found that the grant gives no session. `reason`: why it has to end; None: it does not."""

    def __init__(self, message: str, reason: EndReason | None) -> None:
        super().__init__(ErrorKind.ACCESS_DENIED, message)
        self.reason = reason


class GrantMoved(DaypassError):
    """Another request started the clock first: the session would outlive the grant. The request is to be repeated.

    `ends_at`: ms; the end of the grant as the use found it.
    """

    def __init__(self, ends_at: int) -> None:
        super().__init__(ErrorKind.CONCURRENT_MODIFICATION, "The access grant has changed.")
        self.ends_at = ends_at


class GrantUse(Struct, frozen=True):
    """A use of a grant that is about to happen. `not_after`: ms; the latest end of the session."""

    grant: Grant
    principal_ids: tuple[str, ...]
    not_after: int


def candidates(view: RoleView, hops: Sequence[Hop], now: int, refused: Container[str] = ()) -> Iterator[Grant]:
    """The grants for this role that the person behind a chain can use at `now` (ms), oldest first, without those whose id
    is `refused`.
    """
    if not view.grants:
        return
    person = original_principal(hops)
    own = view.grants_of.get(person, ())
    yield from (grant for grant in own if grant.id not in refused and is_usable(grant, now))


def consume_grant(env: Env, tx: Tx, use: GrantUse, session: SessionClaims) -> dict[str, Any]:
    """Uses the grant in the transaction that records its session. Returns what the record says about it.

    Raises GrantRefused, GrantMoved.
    """
    now = session.issued_at
    grant = tx.get(Grant, id=use.grant.id)
    request = tx.get(AccessRequest, id=use.grant.request_id)
    if grant is None or request is None:
        raise GrantRefused("The grant does not exist.", None)
    if (void := why_void(env, Snapshot(tx), grant, now, use.principal_ids)) is not None:
        raise GrantRefused(void.message, void.reason)
    try:
        after = used_once(tx, grant, now)
    except GrantUnusable as error:
        raise GrantRefused(str(error), error.reason) from None
    if session.expires_at > after.ends_at:
        raise GrantMoved(after.ends_at)
    if after != grant:
        tx.replace(after)
    if request.state is RequestState.APPROVED:
        tx.replace(moved(request, RequestState.CLAIMED, now))
    detail: dict[str, Any] = {"request": grant.request_id, "ends_at": after.ends_at}
    if not grant.claimed_at:
        detail["claimed"] = True
    if after.max_uses:
        detail["use"] = after.uses
    return detail


def used_once(tx: Tx, grant: Grant, now: int) -> Grant:
    """The grant after one use. The first use, and the number of each where they are limited, is a one-time proof: servers
    send it again after a failover that lost the use (attacks A377, A384). Raises GrantUnusable.
    """
    until = max(now, grant.claim_by) + _LONGEST_MS
    if not grant.claimed_at and (lost := tx.get(ReplayEntry, purpose=_PURPOSE, id=f"{grant.id}:1")) is not None:
        grant = used_grant(grant, lost.at)
    after = used_grant(grant, now)
    while (after.max_uses or not grant.claimed_at) and not tx.insert_if_absent(
        ReplayEntry(_PURPOSE, f"{grant.id}:{after.uses or 1}", grant.account, now, until)
    ):
        if not grant.claimed_at:  # another server has just sent it again, and it is found from now on (attack A430)
            return used_once(tx, grant, now)
        after = used_grant(after, now)
    return after


# --- End


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
        tx.replace(ended_grant(grant, reason, now))
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
    tx.replace(ended_grant(grant, EndReason.REVOKED, revocation.created_at))
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
    """Details of the event about ended grants."""
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
    """The grants of a person, up to a limit. `principal_id`: of the first hop. `account`: of the roles; "" for any."""
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
