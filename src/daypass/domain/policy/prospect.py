"""What policies come to when not everything about the request is known: allowed, allowed if, or denied.

The one evaluator decides twice: over the policies at their worst (statements whose conditions are not known to hold do
not allow, and do deny) and at their best. What even the worst allows is allowed; what not even the best allows is denied;
between them it depends, and this module says on what. It decides nothing by itself and never takes a guess for a fact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

from daypass.domain.policy.compiled import PolicyDocument, Statement, build_index
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.explanation import cut, some
from daypass.domain.policy.model import Decision, Determining, Effect, Layer, Layers, NamedPolicy
from daypass.domain.policy.pattern import Patterns, fold

MAX_PROVISOS = 10
"""Most statements shown that an outcome depends on."""

_ONE_LEVEL = (Layer.IDENTITY, Layer.BOUNDARY)


class Outcome(StrEnum):
    """What can be said of a request of which only a part is known."""

    ALLOWED = "allowed"
    ALLOWED_IF = "allowed_if"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Known:
    """The context keys, folded, whose value or absence is certain; `prefixes` for whole families of them."""

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
class Prospect:
    """`best` is the decision that the best of circumstances would bring. `provisos` only of ALLOWED_IF."""

    outcome: Outcome
    best: Decision
    provisos: tuple[Proviso, ...] = ()


Variant: TypeAlias = Callable[[NamedPolicy], NamedPolicy]
"""Turns a policy into what it is at its best or worst."""


def foresee(
    known: Known, policies: Iterable[tuple[Layer, NamedPolicy]], decide: Callable[[Variant], Decision]
) -> Prospect:
    """The prospect of what `decide` decides over the variants of policies. `policies` are all those it may ask.

    `decide` must hand every policy it gives to the evaluator through the variant it is called with; names of policies
    must be unique within a layer.
    """
    worst = decide(lambda policy: _variant_of(policy, known, hopeful=False))
    if worst.allowed:
        return Prospect(Outcome.ALLOWED, worst)
    best = decide(lambda policy: _variant_of(policy, known, hopeful=True))
    if not best.allowed:
        return Prospect(Outcome.DENIED, best)
    statements = {(layer, policy.name, s.index): s for layer, policy in policies for s in policy.document.statements}
    return Prospect(Outcome.ALLOWED_IF, best, tuple(_provisos(known, statements, best, worst))[:MAX_PROVISOS])


def varied(layers: Layers, variant: Variant) -> Layers:
    """The layers with every policy in its variant."""
    return Layers(
        same_account=layers.same_account,
        identity=each(layers.identity, variant),
        resource=variant(layers.resource) if layers.resource is not None else None,
        bindings=layers.bindings,
        boundary=each(layers.boundary, variant),
        session=tuple(tuple(map(variant, level)) for level in layers.session),
        guardrails=tuple(tuple(map(variant, level)) for level in layers.guardrails),
    )


def each(policies: tuple[NamedPolicy, ...] | None, variant: Variant) -> tuple[NamedPolicy, ...] | None:
    return tuple(map(variant, policies)) if policies is not None else None


def policies_of(layers: Layers) -> Iterable[tuple[Layer, NamedPolicy]]:
    """Every policy of these layers with its layer."""
    yield from ((Layer.GUARDRAIL, policy) for level in layers.guardrails for policy in level)
    if layers.resource is not None:
        yield Layer.RESOURCE, layers.resource
    yield from ((Layer.IDENTITY, policy) for policy in layers.identity or ())
    yield from ((Layer.BOUNDARY, policy) for policy in layers.boundary or ())
    yield from ((Layer.SESSION, policy) for level in layers.session for policy in level)


# --- Best and worst ------------------------------------------------------------------------------------------------


def _variant_of(policy: NamedPolicy, known: Known, *, hopeful: bool) -> NamedPolicy:
    document = _variant(policy.document, known, hopeful)
    return policy if document is policy.document else NamedPolicy(policy.name, document)


@lru_cache(maxsize=4096)
def _variant(document: PolicyDocument, known: Known, hopeful: bool) -> PolicyDocument:  # noqa: FBT001  # a cache's key
    """The document with its uncertain statements as good, or as bad, as they can be."""
    if not any(is_uncertain(statement, known) for statement in document.statements):
        return document
    kept = []
    for statement in document.statements:
        if not is_uncertain(statement, known):
            kept.append(statement)
        elif (statement.effect is Effect.ALLOW) is hopeful:
            kept.append(_loosened(statement, known))
    actions = {s.index: tuple(map(fold, s.written["NotAction" if s.not_action else "Action"])) for s in kept}
    return replace(document, statements=tuple(kept), index=build_index(kept, actions))


def is_uncertain(statement: Statement, known: Known) -> bool:
    """Whether it looks at anything that is not known."""
    return any(key not in known for key in statement.keys)


def _loosened(statement: Statement, known: Known) -> Statement:
    """The statement as if all that is not known were as it demands."""
    conditions = tuple(condition for condition in statement.conditions if _is_certain(condition, known))
    resources = statement.resources
    if resources is not None and any(key not in known for key in resources.keys):
        return replace(statement, conditions=conditions, resources=Patterns(["*"]), not_resource=False)
    return replace(statement, conditions=conditions)


def _is_certain(condition: Condition, known: Known) -> bool:
    return all(key in known for key in condition.keys)


# --- On what it depends --------------------------------------------------------------------------------------------


def _provisos(
    known: Known, statements: Mapping[tuple[Layer, str, int], Statement], best: Decision, worst: Decision
) -> Iterable[Proviso]:
    """The Allows without which the best would not allow, then the Denies by which the worst denies."""
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
        (condition.written, condition.key, condition.values)
        for condition in statement.conditions
        if not _is_certain(condition, known)
    ]
    if statement.resources is not None and any(key not in known for key in statement.resources.keys):
        element = "NotResource" if statement.not_resource else "Resource"
        unknown.append((element, ", ".join(sorted(set(statement.resources.keys))), statement.written[element]))
    return Proviso(found.layer, found.policy, found.sid, found.effect, found.line, tuple(unknown))
