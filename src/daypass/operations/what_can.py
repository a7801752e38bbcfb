"""What a user or role can do: each statement that allows it something, what the rest of its policies leave of that, and
the roles of the account that it can assume.

A statement speaks in patterns, so the evaluator is asked twice, about the most and the least favourable part of what the
pattern stands for; where the two differ the answer is `partly`, and names the policies that make the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from daypass.domain.arn import account_of
from daypass.domain.context import merged, resource_context
from daypass.domain.directory import Role, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.model import AccessQuery, Context, Decision, Effect, Layer, Layers, NamedPolicy, Value
from daypass.domain.policy.overlap import Coverage, coverage, over_pattern, overlap
from daypass.domain.policy.pattern import V2012, fold, resolve, tokenize
from daypass.domain.policy.prospect import Outcome, Prospect, Proviso, Variant, foresee, policies_of, varied
from daypass.domain.policy.resource import completed
from daypass.domain.standing import standing_facts, standing_keys, standing_known
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.authorize import feed_moved
from daypass.operations.iam.holdings import Gatherer, Holdings
from daypass.operations.iam.work import Look
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.simulate import principal_name
from daypass.operations.who_can import BATCH, Access, Question, look_of, prospect_of
from daypass.ports import Call, Env, Reader

MAX_GRANTS = 2_000
"""Most grants of one principal that are shown; its policies' sizes keep nearly all below."""

_MAX_LIMITS = 10
_ANYTHING = ("*",)


class Extent(StrEnum):
    """How much of what a statement allows is left."""

    ALLOWED = "allowed"
    ALLOWED_IF = "allowed_if"
    PARTLY = "partly"
    DENIED = "denied"


_OF_OUTCOME = {Outcome.ALLOWED: Extent.ALLOWED, Outcome.ALLOWED_IF: Extent.ALLOWED_IF}


@dataclass(frozen=True, slots=True)
class Grant:
    """One action, or pattern of actions, of a statement that allows it.

    With `not_action` and `not_resource`, `action` and `resources` are those that are excepted. `limits` are the policies
    by which only a part is left, or nothing.
    """

    action: str
    resources: tuple[str, ...]
    policy: str
    sid: str
    line: int
    extent: Extent
    not_action: bool = False
    not_resource: bool = False
    provisos: tuple[Proviso, ...] = ()
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CanPage:
    """One page: all grants on the first one, then the roles that can be assumed, looked at by name."""

    principal: str
    grants: tuple[Grant, ...]
    more_grants: bool
    roles: tuple[Access, ...]
    following: str


