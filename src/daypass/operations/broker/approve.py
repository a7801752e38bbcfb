"""Makes the grants of an approved request, in the transaction of the decision."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from daypass.domain.access import grant as grants
from daypass.domain.access.grant import GrantUnusable
from daypass.domain.access.quorum import tally
from daypass.domain.access.request import EndReason, moved
from daypass.domain.access.rule import CompiledRule
from daypass.domain.access.terms import Terms, Version
from daypass.domain.directory import AccessRequest, AccessReview, AccessVote, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_SCOPE_DOWNS
from daypass.operations.grants.close import grants_of
from daypass.operations.grants.eligible import read_ballot, thresholds
from daypass.operations.grants.facts import Target
from daypass.ports import Env, Tx


class Approval(NamedTuple):
    """Why a request is granted.

    Attributes:
        votes: the approvals that count; () for an automatic approval.
        seconds: at most so long; 0: as requested.
        on_call: ARNs of the roles for which the requester was on call.
    """

    votes: Sequence[AccessVote] = ()
    seconds: int = 0
    on_call: frozenset[str] = frozenset()


def grant_request(
    env: Env, tx: Tx, request: AccessRequest, terms: Terms, targets: Sequence[Target], approval: Approval, now: int
) -> tuple[AccessRequest, list[Grant]]:
    """The approved request with its grants, both written. `request` is approved already, or pending.

    Raises DaypassError(VALIDATION) when the approvers narrowed the request by too many policies.
    """
    if request.state is RequestState.PENDING:
        request = moved(request, RequestState.APPROVED, now)
    seconds, policies = narrowed(terms, approval.votes)
    seconds = min(seconds, approval.seconds) if approval.seconds else seconds
    if terms.extends:
        return _extend(tx, request, terms.extends, targets, approval, (seconds, policies), now)
    start = max(now, terms.starts_at)
    made = [
        Grant(
            id=env.ids.session(),
            account=request.account,
            request_id=request.id,
            principal_id=request.beneficiary_id,
            role_id=target.role.id,
            role_arn=target.role.arn,
            policies=policies,
            seconds=seconds,
            starts_at=start,
            claim_by=start + target.rule.rule.claim_seconds * 1000,
            created_at=now,
            role_digest=target.version.role_digest,
            rule=target.version.rule,
            rule_digest=target.version.rule_digest,
            approvers=approvers_of(target.rule, approval),
            ticket=terms.ticket,
            risk=request.risk,
            on_call=target.role.arn in approval.on_call,
            break_glass=terms.break_glass,
            max_uses=terms.max_uses,
        )
        for target in targets
    ]
    for grant in made:
        tx.insert(grant)
    if terms.break_glass:
        tx.insert(AccessReview(request.id, request.account, now, request.persons))
    return replace(request, deadline=max(grant.claim_by for grant in made)), made


def approvers_of(rule: CompiledRule, approval: Approval) -> int:
    """The persons who approved under this rule: those who approved another role of the request are none (attack A285)."""
    return tally(thresholds([rule]), approval.votes).approvers


def narrowed(terms: Terms, votes: Sequence[AccessVote]) -> tuple[int, tuple[str, ...]]:
    """The shortest duration that the approvers gave, and all scope-down policies."""
    ballots = [read_ballot(vote.document) for vote in votes]
    seconds = min([terms.seconds, *(ballot.seconds for ballot in ballots if ballot.seconds)])
    return seconds, _together(tuple(filter(None, (terms.policy, *(ballot.policy for ballot in ballots)))))


def _extend(  # the facts of one extension
    tx: Tx,
    request: AccessRequest,
    earlier: str,
    targets: Sequence[Target],
    approval: Approval,
    approved: tuple[int, tuple[str, ...]],
    now: int,
) -> tuple[AccessRequest, list[Grant]]:
    """Extends the open grants of the `earlier` request, which ends the request for the extension.

    `approved`: seconds, and scope-down policies, which limit every further session of the grants (attack A206). What the
    grants say about their approval is true of both approvals (attack A213).
    """
    seconds, policies = approved
    rules = {target.version: target.rule for target in targets}
    changed: list[Grant] = []
    for grant in grants_of(tx, earlier):
        version = Version(grant.role_id, grant.role_digest, grant.rule, grant.rule_digest)
        if version not in rules:
            message = "The role or its approval rule has changed since the access was approved. Request access again."
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, message)
        if grant.ended_at:
            continue
        try:
            longer = grants.extended(grant, seconds, now)
        except GrantUnusable as error:
            raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, str(error)) from None
        most = total_seconds(rules[version])
        whole = longer.ends_at - longer.claimed_at if longer.claimed_at else longer.seconds * 1000
        if whole > most * 1000:
            raise DaypassError(ErrorKind.VALIDATION, f"With all extensions, a grant has at most {most} seconds.")
        longer = replace(
            longer,
            policies=_together(grant.policies, policies),
            approvers=min(grant.approvers, approvers_of(rules[version], approval)),
            risk=max(grant.risk, request.risk),
            on_call=grant.on_call and grant.role_arn in approval.on_call,
            extension_id=" ".join(filter(None, (grant.extension_id, request.id if approval.votes else ""))) or None,
        )
        tx.replace(longer)
        changed.append(longer)
    if not changed:
        raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "The access to be extended has ended.")
    return moved(request, RequestState.ENDED, now, EndReason.DONE.value), changed


def _together(*policies: Sequence[str]) -> tuple[str, ...]:
    """All these scope-down policies. Raises DaypassError(VALIDATION) for too many."""
    found = tuple(dict.fromkeys(itertools.chain(*policies)))
    if len(found) > MAX_SCOPE_DOWNS:
        raise DaypassError(ErrorKind.VALIDATION, f"A grant has at most {MAX_SCOPE_DOWNS} scope-down policies.")
    return found


def total_seconds(rule: CompiledRule) -> int:
    """The longest grant with all extensions: twice the longest grant, unless the rule says otherwise."""
    return rule.rule.max_total_seconds or 2 * rule.rule.max_seconds
