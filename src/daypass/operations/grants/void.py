"""Whether a grant is void: the one place that says so, for its uses, sweeps and readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from daypass.domain.access.quorum import CHANGED
from daypass.domain.access.request import EndReason
from daypass.domain.access.rule import CompiledRule
from daypass.domain.access.terms import Version, binding_of
from daypass.domain.directory import AccessRequest, AccessVote, ApprovalRule, Grant, Revocation, Role
from daypass.operations.grants.facts import (
    compiled,
    is_disabled,
    is_revoked,
    is_superseded,
    names_of,
    principals_in,
    version_of,
)
from daypass.operations.grants.permission import may_request, still_held
from daypass.operations.grants.snapshot import Snapshot, once
from daypass.operations.grants.standing import Governed, count_votes
from daypass.ports import Env, Reader, Scene

CHECKED_AT_ONCE: Final = 50
"""Grants that are checked in one snapshot: other reads wait so long."""


class Void(Exception):
    """A grant is void. `reason` is stored with it; the message is for the person; `votes`: see `quorum.Count.void`."""

    def __init__(self, reason: EndReason, message: str, votes: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.votes = votes or {}


def why_void(env: Env | Scene, tx: Reader, grant: Grant, now: int, principal_ids: Sequence[str] = ()) -> Void | None:
    """Why the grant would be refused to the person as in the request, or with these principal ids; None: it would not."""
    request = tx.get(AccessRequest, id=grant.request_id)
    if request is None:
        return Void(EndReason.CHANGED, "The access request does not exist any more.")
    requested = principals_in(request)
    try:
        for each in dict.fromkeys((requested, tuple(principal_ids) or requested)):
            check_grant(env, tx, grant, request, each, now)
    except Void as void:
        return void
    return None


def why_each_void(env: Env, tx: Reader, grants: Sequence[Grant]) -> list[tuple[Grant, Void | None]]:
    """See `why_void`, for at most CHECKED_AT_ONCE grants."""
    snapshot, now = _filled(tx, grants), env.clock.now()
    return [(grant, why_void(env, snapshot, grant, now)) for grant in grants]


def _filled(tx: Reader, found: Sequence[Grant]) -> Snapshot:
    """A snapshot that has what belongs to these grants alone, read at once."""
    snapshot, ids = Snapshot(tx), sorted({grant.request_id for grant in found})
    requests = {each.id: each for each in tx.find_among(AccessRequest, "id", ids, order="id")}
    siblings: dict[str, list[Any]] = {each: [] for each in ids}
    votes: dict[str, list[Any]] = {each: [] for each in ids}
    for grant in tx.find_among(Grant, "request_id", ids, order="id"):
        siblings[grant.request_id].append(grant)
    for vote in tx.find_among(AccessVote, "request_id", ids, order="approver_id"):
        votes[vote.request_id].append(vote)
    for each in ids:
        snapshot.put_one(AccessRequest, requests.get(each), id=each)
        snapshot.put_all(Grant, siblings[each], request_id=each)
        snapshot.put_all(AccessVote, votes[each], order="approver_id", request_id=each)
    return snapshot


def check_grant(
    env: Env | Scene, tx: Reader, grant: Grant, request: AccessRequest, principal_ids: Sequence[str], now: int
) -> None:
    """Raises Void unless everything that the approval was based on still holds at `now` (ms).

    `principal_ids`: of the person, as in the request that uses the grant. The versions of role and rule must be those
    that were approved, and no more specific rule may apply; the person must still be a requester of the rule, and the
    approvers must still be eligible.
    """
    # the grant may have been revoked without the database (attack A268)
    revocations = tx.find(Revocation, account=grant.account, subject="grant", value=grant.id)
    if revocations or is_revoked(tx, request, (grant.principal_id,), now):
        raise Void(EndReason.REVOKED, "The grant or its person was revoked.")
    role, rule = _unchanged(env, tx, grant)
    held = held_by(env, tx, principal_ids)
    names = once(tx, ("names", *held), lambda: names_of(tx, held))
    _check_person(env, tx, request, grant, rule, names)
    if is_superseded(tx, role, rule, names):
        raise Void(EndReason.CHANGED, "A more specific approval rule applies to you since the approval.")
    if grant.approvers:
        _check_approvals(env, tx, request, grant, now)
    for each in (grant.extension_id or "").split():
        if (extension := tx.get(AccessRequest, id=each)) is not None:
            if is_revoked(tx, extension, (), now):  # its source identity may be another
                raise Void(EndReason.REVOKED, "The extension of the grant was revoked.")
            _check_approvals(env, tx, extension, grant, now)


def _unchanged(env: Env | Scene, tx: Reader, grant: Grant) -> tuple[Role, CompiledRule]:
    """The role and the rule of a grant. Raises Void when one of them has changed since the approval."""
    role = tx.get(Role, id=grant.role_id)
    if role is None or role.account != grant.account or version_of(tx, role, env.builtin) != grant.role_digest:
        raise Void(EndReason.CHANGED, "The role or its policies have changed since the approval.")
    stored = tx.get(ApprovalRule, account=grant.account, name=grant.rule)
    rule = compiled(stored) if stored is not None else None
    if rule is None or rule.digest != grant.rule_digest:
        raise Void(EndReason.CHANGED, "The approval rule has changed since the approval.")
    return role, rule


def _check_person(
    env: Env | Scene, tx: Reader, request: AccessRequest, grant: Grant, rule: CompiledRule, names: Sequence[str]
) -> None:
    """Whether the person with these names may still request the role."""
    if is_disabled(tx, (grant.principal_id,)):
        raise Void(EndReason.INELIGIBLE, "The person has been disabled.")
    people = rule.break_glass if grant.break_glass and rule.break_glass is not None else rule.requesters
    if not people.include(names, None):
        raise Void(EndReason.INELIGIBLE, "The approval rule no longer allows you to request this role.")
    if not still_permitted(env, tx, request, grant.role_arn, emergency=grant.break_glass):
        raise Void(EndReason.INELIGIBLE, "You are no longer permitted to request this role.")


def still_permitted(
    env: Env | Scene, tx: Reader, request: AccessRequest, role_arn: str, *, emergency: bool = False
) -> bool:
    """Whether the person still has the permission, by the principals of the request that it still is. Who was asked to accept
    needs none.
    """
    if request.requester_id != request.beneficiary_id:
        return True
    ids = held_by(env, tx, principals_in(request))
    key = ("may request", role_arn, emergency, *ids)
    return once(tx, key, lambda: may_request(env, tx, ids, role_arn, emergency=emergency))


def held_by(env: Env | Scene, tx: Reader, principal_ids: Sequence[str]) -> tuple[str, ...]:
    """See `still_held`."""
    return once(tx, ("held", *principal_ids), lambda: still_held(env, tx, principal_ids))


def _check_approvals(env: Env | Scene, tx: Reader, request: AccessRequest, grant: Grant, now: int) -> None:
    """Whether the votes that count now still complete every stage of all rules of the request: a person who approved one
    role does not count for another, too, when its approver is gone (attack A379).
    """
    bound_to = binding_of(request.digest, _versions(tx, grant.request_id))
    counted = count_votes(env, tx, request, bound_to, _governed(env, tx, grant.request_id), now)
    if not counted.tally.complete:
        reasons = sorted({*counted.void.values()} - {CHANGED})
        why = "".join(f" An approval does not count: {each}." for each in reasons)
        raise Void(EndReason.INELIGIBLE, f"An approver is no longer eligible to approve.{why}", counted.void)


def _governed(env: Env | Scene, tx: Reader, request_id: str) -> Governed:
    """The rules of a request's grants, with their roles, without those that have changed since."""
    found: list[tuple[CompiledRule, str]] = []
    for grant in tx.find(Grant, request_id=request_id):
        with suppress(Void):
            role, rule = _unchanged(env, tx, grant)
            found.append((rule, role.arn))
    return found


def approved_binding(tx: Reader, request: AccessRequest) -> str:
    """What the approvals of an approved request were bound to: its terms, and the versions that its grants store."""
    return binding_of(request.digest, _versions(tx, request.id))


def _versions(tx: Reader, request_id: str) -> list[Version]:
    """The versions that the grants of a request store."""
    grants = tx.find(Grant, request_id=request_id)
    return [Version(grant.role_id, grant.role_digest, grant.rule, grant.rule_digest) for grant in grants]
