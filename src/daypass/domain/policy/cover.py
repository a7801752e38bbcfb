"""Whether one pattern covers another: the first matches every text that the second matches.

Sound but not complete: True is proven, False means not proven. A variable covers only itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import IntEnum
from functools import lru_cache
from typing import TypeAlias

from daypass.domain.policy.administration import EVERYTHING, PREFIX, granting
from daypass.domain.policy.compiled import Statement
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Context, Effect
from daypass.domain.policy.pattern import V2012, Patterns, Variable, Wild, fold, tokenize
from daypass.domain.policy.principal import completed

_SPECIAL = re.compile(r"[*?$]")  # what is not plain characters in a pattern
LONGEST = 512  # characters of a pattern; longer ones are not compared


class Budget:
    """The remaining steps of all comparisons together. When none remain, no further cover is proven."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps


def covers(wide: str, narrow: str, budget: Budget) -> bool:
    """Whether `wide` covers `narrow`."""
    budget.left -= 1
    if wide in ("*", narrow):
        return True
    if budget.left <= 0 or not _may_cover(wide, narrow) or max(len(wide), len(narrow)) > LONGEST:
        return False
    return covers_symbols(_symbols(wide), _symbols(narrow), budget)


def all_covered(wide: Sequence[str], narrow: Sequence[str], budget: Budget) -> bool:
    """Whether each of `narrow` is covered by one of `wide`."""
    return all(any(covers(pattern, text, budget) for pattern in wide) for text in narrow)


def _may_cover(wide: str, narrow: str) -> bool:
    """Whether `narrow` has the plain characters at the beginning and the end of `wide`."""
    plain = _SPECIAL.split(wide)
    return narrow.startswith(plain[0]) and ("$" in wide or narrow.endswith(plain[-1]))


@lru_cache(maxsize=512)  # each pattern of a document is compared with many others
def _symbols(text: str) -> tuple[object, ...]:
    """One symbol for each character, wildcard and variable."""
    symbols: list[object] = []
    try:
        tokens = tokenize(text, variables=True, wildcards=True)
    except ValueError:
        tokens = (text,)
    for token in tokens:
        if isinstance(token, str):
            symbols.extend(token)
        else:
            symbols.append(token)
    return tuple(symbols)


def covers_symbols(pattern: Sequence[object], text: Sequence[object], budget: Budget) -> bool:
    """`covers` for patterns by single symbols (characters, wildcards, variables).

    The usual wildcard match, except that the text may contain wildcards. Only `*` (or, for `?`, also `?`) matches them.
    """
    at, star, resume = 0, -1, 0
    index = 0
    budget.left -= len(pattern) + len(text)
    while index < len(text):
        budget.left -= 1
        if budget.left <= 0:
            return False
        symbol = text[index]
        if at < len(pattern) and pattern[at] is Wild.STAR:
            star, resume = at, index
            at += 1
        elif at < len(pattern) and _one(pattern[at], symbol):
            at += 1
            index += 1
        elif star >= 0:
            resume += 1
            at, index = star + 1, resume
        else:
            return False
    return all(symbol is Wild.STAR for symbol in pattern[at:])


def _one(wanted: object, symbol: object) -> bool:
    if wanted is Wild.ONE:
        return symbol is not Wild.STAR and not isinstance(symbol, Variable)
    return wanted == symbol and symbol is not Wild.STAR


# --- Compares patterns with patterns: how much of what one statement matches another statement matches


_STEPS = LONGEST * LONGEST  # of one comparison


class Coverage(IntEnum):
    """How much of a pattern a statement matches."""

    NONE = 0
    PART = 1
    WHOLE = 2


def coverage(statement: Statement, action: str, resource: str, context: Context, *, variables: bool) -> Coverage:
    """How much of the actions and resources in these patterns the statement matches.

    `variables`: whether the statement's version has variables; those of `context` are known. WHOLE and NONE are proven;
    PART also covers cases that could not be proven.
    """
    if statement.always:
        return Coverage.WHOLE
    actions = statement.written["NotAction" if statement.not_action else "Action"]
    folded = [_sequence(fold(text)) for text in actions]
    asked = _sequence(fold(action))
    of_actions = _axis(folded, asked, negated=statement.not_action)
    if statement.effect is Effect.ALLOW:
        of_actions = min(of_actions, _of_administration(statement, asked))
    if statement.resources is None:
        return of_actions
    if statement.resources.anything:  # `*`, or a stand-in for an unknown resource
        return min(of_actions, Coverage.NONE if statement.not_resource else Coverage.WHOLE)
    written = statement.written["NotResource" if statement.not_resource else "Resource"]
    patterns = [_sequence(completed(text), context, variables=variables) for text in written]
    return min(of_actions, _axis(patterns, _sequence(resource), negated=statement.not_resource))


def withholds_administration(statement: Statement, action: str) -> bool:
    """Whether `action` matches Daypass's own actions that the Allow does not grant."""
    return _of_administration(statement, _sequence(fold(action))) is not Coverage.WHOLE


