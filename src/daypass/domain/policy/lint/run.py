"""Runs every check that applies to a document."""

from __future__ import annotations

from daypass.domain.policy.compiled import PolicyDocument, PolicyKind
from daypass.domain.policy.document import parse
from daypass.domain.policy.lint import conditions, grants, oidc, open_trust, redundant, trust
from daypass.domain.policy.lint.finding import RULES, Finding, Severity, at_place
from daypass.domain.policy.lint.known import Facts
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import V2008
from daypass.domain.policy.source import PolicyError

_NOTHING = Facts()
_LONG_SECONDS = 4 * 3600
_GIVING = (PolicyKind.IDENTITY, PolicyKind.MANAGED)
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def lint_text(text: str, kind: PolicyKind, facts: Facts = _NOTHING) -> tuple[Finding, ...]:
    """The findings about a document as written. A malformed document has one finding, which says so."""
    try:
        document = parse(text, kind)
    except PolicyError as error:
        fix = "Correct the document: it would be refused when it is written."
        why = f"{error.message.rstrip('.')}. {error.why}" if error.why else error.message
        return (at_place("malformed", error.line, error.column, why, fix),)
    return lint(document, facts)


def lint(document: PolicyDocument, facts: Facts = _NOTHING) -> tuple[Finding, ...]:
    """The findings about a document, in text order. Their number is bounded by the size of the document."""
    if document.broken:
        return (at_place("malformed", 1, 1, "The stored document cannot be read. It allows nothing.", "Replace it."),)
    findings = [*conditions.check(document), *redundant.check(document)]
    if document.kind is PolicyKind.TRUST:
        findings += [
            *trust.check(document, facts),
            *oidc.check(document, facts),
            *open_trust.check(document),
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


def _closed(document: PolicyDocument) -> list[Finding]:
    """In AWS a service control policy may only deny, because another one allows everything. Here each guardrail must allow."""
    if any(statement.effect is Effect.ALLOW for statement in document.statements):
        return []
    why = "Every guardrail of an account must allow what is done there, and this one allows nothing: it shuts the account."
    fix = 'Add {"Effect": "Allow", "Action": "*", "Resource": "*"} beside the Deny.'
    return [at_place("guardrail-allows-nothing", 1, 1, why, fix)]


def _long(facts: Facts) -> list[Finding]:
    if not facts.powerful or facts.max_session_seconds <= _LONG_SECONDS:
        return []
    why = (
        f"Sessions of this powerful role last up to {facts.max_session_seconds // 3600} hours, "
        "and so do stolen credentials."
    )
    return [at_place("role-long-session", 1, 1, why, "Lower MaxSessionDuration to four hours or less.")]


__all__ = ["RULES", "Facts", "Finding", "Severity", "lint", "lint_text"]
