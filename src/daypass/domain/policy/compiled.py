"""Compiled policy documents: statements with their matchers, indexed by action.

These are values: this module parses no text and makes no decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, TypeAlias

from daypass.domain.policy.administration import Administration
from daypass.domain.policy.budget import Weight
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.model import Context, Effect
from daypass.domain.policy.pattern import Patterns, fold
from daypass.domain.policy.principal import Principals


class PolicyKind(StrEnum):
    """The kind of a document. It determines which elements are required and which are prohibited.

    MANAGED is IDENTITY with AWS's additional rule that managed policies have version 2012-10-17. AWS is IDENTITY for a
    policy that AWS wrote: it grants none of Daypass's own actions.
    """

    IDENTITY = "identity"
    MANAGED = "managed"
    AWS = "aws"
    TRUST = "trust"
    SESSION = "session"
    GUARDRAIL = "guardrail"
    RESOURCE = "resource"


def managed_kind(arn: str) -> PolicyKind:
    """The kind of a managed policy that is attached. Policies under AWS's ARN are AWS's, but for those of Daypass."""
    is_aws, name = arn.split(":", 5)[4] == "aws", arn.rpartition("/")[2]
    return PolicyKind.AWS if is_aws and not name.startswith("Daypass") else PolicyKind.IDENTITY


class PrincipalValue(NamedTuple):
    """A value of a Principal or NotPrincipal element. `type` is AWS, Federated, Service or CanonicalUser."""

    type: str
    value: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A statement with its matchers. `resources` is None for kinds without Resource (trust policies).

    `always` marks a Deny of a document that could not be compiled: it matches every request. `administration` is its
    grant of Daypass's own actions, None for no grant.
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
    keys: tuple[str, ...] = ()  # every context key that it may read, sorted
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # element name to values as written
    principal_values: tuple[PrincipalValue, ...] = ()
    administration: Administration | None = None
    always: bool = False

    cost: int = 0  # steps of matching action and resource, without those of `wild` resources
    wild: Weight | None = None  # resources whose cost depends on the request

    def steps(self, resource: str, context: Context) -> int:
        """The maximum number of steps to match the action and this resource."""
        return self.cost + (self.wild.steps(1, len(resource), context) if self.wild is not None else 0)


PrefixIndex: TypeAlias = "tuple[tuple[int, Mapping[str, tuple[Statement, ...]]], ...]"
"""Statements by the beginning of the resource: (length, statements by the first `length` characters)."""


@dataclass(frozen=True, slots=True)
class Index:
    """Statements by action, then by the beginning of the resource, so that a decision tries only possible matches.

    `exact`: by literal action (folded), which then matches. `by_service`: by service (folded); the action is still
    tested. `others`: statements whose action may be of any service. A statement is found at most once for a request.
    """

    exact: Mapping[str, PrefixIndex]
    by_service: Mapping[str, PrefixIndex]
    others: PrefixIndex

    def concerned(self, action: str) -> Iterator[Statement]:
        """Every statement that may match this action (folded), for any resource."""
        service = action.partition(":")[0]
        for _, by_prefix in (*self.exact.get(action, ()), *self.by_service.get(service, ()), *self.others):
            for statements in by_prefix.values():
                yield from statements


class Compiled(NamedTuple):
    """A document, compiled from its text. `broken` means that it failed to compile and fails closed."""

    version: str
    statements: tuple[Statement, ...]
    broken: bool = False


class PolicyDocument:
    """A compiled document. `source`: what was compiled, or the function that compiles the text on first use, because many
    policies that are loaded decide nothing: those of a role, while it is only assumed. Never changed.
    """

    def __init__(self, kind: PolicyKind, text: str, source: Compiled | Callable[[str, PolicyKind], Compiled]) -> None:
        self.kind, self.text, self.source = kind, text, source

    @cached_property
    def compiled(self) -> Compiled:
        return self.source if isinstance(self.source, Compiled) else self.source(self.text, self.kind)

    @cached_property
    def index(self) -> Index:
        return build_index(self.compiled.statements)

    @property
    def statements(self) -> tuple[Statement, ...]:
        return self.compiled.statements

    @property
    def version(self) -> str:
        return self.compiled.version

    @property
    def broken(self) -> bool:
        return self.compiled.broken

    def having(self, statements: Iterable[Statement]) -> PolicyDocument:
        """The document with these statements in place of its own."""
        return PolicyDocument(self.kind, self.text, self.compiled._replace(statements=tuple(statements)))

    def principals(self) -> tuple[PrincipalValue, ...]:
        """Every principal value in written order, for binding ARNs to unique ids."""
        return tuple(value for statement in self.statements for value in statement.principal_values)


def build_index(statements: Iterable[Statement]) -> Index:
    """The index of these statements, by the actions in `Statement.written`."""
    exact: dict[str, list[Statement]] = {}
    by_service: dict[str, list[Statement]] = {}
    others: list[Statement] = []
    for statement in statements:
        patterns = set(map(fold, statement.written.get("NotAction" if statement.not_action else "Action", ())))
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
        {action: _prefix_index(found) for action, found in exact.items()},
        {service: _prefix_index(found) for service, found in by_service.items()},
        _prefix_index(others),
    )


def _prefix_index(statements: Iterable[Statement]) -> PrefixIndex:
    by_length: dict[int, dict[str, list[Statement]]] = {}
    for statement in statements:
        resources = statement.resources
        prefix = resources.prefix if resources is not None and not statement.not_resource else ""
        by_length.setdefault(len(prefix), {}).setdefault(prefix, []).append(statement)
    return tuple(
        (length, {prefix: tuple(found) for prefix, found in by_prefix.items()})
        for length, by_prefix in by_length.items()
    )
