"""Filters: the whole grammar of RFC 7644, 3.4.2.2, for searches and for the elements that a path of a patch selects.

The work is bounded by the length of the text, the number of comparisons and the depth of parentheses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from daypass.domain.scim.resource import ScimError

MAX_FILTER: Final = 1_024  # characters
MAX_TERMS: Final = 16
_MAX_DEPTH: Final = 8
_PATH: Final = r"(?:urn:[A-Za-z0-9:.]+:)?\$?[A-Za-z][A-Za-z0-9_-]*(?:\.\$?[A-Za-z][A-Za-z0-9_-]*)?"
_TOKEN: Final = re.compile(
    rf'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<mark>[()\[\]])|(?P<word>{_PATH}))'
)
_EXACT: Final = frozenset({"id", "externalid", "value", "members.value", "meta.version"})
"""Attributes that are compared with regard to case; all others are not (RFC 7643, 2.2, "caseExact")."""

Value: TypeAlias = "str | bool | int | float | None"


class Term(NamedTuple):
    """`path` in lower case, without a schema: "username", "emails.value". `op`: eq, ne, co, sw, ew, gt, ge, lt, le or pr."""

    path: str
    value: Value
    op: str = "eq"


class Filter(NamedTuple):
    """A node: `kind` is "term", "and", "or", "not" or "value" (elements of `path` for which the part holds)."""

    kind: str
    parts: tuple[Filter, ...] = ()
    term: Term | None = None
    path: str = ""

    @property
    def terms(self) -> tuple[Term, ...]:
        """Equalities, each of which must hold for the whole to hold: an index can find resources by them."""
        if self.kind == "term" and self.term is not None:
            return (self.term,) if self.term.op == "eq" else ()
        if self.kind == "value":
            return tuple(term._replace(path=f"{self.path}.{term.path}") for part in self.parts for term in part.terms)
        return tuple(term for part in self.parts for term in part.terms) if self.kind == "and" else ()

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes of the resource that it looks at."""
        if self.kind == "value":
            return frozenset({self.path})
        own = {self.term.path.partition(".")[0]} if self.term is not None else set()
        return frozenset(own.union(*(part.attributes for part in self.parts)))

    @property
    def size(self) -> int:
        """The number of comparisons."""
        return sum(part.size for part in self.parts) + (self.term is not None)


def parse_filter(text: str) -> Filter:
    """Raises ScimError("invalidFilter")."""
    if len(text) > MAX_FILTER:
        raise ScimError("invalidFilter", f"A filter has at most {MAX_FILTER} characters.")
    parser = _Parser(text)
    found = parser.either(_MAX_DEPTH)
    if parser.kind or found.size > MAX_TERMS:
        raise _unreadable()
    return found


def _unreadable() -> ScimError:
    return ScimError(
        "invalidFilter", f"The filter cannot be read (RFC 7644, 3.4.2.2), or has over {MAX_TERMS} comparisons."
    )


class _Parser:
    """One token ahead: `kind` (string, number, mark, word; "" at the end) and `text`."""

    def __init__(self, text: str) -> None:
        self._source, self._at = text.rstrip(), 0
        self.advance()

    def advance(self) -> str:
        """The current token's text; the next one becomes the current."""
        before = getattr(self, "text", "")
        self.kind = self.text = ""
        if self._at < len(self._source):
            match = _TOKEN.match(self._source, self._at)
            if match is None or match.lastgroup is None:
                raise _unreadable()
            self.kind, self.text, self._at = match.lastgroup, match[match.lastgroup], match.end()
        return before

    def _takes(self, *words: str) -> bool:
        if self.kind in ("word", "mark") and self.text.lower() in words:
            self.advance()
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise _unreadable()

    def either(self, depth: int) -> Filter:
        return self._joined("or", lambda: self._joined("and", lambda: self._factor(depth)))

    def _joined(self, word: str, part: Callable[[], Filter]) -> Filter:
        parts = [part()]
        while self._takes(word):
            parts.append(part())
        return Filter(word, tuple(parts)) if len(parts) > 1 else parts[0]

    def _factor(self, depth: int) -> Filter:
        if not depth:
            raise _unreadable()
        if self._takes("not"):
            self._expect("(")
            inner = self.either(depth - 1)
            self._expect(")")
            return Filter("not", (inner,))
        if self._takes("("):
            inner = self.either(depth - 1)
            self._expect(")")
            return inner
        return self._comparison(depth)

    def _comparison(self, depth: int) -> Filter:
        if self.kind != "word":
            raise _unreadable()
        path = self.advance().rpartition(":")[2].lower()
        if self._takes("["):
            inner = self.either(depth - 1)
            self._expect("]")
            return Filter("value", (inner,), path=path)
        op = self.advance().lower()
        if op == "pr":
            return Filter("term", term=Term(path, None, op))
        if op not in _OPERATORS:
            raise _unreadable()
        return Filter("term", term=Term(path, self._value(), op))

    def _value(self) -> Value:
        if not self.kind:
            raise _unreadable()
        try:
            value = json.loads(self.advance() if self.kind in ("string", "number") else self.advance().lower())
        except ValueError:
            raise _unreadable() from None
        if isinstance(value, (list, dict)):
            raise _unreadable()
        return value  # type: ignore[no-any-return]  # a scalar, by the checks above


