"""Whether a grant is void: the one function that says so, for its uses, the sweep and readers.

The approval is recorded with the grant: a digest of the request, the role and the rule, and the votes that counted.
The digest is compared at each use. Whether the persons are still permitted is asked once, when the grant is first used.
Who is blocked later loses the sessions by the block itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from daypass.domain.access.request import EndReason, end_due
from daypass.domain.access.rule import CompiledRule
from daypass.domain.access.terms import Version, binding_of, digest
from daypass.domain.directory import AccessRequest, AccessVote, ApprovalRule, Grant, Revocation, Role
from daypass.operations.grants.persons import names_of, principals_in, why_gone
from daypass.operations.grants.targets import compiled, is_superseded, version_of
from daypass.operations.grants.votes import may_request, why_lost
from daypass.ports import Env, Reader, Scene


class Void(NamedTuple):
    """A grant is void. `message`: for the person. `reason`: why it ends; None: it may work for other credentials."""

    reason: EndReason | None
    message: str


def why_void(env: Env | Scene, tx: Reader, grant: Grant, now: int, principal_ids: Sequence[str] = ()) -> Void | None:
    """Why the grant gives no session at `now` (ms); None: it does, or will when it starts.

    `principal_ids`: of the chain that uses it; (): that of the request.
    """
    if grant.ended_at:
        return Void(None, f"The grant has ended ({grant.end_reason}).")
    if (due := end_due(grant, now)) is not None:
        return Void(due, f"The grant has ended ({due.value}).")
    # A failover may lose the end of a grant, and an outage delays it, but no revocation (attacks A268, A342).
    if tx.find(Revocation, account=grant.account, subject="grant", value=grant.id):
        return Void(EndReason.REVOKED, "The grant was revoked.")
    # A restored database may lack the end of a grant. Restoring revokes the sessions of each account (attack A324).
    of_account = tx.find(Revocation, account=grant.account, subject="account", value=grant.account)
    if any(revocation.issued_before > grant.created_at for revocation in of_account):
        return Void(EndReason.REVOKED, "All sessions of the account were revoked.")
    request = tx.get(AccessRequest, id=grant.request_id)
    role, rule = tx.get(Role, id=grant.role_id), _rule_of(tx, grant)
    if request is None or role is None or rule is None or _digest(env, tx, request, role, rule) != grant.digest:
        why = "The request, the role, its policies or the approval rule have changed since the approval."
        return Void(EndReason.CHANGED, why)
    if grant.claimed_at:
        return None
    ids = tuple(principal_ids) or principals_in(request)
    return _why_person(env, tx, grant, request, role, rule, ids, now) or _why_approvers(
        env, tx, grant, request, rule, now
    )


def _rule_of(tx: Reader, grant: Grant) -> CompiledRule | None:
    stored = tx.get(ApprovalRule, account=grant.account, name=grant.rule)
    return compiled(stored) if stored is not None else None


def _digest(env: Env | Scene, tx: Reader, request: AccessRequest, role: Role, rule: CompiledRule) -> str:
    version = Version(role.id, version_of(tx, role, env.builtin), rule.name, rule.digest)
    return binding_of(digest(request.document), (version,))


def _why_person(  # the facts of one use
    env: Env | Scene,
    tx: Reader,
    grant: Grant,
    request: AccessRequest,
    role: Role,
    rule: CompiledRule,
    ids: Sequence[str],
    now: int,
) -> Void | None:
    """Whether the persons of the request are still there, and the one who uses the grant may still request the role."""
    persons = (request.requester_id, request.beneficiary_id)
    if gone := why_gone(tx, persons, request.persons, request.created_at, now):
        return Void(EndReason.INELIGIBLE, f"The person who made the request, or for whom it is, {gone}.")
    names = names_of(tx, ids)
    people = rule.break_glass if grant.break_glass and rule.break_glass is not None else rule.requesters
    if not people.include(names, None) or is_superseded(tx, role, rule, names):
        return Void(None, "The approval rule no longer allows you to request this role.")
    asked = request.requester_id == request.beneficiary_id  # who was asked to accept needs no permission
    if asked and not may_request(env, tx, ids, role.arn, emergency=grant.break_glass):
        return Void(None, "You are no longer permitted to request this role.")
    return None


def _why_approvers(
    env: Env | Scene, tx: Reader, grant: Grant, request: AccessRequest, rule: CompiledRule, now: int
) -> Void | None:
    """Whether each approver whose vote counted is still there and permitted."""
    for approver in grant.approvers:
        vote = tx.get(AccessVote, request_id=grant.request_id, approver_id=approver)
        why = (
            why_lost(env, tx, request, vote, [(rule, grant.role_arn)], now) if vote is not None else "it is not stored"
        )
        if why:
            return Void(EndReason.INELIGIBLE, f"An approval does not count any more: {why}.")
    return None
