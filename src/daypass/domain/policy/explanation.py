"""The types of an explanation, and the limits that keep it small for any policies and any request.

Frozen values with a JSON form. This module makes no decisions and reads no policies.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from msgspec import to_builtins

from daypass.domain.policy.layers import BLOCK
from daypass.domain.policy.model import Decision, Determining, Effect, Layer, Value

MAX_STATEMENTS = 10
"""Maximum number of statements shown for a layer, nearest first."""

MAX_VALUES = 5
"""Maximum number of values shown from a list."""

MAX_TEXT = 160
"""Maximum number of characters shown from a text."""


MAX_CONDITIONS = 6
"""Maximum number of conditions shown for a statement, failed ones first."""

MAX_SENTENCE = 1_000
"""Maximum number of characters of a sentence."""

MAX_CONSULTED = 50
"""Maximum number of context keys shown."""

MAX_CHARACTERS = 24_000
"""Approximate size limit of the JSON of all layers' statements, beyond the nearest statement of each layer."""


class LayerVerdict(StrEnum):
    """The result of a layer. A layer that did not need to allow is NOT_REQUIRED, whatever its policies say."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit_deny"
    IMPLICIT_DENY = "implicit_deny"
    NOT_REQUIRED = "not_required"


class Step(StrEnum):
    """The first check that a statement failed, in the order of the checks. NONE: it applies."""

    ACTION = "action"
    RESOURCE = "resource"
    ADMINISTRATION = "administration"  # it does not grant Daypass's own actions
    PRINCIPAL = "principal"
    CONDITION = "condition"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """One condition with the compared values. `found` is None when the key is absent."""

    operator: str
    key: str
    wanted: tuple[str, ...]
    found: Value | None
    held: bool


@dataclass(frozen=True, slots=True)
class StatementResult:
    """One statement: whether it applies and, if not, the first failed check and what would have to be true."""

    policy: str
    index: int
    sid: str
    effect: Effect
    line: int
    column: int
    failed_at: Step
    would_have_to_be_true: str
    conditions: tuple[ConditionResult, ...]

    @property
    def matched(self) -> bool:
        return self.failed_at is Step.NONE

    def to_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "statement": self.index,
            "sid": self.sid,
            "effect": self.effect.value,
            "line": self.line,
            "column": self.column,
            "matched": self.matched,
            "failed_at": self.failed_at.value,
            "would_have_to_be_true": self.would_have_to_be_true,
            "conditions": to_builtins(self.conditions),
        }


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One layer, or one level of a layer with several. `omitted` counts the statements left out for size."""

    layer: Layer
    level: int
    verdict: LayerVerdict
    policies: tuple[str, ...]
    statements: tuple[StatementResult, ...]
    omitted: int

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": _shown(self.layer, self.policies[0] if self.policies else ""),
            "level": self.level,
            "verdict": self.verdict.value,
            "policies": list(self.policies),
            "statements": [statement.to_json() for statement in self.statements],
            "omitted": self.omitted,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """The complete explanation of a decision."""

    decision: Decision
    principal: str
    action: str
    resource: str
    layers: tuple[LayerResult, ...]
    would_have_to_be_true: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, bounded in size, for the record, the encoded authorization message and the simulator."""
        decision = self.decision
        denial = decision.determining[0].policy if decision.explicit and decision.determining else ""
        return {
            "allowed": decision.allowed,
            "blocked_by": _shown(decision.blocked_by, denial) if decision.blocked_by is not None else None,
            "explicit": decision.explicit,
            **({"over_budget": True} if decision.over_budget else {}),
            "principal": self.principal,
            "action": self.action,
            "resource": self.resource,
            "determining": [_determining(found) for found in decision.determining[:MAX_STATEMENTS]],
            "consulted": [cut(key) for key in decision.consulted[:MAX_CONSULTED]],
            "layers": [layer.to_json() for layer in self.layers],
            "would_have_to_be_true": list(self.would_have_to_be_true),
        }


def _shown(layer: Layer, policy: str) -> str:
    """The name of a layer; a block is a policy among the guardrails."""
    return "block" if policy.startswith(BLOCK) else layer.value


def _determining(found: Determining) -> dict[str, Any]:
    return {
        "layer": _shown(found.layer, found.policy),
        "policy": cut(found.policy),
        "statement": found.statement,
        "sid": cut(found.sid),
        "effect": found.effect.value,
        "line": found.line,
        "column": found.column,
    }


def cut(text: str, limit: int = MAX_TEXT) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def some(texts: Iterable[str]) -> tuple[str, ...]:
    shown = list(texts)
    more = (f"… {len(shown) - MAX_VALUES} more",) if len(shown) > MAX_VALUES else ()
    return (*(cut(text) for text in shown[:MAX_VALUES]), *more)


def joined(texts: Iterable[str]) -> str:
    return "[" + ", ".join(some(texts)) + "]"
