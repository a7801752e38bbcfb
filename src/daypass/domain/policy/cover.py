"""Whether one pattern covers another: the first matches every text that the second matches.

Sound but not complete: True is proven, False means not proven. A variable covers only itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from daypass.domain.policy.pattern import Variable, Wild, tokenize

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