def matches(found: Filter, resource: Mapping[str, Any]) -> bool:
    """Whether it holds for a resource or an element. An attribute that is absent equals nothing."""
    match found.kind:
        case "and":
            return all(matches(part, resource) for part in found.parts)
        case "or":
            return any(matches(part, resource) for part in found.parts)
        case "not":
            return not matches(found.parts[0], resource)
        case "value":
            elements = [each for each in _values(resource, found.path) if isinstance(each, Mapping)]
            return any(matches(found.parts[0], each) for each in elements)
    assert found.term is not None
    return _holds(found.term, resource)


def _holds(term: Term, resource: Mapping[str, Any]) -> bool:
    value = resource.get(term.path)  # the usual spelling and a simple value: a patch compares thousands of members
    values = [value] if isinstance(value, str) else _values(resource, term.path)
    if term.op == "pr":
        return any(each not in (None, "", [], {}) for each in values)
    if term.op == "ne":
        return not any(_compared(term, each, _OPERATORS["eq"]) for each in values)
    return any(_compared(term, each, _OPERATORS[term.op]) for each in values)


def _values(value: Any, path: str) -> list[Any]:
    """The values at a path; each element of a list counts."""
    name, _, rest = path.partition(".")
    if isinstance(value, list):
        return [each for item in value for each in _values(item, path)]
    if not isinstance(value, Mapping):
        return []
    values = [each for key, each in value.items() if key.lower() == name]
    if rest:
        return [each for item in values for each in _values(item, rest)]
    return [each for item in values for each in (item if isinstance(item, list) else [item])]


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda found, wanted: found == wanted,
    "ne": lambda found, wanted: found != wanted,
    "co": lambda found, wanted: isinstance(found, str) and wanted in found,
    "sw": lambda found, wanted: isinstance(found, str) and found.startswith(wanted),
    "ew": lambda found, wanted: isinstance(found, str) and found.endswith(wanted),
    "gt": lambda found, wanted: found > wanted,
    "ge": lambda found, wanted: found >= wanted,
    "lt": lambda found, wanted: found < wanted,
    "le": lambda found, wanted: found <= wanted,
}


def _compared(term: Term, value: Any, operator: Callable[[Any, Any], bool]) -> bool:
    """Values of different types are not comparable, and booleans have no order."""
    wanted: Any = term.value
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(wanted, bool) or isinstance(value, bool) or wanted is None:
        return term.op in ("eq", "ne") and value is wanted
    if isinstance(wanted, str) != isinstance(value, str) or value is None:
        return False
    if isinstance(wanted, str):
        if term.path.startswith("meta.") and term.op not in ("co", "sw", "ew"):
            value, wanted = _moment(value), _moment(wanted)
        elif term.path not in _EXACT:
            value, wanted = value.casefold(), wanted.casefold()
    return operator(value, wanted)


def _moment(text: str) -> str:
    """A time as text that sorts by time; other text as it is."""
    try:
        return f"{datetime.fromisoformat(text).timestamp():020.6f}"
    except (ValueError, OverflowError):
        return text


def equalities(found: Filter) -> Iterator[tuple[str, Value]]:
    """The equalities of a filter from which an element is made."""
    return ((term.path, term.value) for term in found.terms)


def indexed(terms: Sequence[Term]) -> dict[str, str]:
    """The texts by which an index may find resources."""
    return {term.path: term.value for term in terms if isinstance(term.value, str)}
