"""What a grant allows, and for how long. A grant adds context keys; the trust policy remains the only gate."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from daypass.domain.access.request import EndReason
from daypass.domain.directory import Grant
from daypass.domain.policy.model import Value


class GrantState(StrEnum):
    """The state of a grant at one time."""

    SCHEDULED = "scheduled"  # it starts later
    OPEN = "open"  # not used yet
    CLAIMED = "claimed"  # its clock runs
    ENDED = "ended"


class GrantUnusable(Exception):
    """The grant cannot be used. The message is for the caller; `reason` is why it has ended, if it has."""

    def __init__(self, message: str, reason: EndReason | None = None) -> None:
        super().__init__(message)
        self.reason = reason


def state_of(grant: Grant, now: int) -> GrantState:
    """The state at `now` (ms), whether or not the end has been stored."""
    if grant.ended_at or end_due(grant, now) is not None:
        return GrantState.ENDED
    if grant.claimed_at:
        return GrantState.CLAIMED
    return GrantState.OPEN if now >= grant.starts_at else GrantState.SCHEDULED


def end_due(grant: Grant, now: int) -> EndReason | None:
    """Why an open grant has to end at `now`; None when it does not."""
    if grant.claimed_at:
        return EndReason.TIME if now >= grant.ends_at else None
    return EndReason.UNCLAIMED if now >= grant.claim_by else None


def check_usable(grant: Grant, now: int) -> None:
    """Raises GrantUnusable unless the grant gives a session at `now`."""
    if grant.ended_at:
        raise GrantUnusable(f"The grant has ended ({grant.end_reason}).")
    due = end_due(grant, now)
    if due is not None:
        raise GrantUnusable(f"The grant has ended ({due.value}).", due)
    if now < grant.starts_at:
        raise GrantUnusable("The grant has not started yet.")
    if grant.max_uses and grant.uses >= grant.max_uses:
        raise GrantUnusable("The grant has given all its sessions.")


def is_usable(grant: Grant, now: int) -> bool:
    """Whether the grant gives a session at `now`."""
    uses_left = not grant.max_uses or grant.uses < grant.max_uses
    return uses_left and state_of(grant, now) in (GrantState.OPEN, GrantState.CLAIMED)


def used(grant: Grant, now: int) -> Grant:
    """The grant after one use. The first use starts its clock. Raises GrantUnusable."""
    check_usable(grant, now)
    if not grant.claimed_at:
        grant = replace(grant, claimed_at=now, ends_at=now + grant.seconds * 1000)
    return replace(grant, uses=grant.uses + 1) if grant.max_uses else grant


def latest_end(grant: Grant, now: int) -> int:
    """The latest end (ms) of a session that the grant gives at `now`."""
    return grant.ends_at if grant.claimed_at else now + grant.seconds * 1000


def ended(grant: Grant, reason: EndReason, now: int) -> Grant:
    """The grant after its end. A grant that has ended does not change."""
    return grant if grant.ended_at else replace(grant, ended_at=now, end_reason=reason.value)


def keys_of(grant: Grant) -> dict[str, Value]:
    """The context keys of a request that uses the grant, lower-cased."""
    keys: dict[str, Value] = {
        "daypass:approved": "true",
        "daypass:grantid": grant.id,
        "daypass:approvercount": str(len(grant.approvers)),
        "daypass:riskscore": str(grant.risk),
        "daypass:oncall": "true" if grant.on_call else "false",
    }
    if grant.ticket:
        keys["daypass:ticketid"] = grant.ticket
    return keys
