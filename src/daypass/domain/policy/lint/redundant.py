"""Statements without effect: a Deny cancels them completely, or a wider statement already includes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from daypass.domain.policy import resource
from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.cover import Budget, all_covered
from daypass.domain.policy.lint.finding import Finding, at_statement
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold

_MAX_STATEMENTS = 60  # statements compared with one another
_STEPS = 100_000  # steps of all comparisons of a document, some 15 ms; ordinary documents take a few thousand


class _Elements(NamedTuple):
    """The elements of a statement without its conditions. `plain`: it lists what it matches, and uses no Not… element."""

    statement: Statement
    plain: bool
    principals: frozenset[tuple[str, str]]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: frozenset[tuple[str, str, tuple[str, ...]]]


def check(document: PolicyDocument) -> Iterator[Finding]:
    """The findings about statements that other statements of the same document make redundant."""
    all_elements = [_elements(statement) for statement in document.statements[:_MAX_STATEMENTS]]
    budget = Budget(_STEPS)
    for elements in all_elements:
        deny = next((other for other in all_elements if _denies(other, elements, budget)), None)
        if deny is not None:
            yield at_statement(
                "statement-shadowed",
                elements.statement,
                f"{_name(deny)} denies all that this statement allows.",
                "Narrow the Deny, or remove this statement.",
            )
            continue
        wider = next((other for other in all_elements if _implies(other, elements, budget)), None)
        if wider is not None:
            yield at_statement(
                "statement-redundant",
                elements.statement,
                f"{_name(wider)} has the same effect on all that this statement names.",
                "Remove this statement, or narrow the other one.",
            )


def _elements(statement: Statement) -> _Elements:
    return _Elements(
        statement,
        not (statement.not_action or statement.not_resource or statement.not_principal),
        frozenset((value.type, value.value) for value in statement.principal_values),
        tuple(fold(text) for text in statement.written.get("Action", ())),
        tuple(resource.completed(text) for text in statement.written.get("Resource", ())),
        frozenset((c.written, c.key, c.values) for c in statement.conditions),
    )


def _name(elements: _Elements) -> str:
    statement = elements.statement
    return f"Statement {statement.sid or statement.index + 1} (line {statement.line})"


def _denies(deny: _Elements, allow: _Elements, budget: Budget) -> bool:
    if deny.statement.effect is not Effect.DENY or allow.statement.effect is not Effect.ALLOW or deny.conditions:
        return False
    return _covers(deny, allow, budget)


def _implies(wide: _Elements, narrow: _Elements, budget: Budget) -> bool:
    if wide is narrow or wide.statement.effect is not narrow.statement.effect:
        return False
    if not wide.conditions <= narrow.conditions or not _covers(wide, narrow, budget):
        return False
    mutual = wide.conditions == narrow.conditions and _covers(narrow, wide, budget)
    return not mutual or wide.statement.index < narrow.statement.index  # the later of two equal ones


def _covers(wide: _Elements, narrow: _Elements, budget: Budget) -> bool:
    """Whether `wide` matches every principal, action and resource that `narrow` matches, ignoring conditions."""
    if not (wide.plain and narrow.plain):
        return False
    if ("AWS", "*") not in wide.principals and not narrow.principals <= wide.principals:
        return False
    return all_covered(wide.actions, narrow.actions, budget) and all_covered(wide.resources, narrow.resources, budget)
