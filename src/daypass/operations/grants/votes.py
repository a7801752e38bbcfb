"""Who may vote on a request, and whether a vote still counts: when the request is decided, and when its grant is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from msgspec import Struct, structs

from daypass.domain.access.rule import CompiledRule, LimitExceeded, People, Stage, check_mfa_age
from daypass.domain.access.terms import Count, StageKey, count, waiting_since
from daypass.domain.arn import account_of, parse_arn
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.context import resource_context
from daypass.domain.directory import AccessRequest, AccessVote, Role, User
from daypass.domain.policy.model import Context, Decision
from daypass.domain.policy.partial_evaluation import Known, PartialOutcome
from daypass.domain.question import Principal, decide_partially, hypothetical
from daypass.domain.session import FeedPosition
from daypass.operations.grants.persons import names_of, persons_of, why_gone, with_links
from daypass.operations.grants.targets import TargetRole, binding, once
from daypass.operations.iam import builtin
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer
from daypass.operations.management import InAws, allow, arn_of
from daypass.operations.principals import find_by_arn, find_by_id
from daypass.ports import Call, Env, Reader, Scene

_MANY: Final = 1_000
_NO_APPROVERS: Final = Stage(People(()), "no approvers")
Governed: TypeAlias = Sequence[tuple[CompiledRule, str]]
"""Rules, each with the ARN of the role that is requested under it."""


def thresholds(rules: Iterable[CompiledRule]) -> dict[StageKey, int]:
    """The stages of all rules, with the number of approvals that each takes. Nobody has a vote in that of a rule without
    stages, so votes under other rules do not grant its role (attack A211).
    """
    return {
        (rule.name, stage.name): stage.threshold for rule in rules for stage in rule.rule.stages or (_NO_APPROVERS,)
    }


class StageMatch(Struct, frozen=True):
    """The stages in which a person may vote, and why further stages are closed to the person now (`unmet`)."""

    stages: tuple[StageKey, ...]
    unmet: str = ""


def stages_for(
    request: AccessRequest,
    rules: Iterable[CompiledRule],
    names: Sequence[str],
    at: int,
    *,
    context: Context | None = None,
    mfa_at: int = 0,
    stepped_up: bool = False,
) -> StageMatch:
    """The stages in which a person with these names may vote on a request at a time (ms).

    `context` None: neither conditions nor MFA are tested. `stepped_up`: the vote itself was confirmed with MFA.
    """
    found: list[StageKey] = []
    unmet = ""
    for rule in rules:
        escalation = rule.escalation if _is_escalated(request, rule, at) else None
        for stage, people in zip(rule.rule.stages, rule.stages, strict=True):
            escalated = escalation is not None and escalation.include(names, context)
            if not (escalated or people.include(names, context)):
                continue
            try:
                if context is not None:
                    check_mfa_age(mfa_at, stage.mfa_seconds, at)
            except LimitExceeded as error:
                unmet = str(error)
                continue
            if context is not None and stage.step_up and not stepped_up:
                unmet = "This stage takes MFA for the vote itself: confirm it with a passkey or a code."
                continue
            found.append((rule.name, stage.name))
    return StageMatch(tuple(dict.fromkeys(found)), unmet)


def _is_escalated(request: AccessRequest, rule: CompiledRule, at: int) -> bool:
    """Whether the rule's own time has passed: a request for several roles is escalated as soon as that of one has (A211)."""
    escalation = rule.rule.escalation
    if escalation is None or not request.escalated_at:
        return False
    return at >= waiting_since(request) + escalation.after_seconds * 1000


def votes_on(tx: Reader, request_id: str) -> list[AccessVote]:
    return tx.find(AccessVote, request_id=request_id, order="approver_id", limit=_MANY)


def count_votes(env: Env | Scene, tx: Reader, request: AccessRequest, targets: Sequence[TargetRole], now: int) -> Count:
    """The votes on a pending request as they count now (ms)."""
    roles = [(target.rule, target.role.arn) for target in targets]
    votes = [
        replace(vote, persons=with_links(tx, vote.persons, vote.principal_ids)) for vote in votes_on(tx, request.id)
    ]
    return count(
        votes,
        thresholds(rule for rule, _ in roles),
        binding(request.digest, targets),
        persons_of(tx, request),
        now,
        lambda vote: why_lost(env, tx, request, vote, roles, now),
    )


