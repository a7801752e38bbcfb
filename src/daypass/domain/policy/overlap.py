"""Patterns against patterns: how much of what one statement speaks of another one meets.

It decides no request. "What can" asks about patterns of actions and resources, not about single ones; a policy at its
best or worst over such a pattern is handed to the one evaluator, as in `prospect`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum
from functools import lru_cache

from daypass.domain.policy.compiled import Statement, build_index
from daypass.domain.policy.model import Context, Effect, NamedPolicy
from daypass.domain.policy.pattern import Patterns, Variable, Wild, fold, tokenize
from daypass.domain.policy.resource import completed

_MAX = 512  # characters of a pattern; a longer one is taken to overlap with everything


class Coverage(IntEnum):
    """How much of a pattern a statement speaks of."""

    NONE = 0
    PART = 1
    WHOLE = 2


def coverage(statement: Statement, action: str, resource: str, context: Context) -> Coverage:
    """How much of the actions and resources that these patterns stand for the statement speaks of."""
    if statement.always:
        return Coverage.WHOLE
    actions = statement.written["NotAction" if statement.not_action else "Action"]
    of_actions = _axis(statement.actions, map(fold, actions), fold(action), context, negated=statement.not_action)
    if statement.resources is None:
        return of_actions
    resources = statement.written["NotResource" if statement.not_resource else "Resource"]
    of_resources = _axis(
        statement.resources, map(completed, resources), resource, context, negated=statement.not_resource
    )
    return min(of_actions, of_resources)


def _axis(compiled: Patterns, written: Iterable[str], text: str, context: Context, *, negated: bool) -> Coverage:
    if compiled.matches(text, context):  # a pattern's star stands for the text's star, and for all that that stands for
        return Coverage.NONE if negated else Coverage.WHOLE
    meets = any(overlap(pattern, text) for pattern in written)
    if meets:
        return Coverage.PART
    return Coverage.WHOLE if negated else Coverage.NONE


def over_pattern(policy: NamedPolicy, action: str, resource: str, context: Context, *, hopeful: bool) -> NamedPolicy:
    """The policy over the most favourable part of what the patterns stand for, or over the least favourable one.

    Statements that speak of a part speak of all of it, or of nothing, whichever is better (worse) for the request.
    """
    document = policy.document
    parts = [coverage(statement, action, resource, context) is Coverage.PART for statement in document.statements]
    if not any(parts):
        return policy
    kept: list[Statement] = []
    for statement, part in zip(document.statements, parts, strict=True):
        if not part:
            kept.append(statement)
        elif (statement.effect is Effect.ALLOW) is hopeful:
            kept.append(_unbounded(statement))
    actions = {s.index: tuple(map(fold, s.written["NotAction" if s.not_action else "Action"])) for s in kept}
    return NamedPolicy(policy.name, replace(document, statements=tuple(kept), index=build_index(kept, actions)))


def _unbounded(statement: Statement) -> Statement:
    """The statement for every action and resource, under its conditions."""
    everything = Patterns(["*"])
    return replace(
        statement,
        actions=everything,
        not_action=False,
        resources=everything if statement.resources is not None else None,
        not_resource=False,
        written={**statement.written, "Action": ("*",), "Resource": ("*",)},
    )


@lru_cache(maxsize=4096)
def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns. Exact for `*` and `?`; never False where variables might make it True."""
    if one in ("*", other) or other == "*" or max(len(one), len(other)) > _MAX:
        return True
    first, second = _symbols(one), _symbols(other)
    row = {0}  # how much of `second` can be used up by the `first` used up so far
    row = _stars(row, second)
    for symbol in first:
        row = _step(row, symbol, second)
        if not row:
            return False
    return len(second) in row


def _step(row: set[int], symbol: str, second: tuple[str, ...]) -> set[int]:
    """Uses up one symbol of the first pattern."""
    if symbol == "*":
        return set(range(min(row), len(second) + 1))
    used = set()
    for at in row:
        if at < len(second) and second[at] == "*":
            used.add(at)  # a star goes on
        elif at < len(second) and (symbol == second[at] or "?" in (symbol, second[at])):
            used.add(at + 1)
    return _stars(used, second)


def _stars(row: set[int], second: tuple[str, ...]) -> set[int]:
    """Also with the stars of the second pattern that stand for nothing."""
    for at in sorted(row):
        end = at
        while end < len(second) and second[end] == "*":
            end += 1
            row.add(end)
    return row


def _symbols(text: str) -> tuple[str, ...]:
    """Characters and wildcards; a literal `*` or `?` is a wildcard here, which errs on the side of overlapping."""
    try:
        tokens = tokenize(text, variables=True, wildcards=True)
    except ValueError:
        return ("*",)
    symbols: list[str] = []
    for token in tokens:
        if isinstance(token, str):
            symbols.extend(token)
        else:
            symbols.append("*" if isinstance(token, Variable) or token is Wild.STAR else "?")
    return tuple(symbols)
