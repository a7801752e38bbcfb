"""A bounded cache of parsed and validated lists by their text: the same session tags come with request after request.

Only lists that hold no secret are cached, because the cache keeps the text that was sent. A list is cached when it comes
for the second time: tags that no other request has (a ticket's number) then cost no more than without a cache.
The layout of names is cached apart: requests with other values have the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from daypass.domain.errors import DaypassError

MAX_LISTS: Final = 1024
MAX_LIST_CHARACTERS: Final = 4096
"""Maximum number of names and values of the lists of one request; longer ones are parsed each time."""

_MAX_SEEN: Final = 16_384
"""Maximum number of texts that are remembered, by their hash, as having come once."""

Read: TypeAlias = Callable[[Mapping[str, str]], dict[str, Any]]
Check = Callable[[Any], object]


class CheckedList(tuple[Any, ...]):
    """A parsed list that meets every constraint. Requests share it, so it cannot be changed."""

    __slots__ = ()


class MemberCache:
    """Parses the dotted names of a form, once for each text.

    Args:
        read: names with dots and their texts to parsed values by member; what it raises is not cached.
        checks: the constraints of each list that may be cached. Nothing is cached for a request with any other.
    """

    def __init__(self, read: Read, checks: Mapping[str, Check]) -> None:
        self._read = read
        self._checks = checks
        self._known: dict[tuple[tuple[str, str], ...], Mapping[str, Any]] = {}
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, dotted: Mapping[str, str]) -> Mapping[str, Any]:
        """The parsed values. Raises DaypassError(MALFORMED_REQUEST)."""
        text = tuple(dotted.items())
        found = self._known.get(text)
        if found is None:
            found = self._read(dotted)
            if self._seen_before(hash(text)) and all(name.partition(".")[0] in self._checks for name in dotted):
                found = self._keep(text, found)
        return found

    def _seen_before(self, text: int) -> bool:
        """Whether a text with this hash has been noted. If not, it is."""
        seen = self._seen
        if text in seen:
            return True
        if len(seen) >= _MAX_SEEN:
            seen.clear()
        seen.add(text)
        return False

    def _keep(self, text: tuple[tuple[str, str], ...], values: Mapping[str, Any]) -> Mapping[str, Any]:
        characters = sum(len(name) + len(value) for name, value in text)
        if characters > MAX_LIST_CHARACTERS or not all(self._checks[name](value) for name, value in values.items()):
            return values
        if len(self._known) >= MAX_LISTS:
            self._known.clear()
        kept = {name: CheckedList(map(_frozen, items)) for name, items in values.items()}
        self._known[text] = kept
        return kept


def _frozen(item: Any) -> Any:
    return MappingProxyType(item) if isinstance(item, dict) else item


# --- The item and the member that each flat name means, found once for each combination of names


MAX_LAYOUTS: Final = 256
MAX_NAMES: Final = 120
"""Maximum number of names with a layout: 50 tags have 100."""

MAX_CHARACTERS: Final = 4_096
"""Maximum number of characters of these names: the cache keeps names that unauthenticated callers have chosen (attack A114)."""


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
