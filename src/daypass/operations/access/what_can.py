"""Lists what a user or role can do: every statement that allows something, how much of it the other policies leave, and the
roles of the account that it can assume.

A statement contains patterns. The evaluator therefore decides twice, for the most and the least favourable part of what
the pattern matches. When the results differ the answer is `partly`, and names the policies that cause the difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import account_of
from daypass.domain.directory import Role
from daypass.domain.policy.administration import PREFIX
from daypass.domain.policy.budget import OperationOverBudget, charge, metered
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.cover import Coverage, coverage, over_pattern, overlap, withholds_administration
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import Context, Decision, Effect, Layer
from daypass.domain.policy.partial_evaluation import PartialOutcome, Proviso
from daypass.domain.policy.pattern import V2012, fold, resolve, tokenize
from daypass.domain.policy.principal import completed
from daypass.domain.question import Principal, decide_partially, hypothetical, hypothetical_facts
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import heavy
from daypass.operations.access.snapshot import (
    ResultPage,
    assumption_of,
    by_name,
    context_in,
    in_batches,
    note_on,
    principal_in,
    principal_name,
    target_in,
)
from daypass.operations.access.subject import certainly_not_admitted
from daypass.operations.access.who_can import Access
from daypass.operations.iam.holdings import Gatherer, PolicySource, policies_in
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env, Scene

MAX_GRANTS = 2_000
"""Maximum number of grants shown for one principal; policy size limits keep nearly all principals below it."""

_MAX_LIMITS = 10
_ANYTHING = ("*",)
_ADMINISTRATION = f"administration {PREFIX}*"
_ADMINISTRATION_ELSEWHERE = f"administration {PREFIX}* in other accounts"


class Extent(StrEnum):
    """How much of what a statement allows is left."""

    ALLOWED = "allowed"
    ALLOWED_IF = "allowed_if"
    PARTLY = "partly"
    DENIED = "denied"


_OF_OUTCOME = {PartialOutcome.ALLOWED: Extent.ALLOWED, PartialOutcome.ALLOWED_IF: Extent.ALLOWED_IF}


class AllowedAction(Struct, frozen=True):
    """One action, or action pattern, that a statement allows.

    With `not_action` and `not_resource`, `action` and `resources` are the exceptions. `limits` are the policies that
    leave only a part, or nothing; "administration daypass:*" when the statement does not grant those actions, and
    "administration daypass:* in other accounts" when it grants them in the principal's account only.
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


class CanPage(Struct, frozen=True):
    """One page: all grants on the first one, then the roles that the principal can assume, in order of name. `note`: what
    no policy says.
    """

    principal: str
    grants: tuple[AllowedAction, ...]
    more_grants: bool
    roles: tuple[Access, ...]
    following: str
    note: str = ""


async def what_can(env: Env, call: Call, principal: str, *, after: str = "", limit: int = 100) -> CanPage:
    """daypass:WhatCanAccess. Lists what a user or role (by ARN) of the caller's account can do. A page covers `limit` roles, or
    fewer when the budget of an operation is used up.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION, LIMIT_EXCEEDED (one grant or role takes more than the
    budget).
    """
    decision = await allow(env, call, "WhatCanAccess", "access", "*")
    principal_name(principal)
    await refresh_if_changed(env)
    grants: tuple[AllowedAction, ...] = ()
    more = False
    if not after:
        grants, more = await heavy.read(env, call, grants_of_principal, call, principal)
    page = await in_batches(env, call, _read_roles, (principal,), after, limit)
    own = call.caller.account
    note = await env.directory.read(lambda tx: note_on(tx, principal_in(tx, own, principal)), account=own)
    detail = {"principal": principal[:2048], "grants": len(grants), "roles": len(page.entries)}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return CanPage(principal, grants, more, page.entries, page.following, note)


# --- As heavy work ---------------------------------------------------------------------------------------------------------


