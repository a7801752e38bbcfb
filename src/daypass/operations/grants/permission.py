"""The permissions on access requests, which name the role: to request and to approve, and whether an approver still may,
read in the transaction that uses the grant.

The one evaluator decides. When a grant is used, conditions on a request cannot be tested again, because there is none: a
permission that depends on them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from daypass.domain.arn import account_of, parse_arn
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.context import resource_context
from daypass.domain.directory import Role, User
from daypass.domain.policy.model import Decision
from daypass.domain.policy.partial_evaluation import Known, Outcome
from daypass.domain.question import decide_partially, hypothetical
from daypass.domain.session import FeedPosition
from daypass.operations.iam import builtin
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer
from daypass.operations.management import InAws, allow, arn_of
from daypass.operations.principals import find_by_arn, find_by_id
from daypass.ports import Call, Env, Reader, Scene

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
    """Whether one of these principals of a person, a user or the role of a session, may request the role (attack A364). A root
    always may.
    """
    actions = (_REQUEST, _EMERGENCY) if emergency else (_REQUEST,)
    return any(
        each.isdigit()
        or (each.startswith(("AIDA", "AROA")) and all(_is_permitted(env, tx, each, a, role_arn) for a in actions))
        for each in principal_ids
    )


def _is_permitted(env: Env | Scene, tx: Reader, principal_id: str, action: str, role_arn: str) -> bool:
    entity = find_by_id(tx, principal_id)
    if entity is None:
        return False
    ctx = ReadContext(tx, _caller(entity), _FACTS, 0, builtin.Catalog(env.builtin), env.saml_metadata)
    gatherer = Gatherer(ctx)
    guardrails = (
        gatherer.guardrail_policies() if action == _APPROVE else ()
    )  # ADR 0017: one against requests ends no access
    role = find_by_arn(tx, Role, role_arn)
    resource = arn_of(account_of(role_arn), "access-request", parse_arn(role_arn).name)
    principal = hypothetical(entity, gatherer.of(entity).policies(guardrails))
    tags = resource_context("", role.tags if role is not None else ())
    question = principal.asks(action, resource, own_side=True, context=tags)
    known = Known(question.known.keys, (*question.known.prefixes, "aws:resourcetag/"))
    return decide_partially(replace(question, known=known)).outcome is not Outcome.DENIED


def _caller(entity: User | Role) -> Caller:
    """The principal as the context of a read: it names the account."""
    kind = PrincipalKind.USER if isinstance(entity, User) else PrincipalKind.ROLE_SESSION
    names = (entity.account, entity.arn, entity.arn, entity.id, entity.id, entity.name)
    return Caller(kind, *names, "", FeedPosition("", 0), ())