def _of_administration(statement: Statement, asked: _Symbols) -> Coverage:
    """How much of these actions an Allow may grant, considering Daypass's own among them (see `administration`)."""
    if not _may_overlap(asked, _ADMINISTRATION):
        return Coverage.WHOLE
    texts = granting(statement.written.get("Action", ())) if statement.administration is not None else ()
    inside = _covers(_ADMINISTRATION, asked)
    granted = _axis(map(_sequence, texts), asked if inside else _ADMINISTRATION, negated=False)
    return granted if inside else max(granted, Coverage.PART)


def _axis(patterns: Iterable[_Symbols], text: _Symbols, *, negated: bool) -> Coverage:
    found = Coverage.NONE
    for pattern in patterns:
        if _covers(pattern, text):
            found = Coverage.WHOLE
            break
        if _may_overlap(pattern, text):
            found = Coverage.PART
    return Coverage(Coverage.WHOLE - found) if negated else found


def over_pattern(policy: NamedPolicy, action: str, resource: str, context: Context, *, at_best: bool) -> NamedPolicy:
    """The policy over the most favourable part of what the patterns match, or over the least favourable part.

    A statement that matches a part counts as matching all or nothing, whichever is better (or worse) for the request.
    """
    document = policy.document
    variables = document.version == V2012
    parts = [
        coverage(statement, action, resource, context, variables=variables) is Coverage.PART
        for statement in document.statements
    ]
    if not any(parts):
        return policy
    statements: list[Statement] = []
    for statement, part in zip(document.statements, parts, strict=True):
        if not part:
            statements.append(statement)
        elif (statement.effect is Effect.ALLOW) is at_best:
            statements.append(_unbounded(statement))
    return NamedPolicy(policy.name, document.having(statements))


def _unbounded(statement: Statement) -> Statement:
    """The statement for every action and resource, with its conditions unchanged."""
    everything = Patterns(["*"])
    return replace(
        statement,
        actions=everything,
        not_action=False,
        resources=everything if statement.resources is not None else None,
        not_resource=False,
        administration=EVERYTHING,
        written={**statement.written, "Action": ("*",), "Resource": ("*",)},
    )


# --- Symbols -------------------------------------------------------------------------------------------------------------

_Symbol: TypeAlias = "str | Wild | Variable"
_Symbols: TypeAlias = "tuple[_Symbol, ...]"
"""A pattern as single characters, wildcards, and unknown variables."""


@lru_cache(maxsize=8192)
def _tokens(text: str, variables: bool) -> tuple[_Symbol, ...]:  # noqa: FBT001  # a cache's key
    try:
        return tokenize(text, variables=variables, wildcards=True)
    except ValueError:
        return (Wild.STAR,)


def _sequence(text: str, context: Context | None = None, *, variables: bool = False) -> _Symbols:
    symbols: list[_Symbol] = []
    for token in _tokens(text, variables):
        value = (context or {}).get(token.key, token.default) if isinstance(token, Variable) else token
        if isinstance(value, str):
            symbols.extend(value)
        else:
            symbols.append(token)
    return tuple(symbols)


_ADMINISTRATION = _sequence(f"{PREFIX}*")


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns. Exact for `*` and `?`; a policy variable matches any text."""
    return _may_overlap(_sequence(one, variables=True), _sequence(other, variables=True))


def _any(symbol: _Symbol) -> bool:
    return symbol is Wild.STAR or isinstance(symbol, Variable)


def _may_overlap(first: _Symbols, second: _Symbols) -> bool:
    if len(first) > LONGEST or len(second) > LONGEST:
        return True  # assumed to overlap with everything
    row = _skip_stars({0}, second)  # the parts of `second` that can be consumed with the consumed part of `first`
    for symbol in first:
        row = _step(row, symbol, second)
        if not row:
            return False
    return len(second) in row


def _step(row: set[int], symbol: _Symbol, second: _Symbols) -> set[int]:
    """Consumes one symbol of the first pattern."""
    if _any(symbol):
        return set(range(min(row), len(second) + 1))
    used = set()
    for at in row:
        if at < len(second) and _any(second[at]):
            used.add(at)  # a star may continue
        elif at < len(second) and (symbol == second[at] or Wild.ONE in (symbol, second[at])):
            used.add(at + 1)
    return _skip_stars(used, second)


def _skip_stars(row: set[int], second: _Symbols) -> set[int]:
    """Adds the positions after stars of the second pattern that match nothing."""
    for at in sorted(row):
        end = at
        while end < len(second) and _any(second[end]):
            end += 1
            row.add(end)
    return row


def _covers(wide: _Symbols, narrow: _Symbols) -> bool:
    """Whether `wide` matches everything that `narrow` matches. Sound: True is proven."""
    if wide == (Wild.STAR,):
        return True
    if len(wide) > LONGEST or len(narrow) > LONGEST:
        return False
    return covers_symbols(wide, narrow, Budget(_STEPS))