def _read_roles(scene: Scene, call: Call, arn: str, after: str, size: int, steps: int) -> ResultPage[Access]:
    """The roles among the next `size` that the principal can assume."""
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx, blocks=True)
    entity = principal_in(ctx.tx, ctx.account, arn)
    holdings = gatherer.of(entity)
    facts, identity = hypothetical_facts(entity), policies_in(holdings.identity)

    def access(role: Role) -> Access | None:
        charge(0)
        if certainly_not_admitted(target_in(role), facts, identity):
            return None
        evaluation = decide_partially(assumption_of(gatherer, role).of(entity, holdings))
        if evaluation.outcome is PartialOutcome.DENIED:
            return None
        return Access(role.arn, "role", ASSUME_ROLE, evaluation)

    return by_name(ctx.tx, Role, ctx.account, after, size, steps, access)


def grants_of_principal(scene: Scene, call: Call, arn: str) -> tuple[tuple[AllowedAction, ...], bool]:
    """Lists what a user or role of the caller's account can do, and whether there is more. It authorizes nothing.

    Raises DaypassError: NOT_FOUND, VALIDATION, LIMIT_EXCEEDED.
    """
    ctx = context_in(scene, call)
    gatherer = Gatherer(ctx, blocks=True)
    holdings = gatherer.of(entity := principal_in(ctx.tx, ctx.account, arn))
    principal = hypothetical(entity, holdings.policies(gatherer.guardrail_policies()))
    grants: list[AllowedAction] = []
    with metered():
        try:
            for grant in _grants(principal, holdings.identity):
                if len(grants) == MAX_GRANTS:
                    return tuple(grants), True
                grants.append(grant)
        except OperationOverBudget:
            if not grants:
                raise
            return tuple(grants), True
    return tuple(grants), False


def _grants(principal: Principal, sources: Sequence[PolicySource]) -> Iterator[AllowedAction]:
    layers = principal.policies.layers(same_account=True)
    limited = layers.boundary is not None or any(
        layer is not Layer.IDENTITY or statement.effect is Effect.DENY
        for layer, policy in layers.policies()
        for statement in policy.document.statements
    )
    denies = tuple(_denies(principal.policies.identity or ()))
    for source in sources:
        for statement in source.policy.document.statements:
            if statement.effect is not Effect.ALLOW:
                continue
            for action in statement.written["NotAction" if statement.not_action else "Action"]:
                alone = principal
                if limited and not statement.conditions and not statement.not_action:
                    alone = _with_one(principal, source.policy, statement, action, denies)
                yield _grant(alone, source.policy.name, statement, action, limited=limited)


def _denies(policies: Iterable[NamedPolicy]) -> Iterator[NamedPolicy]:
    for policy in policies:
        statements = [each for each in policy.document.statements if each.effect is Effect.DENY]
        if statements:
            yield NamedPolicy(policy.name, policy.document.having(statements))


def _with_one(
    principal: Principal, policy: NamedPolicy, statement: Statement, action: str, denies: tuple[NamedPolicy, ...]
) -> Principal:
    """The principal with one action of a statement without conditions as its only permission: other statements cannot allow
    more of it. A policy of AWS has thousands of actions, and each is compared with all permissions of the principal.
    """
    one = dataclasses.replace(statement, written={**statement.written, "Action": (action,)})
    allows = NamedPolicy(policy.name, policy.document.having((one,)))
    return replace(principal, policies=replace(principal.policies, identity=(allows, *denies)))


