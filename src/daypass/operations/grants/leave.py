"""Ends what a person who leaves has in the broker: open requests, grants, and with them their sessions.

It is a part of another operation's transaction, whose event names what has ended. The notifications are those of each
single end, so that channels and tickets follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daypass.domain.access.request import UNDECIDED, EndReason, moved
from daypass.domain.directory import AccessRequest, Grant, RequestState
from daypass.domain.events import Event, EventType
from daypass.operations.grants.close import announce_end, end_grants
from daypass.operations.notifications.notify import announce
from daypass.operations.outcome import actor_of
from daypass.ports import Call, Env, Reader, Tx

_BATCH = 1_000


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
            AccessRequest, state=state.value, order="id", limit=_BATCH, **where, **{role: principal_id}
        )
    }
    grants = tx.find(Grant, principal_id=principal_id, ended_at=0, order="id", limit=_BATCH, **where)
    return OpenAccess([request for _, request in sorted(requests.items())], grants)


def end_access(env: Env, call: Call, tx: Tx, principal_id: str, account: str = "") -> None:
    """Cancels the open requests of a person and ends the open grants: see `open_access`."""
    while (found := open_access(tx, principal_id, account)) != OpenAccess([], []):
        for request in found.requests:
            _cancel(env, call, tx, request)
        for grant in found.grants:
            _end(env, call, tx, grant)


def _cancel(env: Env, call: Call, tx: Tx, request: AccessRequest) -> None:
    after = moved(request, RequestState.CANCELLED, call.now, EndReason.INELIGIBLE.value)
    tx.replace(after)
    detail = {"request": after.id, "state": after.state.value, "reason": after.end_reason}
    event = Event(EventType.ACCESS_CANCELLED, call.now, after.account, actor=actor_of(call.caller), detail=detail)
    announce(env, tx, event)


def _end(env: Env, call: Call, tx: Tx, grant: Grant) -> None:
    request = tx.get(AccessRequest, id=grant.request_id)
    assert request is not None, "a grant has a request"
    request = end_grants(env, tx, request, [grant], EndReason.INELIGIBLE, call.now, call.caller.arn)
    announce_end(env, tx, call, request, [grant], EndReason.INELIGIBLE)
