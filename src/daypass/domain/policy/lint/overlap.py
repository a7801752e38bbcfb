"""Statements that change nothing: taken back whole by a Deny, or said already by a wider one."""

from __future__ import annotations

from collections.abc import Iterator

from daypass.domain.policy import resource
from daypass.domain.policy.compiled import PolicyDocument, Statement
from daypass.domain.policy.lint.cover import all_covered
from daypass.domain.policy.lint.finding import Finding, at_statement
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import fold

_MOST = 60  # statements compared with one another


def check(document: PolicyDocument) -> Iterator[Finding]:
    """The findings about statements that other statements of the same document make useless."""
    statements = document.statements[:_MOST]
    for statement in statements:
        deny = next((s for s in statements if _denies(s, statement)), None)
        if deny is not None:
            yield at_statement(
                "statement-shadowed",
                statement,
                f"{_name(deny)} denies all that this statement allows.",
                "Narrow the Deny, or remove this statement.",
            )
            continue
        wider = next((s for s in statements if _says_as_much(s, statement)), None)
        if wider is not None:
            yield at_statement(
                "statement-redundant",
                statement,
                f"{_name(wider)} has the same effect on all that this statement names.",
                "Remove this statement, or narrow the other one.",
            )


def _name(statement: Statement) -> str:
    return f"Statement {statement.sid or statement.index + 1} (line {statement.line})"


def _denies(deny: Statement, allow: Statement) -> bool:
    return deny.effect is Effect.DENY and allow.effect is Effect.ALLOW and not deny.conditions and _covers(deny, allow)


def _says_as_much(wide: Statement, narrow: Statement) -> bool:
    if wide is narrow or wide.effect is not narrow.effect or not _covers(wide, narrow):
        return False
    if not set(_conditions(wide)) <= set(_conditions(narrow)):
        return False
    mutual = _covers(narrow, wide) and set(_conditions(wide)) == set(_conditions(narrow))
    return not mutual or wide.index < narrow.index  # of twins the later one is too many


def _conditions(statement: Statement) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    return tuple((c.written, c.key, c.values) for c in statement.conditions)


def _covers(wide: Statement, narrow: Statement) -> bool:
    """Whether `wide` means every principal, action and resource that `narrow` means, conditions aside."""
    if any(s.not_action or s.not_resource or s.not_principal for s in (wide, narrow)):
        return False
    actions = [[fold(text) for text in s.written.get("Action", ())] for s in (wide, narrow)]
    resources = [[resource.completed(text) for text in s.written.get("Resource", ())] for s in (wide, narrow)]
    return _principals_covered(wide, narrow) and all_covered(*actions) and all_covered(*resources)


def _principals_covered(wide: Statement, narrow: Statement) -> bool:
    named = {(value.type, value.value) for value in wide.principal_values}
    if ("AWS", "*") in named:
        return True
    return {(value.type, value.value) for value in narrow.principal_values} <= named
