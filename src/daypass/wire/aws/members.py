"""The item and the member that each flat name means, found once for each combination of names.

Requests with other values have the same names: the same session tags come with request after request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from daypass.domain.errors import DaypassError

MAX_LAYOUTS: Final = 256
MAX_NAMES: Final = 120
"""Maximum number of names with a layout: 50 tags have 100."""

MAX_CHARACTERS: Final = 4_096
"""Maximum number of characters of these names: the cache keeps names that unauthenticated callers have chosen (attack A114)."""

Read: TypeAlias = Callable[[Mapping[str, str]], dict[str, Any]]


class _List(NamedTuple):
    """One list. `texts`: the names of its items; `structures`: for each item, its members and their names."""

    member: str
    texts: list[str]
    structures: list[list[tuple[str, str]]]


class Layouts:
    """Parses the dotted names of a form, with the result of `read`.

    Args:
        read: names with dots and their texts to parsed values by member. Raises DaypassError(MALFORMED_REQUEST).
        lists: the members that are lists of texts, or of structures of texts.
    """

    def __init__(self, read: Read, lists: frozenset[str]) -> None:
        self._read = read
        self._lists = lists
        self._known: dict[tuple[str, ...], list[_List]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, dotted: Mapping[str, str]) -> dict[str, Any]:
        """The parsed values. Raises DaypassError(MALFORMED_REQUEST)."""
        names = tuple(dotted)
        layout = self._known.get(names)
        if layout is None:
            if len(names) <= MAX_NAMES and sum(map(len, names)) <= MAX_CHARACTERS:
                self._learn(names)
            return self._read(dotted)
        return {
            member: [{part: dotted[name] for part, name in item} for item in structures]
            if structures
            else [dotted[name] for name in texts]
            for member, texts, structures in layout
        }

    def _learn(self, names: tuple[str, ...]) -> None:
        """Parses the names with themselves as values, which shows where each value goes. Names for which a value decides
        more (an empty text is also an empty structure) are refused then, and have no layout.
        """
        try:
            parsed = self._read({name: name for name in names})
        except DaypassError:
            return
        if not parsed.keys() <= self._lists:
            return
        if len(self._known) >= MAX_LAYOUTS:
            self._known.clear()
        self._known[names] = [_list_of(member, items) for member, items in parsed.items()]


def _list_of(member: str, items: list[Any]) -> _List:
    if items and isinstance(items[0], dict):
        return _List(member, [], [list(item.items()) for item in items])
    return _List(member, items, [])
