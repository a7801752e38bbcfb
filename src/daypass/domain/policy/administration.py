"""Which statements grant Daypass's own administrative actions, `daypass:*`.

Policies that were written for AWS are not meant for these actions. Therefore an Allow grants one only by an Action that
is `*` or begins with `daypass:`, together with Resource: never by NotAction, by NotResource or by a wildcard in the
service prefix. For resources of another account, an identity policy must name both `daypass:` in Action and an ARN in
Resource. A Deny denies everything that its elements match. See ADR 0008.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daypass.domain.policy.model import AccessQuery, Effect, Layer
from daypass.domain.policy.pattern import Patterns, fold
from daypass.domain.policy.principal import completed

PREFIX: Final = "daypass:"
_EVERY = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Administration:
    """The administrative actions that an Allow grants.

    `actions`: its Action values that are `*` or begin with `daypass:`; `named`: only the latter. `resources`: its
    Resource values other than `*`.
    """

    actions: Patterns
    named: Patterns
    resources: Patterns


EVERYTHING: Final = Administration(Patterns([_EVERY]), Patterns([_EVERY]), Patterns([_EVERY]))
"""All administrative actions on all resources, in every account."""


def granting(actions: Sequence[str]) -> tuple[str, ...]:
    """The Action values of a statement, folded, that may grant an administrative action."""
    return tuple(text for text in map(fold, actions) if text == _EVERY or text.startswith(PREFIX))


def administration_of(
    effect: Effect, written: Mapping[str, tuple[str, ...]], *, variables: bool
) -> Administration | None:
    """The grant of a statement with these elements; None for no grant. `variables`: whether its version has variables."""
    if effect is Effect.DENY or "Resource" not in written:
        return None
    actions = granting(written.get("Action", ()))
    if not actions:
        return None
    named = [text for text in actions if text != _EVERY]
    resources = [completed(text) for text in written["Resource"] if text != _EVERY] if named else []
    return Administration(Patterns(actions), Patterns(named), Patterns(resources, variables=variables))


def concerns(effect: Effect, granted: Administration | None, layer: Layer, query: AccessQuery) -> bool:
    """Whether a statement whose Action and Resource match an administrative `query` applies to it in this layer.

    `granted`: the administrative actions that the statement grants.
    """
    if effect is Effect.DENY:
        return True
    if granted is None:
        return False
    action = fold(query.action)
    if layer is Layer.IDENTITY and in_other_account(query):
        return granted.named.matches(action, {}) and granted.resources.matches(query.resource, query.context)
    return granted.actions.matches(action, {})


def is_administrative(action: str) -> bool:
    """Whether an action, folded, is one of Daypass's own."""
    return action.startswith(PREFIX)


def in_other_account(query: AccessQuery) -> bool:
    """Whether the resource belongs to an account other than the principal's, or to every account."""
    fields = query.resource.split(":", 5)
    return len(fields) == 6 and fields[4] not in ("", query.principal.account)
