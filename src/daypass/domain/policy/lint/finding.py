"""The linter's findings: one for each statement or element that is probably a mistake."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from msgspec import to_builtins

from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.condition import Condition
from daypass.domain.policy.grammar import listed
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.source import Node, PolicyError, Positions, read


class Severity(StrEnum):
    """ERROR: unintended access, or no access at all. WARNING: more access than is likely intended. NOTE: worth a review."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class LintRule:
    """A kind of finding. `title` describes the fault in a few words."""

    id: str
    severity: Severity
    title: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

RULES: Final[Mapping[str, LintRule]] = MappingProxyType(
    {
        rule.id: rule
        for rule in (
            LintRule("malformed", _E, "The document is not valid"),
            LintRule("trust-public", _E, "Anyone may assume the role"),
            LintRule("trust-whole-account", _W, "A whole foreign account is trusted"),
            LintRule("trust-own-account", _N, "Trust is left to the account's identity policies"),
            LintRule("trust-no-external-id", _W, "A third party is trusted without an external id"),
            LintRule("trust-gone-principal", _W, "A trusted principal no longer exists"),
            LintRule("trust-no-mfa", _W, "A powerful role is open to people without MFA"),
            LintRule("trust-wrong-action", _E, "The action is not the one by which this principal assumes roles"),
            LintRule("trust-certificate-any", _W, "Every certificate of every trust anchor is trusted"),
            LintRule("oidc-no-subject", _E, "Every token of a shared issuer is trusted"),
            LintRule("oidc-any-subject", _W, "Every token of an issuer is trusted"),
            LintRule("oidc-wide-subject", _E, "Tokens of other customers of the issuer are trusted"),
            LintRule("oidc-no-audience", _W, "Tokens meant for others are trusted"),
            LintRule("oidc-unknown-claim", _W, "The issuer does not send this claim"),
            LintRule("oidc-unknown-provider", _W, "The account has no such provider"),
            LintRule("kubernetes-any-namespace", _E, "Service accounts of every namespace are trusted"),
            LintRule("kubernetes-any-account", _W, "Every service account of a namespace is trusted"),
            LintRule("saml-no-audience", _W, "Assertions meant for others are trusted"),
            LintRule("role-long-session", _W, "Sessions of a powerful role last long"),
            LintRule("grant-everything", _W, "Everything is allowed"),
            LintRule("grant-by-exclusion", _W, "Allow with NotAction or NotResource allows all that is not named"),
            LintRule("grant-escalation", _W, "The holder can extend its own permissions"),
            LintRule("guardrail-allows-nothing", _E, "The guardrail leaves nothing allowed"),
            LintRule("condition-never-true", _E, "The condition can never hold"),
            LintRule("condition-optional", _W, "The condition holds if the key is absent"),
            LintRule("condition-literal-wildcard", _W, "A wildcard in an operator without wildcards"),
            LintRule("condition-unknown-key", _W, "The context key does not exist"),
            LintRule("statement-shadowed", _W, "A Deny cancels all that the statement allows"),
            LintRule("statement-redundant", _N, "Another statement allows the same"),
            LintRule("rule-never-approved", _E, "The rule can never approve a request"),
            LintRule("rule-always-automatic", _W, "Requests are approved without a person"),
            LintRule("rule-anyone", _W, "Anyone may approve"),
            LintRule("unknown-role", _W, "The account has no such role"),
            LintRule("unknown-principal", _W, "The account has no such user, group or role"),
            LintRule("version-old", _W, "Policy variables are plain text in this version"),
        )
    }
)
"""All rules by id. docs/reference/lint.md lists them; a test fails when one is missing."""


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One finding. Lines and columns count from 1; `statement` is its index, -1 for the document or the role."""

    id: str
    severity: Severity
    line: int
    column: int
    end_line: int
    end_column: int
    statement: int
    sid: str
    why: str
    fix: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        shown = {"id": self.id, "severity": self.severity.value, "title": RULES[self.id].title}
        return {**shown, **to_builtins(self)}


def at_statement(rule: str, statement: Statement, why: str, fix: str) -> LintFinding:
    """A finding about a whole statement."""
    begin = at_place(rule, statement.line, statement.column, why, fix, statement)
    return replace(begin, end_line=statement.end_line, end_column=statement.end_column)


def at_place(rule: str, line: int, column: int, why: str, fix: str, statement: Statement | None = None) -> LintFinding:
    """A finding about one position in the document."""
    return LintFinding(
        id=rule,
        severity=RULES[rule].severity,
        line=line,
        column=column,
        end_line=line,
        end_column=column,
        statement=statement.index if statement is not None else -1,
        sid=statement.sid if statement is not None else "",
        why=why,
        fix=fix,
    )


# --- The positions of a document's parts in its text


Step: TypeAlias = str | int
"""The name of a member, or the index of an item."""

_PATH: Final = re.compile(r"`\$((?:\.[\w-]+|\[[0-9]+\])+)|(?:^|: )([a-z_]+(?:\.[a-z_]+)*):? ")
_STEP: Final = re.compile(r"[\w-]+")


class DocumentPlaces:
    """Lines and columns of the values of a JSON document by their paths."""

    def __init__(self, text: str) -> None:
        self._root: Node | None = None
        self._positions = Positions(text)
        self._begin = (1, 1)
        try:
            self._root = read(text)
        except PolicyError as error:
            self._begin = error.line, error.column

    def at(self, *path: Step) -> tuple[int, int]:
        """Line and column of a value, or of the innermost one on its path. Of text that is not JSON: of the fault."""
        node = self._root
        if node is None:
            return self._begin
        for step in path:
            content = node.content
            if isinstance(content, dict) and step in content:
                node = content[str(step)]
            elif isinstance(content, list) and isinstance(step, int) and step < len(content):
                node = content[step]
            else:
                break
        return self._positions.at(node.start)


def at_fault(text: str, message: str) -> LintFinding:
    """A document that would be refused, at the member that the message names: "`$.stages[0].name`", or "roles: …"."""
    named = _PATH.search(message)
    steps = _STEP.findall(named[1] or named[2]) if named is not None else []
    path = (int(each) if each.isdigit() else each for each in steps)
    fix = "Correct the document: it would be refused when it is written."
    return at_place("malformed", *DocumentPlaces(text).at(*path), message, fix)


class Locations:
    """Lines and columns of conditions, from the text of a document that parses."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[int, str, str], tuple[int, int]] = {}
        try:
            root = read(text)
        except PolicyError:  # a stored document that no longer parses
            return
        positions = Positions(text)
        for index, statement in enumerate(listed(root.members.get("Statement"))):
            block = statement.members.get("Condition")
            for written, operator in (block.members if block is not None else {}).items():
                for key, value in operator.members.items():
                    self._at[index, written, fold(key)] = positions.at(value.start)

    def of(self, statement: Statement, condition: Condition) -> tuple[int, int]:
        """Line and column of a condition's value; those of its statement when the value is not found."""
        position = self._at.get((statement.index, condition.written, condition.key))
        return position or (statement.line, statement.column)
