"""Makes the grants of an approved request, in the transaction of the decision; and approves without a person: an emergency,
or an automatic rule of every role whose conditions hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daypass.domain.access import limits
from daypass.domain.access import terms as t
from daypass.domain.access.quorum import StageKey, read_ballot
from daypass.domain.access.request import moved
from daypass.domain.access.rule import Automatic, Rule, compiled_condition, condition_holds
from daypass.domain.directory import AccessRequest, AccessReview, AccessVote, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_SCOPE_DOWNS
from daypass.operations.grants.end import grants_of
from daypass.operations.grants.targets import Circumstances, RequestedRole
from daypass.ports import Env, Reader, Tx


class Approval(NamedTuple):
    """Why a request is granted.

    Attributes:
        votes: the approvals that count; () for an automatic approval. counted: which of them fill the places of stages.
        seconds: at most so long; 0: as requested.
        on_call: ARNs of the roles for which the requester was on call.
    """

    votes: Sequence[AccessVote] = ()
    counted: Sequence[tuple[StageKey, AccessVote]] = ()
    seconds: int = 0
    on_call: frozenset[str] = frozenset()


def grant_request(
    env: Env,
    tx: Tx,
    request: AccessRequest,
    terms: t.Terms,
    targets: Sequence[RequestedRole],
    approval: Approval,
    now: int,
) -> tuple[AccessRequest, list[Grant]]:
    """The approved request with its grants, both written. Each grant stores the decision: see `void`.

    Raises DaypassError(VALIDATION) when the approvers narrowed the request by too many policies.
    """
    request = moved(request, RequestState.APPROVED, now)
    seconds, policies = narrowed(terms, approval.votes)
    later = _end_of_extended(tx, terms) if approval.votes else 0  # automatic rules describe now (attack A212)
    start = max(now, terms.starts_at, later)
    made = [
        Grant(
            id=env.ids.session(),
            account=request.account,
            request_id=request.id,
            principal_id=request.beneficiary_id,
            role_id=target.role.id,
            role_arn=target.role.arn,
            policies=policies,
            seconds=min(seconds, approval.seconds) if approval.seconds else seconds,
            starts_at=start,
            claim_by=start + target.rule.rule.claim_seconds * 1000,
            created_at=now,
            rule=target.rule.name,
            digest=t.binding_of(request.digest, (target.version,)),
            approvers=_approvers(target, approval),
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
    request = replace(request, deadline=max(grant.claim_by for grant in made))
    tx.replace(request)
    return request, made


def _end_of_extended(tx: Reader, terms: t.Terms) -> int:
    """When (ms) the access that is to last longer ends, if its clock runs; 0: it does not."""
    earlier = grants_of(tx, terms.extends) if terms.extends else ()
    return max((grant.ends_at for grant in earlier if not grant.ended_at), default=0)


def _approvers(target: RequestedRole, approval: Approval) -> tuple[str, ...]:
    """Who approved under this rule: those who approved another role of the request did not (attacks A285, A379)."""
    return tuple(sorted(vote.approver_id for (rule, _), vote in approval.counted if rule == target.rule.name))


def narrowed(terms: t.Terms, votes: Sequence[AccessVote]) -> tuple[int, tuple[str, ...]]:
    """The shortest duration that the approvers gave, and all scope-down policies. Raises DaypassError(VALIDATION) for too
    many policies.
    """
    ballots = [read_ballot(vote.document) for vote in votes]
    seconds = min([terms.seconds, *(ballot.seconds for ballot in ballots if ballot.seconds)])
    policies = tuple(dict.fromkeys(filter(None, (terms.policy, *(ballot.policy for ballot in ballots)))))
    if len(policies) > MAX_SCOPE_DOWNS:
        raise DaypassError(ErrorKind.VALIDATION, f"A grant has at most {MAX_SCOPE_DOWNS} scope-down policies.")
    return seconds, policies


# --- Without a person --------------------------------------------------------------------------------------------------


def automatic_approval(
    terms: t.Terms, targets: Sequence[RequestedRole], asked: Circumstances, mfa_at: int, now: int
) -> Approval | None:
    """The approval without a person, if the request is an emergency or an automatic rule of every role applies.

    Its conditions describe now, so persons decide on access that starts later (attack A212).
    """
    on_call = frozenset(target.role.arn for target in targets if target.rule.rule.on_call in asked.on_call)
    if terms.break_glass:
        return Approval(on_call=on_call)
    if terms.starts_at > now:
        return None
    found = [_applicable(target.rule.rule, asked, mfa_at, now) for target in targets]
    if not all(found):
        return None
    seconds = [each.seconds for each in found if each is not None and each.seconds]
    return Approval(seconds=min(seconds, default=0), on_call=on_call)


def needs_mfa(terms: t.Terms, targets: Sequence[RequestedRole], asked: Circumstances, mfa_at: int, now: int) -> bool:
    """Whether nothing but MFA of this moment is missing for an approval without a person."""
    with_mfa = automatic_approval(terms, targets, asked, now, now)
    return with_mfa is not None and automatic_approval(terms, targets, asked, mfa_at, now) is None


def _applicable(rule: Rule, asked: Circumstances, mfa_at: int, now: int) -> Automatic | None:
    context = asked.under(rule)
    for automatic in rule.automatic:
        try:
            limits.check_mfa(mfa_at, automatic.mfa_seconds, now)
            limits.check_windows(automatic.windows, local_time(now))
        except limits.LimitExceeded:
            continue
        if condition_holds(compiled_condition(automatic.condition), context):
            return automatic
    return None


def local_time(now: int) -> limits.LocalTime:
    """`now` (ms) in a time zone by its name."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)

    def local(zone: str) -> datetime:
        try:
            return at.astimezone(ZoneInfo(zone))
        except (ZoneInfoNotFoundError, OSError):
            raise ValueError(zone) from None

    return local
