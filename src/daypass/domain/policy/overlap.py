"""Patterns against patterns: how much of what one statement speaks of another one meets.

It decides no request. "What can" asks about patterns of actions and resources, not about single ones; a policy at its
best or worst over such a pattern is handed to the one evaluator, as in `prospect`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import IntEnum
from functools import lru_cache
from typing import TypeAlias

from daypass.domain.policy.compiled import Statement, build_index
from daypass.domain.policy.cover import LONGEST, Budget, stands_for
from daypass.domain.policy.model import Context, Effect, NamedPolicy
from daypass.domain.policy.pattern import V2012, Patterns, Variable, Wild, fold, tokenize
from daypass.domain.policy.resource import completed

_STEPS = LONGEST * LONGEST  # of one comparison


class Coverage(IntEnum):
    """How much of a pattern a statement speaks of."""

    NONE = 0
    PART = 1
    WHOLE = 2


def coverage(statement: Statement, action: str, resource: str, context: Context, *, variables: bool) -> Coverage:
    """How much of the actions and resources that these patterns stand for the statement speaks of.

    `variables`: whether the statement's version of the language has them; those of `context` are known. WHOLE and NONE
    are proven; PART also stands for what could not be shown.
    """
    if statement.always:
        return Coverage.WHOLE
    actions = statement.written["NotAction" if statement.not_action else "Action"]
    folded = [_symbols(fold(text)) for text in actions]
    of_actions = _axis(folded, _symbols(fold(action)), negated=statement.not_action)
    if statement.resources is None:
        return of_actions
    if statement.resources.anything:  # `*`, or whatever is not known is taken for it
        return min(of_actions, Coverage.NONE if statement.not_resource else Coverage.WHOLE)
    written = statement.written["NotResource" if statement.not_resource else "Resource"]
    patterns = [_symbols(completed(text), context, variables=variables) for text in written]
    return min(of_actions, _axis(patterns, _symbols(resource), negated=statement.not_resource))


def _axis(patterns: Iterable[_Symbols], text: _Symbols, *, negated: bool) -> Coverage:
    found = Coverage.NONE
    for pattern in patterns:
        if _covers(pattern, text):
            found = Coverage.WHOLE
            break
        if _meet(pattern, text):
            found = Coverage.PART
    return Coverage(Coverage.WHOLE - found) if negated else found


def over_pattern(policy: NamedPolicy, action: str, resource: str, context: Context, *, hopeful: bool) -> NamedPolicy:
    """The policy over the most favourable part of what the patterns stand for, or over the least favourable one.

    Statements that speak of a part speak of all of it, or of nothing, whichever is better (worse) for the request.
    """
    document = policy.document
    variables = document.version == V2012
    parts = [
        coverage(statement, action, resource, context, variables=variables) is Coverage.PART
        for statement in document.statements
    ]
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


# --- Symbols -------------------------------------------------------------------------------------------------------------

_Symbol: TypeAlias = "str | Wild | Variable"
_Symbols: TypeAlias = "tuple[_Symbol, ...]"
"""A pattern by single characters, wildcards, and variables of which nothing is known."""


@lru_cache(maxsize=8192)
def _tokens(text: str, variables: bool) -> tuple[_Symbol, ...]:  # noqa: FBT001  # a cache's key
    try:
        return tokenize(text, variables=variables, wildcards=True)
    except ValueError:
        return (Wild.STAR,)


def _symbols(text: str, context: Context | None = None, *, variables: bool = False) -> _Symbols:
    symbols: list[_Symbol] = []
    for token in _tokens(text, variables):
        value = (context or {}).get(token.key, token.default) if isinstance(token, Variable) else token
        if isinstance(value, str):
            symbols.extend(value)
        else:
            symbols.append(token)
    return tuple(symbols)


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns. Exact for `*` and `?`; a policy variable stands for any text."""
    return _meet(_symbols(one, variables=True), _symbols(other, variables=True))


def _any(symbol: _Symbol) -> bool:
    return symbol is Wild.STAR or isinstance(symbol, Variable)


def _meet(first: _Symbols, second: _Symbols) -> bool:
    if len(first) > LONGEST or len(second) > LONGEST:
        return True  # taken to overlap with everything
    row = _stars({0}, second)  # how much of `second` can be used up by the `first` used up so far
    for symbol in first:
        row = _step(row, symbol, second)
        if not row:
            return False
    return len(second) in row


def _step(row: set[int], symbol: _Symbol, second: _Symbols) -> set[int]:
    """Uses up one symbol of the first pattern."""
    if _any(symbol):
        return set(range(min(row), len(second) + 1))
    used = set()
    for at in row:
        if at < len(second) and _any(second[at]):
            used.add(at)  # a star goes on
        elif at < len(second) and (symbol == second[at] or Wild.ONE in (symbol, second[at])):
            used.add(at + 1)
    return _stars(used, second)


def _stars(row: set[int], second: _Symbols) -> set[int]:
    """Also with the stars of the second pattern that stand for nothing."""
    for at in sorted(row):
        end = at
        while end < len(second) and _any(second[end]):
            end += 1
            row.add(end)
    return row


def _covers(wide: _Symbols, narrow: _Symbols) -> bool:
    """Whether `wide` matches all that `narrow` does. Sound: True is proven."""
    if wide == (Wild.STAR,):
        return True
    if len(wide) > LONGEST or len(narrow) > LONGEST:
        return False
    return stands_for(wide, narrow, Budget(_STEPS))
