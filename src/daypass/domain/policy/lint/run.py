"""Runs every check that applies to a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from daypass.domain.policy import principal
from daypass.domain.policy.compiled import PolicyDocument, PolicyKind, Statement
from daypass.domain.policy.cover import Budget, all_covered
from daypass.domain.policy.document import parse
from daypass.domain.policy.lint import conditions, grants, oidc, open_trust, trust
from daypass.domain.policy.lint.finding import RULES, LintFinding, Severity, at_place, at_statement
from daypass.domain.policy.lint.grants import Facts
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import V2008, fold
from daypass.domain.policy.source import PolicyError

_NOTHING = Facts()
_LONG_SECONDS = 4 * 3600
_GIVING = (PolicyKind.IDENTITY, PolicyKind.MANAGED)
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def lint_text(text: str, kind: PolicyKind, facts: Facts = _NOTHING) -> tuple[LintFinding, ...]:
    """The findings about a document as written. A malformed document has one finding, which says so."""
    try:
        document = parse(text, kind)
    except PolicyError as error:
        fix = "Correct the document: it would be refused when it is written."
        why = f"{error.message.rstrip('.')}. {error.why}" if error.why else error.message
        return (at_place("malformed", error.line, error.column, why, fix),)
    return lint(document, facts)


def lint(document: PolicyDocument, facts: Facts = _NOTHING) -> tuple[LintFinding, ...]:
    """The findings about a document, in text order. Their number is bounded by the size of the document."""
    if document.broken:
        return (at_place("malformed", 1, 1, "The stored document cannot be read. It allows nothing.", "Replace it."),)
    findings = [*conditions.check(document), *check(document)]
    if document.kind is PolicyKind.TRUST:
        findings += [
            *trust.check(document, facts),
            *oidc.check(document, facts),
            *open_trust.check_open(document),
            *_long(facts),
        ]
    elif document.kind in _GIVING:
        findings += grants.check(document, facts.account)
    elif document.kind is PolicyKind.GUARDRAIL:
        findings += _closed(document)
    if document.version == V2008 and "${" in document.text:
        why = 'Version "2008-10-17" (also the default) has no policy variables: ${…} is plain text there.'
        findings.append(at_place("version-old", 1, 1, why, 'Set "Version": "2012-10-17".'))
    return tuple(sorted(findings, key=lambda f: (f.line, f.column, _ORDER[f.severity], f.id)))


def _closed(document: PolicyDocument) -> list[LintFinding]:
    """In AWS a service control policy may only deny, because another one allows everything. Here each guardrail must allow."""
    if any(statement.effect is Effect.ALLOW for statement in document.statements):
        return []
    why = "Every guardrail of an account must allow what is done there, and this one allows nothing: it shuts the account."
    fix = 'Add {"Effect": "Allow", "Action": "*", "Resource": "*"} beside the Deny.'
    return [at_place("guardrail-allows-nothing", 1, 1, why, fix)]


def _long(facts: Facts) -> list[LintFinding]:
    if not facts.powerful or facts.max_session_seconds <= _LONG_SECONDS:
        return []
    why = (
        f"Sessions of this powerful role last up to {facts.max_session_seconds // 3600} hours, "
        "and so do stolen credentials."
    )
    return [at_place("role-long-session", 1, 1, why, "Lower MaxSessionDuration to four hours or less.")]


__all__ = ["RULES", "Facts", "LintFinding", "Severity", "lint", "lint_text"]


# --- Redundant


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


def check(document: PolicyDocument) -> Iterator[LintFinding]:
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
        tuple(principal.completed(text) for text in statement.written.get("Resource", ())),
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