def why_lost(env: Env | Scene, tx: Reader, request: AccessRequest, vote: AccessVote, roles: Governed, now: int) -> str:
    """Why the approver of a vote does not count any more at `now` (ms); "": the approver does."""
    if gone := why_gone(tx, vote.principal_ids, vote.persons, vote.at, now):
        return f"the approver {gone}"
    rules, names = [rule for rule, _ in roles], names_of(tx, vote.principal_ids)
    named = {*stages_for(request, rules, names, vote.at).stages} & {(rule, stage) for rule, stage in vote.stages}
    if not named:
        return "the rule no longer names the approver"
    governed = {rule for rule, _ in named}
    for rule, arn in roles:
        key = ("may approve", arn, *vote.principal_ids)
        if rule.name in governed and not once(
            tx,
            key,
            lambda arn=arn: may_approve(env, tx, vote.principal_ids, arn),  # type: ignore[misc]  # the default binds the role of this turn
        ):
            return "the approver is no longer permitted to approve"
    return ""


# --- Permissions on access requests, which name the role: to request and to approve


_APPROVE: Final = "daypass:ApproveAccessRequest"
_REQUEST: Final = "daypass:CreateAccessRequest"
_EMERGENCY: Final = "daypass:BreakGlass"
_FACTS: Final = RequestFacts("", 0, _APPROVE, "", "")


async def allow_on_roles(
    env: Env, call: Call, actions: Sequence[str], role_arns: Sequence[str], account: str
) -> Decision:
    """Authorizes `daypass:ACTION` on `access-request/ROLE` for each role of `account`, with its tags, and returns the last
    decision. Raises DaypassError(ACCESS_DENIED).
    """
    roles = await env.directory.read(
        lambda tx: [(arn, find_by_arn(tx, Role, arn)) for arn in role_arns], account=call.caller.account
    )
    decisions = [
        await allow(
            env,
            call,
            action,
            "access-request",
            parse_arn(arn).name,
            account,
            in_aws=InAws(tags=role.tags if role is not None else ()),
        )
        for arn, role in roles
        for action in actions
    ]
    return decisions[-1]


def may_approve(env: Env | Scene, tx: Reader, principal_ids: Sequence[str], role_arn: str) -> bool:
    """Whether the principal that voted, at the end of its chain, may approve requests for the role. A root always may."""
    last = principal_ids[-1]
    return not last.startswith(("AIDA", "AROA")) or _is_permitted(env, tx, last, _APPROVE, role_arn)


def may_request(
    env: Env | Scene, tx: Reader, principal_ids: Sequence[str], role_arn: str, *, emergency: bool = False
) -> bool:
    """`requester` for one role."""
    return requester(env, tx, principal_ids, emergency=emergency)(role_arn)


def requester(
    env: Env | Scene, tx: Reader, principal_ids: Sequence[str], *, emergency: bool = False
) -> Callable[[str], bool]:
    """Whether one of these principals of a person, a user or the role of a session, may request a role, by its ARN (attack
    A364). A root always may.
    """
    if any(each.isdigit() for each in principal_ids):
        return lambda _: True
    actions = (_REQUEST, _EMERGENCY) if emergency else (_REQUEST,)
    found = [_principal(env, tx, each, _REQUEST) for each in principal_ids if each.startswith(("AIDA", "AROA"))]
    principals = [each for each in found if each is not None]
    return lambda arn: any(all(_permits(tx, each, action, arn) for action in actions) for each in principals)


def _is_permitted(env: Env | Scene, tx: Reader, principal_id: str, action: str, role_arn: str) -> bool:
    principal = _principal(env, tx, principal_id, action)
    return principal is not None and _permits(tx, principal, action, role_arn)


def _principal(env: Env | Scene, tx: Reader, principal_id: str, action: str) -> Principal | None:
    entity = find_by_id(tx, principal_id)
    if entity is None:
        return None
    ctx = ReadContext(tx, _caller(entity), _FACTS, 0, builtin.Catalog(env.builtin), env.saml_metadata)
    gatherer = Gatherer(ctx)
    guardrails = (
        gatherer.guardrail_policies() if action == _APPROVE else ()
    )  # ADR 0017: one against requests ends no access
    return hypothetical(entity, gatherer.of(entity).policies(guardrails))


def _permits(tx: Reader, principal: Principal, action: str, role_arn: str) -> bool:
    role = find_by_arn(tx, Role, role_arn)
    resource = arn_of(account_of(role_arn), "access-request", parse_arn(role_arn).name)
    tags = resource_context("", role.tags if role is not None else ())
    question = principal.asks(action, resource, own_side=True, context=tags)
    known = Known(question.known.keys, (*question.known.prefixes, "aws:resourcetag/"))
    return decide_partially(structs.replace(question, known=known)).outcome is not PartialOutcome.DENIED


def _caller(entity: User | Role) -> Caller:
    """The principal as the context of a read: it names the account."""
    kind = PrincipalKind.USER if isinstance(entity, User) else PrincipalKind.ROLE_SESSION
    names = (entity.account, entity.arn, entity.arn, entity.id, entity.id, entity.name)
    return Caller(kind, *names, "", FeedPosition("", 0), ())
