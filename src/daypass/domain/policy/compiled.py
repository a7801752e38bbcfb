"""What a policy document is once compiled: statements with their matchers, found by an index over actions.

These are values: nothing here reads text or decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from daypass.domain.policy.condition import Condition
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import Patterns
from daypass.domain.policy.principal import Principals


class PolicyKind(StrEnum):
    """What a document is for; it decides which elements are required and which are prohibited.

    MANAGED is IDENTITY with AWS's further demand that managed policies be of version 2012-10-17.
    """

    IDENTITY = "identity"
    MANAGED = "managed"
    TRUST = "trust"
    SESSION = "session"
    GUARDRAIL = "guardrail"
    RESOURCE = "resource"


class PrincipalValue(NamedTuple):
    """One value of a Principal or NotPrincipal element. `type` is AWS, Federated, Service or CanonicalUser."""

    type: str
    value: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A statement with its matchers. `resources` is None where the kind has none (trust policies).

    `always` marks a Deny of a document that could not be compiled: it matches every request.
    """

    index: int
    sid: str
    effect: Effect
    line: int
    column: int
    end_line: int
    end_column: int
    actions: Patterns
    not_action: bool = False
    resources: Patterns | None = None
    not_resource: bool = False
    principals: Principals | None = None
    not_principal: bool = False
    conditions: tuple[Condition, ...] = ()
    keys: tuple[str, ...] = ()  # every context key that it may look at, sorted
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # element name to values as written
    principal_values: tuple[PrincipalValue, ...] = ()
    always: bool = False


Heads: TypeAlias = "tuple[tuple[int, Mapping[str, tuple[Statement, ...]]], ...]"
"""Statements by how the resource must begin: (length, statements by the first `length` characters)."""


@dataclass(frozen=True, slots=True)
class Index:
    """Statements by action, then by the beginning of the resource, so that a decision tries only those that may match.

    `exact`: by folded literal action, which then matches. `by_service`: by folded service, the action to be tried.
    `others`: those whose action may be of any service. A statement is found at most once for a request.
    """

    exact: Mapping[str, Heads]
    by_service: Mapping[str, Heads]
    others: Heads

    def concerned(self, action: str) -> Iterator[Statement]:
        """Every statement that may match this action (folded), whatever the resource."""
        service = action.partition(":")[0]
        for _, heads in (*self.exact.get(action, ()), *self.by_service.get(service, ()), *self.others):
            for statements in heads.values():
                yield from statements


@dataclass(frozen=True, slots=True, eq=False)
class PolicyDocument:
    """A compiled document. `broken` says that it failed to compile and stands closed."""

    kind: PolicyKind
    text: str
    version: str
    statements: tuple[Statement, ...]
    index: Index
    id: str = ""
    broken: bool = False

    def principals(self) -> tuple[PrincipalValue, ...]:
        """Every principal value in the order in which they are written, for binding ARNs to unique ids."""
        return tuple(value for statement in self.statements for value in statement.principal_values)


def build_index(statements: Iterable[Statement], actions: Mapping[int, tuple[str, ...]]) -> Index:
    """`actions` gives each statement's action patterns, folded, by its index."""
    exact: dict[str, list[Statement]] = {}
    by_service: dict[str, list[Statement]] = {}
    others: list[Statement] = []
    for statement in statements:
        patterns = set(actions[statement.index])
        if statement.always or statement.not_action or any(":" not in p or p.startswith("*") for p in patterns):
            others.append(statement)
            continue
        services = {p.partition(":")[0] for p in patterns if "*" in p or "?" in p}
        for service in services:
            by_service.setdefault(service, []).append(statement)
        for pattern in patterns:
            if pattern.partition(":")[0] not in services:
                exact.setdefault(pattern, []).append(statement)
    return Index(
        {action: _heads(found) for action, found in exact.items()},
        {service: _heads(found) for service, found in by_service.items()},
        _heads(others),
    )


def _heads(statements: Iterable[Statement]) -> Heads:
    by_length: dict[int, dict[str, list[Statement]]] = {}
    for statement in statements:
        resources = statement.resources
        head = resources.head if resources is not None and not statement.not_resource else ""
        by_length.setdefault(len(head), {}).setdefault(head, []).append(statement)
    return tuple(
        (length, {head: tuple(found) for head, found in by_head.items()}) for length, by_head in by_length.items()
    )
