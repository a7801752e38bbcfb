"""May these verified facts assume this role?

Pure: the trust policy is the role's resource policy, and the one evaluator decides. Within one account it decides over
all layers at once. Between accounts each side is decided on its own, the caller's first, and both must allow, so that
every refusal belongs to one account and explains itself with that account's policies alone. The role's tags are for its
own account's policies only: nobody can learn of a foreign role by testing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from daypass.domain.context import merged, resource_context
from daypass.domain.directory import Tags
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.evaluate import decide
from daypass.domain.policy.model import (
    AccessQuery,
    Context,
    Decision,
    Layer,
    Layers,
    NamedPolicy,
    PrincipalFacts,
    Value,
)
from daypass.domain.value import value

ASSUME_ROLE = "sts:AssumeRole"
TAG_SESSION = "sts:TagSession"
SET_SOURCE_IDENTITY = "sts:SetSourceIdentity"


@value
class CallerPolicies:
    """The layers that the caller brings: its identity policies, its boundary, its session's levels, its account's guardrails.

    `identity` is None for callers that have no identity here (federated ones): the trust policy alone decides.
    """

    identity: tuple[NamedPolicy, ...] | None = None
    boundary: tuple[NamedPolicy, ...] | None = None
    session: tuple[tuple[NamedPolicy, ...], ...] = ()
    guardrails: tuple[tuple[NamedPolicy, ...], ...] = ()


@value
class Target:
    """The role that is asked for. `trust` is None when there is no such role."""

    arn: str
    account: str
    trust: NamedPolicy | None = None
    bindings: Mapping[str, str] | None = None
    tags: Tags = ()


class Side(NamedTuple):
    """What one account decides of an admission.

    `statements` apply or not as their conditions hold; `where` is what the context has of the role beside the request.
    """

    layers: Layers
    where: Mapping[str, Value]
    statements: tuple[Statement, ...]


@value
class Admission:
    """The decision, with what is needed to explain it. `owner` is the account whose policies decided.

    `sides`: of an admission all that had to allow, for each action.
    """

    decision: Decision
    query: AccessQuery
    layers: Layers
    owner: str
    sides: tuple[Side, ...] = ()


def actions_for(tags: Tags, source_identity: str, assume: str = ASSUME_ROLE) -> tuple[str, ...]:
    """The permissions that an assumption takes, for the tags and source identity that the session will have."""
    wanted: tuple[str, ...] = (assume,)
    if tags:
        wanted = (*wanted, TAG_SESSION)
    if source_identity:
        wanted = (*wanted, SET_SOURCE_IDENTITY)
    return wanted


def admit(
    principal: PrincipalFacts, policies: CallerPolicies, target: Target, actions: tuple[str, ...], context: Context
) -> Admission:
    """The first refusal, or else the admission for the first of `actions` by the side that owns the role."""
    admitted: Admission | None = None
    sides: tuple[Side, ...] = ()
    for action in actions:
        last: Admission | None = None
        for last in _sides(principal, policies, target, action, context):
            if not last.decision.allowed:
                return last
            sides += last.sides
        admitted = admitted or last
    if admitted is None:
        raise ValueError("an assumption takes at least one permission")
    return replace(admitted, sides=sides)


def _sides(
    principal: PrincipalFacts, policies: CallerPolicies, target: Target, action: str, context: Context
) -> Iterator[Admission]:
    """The decisions that must all allow, in order."""
    ask = partial(_decide, principal, action, target.arn, context)
    whole = resource_context(target.account, target.tags)
    if principal.account == target.account or policies.identity is None:
        layers = _layers(policies, target, same_account=principal.account == target.account)
        yield ask(layers, whole, target.account)
    else:
        yield ask(_layers(policies, None, same_account=True), resource_context(target.account), principal.account)
        trusting = Layers(same_account=False, identity=None, resource=target.trust, bindings=target.bindings)
        yield ask(trusting, whole, target.account)
    if target.trust is None:  # whatever the policies say of it, there is no such role
        query = AccessQuery(principal, action, target.arn, merged(context, resource_context(target.account)))
        yield Admission(
            Decision(False, Layer.RESOURCE), query, Layers(same_account=False, identity=None), target.account
        )


def _layers(policies: CallerPolicies, target: Target | None, *, same_account: bool) -> Layers:
    return Layers(
        same_account=same_account,
        identity=policies.identity,
        resource=target.trust if target else None,
        bindings=target.bindings if target else None,
        boundary=policies.boundary,
        session=policies.session,
        guardrails=policies.guardrails,
    )


def _decide(
    principal: PrincipalFacts,
    action: str,
    resource: str,
    context: Context,
    layers: Layers,
    where: Mapping[str, Value],
    owner: str,
) -> Admission:
    query = AccessQuery(principal, action, resource, merged(context, where))
    decision, statements = decide(query, layers)
    return Admission(decision, query, layers, owner, (Side(layers, where, statements),))