async def what_can(env: Env, call: Call, principal: str, *, after: str = "", limit: int = 100) -> CanPage:
    """daypass:WhatCanAccess. What a user or role (by ARN) of the caller's account can do; looks at `limit` roles a page.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION.
    """
    decision = await allow(env, call, "WhatCanAccess", "access", "*")
    principal_name(principal)
    await feed_moved(env)
    roles: list[Access] = []
    grants: tuple[Grant, ...] = ()
    more, place, looked_at = False, after, 0
    if not after:
        grants, more = await env.directory.read(lambda tx: _all_grants(look_of(env, tx, call), principal))
    while looked_at < limit:
        size = min(BATCH, limit - looked_at)
        found, place = await env.directory.read(partial(_read_roles, env, call, principal, place, size))
        roles += found
        looked_at += size
        if not place:
            break
    detail = {"principal": principal[:2048], "grants": len(grants), "roles": len(roles)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return CanPage(principal, grants, more, tuple(roles), place)


# --- On a store thread -----------------------------------------------------------------------------------------------------


def _entity(look: Look, arn: str) -> User | Role:
    word, name = principal_name(arn)
    kind: type[User | Role] = User if word == "user" else Role
    found = look.tx.get(kind, account=look.account, name=name)
    if found is None or found.arn != arn:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The {word} with name {name} cannot be found.")
    return found


def _read_roles(env: Env, call: Call, arn: str, after: str, size: int, tx: Reader) -> tuple[list[Access], str]:
    """The roles among the next `size` that the principal can assume, and the place of the next ones."""
    look = look_of(env, tx, call)
    gatherer = Gatherer(look)
    entity = _entity(look, arn)
    holdings = gatherer.of(entity)
    guardrails = _policies(gatherer)
    looked_at = tx.find(Role, account=look.account, order="name", after=after, limit=size + 1)
    found = []
    for role in looked_at[:size]:
        question = Question(look.account, ASSUME_ROLE, role.arn, role, guardrails)
        prospect = prospect_of(question, entity, holdings)
        if prospect.outcome is not Outcome.DENIED:
            found.append(Access(role.arn, "role", ASSUME_ROLE, prospect))
    return found, looked_at[size - 1].name if len(looked_at) > size else ""


def _policies(gatherer: Gatherer) -> tuple[tuple[NamedPolicy, ...], ...]:
    return tuple(tuple(source.policy for source in level) for level in gatherer.guardrails())


def _all_grants(look: Look, arn: str) -> tuple[tuple[Grant, ...], bool]:
    gatherer = Gatherer(look)
    entity = _entity(look, arn)
    grants: list[Grant] = []
    for grant in _grants(entity, gatherer.of(entity), _policies(gatherer)):
        if len(grants) == MAX_GRANTS:
            return tuple(grants), True
        grants.append(grant)
    return tuple(grants), False


def _grants(
    entity: User | Role, holdings: Holdings, guardrails: tuple[tuple[NamedPolicy, ...], ...]
) -> Iterator[Grant]:
    layers = Layers(
        same_account=True,
        identity=tuple(source.policy for source in holdings.identity),
        boundary=tuple(source.policy for source in holdings.boundary) if holdings.boundary is not None else None,
        guardrails=guardrails,
    )
    for source in holdings.identity:
        for statement in source.policy.document.statements:
            if statement.effect is Effect.ALLOW:
                for action in statement.written["NotAction" if statement.not_action else "Action"]:
                    yield _grant(entity, layers, source.policy.name, statement, action)


def _grant(entity: User | Role, layers: Layers, policy: str, statement: Statement, action: str) -> Grant:
    asked = "*" if statement.not_action else action  # what is said by exception covers whatever is left of anything
    keys = standing_keys(entity)
    resources = _ANYTHING if statement.not_resource else statement.written["Resource"]
    regions = [_region(entity, layers, keys, asked, resource) for resource in resources]
    extents = {region.extent for region in regions}
    return Grant(
        action=action,
        resources=statement.written["NotResource" if statement.not_resource else "Resource"],
        policy=policy,
        sid=statement.sid,
        line=statement.line,
        extent=extents.pop() if len(extents) == 1 else Extent.PARTLY,
        not_action=statement.not_action,
        not_resource=statement.not_resource,
        provisos=tuple({proviso: None for region in regions for proviso in region.provisos}),
        limits=tuple({limit: None for region in regions for limit in region.limits})[:_MAX_LIMITS],
    )


class _Region(NamedTuple):
    """One pattern of actions on one pattern of resources."""

    extent: Extent
    provisos: tuple[Proviso, ...] = ()
    limits: tuple[str, ...] = ()


def _region(entity: User | Role, layers: Layers, keys: Mapping[str, Value], action: str, pattern: str) -> _Region:
    resource = _resolved(completed(pattern), keys)
    context = merged(keys, resource_context(account_of(resource) or entity.account))
    query = AccessQuery(standing_facts(entity), action, resource, context)
    known = standing_known(entity, ("aws:resourceaccount",))

    def over(*, hopeful: bool) -> Prospect:
        def decide(variant: Variant) -> Decision:
            return evaluate(
                query,
                varied(
                    layers, lambda policy: over_pattern(variant(policy), action, resource, context, hopeful=hopeful)
                ),
            )

        return foresee(known, policies_of(layers), decide)

    every = over(hopeful=False)
    if every.outcome is not Outcome.DENIED:  # even of the least favourable part
        others = tuple(_others(entity.account, action, resource))
        return _Region(Extent.PARTLY if others else _OF_OUTCOME[every.outcome], every.provisos, others)
    some = over(hopeful=True)
    if some.outcome is Outcome.DENIED:
        return _Region(Extent.DENIED, limits=tuple(_denying(layers, some.best)))
    return _Region(Extent.PARTLY, some.provisos, tuple(_partial(layers, action, resource, context)))


def _others(account: str, action: str, resource: str) -> Iterator[str]:
    """Policies that are not the principal's and must allow it too."""
    if fold(action).startswith("sts:") and overlap(fold(action), fold(ASSUME_ROLE)):
        yield f"{Layer.RESOURCE.value} trust"  # the roles that do are listed by themselves
    if account_of(resource) not in ("", account):
        yield f"{Layer.RESOURCE.value} account {account_of(resource)}"


def _resolved(pattern: str, keys: Mapping[str, Value]) -> str:
    """The pattern with its variables replaced, where all of them are known; else as it is."""
    try:
        tokens = resolve(tokenize(pattern, variables=True, wildcards=True), keys)
    except ValueError:
        return pattern
    if tokens is None:
        return pattern
    return "".join(token if isinstance(token, str) else token.value for token in tokens)


def _denying(layers: Layers, decision: Decision) -> Iterator[str]:
    """The policies that deny, or the layer that allows nothing."""
    if decision.explicit:
        yield from (f"{found.layer.value} {found.policy}" for found in decision.determining)
        return
    for layer, policy in policies_of(layers):
        if layer is decision.blocked_by and layer is not Layer.IDENTITY:
            yield f"{layer.value} {policy.name}"


def _partial(layers: Layers, action: str, resource: str, context: Context) -> Iterator[str]:
    """The policies that deny a part, and the boundary and guardrails that allow no more than a part."""
    for layer, policy in policies_of(layers):
        variables = policy.document.version == V2012
        for statement in policy.document.statements:
            covered = coverage(statement, action, resource, context, variables=variables)
            limiting = statement.effect is Effect.DENY or layer is not Layer.IDENTITY
            if covered is Coverage.PART and limiting:
                yield f"{layer.value} {policy.name}"
                break