def _grant(principal: Principal, policy: str, statement: Statement, action: str, *, limited: bool) -> AllowedAction:
    """`limited`: another policy or statement may take something away."""
    pattern = "*" if statement.not_action else action  # a grant by exception covers any remaining part
    resources = _ANYTHING if statement.not_resource else statement.written["Resource"]
    whole = not limited and not statement.conditions and not statement.not_action
    regions = [
        _whole(principal.account, pattern, resource)
        if whole and "$" not in resource
        else _region(principal, pattern, resource)
        for resource in resources
    ]
    extents = {region.extent for region in regions}
    limits = {limit: None for region in regions for limit in region.limits}
    if withholds_administration(statement, pattern):
        extents = {Extent.DENIED if extents == {Extent.DENIED} else Extent.PARTLY}
        limits = {_ADMINISTRATION: None, **limits}
    elif _stops_at_the_account(principal.account, pattern, resources):
        limits = {**limits, _ADMINISTRATION_ELSEWHERE: None}
    return AllowedAction(
        action=action,
        resources=statement.written["NotResource" if statement.not_resource else "Resource"],
        policy=policy,
        sid=statement.sid,
        line=statement.line,
        extent=extents.pop() if len(extents) == 1 else Extent.PARTLY,
        not_action=statement.not_action,
        not_resource=statement.not_resource,
        provisos=tuple({proviso: None for region in regions for proviso in region.provisos}),
        limits=tuple(limits)[:_MAX_LIMITS],
    )


def _stops_at_the_account(account: str, action: str, resources: Sequence[str]) -> bool:
    """Whether a grant includes Daypass's own actions, but not on the resources of other accounts that it matches.

    For those it must name `daypass:` in Action and an ARN in Resource.
    """
    if not overlap(fold(action), f"{PREFIX}*"):
        return False
    beyond = [resource for resource in resources if account_of(resource) != account]
    return bool(beyond) and not (fold(action).startswith(PREFIX) and all(text != "*" for text in beyond))


class _Region(NamedTuple):
    """One action pattern on one resource pattern."""

    extent: Extent
    provisos: tuple[Proviso, ...] = ()
    limits: tuple[str, ...] = ()


def _whole(account: str, action: str, pattern: str) -> _Region:
    """Grants that nothing limits. A policy of AWS has thousands of actions: evaluating each takes seconds."""
    charge(0)
    others = tuple(_others(account, action, completed(pattern)))
    return _Region(Extent.PARTLY if others else Extent.ALLOWED, (), others)


def _region(principal: Principal, action: str, pattern: str) -> _Region:
    resource = _resolved(completed(pattern), principal.keys)
    question = principal.asks(action, resource, own_side=True)
    layers, context = question.layers(), question.query.context
    over = partial(over_pattern, action=action, resource=resource, context=context)
    every = decide_partially(question, partial(over, at_best=False))
    if every.outcome is not PartialOutcome.DENIED:  # including the least favourable part
        others = tuple(_others(principal.account, action, resource))
        return _Region(Extent.PARTLY if others else _OF_OUTCOME[every.outcome], every.provisos, others)
    some = decide_partially(question, partial(over, at_best=True))
    if some.outcome is PartialOutcome.DENIED:
        return _Region(Extent.DENIED, limits=tuple(_denying(layers, some.best)))
    return _Region(Extent.PARTLY, some.provisos, tuple(_partial(layers, action, resource, context)))


def _others(account: str, action: str, resource: str) -> Iterator[str]:
    """Policies of others that must also allow it."""
    if fold(action).startswith("sts:") and overlap(fold(action), fold(ASSUME_ROLE)):
        yield f"{Layer.RESOURCE.value} trust"  # the roles that do are listed separately
    if account_of(resource) not in ("", account):
        yield f"{Layer.RESOURCE.value} account {account_of(resource)}"


def _resolved(pattern: str, keys: Context) -> str:
    """The pattern with its variables replaced when all are known; otherwise unchanged."""
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
    for layer, policy in layers.policies():
        if layer is decision.blocked_by and layer is not Layer.IDENTITY:
            yield f"{layer.value} {policy.name}"


def _partial(layers: Layers, action: str, resource: str, context: Context) -> Iterator[str]:
    """The policies that deny a part, and the boundary and guardrails that allow only a part."""
    for layer, policy in layers.policies():
        variables = policy.document.version == V2012
        for statement in policy.document.statements:
            covered = coverage(statement, action, resource, context, variables=variables)
            limiting = statement.effect is Effect.DENY or layer is not Layer.IDENTITY
            if covered is Coverage.PART and limiting:
                yield f"{layer.value} {policy.name}"
                break
