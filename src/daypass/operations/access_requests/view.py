"""A request as its readers see it: with its votes, its grants, and what it still needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NamedTuple

from msgspec import Struct, structs

from daypass.domain.access.request import UNDECIDED, GrantState, moved, state_of
from daypass.domain.access.rule import (
    Automatic,
    LimitExceeded,
    Rule,
    check_mfa_age,
    check_windows,
    compiled_condition,
    condition_holds,
)
from daypass.domain.access.terms import Count, RoleRef, StageKey, Terms, binding_of, decode, read_ballot
from daypass.domain.directory import AccessRequest, AccessReview, AccessVote, Grant, RequestState
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import MAX_SCOPE_DOWNS
from daypass.operations.grants.persons import names_of, principals_in, why_gone
from daypass.operations.grants.targets import Circumstances, Snapshot, TargetRole, binding, local_time, targets_of
from daypass.operations.grants.use import grants_of
from daypass.operations.grants.void import why_void
from daypass.operations.grants.votes import count_votes, votes_on
from daypass.operations.principals import principal_behind
from daypass.ports import Env, Reader, Tx

_COMPLETE: Final = "Approvals that did not count for a time count again. Any approver decides it by voting again."


class RequestView(Struct, frozen=True):
    """A request in one snapshot."""

    request: AccessRequest
    terms: Terms
    votes: tuple[AccessVote, ...]
    grants: tuple[Grant, ...]
    # The digest that a vote must name: of the exact request, and of the policies and rules of its roles now. "" when
    # the request cannot be granted.
    binding: str = ""
    missing: Mapping[StageKey, int] = {}  # approvals that are missing, by (rule, stage)
    # Why the request is not decided although no approval is missing, or cannot be approved; "" otherwise.
    obstacle: str = ""
    void: Mapping[str, str] = {}  # why approvals of a pending request do not count, by the id of the approver
    refused: Mapping[str, str] = {}  # why grants that have not ended would be refused now, by id. See `grants.void`
    chat: bool = False  # votes may come from a chat
    # The ARNs of the principals whose sessions requested or voted, by principal id, where the session's own ARN does
    # not say it: see `principals.principal_behind`.
    principals: Mapping[str, str] = {}
    reused: bool = False  # a new request was not made, because this earlier one covers it or asks for the same
    hint: str = ""  # what would have approved the request that was just sent; "" otherwise


def current_targets(env: Env, tx: Reader, request: AccessRequest, terms: Terms) -> tuple[TargetRole, ...]:
    """The roles of an undecided request with the rules under which they are requested.

    Conditions on requesters were tested when the request was made, so no other rule may take the place of one whose
    conditions held, and no later version of it (attacks A209, A211).

    Raises DaypassError: NOT_FOUND, ACCESS_DENIED when the request can no longer be granted.
    """
    persons = (request.requester_id, request.beneficiary_id)
    if gone := why_gone(tx, persons, request.persons, request.created_at, env.clock.now()):
        raise _lost(request, f"The person who made the request, or for whom it is, {gone}.")
    names = names_of(tx, principals_in(request))
    targets = targets_of(tx, env.builtin, terms.roles, names, None, terms.rules)
    for target in targets:
        if request.state is RequestState.PENDING and target.rule.digest not in terms.rule_digests:
            raise _lost(
                request, f"The approval rule {target.rule.name} has changed since. Access has to be requested again."
            )
    return targets


def _lost(request: AccessRequest, message: str) -> DaypassError:
    private = {"reason": "no longer eligible", "request": request.id}
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private=private)


def open_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[TargetRole, ...]:
    """The roles of the open grants with their rules, without those that are void already (attack A325)."""
    opened = [grant for grant in grants_of(tx, request.id) if not grant.ended_at]
    return _remaining(tx, builtin, request, [(RoleRef(each.role_arn, each.role_id), each.rule) for each in opened])


def requested_targets(tx: Reader, builtin: Mapping[str, str], request: AccessRequest) -> tuple[TargetRole, ...]:
    """The roles of the request with their rules, without those that can no longer be granted: whose approvers see it, and
    may deny it (attack A375).
    """
    terms = decode(request.document)
    return _remaining(tx, builtin, request, zip(terms.roles, terms.rules, strict=True))


def _remaining(
    tx: Reader, builtin: Mapping[str, str], request: AccessRequest, wanted: Iterable[tuple[RoleRef, str]]
) -> tuple[TargetRole, ...]:
    names, found = names_of(tx, principals_in(request)), list[TargetRole]()
    for ref, rule in wanted:
        with suppress(DaypassError):
            found += targets_of(tx, builtin, [ref], names, None, [rule])
    return tuple(found)


def chat_allowed(request: AccessRequest, targets: Sequence[TargetRole]) -> bool:
    """Whether the rules allow votes on the request from a chat."""
    rules = [target.rule.rule for target in targets]
    return bool(rules) and all(rule.chat is not None and request.risk <= rule.chat.max_risk for rule in rules)


def view_of(env: Env, reader: Reader, request: AccessRequest, count: Count | None = None) -> RequestView:
    """The request as it is now. `count`: of its votes, which this transaction has made."""
    tx = reader if isinstance(reader, Snapshot) else Snapshot(reader)
    terms, votes, now = decode(request.document), tuple(votes_on(tx, request.id)), env.clock.now()
    found = tuple(grants_of(tx, request.id))
    view = RequestView(request, terms, votes, found, principals=_principals(tx, request, terms, votes))
    if request.state not in UNDECIDED:
        opened = [grant for grant in found if state_of(grant, now) is not GrantState.ENDED]
        refused = {grant.id: void.message for grant in opened if (void := why_void(env, tx, grant, now)) is not None}
        return structs.replace(view, refused=refused)
    try:
        targets: Sequence[TargetRole] = current_targets(env, tx, request, terms)
    except DaypassError as error:
        return structs.replace(view, obstacle=str(error))
    count = count or count_votes(env, tx, request, targets, now)
    complete = request.state is RequestState.PENDING and count.tally.complete
    return structs.replace(
        view,
        binding=binding(request.digest, targets),
        missing=count.tally.missing,
        obstacle=_COMPLETE if complete else "",
        void=count.void,
        chat=chat_allowed(request, targets),
    )


def _principals(tx: Reader, request: AccessRequest, terms: Terms, votes: Sequence[AccessVote]) -> Mapping[str, str]:
    shown = {request.requester_id: terms.requester, **{vote.approver_id: vote.approver_arn for vote in votes}}
    found = {each: principal_behind(tx, each, arn) for each, arn in shown.items()}
    return {each: arn for each, arn in found.items() if arn}


def request_detail(view: RequestView) -> dict[str, Any]:
    """Details of the event about a request."""
    request, terms = view.request, view.terms
    detail: dict[str, Any] = {
        "request": request.id,
        "state": request.state.value,
        "digest": request.digest,
        "requester": terms.requester,
        "roles": [ref.arn for ref in terms.roles],
        "reason": terms.reason,
        "seconds": terms.seconds,
        "risk": request.risk,
        "risk_reasons": json.loads(request.risk_reasons),
    }
    optional = {
        "beneficiary": terms.beneficiary if terms.beneficiary != terms.requester else "",
        "ticket": terms.ticket,
        "policy": terms.policy,
        "starts_at": terms.starts_at,
        "max_uses": terms.max_uses,
        "extends": terms.extends,
        "chat_binding": view.binding if view.chat and request.state is RequestState.PENDING else "",
        "grants": [grant.id for grant in view.grants],
    }
    return {**detail, **{name: value for name, value in optional.items() if value}}


# --- Decide


class Approval(NamedTuple):
    """Why a request is granted."""

    # votes: the approvals that count; () for an automatic approval. counted: which of them fill the places of stages.
    votes: Sequence[AccessVote] = ()
    counted: Sequence[tuple[StageKey, AccessVote]] = ()
    seconds: int = 0  # at most so long; 0: as requested
    on_call: frozenset[str] = frozenset()  # ARNs of the roles for which the requester was on call


def grant_request(
    env: Env,
    tx: Tx,
    request: AccessRequest,
    terms: Terms,
    targets: Sequence[TargetRole],
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
            digest=binding_of(request.digest, (target.version,)),
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


def _end_of_extended(tx: Reader, terms: Terms) -> int:
    """When (ms) the access that is to last longer ends, if its clock runs; 0: it does not."""
    earlier = grants_of(tx, terms.extends) if terms.extends else ()
    return max((grant.ends_at for grant in earlier if not grant.ended_at), default=0)


def _approvers(target: TargetRole, approval: Approval) -> tuple[str, ...]:
    """Who approved under this rule: those who approved another role of the request did not (attacks A285, A379)."""
    return tuple(sorted(vote.approver_id for (rule, _), vote in approval.counted if rule == target.rule.name))


def narrowed(terms: Terms, votes: Sequence[AccessVote]) -> tuple[int, tuple[str, ...]]:
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
    terms: Terms, targets: Sequence[TargetRole], asked: Circumstances, mfa_at: int, now: int
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


def needs_mfa(terms: Terms, targets: Sequence[TargetRole], asked: Circumstances, mfa_at: int, now: int) -> bool:
    """Whether nothing but MFA of this moment is missing for an approval without a person."""
    with_mfa = automatic_approval(terms, targets, asked, now, now)
    return with_mfa is not None and automatic_approval(terms, targets, asked, mfa_at, now) is None


def _applicable(rule: Rule, asked: Circumstances, mfa_at: int, now: int) -> Automatic | None:
    context = asked.under(rule)
    for automatic in rule.automatic:
        try:
            check_mfa_age(mfa_at, automatic.mfa_seconds, now)
            check_windows(automatic.windows, local_time(now))
        except LimitExceeded:
            continue
        if condition_holds(compiled_condition(automatic.condition), context):
            return automatic
    return None
