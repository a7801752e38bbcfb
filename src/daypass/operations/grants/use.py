"""A grant is used: by the ordinary call that assumes the role, whatever proof the person has.

Candidates come from the cached view of the role. The use itself is part of the transaction that records the session:
it asks whether the grant is void, starts its clock and counts the use. Without the database no grant is used.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from daypass.domain.access import grant as grants
from daypass.domain.access.grant import GrantUnusable
from daypass.domain.access.person import original_principal
from daypass.domain.access.request import EndReason, moved
from daypass.domain.directory import AccessRequest, Grant, ReplayEntry, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import Hop, SessionClaims
from daypass.operations.grants.snapshot import Snapshot
from daypass.operations.grants.void import why_void
from daypass.ports import Env, RoleView, Tx

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
    yield from (grant for grant in own if grant.id not in refused and grants.is_usable(grant, now))


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
        grant = grants.used(grant, lost.at)
    after = grants.used(grant, now)
    while (after.max_uses or not grant.claimed_at) and not tx.insert_if_absent(
        ReplayEntry(_PURPOSE, f"{grant.id}:{after.uses or 1}", grant.account, now, until)
    ):
        if not grant.claimed_at:  # another server has just sent it again, and it is found from now on (attack A430)
            return used_once(tx, grant, now)
        after = grants.used(after, now)
    return after
