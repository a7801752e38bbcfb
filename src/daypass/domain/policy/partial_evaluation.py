"""The result of policies for a request that is only partly known: allowed, allowed if, or denied.

The evaluator decides twice: over the policies at their worst (a statement whose conditions are not known to hold does
not allow, but denies) and at their best. A request that is allowed at worst is allowed. A request that is not allowed
at best is denied. Otherwise the result depends on conditions, which this module reports. It makes no decisions itself
and never treats a guess as a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache, partial
from typing import Any, TypeAlias

from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.explanation import cut, some
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import Decision, Determining, Effect, Layer
from daypass.domain.policy.pattern import Patterns

MAX_PROVISOS = 10
"""Maximum number of statements shown on which an outcome depends."""

_ONE_LEVEL = (Layer.IDENTITY, Layer.BOUNDARY)


class PartialOutcome(StrEnum):
    """The result for a request of which only a part is known."""

    ALLOWED = "allowed"
    ALLOWED_IF = "allowed_if"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Known:
    """The context keys, folded, whose value or absence is certain. `prefixes` are whole families of keys."""

    keys: frozenset[str]
    prefixes: tuple[str, ...] = ()

    def __contains__(self, key: str) -> bool:
        return key in self.keys or key.startswith(self.prefixes)


@dataclass(frozen=True, slots=True)
class Proviso:
    """A statement that an outcome depends on: an Allow whose conditions must hold, or a Deny whose must not."""

    layer: Layer
    policy: str
    sid: str
    effect: Effect
    line: int
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]  # (operator, key, values)

    def to_json(self) -> dict[str, Any]:
        """Plain values, bounded in size."""
        return {
            "layer": self.layer.value,
            "policy": cut(self.policy),
            "sid": cut(self.sid),
            "effect": self.effect.value,
            "line": self.line,
            "conditions": [
                {"operator": cut(operator), "key": cut(key), "values": list(some(values))}
                for operator, key, values in self.conditions
            ],
        }


@dataclass(frozen=True, slots=True)
class PartialEvaluation:
    """`best` is the decision in the best circumstances. `provisos` are set only for ALLOWED_IF."""

    outcome: PartialOutcome
    best: Decision
    provisos: tuple[Proviso, ...] = ()


Variant: TypeAlias = Callable[[NamedPolicy], NamedPolicy]
"""Changes a policy into its best or worst case."""


def evaluate_partially(
    known: Known, policies: Iterable[tuple[Layer, NamedPolicy]], decide: Callable[[Variant], Decision]
) -> PartialEvaluation:
    """The partial evaluation of the decision that `decide` makes over the variants of policies. `policies` are all those it may use.

    `decide` must pass every policy to the evaluator through the variant that it receives. Policy names must be unique
    within a layer.
    """
    worst = decide(lambda policy: _variant_of(policy, known, at_best=False))
    if worst.allowed:
        return PartialEvaluation(PartialOutcome.ALLOWED, worst)
    best = decide(lambda policy: _variant_of(policy, known, at_best=True))
    if not best.allowed:
        return PartialEvaluation(PartialOutcome.DENIED, best)
    statements = {(layer, policy.name, s.index): s for layer, policy in policies for s in policy.document.statements}
    return PartialEvaluation(
        PartialOutcome.ALLOWED_IF, best, tuple(_provisos(known, statements, best, worst))[:MAX_PROVISOS]
    )


def extremes(layers: Layers, known: Known) -> tuple[Layers, Layers]:
    """The layers at their worst and at their best, for many questions with the same keys."""
    of_each = partial(_variant_of, known=known)
    return varied(layers, partial(of_each, at_best=False)), varied(layers, partial(of_each, at_best=True))


def varied(layers: Layers, variant: Variant) -> Layers:
    """The layers, with the variant applied to every policy."""
    return Layers(
        same_account=layers.same_account,
        identity=_each(layers.identity, variant),
        resource=variant(layers.resource) if layers.resource is not None else None,
        bindings=layers.bindings,
        boundary=_each(layers.boundary, variant),
        session=tuple(tuple(map(variant, level)) for level in layers.session),
        guardrails=tuple(tuple(map(variant, level)) for level in layers.guardrails),
        scope_downs=layers.scope_downs,
    )


def _each(policies: tuple[NamedPolicy, ...] | None, variant: Variant) -> tuple[NamedPolicy, ...] | None:
    return tuple(map(variant, policies)) if policies is not None else None


# --- Best and worst ------------------------------------------------------------------------------------------------


def _variant_of(policy: NamedPolicy, known: Known, *, at_best: bool) -> NamedPolicy:
    document = _variant(policy.document, known, at_best)
    return policy if document is policy.document else NamedPolicy(policy.name, document)


@lru_cache(maxsize=4096)
def _variant(document: PolicyDocument, known: Known, at_best: bool) -> PolicyDocument:  # noqa: FBT001  # a cache's key
    """The document with its uncertain statements at their best or worst."""
    if not any(is_uncertain(statement, known) for statement in document.statements):
        return document
    statements = []
    for statement in document.statements:
        if not is_uncertain(statement, known):
            statements.append(statement)
        elif (statement.effect is Effect.ALLOW) is at_best:
            statements.append(_loosened(statement, known))
    return document.having(statements)


def is_uncertain(statement: Statement, known: Known) -> bool:
    """Whether it reads any unknown value."""
    return any(key not in known for key in statement.keys)


def _loosened(statement: Statement, known: Known) -> Statement:
    """The statement as if all unknown values met its requirements."""
    conditions = tuple(condition for condition in statement.conditions if _is_certain(condition, known))
    resources, granted = statement.resources, statement.administration
    if resources is not None and any(key not in known for key in resources.keys):
        anything = Patterns(["*"])
        if granted is not None:
            granted = replace(granted, resources=anything)
        return replace(statement, conditions=conditions, resources=anything, not_resource=False, administration=granted)
    return replace(statement, conditions=conditions)


def _is_certain(condition: Condition, known: Known) -> bool:
    return all(key in known for key in condition.keys)


# --- What it depends on --------------------------------------------------------------------------------------------


def _provisos(
    known: Known, statements: Mapping[tuple[Layer, str, int], Statement], best: Decision, worst: Decision
) -> Iterable[Proviso]:
    """The Allows without which the best case would not allow, then the Denies by which the worst case denies."""
    certain = {found.layer for found in best.determining if not is_uncertain(statements[_place(found)], known)}
    for found in best.determining:
        enough = found.layer in _ONE_LEVEL and found.layer in certain  # another statement there allows in any case
        if not enough and is_uncertain(statements[_place(found)], known):
            yield _proviso(found, statements[_place(found)], known)
    for found in worst.determining:
        yield _proviso(found, statements[_place(found)], known)


def _place(found: Determining) -> tuple[Layer, str, int]:
    return found.layer, found.policy, found.statement


def _proviso(found: Determining, statement: Statement, known: Known) -> Proviso:
    unknown = [
        (condition.written, condition.written_key, condition.values)
        for condition in statement.conditions
        if not _is_certain(condition, known)
    ]
    if statement.resources is not None and any(key not in known for key in statement.resources.keys):
        element = "NotResource" if statement.not_resource else "Resource"
        unknown.append((element, ", ".join(sorted(set(statement.resources.keys))), statement.written[element]))
    return Proviso(found.layer, found.policy, found.sid, found.effect, found.line, tuple(unknown))
